"""`edge view` draws the graph: looked at in a real browser, which Debian's chromium is."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; bring it with: make test-setup")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 13]) for name in ("temperature", "comfort")
    ]
    graph = helper.make_graph([helper.make_node("Relu", ["temperature"], ["comfort"])], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    words = [sys.executable, "-m", "edge_runtime", "view", str(tmp_path / "model.onnx"), "--no-browser", "--port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found is not None
        yield found[0]
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
        assert server.returncode == 130


def test_a_browser_draws_the_graph_with_its_operator_and_ports(address: str) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - needed only where chromium is

    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        # netron's page reports usage to its authors; a test talks to loopback alone
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(address) else route.abort())
        page.goto(address)
        # without the internet netron can't tell where we are, and asks for consent to its usage statistics
        page.get_by_text("Accept", exact=True).click(timeout=30_000)
        for word in ("Relu", "temperature", "comfort"):
            page.get_by_text(word, exact=True).first.wait_for(state="visible", timeout=30_000)
        browser.close()
    assert errors == []
