"""The parameters of an inverse problem as trajectories over the epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, HoverTool, Range1d, Span
from bokeh.plotting import figure

from ..engine import Snapshot
from ._fields_images import as_sent
from ._pointer import Pointer
from ._theme import NEUTRAL_COLOR, Look, as_pane, grid, legend, make_figure, round_up, see_through

_WIDTHS = (2, 4)
"""The first contender is drawn over wider lines of the others, so that all are seen where they agree."""

MOST_POINTS = 1000
"""Of a trajectory in the browser."""


class Parameters:
    """A figure a parameter: its trajectory for each contender through the snapshots kept, the true value, and marks at
    the epoch shown.

    **Arguments:**

    - `looks`: of the contenders, by label. `names`: of the parameters.
    - `references`: their true values, as far as they are known.
    - `pointer`: of the page, to follow over the figures.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(
        self,
        looks: Mapping[str, Look],
        names: tuple[str, ...],
        references: Mapping[str, float],
        pointer: Pointer | None = None,
    ):
        self._columns = {name: f"parameter_{index}" for index, name in enumerate(names)}
        self._references = {name: float(references[name]) for name in names if name in references}
        self._epochs = Range1d(start=0, end=100)
        self._values = {name: Range1d(start=0, end=1) for name in names}
        self._extent: dict[str, tuple[float, float]] = {}
        self._seen: dict[str, Any] = {}
        self._lines = {label: ColumnDataSource() for label in looks}
        self._marks = {label: ColumnDataSource() for label in looks}
        self._figures = {name: self._make(name, looks) for name in names}
        if pointer is not None:
            for plot in self._figures.values():
                pointer.attach(plot)
        self.clear()
        entries = [(look.dash, look.color, label) for label, look in looks.items()]
        if self._references:
            truth = ", ".join(f"{name} = {value:.3g}" for name, value in self._references.items())
            entries.append(("dotted", NEUTRAL_COLOR, "truth: " + truth.replace("-", "−")))
        entries.append(("circle", NEUTRAL_COLOR, "marks: the epoch shown"))
        width = {"lg": 12 // min(len(names), 3)}
        self.view = pn.Column(
            grid(*((as_pane(plot), width) for plot in self._figures.values())),
            legend(*entries),
            sizing_mode="stretch_width",
            margin=0,
        )

    def clear(self) -> None:
        """Show nothing."""
        self._seen = {}
        for source in (*self._lines.values(), *self._marks.values()):
            source.data = self._rows((), 0)

    def restart(self, epochs: int) -> None:
        """Begin the axes anew, for another race or sample."""
        self._seen, self._extent = {}, {}
        self._epochs.update(start=0, end=epochs, reset_start=0, reset_end=epochs)
        for name, value in self._references.items():
            self._widen(name, np.array([value]))

    def show(self, label: str, snapshots: Sequence[Snapshot], shown: Snapshot, sample: int) -> None:
        """Show the trajectories of one contender through its snapshots, and mark the one that is shown."""
        seen = (len(snapshots), snapshots[-1].epoch, shown.epoch, sample)
        if self._seen.get(label) == seen:
            return
        self._seen[label] = seen
        every = len(snapshots) // MOST_POINTS + 1
        rows = self._rows(snapshots[::-1][::every][::-1], sample)
        for name, column in self._columns.items():
            self._widen(name, rows[column])
        self._lines[label].data = rows
        self._marks[label].data = self._rows([shown], sample)

    def _make(self, name: str, looks: Mapping[str, Look]) -> figure:
        column = self._columns[name]
        plot = make_figure(
            f"Does it find the truth? {name} by epoch", "epoch", f"value of {name}",
            x_range=self._epochs, y_range=self._values[name], height=260,
        )  # fmt: skip
        if name in self._references:
            plot.add_layout(
                Span(
                    location=self._references[name],
                    dimension="width",
                    line_color=NEUTRAL_COLOR,
                    line_dash="dotted",
                    line_width=1.5,
                )
            )
        for place, (label, look) in reversed(list(enumerate(looks.items()))):
            width = _WIDTHS[place > 0]
            line = plot.line(
                "epoch", column, source=self._lines[label], color=look.color, line_dash=look.dash, line_width=width,
                alpha=0.7 if place else 1,
            )  # fmt: skip
            plot.scatter(
                "epoch", column, source=self._marks[label], color=look.color, marker=look.marker, size=6 + width
            )
            plot.add_tools(
                HoverTool(
                    renderers=[line],
                    tooltips=[("epoch", "@epoch"), (f"{name}, {label}", f"@{column}{{%.4g}}")],
                    formatters={f"@{column}": "printf"},
                )
            )
        return see_through(plot)

    def _rows(self, snapshots: Sequence[Snapshot], sample: int) -> dict[str, Any]:
        columns = {
            column: as_sent(np.array([snapshot.fields[name][sample] for snapshot in snapshots], float))
            for name, column in self._columns.items()
        }
        return {"epoch": np.array([snapshot.epoch for snapshot in snapshots], float), **columns}

    def _widen(self, name: str, values: np.ndarray) -> None:
        before = self._extent.get(name, (np.inf, -np.inf))
        finite = values[np.isfinite(values)]
        low, high = min(before[0], finite.min(initial=np.inf)), max(before[1], finite.max(initial=-np.inf))
        if low > high or (low, high) == before:
            return
        self._extent[name] = low, high
        # In steps, so that the axis moves rarely.
        step = round_up(max(high - low, 0.1 * abs(high), 1e-30) / 5)
        start, end = float(np.floor(low / step - 0.2) * step), float(np.ceil(high / step + 0.2) * step)
        self._values[name].update(start=start, end=end, reset_start=start, reset_end=end)
