"""The page in a real browser, from a file: it draws, answers, sorts, changes its theme, and gives the record back."""

import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from bench.report.page import page as render
from edge_runtime.record import Record, load_record

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; bring it with: make test-setup")
Make = Callable[..., Record]
UNDRAWN = "document.querySelectorAll('.chart:not([data-drawn])').length === 0"
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken=2'>"
NAMES = {"edge": 100.0, "torch": 400.0, HOSTILE: 150.0, "שלום עולם \u202edlrow": 170.0, "long" * 50: 180.0}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - needed only where chromium is

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def record(make_record: Make) -> Record:
    return make_record(NAMES, samples=400, model=HOSTILE)


@pytest.fixture(scope="module")
def address(record: Record, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report of one.html"
    path.write_text(render([("run 1.json", record)]), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Any:
    opened = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True).new_page()
    opened.complaints = []
    opened.on("console", lambda message: opened.complaints.append(message.text))
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("request", lambda request: request.url.startswith("file:") or opened.complaints.append(request.url))
    opened.goto(address)
    opened.wait_for_function(UNDRAWN, timeout=60_000)
    return opened


def test_every_chart_draws_and_nothing_complains_or_asks_the_network(page: Any) -> None:
    assert page.locator(".chart").count() == 12, "one a figure, of the trace one a contender and two of conditions"
    assert page.locator(".chart svg").count() == 12
    assert page.complaints == []


def test_a_hostile_name_is_shown_as_text_and_does_nothing(page: Any) -> None:
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("#overview").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 1200, "a long name makes no page wider"


def test_a_tooltip_answers(page: Any) -> None:
    bar = page.locator('[data-spec="r0-cold-start-0"] .mark-rect path').first
    bar.scroll_into_view_if_needed()
    bar.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    told = page.locator("#vg-tooltip-element").inner_text()
    assert "start of Python" in told
    assert "40.0 ms" in told


def test_tables_sort_by_number_up_and_down_and_by_keyboard(page: Any) -> None:
    def order() -> list[str]:
        return [
            row.split("\t")[0].strip() for row in page.locator("#overview tbody tr td:nth-child(2)").all_inner_texts()
        ]

    heading = page.locator("#overview th", has_text="p50")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert (order()[0], order()[-1]) == ("edge", "torch")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert (order()[0], order()[-1]) == ("torch", "edge")


def test_the_theme_switches(page: Any) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    seen = {}
    for _ in range(3):
        page.locator("#theme").click()
        seen[page.locator("#theme").inner_text()] = paper()
    assert seen == {
        "Theme: light": "rgb(255, 255, 255)",
        "Theme: dark": "rgb(20, 23, 27)",
        "Theme: auto": "rgb(255, 255, 255)",
    }


def test_the_record_comes_back_as_it_was(page: Any, record: Record, tmp_path: Path) -> None:
    with page.expect_download() as told:
        page.get_by_role("button", name="Download the record").click()
    assert told.value.suggested_filename == "run-1.json"
    told.value.save_as(tmp_path / "back.json")
    assert load_record(tmp_path / "back.json") == record


def test_the_table_is_copied_with_tabs(page: Any) -> None:
    page.locator("button[data-copy]").click()
    page.get_by_text("Copied").wait_for()
    lines = page.evaluate("tabSeparated(document.getElementById('overview'))").splitlines()
    assert lines[0].startswith("model\tcontender\tverdict on ours")
    assert len(lines) == 1 + len(NAMES)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_violation_and_a_phone_needs_no_sideways_scrolling(
    theme: str, browser: Any, address: str
) -> None:
    # axe runs beside the page's own scripts, which the page's policy rightly forbids
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=theme, bypass_csp=True)
    small = context.new_page()
    small.goto(address)
    small.wait_for_function(UNDRAWN, timeout=60_000)
    assert small.evaluate("document.documentElement.scrollWidth") == 390
    small.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = small.evaluate("axe.run()")
    assert len(found["passes"]) > 20, "axe looked at the page"
    serious = [
        (one["id"], one["nodes"][0]["html"]) for one in found["violations"] if one["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    context.close()


def test_without_scripts_the_page_still_reads(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(address)
    assert "x faster than torch here" in bare.locator(".verdict").inner_text()
    bare.locator("summary", has_text="The same as a table").first.click()
    assert bare.locator("figure table").first.is_visible()
    context.close()
