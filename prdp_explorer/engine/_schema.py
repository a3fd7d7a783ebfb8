"""The format of a store: its tables, how its file is opened, and how an older one becomes a newer one."""

import contextlib
import os
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IN_MEMORY = ":memory:"
"""The place of a store that ends with its process."""

_APPLICATION = 0x50524450  # "PRDP"
VERSION = 2
"""Of the format, as it is written now."""

_VERSION_1 = {
    "runs": """CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, race TEXT NOT NULL, label TEXT NOT NULL,
        settings TEXT NOT NULL, created REAL NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL,
        epochs INTEGER NOT NULL, summary TEXT NOT NULL, made_with TEXT NOT NULL, owner TEXT NOT NULL,
        seen REAL NOT NULL, parent TEXT, parent_epoch INTEGER, note TEXT NOT NULL DEFAULT '', deleted REAL)""",
    "records": """CREATE TABLE records (
        run INTEGER NOT NULL, first INTEGER NOT NULL, rows BLOB NOT NULL, PRIMARY KEY (run, first))""",
    "events": """CREATE TABLE events (
        run INTEGER NOT NULL, number INTEGER NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL,
        changes TEXT NOT NULL, message TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (run, number))""",
    "snapshots": """CREATE TABLE snapshots (
        run INTEGER NOT NULL, epoch INTEGER NOT NULL, iterations INTEGER NOT NULL, bytes INTEGER NOT NULL,
        fields BLOB NOT NULL, PRIMARY KEY (run, epoch))""",
    "checkpoints": """CREATE TABLE checkpoints (
        run INTEGER NOT NULL, epoch INTEGER NOT NULL, totals TEXT NOT NULL, bytes INTEGER NOT NULL,
        leaves BLOB NOT NULL, PRIMARY KEY (run, epoch))""",
}
"""The tables of the first version, as SQLite keeps their text."""

_UPGRADES = {1: "ALTER TABLE runs ADD COLUMN name TEXT NOT NULL DEFAULT ''"}
"""What makes of a version the next one."""

TABLES = {**_VERSION_1, "runs": _VERSION_1["runs"][:-1] + ", name TEXT NOT NULL DEFAULT '')"}
"""Of a store, as its upgrades leave them."""


class StoreError(ValueError):
    """A store that cannot be read or written, in words."""


def opened(place: str) -> sqlite3.Connection:
    """A connection to a store, made if need be, and brought up to this version.

    **Raises:** what SQLite raises, and `StoreError` for a file that is no store; nothing of it is changed then.
    """
    readable = _for_reading_only(place)
    if place != IN_MEMORY and not readable:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        readable or place, uri=bool(readable), timeout=5, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        with transaction(connection, "BEGIN") as execute:
            found, application, version = _found(execute)
        if not found and not application and not version:
            _create(connection)
        elif application != _APPLICATION:
            raise StoreError(f"{place!r} is a database of another program, not a store of runs. Choose another file.")
        elif version > VERSION:
            raise StoreError(
                f"{place!r} was written by a newer version of prdp_explorer (format {version}; this one knows "
                f"{VERSION}). Update prdp_explorer, or choose another file."
            )
        elif found != (TABLES if version == VERSION else _VERSION_1):
            raise StoreError(f"{place!r} does not have the tables of a store of runs. Choose another file.")
        elif version < VERSION:
            _upgrade(connection)
        if not readable:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _for_reading_only(place: str) -> str:
    """The address of a file that cannot be written, on a read-only medium say, so that it is read; empty for others."""
    if place == IN_MEMORY or not Path(place).is_file():
        return ""
    if os.access(place, os.W_OK) and os.access(Path(place).absolute().parent, os.W_OK):
        return ""
    # What another process wrote last may be in a file beside it; without that nobody is writing.
    how = "mode=ro" if Path(f"{place}-wal").exists() else "immutable=1"
    return f"{Path(place).absolute().as_uri()}?{how}"


def _found(execute: Any) -> tuple[dict[str, str], int, int]:
    """The tables of a file and whatever else is in its schema, whose it is, and of which version."""
    found = dict(map(tuple, execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'")))
    (application,) = execute("PRAGMA application_id").fetchone()
    (version,) = execute("PRAGMA user_version").fetchone()
    return found, application, version


def _upgrade(connection: sqlite3.Connection) -> None:
    with transaction(connection, "BEGIN IMMEDIATE") as execute:
        _, _, version = _found(execute)  # another process may have been faster
        for step in range(version, VERSION):
            execute(_UPGRADES[step])
        execute(f"PRAGMA user_version = {VERSION}")


def _create(connection: sqlite3.Connection) -> None:
    with transaction(connection, "BEGIN IMMEDIATE") as execute:
        if execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return  # another process was faster
        for table in TABLES.values():
            execute(table)
        execute(f"PRAGMA application_id = {_APPLICATION}")
        execute(f"PRAGMA user_version = {VERSION}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Iterator[Any]:
    """Everything or nothing of what is executed within."""
    connection.execute(begin)
    try:
        yield connection.execute
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


_DAMAGES = (ValueError, LookupError, TypeError, OverflowError, EOFError, zipfile.BadZipFile, RuntimeError, struct.error,
            MemoryError)  # fmt: skip
"""What reading contents that are not what they should be raises, those that claim to be huge included."""


@contextlib.contextmanager
def in_words(place: str) -> Iterator[None]:
    """What SQLite and damaged contents raise, as `StoreError`."""
    try:
        yield
    except StoreError:
        raise
    except sqlite3.OperationalError as error:
        raise StoreError(f"The store {place!r} cannot be used: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{place!r} is no store of runs, or is damaged: {error}. Choose another file.") from error
    except OSError as error:
        raise StoreError(f"The store {place!r} cannot be used: {error.strerror}.") from error
    except _DAMAGES as error:
        raise StoreError(f"The store {place!r} holds damaged contents: {error}.") from error
