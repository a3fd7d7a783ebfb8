"""The recordings that stories are told from: made by training once, and read by whoever tells a story."""

import contextlib
import functools
import json
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..engine import (
    Convergence,
    Engine,
    GradientLab,
    Parameters,
    Run,
    SolverLab,
    Store,
    import_runs,
    settings_for,
    written_whole,
)
from ._story import Findings, Recorded, Story, Told

PRDP, FULL = "PRDP", "full physics"
"""The labels of the two that every race has."""

RECORDINGS = Path(__file__).parent / "recordings"

MOST_SNAPSHOTS = 6
SNAPSHOT_BYTES = 400_000
"""Of a run, evenly over its epochs, the first and the last among them in any case."""

LARGEST_CHECKPOINT = 400_000
"""Bytes of the last parameters of a run. They are recorded, where they are not larger, with the first run of a story,
with full physics, and with those that its labs look into: what a person is likely to look further into."""

SOLVERS = 3
"""That the solver lab compares, the run's own first."""

PATIENCE_SECONDS = 1800.0

_ARRAYS: dict[type, tuple[str, ...]] = {
    GradientLab: ("one_minus_cosine", "relative_error", "norm"),
    Convergence: ("iterations", "residuals", "errors"),
}
"""Attributes that are arrays."""


@functools.cache
def recorded(story: Story) -> Recorded:
    """What was recorded for a story, read once.

    **Raises:** `ValueError` in words if it is not there or damaged.
    """
    store = Store(":memory:")
    import_runs(store, RECORDINGS / f"{story.id}.prdp")
    try:
        labs = json.loads((RECORDINGS / f"{story.id}.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"What the labs of the story {story.id!r} found out cannot be read: {error}.") from error
    found = {
        label: {int(epoch): _findings(values) for epoch, values in of_run.items()} for label, of_run in labs.items()
    }
    return Recorded(
        store, {run.label: Told(run, store.log(run.id), found.get(run.label, {})) for run in store.runs()[::-1]}
    )


def record(story: Story, folder: Path = RECORDINGS) -> None:
    """Train the runs of a story, look into them, and write both to a folder, in the place of what was there."""
    with tempfile.TemporaryDirectory(prefix="prdp-story-") as place:
        engine = Engine(Store(Path(place) / "runs.sqlite"))
        with contextlib.closing(engine):
            runs = {run.label: run for run in finished(*story.train(engine))}
            labs: dict[str, dict[int, Any]] = {label: {} for label, _ in story.labs}
            for label, epoch in story.labs:
                found = _look_into(engine, runs[label], epoch)
                labs[label][found.gradients.epoch] = found._asdict()
        with contextlib.closing(Store(Path(place) / "runs.sqlite")) as whole:
            looked_into = {next(iter(runs)), FULL, *labs}
            contents = [_slim(whole.contents(run.id), label in looked_into) for label, run in runs.items()]
    with written_whole(folder / f"{story.id}.prdp") as part:
        with contextlib.closing(Store(part)) as portable:
            portable.insert(contents)
        with contextlib.closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # one file
    with written_whole(folder / f"{story.id}.json") as part:
        part.write_text(json.dumps(labs, default=_as_json) + "\n")


def race(engine: Engine, scenario: str, contenders: Mapping[str, Any], **choices: Any) -> list[Run]:
    """Runs that advanced together, over. A contender is a controller, or settings of its own with one."""
    settings = {}
    for label, contender in contenders.items():
        own: dict[str, Any] = {"seed": 0, **choices}
        own |= contender if isinstance(contender, dict) else {"controller": contender}
        settings[label] = settings_for(scenario, own.pop("controller"), **own)
    return finished(*engine.race_with(settings).runs.values())


def finished(*runs: Run) -> list[Run]:
    """Runs, when all of them are over.

    **Raises:** `TimeoutError` if that takes too long.
    """
    for run in runs:
        if not run.wait(timeout=PATIENCE_SECONDS):
            raise TimeoutError(f"The run {run.label!r} was not over after {PATIENCE_SECONDS:.0f} seconds.")
    return list(runs)


def _slim(contents: Any, looked_into: bool) -> Any:
    """A run with as many snapshots and checkpoints as a story needs: recordings are part of the package."""
    snapshots = sorted(contents["snapshots"], key=lambda row: row["epoch"])
    fitting = SNAPSHOT_BYTES // max((row["bytes"] for row in snapshots), default=1)
    count = min(len(snapshots), MOST_SNAPSHOTS, max(fitting, 2))
    kept = {round(place) for place in np.linspace(0, len(snapshots) - 1, count)}
    checkpoints = sorted(contents["checkpoints"], key=lambda row: row["epoch"])[-1:]
    return {
        **contents,
        "snapshots": [snapshots[place] for place in sorted(kept)],
        "checkpoints": [row for row in checkpoints if looked_into and row["bytes"] <= LARGEST_CHECKPOINT],
    }


def _look_into(engine: Engine, run: Run, epoch: int | None) -> Findings:
    """What the labs find out about a run after an epoch."""
    gradients = engine.gradient_lab(run, epoch=epoch)
    solvers = dict.fromkeys([run.settings.solver, *run.settings.problem.solvers])
    system = engine.solver_lab(run, epoch=epoch, solvers=list(solvers)[:SOLVERS])
    return Findings(gradients.result(), system.result())


def _as_json(value: Any) -> Any:
    """What JSON does not know. A comparison is without the parameters, which the run has."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return {name: each for name, each in vars(value).items() if name != "parameters"}


def _findings(values: dict[str, Any]) -> Findings:
    """What `_as_json` made of it, read."""
    gradients, system = values["gradients"], values["system"]
    tuples = {name: tuple(gradients[name]) for name in ("modes", "counts")}
    parameters = Parameters(gradients["epoch"], ())
    convergences = {name: _read(Convergence, each) for name, each in system["convergences"].items()}
    return Findings(
        _read(GradientLab, {**gradients, **tuples}, parameters=parameters),
        _read(SolverLab, system, convergences=convergences),
    )


def _read(kind: type, values: dict[str, Any], **others: Any) -> Any:
    return kind(**{**values, **{name: np.array(values[name]) for name in _ARRAYS.get(kind, ())}, **others})
