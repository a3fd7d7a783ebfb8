"""What the view of decisions draws: a run's records, and what another controller would have decided, as columns."""

from typing import Any

import numpy as np

from ..engine import Run, WhatIf, history_of
from ._source import MOST_POINTS, RunSource, raises_level


class DecisionSource(RunSource):
    """`RunSource` with what a controller remembers beside what it decided.

    Its further columns are `fed` (the metric as the controller gets it), `smoothed` (s), `checkpoint` (s_checkpoint as
    the decision found it), `tolerance` (of the epoch, else NaN), and where something was refined `refined_iterations`
    and `refined_tolerance`.

    **Attributes:**

    - `low`, `high`: the extent of what is drawn of the metric, above 0. `low_ratio`, `high_ratio`: of r
      and τ_step.
    - `high_iterations`, `low_tolerance`: the largest K and the smallest tolerance drawn.
    """

    def follow(self, run: Run | None) -> None:
        self.low = self.low_ratio = self.low_tolerance = np.inf
        self.high = self.high_ratio = self.high_iterations = 0.0
        super().follow(run)

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        columns = super().columns(rows)
        settings, log = (None, rows) if self.run is None else (self.run.settings, self.run.log.read())
        if settings is None or not len(log):
            fed = checkpoint = np.full(len(rows), np.nan)
        else:
            fed = history_of(settings, rows).astype(float)
            compares = settings.refinement.get("compare_with_start", 0)
            checkpoint = _checkpoints(rows["epoch"], log, log["smoothed"][0] if compares else np.nan)
        tolerance = np.where(rows["epoch"] == 0, rows["next_rtol"], rows["rtol"])
        columns |= {
            "fed": fed,
            "smoothed": rows["smoothed"].astype(float),
            "checkpoint": checkpoint,
            "tolerance": tolerance,
            "refined_iterations": np.where(rows["refined"], columns["iterations"], np.nan),
            "refined_tolerance": np.where(rows["refined"], tolerance, np.nan),
        }
        self.low, self.high = _widened(self.low, self.high, fed, columns["smoothed"])
        self.low_ratio, self.high_ratio = _widened(
            self.low_ratio, self.high_ratio, columns["plateau_ratio"], columns["tau_step"]
        )
        _, self.high_iterations = _widened(0.0, self.high_iterations, columns["iterations"])
        self.low_tolerance, _ = _widened(self.low_tolerance, 0.0, tolerance)
        return columns


def what_if_columns(what_if: WhatIf | None) -> dict[str, Any]:
    """What the browser gets of a what-if, at most `MOST_POINTS` of it but for refinements; None is nothing."""
    names = ("iterations", "tolerance", "smoothed", "plateau_ratio", "checkpoint_ratio")
    if what_if is None or not len(what_if):
        return {name: np.full(1, np.nan) for name in ("epoch", *names, *_REFINED)}
    epochs = np.arange(len(what_if))
    by_epoch = {"iterations": what_if.next_iterations, "tolerance": what_if.next_rtol}
    levels = {name: np.concatenate([values[:1], values[:-1]]).astype(float) for name, values in by_epoch.items()}
    if not np.isnan(levels["tolerance"][0]):
        levels["iterations"][:] = np.nan  # a bound
    stride = -(-len(epochs) // MOST_POINTS)
    changes = (by_epoch["iterations"] > levels["iterations"]) | (by_epoch["tolerance"] < levels["tolerance"])
    shown = (epochs % stride == 0) | changes | (epochs == len(epochs) - 1)
    columns = {
        "epoch": epochs.astype(float),
        **levels,
        **{name: getattr(what_if, name).astype(float) for name in names[2:]},
    }
    columns |= {refined: np.where(what_if.refined, columns[name], np.nan) for refined, name in _REFINED.items()}
    return {name: column[shown] for name, column in columns.items()}


_REFINED = {
    "refined_iterations": "iterations",
    "refined_tolerance": "tolerance",
    "refined_ratio": "checkpoint_ratio",
}
"""Columns that have values only where something would be refined, and the columns that these are of."""


def changes_level(rows: np.ndarray) -> np.ndarray:
    """Which of these records refined what K or the tolerance was, rather than being at the bound of it already."""
    return rows["refined"] & raises_level(rows)


def _checkpoints(epochs: np.ndarray, log: np.ndarray, start: float) -> np.ndarray:
    """s_checkpoint as the decisions after these epochs found it: s at the last refinement before."""
    refined = np.flatnonzero(log["refined"])
    values = np.concatenate([[start], log["smoothed"][refined]])
    return values[np.searchsorted(refined, epochs)]


def _widened(low: float, high: float, *columns: np.ndarray) -> tuple[float, float]:
    values = np.concatenate(columns)
    values = values[np.isfinite(values) & (values > 0)]
    return min(low, values.min(initial=np.inf)), max(high, values.max(initial=0.0))
