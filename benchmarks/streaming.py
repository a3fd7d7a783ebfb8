"""What watching costs: training throughput with a dashboard session open, against headless.

    python benchmarks/streaming.py [--seconds S] [--repeats N] [--browser] [--json FILE]

A server process serves the explorer and trains one unpaced race of heat 1D (preset live, PRDP and full physics) in its
background thread. Throughput is that of the engine, in epochs a second of both runs together, over a window of some
seconds, in turn

- headless: nobody looks;
- watched: one session, whose page a websocket client pulled and keeps receiving;
- browser (with --browser): one session in headless Chromium on the same cores, each of whose tabs was opened.

The share of a window is compared with the mean of the headless windows before and after it, since the machine's own
speed drifts. The claim: watched reaches at least 90 % of headless.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import served
from served import Server, begin_race, page, serve, websocket_client

CLAIM = 0.90


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description="Training throughput watched against headless.")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a window")
    parser.add_argument("--repeats", type=int, default=3, help="windows of each kind")
    parser.add_argument("--browser", action="store_true", help="also with Chromium on the same cores")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    kinds: dict[str, Callable[[str], AbstractContextManager[None]]] = {"watched": websocket_client}
    if options.browser:
        kinds["browser"] = _chromium
    rates: dict[str, list[float]] = {"headless": [], **{kind: [] for kind in kinds}}
    shares: dict[str, list[float]] = {kind: [] for kind in kinds}
    with served.server(__file__, port=5917) as server:
        before = _rate(server, options.seconds)
        rates["headless"].append(before)
        for kind, watcher in list(kinds.items()) * options.repeats:
            with watcher(server.address):
                during = _rate(server, options.seconds)
            time.sleep(1.0)  # the session ends
            after = _rate(server, options.seconds)
            rates["headless"].append(after)
            rates[kind].append(during)
            shares[kind].append(2 * during / (before + after))
            before = after
    for kind, values in rates.items():
        print(f"{kind:10} {statistics.median(values):8.0f} epochs/s (median of {len(values)} windows)")
    for kind, values in shares.items():
        share = statistics.median(values)
        claim = f"   claim: at least {CLAIM:.0%}, {'met' if share >= CLAIM else 'NOT MET'}" if kind == "watched" else ""
        print(f"{kind:10} {share:8.1%} of headless (from {min(values):.1%} to {max(values):.1%}){claim}")
    print(f"load average {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    if options.json:
        Path(options.json).write_text(json.dumps({"rates": rates, "shares": shares}, indent=1))
    return 0


def _rate(server: Server, seconds: float) -> float:
    """Epochs a second over a window."""
    first, began = int(server.ask("epochs")), time.perf_counter()
    time.sleep(seconds)
    last, ended = int(server.ask("epochs")), time.perf_counter()
    return (last - first) / (ended - began)


def _serve(port: int) -> None:
    """In the server process: serve a race that is under way, and count its epochs."""
    race = begin_race()
    run, other = race.runs.values()
    run.wait(lambda run: run.epoch > 2000)

    def epochs() -> str:
        if run.ended or other.ended:
            raise SystemExit("the race ended within the benchmark; use fewer seconds")
        return str(run.epoch + other.epoch)

    serve(port, race, {"epochs": epochs})


@contextmanager
def _chromium(address: str) -> Iterator[None]:
    """A session in a real browser on the same cores."""
    with page(address) as shown:
        tabs = shown.get_by_role("tab").all()
        for tab in [*tabs[1:], *tabs[:1]]:
            tab.click()
            time.sleep(1.0)
        time.sleep(2.0)
        yield


if __name__ == "__main__":
    if "--serve" in sys.argv:
        _serve(int(sys.argv[-1]))
    else:
        sys.exit(main())
