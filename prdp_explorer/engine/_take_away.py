"""What a kept run holds, for other programs: records as CSV, fields as NetCDF."""

import csv
import importlib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..problems import Problem, title_of
from ._from_json import settings_from_json
from ._log import Log, Snapshot
from ._portable import export_run, written_whole
from ._python import python_lines
from ._store import Store, StoredRun

if TYPE_CHECKING:
    import xarray


def optional_module(name: str) -> Any:
    """A module that not every installation has.

    **Raises:** `ValueError` that says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise ValueError(f"This needs {package}, which is not installed: pip install 'prdp_explorer[export]'") from None


def records_csv(log: Log) -> str:
    """The records of a log as CSV: a line of names, then a line an epoch, the measurement before training first."""
    rows = log.read()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.dtype.names or ())
    writer.writerows(rows.tolist())
    return text.getvalue()


def fields_dataset(run: StoredRun, log: Log) -> "xarray.Dataset":
    """The snapshots of a run as one data set, non-dimensional.

    **Returns:** a variable for each field, of shape `(epoch, sample, *grid)` or `(epoch, sample, component, *grid)`,
    and for each parameter of an inverse problem, of shape `(epoch, sample)`; `iterations` is K by epoch. Names are
    those of the fields with what NetCDF cannot spell written out; `long_name` has them as they are. The grid is named
    z, y, x and has coordinates where the problem is a built-in one, and is counted else.

    **Raises:** `ValueError` in words without xarray, and for a run without snapshots.
    """
    xarray = optional_module("xarray")
    snapshots = log.snapshots
    if not snapshots:
        raise ValueError(f"The run {run.id!r} has no snapshot of its fields, so that there is nothing to write.")
    problem = problem_of(run)
    points = np.zeros(0) if problem is None else problem.points()
    coordinates: dict[str, Any] = {
        "epoch": ("epoch", [snapshot.epoch for snapshot in snapshots], {"long_name": "epoch of training"})
    }
    variables: dict[str, Any] = {
        "iterations": ("epoch", [snapshot.iterations for snapshot in snapshots], {"long_name": "inner iterations K"})
    }
    try:
        for name in snapshots[0].fields:
            values = _by_epoch(snapshots, name)
            dimensions = ("epoch", "sample", *_axes(problem, values.ndim - 2))
            if _spelled(name) in variables:
                raise ValueError(f"two would be named {_spelled(name)}")
            variables[_spelled(name)] = (dimensions, values, {"long_name": name, "units": "1"})
            for axis, size in zip(dimensions, values.shape, strict=True):
                if axis in ("x", "y", "z") and size == len(points):
                    coordinates[axis] = (axis, points, {"long_name": f"position along {axis}", "units": "1"})
                if problem is not None and axis == "component":
                    coordinates[axis] = (axis, list(problem.components))
        return xarray.Dataset(variables, coordinates, _attributes(run))
    except (ValueError, KeyError) as error:
        raise ValueError(f"The fields of the run {run.id!r} do not fit together: {error}.") from error


def write_fields(run: StoredRun, log: Log, file: str | Path) -> None:
    """Write `fields_dataset` as NetCDF 3, which every program that reads NetCDF reads.

    **Raises:** `ValueError` in words without xarray and SciPy, without snapshots, and if the file cannot be written.
    """
    optional_module("scipy.io")
    dataset = fields_dataset(run, log)
    with written_whole(file) as part:
        dataset.to_netcdf(part, engine="scipy", format="NETCDF3_64BIT")


def _write_text(text: str, file: str | Path) -> None:
    with written_whole(file) as part:
        part.write_text(text, encoding="utf-8")


EXPORTS: Mapping[str, Callable[[Store, str, str], None]] = {
    ".csv": lambda store, run_id, file: _write_text(records_csv(store.log(run_id)), file),
    ".nc": lambda store, run_id, file: write_fields(store.run(run_id), store.log(run_id), file),
    ".prdp": export_run,
    ".py": lambda store, run_id, file: _write_text(python_lines(store.run(run_id), store.log(run_id)), file),
}
"""What writes a run of a store to a file, by the ending of the file's name."""


def problem_of(run: StoredRun) -> Problem | None:
    """What a kept run learned; None for a problem of one's own, unless it is known here, and for what this version
    does not have."""
    try:
        return settings_from_json(run.settings).problem
    except ValueError:
        return None


def _by_epoch(snapshots: tuple[Snapshot, ...], name: str) -> np.ndarray:
    values = np.stack([snapshot.fields[name] for snapshot in snapshots])
    return values if values.dtype.kind == "f" else values.astype(float)  # NetCDF 3 knows few kinds of integers


def _axes(problem: Problem | None, count: int) -> tuple[str, ...]:
    """The names of the axes after the samples."""
    if problem is None:
        return tuple(f"axis_{number}" for number in range(1, count + 1))
    named = ("component",) if problem.components and count else ()
    return (*named, *("z", "y", "x")[3 - count + len(named) :])


def _spelled(name: str) -> str:
    """A name in the letters that NetCDF 3 has: θ_1 is theta_1."""
    ascii_only = "".join(c if c.isascii() else unicodedata.name(c, "_").split()[-1].lower() for c in name)
    return re.sub(r"\W+", "_", ascii_only).strip("_") or "field"


def _attributes(run: StoredRun) -> dict[str, str]:
    return {
        "title": f"{title_of(run.settings.get('scenario'))}: fields during training",
        "id": run.id,
        "label": run.label,
        "scenario": str(run.settings.get("scenario")),
        "settings": json.dumps(run.settings),
        "made_with": json.dumps(run.made_with),
        "note": run.note,
        "units": "non-dimensional",
    }
