"""Races with made-up logs, which no engine touches."""

import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from bokeh.models import ColumnDataSource, Range1d

from prdp_explorer import Constant, Race, Run
from prdp_explorer.dashboard import Explorer
from prdp_explorer.dashboard._controls import FULL_LABEL, PRDP_LABEL
from prdp_explorer.engine import RECORD, Snapshot, settings_for
from prdp_explorer.refinement import Reason


def made_up_race(**choices: Any) -> Race:
    """A race of the two contenders with empty logs."""
    contenders = {
        PRDP_LABEL: settings_for("heat-1d", **choices),
        FULL_LABEL: settings_for("heat-1d", Constant(), **choices),
    }
    return Race(contenders, None, lambda: None)


def made_up_rows(start: int, count: int, iterations: int = 3, refine_every: int = 10) -> np.ndarray:
    """Records of the epochs `start` … `start + count - 1` of a PRDP run; nothing in them means anything."""
    rows = np.zeros(count, RECORD)
    epochs = np.arange(start, start + count)
    rows["epoch"] = epochs
    rows["iterations"] = np.where(epochs == 0, 0, iterations)
    rows["next_iterations"] = iterations
    rows["validation"] = 0.5 * np.exp(-epochs / 50)
    rows["train_loss"] = np.where(epochs == 0, np.nan, 0.1 * np.exp(-epochs / 50))
    rows["plateau_ratio"] = np.where(epochs < 3, np.nan, 0.97)
    rows["refined"] = (epochs > 0) & (epochs % refine_every == 0)
    rows["reason"] = np.where(rows["refined"], int(Reason.WORTHWHILE), int(Reason.IMPROVING))
    rows["checkpoint_ratio"] = np.where(rows["refined"], 0.5, np.nan)
    rows["tau_step"], rows["tau_stop"] = 0.98, 0.9
    rows["rtol"], rows["next_rtol"] = np.nan, np.nan
    rows["seconds"] = 0.01
    rows["cumulative_iterations"] = iterations * epochs
    rows["cumulative_seconds"] = 0.01 * (epochs + 1)
    return rows


def add_snapshot(run: Run, epoch: int, scale: float = 1.0, samples: int = 25) -> Snapshot:
    """A snapshot of made-up fields, the largest value of which is `scale` times the number of the sample."""
    points = run.settings.problem.points()
    shapes = {
        "input": np.sin(np.pi * points),
        "network output": np.cos(np.pi * points),
        "after the physics": points - epoch / 1000,
        "target": 1 - points,
    }
    samples_scale = np.arange(1, samples + 1)[:, None] * scale
    fields = {name: (shape * samples_scale).astype(np.float32) for name, shape in shapes.items()}
    snapshot = Snapshot(epoch, 3, fields)
    run.log.add_snapshot(snapshot)
    return snapshot


def columns(source: ColumnDataSource) -> dict[str, Any]:
    """What a source sends to the browser."""
    return cast(dict[str, Any], source.data)


def extent(axis: Range1d) -> tuple[float, float]:
    """The ends of an axis as plain numbers."""
    return float(cast(Any, axis.start)), float(cast(Any, axis.end))


PATIENCE = 60.0
"""Seconds after which a test gives up waiting for what should take milliseconds."""


def tick_until(explorer: Explorer, condition: Callable[[], bool]) -> None:
    """What the page's timer does, and once more when the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
        explorer.tick()
    explorer.tick()


def click(button: Any) -> None:
    """Press a button."""
    button.clicks += 1
