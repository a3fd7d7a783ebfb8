"""A training loop of a person's own, with K decided, and everything recorded, watched and steered as of other runs."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, SupportsFloat

import numpy as np

from ..refinement import AbstractController
from ._decider import COPIED, Decider
from ._engine import Engine, shared_engine
from ._log import RECORD, Snapshot
from ._loop import LoopSettings, loop_settings
from ._run import edit_event
from ._settings import Refinement
from ._worker import SNAPSHOT_SECONDS, SNAPSHOT_SHARE

Fields = Mapping[str, Any]

SIGN_SECONDS = 0.2
"""How often a loop that stands still looks whether its engine was closed."""


class Control:
    """A number of the loop that a person may change while it runs; `float(control)` and `int(control)` are its value.

    It changes between two epochs only.
    """

    def __init__(self, get: Callable[[], float]):
        self._get = get

    @property
    def value(self) -> float:
        """The value of this epoch; a whole number where the control was declared with whole numbers."""
        return self._get()

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __repr__(self) -> str:
        return f"Control({self.value!r})"


class Session:
    """What `explore` gives: K of each epoch, the loop's controls, and a place to report to.

    It belongs to the thread that runs the loop; other threads, such as those of a page, command its `run` and `race`.

    **Attributes:**

    - `run`, `race`: as of any training: log, settings, commands. The race has full physics beside it if that is kept.
    - `epoch`: the epoch under way, or the last one; 0 before the first.
    """

    def __init__(self, settings: LoopSettings, engine: Engine, *, beside: bool):
        self._condition = threading.Condition()
        self._awake = False
        self._engine, self._beside = engine, beside
        self._settings = settings  # as they act; those of the run are as wanted
        self._decider = Decider(settings.refinement)
        self.race = engine.drive(settings, self._wake)
        (self.run,) = self.race.runs.values()
        self.epoch = 0
        self._began: float | None = None  # of the epoch under way
        self._snapshot_due = 0.0
        self._stepping = False
        self._due = 0.0
        self.run.enter("queued", "Its loop has not begun.")

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.run.ended:
            return
        if error is None:
            self._end("stopped", f"Its loop ended after epoch {self.run.epoch}.")
        elif isinstance(error, KeyboardInterrupt | GeneratorExit | SystemExit):
            self._end("stopped", f"Interrupted after epoch {self.run.epoch}.")
        else:
            self._end("failed", f"Failed in epoch {self.epoch}. {kind.__name__ if kind else ''}: {error}"[:400])

    def close(self) -> None:
        """End the run, as leaving the `with` block does."""
        self.__exit__(None, None, None)

    @property
    def iterations(self) -> int:
        """K of this epoch; with a tolerance, the most iterations of a solve."""
        return self._decider.decided["iterations"]

    @property
    def rtol(self) -> float | None:
        """The relative tolerance of this epoch's solves; None where K is refined."""
        rtol = self._decider.decided["rtol"]
        return None if math.isnan(rtol) else rtol

    @property
    def settings_now(self) -> LoopSettings:
        """The settings as they act in this epoch; `run.settings` are as wanted."""
        return self._settings

    def control(self, name: str, value: float, minimum: float | None = None, maximum: float | None = None) -> Control:
        """Let a person change a number of the loop while it runs; on the page it is a slider.

        **Arguments:**

        - `name`: for people, in the log, and for `run.adjust(**{name: value})`.
        - `value`: at the start. Whole numbers make a control of whole numbers.
        - `minimum`, `maximum`: the range; without them from a tenth of the value to ten times of it.

        **Raises:** `ValueError` in words for what is no such thing, and for a control that is new while the loop runs.
        """
        if name not in self._settings.controls:
            if len(self.run.log):
                raise ValueError(f"The control {name!r} must be declared before the loop begins.")
            low, high = sorted((value / 10, value * 10)) if value else (0.0, 1.0)
            whole = isinstance(value, int)
            low, high = (math.floor(low), math.ceil(high)) if whole else (low, high)
            low, high = low if minimum is None else minimum, high if maximum is None else maximum
            self._settings = self._settings.with_control(name, value, low, high)
            self.run.settings = self.run.started_with = self._settings
        return Control(lambda: self._settings.controls[name])

    def epochs(self, count: int | None = None) -> Iterator[int]:
        """The numbers of the epochs, 1 first, as long as the run goes on: where it is paused the loop waits here.

        Ends early when the run is stopped, or when a value that was reported is not finite.

        **Arguments:**

        - `count`: how many; None for as many as `explore` was told.

        **Raises:** `ValueError` if an epoch was not reported, and for a session that is over.
        """
        if self.run.ended:
            raise ValueError(f"This session is over ({self.run.state}); make a new one with `explore`.")
        if count is not None:
            self._set_epochs(count)
        self._begin()
        if not len(self.run.log):
            self._record(math.nan, math.nan)
        for epoch in range(self.run.epoch + 1, self._settings.epochs + 1):
            if not self._wait_for_turn():
                return
            self.epoch = epoch
            self._began = time.perf_counter()
            yield epoch
            if self._began is not None:
                raise ValueError(f"Epoch {epoch} was not reported: call `session.report(metric)` once in each epoch.")
            if self.run.ended:
                return
        if not self.run.ended:
            self._end("finished", f"Finished all {self.run.epoch} epochs.")

    def report(
        self,
        metric: SupportsFloat,
        *,
        loss: SupportsFloat | None = None,
        fields: Fields | Callable[[], Fields] | None = None,
        iterations: int | None = None,
    ) -> None:
        """Report an epoch; before the first epoch, the measurement before training. K of the next is decided here.

        **Arguments:**

        - `metric`: the validation metric, lower is better; what the controller is fed.
        - `loss`: the training loss.
        - `fields`: what is worth seeing, by name: arrays of one shape `(samples, *grid)`, with up to three axes of the
          grid; an array of one axis is one sample's line, a number a parameter. A function is only called when a
          snapshot is due, at most ten times a second.
        - `iterations`: inner iterations that a solve took on average, where that is not K, as with a tolerance.

        **Raises:** `ValueError` in words for what is no such value, and in an epoch that was reported already.
        """
        self._begin()
        before = not len(self.run.log)
        if self.run.ended:
            raise ValueError(f"This run is over ({self.run.state}), so nothing can be reported.")
        if self._began is None and not before:
            raise ValueError(
                f"Epoch {self.epoch} was reported already: call `session.report` once in each epoch of "
                "`session.epochs()`, and before them at most once."
            )
        metric, given = _number("metric", metric), loss is not None
        loss = _number("loss", loss) if given else math.nan
        # Not before: a framework may still be computing what it gave.
        seconds = 0.0 if self._began is None else time.perf_counter() - self._began
        used = self.iterations if iterations is None else int(_number("iterations", iterations))
        if used < 0:
            raise ValueError(f"`iterations` must be 0 or more; got {used}.")
        self._began = None
        self._record(metric, loss, seconds, 0 if before else used)
        self._take_snapshot(fields, used)
        if not math.isfinite(metric) or (given and not math.isfinite(loss)):
            self._end(
                "diverged",
                f"Diverged in epoch {self.run.epoch}: the loss or the error is no longer a finite number. "
                "Everything up to there is kept.",
            )

    def _record(self, metric: float, loss: float, seconds: float = 0.0, used: int = 0) -> None:
        """Add a record, with what the controller decides by it; NaN before training is not shown to it."""
        log, run, now = self.run.log, self.run, self._decider.decided
        epoch = len(log)
        if epoch or not math.isnan(metric):
            self._decider.show(metric)
        decided = self._decider.decided
        row = np.zeros(1, RECORD)
        past = log.read(epoch - 1)[0] if epoch else row[0]
        values = {
            "epoch": epoch,
            "iterations": used,
            "train_loss": loss,
            "validation": metric,
            "next_iterations": decided["iterations"],
            "rtol": now["rtol"] if epoch else math.nan,
            "next_rtol": decided["rtol"],
            **{name: decided[name] for name in COPIED},
            **{name: self._settings.refinement.get(name, math.nan) for name in ("tau_step", "tau_stop")},
            "seconds": seconds,
            "cumulative_iterations": past["cumulative_iterations"] + used,
            "cumulative_seconds": past["cumulative_seconds"] + seconds,
        }
        for name, value in values.items():
            row[name] = value
        log.append(row)
        run.seconds = {**run.seconds, "train": float(row["cumulative_seconds"][0])}

    def _take_snapshot(self, fields: Fields | Callable[[], Fields] | None, iterations: int) -> None:
        first_or_last = self.run.epoch in (0, 1, self._settings.epochs)
        now = time.perf_counter()
        if fields is None or not (first_or_last or self._stepping or now >= self._snapshot_due):
            return
        arrays = _arrays(fields() if callable(fields) else fields)
        if arrays:
            self.run.log.add_snapshot(Snapshot(self.run.epoch, iterations, arrays))
        spent = time.perf_counter() - now
        self._snapshot_due = now + max(SNAPSHOT_SECONDS, spent / SNAPSHOT_SHARE)

    def _wait_for_turn(self) -> bool:
        """Take what is wanted, and wait while the race stands still; whether the loop goes on."""
        race, run = self.race, self.run
        while True:
            self._take_changes()
            if run.stop_wanted and not run.ended:
                self._end("stopped", f"Stopped after epoch {run.epoch}.")
            if run.ended:
                return False
            now = time.monotonic()
            self._stepping = bool(race.steps)
            if self._stepping:
                race.steps.popleft()
            elif race.paused or now < self._due:
                if race.paused:
                    run.enter("paused", f"Paused after epoch {run.epoch}.")
                with self._condition:
                    if not self._awake:
                        self._condition.wait(SIGN_SECONDS if race.paused else min(self._due - now, SIGN_SECONDS))
                    self._awake = False
                continue
            self._due = max(now, self._due) + 1 / race.pace if race.pace else now
            run.enter("running", "Training.")
            return True

    def _take_changes(self) -> None:
        run = self.run
        while run.changes:
            changes = run.changes.popleft()
            self._settings = self._settings.changed(changes)
            self._decider.change(self._settings.refinement, changes.get("iterations"))
            run.log.add_event(edit_event(run.epoch + 1, changes))

    def _set_epochs(self, count: int) -> None:
        if len(self.run.log) > 1:
            raise ValueError("The number of epochs is chosen before the first; leave it out here.")
        self._settings = self.run.settings = self.run.started_with = self._settings.with_epochs(count)

    def _begin(self) -> None:
        """Take part in what the engine keeps and shows; by now all controls are declared."""
        if self.race.id not in self._engine.races and not self.run.ended:
            if self._beside:
                self._engine.play_full_physics_beside(self.run)
            self._engine.enter(self.race)

    def _wake(self) -> None:
        with self._condition:
            self._awake = True
            self._condition.notify()

    def _end(self, state: Any, message: str) -> None:
        self.run.enter(state, message)


def explore(
    name: str,
    controller: AbstractController | Refinement | None = None,
    *,
    full_iterations: int | None = None,
    epochs: int = 100,
    solver: str = "own solver",
    differentiation: str = "own gradient",
    seed: int = 0,
    quantity: str = "u",
    beside: bool = True,
    pace: float | None = None,
    engine: Engine | None = None,
) -> Session:
    """Have K decided in a training loop of your own, in any framework, and see it, steer it and keep it.

        with explore("my solver", PRDP(maximum=25)) as session:
            rate = session.control("learning rate", 1e-3)
            for epoch in session.epochs(100):
                ...  # an epoch with `session.iterations` inner iterations, at the rate `float(rate)`
                session.report(validation_error, loss=loss, fields={"u": u})

    **Arguments:**

    - `name`: of the problem, for people and links: runs of the same name are compared.
    - `controller`: what decides K, or it as plain data; None is PRDP up to `full_iterations`. `Constant()` is full
      physics.
    - `full_iterations`: which K counts as full physics; None is the largest that the controller reaches.
    - `epochs`: how many there are to be; `session.epochs` may say so instead.
    - `solver`, `differentiation`, `seed`: what the loop uses, for the record only. `quantity`: what its fields are.
    - `beside`: whether a kept full-physics run of the same name, with the same controls, is shown beside it.
    - `pace`: epochs a second at most, so that a person can follow; None for as fast as possible.
    - `engine`: which has the run, and keeps it if it has a store; by default the one of this process.

    **Raises:** `ValueError` in words.
    """
    settings = loop_settings(
        name,
        controller,
        full_iterations=full_iterations,
        epochs=epochs,
        solver=solver,
        differentiation=differentiation,
        seed=seed,
        quantity=quantity,
    )
    session = Session(settings, engine or shared_engine(), beside=beside)
    session.race.set_pace(pace)
    return session


def _number(name: str, value: Any) -> float:
    """A number of any framework: whatever is a scalar."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be one number; got {type(value).__name__} ({error}).") from None


def _arrays(fields: Any) -> dict[str, np.ndarray]:
    """Copies of fields, each with as many samples along its first axis; a number is every sample's.

    **Raises:** `ValueError` in words.
    """
    if not isinstance(fields, Mapping):
        raise ValueError(f"`fields` must be arrays by name, or a function that gives them; got {fields!r}.")
    arrays = {str(name): _array(name, values) for name, values in fields.items()}
    shapes = {name: array.shape for name, array in arrays.items() if array.ndim}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name!r} {shape}" for name, shape in shapes.items())
        raise ValueError(f"The fields must all have the same shape, (samples, *grid); got {told}.")
    count = max((shape[0] for shape in shapes.values()), default=1)
    return {name: array if array.ndim else np.full(count, array) for name, array in arrays.items()}


def _array(name: Any, values: Any) -> np.ndarray:
    try:
        array = np.array(values)
    except Exception as error:  # whatever a framework may raise, such as for an array of a device
        raise ValueError(f"The field {name!r} cannot be made an array of NumPy: {error}") from error
    if array.dtype.kind not in "fiub" or array.size == 0 or array.ndim > 4:
        raise ValueError(f"The field {name!r} must be an array of numbers; got {array.dtype} of shape {array.shape}.")
    array = array.astype(np.float32) if array.dtype != np.float64 else array
    return array[None] if array.ndim == 1 else array
