"""Takes the pictures of the README's gallery, of every view in light and dark: `make gallery`.

Serves the explorer from the working tree with a store of its own, trains, and looks at the pages through Chromium.
"""

import contextlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from prdp_explorer.dashboard import report
from prdp_explorer.engine import Store

ROOT = Path(__file__).parent.parent
GALLERY = ROOT / "docs" / "gallery"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--force-color-profile=srgb")

WIDTH, HEIGHT = 1440, 1000
HEIGHTS = {"kept-runs": 1250, "why": 1500, "fields": 1500, "story": 1200}
NARROW = (390, 1250)
MOST_BYTES = 250_000
PATIENCE = 300_000
"""Milliseconds that training may take on a slow machine."""

STILL = 5
"""Times in a row, half a second apart, that a page looks the same when it stands still: views come one by one."""

WHY = "Why"
FIELDS = "Fields"
RUNS = "Kept runs"
ELSEWHERE = ("fields", "labs", "stories")
UP = """() => {
    const walk = root => root.querySelectorAll("*").forEach(element => {
        element.scrollTop = 0
        if (element.shadowRoot) walk(element.shadowRoot)
    })
    walk(document)
}"""
IDLE = "() => window.Bokeh?.documents[0]?.is_idle"


def take() -> None:
    """Take all pictures anew."""
    shutil.rmtree(GALLERY, ignore_errors=True)
    GALLERY.mkdir()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("No Chromium found; apt-get install chromium.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        with _served(Path(folder)) as address:
            _take_pages(browser, address)
            _take_story(browser, address)
        _take_report(browser, Path(folder) / "runs.sqlite")
        browser.close()


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of a server that keeps everything in a folder."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "panel", "serve", "apps/explorer.py", "--address=localhost", f"--port={port}"]
    env = {
        **os.environ,
        "PRDP_EXPLORER_STORE": str(folder / "runs.sqlite"),
        "PRDP_EXPLORER_CACHE": str(folder / "cache"),
    }
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, f"--allow-websocket-origin=localhost:{port}"], cwd=ROOT, env=env, stdout=log, stderr=log
        )
        try:
            while True:
                if server.poll() is not None:
                    sys.exit((folder / "log").read_text())
                with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
                    break
                time.sleep(0.2)
            yield f"http://localhost:{port}/explorer"
        finally:
            server.terminate()
            server.wait()


def _take_pages(browser: Browser, address: str) -> None:
    """A race in one dimension in every tab that is not taken elsewhere; fields are worth seeing in two."""
    page = _open(browser, address)
    _race(page)
    _race(_open(browser, address), τ_step="0.9")  # to be compared among the kept runs
    tabs = page.get_by_role("tab").all_inner_texts()
    for theme in ("light", "dark"):
        for tab in tabs:
            if tab.lower() not in ELSEWHERE:
                _open_tab(page, tab)
                _unfold(page, tab == tabs[0])
                _shoot(page, _slug(tab), theme)
        _toggle_theme(page)

    narrow = _open(browser, page.url, *NARROW)
    for theme in ("light", "dark"):
        _shoot(narrow, "narrow", theme)
        _toggle_theme(narrow)

    if any(tab.lower() == FIELDS.lower() for tab in tabs):
        flow = _open(browser, address)
        _unfold(flow, True)
        flow.get_by_role("radio", name="Navier-Stokes 2D corrector", exact=True).check()
        expect(_field(flow, "K of full physics")).to_have_value("40", timeout=PATIENCE)
        _race(flow)
        _open_tab(flow, FIELDS)
        _choose(flow, "Component", "velocity x")  # which is smoother than the vorticity
        expect(flow.get_by_text("Computing;")).to_be_hidden(timeout=PATIENCE)  # the rollouts
        for _ in range(10):
            flow.get_by_role("slider", name="Rollout step").press("ArrowRight")
        for theme in ("light", "dark"):
            _shoot(flow, _slug(FIELDS), theme)
            _toggle_theme(flow)


def _take_story(browser: Browser, address: str) -> None:
    """A step of a story that opens the labs, with the gradients that were recorded."""
    page = _open(browser, f"{address}?story=coarse-suffices&story_step=4")
    expect(page.get_by_text("1 − cosine at K of the run")).to_be_visible(timeout=PATIENCE)
    for theme in ("light", "dark"):
        _shoot(page, "story", theme)
        _toggle_theme(page)


def _take_report(browser: Browser, path: Path) -> None:
    """The report of the race, which is light everywhere."""
    store = Store(path)
    runs = [run for run in store.runs() if run.settings["scenario"] == "heat-1d"]
    prdp = next(run for run in runs if run.label == "PRDP" and run.settings["refinement"]["tau_step"] == 0.98)
    full = next(run for run in runs if run.label == "full physics")
    file = path.with_name("report.html")
    file.write_text(report(store, prdp.id, full.id), encoding="utf-8")
    _shoot(_open(browser, file.as_uri()), "report", "light")


def _open(browser: Browser, address: str, width: int = WIDTH, height: int = HEIGHT) -> Page:
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.goto(address)
    page.wait_for_function(IDLE, timeout=PATIENCE)
    return page


def _race(page: Page, **fields: str) -> None:
    """Train as fast as possible to the end."""
    _choose(page, "Speed", "as fast as possible")
    for name, value in fields.items():
        field = _field(page, name)
        field.fill(value)
        field.press("Enter")
    before = page.url
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_function("before => location.href !== before", arg=before, timeout=PATIENCE)
    expect(page.get_by_role("main").get_by_text("Finished", exact=True).first).to_be_visible(timeout=PATIENCE)


def _choose(page: Page, select: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(f"^{select}")).click()
    page.get_by_role("option", name=option).or_(page.get_by_role("menuitem", name=option)).click()


def _field(page: Page, name: str) -> Locator:
    return page.get_by_role("textbox", name=re.compile(f"^{name}"))


def _open_tab(page: Page, name: str) -> None:
    tab = page.get_by_role("tab", name=name)
    tab.click()
    expect(tab).to_have_attribute("aria-selected", "true", timeout=PATIENCE)
    if name.lower() == RUNS.lower():
        rows = page.get_by_role("row").filter(has=page.get_by_role("checkbox"))
        expect(rows).to_have_count(4, timeout=PATIENCE)  # the header's, two of PRDP, one of full physics
        for row in rows.all()[1:]:
            box = row.get_by_role("checkbox")
            while not box.is_checked():  # the table that is drawn anew after one click may miss the next
                box.click()
                page.wait_for_timeout(1000)
        expect(page.get_by_text("Inner iterations K of")).to_be_visible(timeout=PATIENCE)
    if name.lower() == WHY.lower() and not page.get_by_text("The decisions first differ").is_visible():
        for _ in range(6):
            page.get_by_role("slider", name=re.compile("^What if τ_step")).press("ArrowLeft")
        expect(page.get_by_text("The decisions first differ")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("main").locator("canvas").filter(visible=True).first).to_be_visible(timeout=PATIENCE)


def _unfold(page: Page, wanted: bool) -> None:
    """Show the cards of all scenarios, or that of the chosen one."""
    button = page.get_by_role("button", name=f"Show {'all scenarios' if wanted else 'only the chosen one'}")
    if button.is_visible():
        button.click()


def _toggle_theme(page: Page) -> None:
    page.get_by_role("button", name="Toggle theme").click()


def _slug(tab: str) -> str:
    return tab.lower().replace(" ", "-")


def _shoot(page: Page, name: str, theme: str) -> None:
    """Write a picture once the page stands still."""
    width = page.viewport_size["width"] if page.viewport_size else WIDTH
    if width == WIDTH:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})
    page.evaluate(UP)
    page.mouse.move(width / 2, 5)  # where nothing answers to the pointer
    page.wait_for_function(IDLE, timeout=PATIENCE)
    taken, same, deadline = page.screenshot(), 0, time.monotonic() + 60
    while same < STILL and time.monotonic() < deadline:
        page.wait_for_timeout(500)
        last, taken = taken, page.screenshot()
        same = same + 1 if taken == last else 0
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    file = GALLERY / f"{name}-{theme}.png"
    # Of the methods tried, the one by which no colour moves by more than a twentieth.
    fewer = picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    fewer.save(file, optimize=True)
    if file.stat().st_size > MOST_BYTES:
        sys.exit(f"{file} is larger than {MOST_BYTES:,} bytes.")


if __name__ == "__main__":
    take()
