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

from ..engine import Engine, GradientLab, Parameters, Run, Store, import_runs, settings_for, written_whole
from ._story import Recorded, Story, Told

PRDP, FULL = "PRDP", "full physics"
"""The labels of the two that every race has."""

RECORDINGS = Path(__file__).parent / "recordings"

MOST_SNAPSHOTS = 6
SNAPSHOT_BYTES = 400_000
"""Of a run, evenly over its epochs, the first and the last among them in any case."""

LARGEST_CHECKPOINT = 400_000
"""Bytes of the last parameters of a run. They are recorded, where they are not larger, with the first run of a story,
with full physics, and with those whose gradients it compares: what a person is likely to look further into."""

PATIENCE_SECONDS = 1800.0

_ARRAYS = ("one_minus_cosine", "relative_error", "norm")


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
        raise ValueError(f"The comparisons of gradients of the story {story.id!r} cannot be read: {error}.") from error
    found = {label: {int(epoch): _lab(lab) for epoch, lab in of_run.items()} for label, of_run in labs.items()}
    return Recorded(
        store, {run.label: Told(run, store.log(run.id), found.get(run.label, {})) for run in store.runs()[::-1]}
    )


def record(story: Story, folder: Path = RECORDINGS) -> None:
    """Train the runs of a story, compare its gradients, and write both to a folder, in the place of what was there."""
    with tempfile.TemporaryDirectory(prefix="prdp-story-") as place:
        engine = Engine(Store(Path(place) / "runs.sqlite"))
        with contextlib.closing(engine):
            runs = {run.label: run for run in finished(*story.train(engine))}
            labs: dict[str, dict[int, Any]] = {label: {} for label, _ in story.gradients}
            for label, epoch in story.gradients:
                lab = engine.gradient_lab(runs[label], epoch=epoch).result()
                labs[label][lab.epoch] = {name: value for name, value in vars(lab).items() if name != "parameters"}
        with contextlib.closing(Store(Path(place) / "runs.sqlite")) as whole:
            looked_into = {next(iter(runs)), FULL, *labs}
            contents = [_slim(whole.contents(run.id), label in looked_into) for label, run in runs.items()]
    with written_whole(folder / f"{story.id}.prdp") as part:
        with contextlib.closing(Store(part)) as portable:
            portable.insert(contents)
        with contextlib.closing(sqlite3.connect(part)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # one file
    with written_whole(folder / f"{story.id}.json") as part:
        part.write_text(json.dumps(labs, default=np.ndarray.tolist) + "\n")


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


def _lab(values: dict[str, Any]) -> GradientLab:
    """A comparison as it was recorded: without the parameters, which the run has."""
    read: dict[str, Any] = {name: np.array(values[name], float) for name in _ARRAYS}
    read |= {name: tuple(values[name]) for name in ("modes", "counts")}
    return GradientLab(**{**values, **read}, parameters=Parameters(values["epoch"], ()))
