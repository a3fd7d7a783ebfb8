"""The figures of decisions: the metric as a controller sees it, its two ratios, and the K or tolerance that follows."""

import math
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import BoxAnnotation, ColumnDataSource, GlyphRenderer, LogTicker, Range1d, Span
from bokeh.plotting import figure

from ..engine import WhatIf
from ._pointer import Pointer
from ._shown import Contender
from ._summary import Summary
from ._theme import (
    EDIT_MARK,
    IC_SAVING_COLOR,
    LOOKS,
    NEUTRAL_COLOR,
    PR_SAVING_COLOR,
    WHAT_IF_COLOR,
    add_edit_marks,
    as_pane,
    card,
    fill,
    legend,
    legend_html,
    make_figure,
    see_through,
    whole_decades,
)
from ._why_source import DecisionSource, what_if_columns

WHAT_IF_LINE: dict[str, Any] = {"color": WHAT_IF_COLOR, "line_dash": "dashed", "line_width": 2}

WHAT_IF_MARK: dict[str, Any] = {"color": WHAT_IF_COLOR, "marker": "x", "size": 9, "line_width": 2.5}


class _Figure:
    """A figure with its legend and a sentence that says what is seen in it."""

    def __init__(self, plot: figure):
        self.plot = see_through(plot)
        self.legend = legend()
        self.summary = Summary()
        self.view = card(as_pane(plot), self.legend, self.summary)


class WhyFigures:
    """Figures over the epochs that share one axis and one source of the run, and one of the what-if.

    **Arguments:**

    - `pointer`: what follows the pointer over them; None for figures that nobody can ask anything of.

    **Attributes:**

    - `metric`, `plateau`, `checkpoint`, `levels`: the figures. `levels` is of K, or of the tolerance where that is
      refined.
    - `source`: of the run. `what_if`: of the what-if.
    """

    def __init__(self, pointer: Pointer | None = None):
        self.source = DecisionSource()
        self._live = pointer is not None
        self.what_if = ColumnDataSource(what_if_columns(None))
        self._marks = ColumnDataSource(_no_marks())
        self._epochs = Range1d(start=0, end=100)
        self._zoomed = math.inf
        self._metrics = Range1d(start=1e-3, end=1)
        self._plateau_ratios = Range1d(start=0.8, end=1.1)
        self._iterations, self._tolerances = Range1d(start=0, end=26), Range1d(start=1e-3, end=1)
        self._window = BoxAnnotation(left=0, right=0, fill_color=NEUTRAL_COLOR, fill_alpha=0.25, visible=False)
        self._asked_tau_step = math.nan
        self._asked = {name: _what_if_threshold() for name in ("tau_step", "tau_stop")}
        self._lines: list[tuple[GlyphRenderer, bool]] = []  # of the run, and whether in its dash
        self.metric = _Figure(self._make_metric())
        self.plateau = _Figure(self._make_plateau())
        self.checkpoint = _Figure(self._make_checkpoint())
        self._by_count = _Figure(self._make_levels("iterations", "inner iterations K", self._iterations))
        self._by_tolerance = _Figure(
            self._make_levels("tolerance", "relative tolerance (log scale)", self._tolerances, y_axis_type="log")
        )
        self.levels = self._by_count
        self.levels_view = pn.Column(sizing_mode="stretch_width", margin=0)
        for each in (self.metric, self.plateau, self.checkpoint, self._by_count, self._by_tolerance):
            if pointer is not None:
                pointer.attach(each.plot)

    def look_at(self, contender: Contender | None) -> None:
        """Show another run from its beginning."""
        self._window.visible = False
        self._marks.data = _no_marks()
        self.show_what_if(None)
        # Put into the page here for the first time: Bokeh 3.9 fails on a figure that comes and goes in one message.
        refines = None if contender is None else contender.run.settings.refinement["kind"]
        levels = self._by_tolerance if refines == "prdp-tolerance" else self._by_count
        if levels is not self.levels or not len(self.levels_view):
            self.levels = levels
            fill(self.levels_view, levels.view)
        if contender is None:
            self.source.follow(None)
            return
        run, look = contender.run, contender.look
        self.source.follow(run)
        self._zoomed, epochs = math.inf, run.settings.epochs
        self._epochs.update(start=0, end=epochs, reset_start=0, reset_end=epochs)
        for line, dashed in self._lines:
            line.glyph.line_color = look.color
            if dashed:
                line.glyph.line_dash = look.dash
        self._edits.glyph.fill_color = look.color
        self._tell(contender)
        self.fit()

    @property
    def by_tolerance(self) -> bool:
        """Whether what is refined is a tolerance."""
        return self.levels is self._by_tolerance

    def zoom(self, epochs: int) -> None:
        """Show the first epochs alone, until there are more; Reset in the toolbar shows all there are to be."""
        self._zoomed = self._epochs.end = epochs

    def update(self) -> bool:
        """Draw what is new; whether there was anything."""
        moved = self.source.update()
        if moved:
            self.fit()
        return moved

    def fit(self) -> None:
        """Widen the axes to what is drawn."""
        source = self.source
        if 0 < source.low <= source.high:
            _set(self._metrics, *whole_decades(source.low, source.high))
        columns = dict(self.what_if.data)
        ratios = np.append(columns["plateau_ratio"], self._asked_tau_step)
        ratios = ratios[np.isfinite(ratios)]
        low, high = min(source.low_ratio, ratios.min(initial=np.inf)), max(source.high_ratio, ratios.max(initial=0.0))
        if low <= high:
            _set(self._plateau_ratios, min(0.9, math.floor(10 * low - 0.5) / 10), max(1.1, math.ceil(10 * high) / 10))
        if source.run is not None:
            if source.run.epoch > self._zoomed:
                self._zoomed = math.inf
                _set(self._epochs, 0, source.run.settings.epochs)
            _set(self._iterations, 0.0, 1.04 * max(source.run.settings.largest_iterations, source.high_iterations))
        smallest = min(source.low_tolerance, np.nanmin(columns["tolerance"], initial=1.0))
        _set(self._tolerances, whole_decades(smallest, 1.0)[0], 1.2)

    def mark(self, epoch: int, window: int) -> None:
        """Mark what the plateau ratio compares after an epoch: s then, and s at the beginning of the window."""
        run = self.source.run
        then = epoch - window + 1
        if run is None or window < 2 or then < 0:
            self._window.visible = False
            self._marks.data = _no_marks()
            return
        smoothed = run.log.read()["smoothed"]
        self._window.update(left=then, right=epoch, visible=True)
        self._marks.data = {"epoch": np.array([then, epoch], float), "smoothed": smoothed[[then, epoch]]}

    def show_what_if(self, what_if: WhatIf | None) -> None:
        """Draw what another controller would have decided; None takes it away."""
        self.what_if.data = what_if_columns(what_if)
        self._asked_tau_step = math.nan if what_if is None else float(what_if.refinement["tau_step"])
        for name, span in self._asked.items():
            span.location = None if what_if is None else what_if.refinement[name]
        self.fit()

    def _make_metric(self) -> figure:
        plot = make_figure(
            "The error, measured and smoothed",
            "epoch",
            "error (log scale)",
            y_axis_type="log",
            x_range=self._epochs,
            y_range=self._metrics,
            height=270,
        )
        plot.yaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=4)
        plot.add_layout(self._window)
        data = self.source.source
        plot.step(
            "epoch", "checkpoint", source=data, color=NEUTRAL_COLOR, line_dash="dashed", line_width=1.5, mode="before"
        )
        plot.line("epoch", "smoothed", source=self.what_if, **WHAT_IF_LINE)
        self._add(plot.line("epoch", "fed", source=data, line_width=1, line_alpha=0.65))
        self._add(plot.line("epoch", "smoothed", source=data, line_width=2.5), dashed=True)
        plot.scatter("epoch", "smoothed", source=self._marks, size=9, color=NEUTRAL_COLOR, line_color="white")
        return plot

    def _make_plateau(self) -> figure:
        plot = make_figure(
            "A plateau? r by epoch", "epoch", "plateau ratio r", x_range=self._epochs, y_range=self._plateau_ratios,
            height=240,
        )  # fmt: skip
        data = self.source.source
        plot.varea_step(
            x="epoch", y1="tau_step", y2=100, source=data, color=NEUTRAL_COLOR, alpha=0.15, step_mode="before"
        )
        plot.step(
            "epoch", "tau_step", source=data, color=NEUTRAL_COLOR, line_dash="dashed", line_width=2, mode="before"
        )
        plot.add_layout(self._asked["tau_step"])
        plot.line("epoch", "plateau_ratio", source=self.what_if, **WHAT_IF_LINE)
        self._add(plot.line("epoch", "plateau_ratio", source=data, line_width=2))
        return plot

    def _make_checkpoint(self) -> figure:
        plot = make_figure(
            "Worth it? r_c at plateaus",
            "epoch",
            "checkpoint ratio r_c",
            x_range=self._epochs,
            y_range=Range1d(start=-0.05, end=1.45),
            height=240,
        )
        data = self.source.source
        plot.varea_step(
            x="epoch", y1="tau_stop", y2=-1, source=data, color=NEUTRAL_COLOR, alpha=0.15, step_mode="before"
        )
        plot.step(
            "epoch", "tau_stop", source=data, color=NEUTRAL_COLOR, line_dash="dotted", line_width=2, mode="before"
        )
        plot.add_layout(self._asked["tau_stop"])
        plot.add_layout(Span(dimension="width", location=1, line_color=NEUTRAL_COLOR, line_alpha=0.6))
        plot.scatter("epoch", "checkpoint_ratio", source=self.what_if, size=4, color=WHAT_IF_COLOR, alpha=0.6)
        plot.scatter("epoch", "refined_ratio", source=self.what_if, **WHAT_IF_MARK)
        plot.scatter("epoch", "checkpoint_ratio", source=data, size=5, color=IC_SAVING_COLOR)
        plot.scatter("epoch", "refined_ratio", source=data, marker="triangle", size=10, color=PR_SAVING_COLOR)
        return plot

    def _make_levels(self, name: str, label: str, axis: Range1d, **options: Any) -> figure:
        what = "How much physics? K by epoch" if name == "iterations" else "How exact? Tolerance by epoch"
        plot = make_figure(
            what, "epoch", label, x_range=self._epochs, y_range=axis, height=270,
            **options,
        )  # fmt: skip
        data = self.source.source
        self._add(plot.step("epoch", name, source=data, line_width=2.5, mode="before"), dashed=True)
        plot.step("epoch", name, source=self.what_if, mode="before", **WHAT_IF_LINE)
        plot.scatter("epoch", f"refined_{name}", source=data, marker="triangle", size=10, color=PR_SAVING_COLOR)
        plot.scatter("epoch", f"refined_{name}", source=self.what_if, **WHAT_IF_MARK)
        if name == "iterations":
            (self._edits,) = add_edit_marks(plot, name, [self.source.edits])
        return plot

    def _add(self, line: GlyphRenderer, *, dashed: bool = False) -> None:
        self._lines.append((line, dashed))
        line.glyph.line_color = LOOKS[0].color

    def _tell(self, contender: Contender) -> None:
        """What is what in the legends."""
        look, label = contender.look, contender.label
        own = (look.dash, look.color)
        metric = "training loss" if contender.run.settings.metric == "training" else "validation error"

        def what_if(*entries: tuple[str, str, str]) -> tuple[tuple[str, str, str], ...]:
            return entries if self._live else ()

        self.metric.legend.object = legend_html(
            ("solid", look.color, f"thin: the {metric} of {label} as measured"),
            (*own, "strong: s, smoothed over about w epochs"),
            ("area", NEUTRAL_COLOR, "the window of δ values; its ends, the dots, are what r compares"),
            ("dashed", NEUTRAL_COLOR, "s_checkpoint: s at the last refinement"),
            *what_if(("dashed", WHAT_IF_COLOR, "s of the what-if")),
        )
        self.plateau.legend.object = legend_html(
            ("solid", look.color, "r: s now over s at the beginning of the window δ"),
            ("dashed", NEUTRAL_COLOR, "τ_step"),
            ("area", NEUTRAL_COLOR, "above τ_step: a plateau"),
            *what_if(("dashed", WHAT_IF_COLOR, "r and τ_step of the what-if")),
        )
        self.checkpoint.legend.object = legend_html(
            ("circle", IC_SAVING_COLOR, "r_c: s now over s_checkpoint; above 1 the error grows"),
            ("dotted", NEUTRAL_COLOR, "τ_stop"),
            ("area", NEUTRAL_COLOR, "below τ_stop: worth it"),
            ("triangle", PR_SAVING_COLOR, "refined"),
            *what_if(("cross", WHAT_IF_COLOR, "refinements, r_c and τ_stop of the what-if")),
        )
        level = "tolerance" if self.by_tolerance else "K"
        self.levels.legend.object = legend_html(
            (*own, f"{level} of {label}"),
            ("triangle", PR_SAVING_COLOR, "refined"),
            *what_if(("dashed", WHAT_IF_COLOR, f"{level} of the what-if"), ("cross", WHAT_IF_COLOR, "would refine")),
            *([] if self.by_tolerance else [EDIT_MARK]),
        )


def _what_if_threshold() -> Span:
    return Span(dimension="width", location=None, line_color=WHAT_IF_COLOR, line_dash="dotted", line_width=2)


def _set(axis: Range1d, start: float, end: float) -> None:
    if (axis.start, axis.end) != (start, end):
        axis.update(start=start, end=end, reset_start=start, reset_end=end)


def _no_marks() -> dict[str, Any]:
    return {"epoch": np.zeros(0), "smoothed": np.zeros(0)}
