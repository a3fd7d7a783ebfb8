"""The command line's part on kept runs, but for going on with them."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ._output import check_writable, tell, write_json
from .engine import EXPORTS, Store, StoredRun, import_runs, records_csv


def runs(options: argparse.Namespace) -> int:
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        kept = [_listed(run) for run in store.runs()]
    if options.json is not None:
        write_json(kept, options.json)
    if options.json != "-":
        for run in kept:
            when = datetime.fromtimestamp(run["created"]).astimezone().strftime("%Y-%m-%d %H:%M")
            error = "" if run["validation"] is None else f", error {run['validation']:.4g}"
            print(
                f"{run['id']}  {when}  {run['scenario']} ({run['preset']}), {run['label']}: {run['status']} after "
                f"{run['epochs']} of {run['epochs_requested']} epochs{error}"
            )
        if not kept:
            print("No run is kept yet.")
    return 0


def _listed(run: StoredRun) -> dict[str, Any]:
    """A kept run as plain data."""
    return {
        **{
            name: getattr(run, name)
            for name in ("id", "name", "label", "race", "created", "status", "message", "epochs")
        },
        **{name: run.settings.get(name) for name in ("scenario", "preset", "seed", "solver", "differentiation")},
        "epochs_requested": run.epochs_requested,
        **{name: run.summary.get(name) for name in ("validation", "iterations", "seconds")},
        **{name: getattr(run, name) for name in ("parent", "parent_epoch", "note")},
    }


def show(options: argparse.Namespace) -> int:
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        run, log = store.run(options.id), store.log(options.id)
    told = {
        **_listed(run),
        "settings": run.settings,
        "made_with": run.made_with,
        "events": [
            {"epoch": event.epoch, "name": event.name, "values": dict(event.values), "message": event.message}
            for event in log.events
        ],
    }
    if options.json is not None:
        write_json(told, options.json)
    if options.json != "-":
        print(f"{run.id}: {run.name or run.label}, {run.message or run.status}")
        if run.parent is not None:
            print(f"forked from {run.parent} after epoch {run.parent_epoch}")
        for title, values in (("settings", run.settings), ("result", run.summary), ("made with", run.made_with)):
            print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
        for event in log.events:
            print(f"  epoch {event.epoch}: {event.message}")
    return 0


ENDINGS = (*EXPORTS, ".png", ".svg")
"""Of the files that `export` writes."""


def _writer(ending: str) -> Callable[[Store, str, str], None]:
    """What writes a run to a file whose name ends so."""
    if ending in EXPORTS:
        return EXPORTS[ending]
    from .dashboard import EXPORTS as WITH_PICTURES  # takes seconds, which the others need not wait

    return WITH_PICTURES[ending]


def export(options: argparse.Namespace) -> int:
    ending = ".csv" if options.file == "-" else Path(options.file).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"FILE must end in one of {', '.join(ENDINGS)}, or be - for CSV; got {options.file!r}.")
    if options.file == options.json == "-":
        raise ValueError("FILE and `--json` cannot both be standard output; name a file for one of them.")
    with _ready(options) as store:
        if options.file == "-":
            sys.stdout.write(records_csv(store.log(options.id)))
        else:
            _writer(ending)(store, options.id, options.file)
    told = {"id": options.id, "file": options.file, "format": ending[1:]}
    return tell(options, told, "" if options.file == "-" else f"{options.id} is in {options.file} as {ending[1:]}.")


def import_(options: argparse.Namespace) -> int:
    check_writable(options.json)
    with contextlib.closing(Store(options.store)) as store:
        ids = import_runs(store, options.file)
    return tell(options, {"ids": ids, "file": options.file}, f"{', '.join(ids)} came from {options.file}.")


def report(options: argparse.Namespace) -> int:
    if Path(options.file).suffix.lower() != ".html":
        raise ValueError(f"FILE must end in .html; got {options.file!r}.")
    with _ready(options) as store:
        _writer(".html")(store, options.id, options.file)
    return tell(
        options, {"id": options.id, "file": options.file, "format": "html"}, f"{options.id} is in {options.file}."
    )


def delete(options: argparse.Namespace) -> int:
    check_writable(options.json)
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        (store.restore if options.undo else store.delete)(options.id)
    undo = f"`delete {options.id} --undo` brings it back"
    words = f"{options.id} is {'back' if options.undo else f'deleted; {undo}'}."
    return tell(options, {"id": options.id, "deleted": not options.undo}, words)


@contextlib.contextmanager
def _ready(options: argparse.Namespace) -> Iterator[Store]:
    """The store to read from, after a look at the files to write."""
    check_writable(options.json)
    check_writable(options.file, "FILE")
    with contextlib.closing(Store(options.store, must_exist=True)) as store:
        yield store
