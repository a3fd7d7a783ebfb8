"""Runs and races as a person holds them: settings, a log, and commands. The engine's thread does the work."""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ._log import Checkpoint, Event, Log
from ._settings import RunSettings
from ._training import Training

State = Literal["compiling", "queued", "running", "paused", "finished", "stopped", "diverged", "failed", "interrupted"]

ENDED: frozenset[str] = frozenset({"finished", "stopped", "diverged", "failed", "interrupted"})
"""The states that a run does not leave."""


class Run:
    """One training with everything recorded, made by `Engine.start` or `Engine.race`.

    Commands return at once; they act between two compiled calls, that is within 30 ms or one epoch, whichever is
    longer, and are recorded in the log with the epoch from which they act. Any thread may read and command.

    **Attributes:**

    - `id`: a name for links and files. `label`: a name for people.
    - `settings`: as wanted by now, adjustments included.
    - `log`: records, events and snapshots.
    - `state`: compiling, queued, running, paused, finished, stopped, diverged, failed or interrupted.
    - `message`: the state in a sentence.
    - `compilations`, `seconds`: of the training step for this run; seconds of setup, compile and train.
    - `race`: the contenders that advance together with this run, itself included.
    """

    def __init__(self, settings: RunSettings, label: str, race: "Race"):
        self.id = f"{settings.scenario.lower()}-{secrets.token_hex(4)}"
        self.label = label
        self.race = race
        self.log = Log()
        self.state: State = "compiling"
        self.message = "Compiling."
        self.started_with = settings
        self.settings = settings
        self.compilations = 0
        self.seconds: Mapping[str, float] = {"setup": 0.0, "compile": 0.0, "train": 0.0}
        # The rest is between the engine's threads: where it goes on, what was prepared, what is advanced, and what is
        # wanted.
        self.prepared: Training | Exception | None = None
        self.training: Training | None = None
        self.changes: deque[Mapping[str, Any]] = deque()
        self.resumed = False
        self.resumed_from: Checkpoint | None = None
        self.compiled_changes: deque[Mapping[str, Any] | Exception] = deque()
        self.waited_for: set[str] = set()
        self.stop_wanted = False
        self._room = settings.largest_iterations
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        """Whether the run is over, for whatever reason."""
        return self.state in ENDED

    @property
    def epoch(self) -> int:
        """The last epoch done; 0 before training."""
        return max(len(self.log) - 1, 0)

    def pause(self) -> None:
        """Let the run stand still, and with it its race."""
        self.race.pause()

    def resume(self) -> None:
        """Go on after a pause."""
        self.race.resume()

    def step(self) -> None:
        """Run one epoch and stand still again."""
        self.race.step()

    def stop(self) -> None:
        """End the run for good and keep what there is; the others of its race go on."""
        self.stop_wanted = True
        self.race.wake()

    def adjust(self, **changes: Any) -> None:
        """Change values of the controller, K of the next epoch (`iterations`), `learning_rate` or `differentiation`.

        All changes are taken together or, with `ValueError` in words, not at all. A new differentiation mode is
        compiled in the background, while training goes on as before; what was asked for with it waits for it. One that
        cannot be compiled is dropped, with what waits for it, and the log says so.
        """
        if self.ended:
            raise ValueError(f"This run is over ({self.state}), so nothing can be changed; start a new one.")
        with self._lock:
            wanted = self.settings.changed(changes)
            largest = wanted.largest_iterations
            room = largest if "differentiation" in changes else self._room
            if wanted.differentiation == "unrolled" and largest > room:
                raise ValueError(
                    f"With unrolled differentiation K cannot exceed {room}, the largest K that this run made room for "
                    f"when it began to unroll; got {largest}. Start a new run with a larger maximum."
                )
            self._room = room
            self.settings = wanted
            self.changes.append(changes)
        self.race.wake()

    def drop_changes(self, training: Training) -> None:
        """Want no other than how training goes now (for the engine)."""
        with self._lock:
            self.changes.clear()
            self.settings, self._room = training.settings, training.room

    def continue_log(self, run_id: str, log: Log, checkpoint: Checkpoint | None) -> None:
        """Be the run of that id, to go on from the end of its log (for the engine, before it prepares the run)."""
        self.id, self.log, self.resumed, self.resumed_from = run_id, log, True, checkpoint
        for event in log.events:
            if event.name == "adjust":
                self.settings = self.settings.changed(event.values)
                if "differentiation" in event.values:
                    self._room = self.settings.largest_iterations

    def wait(self, until: Callable[["Run"], bool] | None = None, timeout: float | None = None) -> bool:
        """Wait until the run is over, or until a condition on it holds; false if it timed out."""
        return self.log.wait(lambda: self.ended or (until is not None and until(self)), timeout)

    def enter(self, state: State, message: str) -> None:
        """Change the state and record it (for the engine)."""
        if (self.state, self.message) != (state, message):
            self.state, self.message = state, message
            self.log.add_event(Event(self.epoch + 1, state, message=message))


class Race:
    """Runs that advance together, epoch by epoch: none is ever ahead by more than one compiled call.

    A run by itself is a race of one.

    **Attributes:**

    - `id`: a name for links.
    - `runs`: the contenders by label.
    - `pace`: epochs a second of wall-clock time, or None for as fast as possible.
    - `paused`: whether it is to stand still.
    """

    def __init__(self, contenders: Mapping[str, RunSettings], pace: float | None, wake: Callable[[], None]):
        self.wake = wake
        self.pace = pace
        self.paused = False
        self.runs = {label: Run(settings, label, self) for label, settings in contenders.items()}
        self.id = next(iter(self.runs.values())).id
        self.steps: deque[None] = deque()
        self.turn = 0
        self.due = 0.0
        self.snapshot_due = 0.0
        self.checkpoint_due = 0.0
        self.watchers = 0
        self.unwatched_since: float | None = None

    @property
    def active(self) -> list[Run]:
        """The contenders that are not over."""
        return [run for run in self.runs.values() if not run.ended]

    @property
    def ready(self) -> bool:
        """Whether there are contenders left and all of them can be advanced."""
        return bool(self.active) and all(run.training is not None for run in self.active)

    def pause(self) -> None:
        """Stand still after the current call."""
        self.paused = True
        self.wake()

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = False
        self.due = 0.0
        self.wake()

    def step(self) -> None:
        """Run one epoch and stand still."""
        self.paused = True
        self.steps.append(None)
        self.wake()

    def stop(self) -> None:
        """End all contenders for good and keep what there is."""
        for run in self.active:
            run.stop_wanted = True
        self.wake()

    def set_pace(self, pace: float | None) -> None:
        """Set the epochs a second of wall-clock time; None for as fast as possible.

        **Raises:** `ValueError` unless it is a positive number.
        """
        self.pace = checked_pace(pace)
        self.due = 0.0
        self.wake()

    def watch(self) -> "Watch":
        """Say that somebody looks at this race. When the last watch is closed the race is paused."""
        return Watch(self)


class Watch:
    """Somebody's interest in a race; `close` it when they leave. Closing twice is closing once."""

    def __init__(self, race: Race):
        self._race: Race | None = race
        race.watchers += 1
        race.unwatched_since = None

    def close(self) -> None:
        """Withdraw the interest."""
        race, self._race = self._race, None
        if race is None:
            return
        race.watchers -= 1
        if race.watchers == 0:
            race.unwatched_since = time.monotonic()
            race.pause()


def checked_pace(pace: float | None) -> float | None:
    """`pace` if it is None or a positive number of epochs a second."""
    if pace is None or (isinstance(pace, int | float) and 0 < pace < float("inf")):
        return pace
    raise ValueError(f"`pace` must be a positive number of epochs a second, or None for no limit; got {pace!r}.")
