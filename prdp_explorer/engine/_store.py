"""Runs kept in one SQLite file: settings, log and checkpoints, for as long as somebody wants them."""

import contextlib
import functools
import io
import json
import os
import platform
import sqlite3
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ._log import RECORD, Checkpoint, Event, Log, Snapshot, thinned
from ._schema import IN_MEMORY, StoreError, in_words, opened, transaction

STORE_VARIABLE = "PRDP_EXPLORER_STORE"
"""Environment variable that names the file in which runs are kept."""

SNAPSHOT_BYTES = 32 * 2**20
CHECKPOINT_BYTES = 64 * 2**20
"""What a run's snapshots and checkpoints may take. Beyond it they are thinned evenly, and the newest is kept."""

SILENT_SECONDS = 60.0
"""How long a run under way may give no sign of life before it counts as interrupted."""

ACTIVE = frozenset({"compiling", "queued", "running", "paused"})
"""The states of a run that a living process leaves again."""

RESUMABLE = frozenset({"interrupted", "stopped"})
"""The states from which a kept run can go on."""

PURGE_SECONDS = 30 * 24 * 3600.0
"""How long a deleted run can be brought back."""

Contents = Mapping[str, list[dict[str, Any]]]
"""What a store holds of one run: the rows of each table, as values by column."""

_HELD = {
    "runs": "SELECT * FROM runs WHERE number = ?",
    "records": "SELECT * FROM records WHERE run = ?",
    "events": "SELECT * FROM events WHERE run = ?",
    "snapshots": "SELECT * FROM snapshots WHERE run = ?",
    "checkpoints": "SELECT * FROM checkpoints WHERE run = ?",
}


@dataclass(frozen=True)
class StoredRun:
    """A kept run without its log.

    **Attributes:**

    - `id`, `label`, `race`: of the run, and of the race that it was part of.
    - `settings`: those that it started with, as plain data.
    - `created`: in seconds since 1970.
    - `status`, `message`: its state. "interrupted" if it was under way in a process that is gone.
    - `epochs`: recorded, the measurement before training not counted.
    - `summary`: the last validation error, the iterations in all, and the seconds, as plain data.
    - `made_with`: versions and machine.
    - `parent`, `parent_epoch`: what it was forked from, and after which epoch; None for what is no fork.
    - `name`, `note`: a person's; empty if there are none.
    - `edits`: what was changed since the start, by name, as it was changed last.
    """

    id: str
    label: str
    race: str
    settings: Mapping[str, Any]
    created: float
    status: str
    message: str
    epochs: int
    summary: Mapping[str, Any]
    made_with: Mapping[str, Any]
    parent: str | None
    parent_epoch: int | None
    name: str
    note: str
    edits: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Its name, or else its id."""
        return self.name or self.id

    @property
    def epochs_requested(self) -> Any:
        """How many epochs it is to have by now; None if the file does not say."""
        return self.edits.get("epochs", self.settings.get("epochs"))

    @property
    def active(self) -> bool:
        """Whether a living process is at it."""
        return self.status in ACTIVE


def default_place() -> str:
    """The file that `PRDP_EXPLORER_STORE` names, or one in the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return os.environ.get(STORE_VARIABLE) or str(Path(data) / "prdp_explorer" / "runs.sqlite")


class Store:
    """One file of runs. Several processes may read while one writes; any thread may use it.

    **Arguments:**

    - `place`: a file, made if need be; ":memory:" for none. None is `default_place`.
    - `must_exist`: whether to refuse a file that is not there.

    **Raises:** `StoreError` for a file that is no store, is damaged, or was written by a newer version; nothing of it
    is changed then.
    """

    def __init__(self, place: str | Path | None = None, *, must_exist: bool = False):
        self.place = str(default_place() if place is None else place)
        self._write_lock, self._read_lock = threading.RLock(), threading.RLock()
        if must_exist and self.place != IN_MEMORY and not Path(self.place).is_file():
            raise StoreError(f"There is no store of runs at {self.place!r}.")
        with in_words(self.place):
            self._connection = opened(self.place)
            # Whoever reads, in a session of the page say, does not wait for a large write to be over.
            self._reader = self._connection if self.place == IN_MEMORY else opened(self.place)
        if self._reader is self._connection:
            self._read_lock = self._write_lock

    def close(self) -> None:
        """Let the file go."""
        with self._read_lock, self._write_lock:
            self._reader.close()
            self._connection.close()

    def add(
        self,
        run_id: str,
        label: str,
        race: str,
        settings: Mapping[str, Any],
        *,
        parent: str | None = None,
        parent_epoch: int | None = None,
    ) -> None:
        """Keep a new run, of which nothing is known but its settings."""
        row = (run_id, label, race, _as_json(settings), _as_json(made_with()), _OWNER, parent, parent_epoch)
        with self._writing() as execute:
            execute(
                "INSERT INTO runs (id, label, race, settings, made_with, owner, parent, parent_epoch, created, seen, "
                "status, message, epochs, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'compiling', '', 0, '{}')",
                (*row, time.time(), time.time()),
            )

    def write(
        self,
        run_id: str,
        *,
        status: str,
        message: str,
        rows: np.ndarray,
        first: int,
        events: Sequence[Event] = (),
        first_event: int = 0,
        snapshots: Sequence[Snapshot] = (),
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Add what is new of a run, all or nothing.

        **Arguments:**

        - `rows`, `events`: records and events to add. `first`, `first_event`: how many there are already.
        """
        with self._writing() as execute:
            (number,) = execute("SELECT number FROM runs WHERE id = ?", (run_id,)).fetchone()
            if len(rows):
                execute("INSERT INTO records VALUES (?, ?, ?)", (number, first, rows.tobytes()))
                execute(
                    "UPDATE runs SET epochs = ?, summary = ? WHERE number = ?",
                    (first + len(rows) - 1, _as_json(_summary(rows[-1])), number),
                )
            for index, event in enumerate(events, first_event):
                row = (event.epoch, event.name, _as_json(dict(event.values)), event.message, event.time)
                execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", (number, index, *row))
            for snapshot in snapshots:
                row = (snapshot.epoch, snapshot.iterations, snapshot.num_bytes, _packed(snapshot.fields))
                execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", (number, *row))
            if snapshots:
                _thin(execute, "snapshots", number, SNAPSHOT_BYTES)
            if checkpoint is not None:
                leaves = {f"{index:05d}": leaf for index, leaf in enumerate(checkpoint.leaves)}
                row = (checkpoint.epoch, _as_json(checkpoint.totals), checkpoint.num_bytes, _packed(leaves))
                execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)", (number, *row))
                _thin(execute, "checkpoints", number, CHECKPOINT_BYTES)
            execute(
                "UPDATE runs SET status = ?, message = ?, owner = ?, seen = ? WHERE number = ?",
                (status, message, _OWNER, time.time(), number),
            )

    def runs(self) -> list[StoredRun]:
        """The runs kept, newest first."""
        with self._reading() as execute:
            edits: dict[int, dict[str, Any]] = {}
            for number, changes in execute(
                "SELECT run, changes FROM events WHERE name = 'adjust' ORDER BY run, number"
            ):
                edits.setdefault(number, {}).update(json.loads(changes))
            rows = execute("SELECT * FROM runs WHERE deleted IS NULL ORDER BY number DESC")
            return [_stored(row, edits.get(row["number"], {})) for row in rows]

    def signs(self) -> tuple[int, int]:
        """Two numbers that change whenever anything in the file may have; cheap to ask for again and again."""
        with self._reading() as execute:
            return execute("PRAGMA data_version").fetchone()[0], self._connection.total_changes

    def run(self, run_id: str) -> StoredRun:
        """One kept run.

        **Raises:** `StoreError` if there is none with that id.
        """
        with self._reading() as execute:
            row = self._row(execute, run_id)
            edits: dict[str, Any] = {}
            for (changes,) in execute(
                "SELECT changes FROM events WHERE name = 'adjust' AND run = ? ORDER BY number", (row["number"],)
            ):
                edits.update(json.loads(changes))
            return _stored(row, edits)

    def rows(self, run_id: str, first: int = 0) -> np.ndarray:
        """The records of a kept run from number `first` on, as a table with the columns of `RECORD`."""
        with self._reading() as execute:
            return _rows(execute, self._row(execute, run_id)["number"], first)

    def events(self, run_id: str) -> list[Event]:
        """The events of a kept run."""
        with self._reading() as execute:
            return list(_events(execute, self._row(execute, run_id)["number"]))

    def log(self, run_id: str) -> Log:
        """The log of a kept run: its records, events and snapshots."""
        with self._reading() as execute:
            number = self._row(execute, run_id)["number"]
            log = Log()
            log.append(_rows(execute, number))
            for event in _events(execute, number):
                log.add_event(event)
            for epoch, iterations, fields in execute(
                "SELECT epoch, iterations, fields FROM snapshots WHERE run = ? ORDER BY epoch", (number,)
            ):
                log.add_snapshot(Snapshot(epoch, iterations, _unpacked(fields)))
            return log

    def checkpoint(self, run_id: str, epoch: int | None = None) -> Checkpoint | None:
        """The newest checkpoint of a run, or the newest at or before an epoch; None if there is none."""
        with self._reading() as execute:
            number = self._row(execute, run_id)["number"]
            found = execute(
                "SELECT epoch, totals, leaves FROM checkpoints WHERE run = ? AND epoch <= ? ORDER BY epoch DESC",
                (number, 2**62 if epoch is None else epoch),
            ).fetchone()
            if found is None:
                return None
            leaves = _unpacked(found[2])
            return Checkpoint(found[0], tuple(leaves[name] for name in sorted(leaves)), json.loads(found[1]))

    def contents(self, run_id: str) -> Contents:
        """All that the file holds of a run, for `insert`. One under way is interrupted there: nobody trains a copy."""
        with self._reading() as execute:
            row = self._row(execute, run_id)
            run = _stored(row, {})
            tables = {
                name: [dict(held) for held in execute(select, (row["number"],))] for name, select in _HELD.items()
            }
            for name, rows in tables.items():
                _check_columns(execute, name, rows)
        status, message = run.status, run.message
        if status in ACTIVE:
            status, message = "interrupted", f"Interrupted after epoch {run.epochs}: copied while it trained elsewhere."
        tables["runs"][0].update(status=status, message=message, owner="")
        return tables

    def insert(self, runs: Iterable[Contents]) -> None:
        """Add runs as `contents` gave them, all or nothing.

        **Raises:** `StoreError` if one of them, or one of its label in its race, is here already, be it deleted.
        """
        with self._writing() as execute:
            for tables in runs:
                (run,) = tables["runs"]
                same = execute(
                    "SELECT id, deleted FROM runs WHERE id = :id OR (race = :race AND label = :label)", run
                ).fetchone()
                if same is not None:
                    undo = f"; `delete {same['id']} --undo` brings it back" if same["deleted"] is not None else ""
                    what = "" if same["id"] == run["id"] else f" as {run['label']!r} of the same race"
                    raise StoreError(f"The run {same['id']!r} is in {self.place!r} already{what}{undo}.")
                number = _insert(execute, "runs", {name: run[name] for name in run if name != "number"})
                for table in _HELD:
                    for row in tables[table] if table != "runs" else ():
                        _insert(execute, table, {**row, "run": number})

    def delete(self, run_id: str) -> None:
        """Hide a run; `restore` brings it back for 30 days. What was deleted before that goes for good."""
        self._change("UPDATE runs SET deleted = ? WHERE id = ? AND deleted IS NULL", time.time(), run_id)
        with self._writing() as execute:
            for statement in _PURGING:
                execute(statement, (time.time() - PURGE_SECONDS,))

    def restore(self, run_id: str) -> None:
        """Bring a deleted run back."""
        self._change("UPDATE runs SET deleted = ? WHERE id = ? AND deleted IS NOT NULL", None, run_id)

    def rename(self, run_id: str, name: str) -> None:
        """Give a run a name of a person's choice; an empty one is none."""
        self._change("UPDATE runs SET name = ? WHERE id = ?", name, run_id)

    def annotate(self, run_id: str, note: str) -> None:
        """Replace a run's note."""
        self._change("UPDATE runs SET note = ? WHERE id = ?", note, run_id)

    def _change(self, statement: str, value: Any, run_id: str) -> None:
        with self._writing() as execute:
            if not execute(statement, (value, run_id)).rowcount:
                raise StoreError(self._no_run(run_id))

    def _no_run(self, run_id: str) -> str:
        return f"There is no run {run_id!r} in {self.place!r}; `python -m prdp_explorer runs` lists those there are."

    def _row(self, execute: Any, run_id: str) -> sqlite3.Row:
        row = execute("SELECT * FROM runs WHERE deleted IS NULL AND id = ?", (run_id,)).fetchone()
        if row is None:
            raise StoreError(self._no_run(run_id))
        return row

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._read_lock, in_words(self.place), transaction(self._reader, "BEGIN") as execute:
            yield execute

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        with self._write_lock, in_words(self.place), transaction(self._connection, "BEGIN IMMEDIATE") as execute:
            yield execute


_OWNER = f"{platform.node()} {os.getpid()}"


@functools.cache
def made_with() -> dict[str, str]:
    """The versions and the kind of machine that a run made now is made with."""
    packages = ("prdp_explorer", "jax", "equinox", "optax")
    return {
        **{name: version(name) for name in packages},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }


def _stored(row: sqlite3.Row, edits: Mapping[str, Any]) -> StoredRun:
    status, message = row["status"], row["message"]
    if status in ACTIVE and not _alive(row["owner"], row["seen"]):
        status = "interrupted"
        message = f"Interrupted after epoch {row['epochs']}: the process that trained it is gone."
    columns = ("id", "label", "race", "created", "epochs", "parent", "parent_epoch", "name", "note")
    values = {
        **{name: row[name] for name in columns},
        **{name: json.loads(row[name]) for name in ("settings", "summary", "made_with")},
        "status": status,
        "message": message,
    }
    for name, kinds in _KINDS.items():
        _check_kind(f"the {name} of a run", values[name], kinds)
    for name, value in values["summary"].items():
        _check_kind(f"the {name} of a run", value, (int, float, type(None)))
    return StoredRun(**values, edits=edits)


_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "label", "race", "name", "note", "status", "message"), (str,)),
    **dict.fromkeys(("settings", "summary", "made_with"), (dict,)),
    "created": (float,),
    "epochs": (int,),
    "parent": (str, type(None)),
    "parent_epoch": (int, type(None)),
}
"""What a file that is no hostile one holds."""


def _check_kind(what: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise ValueError(f"{what} is a {type(value).__name__}")


def _check_columns(execute: Any, table: str, rows: list[dict[str, Any]]) -> None:
    """Refuse values of another type than the table declares, which SQLite lets pass."""
    declared = execute('SELECT name, type, "notnull" FROM pragma_table_info(?)', (table,)).fetchall()
    for name, kind, never_null in declared:
        allowed = (_TYPES[kind],) if never_null else (_TYPES[kind], type(None))
        for row in rows:
            _check_kind(f"the {name} of {table}", row[name], allowed)


_TYPES = {"TEXT": str, "INTEGER": int, "REAL": float, "BLOB": bytes}


def _insert(execute: Any, table: str, row: Mapping[str, Any]) -> int:
    """Add a row, whatever columns its version has. Their names are those of `TABLES`, never a file's own."""
    places = ", ".join(f":{name}" for name in row)
    return execute(" ".join(("INSERT INTO", table, f"({', '.join(row)})", "VALUES", f"({places})")), row).lastrowid


def _alive(owner: str, seen: float) -> bool:
    """Whether the process that writes a run still does."""
    if owner == _OWNER:
        return True
    node, _, process = owner.rpartition(" ")
    if node == platform.node() and os.name == "posix":
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, ValueError, OverflowError):
            return False
        except PermissionError:
            pass
    return time.time() - seen < SILENT_SECONDS


def _rows(execute: Any, number: int, start: int = 0) -> np.ndarray:
    """The records of a run from number `start` on."""
    chunks, length = [np.zeros(0, RECORD)], None
    for first, blob in execute(
        "SELECT first, rows FROM records WHERE run = ? AND first >= (SELECT coalesce(max(first), 0) FROM records "
        "WHERE run = ? AND first <= ?) ORDER BY first",
        (number, number, start),
    ):
        rows = np.frombuffer(blob, RECORD)
        length = min(first, start) if length is None else length
        if first != length or not np.array_equal(rows["epoch"], np.arange(first, first + len(rows))):
            raise ValueError(f"record {length} of a run is missing")
        chunks.append(rows[max(start - first, 0) :])
        length += len(rows)
    return np.concatenate(chunks)


def _events(execute: Any, number: int) -> Iterator[Event]:
    for epoch, name, changes, message, at in execute(
        "SELECT epoch, name, changes, message, time FROM events WHERE run = ? ORDER BY number", (number,)
    ):
        values = json.loads(changes)
        for value, kind in ((epoch, int), (name, str), (values, dict), (message, str), (at, float)):
            _check_kind("a value of an event", value, (kind,))
        yield Event(epoch, name, values, message, at)


def _thin(execute: Any, table: str, number: int, budget: int) -> None:
    select, delete = _THINNING[table]
    kept = [tuple(row) for row in execute(select, (number,))]
    for epoch, _ in set(kept) - set(thinned(kept, budget, least=1)):
        execute(delete, (number, epoch))


_PURGING = (
    "DELETE FROM records WHERE run IN (SELECT number FROM runs WHERE deleted < ?)",
    "DELETE FROM events WHERE run IN (SELECT number FROM runs WHERE deleted < ?)",
    "DELETE FROM snapshots WHERE run IN (SELECT number FROM runs WHERE deleted < ?)",
    "DELETE FROM checkpoints WHERE run IN (SELECT number FROM runs WHERE deleted < ?)",
    "DELETE FROM runs WHERE deleted < ?",
)

_THINNING = {
    "snapshots": (
        "SELECT epoch, bytes FROM snapshots WHERE run = ? ORDER BY epoch",
        "DELETE FROM snapshots WHERE run = ? AND epoch = ?",
    ),
    "checkpoints": (
        "SELECT epoch, bytes FROM checkpoints WHERE run = ? ORDER BY epoch",
        "DELETE FROM checkpoints WHERE run = ? AND epoch = ?",
    ),
}


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(blob: bytes) -> dict[str, np.ndarray]:
    """The arrays of a blob; refuses what would need unpickling, and what would be larger than the blob."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("arrays are kept uncompressed, and these are not")
    with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
        return dict(arrays)


def _summary(row: np.void) -> dict[str, Any]:
    validation = float(row["validation"])
    return {
        "validation": validation if np.isfinite(validation) else None,
        "iterations": int(row["cumulative_iterations"]),
        "seconds": float(row["cumulative_seconds"]),
    }


def _as_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
