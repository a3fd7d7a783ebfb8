"""How soon a page shows what happens: from a record to the browser, and from a key press to what it changed.

    python benchmarks/latency.py [--seconds S] [--presses N] [--json FILE]

A server process serves the explorer and trains one unpaced race of heat 1D (preset live, PRDP and full physics) in its
background thread; headless Chromium on the same cores has one page open from the beginning. Measured are

- records: from a record of the PRDP run being appended to the log to its being in the browser's columns, over all
  records that came there in a window at the start of the run, and in one after epoch 20,000;
- key presses: from the event of an arrow key on the slider of τ_step to the value beside it, which the server writes,
  and to the line about it under "What happened", which tells that the run took the edit; after epoch 20,000.

The claims are on the 95th percentiles: less than 250 ms for records, less than 200 ms for key presses.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

EPOCHS = 100_000
LATE = 20_000
RECORD_CLAIM = 250
PRESS_CLAIM = 200

LISTEN = """() => {
    window.arrivals = []
    const sources = [...Bokeh.documents[0].all_models].filter(model =>
        model.type === 'ColumnDataSource' && ['validation', 'tau_step'].every(name => model.columns().includes(name)))
    for (const source of sources) {
        let seen = -1
        const note = () => {
            const [epochs, thresholds] = [source.get_array('epoch'), source.get_array('tau_step')]
            const last = epochs.length - 1
            if (Number.isNaN(thresholds[last])) return
            const fresh = Array.from(epochs).filter(epoch => epoch > seen)
            seen = epochs[last]
            if (fresh.length) window.arrivals.push([Date.now(), fresh])
        }
        source.streaming.connect(note)
        source.properties.data.change.connect(note)
    }
    return sources.length
}"""

WATCH_PRESSES = """() => {
    window.presses = []
    const read = {
        value: () => window.tauStep.value,
        line: () => [...window.happened.querySelectorAll('[role=log] tr')].map(row => row.textContent).find(
            text => text.includes('tau_step')),
    }
    document.addEventListener('keydown', event => {
        const press = {at: event.timeStamp}, before = {value: read.value(), line: read.line()}
        window.presses.push(press)
        const look = () => {
            const now = performance.now()
            for (const name of ['value', 'line'])
                if (!press[name] && read[name]() !== before[name]) press[name] = now - press.at
            if (!(press.value && press.line) && now - press.at < 5000) requestAnimationFrame(look)
        }
        requestAnimationFrame(look)
    }, {capture: true})
}"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="From a record to the browser, and from a key press to a readout.")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window of records")
    parser.add_argument("--presses", type=int, default=40, help="key presses")
    parser.add_argument("--json", metavar="FILE", help="write the milliseconds")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with _server() as server, _page(server.address) as page:
        assert page.evaluate(LISTEN), "no columns of a run in the page"
        # While nothing moves, since later these elements are written anew all the time.
        page.get_by_role("textbox", name=re.compile("^τ_step")).evaluate("field => { window.tauStep = field }")
        page.get_by_role("log").evaluate("log => { window.happened = log.getRootNode() }")
        server.ask("resume")
        found["record, at the start"] = _records(server, page, options.seconds)
        while server.epoch < LATE:
            time.sleep(0.5)
        found[f"record, after epoch {LATE:,}"] = _records(server, page, options.seconds)
        presses = _presses(page, options.presses)
        ended = server.epoch >= EPOCHS
    found["key press, value"] = [press["value"] for press in presses if "value" in press]
    found["key press, what happened"] = [press["line"] for press in presses if "line" in press]
    for name, values in found.items():
        claim = RECORD_CLAIM if name.startswith("record") else PRESS_CLAIM
        _tell(name, values, claim)
    lost = [name for name in ("value", "line") if any(name not in press for press in presses)]
    print(f"load average {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    if ended or lost:
        print("The race ended within the benchmark." if ended else "The page did not answer every key press.")
        return 1
    return 0


def _tell(name: str, values: Sequence[float], claim: float) -> None:
    if not values:
        print(f"{name:26} nothing came")
        return
    middle, high = np.quantile(values, [0.5, 0.95])
    print(
        f"{name:26} {middle:6.0f} ms median, {high:6.0f} ms 95th percentile of {len(values):5}"
        f"   claim: less than {claim} ms, {'met' if high < claim else 'NOT MET'}"
    )


def _records(server: "_Server", page: Any, seconds: float) -> list[float]:
    """The milliseconds of the records that reached the browser within a window."""
    page.evaluate("() => { window.arrivals.length = 0 }")
    server.ask("appended")
    page.wait_for_timeout(1000 * seconds)
    arrivals = page.evaluate("() => window.arrivals.splice(0)")
    last, at = np.array(json.loads(server.ask("appended"))).T  # of each compiled call: its last epoch, and when
    arrived = np.array([(epoch, when) for when, epochs in arrivals for epoch in epochs])
    inside = arrived[(arrived[:, 0] > last[0]) & (arrived[:, 0] <= last[-1])]
    return (inside[:, 1] - 1000 * at[np.searchsorted(last, inside[:, 0])]).tolist()


def _presses(page: Any, count: int) -> list[dict[str, float]]:
    """The milliseconds from each key press on."""
    import re

    page.evaluate(WATCH_PRESSES)
    page.get_by_role("slider", name=re.compile("τ_step")).focus()
    pauses = np.random.default_rng(0).uniform(900, 1100, count)
    for number, pause in enumerate(pauses):
        page.keyboard.press("ArrowLeft" if number % 2 == 0 else "ArrowRight")
        page.wait_for_timeout(pause)
    return page.evaluate("() => window.presses")


class _Server:
    """The process that serves and trains, asked over its standard input and output."""

    def __init__(self, process: subprocess.Popen[str], port: int):
        self._process = process
        assert process.stdout is not None
        race = process.stdout.readline().strip()
        assert race, "the server did not start"
        self.address = f"http://localhost:{port}/explorer?race={race}"

    def ask(self, command: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    @property
    def epoch(self) -> int:
        return int(self.ask("epoch"))


@contextmanager
def _server() -> Iterator[_Server]:
    port = 5918
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PRDP_EXPLORER_CACHE": folder,
                "PRDP_EXPLORER_STORE": str(Path(folder) / "runs.sqlite"),
            },
        )
        try:
            yield _Server(process, port)
        finally:
            process.kill()
            process.wait()


def _serve(port: int) -> None:
    """In the server process: serve the explorer and answer questions about the one race."""
    import panel as pn

    from prdp_explorer import Constant
    from prdp_explorer.dashboard import make_page
    from prdp_explorer.dashboard._explorer import shared_engine

    race = shared_engine().race("heat-1d", {"PRDP": None, "full physics": Constant()}, epochs=EPOCHS)
    race.pause()
    race.watch()  # so that it goes on should the page leave
    run, _ = race.runs.values()
    appended: list[tuple[int, float]] = []
    append = run.log.append

    def timed(rows: np.ndarray) -> None:
        append(rows)
        appended.append((int(rows["epoch"][-1]), time.time()))

    run.log.append = timed
    run.wait(lambda run: run.state == "paused")

    def take() -> str:
        told = json.dumps(appended)
        del appended[:-1]
        return told

    answers = {
        "resume": lambda: race.resume() or "",
        "epoch": lambda: str(run.epoch),
        "appended": take,
    }

    def answer() -> None:
        print(race.id, flush=True)
        for line in sys.stdin:
            print(answers[line.strip()](), flush=True)

    threading.Thread(target=answer, daemon=True).start()
    pn.serve({"explorer": make_page}, port=port, address="localhost", show=False, verbose=False)


@contextmanager
def _page(address: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        page.get_by_role("button", name="Resume").wait_for()
        page.wait_for_function("() => Bokeh.documents[0].is_idle")
        yield page
        browser.close()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        _serve(int(sys.argv[-1]))
    else:
        sys.exit(main())
