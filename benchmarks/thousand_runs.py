"""How soon a full store can be looked at: 1,000 kept runs, their table in a browser.

    python benchmarks/thousand_runs.py [--runs N] [--repeats N] [--json FILE]           # about half a minute on 2 cores

Fills a temporary store, serves the explorer over it, opens it in headless Chromium and clicks on the tab of kept runs.
Measured are seconds of opening the store, of reading the list of runs, and from the click, which makes the view, to the
first row of the table being visible.

Claim: less than a second from the click to the first row (median).
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prdp_explorer import PRDP, Constant
from prdp_explorer.engine import RECORD, Event, Store, settings_for

ROOT = Path(__file__).parent.parent
CLAIM = 1.0
PORT = 5918
EPOCHS = 100

FIRST_ROW = """() => {
    const within = root => [...root.querySelectorAll('*')].some(element =>
        element.matches('.tabulator-row') && element.clientHeight || element.shadowRoot && within(element.shadowRoot))
    return within(document)
}"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="default 1000")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "runs.sqlite")
        _fill(place, options.runs)
        opening, reading = zip(*(_read(place) for _ in range(options.repeats)), strict=True)
        with _server(place):
            showing = list(_show(options.repeats))
    figures = {"opening the store": opening, "reading the runs": reading, "click to first row": showing}
    for name, seconds in figures.items():
        print(f"{name:20} {statistics.median(seconds):6.3f} s (median of {len(seconds)}, most {max(seconds):.3f} s)")
    met = statistics.median(showing) < CLAIM
    print(f"claim: {options.runs} runs are shown in less than {CLAIM:.0f} s, {'met' if met else 'NOT met'}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))
    return 0 if met else 1


def _fill(place: str, runs: int) -> None:
    """Keep plausible runs: PRDP and full physics by turns, a third of them edited, some stopped or diverged."""
    chance = random.Random(0)
    settings = [
        settings_for("heat-1d", controller, seed=seed, epochs=EPOCHS).to_json()
        for seed in range(20)
        for controller in (PRDP(), Constant())
    ]
    rows = np.zeros(EPOCHS + 1, RECORD)
    rows["epoch"] = np.arange(EPOCHS + 1)
    with contextlib.closing(Store(place)) as store:
        for number in range(runs):
            name = f"heat-1d-{number:08x}"
            k = 25 if number % 2 else 4
            rows["iterations"] = rows["next_iterations"] = k
            rows["validation"] = chance.uniform(0.5, 1) * np.exp(-rows["epoch"] / 40)
            rows["cumulative_iterations"] = k * rows["epoch"]
            rows["cumulative_seconds"] = 0.01 * rows["epoch"]
            status, epochs = chance.choices([("finished", EPOCHS), ("stopped", 60), ("diverged", 20)], [8, 1, 1])[0]
            edits = [Event(30, "adjust", {"tau_step": chance.choice([0.8, 0.9])})] if number % 6 == 0 else []
            store.add(name, "full physics" if number % 2 else "PRDP", f"race-{number // 2}", settings[number % 40])
            store.write(name, status=status, message="", rows=rows[: epochs + 1], first=0, events=edits)


def _read(place: str) -> tuple[float, float]:
    """Seconds of opening the store, and of reading the list of its runs."""
    began = time.perf_counter()
    with contextlib.closing(Store(place)) as store:
        opened = time.perf_counter()
        store.runs()
        return opened - began, time.perf_counter() - opened


def _show(repeats: int) -> Iterator[float]:
    """Seconds from the click to the first row, each in a browser context of its own."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        for _ in range(repeats):
            with contextlib.closing(browser.new_context()) as context:
                page = context.new_page()
                page.goto(f"http://localhost:{PORT}/explorer")
                tab = page.get_by_role("tab", name="Kept runs")
                tab.wait_for()
                page.wait_for_function("Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle")
                began = time.perf_counter()
                tab.click()
                page.wait_for_function(FIRST_ROW, polling="raf")  # waiting for a locator looks twice a second only
                yield time.perf_counter() - began
        browser.close()


@contextlib.contextmanager
def _server(place: str) -> Iterator[None]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "panel", "serve", str(ROOT / "apps" / "explorer.py"), f"--port={PORT}"),
            *("--address=localhost", f"--allow-websocket-origin=localhost:{PORT}"),
        ],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PRDP_EXPLORER_STORE": place},
    )
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://localhost:{PORT}/explorer"):
                break
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
