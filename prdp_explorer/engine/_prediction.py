"""What a training will cost, and what refinement will save, measured in a moment before it starts."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from ..problems import scenarios
from ..refinement import Constant
from ._epoch import LONGEST_CALL, Trainer
from ._loop import ONLY_ITS_AUTHOR
from ._programs import programs_for
from ._settings import LOOP, RunSettings, refinement_for
from ._store import StoredRun
from ._training import CALL_SECONDS, steering_of, trainer_of

MOST_SECONDS = 2.0
"""What measuring may take beside compiling, unless a single epoch takes longer."""

MOST_REPEATS = 20


@dataclass(frozen=True)
class Prediction:
    """Seconds of an epoch as `fixed` + `each` · K, and what follows for a training.

    **Attributes:**

    - `fixed`, `each`: seconds of an epoch that K does not change, network, optimiser and validation, and seconds that
      each inner iteration adds.
    - `full_iterations`: K of full physics. `epochs`: of the training.
    - `share`: of full physics' inner iterations that the refinement is expected to spend; None if nothing is known.
    - `known_from`: in words, what the share is known from.
    """

    fixed: float
    each: float
    full_iterations: int
    epochs: int
    share: float | None
    known_from: str

    @property
    def physics(self) -> float:
        """The share of full physics' seconds that is the inner solve's: the most that refinement can save."""
        whole = self.fixed + self.each * self.full_iterations
        return self.each * self.full_iterations / whole if whole else 0.0

    @property
    def saving(self) -> float | None:
        """The share of full physics' seconds that refinement is expected to save; None if nothing is known of K."""
        return None if self.share is None else self.physics * (1 - self.share)

    @property
    def seconds(self) -> float:
        """Seconds of training with full physics."""
        return self.epochs * (self.fixed + self.each * self.full_iterations)


def predict(settings: RunSettings, runs: Iterable[StoredRun] = ()) -> Prediction:
    """Measure what an epoch costs on this machine, with the program that the training itself uses; compiled if need be.

    Nothing is kept of what is trained meanwhile.

    **Arguments:**

    - `settings`: of the training that refines.
    - `runs`: kept ones, the newest first: one with the same settings, but for the seed, tells what share of the
      iterations is spent.

    **Raises:** `ValueError` in words for a loop of one's own, and where a tolerance is refined.
    """
    if settings.preset == LOOP:
        raise ValueError(ONLY_ITS_AUTHOR)
    if settings.refinement["kind"] == "prdp-tolerance":
        raise ValueError("What a tolerance will cost is not known before: its solves end when they end. Refine K.")
    full = settings.problem.full_iterations
    coarse, whole = _seconds_an_epoch(settings, (1, full))
    each = max(whole - coarse, 0.0) / max(full - 1, 1)
    share, known_from = _expected_share(settings, runs)
    return Prediction(max(whole - each * full, 0.0), each, full, settings.epochs, share, known_from)


def _seconds_an_epoch(settings: RunSettings, counts: Sequence[int]) -> list[float]:
    """Of each K: the least of several calls, which take turns, since whatever else the machine does only adds."""
    trainer = trainer_of(settings)
    calls = [_calls(trainer, settings, count) for count in counts]
    for advance in calls:
        advance(1)  # before training
    once = max(advance(1) for advance in calls)
    epochs = max(1, min(int(CALL_SECONDS / once), LONGEST_CALL))
    repeats = max(1, min(int(MOST_SECONDS / (epochs * once * len(calls))), MOST_REPEATS))
    times = [[advance(epochs) for advance in calls] for _ in range(repeats)]
    return np.min(times, axis=0).tolist()


def _calls(trainer: Trainer, settings: RunSettings, iterations: int) -> Callable[[int], float]:
    """What trains so many epochs with constant K, and gives the seconds of one."""
    steering = steering_of(Constant(iterations), settings.learning_rate)
    programs, _ = programs_for(trainer, steering)
    state = programs.init(np.uint32(settings.seed), steering)

    def advance(epochs: int) -> float:
        nonlocal state
        began = time.perf_counter()
        state, _ = programs.advance(state, steering, programs.data, np.int32(epochs))
        jax.block_until_ready(state)
        return (time.perf_counter() - began) / epochs

    return advance


def _expected_share(settings: RunSettings, runs: Iterable[StoredRun]) -> tuple[float | None, str]:
    full = settings.problem.full_iterations
    wanted = replace(settings, seed=0).to_json()
    for run in runs:
        if run.status == "finished" and run.epochs and not run.edits and {**run.settings, "seed": 0} == wanted:
            return run.summary["iterations"] / (full * run.epochs), f"the kept run {run.title}"
    scenario = scenarios().get(settings.scenario)
    share = None if scenario is None else scenario.shares.get(settings.preset)
    if share is None or settings.refinement != refinement_for(settings.problem, settings.problem.controller):
        return None, "nothing yet: no such run is kept"
    return share, "earlier trainings of the preset"
