"""Fields in one dimension as lines."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from ._fields_images import as_sent, round_up
from ._theme import FIELD_COLORS, NEUTRAL_COLOR, as_pane, grid, legend, make_figure, see_through, set_title

_BETWEEN = (("solid", FIELD_COLORS[1]), ("solid", FIELD_COLORS[2]), ("dotdash", "#E69F00"), ("dotdash", NEUTRAL_COLOR))


def styles_of(names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Dash and colour by field: what is given, the first of three or more, is dotted; the aim, the last, dashed."""
    first, last = names[: len(names) > 2], names[-1:] if len(names) > 1 else ()
    between = names[len(first) : len(names) - len(last)]
    return {
        **dict.fromkeys(first, ("dotted", FIELD_COLORS[0])),
        **dict(zip(between, itertools.cycle(_BETWEEN), strict=False)),
        **dict.fromkeys(last, ("dashed", FIELD_COLORS[3])),
    }


class Lines:
    """For each contender a figure with one line a field. The figures share an axis, which is widened but not narrowed.

    **Arguments:**

    - `labels`: of the contenders. `names`: of the fields. `points`: the coordinates.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(self, labels: tuple[str, ...], names: tuple[str, ...], points: np.ndarray):
        self._points = as_sent(points)
        self._columns = {name: f"field_{index}" for index, name in enumerate(names)}
        self._y_range = Range1d(start=-1, end=1)
        self._bound = 0.0
        styles = styles_of(names)
        self._sources = {label: ColumnDataSource() for label in labels}
        self._figures = {label: self._make(source, styles) for label, source in self._sources.items()}
        self.clear()
        self.view = pn.Column(
            grid(*((as_pane(plot), {"lg": 6}) for plot in self._figures.values())),
            legend(*((dash, color, name) for name, (dash, color) in styles.items())),
            sizing_mode="stretch_width",
            margin=0,
        )

    def clear(self) -> None:
        """Show nothing."""
        for label, plot in self._figures.items():
            set_title(plot, label)
            self._sources[label].data = {name: np.empty(0, np.float32) for name in ("x", *self._columns.values())}

    def restart(self, quantity: str) -> None:
        """Begin the axis anew, for another race, sample or component."""
        self._bound = 0.0
        for plot in self._figures.values():
            plot.yaxis.axis_label = quantity

    def show(self, label: str, words: str, fields: Mapping[str, np.ndarray]) -> None:
        """Show the fields of one sample for one contender."""
        values = {name: as_sent(field) for name, field in fields.items()}
        self._widen(np.concatenate(list(values.values())))
        columns: dict[str, Any] = {self._columns[name]: field for name, field in values.items()}
        self._sources[label].data = {"x": self._points, **columns}
        set_title(self._figures[label], words)

    def _widen(self, values: np.ndarray) -> None:
        bound = round_up(1.05 * float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0)
        if bound > self._bound:
            self._bound = bound
            self._y_range.update(start=-bound, end=bound, reset_start=-bound, reset_end=bound)

    def _make(self, source: ColumnDataSource, styles: Mapping[str, tuple[str, str]]) -> figure:
        plot = make_figure("", "position x", "", y_range=self._y_range, x_range=(0, 1), height=260)
        for name, (dash, color) in styles.items():
            plot.line("x", self._columns[name], source=source, color=color, line_dash=dash, line_width=2)
        values = {name: f"@{column}" for name, column in self._columns.items()}
        tooltips = [("x", "@x{0.00}"), *((name, f"{value}{{%.4g}}") for name, value in values.items())]
        plot.add_tools(HoverTool(tooltips=tooltips, formatters=dict.fromkeys(values.values(), "printf")))
        return see_through(plot)
