"""Runs as portable files: each a small store of its own, which another store takes in."""

import contextlib
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..refinement import Reason
from ._from_json import settings_from_json
from ._run import ENDED
from ._schema import StoreError
from ._store import ACTIVE, Store, StoredRun

_ID = re.compile(r"[a-z0-9_-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LATEST = 1e11  # seconds since 1970: no calendar ends before
_LARGEST = 1e300


@contextlib.contextmanager
def written_whole(file: str | Path) -> Iterator[Path]:
    """A path to write to, moved to `file` in one step when all went well: nothing half-written is left, ever.

    **Raises:** `ValueError` in words if `file` cannot be written, or is something else than a file.
    """
    target = Path(file).resolve()  # what a link points to is replaced, not the link
    try:
        if target.exists() and not target.is_file():
            raise ValueError(f"{str(file)!r} is no file that could be replaced; name another.")
        with tempfile.TemporaryDirectory(prefix=".prdp-", dir=target.parent) as folder:
            part = Path(folder) / target.name
            yield part
            part.replace(target)
    except OSError as error:
        raise ValueError(f"{str(file)!r} could not be written: {error.strerror or error}.") from error


def export_run(store: Store, run_id: str, file: str | Path) -> None:
    """Write one run with its records, events, snapshots and checkpoints to a file of its own, for `import_runs`.

    The file is a store that holds nothing else. A run under way is interrupted in it.

    **Raises:** `ValueError` in words for a run that is not there, and for a file that cannot be written.
    """
    if Path(file).resolve() == Path(store.place).resolve():
        raise ValueError(f"{str(file)!r} is the store itself; name another file.")
    contents = store.contents(run_id)
    with written_whole(file) as part:
        with contextlib.closing(Store(part)) as portable:
            portable.insert([contents])
        with contextlib.closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # one file, also for who opens it elsewhere


def import_runs(store: Store, file: str | Path) -> list[str]:
    """Take in all runs of a file that `export_run` wrote, or of another store; none if anything is wrong with one.

    Everything is read and checked, in a copy, before `store` is touched.

    **Returns:** the ids of the runs, oldest first.

    **Raises:** `StoreError` in words for what is no such file, is damaged, or holds a run that is here already.
    """
    try:
        _check_file(Path(file))
        with tempfile.TemporaryDirectory(prefix="prdp-import-") as folder:
            copy = shutil.copyfile(file, Path(folder) / "import.prdp")  # opening a store may write beside it
            try:
                return _taken_in(store, copy)
            except StoreError as error:
                raise StoreError(_in_a_line(error).replace(str(copy), str(file))) from error
            except ValueError as error:
                raise StoreError(
                    f"{str(file)!r} cannot be imported: {_in_a_line(error)}. Nothing of it was."
                ) from error
    except OSError as error:
        raise StoreError(f"{str(file)!r} cannot be read: {error.strerror or error}.") from error


def _in_a_line(error: Exception) -> str:
    """The words of an error, which may quote what the file holds."""
    return "".join(letter if letter.isprintable() else " " for letter in str(error)[:500])


def _check_file(file: Path) -> None:
    """Refuse what is no file, and one of which the end is missing, which SQLite would read as zeros."""
    wanted = "what can be imported is a file that `export` wrote to a name that ends in .prdp"
    try:
        size = file.stat().st_size if file.is_file() else None
    except ValueError:  # a name that no file can have
        size = None
    if not size:
        raise StoreError(f"{str(file)!r} is {'no file' if size is None else 'empty'}; {wanted}.")
    with file.open("rb") as opened:
        head = opened.read(18)
    page = int.from_bytes(head[16:]) if head.startswith(b"SQLite format 3\0") else 0
    if page > 1 and size % page:  # 1 stands for 65536, which is not written here
        raise StoreError(f"{str(file)!r} is cut off: its end is missing. Copy it once more; {wanted}.")


def _taken_in(store: Store, copy: Path) -> list[str]:
    with contextlib.closing(Store(copy)) as source:
        ids = [run.id for run in reversed(source.runs())]
        if not ids:
            raise StoreError(f"{str(copy)!r} holds no run, so that there is nothing to import.")
        for run_id in ids:
            _check(source, run_id)
        store.insert(source.contents(run_id) for run_id in ids)
        return ids


def _check(source: Store, run_id: str) -> None:
    """Read everything of a run, so that what does not read back is found here rather than later."""
    source.contents(run_id)
    run, log = source.run(run_id), source.log(run_id)
    _check_run(run)
    rows = log.read()
    _require(
        run.epochs == max(len(rows) - 1, 0), f"it says {run.epochs} epochs and has {max(len(rows) - 1, 0)}", run_id
    )
    _require(set(rows["reason"].tolist()) <= set(Reason), "it has a decision without a known reason", run_id)
    for event in log.events:
        _check_plain(run_id, {**event.values, "name": event.name, "message": event.message})
        _require(0 <= event.time <= _LATEST, "an event has no time", run_id)
    for snapshot in log.snapshots:
        for name, values in snapshot.fields.items():
            _check_plain(run_id, {"field": name})
            numbers = values.dtype.kind in "fiu" and values.ndim and values.size
            _require(numbers, f"its field {name[:80]!r} is no table of numbers", run_id)
    checkpoint = source.checkpoint(run_id)
    while checkpoint is not None:
        checkpoint = source.checkpoint(run_id, checkpoint.epoch - 1)


def _check_run(run: StoredRun) -> None:
    for name, value in (("id", run.id), ("race", run.race), ("parent", run.parent or run.id)):
        _require(_ID.fullmatch(value), f"its {name} is not of 1 to 64 of a-z, 0-9, _ and -", run.id)
    _require(run.status in ACTIVE | ENDED, "its state is none", run.id)
    _require(0 <= run.created <= _LATEST, "its time is none", run.id)
    _check_plain(run.id, {"label": run.label, "name": run.name, "message": run.message, "note": run.note})
    _check_plain(run.id, {**run.made_with, **run.summary})
    refinement = run.settings.get("refinement")
    _require(isinstance(refinement, dict), "its settings have no refinement", run.id)
    _check_plain(run.id, {**run.settings, "refinement": None, "controls": None} | dict(refinement or {}))
    known = dict(run.settings)
    if known.get("preset") == "own":  # what can be said of a problem that is not here
        known |= {"scenario": "heat-1d", "preset": "live", "solver": "jacobi", "differentiation": "implicit"}
    try:
        settings = settings_from_json(known)
    except ValueError as error:
        raise ValueError(f"the run {run.id!r} is damaged: its settings are none: {str(error).rstrip('.')}") from error
    # Their names become code where a run is written as Python.
    _require(run.settings.keys() == settings.to_json().keys(), "it has other settings than a run has", run.id)


def _check_plain(run_id: str, values: Mapping[str, Any]) -> None:
    """Refuse what is nested, and what would harm who prints it: commands to a terminal, and numbers beyond all use."""
    for name, value in values.items():
        if isinstance(value, str):
            fine = not _CONTROL.search(value)
        else:
            fine = value is None or (isinstance(value, int | float) and abs(value) <= _LARGEST)
        _require(fine, f"its {name[:80]!r} is neither a usable number nor plain text", run_id)


def _require(fine: Any, what: str, run_id: str) -> None:
    if not fine:
        raise ValueError(f"the run {run_id[:80]!r} is damaged: {what}")
