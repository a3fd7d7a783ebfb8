"""How soon a page shows what happens: from a record to the browser, and from a key press to what it changed.

    python benchmarks/latency.py [--seconds S] [--presses N] [--json FILE]

A server process serves the explorer and trains one unpaced race of heat 1D (preset live, PRDP and full physics) in its
background thread; headless Chromium on the same cores has one page open from the beginning. Measured are

- records: from a record of the PRDP run being appended to the log to its being in the browser's columns, over all
  records that came there in a window at the start of the run, and in one after epoch 20,000;
- key presses: from the event of an arrow key on the slider of τ_step to the value beside it, which the server writes,
  and to the line about it under "What happened", which tells that the run took the edit; and from one on the slider of
  a what-if to its answer; after epoch 20,000.

The claims are on the 95th percentiles: less than 250 ms for records, less than 200 ms for key presses.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import served
from served import EPOCHS, Server, begin_race, serve

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

READ_EDITS = """() => {
    window.readouts = {
        value: () => window.tauStep.value,
        line: () => [...window.happened.querySelectorAll('[role=log] tr')].map(row => row.textContent).find(
            text => text.includes('tau_step')),
    }
}"""

READ_WHAT_IF = """status => {
    const root = status.getRootNode()
    window.readouts = {answer: () => root.textContent.match(/τ_step = [\\d.]+/)?.[0]}
}"""

WATCH_PRESSES = """() => {
    window.presses = []
    const watch = event => {
        const press = {at: event.timeStamp}, before = {}
        for (const name in window.readouts) before[name] = window.readouts[name]()
        window.presses.push(press)
        const look = () => {
            const now = performance.now()
            for (const name in before)
                if (!press[name] && window.readouts[name]() !== before[name]) press[name] = now - press.at
            if (Object.keys(before).some(name => !press[name]) && now - press.at < 5000) requestAnimationFrame(look)
        }
        requestAnimationFrame(look)
    }
    document.addEventListener('keydown', watch, {capture: true})
}"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="From a record to the browser, and from a key press to a readout.")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a window of records")
    parser.add_argument("--presses", type=int, default=40, help="key presses")
    parser.add_argument("--json", metavar="FILE", help="write the milliseconds")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    lost = False
    with served.server(__file__, port=5918) as server, served.page(server.address) as page:
        assert page.evaluate(LISTEN), "no columns of a run in the page"
        # While nothing moves, since later these elements are written anew all the time.
        page.get_by_role("textbox", name=re.compile("^τ_step")).evaluate("field => { window.tauStep = field }")
        page.get_by_role("log").evaluate("log => { window.happened = log.getRootNode() }")
        server.ask("resume")
        found["record, at the start"] = _records(server, page, options.seconds)
        while int(server.ask("epoch")) < LATE:
            time.sleep(0.5)
        found[f"record, after epoch {LATE:,}"] = _records(server, page, options.seconds)
        page.evaluate(WATCH_PRESSES)
        page.evaluate(READ_EDITS)
        presses = _presses(page, "^τ_step", options.presses)
        page.get_by_role("tab", name="Why").click()
        page.get_by_role("status").filter(has_text="These are").evaluate(READ_WHAT_IF)
        what_ifs = _presses(page, "^What if τ_step", options.presses)
        ended = int(server.ask("epoch")) >= EPOCHS
    for name, pressed, key in (
        ("key press, value", presses, "value"),
        ("key press, what happened", presses, "line"),
        ("key press, what if", what_ifs, "answer"),
    ):
        found[name] = [press[key] for press in pressed if key in press]
        lost |= len(found[name]) < len(pressed)
    for name, values in found.items():
        claim = RECORD_CLAIM if name.startswith("record") else PRESS_CLAIM
        _tell(name, values, claim)
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


def _records(server: Server, page: Any, seconds: float) -> list[float]:
    """The milliseconds of the records that reached the browser within a window."""
    page.evaluate("() => { window.arrivals.length = 0 }")
    server.ask("appended")
    page.wait_for_timeout(1000 * seconds)
    arrivals = page.evaluate("() => window.arrivals.splice(0)")
    last, at = np.array(json.loads(server.ask("appended"))).T  # of each compiled call: its last epoch, and when
    arrived = np.array([(epoch, when) for when, epochs in arrivals for epoch in epochs])
    inside = arrived[(arrived[:, 0] > last[0]) & (arrived[:, 0] <= last[-1])]
    return (inside[:, 1] - 1000 * at[np.searchsorted(last, inside[:, 0])]).tolist()


def _presses(page: Any, slider: str, count: int) -> list[dict[str, float]]:
    """The milliseconds from each press of an arrow key on a slider to what `window.readouts` reads."""
    page.get_by_role("slider", name=re.compile(slider)).focus()
    for number, pause in enumerate(np.random.default_rng(0).uniform(900, 1100, count)):
        page.keyboard.press("ArrowLeft" if number % 2 == 0 else "ArrowRight")
        page.wait_for_timeout(pause)
    return page.evaluate("() => window.presses.splice(0)")


def _serve(port: int) -> None:
    """In the server process: serve a race that has not begun, and note when its records are appended."""
    race = begin_race()
    race.pause()
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

    serve(port, race, {"resume": lambda: race.resume() or "", "epoch": lambda: str(run.epoch), "appended": take})


if __name__ == "__main__":
    if "--serve" in sys.argv:
        _serve(int(sys.argv[-1]))
    else:
        sys.exit(main())
