"""The report of a run, opened from a file by a browser that has no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from ui_helpers import LIVE, PATIENCE

from prdp_explorer import Constant, Engine
from prdp_explorer.dashboard import report
from prdp_explorer.engine import IN_MEMORY, Store

pytestmark = pytest.mark.ui

HOSTILE = "</script><script>window.harmed = 1</script><img src='http://example.org/x.png' onerror='window.harmed = 1'>"

RANGE = """() => {
    const plot = [...Bokeh.documents[0].all_models].find(model => model.type === "Figure" && model.title.text ===
        "Same accuracy? Validation error")
    return [plot.x_range.start, plot.x_range.end]
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a race whose note means harm."""
    store = Store(IN_MEMORY)
    engine = Engine(store)
    race = engine.race("heat-1d", {"PRDP": None, "full physics": Constant()}, epochs=60)
    for run in race.runs.values():
        assert run.wait(timeout=60)
    engine.close()
    prdp, full = (race.runs[label].id for label in ("PRDP", "full physics"))
    store.annotate(prdp, HOSTILE)
    place = tmp_path_factory.mktemp("report") / "run.html"
    place.write_text(report(store, prdp, full), encoding="utf-8")
    return place


@pytest.fixture(params=[1440, 390])
def opened(browser: Browser, file: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The report on a wide and on a narrow screen; fails if it complained or asked for anything but itself."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": request.param, "height": 1000}, offline=True)
    page = context.new_page()
    page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url == file.as_uri() else complaints.append(asked.url[:200]))
    page.goto(file.as_uri())
    page.wait_for_function(LIVE, timeout=PATIENCE)
    yield page
    context.close()
    assert complaints == []


def test_it_is_read_and_its_plots_are_drawn(opened: Page):
    expect(opened.locator("h1")).to_have_text("Heat 1D emulator")
    expect(opened.locator(".headline")).to_contain_text("of the inner iterations")
    expect(opened.locator("blockquote")).to_have_text(HOSTILE)
    assert opened.evaluate("window.harmed") is None
    plots = opened.locator("figure .bk-Figure")
    expect(plots).to_have_count(5)
    for plot in plots.all():
        canvas = plot.locator("canvas").first
        expect(canvas).to_be_visible()
        colors = canvas.evaluate(
            "canvas => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
            ".data.buffer)).size"
        )
        assert colors > 5
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_its_plots_move_and_zoom(opened: Page):
    plot = opened.locator("figure .bk-Figure").first
    plot.scroll_into_view_if_needed()
    box: Any = plot.bounding_box()
    middle, height = box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"]
    before = opened.evaluate(RANGE)
    opened.mouse.move(middle, height)
    opened.mouse.down()
    opened.mouse.move(middle - 60, height, steps=5)
    opened.mouse.up()
    opened.wait_for_function(f"before => ({RANGE})()[0] > before[0]", arg=before, timeout=PATIENCE)
    moved = opened.evaluate(RANGE)
    assert moved[1] - moved[0] == pytest.approx(before[1] - before[0])
    plot.locator(".bk-tool-icon-wheel-zoom, [title='Wheel Zoom']").first.click()
    opened.mouse.move(middle, height)
    opened.mouse.wheel(0, -200)
    opened.wait_for_function(
        f"width => {{ const [start, end] = ({RANGE})(); return end - start < 0.95 * width }}",
        arg=moved[1] - moved[0],
        timeout=PATIENCE,
    )
