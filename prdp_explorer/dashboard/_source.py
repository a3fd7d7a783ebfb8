"""A run's records as columns that all plots of a page share."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

from ..engine import RECORD, Run
from ..refinement import Reason

MOST_POINTS = 2000
"""Records that the browser holds of a run at most.

Of more it gets those with the smallest and the largest validation error of every two, four, eight, … epochs, so that no
spike is lost, the last of them, and the refinements.
"""

MOST_REFINEMENTS = MOST_POINTS // 4
"""Refinements that are kept when a run is thinned: of more, every second, third, …"""

DECISIONS = {
    Reason.FIXED: "K is fixed",
    Reason.SCHEDULED: "K follows the schedule",
    Reason.COLLECTING: "collecting values",
    Reason.IMPROVING: "still improving: keep K",
    Reason.WORTHWHILE: "plateau, the last step was worth it: refine",
    Reason.DIVERGING: "the error grows: refine",
    Reason.SUPERFLUOUS: "plateau, more would be superfluous: keep K",
}
"""The reasons in few words."""

AXES = {"epoch": "epoch", "inner iterations": "cumulative_iterations", "seconds": "cumulative_seconds"}
"""What a run can be drawn over: in words, and the column."""

_COPIED = (*AXES.values(), "validation", "train_loss", "plateau_ratio", "checkpoint_ratio", "tau_step", "tau_stop")


def draw(source: ColumnDataSource, columns: dict[str, Any]) -> None:
    """Let a source have these columns; if they are no others nothing is done, while Bokeh would send and paint them."""
    if dict(source.data) != columns:
        source.data = columns


class RunSource:
    """Follows the log of a run by a cursor and streams what is new into a `ColumnDataSource`.

    Beside columns of the log it has `iterations` (K; at epoch 0 that of the first epoch, so that a step line starts
    there), `refined_ratio` (r_c where K was refined, else NaN) and `decision` (words).

    **Attributes:**

    - `run`: the run followed, or None.
    - `source`: the columns, at most `MOST_POINTS` long.
    - `edits`: where the run was edited: the columns of the last epoch before, and what was changed (`message`).
    - `last`: the last record read, a row of the log, or None.
    - `smallest`, `largest`: finite validation error so far.
    """

    def __init__(self):
        self.source = ColumnDataSource()
        self.edits = ColumnDataSource()
        self.follow(None)

    def follow(self, run: Run | None) -> None:
        """Forget what was read and follow another run from its beginning."""
        self.run = run
        self.last: Any = None
        self.smallest, self.largest = np.inf, 0.0
        self._cursor = 0
        self._stride = 1
        self._length = 0
        self._events = 0
        self.source.data = _nothing(self.columns(np.zeros(1, RECORD)))
        self.edits.data = {name: [] for name in (*AXES.values(), "validation", "iterations", "message")}

    def update(self) -> bool:
        """Stream what is new; whether there was anything."""
        if self.run is None:
            return False
        rows = self.run.log.read(self._cursor)
        edited = self._mark_edits(self.run)
        if not len(rows):
            return edited
        self._cursor += len(rows)
        self.last = rows[-1]
        errors = rows["validation"][np.isfinite(rows["validation"]) & (rows["validation"] > 0)]
        self.smallest = min(self.smallest, errors.min(initial=np.inf))
        self.largest = max(self.largest, errors.max(initial=0.0))
        shown = self._thinned(rows)
        if self._length + len(shown) > MOST_POINTS:
            self._length = 0
            rows = self.run.log.read()[: self._cursor]
            while len(rows) > self._stride * MOST_POINTS // 2 or len(self._thinned(rows)) > MOST_POINTS // 2:
                self._stride *= 2
            shown = self._thinned(rows)
        if self._length:
            # As lists, which go in one message; each array would go in two of its own.
            self.source.stream({name: list(column) for name, column in self.columns(shown).items()})
        else:
            self.source.data = self.columns(shown)
        self._length += len(shown)
        return True

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        """What the browser gets of these records."""
        return _columns(rows)

    def _mark_edits(self, run: Run) -> bool:
        """Mark the edits that are new; whether there were any."""
        rows = run.log.read()
        events = run.log.events[self._events :] if len(rows) else []
        self._events += len(events)
        edits = [event for event in events if event.name == "adjust"]
        if edits:
            before = _columns(rows[[min(max(event.epoch - 1, 0), len(rows) - 1) for event in edits]])
            before["message"] = [event.message for event in edits]
            so_far: Any = self.edits.data
            self.edits.data = {name: [*so_far[name], *before[name]] for name in so_far}
        return bool(edits)

    def _thinned(self, rows: np.ndarray) -> np.ndarray:
        """What is shown of these records: always the last, so that none waits for others."""
        if self._stride == 1:
            return rows
        refinements = np.flatnonzero(raises_level(rows))
        starts = np.arange(0, len(rows), self._stride)
        errors = np.full((len(starts), self._stride), np.nan)
        errors.flat[: len(rows)] = rows["validation"]
        kept = [
            np.flatnonzero(rows["epoch"][:1] == 0),
            refinements[:: max(1, -(-len(refinements) // MOST_REFINEMENTS))],
            starts + np.where(np.isnan(errors), np.inf, errors).argmin(axis=1),
            starts + np.where(np.isnan(errors), -np.inf, errors).argmax(axis=1),
            np.append(starts[1:], len(rows)) - 1,
        ]
        return rows[np.unique(np.concatenate(kept))]


def raises_level(rows: np.ndarray) -> np.ndarray:
    """After which of these records K is larger than before or, where a tolerance is refined, that is smaller."""
    by_count = np.isnan(rows["next_rtol"])
    return np.where(by_count, rows["next_iterations"] > rows["iterations"], rows["next_rtol"] < rows["rtol"])


def _columns(rows: np.ndarray) -> dict[str, Any]:
    """What the browser gets of these records. One place, so that the columns always have the same names and types."""
    columns: dict[str, Any] = {name: rows[name].astype(float) for name in _COPIED}
    # Where a tolerance is refined the next K is only a bound, so that the step line begins with the first epoch.
    first = np.where(np.isnan(rows["next_rtol"]), rows["next_iterations"], np.nan)
    return columns | {
        "iterations": np.where(rows["epoch"] == 0, first, rows["iterations"]).astype(float),
        "refined_ratio": np.where(rows["refined"], rows["checkpoint_ratio"], np.nan),
        "decision": [DECISIONS[Reason(reason)] for reason in rows["reason"]],
    }


def _nothing(columns: dict[str, Any]) -> dict[str, Any]:
    # One row that shows nothing: the browser hangs for ever on a step area that has no row at all (Bokeh 3.9).
    return {name: [""] if isinstance(column, list) else np.full(1, np.nan) for name, column in columns.items()}
