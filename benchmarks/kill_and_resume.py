"""Kill a training process at random moments, look at what was kept, go on, and compare with an undisturbed run.

    python benchmarks/kill_and_resume.py               # 50 kills (about ten minutes on 2 cores)
    python benchmarks/kill_and_resume.py --kills 5

Claims: the store of every killed process opens; nothing older than a second is missing; resumed, the records (times
aside) and the final parameters are those of a run that nothing disturbed, to the last bit. Exits with 1 if one fails.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from prdp_explorer import Engine
from prdp_explorer.engine import Store, settings_from_json
from prdp_explorer.engine._training import Training

EPOCHS = 4000

WORKER = f"""
import sys, time
from prdp_explorer import Engine
from prdp_explorer.engine import Store

run = Engine(Store(sys.argv[1])).start("heat-1d", epochs={EPOCHS}, seed=1)
run.wait(lambda run: len(run.log) > 0)
while not run.ended:
    print(time.monotonic(), run.epoch, flush=True)
    time.sleep(0.01)
"""
"""Trains, and says when it had reached which epoch."""


def killed(place: Path, after: float) -> list[tuple[float, int]]:
    """Kill a worker so many seconds after its first epoch; how long before its end it had said which epoch."""
    with subprocess.Popen([sys.executable, "-c", WORKER, str(place)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        lines = [worker.stdout.readline()]
        time.sleep(after)
        os.kill(worker.pid, signal.SIGKILL)
        end = time.monotonic()
        lines += worker.stdout.readlines()
    said = [line.split() for line in lines if line.endswith("\n")]
    return [(end - float(at), int(epoch)) for at, epoch in said]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="default 50")
    options = parser.parse_args()
    moments = random.Random(0)
    lost, bad, reached = [], 0, []
    undisturbed: tuple[Training, np.ndarray] | None = None
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.kills):
            place = Path(folder) / f"{number}.sqlite"
            said = killed(place, moments.uniform(0, 2.5))
            with contextlib.closing(Store(place)) as store, contextlib.closing(Engine(store)) as engine:
                (run,) = store.runs()
                kept = store.log(run.id).read()
                lost.append(max((ago for ago, epoch in said if epoch > len(kept) - 1), default=0.0))
                reached.append(run.epochs)
                if run.status == "interrupted":
                    engine.resume(run.id).runs[run.label].wait()
                if undisturbed is None:
                    training, rows = Training(settings_from_json(run.settings)), []
                    while not training.finished:
                        rows.append(training.advance(training.epochs_per_call))
                    undisturbed = training, np.concatenate(rows)
                engine.close()
                training, rows = undisturbed
                found, end = store.log(run.id).read(), store.checkpoint(run.id)
                same = len(found) == len(rows) and all(
                    found[name].tobytes() == rows[name].tobytes()
                    for name in found.dtype.names or ()
                    if "seconds" not in name
                )
                same &= end is not None and all(
                    np.array_equal(mine, other)
                    for mine, other in zip(end.leaves, training.checkpoint().leaves, strict=True)
                )
                bad += not same or lost[-1] > 1.0
            print(
                f"kill {number + 1}: {run.status} at epoch {run.epochs}, {lost[-1]:.2f} s lost, resumed "
                f"{'to the same bits' if same else 'DIFFERENTLY'}",
                flush=True,
            )
    print(
        f"{options.kills} kills at epochs {min(reached)} to {max(reached)}: at most {max(lost):.2f} s lost "
        f"(claim: 1 s), {bad} failed"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
