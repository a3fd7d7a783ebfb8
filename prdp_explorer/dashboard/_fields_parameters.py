"""The parameters of an inverse problem as trajectories over the epochs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, HoverTool, Range1d

from ..engine import Snapshot
from ._fields_images import as_sent, round_up
from ._theme import CONTENDER_COLORS, NEUTRAL_COLOR, as_pane, legend, make_figure, see_through

_DASHES = ("solid", "dashed", "dotdash")
_WIDTHS = (2, 4)
"""The first contender is drawn over a wider line of the second, so that both are seen where they agree."""

MOST_POINTS = 1000
"""Of a trajectory in the browser."""


class Parameters:
    """One line a parameter and contender through the snapshots kept, the true values, and marks at the epoch shown.

    **Arguments:**

    - `labels`: of the contenders. `names`: of the parameters.
    - `references`: their true values, as far as they are known.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(self, labels: tuple[str, ...], names: tuple[str, ...], references: Mapping[str, float]):
        self._names = names
        self._columns = {name: f"parameter_{index}" for index, name in enumerate(names)}
        self._references = {name: float(references[name]) for name in names if name in references}
        self._epochs, self._values = Range1d(start=0, end=100), Range1d(start=0, end=1)
        self._low, self._high = np.inf, -np.inf
        self._seen: dict[str, Any] = {}
        self._lines = {label: ColumnDataSource() for label in labels}
        self._marks = {label: ColumnDataSource() for label in labels}
        self._truth = ColumnDataSource({"value": list(self._references.values())})
        dashes = dict(zip(names, itertools.cycle(_DASHES), strict=False))
        colors = {label: CONTENDER_COLORS[label] for label in labels}
        plot = make_figure(
            "Does it find the truth? " + ", ".join(names) + " by epoch",
            "epoch",
            "parameter value",
            x_range=self._epochs,
            y_range=self._values,
            height=260,
        )
        plot.hspan("value", source=self._truth, color=NEUTRAL_COLOR, line_dash="dotted", line_width=1.5)
        for (label, color), width in reversed(list(zip(colors.items(), _WIDTHS, strict=False))):
            for name, column in self._columns.items():
                line = plot.line(
                    "epoch", column, source=self._lines[label], color=color, line_dash=dashes[name], line_width=width,
                    alpha=1 if width == _WIDTHS[0] else 0.7,
                )  # fmt: skip
                plot.scatter("epoch", column, source=self._marks[label], color=color, size=6 + width)
                plot.add_tools(
                    HoverTool(
                        renderers=[line],
                        tooltips=[("epoch", "@epoch"), (f"{name}, {label}", f"@{column}{{%.4g}}")],
                        formatters={f"@{column}": "printf"},
                    )
                )
        self.clear()
        entries = [("solid", color, label) for label, color in colors.items()]
        if len(names) > 1:
            entries += [(dash, NEUTRAL_COLOR, name) for name, dash in dashes.items()]
        if self._references:
            truth = ", ".join(f"{name} = {value:.3g}" for name, value in self._references.items())
            entries.append(("dotted", NEUTRAL_COLOR, "truth: " + truth.replace("-", "−")))
        entries.append(("circle", NEUTRAL_COLOR, "the epoch shown"))
        self.view = pn.Column(as_pane(see_through(plot)), legend(*entries), sizing_mode="stretch_width", margin=0)

    def clear(self) -> None:
        """Show nothing."""
        self._seen = {}
        for source in (*self._lines.values(), *self._marks.values()):
            source.data = self._rows((), 0)

    def restart(self, epochs: int) -> None:
        """Begin the axes anew, for another race or sample."""
        self._seen = {}
        self._epochs.update(start=0, end=epochs, reset_start=0, reset_end=epochs)
        self._low, self._high = np.inf, -np.inf
        self._widen(np.array(list(self._references.values())))

    def show(self, label: str, snapshots: Sequence[Snapshot], shown: Snapshot, sample: int) -> None:
        """Show the trajectory of one contender through its snapshots, and mark the one that is shown."""
        seen = (len(snapshots), snapshots[-1].epoch, shown.epoch, sample)
        if self._seen.get(label) == seen:
            return
        self._seen[label] = seen
        every = len(snapshots) // MOST_POINTS + 1
        rows = self._rows(snapshots[::-1][::every][::-1], sample)
        self._widen(np.concatenate([rows[column] for column in self._columns.values()]))
        self._lines[label].data = rows
        self._marks[label].data = self._rows([shown], sample)

    def _rows(self, snapshots: Sequence[Snapshot], sample: int) -> dict[str, Any]:
        columns = {
            column: as_sent(np.array([snapshot.fields[name][sample] for snapshot in snapshots], float))
            for name, column in self._columns.items()
        }
        return {"epoch": np.array([snapshot.epoch for snapshot in snapshots], float), **columns}

    def _widen(self, values: np.ndarray) -> None:
        finite = values[np.isfinite(values)]
        low, high = min(self._low, finite.min(initial=np.inf)), max(self._high, finite.max(initial=-np.inf))
        if low > high or (low, high) == (self._low, self._high):
            return
        self._low, self._high = low, high
        # In steps, so that the axis moves rarely.
        step = round_up(max(high - low, 0.1 * abs(high), 1e-30) / 5)
        start, end = float(np.floor(low / step - 0.2) * step), float(np.ceil(high / step + 0.2) * step)
        self._values.update(start=start, end=end, reset_start=start, reset_end=end)
