"""A problem small enough to compile in a second, and ways to compare runs."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from prdp_explorer import PRDP, Engine, Problem, Record, Run
from prdp_explorer.engine._recorder import Recorder
from prdp_explorer.engine._training import Training
from prdp_explorer.physics import HeatOperator, interior_points
from prdp_explorer.solvers import DIFFERENTIATIONS, AbstractDifferentiation, solvers_for

PATIENCE = 60.0
"""Seconds after which a test gives up waiting for what should take milliseconds."""


class Toy(Problem):
    """A linear map learns one heat step on six points through the inner solve of the next; counts its traces."""

    full_iterations = 12
    epochs = 40
    batch_size = 4
    learning_rate = 0.02
    controller = PRDP(tau_step=0.95, tau_stop=0.95, window=2, ema_window=2, initial=1, maximum=12)

    def __init__(self):
        self.operator = HeatOperator(0.02, 6)
        self.traces = 0

    def data(self):
        random = np.random.default_rng(0)
        return self._pairs(random.normal(size=(16, 6))), self._pairs(random.normal(size=(5, 6)))

    def _pairs(self, start: np.ndarray) -> dict[str, np.ndarray]:
        first = self.operator.solve_exactly(start)
        return {"start": start, "first": first, "second": self.operator.solve_exactly(first)}

    def model(self, key):
        return eqx.nn.Linear(6, 6, key=key)

    def loss(self, model, batch, solve):
        self.traces += 1
        after_physics = jax.vmap(lambda b: solve(self.operator, b))(jax.vmap(model)(batch["start"]))
        return jnp.mean((after_physics - batch["second"]) ** 2)

    def metric(self, model, validation, solve):
        return jnp.mean((jax.vmap(model)(validation["start"]) - validation["first"]) ** 2)

    def fields(self, model, validation, solve):
        return {"output": jax.vmap(model)(validation["start"]), "target": validation["first"]}

    def points(self):
        return interior_points(6)


class BlockingToy(Toy):
    """Cannot be set up before `released` is set."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()

    def data(self):
        self.entered.set()
        assert self.released.wait(PATIENCE)
        return super().data()


class PlainToy(Toy):
    """Offers all solvers and modes, and descends along the gradient itself: without one nothing changes any more."""

    learning_rate = 0.01
    optimizer = optax.identity()
    solvers = solvers_for(HeatOperator, "jacobi")
    differentiations = DIFFERENTIATIONS
    operator_type = HeatOperator


class GatedToy(PlainToy):
    """Cannot be compiled for one differentiation mode before `released` is set."""

    def __init__(self, gated: type[AbstractDifferentiation]):
        super().__init__()
        self.gated = gated
        self.entered = threading.Event()
        self.released = threading.Event()

    def loss(self, model, batch, solve):
        if isinstance(solve.differentiation, self.gated):
            self.entered.set()
            assert self.released.wait(PATIENCE)
        return super().loss(model, batch, solve)


TOY = Toy()
"""One object for all tests that need no compilation of their own."""


def timeless(records: Iterable[Record]) -> list[str]:
    """Records to the last bit, without the seconds, comparable although they hold NaN."""
    return [repr(replace(record, seconds=0.0, cumulative_seconds=0.0)) for record in records]


def wait_for_epoch(run: Run, epoch: int) -> None:
    """Wait until an epoch is done, and fail if the run is over before."""
    assert run.wait(lambda run: run.epoch >= epoch, PATIENCE)
    assert run.epoch >= epoch, run.message


def wait_for_state(run: Run, *states: str) -> None:
    """Wait until the log says that a run entered one of the states last."""

    def entered() -> bool:
        events = [event for event in run.log.events if event.name not in ("adjust", "compiling")]
        return run.state in states and bool(events) and events[-1].name == run.state

    assert run.log.wait(entered, PATIENCE), f"{run.state}: {run.message}"


def adjustments(run: Run) -> list[tuple[int, dict[str, Any]]]:
    """The epochs from which adjustments acted, and their values."""
    return [(event.epoch, dict(event.values)) for event in run.log.events if event.name == "adjust"]


def wait_for_adjustment(run: Run, name: str) -> int:
    """Wait until a change of that setting acts, and return the first epoch that it acts on."""

    def acted() -> list[int]:
        return [epoch for epoch, values in adjustments(run) if name in values]

    assert run.wait(lambda _: bool(acted()), PATIENCE)
    assert acted(), run.message
    return acted()[-1]


def recorder_of(engine: Engine) -> Recorder:
    assert engine.recorder is not None
    return engine.recorder


def undisturbed(run: Run) -> tuple[Training, np.ndarray]:
    """A whole training without engine, store or interruption, edited at the epochs that the log says; its records."""
    training, rows = Training(run.started_with), []
    for epoch, values in [*adjustments(run), (run.settings.epochs + 1, {})]:
        while training.epoch < epoch - 1:
            rows.append(training.advance(epoch - 1 - training.epoch))
        if values:
            training.adjust(values)
    return training, np.concatenate(rows)
