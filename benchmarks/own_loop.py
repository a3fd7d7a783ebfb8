"""What `explore` costs around a loop of one's own: an empty loop with it, against the same loop without it.

    python benchmarks/own_loop.py [--epochs N] [--repeats N] [--json FILE]     # a minute or two on 2 cores

An epoch computes a metric in plain Python and reports it, with a loss and, as a function, a field of 1,000 points. The
loops take turns in one process:

- without: the same loop, which keeps the metric in a list;
- controller: with the controller alone, `PRDP` and its `update`, whose K is looked at in each epoch;
- headless: `explore`, whose engine keeps no runs;
- kept: its engine keeps them in a file;
- watched: kept, and the process serves the explorer to a page that a websocket client pulled and goes on reading;
- browser (with --browser): kept, and a page in headless Chromium on the same cores.

Milliseconds are by the clock, from the first epoch to the last, so that what other threads of the process take is in
them. Claim, on the medians over the repeats: `explore` costs less than 1 ms an epoch, watched as well.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import served
from served import page, serve_page, websocket_client

CLAIM = 1.0
"""Milliseconds an epoch."""

KINDS = ("without", "controller", "headless", "kept", "watched")
CLAIMED = ("headless", "kept", "watched")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20_000, metavar="N", help="of each loop; default 20000")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each loop; default 5")
    parser.add_argument("--browser", action="store_true", help="also with Chromium on the same cores")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    watchers: dict[str, Callable[[str], AbstractContextManager[Any]]] = {"watched": websocket_client}
    kinds = KINDS
    if options.browser:
        watchers["browser"], kinds = page, (*KINDS, "browser")
    milliseconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with served.server(__file__, port=5919) as server:
        for number in range(options.repeats + 1):  # the first compiles
            for kind in kinds:
                question = "kept" if kind in watchers else kind
                server.ask(f"{question} {options.epochs}")
                with watchers.get(kind, lambda _: nullcontext())(server.address):
                    taken = float(server.ask("go"))
                if number:
                    milliseconds[kind].append(taken)
    base = statistics.median(milliseconds["without"])
    met = True
    print(f"milliseconds an epoch, medians of {options.repeats} loops of {options.epochs} epochs")
    for kind, values in milliseconds.items():
        cost = statistics.median(values) - base
        met &= cost < CLAIM or kind not in CLAIMED
        claim = f"   claim: less than {CLAIM:g} ms, {'met' if cost < CLAIM else 'NOT met'}" if kind in CLAIMED else ""
        of_all = f"(from {min(values):.3f} to {max(values):.3f})"
        print(f"{kind:10} {statistics.median(values):7.3f} {of_all}   costs {cost:6.3f} ms an epoch{claim}")
    print(f"load average {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    if options.json:
        Path(options.json).write_text(json.dumps(milliseconds, indent=1))
    return 0 if met else 1


class Loops:
    """In the server process: one loop after the other, each prepared before it is let go, so that a page can open."""

    def __init__(self):
        from prdp_explorer import Engine, explore
        from prdp_explorer.engine import shared_engine

        self._explore, self._shared, self._other = explore, shared_engine(), Engine()
        self._go: Callable[[], float] = lambda: math.nan
        self.session: Any = None

    def answer(self, question: str) -> str:
        """To a kind of loop and its epochs, that it is ready; to "go", the milliseconds that an epoch of it took."""
        if question == "go":
            return str(self._go())
        kind, count = question.split()
        self._prepare(kind, int(count))
        return "ready"

    def _prepare(self, kind: str, count: int) -> None:
        from prdp_explorer import PRDP

        controller = PRDP(maximum=25)
        if kind == "without":
            self._go = lambda: without(count)
        elif kind == "controller":
            self._go = lambda: with_the_controller(count, controller)
        else:
            engine = self._shared if kind == "kept" else self._other
            session = self.session = self._explore("empty loop", controller, engine=engine, epochs=count)
            session.control("learning rate", 1e-3)
            self._go = lambda: explored(session)


def metric_after(epoch: int) -> float:
    return 0.1 + math.exp(-epoch / 300)


def timed(epochs: Iterable[int], work: Callable[[int], None]) -> float:
    """Milliseconds of an epoch after the first."""
    began, count = 0.0, -1
    for epoch in epochs:
        work(epoch)
        began, count = began or time.perf_counter(), count + 1
    return 1000 * (time.perf_counter() - began) / count


def without(count: int) -> float:
    metrics = []
    return timed(range(1, count + 1), lambda epoch: metrics.append(metric_after(epoch)))


def with_the_controller(count: int, controller: Any) -> float:
    state = controller.init()

    def work(epoch: int) -> None:
        nonlocal state
        state = controller.update(metric_after(epoch), state)
        int(state.iterations)

    return timed(range(1, count + 1), work)


def explored(session: Any) -> float:
    field = np.zeros(1000)

    def work(epoch: int) -> None:
        metric = metric_after(epoch)
        session.report(metric, loss=metric, fields=lambda: {"u": field})

    with session:
        return timed(session.epochs(), work)


def _serve(port: int) -> None:
    """In the server process: serve the explorer with the session that was prepared last."""
    import panel as pn

    from prdp_explorer.dashboard import Explorer

    loops = Loops()

    def make() -> Any:
        pn.extension("tabulator")
        return Explorer(loops.session)

    serve_page(port, make, "loop", loops.answer)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        _serve(int(sys.argv[-1]))
    else:
        sys.exit(main())
