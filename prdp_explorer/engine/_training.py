"""One run's training, advanced call by call; and `train`, which does nothing else."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..problems import Problem
from ..refinement import AbstractController, AnyController
from ._epoch import LONGEST_CALL, Steering, Trainer
from ._log import RECORD, Checkpoint, Log, Record, Snapshot, as_records
from ._programs import programs_for
from ._settings import RunSettings, settings_for

CALL_SECONDS = 0.03
"""What a compiled call aims to take: short enough to answer a person, long enough to leave the interpreter alone."""


Edit = tuple[int, Mapping[str, Any]]
"""An epoch, and what is different from then on, by name."""

COMPILED = frozenset({"differentiation", "solver"})
"""The changes that ask for another compiled program."""


class Training:
    """The state of one training run on the device, and its bookkeeping.

    **Attributes:**

    - `settings`: as they are now.
    - `compilations`: of the training step for this run; 0 if this process already had it.
    - `seconds`: of setup, compile and train.
    - `epoch`: the last epoch done; -1 before the measurement before training.
    - `diverged`: whether a loss or metric was not finite.
    - `room`: the largest K that unrolled differentiation has room for.
    """

    def __init__(self, settings: RunSettings):
        """Compile what is needed and set up the start. Takes seconds the first time."""
        self.settings = settings
        self.room = settings.largest_iterations
        began = time.perf_counter()
        self._controller = settings.build_controller()
        self._trainer = trainer_of(settings)
        self._steering = self._steer()
        self._programs, compiled = programs_for(self._trainer, self._steering)
        self._state = jax.block_until_ready(self._programs.init(np.uint32(settings.seed), self._steering))
        self.compilations = int(compiled)
        compile_seconds = self._programs.compile_seconds if compiled else 0.0
        self.seconds = {
            "setup": time.perf_counter() - began - compile_seconds,
            "compile": compile_seconds,
            "train": 0.0,
        }
        self.epoch = -1
        self.diverged = False
        self._iterations = 0
        self._last_iterations = int(self._state.controller.iterations)
        self._seconds_per_epoch = CALL_SECONDS  # until measured: one epoch a call

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.diverged or self.epoch >= self.settings.epochs

    @property
    def epochs_per_call(self) -> int:
        """How many epochs the next call should run to take about `CALL_SECONDS`."""
        fitting = int(CALL_SECONDS / self._seconds_per_epoch)
        return max(1, min(fitting, LONGEST_CALL, self.settings.epochs - self.epoch))

    def advance(self, epochs: int) -> np.ndarray:
        """Run up to `epochs` epochs in one compiled call and return their records."""
        epochs = min(epochs, LONGEST_CALL, self.settings.epochs - self.epoch)
        began = time.perf_counter()
        self._state, columns = self._programs.advance(
            self._state, self._steering, self._programs.data, np.int32(epochs)
        )
        columns, finite = jax.device_get((columns, self._state.finite))
        seconds = time.perf_counter() - began
        done = epochs
        if not finite:
            self.diverged = True
            filled = columns["epoch"][:epochs] == self.epoch + 1 + np.arange(epochs)
            done = int(np.count_nonzero(filled))
        self._seconds_per_epoch = max(seconds / done, 1e-6)

        rows = np.zeros(done, RECORD)
        for name, column in columns.items():
            rows[name] = column[:done]
        rows["seconds"] = seconds / done
        rows["cumulative_seconds"] = self.seconds["train"] + np.cumsum(rows["seconds"])
        rows["cumulative_iterations"] = self._iterations + np.cumsum(rows["iterations"])
        for name in ("tau_step", "tau_stop"):
            rows[name] = self.settings.refinement.get(name, np.nan)
        self.seconds["train"] += seconds
        self._iterations = int(rows["cumulative_iterations"][-1])
        self._last_iterations = int(rows["iterations"][-1]) or self._last_iterations
        self.epoch = int(rows["epoch"][-1])
        return rows

    def compile_for(self, changes: Mapping[str, Any]) -> None:
        """Compile what `adjust` will need for a new mode or solver; any thread may, while training goes on."""
        programs, compiled = programs_for(trainer_of(self.settings.changed(changes)), self._steering)
        if compiled:
            self.compilations += 1
            self.seconds["compile"] += programs.compile_seconds

    def adjust(self, changes: Mapping[str, Any]) -> None:
        """Change values of the controller, K (`iterations`), the learning rate, the mode, the solver or the epochs.

        They act from the next epoch on. The values are `RunSettings.changed`'s, which checks them.
        """
        self.settings = self.settings.changed(changes)
        if COMPILED & changes.keys():
            self.room = self.settings.largest_iterations
            self._trainer = trainer_of(self.settings)
            self._programs, _ = programs_for(self._trainer, self._steering)
        self._controller = self.settings.build_controller()
        self._steering = self._steer()
        controller = self._controller.reconcile(self._state.controller)
        if "iterations" in changes:
            iterations = jnp.asarray(changes["iterations"], controller.iterations.dtype)
            controller = _replaced(controller, iterations=iterations)
        self._state = _replaced(self._state, controller=controller)

    def snapshot(self) -> Snapshot:
        """The fields now, with the physics at the K of the last epoch."""
        fields = self._programs.fields(self._state.parameters, self._last_iterations)
        return Snapshot(self.epoch, self._last_iterations, fields)

    def checkpoint(self) -> Checkpoint:
        """What training can go on from later, copied to the host."""
        leaves = tuple(np.array(leaf) for leaf in jax.device_get(jax.tree.leaves(self._state)))
        totals = {"iterations": self._iterations, "seconds": self.seconds["train"], "last": self._last_iterations}
        return Checkpoint(self.epoch, leaves, totals)

    def parameters(self) -> tuple[np.ndarray, ...]:
        """The leaves of the model's parameters now, copied to the host."""
        return tuple(np.array(leaf) for leaf in jax.device_get(jax.tree.leaves(self._state.parameters)))

    def go_on(self, log: Log, checkpoint: Checkpoint | None) -> None:
        """Be where a run was at the end of its log, to the last bit.

        Takes over a checkpoint of a run that started with these settings (None: its start), and trains the epochs that
        were recorded after it again, with the edits that were made on the way.

        **Raises:** `ValueError` if the checkpoint does not fit.
        """
        edits = [event for event in log.events if event.name == "adjust"]
        reached = -1 if checkpoint is None else checkpoint.epoch
        for edit in edits:
            if edit.epoch <= reached:
                self.adjust(edit.values)
        if checkpoint is not None:
            self._take_over(checkpoint)
        last = len(log) - 1
        for edit in edits:
            if edit.epoch > reached:
                self._advance_to(min(edit.epoch - 1, last))
                self.adjust(edit.values)
        self._advance_to(last)
        if last >= 0:
            self.seconds["train"] = float(log.read(last)["cumulative_seconds"][0])

    def _advance_to(self, epoch: int) -> None:
        while self.epoch < epoch and not self.finished:
            self.advance(epoch - self.epoch)

    def _take_over(self, checkpoint: Checkpoint) -> None:
        leaves, structure = jax.tree.flatten(self._state)
        here, there = ([(leaf.shape, leaf.dtype) for leaf in each] for each in (leaves, checkpoint.leaves))
        if here != there:
            raise ValueError("The checkpoint does not fit this scenario: its arrays have other shapes.")
        self._state = jax.tree.unflatten(structure, [jnp.array(leaf) for leaf in checkpoint.leaves])
        self.epoch = checkpoint.epoch
        self._iterations = int(checkpoint.totals["iterations"])
        self._last_iterations = int(checkpoint.totals["last"])
        self.seconds["train"] = float(checkpoint.totals["seconds"])

    @property
    def model(self) -> Any:
        """The model as trained so far. The next call reuses its memory: copy what must outlive it."""
        return self._trainer.model(self._state.parameters)

    def _steer(self) -> Steering:
        return steering_of(self._controller, self.settings.learning_rate)


def steering_of(controller: AbstractController, learning_rate: float) -> Steering:
    """What a person may change between two calls, in the form that compiled programs share where they can."""
    if type(controller) in AnyController.kinds:
        controller = AnyController.of(controller)
    return Steering(controller, jnp.asarray(np.asarray(learning_rate, jnp.result_type(float))))


def trainer_of(settings: RunSettings) -> Trainer:
    """The pure functions of a run with these settings."""
    return Trainer(settings.problem, settings.build_solver(), settings.build_differentiation(), settings.metric)


def _replaced(module: Any, **leaves: Any) -> Any:
    names = tuple(leaves)
    return eqx.tree_at(lambda m: tuple(getattr(m, name) for name in names), module, tuple(leaves.values()))


class TrainingRecords(Iterator[Record]):
    """What `train` returns: an iterator of records that also says what a record cannot.

    **Attributes:**

    - `settings`: the run's settings with everything filled in.
    - `initial_validation`: the metric before training.
    - `compilations`, `seconds`: as of `Training`.
    - `status`: "running", "finished" or "diverged".
    - `model`: the trained model.
    """

    def __init__(self, settings: RunSettings, edits: Iterable[Edit] = ()):
        self.settings = settings
        self._edits = deque(sorted(edits, key=lambda edit: edit[0]))
        for epoch, changes in self._edits:  # all of them are checked before anything is trained
            if not isinstance(epoch, int) or epoch < 1:
                raise ValueError(f"`edits` must name epochs from 1 on; got {epoch!r}.")
            settings = settings.changed(changes)
        self._training = Training(self.settings)
        (before,) = as_records(self._training.advance(1))
        self.initial_validation = before.validation
        self._pending: Iterator[Record] = iter(())

    @property
    def compilations(self) -> int:
        return self._training.compilations

    @property
    def seconds(self) -> dict[str, float]:
        return dict(self._training.seconds)

    @property
    def model(self) -> Any:
        """The model as trained so far; valid until the iteration goes on."""
        return self._training.model

    @property
    def status(self) -> str:
        if self._training.diverged:
            return "diverged"
        return "finished" if self._training.finished else "running"

    def __next__(self) -> Record:
        record = next(self._pending, None)
        if record is None:
            while self._edits and self._edits[0][0] <= self._training.epoch + 1:
                self._training.adjust(self._edits.popleft()[1])
            if self._training.finished:
                raise StopIteration
            epochs = self._training.epochs_per_call
            if self._edits:
                epochs = min(epochs, self._edits[0][0] - 1 - self._training.epoch)
            self._pending = as_records(self._training.advance(epochs))
            record = next(self._pending)
        return record


def train(
    scenario: str | Problem,
    controller: AbstractController | Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    solver: str | None = None,
    differentiation: str | None = None,
    metric: str = "validation",
    seed: int = 0,
    epochs: int | None = None,
    learning_rate: float | None = None,
    edits: Iterable[Edit] = (),
) -> TrainingRecords:
    """Train in this thread, unpaced, and yield one record an epoch.

        for record in train("heat-1d", PRDP(tau_step=0.95), seed=1):
            print(record.epoch, record.iterations, record.validation)

    Arguments and errors are those of `settings_for`: None means the preset's own. A value that is not finite ends the
    iteration after the record of its epoch, with `status` "diverged".

    - `edits`: changes on the way, as of `Run.adjust`, each with the epoch from which it acts:
      `[(40, {"tau_step": 0.9})]`.
    """
    return TrainingRecords(
        settings_for(
            scenario,
            controller,
            preset=preset,
            solver=solver,
            differentiation=differentiation,
            metric=metric,
            seed=seed,
            epochs=epochs,
            learning_rate=learning_rate,
        ),
        edits,
    )
