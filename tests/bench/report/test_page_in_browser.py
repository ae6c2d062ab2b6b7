"""The page in a real browser, from a file: it draws, answers, sorts, changes its theme, and gives the record back."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from bench.report.page import MAX_BYTES
from bench.report.page import page as render
from edge_runtime.record import Record, load_record
from tests.records import with_everything

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; bring it with: make test-setup")
Make = Callable[..., Record]
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
    return with_everything(make_record(NAMES, samples=400, model=HOSTILE))


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
    wait_for(opened, ".chart:not([data-drawn])", 0)
    return opened


def wait_for(page: Any, selector: str, count: int) -> None:
    """Wait until so many are there; the page's policy forbids it to evaluate what Playwright would wait for."""
    from playwright.sync_api import expect  # noqa: PLC0415 - needed only where chromium is

    expect(page.locator(selector)).to_have_count(count, timeout=60_000)


def serious(found: Any) -> list[tuple[str, str]]:
    return [
        (one["id"], one["nodes"][0]["html"]) for one in found["violations"] if one["impact"] in {"serious", "critical"}
    ]


def test_every_chart_draws_and_nothing_complains_or_asks_the_network(page: Any) -> None:
    assert page.locator("figure").count() == 9
    assert page.locator(".chart").count() == 18, "of the trace one a contender and three conditions, of minutes three"
    assert page.locator(".chart svg").count() == 18
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
    assert "30.0 ms" in told


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
    wait_for(small, ".chart:not([data-drawn])", 0)
    assert small.evaluate("document.documentElement.scrollWidth") == 390
    small.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = small.evaluate("axe.run()")
    assert len(found["passes"]) > 20, "axe looked at the page"
    assert serious(found) == []
    context.close()


def test_on_paper_every_table_is_open_and_fits(browser: Any, make_record: Make, tmp_path: Path) -> None:
    names = {"edge": 100.0, "onnxruntime": 150.0, "torch": 400.0}
    path = tmp_path / "paper.html"
    path.write_text(render([("a.json", with_everything(make_record(names, samples=400)))]), encoding="utf-8")
    opened = browser.new_page(viewport={"width": 718, "height": 1016})  # A4 without its margins
    opened.goto(path.as_uri())
    wait_for(opened, ".chart:not([data-drawn])", 0)
    opened.emulate_media(media="print")
    opened.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("details:not([open])").count() == 0
    assert opened.evaluate("document.documentElement.scrollWidth") <= 718
    assert not opened.locator("#theme").is_visible()
    opened.close()


def test_without_scripts_the_page_still_reads(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    bare = context.new_page()
    bare.goto(address)
    assert "x faster than torch here" in bare.locator(".verdicts").inner_text()
    bare.locator("summary", has_text="The same as a table").first.click()
    assert bare.locator("figure table").first.is_visible()
    context.close()


@pytest.fixture(scope="module")
def many(make_record: Make, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of thirty records: ten models, each with one thread, two, and a month later."""
    records = []
    for model in range(10):
        for threads, created in ((1, "2026-01-01T00:00:00Z"), (2, "2026-01-01T00:10:00Z"), (1, "2026-02-01T00:00:00Z")):
            us = {"edge": 100.0 / threads, "onnxruntime": 110.0, "torch": 400.0 * (1 + model)}
            made = make_record(
                us, model=HOSTILE if model == 9 else f"network {model}", threads=threads, samples=60, rounds=6
            )
            records.append((f"{model} {threads} {created[:10]}.json", replace(with_everything(made), created=created)))
    path = tmp_path_factory.mktemp("many") / "thirty.html"
    text = render(records)
    assert len(text.encode()) < MAX_BYTES
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [1200, 390])
def test_a_page_of_thirty_records_opens_folded_and_leads_to_each(width: int, many: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(many)
    wait_for(opened, "main > .figures .chart svg", 11)
    assert opened.locator("details.record[open]").count() == 0
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    opened.locator("nav a", has_text="network 4, 2 threads").click()
    wait_for(opened, "details.record[open] .chart svg", 16)
    assert opened.locator("details.record[open]").count() == 1
    assert -1 <= opened.locator("#r13").bounding_box()["y"] < 450
    opened.locator("details.record[open] a", has_text="Back to the contents").click()
    assert -50 < opened.locator("#contents").bounding_box()["y"] < 450
    opened.locator("#overview a", has_text="network 7").first.click()
    assert opened.locator("details.record[open]").count() == 2
    opened.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    assert serious(opened.evaluate("axe.run()")) == []
    assert complaints == []
    context.close()


def test_a_record_that_is_linked_to_is_open_at_once(many: str, browser: Any) -> None:
    opened = browser.new_page()
    opened.goto(f"{many}#r29")
    wait_for(opened, "details.record[open] .chart svg", 16)
    assert -1 <= opened.locator("#r29").bounding_box()["y"] < 450
    opened.close()
