"""Kept runs over each other: their errors and their K, over epochs, inner iterations, or seconds of training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, GlyphRenderer, HoverTool, LogTicker, Range1d
from bokeh.plotting import figure

from ..engine import RECORD, Store, StoredRun
from ._session import locked
from ._summary import Summary, errors_in_words, iterations_in_words
from ._theme import (
    CONTROL,
    LOOKS,
    NEUTRAL_COLOR,
    PR_SAVING_COLOR,
    as_pane,
    card,
    grid,
    legend,
    legend_html,
    make_figure,
    see_through,
    whole_decades,
)

COLORS = (*(look.color for look in LOOKS), PR_SAVING_COLOR, NEUTRAL_COLOR)
DASHES = ("solid", "dashed", "dotted", "dotdash")
MOST_LINES = len(COLORS) * len(DASHES)
"""Runs that can be shown at once: so many looks there are to tell them apart."""

MOST_POINTS = 2000
MOST_POINTS_IN_ALL = 20_000
"""Points that the browser holds of a run, and of all."""

MOST_TOLD = 4
"""Runs of which each is told in words."""

AXES = {"epoch": "epoch", "inner iterations": "iterations", "seconds": "seconds"}
"""What the curves are drawn over: in words, and the column."""

TOLD = [("run", "@run"), ("epoch", "@epoch"), ("error", "@error{%.2e}"), ("K", "@K")]
"""What the hover tells. Bokeh escapes what comes from a column."""

NOTHING_SELECTED = "Select runs in the table above to compare them: their errors and their K are drawn here."


class Compare(pn.viewable.Viewer):
    """The curves of the runs that are shown, read from the store as they grow.

    **Arguments:**

    - `store`: where the runs are kept.
    """

    def __init__(self, store: Store):
        super().__init__()
        self._store = store
        self._shown: dict[str, _Line] = {}
        # Set here rather than left to the browser, for the reasons given in `_curves`.
        self._along, self._errors, self._iterations = _axis(0, 1), _axis(1e-3, 1), _axis(0, 1)
        self.axis = pmui.RadioButtonGroup(
            label="Drawn over", options=list(AXES), value="epoch", **CONTROL, max_width=400
        )
        self.axis.param.watch(lambda _: locked(self._switch), "value")
        self._error_plot, self._iterations_plot = self._make_plots()
        self._lines = [self._make_line(0)]  # a figure without any line makes Bokeh warn
        self._legend = legend()
        self._summary = Summary()
        self._note = pn.pane.HTML(NOTHING_SELECTED, sizing_mode="stretch_width", margin=(4, 12))
        self._plots = pmui.Column(
            self.axis,
            grid((as_pane(self._error_plot), {"lg": 6}), (as_pane(self._iterations_plot), {"lg": 6})),
            self._legend,
            self._summary,
            sizing_mode="stretch_width",
            margin=0,
            visible=False,
        )
        self._layout = card(
            pn.pane.HTML('<h2 style="font-size:14px;margin:4px 12px">Side by side</h2>', margin=0),
            self._note,
            self._plots,
        )

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, runs: Sequence[StoredRun]) -> None:
        """Draw these runs as they are by now; those that were drawn already keep their looks.

        **Raises:** `StoreError`; what was shown stays then.
        """
        drawn = runs[:MOST_LINES]
        kept = {run.id: self._shown[run.id] for run in drawn if run.id in self._shown}
        free = iter(sorted(set(range(MOST_LINES)) - {line.look for line in kept.values()}))
        shown = {run.id: kept.get(run.id) or _Line(next(free)) for run in drawn}
        grown = [shown[run.id].read(self._store, run) for run in drawn]
        self._summary.tell(_in_words(list(shown.values())), at_once=True)
        if shown.keys() == self._shown.keys() and not any(grown) and len(runs) <= MOST_LINES:
            return
        self._shown = shown
        more = f"The first {MOST_LINES} of the {len(runs)} selected runs are drawn." if len(runs) > MOST_LINES else ""
        self._note.param.update(object=more if runs else NOTHING_SELECTED, visible=bool(more or not runs))
        self._draw()

    def _switch(self) -> None:
        """Draw over something else, where a zoom means nothing any more."""
        self._along.update(start=self._along.reset_start, end=self._along.reset_end)
        self._draw()

    def _draw(self) -> None:
        looks = {line.look: line for line in self._shown.values()}
        most = min(MOST_POINTS, MOST_POINTS_IN_ALL // max(len(looks), 1))
        while len(self._lines) <= max(looks, default=0):
            self._lines.append(self._make_line(len(self._lines)))
        column = AXES[self.axis.value]
        drawn = {look: line.columns(most) for look, line in looks.items()}
        for look, (source, *renderers) in enumerate(self._lines):
            source.data = drawn.get(look, _NOTHING)
            for renderer in renderers:
                renderer.glyph.x = column
                renderer.visible = look in drawn
        for plot in (self._error_plot, self._iterations_plot):
            plot.xaxis.axis_label = self.axis.value
        self._fit([[each[name] for each in drawn.values()] for name in (column, "K", "error")])
        self._legend.object = legend_html(
            *((DASHES[look // len(COLORS)], COLORS[look % len(COLORS)], line.title) for look, line in looks.items())
        )
        self._plots.visible = bool(looks)

    def _fit(self, drawn: Sequence[Sequence[np.ndarray]]) -> None:
        """Set the axes to what is drawn along, as K and as error, but for those that a person zoomed."""
        along, iterations, errors = (np.concatenate([np.zeros(0), *columns]) for columns in drawn)
        ends = [
            (self._along, 0.0, float(np.nanmax(along, initial=0)) or 1.0),
            (self._iterations, 0.0, 1.04 * float(np.nanmax(iterations, initial=0)) or 1.0),
        ]
        if np.isfinite(errors).any():
            ends.append((self._errors, *whole_decades(np.nanmin(errors), np.nanmax(errors))))
        for axis, start, end in ends:
            if (axis.start, axis.end) == (axis.reset_start, axis.reset_end):
                axis.update(start=start, end=end)
            axis.update(reset_start=start, reset_end=end)

    def _make_plots(self) -> tuple[figure, figure]:
        error = make_figure(
            "Same accuracy? Validation error", "epoch", "relative error (log scale)",
            y_axis_type="log", x_range=self._along, y_range=self._errors,
        )  # fmt: skip
        error.yaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=4)
        iterations = make_figure(
            "How much physics? K", "epoch", "inner iterations K", x_range=self._along, y_range=self._iterations
        )
        for plot in (error, iterations):
            see_through(plot).add_tools(HoverTool(tooltips=TOLD, formatters={"@error": "printf"}))
        return error, iterations

    def _make_line(self, look: int) -> tuple[ColumnDataSource, GlyphRenderer, GlyphRenderer]:
        source = ColumnDataSource(_NOTHING)
        style: dict[str, Any] = {
            "source": source,
            "color": COLORS[look % len(COLORS)],
            "line_dash": DASHES[look // len(COLORS)],
            "line_width": 2,
        }
        return (
            source,
            self._error_plot.line("epoch", "error", **style),
            self._iterations_plot.step("epoch", "K", mode="before", **style),
        )


def _in_words(lines: Sequence["_Line"]) -> str:
    """Each run of a few, and of many the best."""
    begun = [line for line in lines if len(line.rows)]
    if len(begun) <= MOST_TOLD:
        runs = [(line.title, line.rows) for line in begun]
        return f"{errors_in_words(runs)} {iterations_in_words(runs)}"
    finite = [line for line in begun if np.isfinite(line.rows[-1]["validation"])] or begun
    best = min(finite, key=lambda line: line.rows[-1]["validation"])
    least = min(finite, key=lambda line: line.rows[-1]["cumulative_iterations"])
    return (
        f"{len(begun)} runs. The least error at the end has {best.title}, {best.rows[-1]['validation']:.3g}; "
        f"the fewest inner iterations {least.title}, {least.rows[-1]['cumulative_iterations']:,}."
    )


def _axis(start: float, end: float) -> Range1d:
    return Range1d(start=start, end=end, reset_start=start, reset_end=end)


class _Line:
    """What is drawn of a run, read by a cursor."""

    def __init__(self, look: int):
        self.title = ""
        self.look = look
        self._rows = np.zeros(0, _READ)

    def read(self, store: Store, run: StoredRun) -> bool:
        """Read what is new; whether there was anything."""
        # A run that diverged at once has no line, and the legend says why.
        title = run.name or f"{run.label}, {run.id}"
        title = f"{title} ({run.status})" if run.status in ("diverged", "failed") else title
        renamed, self.title = title != self.title, title
        if len(self._rows) > run.epochs:
            return renamed
        new = store.rows(run.id, len(self._rows))
        self._rows = np.concatenate([self._rows, new[_DRAWN].astype(_READ)])
        return renamed or len(new) > 0

    @property
    def rows(self) -> np.ndarray:
        """The records read so far, without what is not drawn."""
        return self._rows

    def columns(self, most: int) -> dict[str, Any]:
        """What the browser gets: evenly spread points, the first and the last among them."""
        if not len(self._rows):
            return _NOTHING
        rows = self._rows[np.unique(np.linspace(0, len(self._rows) - 1, most).round().astype(int))]
        error = np.where(np.isfinite(rows["validation"]) & (rows["validation"] > 0), rows["validation"], np.nan)
        by_count = np.isnan(rows["next_rtol"])
        # A step line starts at epoch 0 with K of the first epoch; where a tolerance is refined that is not known yet.
        first = np.where(by_count, rows["next_iterations"], np.nan)
        return {
            "epoch": rows["epoch"].astype(float),
            "iterations": rows["cumulative_iterations"].astype(float),
            "seconds": rows["cumulative_seconds"],
            "error": error,
            "K": np.where(rows["epoch"] == 0, first, rows["iterations"]),
            "run": [self.title] * len(rows),
        }


_DRAWN = [
    "epoch", "iterations", "next_iterations", "next_rtol", "validation", "cumulative_iterations", "cumulative_seconds",
]  # fmt: skip
_READ = np.dtype([(name, RECORD[name]) for name in _DRAWN])
"""The part of a record that is drawn."""

# One row that shows nothing, as in `_source`.
_NOTHING: dict[str, Any] = {
    **{name: np.full(1, np.nan) for name in ("epoch", "iterations", "seconds", "error", "K")},
    "run": [""],
}
