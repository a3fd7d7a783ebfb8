"""Fields in one dimension as lines."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from ._fields_images import ERROR, Compared, Size, as_sent, error_label, with_error
from ._theme import (
    FIELD_COLORS,
    NEUTRAL_COLOR,
    Look,
    as_pane,
    grid,
    legend,
    make_figure,
    round_up,
    see_through,
    set_title,
)

_BETWEEN = (
    ("solid", FIELD_COLORS[1]),
    ("solid", FIELD_COLORS[2]),
    ("dotdash", FIELD_COLORS[4]),
    ("dotdash", NEUTRAL_COLOR),
)


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
    """For each contender a figure with one line a field, and below them one with the errors of all.

    Those of the fields share an axis, which is widened but not narrowed until `restart`; that of the errors follows
    their size, so that small errors are seen as well.

    **Arguments:**

    - `looks`: of the contenders, by label. `names`: of the fields. `points`: the coordinates.
    - `compared`: of which fields the error is.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(
        self, looks: Mapping[str, Look], names: tuple[str, ...], points: np.ndarray, compared: Compared = None
    ):
        self._points, self._compared = as_sent(points), compared
        shown = (*names, ERROR) if compared else names
        self._columns = {name: f"field_{index}" for index, name in enumerate(shown)}
        self._y_range, self._error_range = Range1d(start=-1, end=1), Range1d(start=-1, end=1)
        self._bound, self._limit, self._size = 0.0, math.inf, Size()
        styles = styles_of(names)
        fields = [(name, dash, color) for name, (dash, color) in styles.items()]
        self._sources = {label: ColumnDataSource() for label in looks}
        self._figures = {
            label: self._make([(source, *field) for field in fields], "", self._y_range, 260)
            for label, source in self._sources.items()
        }
        self._errors: figure | None = None
        if compared:
            errors = [
                (self._sources[label], ERROR, look.dash, look.color) for label, look in reversed(list(looks.items()))
            ]
            self._errors = self._make(errors, error_label(compared), self._error_range, 190)
            self._errors.yaxis.axis_label = ERROR
            self._errors.yaxis.ticker = BasicTicker(desired_num_ticks=4)
        self.clear()
        width = {"lg": {1: 12, 3: 4, 5: 4}.get(len(looks), 6)}
        self.view = pn.Column(
            grid(*((as_pane(plot), width) for plot in self._figures.values())),
            legend(*((dash, color, name) for name, dash, color in fields)),
            sizing_mode="stretch_width",
            margin=0,
        )
        if self._errors is not None:
            self.view += [
                as_pane(self._errors),
                legend(*((look.dash, look.color, f"error of {label}") for label, look in looks.items())),
            ]

    def clear(self) -> None:
        """Show nothing."""
        for label, plot in self._figures.items():
            set_title(plot, label)
            self._sources[label].data = {name: np.empty(0, np.float32) for name in ("x", *self._columns.values())}

    def restart(self, quantity: str, limit: float = math.inf) -> None:
        """Begin the axes anew, for another race, sample or component. They go to `limit` at most."""
        self._bound, self._limit, self._size = 0.0, limit, Size(limit)
        for plot in self._figures.values():
            plot.yaxis.axis_label = quantity

    def widen(self, fields: Iterable[np.ndarray]) -> None:
        """Let the axis of the fields hold these values as well."""
        values = np.concatenate([as_sent(field).ravel() for field in fields])
        largest = min(float(np.abs(values[np.isfinite(values)]).max(initial=0.0)), self._limit)
        bound = round_up(1.05 * largest or 1.0)
        if bound > self._bound:
            self._bound = bound
            self._y_range.update(start=-bound, end=bound, reset_start=-bound, reset_end=bound)

    def show(self, label: str, words: str, fields: Mapping[str, np.ndarray]) -> None:
        """Show the fields of one sample for one contender."""
        self.widen(fields.values())
        values = with_error(fields, self._compared)
        if ERROR in values and self._size.follow(label, values[ERROR]):
            bound = self._size.bound
            self._error_range.update(start=-bound, end=bound, reset_start=-bound, reset_end=bound)
        columns: dict[str, Any] = {self._columns[name]: field for name, field in values.items()}
        self._sources[label].data = {"x": self._points, **columns}
        set_title(self._figures[label], words)

    def _make(
        self,
        lines: Sequence[tuple[ColumnDataSource, str, str, str]],
        title: str,
        y_range: Range1d,
        height: int,
    ) -> figure:
        plot = make_figure(title, "position x", "", y_range=y_range, x_range=(0, 1), height=height)
        for source, name, dash, color in lines:
            plot.line("x", self._columns[name], source=source, color=color, line_dash=dash, line_width=2)
        values = {name: f"@{self._columns[name]}" for _, name, *_ in lines}
        tooltips = [("x", "@x{0.00}"), *((name, f"{value}{{%.4g}}") for name, value in values.items())]
        plot.add_tools(HoverTool(tooltips=tooltips, formatters=dict.fromkeys(values.values(), "printf")))
        return see_through(plot)
