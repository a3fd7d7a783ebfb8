"""The threads that advance and compile: nobody who commands or watches ever waits for them."""

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ._log import Event
from ._playback import Playback
from ._recorder import Recorder
from ._run import Race, Run, edit_event
from ._training import CALL_SECONDS, COMPILED, Training

SNAPSHOT_SECONDS = 0.1
"""Snapshots are taken after a call, at most this often, and always before training, at a step, a pause, and the end."""

SNAPSHOT_SHARE = 0.02
"""The share of the time that snapshots may take while a race runs."""

CHECKPOINT_SECONDS = 2.0
"""Checkpoints of runs that are kept are taken after a call, at most this often, and always at a pause and the end."""

CHECKPOINT_SHARE = 0.01
"""The share of the time that checkpoints may take while a race runs."""

LARGEST_NUMBER_OF_RACES = 64

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Worker:
    """Advances all runs in turn in one thread, a compiled call of about 30 ms each, and compiles in another.

    A third thread computes what somebody wants to know beside.

    **Arguments:**

    - `recorder`: what keeps runs; None for nothing.
    - `keep_seconds`: how long a race that nobody watches any more is kept, paused, before it is stopped and forgotten.

    **Attributes:**

    - `races`: those that are kept, by id.
    """

    def __init__(self, recorder: Recorder | None, keep_seconds: float):
        self._recorder, self._keep_seconds = recorder, keep_seconds
        self.races: dict[str, Race] = {}
        self._wake = threading.Condition()
        self._awake = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="prdp-compiler")
        self._requests = ThreadPoolExecutor(
            2, thread_name_prefix="prdp-requests"
        )  # a quick one need not wait for a slow one

    def enter(self, race: Race) -> Race:
        """Let a race take part.

        **Raises:** `ValueError` in words if it cannot.
        """
        with self._wake:
            if self._closed:
                raise ValueError("This engine is closed; make a new one.")
            if race.recordings is None and race.id in self.races and self.races[race.id].active:
                raise ValueError(f"The race {race.id!r} is under way already.")
            self._forget_surplus()
            self.races[race.id] = race
            if self._recorder is not None:
                for run in race.runs.values():
                    if not run.played:
                        self._recorder.follow(run)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="prdp-engine", daemon=True)
                self._thread.start()
                atexit.register(self.close)
        if not race.driven:
            self._compiler.submit(self._prepare, race)
        self.notify()  # what is played needs no preparation
        return race

    def notify(self) -> None:
        """Say that there may be something to do."""
        with self._wake:
            self._awake = True
            self._wake.notify()

    def request(self, function: Callable[[], T]) -> Future[T]:
        """Compute something beside training, after what was requested before.

        **Raises:** `ValueError` in words once the engine is closed.
        """
        try:
            return self._requests.submit(function)
        except RuntimeError:
            raise ValueError("This engine is closed; make a new one.") from None

    def parameters(self, run: Run) -> tuple[int, tuple[np.ndarray, ...]] | None:
        """The last epoch of a run that is being trained, and its parameters then, copied between two calls.

        Waits for the end of a call. None for a run that is not being trained, or not any more.
        """
        wanted: Future[tuple[int, tuple[np.ndarray, ...]]] = Future()
        run.parameters_wanted.append(wanted)
        self.notify()
        while isinstance(run.training, Training) and not run.ended:
            with contextlib.suppress(TimeoutError):
                return wanted.result(timeout=0.1)
        return None

    def close(self) -> None:
        """Stop all runs and end the threads; the logs stay readable."""
        with self._wake:
            self._closed = True
        self.notify()
        for threads in (self._compiler, self._requests):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
        for race in list(self.races.values()):
            for run in race.active:
                run.enter("stopped", "Stopped, since the engine was closed.")
        if self._recorder is not None:
            self._recorder.close()
        atexit.unregister(self.close)

    def _forget_surplus(self) -> None:
        """Make room for one more race by forgetting the oldest that are over."""
        over = [race for race in self.races.values() if not race.active and race.watchers == 0]
        while len(self.races) >= LARGEST_NUMBER_OF_RACES:
            if not over:
                raise ValueError(
                    f"{LARGEST_NUMBER_OF_RACES} races are under way on this server already. Stop one, or wait."
                )
            del self.races[over.pop(0).id]

    def _prepare(self, race: Race) -> None:
        """Compile and set up all contenders; in the compiling thread, which touches nothing else of a run."""
        for run in race.active:
            if run.stop_wanted or run.training is not None or run.prepared is not None:
                continue
            try:
                training = Training(run.started_with)
                if run.goes_on:
                    training.go_on(run.log, run.goes_on_from)
                training.snapshot()  # compiled here rather than in the middle of training
                run.prepared = training
            except Exception as error:  # whatever a problem of one's own may raise ends its run, not the thread
                logger.exception("a run could not be set up")
                run.prepared = error
            self.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._awake:
                    self._wake.wait(self._seconds_to_next())
                if self._closed:
                    return
                self._awake = False
                races = [race for race in self.races.values() if not race.driven]
            for race in races:
                self._forget_if_abandoned(race)
                for run in race.active:
                    self._admit(run)
                    with self._failing(run):
                        self._take_commands(run)
                if race.ready:
                    self._advance_unless_held(race)

    def _seconds_to_next(self) -> float | None:
        """How long nothing needs doing; None for until somebody asks for something."""
        times = [
            race.due
            for race in self.races.values()
            if race.ready and not race.holds and (race.steps or not race.paused)
        ]
        times += [
            race.unwatched_since + self._keep_seconds
            for race in self.races.values()
            if race.unwatched_since is not None and not race.driven
        ]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _forget_if_abandoned(self, race: Race) -> None:
        since = race.unwatched_since
        keep = 0.0 if race.recordings is not None else self._keep_seconds  # a replay can be had again
        if since is not None and time.monotonic() >= since + keep:
            for run in race.active:
                run.enter("stopped", "Stopped, since nobody watched it for a long time.")
                run.training = None
            if self.races.get(race.id) is race:
                del self.races[race.id]

    def _admit(self, run: Run) -> None:
        """Take over what was prepared for a run, unless it was stopped meanwhile."""
        if run.training is not None:
            return
        if run.stop_wanted:
            run.enter("stopped", "Stopped before training began.")
        elif isinstance(run.prepared, Exception):
            run.enter("failed", f"The run could not be set up. {_in_words(run.prepared)}")
        elif run.prepared is not None:
            run.training, run.prepared = run.prepared, None
            run.compilations = run.training.compilations
            run.seconds = dict(run.training.seconds)
            if run.kept:
                run.log.add_event(Event(run.epoch + 1, "resumed", message=f"Resumed after epoch {run.epoch}."))
            run.enter("queued", "Compiled, about to train.")

    def _advance_unless_held(self, race: Race) -> None:
        """Advance a race, unless something else computes for it; then it can be paused all the same."""
        # Whoever holds it waits for the end of a call. The worker waits for nobody: other races go on.
        if not race.holds and race.calls.acquire(blocking=False):
            try:
                self._advance(race)
            finally:
                race.calls.release()
        elif race.paused and not race.steps:
            self._rest(race.active)

    def _advance(self, race: Race) -> None:
        """If a race is due, run one call of each contender."""
        runs = race.active
        stepping = bool(race.steps)
        now = time.monotonic()
        if not runs or (not stepping and (race.paused or now < race.due)):
            if race.paused:
                self._rest(runs)
            return
        if race.fairness == "time":
            runs = [min(runs, key=lambda run: run.seconds["train"])]
            epochs = 1 if stepping else self._epochs_due(race, runs)
        else:
            # Contenders that were interrupted, or raced by time, may be at different epochs: those behind catch up.
            reached = sorted({run.epoch for run in runs})
            runs = [run for run in runs if run.epoch == reached[0]]
            epochs = 1 if stepping else self._epochs_due(race, runs)
            if len(reached) > 1:
                epochs = min(epochs, reached[1] - reached[0])
        # Whoever is first after a pause finds the processor's caches cold: let them take turns.
        race.turn = (race.turn + 1) % len(runs)
        for run in runs[race.turn :] + runs[: race.turn]:
            with self._failing(run):
                run.enter("running", "Training.")
                self._call(run, epochs)
        if stepping:
            race.steps.popleft()
        now = time.monotonic()
        if stepping or now >= race.snapshot_due:
            for run in race.active:
                with self._failing(run):
                    self._take_snapshot(run)
            spent = time.monotonic() - now
            race.snapshot_due = now + max(SNAPSHOT_SECONDS, spent / SNAPSHOT_SHARE)
        now = time.monotonic()
        if self._recorder is not None and now >= race.checkpoint_due:
            for run in race.active:
                with self._failing(run):
                    self._take_checkpoint(run)
            spent = time.monotonic() - now
            race.checkpoint_due = now + max(CHECKPOINT_SECONDS, spent / CHECKPOINT_SHARE)
        # By equal time the contenders are called one at a time, which together are to be as fast as by equal epochs.
        done = epochs / len(race.active or runs) if race.fairness == "time" else epochs
        race.due = max(now, race.due + done / race.pace) if race.pace else now
        if race.paused and not race.steps:
            self._rest(race.active)

    def _epochs_due(self, race: Race, runs: list[Run]) -> int:
        """The epochs of the next call: the same for all contenders, so that a race is a race."""
        fitting = min(run.training.epochs_per_call for run in runs if run.training is not None)
        if race.pace is None:
            return fitting
        return min(fitting, max(1, round(race.pace * CALL_SECONDS)))

    def _rest(self, runs: list[Run]) -> None:
        for run in runs:
            if run.state != "paused":
                with self._failing(run):
                    self._take_snapshot(run)
                    self._take_checkpoint(run)
                    run.enter("paused", f"Paused after epoch {run.epoch}.")

    def _take_commands(self, run: Run) -> None:
        if isinstance(run.training, Playback):
            if run.changes and not run.stop_wanted:
                self._train_on(run)
        elif run.training is not None:
            self._take_changes(run, run.training)
            while run.parameters_wanted:
                copied = max(run.training.epoch, 0), run.training.parameters()
                run.parameters_wanted.popleft().set_result(copied)
        if run.stop_wanted and run.training is not None:
            self._take_snapshot(run)
            self._take_checkpoint(run)
            run.enter("stopped", f"Stopped after epoch {run.epoch}.")
            run.training = None

    def _train_on(self, run: Run) -> None:
        """Let a run that is played, and that somebody changed, be trained from here on."""
        words = f"Trained from here on, since it is changed; up to here it is {run.id}."
        recorder = self._recorder
        run.train_on(None if recorder is None else recorder.store.checkpoint(run.id, run.epoch))
        run.log.add_event(Event(run.epoch + 1, "forked", message=words))
        run.enter("compiling", "Compiling.")
        if self._recorder is not None:
            self._recorder.follow(run)
        self._compiler.submit(self._prepare, run.race)

    def _take_changes(self, run: Run, training: Training) -> None:
        while run.compiled_changes:
            changes = run.compiled_changes.popleft()
            run.waited_for.clear()
            if isinstance(changes, Exception):
                run.drop_changes(training)
                stays = f"Differentiation stays {run.settings.differentiation}, the solver {run.settings.solver}"
                words = f"{stays}: the new step could not be compiled. "
                run.log.add_event(Event(run.epoch + 1, "refused", message=words + _in_words(changes)))
            else:
                self._change(run, training, changes)
        held: list[Mapping[str, Any]] = []  # what might contradict changes that are being compiled; the rest acts now
        while run.changes:
            changes = run.changes.popleft()
            if run.waited_for & changes.keys():
                run.waited_for |= changes.keys()
                held.append(changes)
            elif COMPILED & changes.keys():
                run.waited_for = {"maximum", "iterations", *COMPILED, *changes}
                wanted = [f"the solver {changes['solver']}"] if "solver" in changes else []
                wanted += [f"{changes['differentiation']} differentiation"] if "differentiation" in changes else []
                words = f"Compiling for {' and '.join(wanted)}; training goes on meanwhile."
                run.log.add_event(Event(run.epoch + 1, "compiling", dict(changes), words))
                self._compiler.submit(self._compile_changes, run, training, changes)
            else:
                self._change(run, training, changes)
        run.changes.extendleft(reversed(held))

    def _compile_changes(self, run: Run, training: Training, changes: Mapping[str, Any]) -> None:
        """Compile what changes need; in the compiling thread."""
        try:
            training.compile_for(changes)
            run.compiled_changes.append(changes)
        except Exception as error:  # as in `_prepare`
            logger.exception("a differentiation mode or a solver could not be compiled")
            run.compiled_changes.append(error)
        self.notify()

    def _change(self, run: Run, training: Training, changes: Mapping[str, Any]) -> None:
        """Let changes act from the next epoch on, and record them."""
        training.adjust(changes)
        run.compilations = training.compilations
        run.log.add_event(edit_event(run.epoch + 1, changes))

    def _call(self, run: Run, epochs: int) -> None:
        training = run.training
        if training is None:
            return
        if isinstance(training, Playback):
            run.play_on(training, epochs)
            return
        if not training.finished:  # it was resumed at its end
            run.log.append(training.advance(epochs))
        run.seconds = dict(training.seconds)
        if not training.finished:
            return
        self._take_snapshot(run)
        self._take_checkpoint(run)
        if training.diverged:
            run.enter(
                "diverged",
                f"Diverged in epoch {run.epoch}: the loss or the error is no longer a finite number. "
                "Everything up to there is kept.",
            )
        else:
            run.enter("finished", f"Finished all {run.epoch} epochs.")
        run.training = None

    @contextlib.contextmanager
    def _failing(self, run: Run) -> Iterator[None]:
        """An error, of XLA or of a problem of one's own, ends its run and not the thread."""
        try:
            yield
        except Exception as error:
            logger.exception("a run failed")
            run.training = None
            run.enter("failed", f"Failed in epoch {run.epoch + 1}. {_in_words(error)}")

    def _take_snapshot(self, run: Run) -> None:
        if isinstance(run.training, Training) and len(run.log):
            run.log.add_snapshot(run.training.snapshot())

    def _take_checkpoint(self, run: Run) -> None:
        if not isinstance(run.training, Training) or not len(run.log):
            return
        if run.log.checkpoint is None or run.log.checkpoint.epoch < run.training.epoch:
            run.log.checkpoint = run.training.checkpoint()


def _in_words(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line[:300]}"
