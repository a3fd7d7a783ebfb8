"""The log of a run: what every reader sees, whenever and however fast it reads."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..refinement import explain

RECORD = np.dtype(
    [
        ("epoch", np.int32),
        ("iterations", np.int32),
        ("train_loss", np.float64),
        ("validation", np.float64),
        ("smoothed", np.float64),
        ("plateau_ratio", np.float64),
        ("checkpoint_ratio", np.float64),
        ("refined", np.bool_),
        ("reason", np.int32),
        ("next_iterations", np.int32),
        ("rtol", np.float64),
        ("next_rtol", np.float64),
        ("tau_step", np.float64),
        ("tau_stop", np.float64),
        ("seconds", np.float64),
        ("cumulative_iterations", np.int64),
        ("cumulative_seconds", np.float64),
    ]
)
"""A record as a row of a table. NaN stands for what does not apply."""


@dataclass(frozen=True)
class Record:
    """One epoch. All values are non-dimensional except seconds.

    **Attributes:**

    - `epoch`: 1 for the first; epoch 0 of a log is the measurement before training, with no K and no loss.
    - `iterations`: K; where a tolerance is refined, the mean of the iterations that the solves used, rounded.
    - `train_loss`: mean of the batches. `validation`: the validation metric after the epoch.
    - `smoothed`: the metric as the controller smooths it. `plateau_ratio`: r. `checkpoint_ratio`: r_c. NaN where not
      evaluated.
    - `refined`: the decision. `reason`: a `Reason` as a number. `next_iterations`: K of the next epoch.
    - `rtol`, `next_rtol`: the tolerance of this epoch and the next where a tolerance is refined, else NaN.
    - `tau_step`, `tau_stop`: the thresholds that the decision was made with.
    - `seconds`: of computing. Epochs of one compiled call share its time evenly.
    - `cumulative_iterations`, `cumulative_seconds`: sums up to this epoch.
    """

    epoch: int
    iterations: int
    train_loss: float
    validation: float
    smoothed: float
    plateau_ratio: float
    checkpoint_ratio: float
    refined: bool
    reason: int
    next_iterations: int
    rtol: float
    next_rtol: float
    tau_step: float
    tau_stop: float
    seconds: float
    cumulative_iterations: int
    cumulative_seconds: float

    @property
    def decision(self) -> str:
        """ "refine" or "keep"."""
        return "refine" if self.refined else "keep"

    @property
    def explanation(self) -> str:
        """The decision and its reason in one sentence."""
        return explain(
            self.reason,
            refined=self.refined,
            plateau_ratio=self.plateau_ratio,
            checkpoint_ratio=self.checkpoint_ratio,
            tau_step=self.tau_step,
            tau_stop=self.tau_stop,
            iterations_before=self.iterations,
            iterations_after=self.next_iterations,
            rtol_before=self.rtol,
            rtol_after=self.next_rtol,
        )


def as_records(rows: np.ndarray) -> Iterator[Record]:
    """The rows of a table of records as objects."""
    return (Record(*row) for row in rows.tolist())


@dataclass(frozen=True)
class Event:
    """Something that happened to a run, other than an epoch.

    **Attributes:**

    - `epoch`: the epoch from which it acts.
    - `name`: a state of the run, or "adjust".
    - `values`: of an adjustment, what is new, by name.
    - `message`: the event in words.
    - `time`: when, in seconds since 1970.
    """

    epoch: int
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Snapshot:
    """The fields of the validation samples at the end of an epoch.

    **Attributes:**

    - `epoch`, `iterations`: when, and the K that the physics was run with.
    - `fields`: arrays of shape `(samples, *grid)` by name, in the order of drawing.
    """

    epoch: int
    iterations: int
    fields: Mapping[str, np.ndarray]

    @property
    def num_bytes(self) -> int:
        return sum(values.nbytes for values in self.fields.values())


@dataclass(frozen=True)
class Checkpoint:
    """What training goes on from after an epoch, bit for bit.

    **Attributes:**

    - `epoch`: the last epoch done.
    - `leaves`: of the training state, in JAX's order: network, optimiser, controller, random state.
    - `totals`: the iterations and seconds up to there, and the last K, as plain data.
    """

    epoch: int
    leaves: tuple[np.ndarray, ...]
    totals: Mapping[str, float]

    @property
    def num_bytes(self) -> int:
        return sum(leaf.nbytes for leaf in self.leaves)


def thinned(sizes: Sequence[tuple[int, int]], budget: int, least: int = 2) -> list[tuple[int, int]]:
    """Of epochs and bytes, in order, those to keep: spread evenly, within a budget, and at least so many.

    The one with the nearest neighbours goes first; the last stays.
    """
    kept = list(sizes)
    while len(kept) > least and sum(size for _, size in kept) > budget:
        inner = range(1, len(kept) - 1)
        kept.pop(min(inner, key=lambda i: kept[i + 1][0] - kept[i - 1][0]) if inner else 0)
    return kept


class Log:
    """Append-only: records and events are never dropped, snapshots live within a budget of bytes.

    `checkpoint` is the newest; a store keeps earlier ones. One thread appends; any number read, each with cursors of
    its own, without locks and without waiting.

    **Arguments:**

    - `snapshot_bytes`: the budget. When it is exceeded the snapshot with the nearest neighbours is dropped, but never
      the first or the last, so that those kept stay evenly spread.
    """

    def __init__(self, snapshot_bytes: int = 64 * 2**20):
        self.snapshot_bytes = snapshot_bytes
        self.events: list[Event] = []
        self.checkpoint: Checkpoint | None = None
        self._rows = np.zeros(256, RECORD)
        self._count = 0
        self._snapshots: tuple[Snapshot, ...] = ()
        self._bytes = 0  # of the snapshots
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """The number of records, the one before training included."""
        return self._count

    def read(self, cursor: int = 0) -> np.ndarray:
        """The records from number `cursor` on, as a read-only table with the columns of `RECORD`.

        A reader adds the length of what it got to its cursor.
        """
        count = self._count  # before the rows: they may be replaced by larger ones, never by smaller
        rows = self._rows[cursor:count]
        rows.flags.writeable = False
        return rows

    @property
    def records(self) -> list[Record]:
        """All records, the one before training first."""
        return list(as_records(self.read()))

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots kept, by epoch."""
        return self._snapshots

    def append(self, rows: np.ndarray) -> None:
        """Add records."""
        needed = self._count + len(rows)
        if needed > len(self._rows):
            larger = np.zeros(max(needed, 2 * len(self._rows)), RECORD)
            larger[: self._count] = self._rows[: self._count]
            self._rows = larger
        self._rows[self._count : needed] = rows
        self._count = needed
        self._notify()

    def add_event(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)
        self._notify()

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Add a snapshot, unless there is one of this epoch, and thin out what is over the budget."""
        if self._snapshots and self._snapshots[-1].epoch == snapshot.epoch:
            return
        snapshots = (*self._snapshots, snapshot)
        self._bytes += snapshot.num_bytes
        if self._bytes > self.snapshot_bytes:
            by_epoch = {each.epoch: each for each in snapshots}
            sizes = [(epoch, each.num_bytes) for epoch, each in by_epoch.items()]
            snapshots = tuple(by_epoch[epoch] for epoch, _ in thinned(sizes, self.snapshot_bytes))
            self._bytes = sum(each.num_bytes for each in snapshots)
        self._snapshots = snapshots

    def wait(self, condition: Any, timeout: float | None = None) -> bool:
        """Wait until `condition()` holds, looked at whenever something was appended; false if it timed out."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
