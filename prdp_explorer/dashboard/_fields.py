"""The view of the fields of a chosen validation sample at a chosen epoch, for both runs."""

from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from ..engine import Run, Snapshot
from ._session import locked
from ._theme import FIELD_COLORS, as_pane, card, legend, make_figure, set_title

_DASHES = ("dotted", "solid", "solid", "dashed")
_COLUMNS = tuple(f"field_{index}" for index in range(len(FIELD_COLORS)))
_SLIDER: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (5, 20)}


class Fields(pn.viewable.Viewer):
    """Input, network output, output after the physics, and target, side by side for the two runs.

    The epoch slider walks over the snapshots kept, showing the last one up to the epoch chosen; while "follow
    training" is on it stays at the newest.

    **Arguments:**

    - `labels`: of the runs, left to right.
    """

    def __init__(self, labels: tuple[str, ...]):
        super().__init__()
        self._runs: dict[str, Run] = {}
        self._names: tuple[str, ...] = ()
        self._shown: dict[str, tuple[int, int]] = {}
        self._y_range = Range1d(start=-1, end=1)
        self._bound = 1.0
        self._range_of = 0
        self._going = False
        self._hovers = {label: HoverTool() for label in labels}
        self._sources = {label: ColumnDataSource(_columns()) for label in labels}
        self._figures = {label: self._make(label, source) for label, source in self._sources.items()}
        self.sample = pmui.IntSlider(label="Validation sample", start=1, end=5, value=1, **_SLIDER)
        self.epoch = pmui.IntSlider(label="Epoch shown", start=0, end=100, value=0, **_SLIDER)
        self.follow = pmui.Switch(label="Follow training", value=True, margin=(14, 10))
        self.sample.param.watch(lambda _: locked(self._draw), "value")
        self.epoch.param.watch(lambda _: self._choose(), "value")
        self.follow.param.watch(lambda _: locked(self.update), "value")
        self._legend = pn.Column(sizing_mode="stretch_width", margin=0)
        self._layout = card(
            _grid("md", (self.sample, 4), (self.epoch, 5), (self.follow, 3)),
            _grid("lg", *((as_pane(plot), 6) for plot in self._figures.values())),
            self._legend,
        )

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, runs: dict[str, Run]) -> None:
        """Show the snapshots of other runs, by label."""
        self._runs = runs
        self._shown = {}
        self._range_of = 0
        self.follow.value = True
        epochs = max((run.settings.epochs for run in runs.values()), default=100)
        self.epoch.end = epochs
        self._go_to(0)
        for label, plot in self._figures.items():
            self._sources[label].data = _columns()
            set_title(plot, label)

    def update(self) -> None:
        """Show the newest snapshot if following."""
        if self.follow.value:
            self._go_to(self._newest)
        self._draw()

    def _go_to(self, epoch: int) -> None:
        """Move the slider without taking it for a person's doing."""
        self._going = True
        try:
            self.epoch.value = epoch
        finally:
            self._going = False

    @property
    def _newest(self) -> int:
        """The epoch of the newest snapshot."""
        return max((run.log.snapshots[-1].epoch for run in self._runs.values() if run.log.snapshots), default=0)

    def _choose(self) -> None:
        """A person who moves the slider back wants to stay there."""
        if not self._going:
            self.follow.value = self.epoch.value >= self._newest
            locked(self._draw)

    def _draw(self) -> None:
        for label, run in self._runs.items():
            kept = [snapshot for snapshot in run.log.snapshots if snapshot.epoch <= self.epoch.value]
            if not kept:
                continue
            wanted = (kept[-1].epoch, self.sample.value)
            if self._shown.get(label) != wanted:
                self._shown[label] = wanted
                self._show_snapshot(label, run, kept[-1])

    def _show_snapshot(self, label: str, run: Run, snapshot: Snapshot) -> None:
        names = tuple(snapshot.fields)
        if names != self._names:
            self._name(names)
        samples = len(snapshot.fields[names[0]])
        if self.sample.end != samples:
            self.sample.param.update(end=samples, value=min(self.sample.value, samples))
        index = self.sample.value - 1
        values = [field[index].astype(float) for field in snapshot.fields.values()]
        self._fit(values)
        self._sources[label].data = _columns(run.settings.problem.points().astype(float), values)
        words = f"{label} after epoch {snapshot.epoch}, K = {snapshot.iterations}"
        set_title(self._figures[label], words)

    def _fit(self, values: list[np.ndarray]) -> None:
        """Widen the axis of both figures to these values; narrow it only for another sample."""
        finite = np.concatenate(values)
        finite = finite[np.isfinite(finite)]
        largest = 1.05 * np.abs(finite).max(initial=0.1)
        digit = 10.0 ** np.floor(np.log10(largest))
        bound = float(np.ceil(largest / digit) * digit)
        if self._range_of != self.sample.value or bound > self._bound:
            self._range_of, self._bound = self.sample.value, bound
            self._y_range.update(start=-bound, end=bound, reset_start=-bound, reset_end=bound)

    def _name(self, names: tuple[str, ...]) -> None:
        """Tell in the legend and under the pointer what the lines are."""
        self._names = names
        marks = zip(_DASHES, FIELD_COLORS, names, strict=False)
        self._legend[:] = [legend(*marks)]
        for label in self._figures:
            self._hovers[label].tooltips = [
                ("x", "@x{0.00}"),
                *((name, f"@{column}{{0.000}}") for name, column in zip(names, _COLUMNS, strict=False)),
            ]

    def _make(self, label: str, source: ColumnDataSource) -> figure:
        plot = make_figure(label, "position x", "temperature u", y_range=self._y_range, x_range=(0, 1), height=260)
        for column, color, dash in zip(_COLUMNS, FIELD_COLORS, _DASHES, strict=True):
            plot.line("x", column, source=source, color=color, line_dash=dash, line_width=2)
        plot.add_tools(self._hovers[label])
        return plot


def _columns(points: np.ndarray | None = None, values: list[np.ndarray] | None = None) -> dict[str, Any]:
    """The lines of one figure; a line that a problem has no field for is not there (NaN)."""
    points = np.empty(0) if points is None else points
    absent = np.full_like(points, np.nan)
    given = [*(values or []), *[absent] * len(_COLUMNS)]
    return {"x": points, **dict(zip(_COLUMNS, given, strict=False))}


def _grid(breakpoint: str, *cells: tuple[Any, int]) -> pmui.Grid:
    """Cells side by side on pages from this Material UI breakpoint on, and below each other on narrower ones."""
    return pmui.Grid(
        *(pmui.Grid(view, size={"xs": 12, breakpoint: size}) for view, size in cells),
        container=True,
        sizing_mode="stretch_width",
    )
