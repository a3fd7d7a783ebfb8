"""How well the saving of seconds is predicted before a training starts: predicted against measured, on live presets.

    python benchmarks/predicted_saving.py [SCENARIO …] [--seeds N]      # three minutes on 2 cores for all

Claim: within 10 percentage points on every live preset.
"""

import argparse
import statistics
import sys

from prdp_explorer import Constant, Engine, train
from prdp_explorer.engine import TrainingRecords, settings_for
from prdp_explorer.problems import SCENARIOS

SHORT_SECONDS = 5.0
"""A preset whose full physics takes less is trained with several seeds, which the figures are medians of."""


def seconds(training: TrainingRecords) -> float:
    return list(training)[-1].cumulative_seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--seeds", type=int, default=7, metavar="N", help="of presets that take seconds; default 7")
    options = parser.parse_args()
    engine, worst = Engine(), 0.0
    print("| scenario, live | an epoch | physics at K_full | iterations spent | seconds saved, predicted | measured |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.scenarios or SCENARIOS:
        found = engine.predict(settings_for(name)).result()
        if found.share is None or found.saving is None:
            raise SystemExit(f"{name} has no usual share of iterations.")
        saved = []
        for seed in range(1 if found.seconds > SHORT_SECONDS else options.seeds):
            taken = {}
            for refines in (True, False) if seed % 2 else (False, True):
                taken[refines] = seconds(train(name, None if refines else Constant(), seed=seed))
            saved.append(1 - taken[True] / taken[False])
        measured_saving = statistics.median(saved)
        worst = max(worst, abs(measured_saving - found.saving))
        print(
            f"| {name} | {1000 * found.fixed:.3g} ms + {1000 * found.each:.3g} ms · K | {found.physics:.0%} | "
            f"{found.share:.0%} | {found.saving:.0%} | {measured_saving:.0%} |",
            flush=True,
        )
    engine.close()
    verdict = "met" if worst <= 0.1 else "NOT met"
    print(f"farthest apart: {100 * worst:.0f} percentage points   claim: 10 at most, {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
