"""A kept run, played: to whoever looks it is a run like any other."""

from dataclasses import dataclass

import numpy as np

from ._epoch import LONGEST_CALL
from ._from_json import settings_from_json
from ._log import Log
from ._settings import RunSettings
from ._store import StoredRun


@dataclass(frozen=True)
class Recording:
    """A kept run with its whole log."""

    kept: StoredRun
    log: Log

    @property
    def last_epoch(self) -> int:
        return len(self.log) - 1


class Playback:
    """Stands in for a `Training` where everything was trained before: its calls return what was recorded then.

    **Attributes:**

    - `settings`: as they were at the epoch reached.
    - `epoch`: the last epoch played; -1 before the measurement before training.
    - `seconds`: of training up to there, as measured then.
    - `finished`: whether nothing is left to play.
    """

    def __init__(self, recording: Recording):
        self.recording = recording
        self.settings: RunSettings = settings_from_json(recording.kept.settings)
        self.epoch = -1
        self.seconds = {"setup": 0.0, "compile": 0.0, "train": 0.0}
        self._events = self._snapshots = 0

    @property
    def finished(self) -> bool:
        return self.epoch >= self.recording.last_epoch

    @property
    def epochs_per_call(self) -> int:
        """Reading takes no time, so that others decide."""
        return LONGEST_CALL

    def advance(self, epochs: int) -> np.ndarray:
        """The records of the next epochs, up to so many."""
        rows = self.recording.log.read(self.epoch + 1)[:epochs]
        if len(rows):
            self.epoch += len(rows)
            self.seconds["train"] = float(rows[-1]["cumulative_seconds"])
        return rows

    def tell(self, log: Log) -> None:
        """Add the edits and snapshots up to the epoch reached to a log.

        States are left out: whoever plays a run lets it enter those of the playing.
        """
        events, snapshots = self.recording.log.events, self.recording.log.snapshots
        while self._events < len(events) and events[self._events].epoch <= self.epoch + 1:
            event = events[self._events]
            self._events += 1
            if event.name in ("adjust", "refused", "resumed", "forked"):
                log.add_event(event)
            if event.name == "adjust":
                self.settings = self.settings.changed(event.values)
        while self._snapshots < len(snapshots) and snapshots[self._snapshots].epoch <= self.epoch:
            log.add_snapshot(snapshots[self._snapshots])
            self._snapshots += 1
