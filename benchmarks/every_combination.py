"""Train every scenario × solver × differentiation mode that `list` offers for a few epochs; none may be non-finite.

    python benchmarks/every_combination.py                     # the live presets (a quarter of an hour on 2 cores)
    python benchmarks/every_combination.py heat-1d burgers-1d

Prints a line a combination, and the reason for each that is not offered; exits with 1 if one was not finite.
"""

import argparse
import sys

from prdp_explorer import train
from prdp_explorer.engine import forget_programs, not_offered
from prdp_explorer.problems import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--epochs", type=int, default=3, metavar="N", help="default 3")
    options = parser.parse_args()
    trained = refused = bad = 0
    for name in options.scenarios or SCENARIOS:
        problem = SCENARIOS[name].presets["live"]
        reasons = not_offered(problem)
        for names, reason in reasons.items():
            print(f"{' × '.join((name, *names))}: not offered: {reason}", flush=True)
        refused += len(reasons)
        for solver in problem.solvers:
            for mode in problem.differentiations:
                if (solver, mode) in reasons:
                    continue
                training = train(name, solver=solver, differentiation=mode, epochs=options.epochs)
                records = list(training)
                bad += training.status != "finished"
                trained += 1
                print(
                    f"{name} × {solver} × {mode}: {training.status}, loss {records[-1].train_loss:.3g}, "
                    f"error {records[-1].validation:.3g}, compiled in {training.seconds['compile']:.1f} s",
                    flush=True,
                )
        forget_programs()
    print(f"{trained} combinations trained, {bad} of them not to the end; {refused} are not offered")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
