"""Runs and races as a person holds them: settings, a log, and commands. The engine's thread does the work."""

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ._log import Checkpoint, Event, Log
from ._playback import Playback, Recording
from ._settings import RunSettings
from ._training import COMPILED, Training

if TYPE_CHECKING:
    from ._engine import Engine
    from ._store import Store

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
    - `played`: whether it was trained before, and is played from the store.
    - `parent`: the id of the run that this one was forked from, and after which epoch; None for what is no fork.
    """

    def __init__(self, settings: RunSettings, label: str, race: "Race"):
        self.id = _new_id(settings)
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
        self.training: Training | Playback | None = None
        self.changes: deque[Mapping[str, Any]] = deque()
        self.parent: tuple[str, int] | None = None
        self.goes_on = self.kept = False  # from a log that there is already; which a store has already
        self.goes_on_from: Checkpoint | None = None
        self.compiled_changes: deque[Mapping[str, Any] | Exception] = deque()
        self.waited_for: set[str] = set()
        self.parameters_wanted: deque[Future[tuple[int, tuple[np.ndarray, ...]]]] = deque()
        self.stop_wanted = False
        self.played = False
        self.timed_apart: str | None = None
        self._room = settings.largest_iterations
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        """Whether the run is over, for whatever reason."""
        return self.state in ENDED

    @property
    def timed_in(self) -> str:
        """The race in which its seconds were measured: those of different races are not worth comparing."""
        return self.timed_apart or self.race.id

    @property
    def epoch(self) -> int:
        """The last epoch done; 0 before training."""
        return max(len(self.log) - 1, 0)

    @property
    def next_iterations(self) -> int:
        """K of the next epoch, as far as it is decided."""
        if len(self.log):
            return int(self.log.read(len(self.log) - 1)[0]["next_iterations"])
        return self.settings.refinement.get("initial", self.settings.largest_iterations)

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

    def adjust(self, **changes: Any) -> dict[str, Any]:
        """Change values of the controller, K of the next epoch (`iterations`), `learning_rate`, `differentiation` or
        `solver`; what is returned undoes it, as an adjustment of its own.

        All changes are taken together or, with `ValueError` in words, not at all. A new differentiation mode or solver
        is compiled in the background, while training goes on as before; what was asked for with it waits for it. One
        that cannot be compiled is dropped, with what waits for it, and the log says so.
        """
        if self.ended:
            raise ValueError(f"This run is over ({self.state}), so nothing can be changed; start or fork another.")
        if self.race.recordings is not None:
            raise ValueError("This is a replay, and what was is not changed; fork it to try something else.")
        if "epochs" in changes:
            raise ValueError("`epochs` cannot be changed during a run; fork it with another number of epochs.")
        with self._lock:
            wanted = self.settings.changed(changes)
            largest = wanted.largest_iterations
            room = largest if COMPILED & changes.keys() else self._room
            if wanted.unrolls and largest > room:
                raise ValueError(
                    f"With unrolled differentiation K cannot exceed {room}, the largest K that this run made room for "
                    f"when it began to unroll; got {largest}. Start a new run with a larger maximum."
                )
            before = {"iterations": self.next_iterations, **self.settings.adjustable}
            self._room = room
            self.settings = wanted
            self.changes.append(changes)
        self.race.wake()
        return {name: before[name] for name in changes}

    def drop_changes(self, training: Training) -> None:
        """Want no other than how training goes now (for the engine)."""
        with self._lock:
            self.changes.clear()
            self.settings, self._room = training.settings, training.room

    def go_on(self, log: Log, checkpoint: Checkpoint | None) -> None:
        """Go on from the end of a log (for the engine, before it prepares the run)."""
        self.log, self.goes_on, self.goes_on_from = log, True, checkpoint
        for event in log.events:
            if event.name == "adjust":
                self.settings = self.settings.changed(event.values)
                if COMPILED & event.values.keys():
                    self._room = self.settings.largest_iterations

    def play(self, recording: Recording, epoch: int) -> None:
        """Be a kept run up to an epoch, to be played from there on (for the engine)."""
        playback = Playback(recording)
        self.id, self.training, self.played = recording.kept.id, playback, True
        self.timed_apart = recording.kept.race
        self.play_on(playback, epoch + 1)

    def play_on(self, playback: Playback, epochs: int) -> None:
        """Take over the next epochs of a playback, and how it ended (for the engine)."""
        self.log.append(playback.advance(epochs))
        playback.tell(self.log)
        self.seconds = dict(playback.seconds)
        with self._lock:
            if not self.changes:
                self.settings, self._room = playback.settings, playback.settings.largest_iterations
        if playback.finished:
            self.training = None
            kept = playback.recording.kept
            if kept.status in ENDED:
                self.enter(cast(State, kept.status), kept.message)
            else:
                self.enter("stopped", "What was kept of this run when it was opened ends here.")

    def train_on(self, checkpoint: Checkpoint | None) -> None:
        """Be trained from here on rather than played: another run, with the same past (for the engine)."""
        self.parent = (self.id, self.epoch)
        self.id = _new_id(self.settings)
        self.training = self.prepared = None
        self.played = False
        self.goes_on, self.goes_on_from = True, checkpoint

    def wait(self, until: Callable[["Run"], bool] | None = None, timeout: float | None = None) -> bool:
        """Wait until the run is over, or until a condition on it holds; false if it timed out."""
        return self.log.wait(lambda: self.ended or (until is not None and until(self)), timeout)

    def enter(self, state: State, message: str) -> None:
        """Change the state and record it (for the engine)."""
        if (self.state, self.message) != (state, message):
            self.state, self.message = state, message
            self.log.add_event(Event(self.epoch + 1, state, message=message))


def edit_event(epoch: int, changes: Mapping[str, Any]) -> Event:
    """The event of changes that act from an epoch on."""
    words = ", ".join(
        f"{name} = {value if isinstance(value, str) else f'{value:g}'}" for name, value in changes.items()
    )
    return Event(epoch, "adjust", dict(changes), f"From epoch {epoch} on: {words}.")


def _new_id(settings: RunSettings) -> str:
    return f"{settings.scenario.lower()}-{secrets.token_hex(4)}"


FAIRNESS = ("epochs", "time")
"""What contenders of a race have in common: as many epochs, or as much time of computing."""


class Race:
    """Runs that advance together: none is ever ahead by more than one compiled call.

    A run by itself is a race of one.

    **Attributes:**

    - `fairness`: one of `FAIRNESS`: whether all have done as many epochs, or computed for as long.

    - `id`: a name for links.
    - `runs`: the contenders by label.
    - `pace`: epochs a second of wall-clock time, or None for as fast as possible.
    - `paused`: whether it is to stand still.
    - `recordings`: of a replay, what is played, by label; None where something is trained.
    - `store`: where what is played is kept, if that is not the engine's own.
    - `driven`: whether a loop of a person's own advances it, and the engine does not.
    - `engine`: what advances or keeps it, and answers questions about it; None before it takes part.
    """

    def __init__(self, contenders: Mapping[str, RunSettings], pace: float | None, wake: Callable[[], None]):
        self.wake = wake
        self.pace = pace
        self.fairness = FAIRNESS[0]
        self.paused = False
        self.runs = {label: Run(settings, label, self) for label, settings in contenders.items()}
        self.id = next(iter(self.runs.values())).id
        self.recordings: Mapping[str, Recording] | None = None
        self.store: Store | None = None
        self.driven = False
        self.engine: Engine | None = None
        self.steps: deque[None] = deque()
        self.turn = 0
        self.due = 0.0
        self.snapshot_due = 0.0
        self.checkpoint_due = 0.0
        self.watchers = 0
        self.unwatched_since: float | None = None
        self.holds: deque[None] = deque()  # of those for whom it is held back
        self.calls = threading.Lock()  # held by what computes for it: a call of the worker, or who holds it back

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

    def set_fairness(self, fairness: str) -> None:
        """Let the contenders advance by equal epochs or by equal time; those that are behind catch up first.

        **Raises:** `ValueError` for what is not one of `FAIRNESS`.
        """
        if fairness not in FAIRNESS:
            raise ValueError(f"`fairness` must be one of {', '.join(FAIRNESS)}; got {fairness!r}.")
        self.fairness = fairness
        self.due = 0.0
        self.wake()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the contenders back from the end of their current call on (for the engine); commands still act."""
        self.holds.append(None)  # first, so that no further call begins while this waits
        try:
            with self.calls:
                yield
        finally:
            self.holds.pop()
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
            if not race.driven:  # a person's own loop goes on without the page, as it would without having had one
                race.pause()


def checked_pace(pace: float | None) -> float | None:
    """`pace` if it is None or a positive number of epochs a second."""
    if pace is None or (isinstance(pace, int | float) and 0 < pace < float("inf")):
        return pace
    raise ValueError(f"`pace` must be a positive number of epochs a second, or None for no limit; got {pace!r}.")
