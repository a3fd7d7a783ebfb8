"""The reader of logs that keeps them: what is new in followed runs goes to a store, several times a second."""

import logging
import threading
import time

from ._run import Run
from ._schema import StoreError
from ._store import Store

WRITE_SECONDS = 0.25
"""How often is written. What a killed process loses is at most what came since."""

LIFE_SECONDS = 10.0
"""How often a run that stands still shows that its process lives."""

RETRY_SECONDS = 5.0
"""How long to wait after a store could not be written; nothing is lost meanwhile, since the logs stay in memory."""

logger = logging.getLogger(__name__)


class _Cursors:
    """How much of a run is kept already."""

    def __init__(self, run: Run):
        self.added = run.kept
        self.rows, self.events = (len(run.log), len(run.log.events)) if run.kept else (0, 0)
        self.snapshot = self.checkpoint = self.rows - 1
        self.state, self.written = "", 0.0


class Recorder:
    """Writes the logs of runs into a store in a thread of its own; training never waits for it.

    **Attributes:**

    - `store`: where to.
    - `problem`: why nothing can be written at present, in words; None if all is well.
    """

    def __init__(self, store: Store):
        self.store = store
        self.problem: str | None = None
        self._runs: dict[Run, _Cursors] = {}
        self._lock = threading.Lock()  # one write at a time
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prdp-recorder", daemon=True)
        self._thread.start()

    def follow(self, run: Run) -> None:
        """Keep a run from now on; one that the store has already goes on where it ended."""
        self._runs[run] = _Cursors(run)

    def write(self) -> None:
        """Write what is new now. Trouble goes to `problem`."""
        with self._lock:
            problem = None
            for run, cursors in list(self._runs.items()):
                try:
                    self._write(run, cursors)
                except StoreError as error:
                    problem = str(error)
            if problem is not None and self.problem is None:
                logger.warning("runs are not kept at present: %s", problem)
            self.problem = problem

    def close(self) -> None:
        """Write the rest and end the thread."""
        self._closing.set()
        self._thread.join(timeout=10)
        self.write()

    def _work(self) -> None:
        while not self._closing.wait(WRITE_SECONDS if self.problem is None else RETRY_SECONDS):
            self.write()

    def _write(self, run: Run, cursors: _Cursors) -> None:
        # In this order: a checkpoint never comes before its records, nor a record before the edits that it obeyed.
        ended = run.ended
        checkpoint = run.log.checkpoint
        if checkpoint is not None and checkpoint.epoch <= cursors.checkpoint:
            checkpoint = None
        snapshots = [snapshot for snapshot in run.log.snapshots if snapshot.epoch > cursors.snapshot]
        rows = run.log.read(cursors.rows)
        events = run.log.events[cursors.events :]
        state = run.state
        new = len(rows) or events or snapshots or checkpoint or state != cursors.state
        if not new and time.monotonic() < cursors.written + LIFE_SECONDS:
            return
        if not cursors.added:
            parent, epoch = run.parent or (None, None)
            settings = run.started_with.to_json()
            self.store.add(run.id, run.label, run.race.id, settings, parent=parent, parent_epoch=epoch)
            cursors.added = True
        self.store.write(
            run.id,
            status=state,
            message=run.message,
            rows=rows,
            first=cursors.rows,
            events=events,
            first_event=cursors.events,
            snapshots=snapshots,
            checkpoint=checkpoint,
        )
        cursors.state, cursors.written = state, time.monotonic()
        cursors.rows += len(rows)
        cursors.events += len(events)
        if snapshots:
            cursors.snapshot = snapshots[-1].epoch
        if checkpoint is not None:
            cursors.checkpoint = checkpoint.epoch
        if ended:
            self._runs.pop(run, None)
