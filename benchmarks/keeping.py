"""What keeping a run costs: epochs a second of heat 1D (preset live), kept in a file against not kept, taking turns.

    python benchmarks/keeping.py [--pairs N]           # about a minute on 2 cores

Claim: less than 3 % of the throughput.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

from prdp_explorer import Engine
from prdp_explorer.engine import Store

EPOCHS = 3000


def epochs_per_second(store: Store | None) -> float:
    """Of one run, from its first epoch to its last, by the clock."""
    with contextlib.closing(Engine(store)) as engine:
        run = engine.start("heat-1d", epochs=EPOCHS, seed=1)
        run.wait(lambda run: len(run.log) > 0)
        began, first = time.perf_counter(), run.epoch
        run.wait()
        return (EPOCHS - first) / (time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10, metavar="N", help="default 10")
    options = parser.parse_args()
    epochs_per_second(None)  # compiles
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.pairs):
            with contextlib.closing(Store(Path(folder) / f"{number}.sqlite")) as store:
                measures = [lambda: epochs_per_second(None), lambda store=store: epochs_per_second(store)]
                if number % 2:
                    kept, free = measures[1](), measures[0]()
                else:
                    free, kept = measures[0](), measures[1]()
            ratios.append(kept / free)
            print(f"pair {number + 1}: {free:.0f} epochs/s, kept {kept:.0f}, ratio {ratios[-1]:.3f}", flush=True)
    cost = 1 - statistics.median(ratios)
    verdict = "met" if cost < 0.03 else "NOT met"
    print(f"keeping costs {cost:.1%} (median of {options.pairs} pairs)   claim: less than 3%, {verdict}")
    return 0 if cost < 0.03 else 1


if __name__ == "__main__":
    sys.exit(main())
