"""The figures of the gradient lab: gradients by mode and by K, and the one that trains over the epochs."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import ColumnDataSource, DataRenderer, HoverTool, LogTicker, Range1d, Span
from bokeh.plotting import figure

from ..engine import GradientLab
from ..solvers import DIFFERENTIATIONS
from ._shown import Contender
from ._summary import Summary
from ._theme import (
    LOOKS,
    NEUTRAL_COLOR,
    Look,
    as_pane,
    card,
    legend,
    legend_html,
    make_figure,
    see_through,
    tab_grid,
    whole_decades,
)

MODE_LOOKS: Mapping[str, Look] = dict(zip(DIFFERENTIATIONS, (*LOOKS, Look(NEUTRAL_COLOR, "dotted", "x")), strict=True))
"""How a differentiation mode is drawn. Where lines lie on each other, dashes let the one below be seen."""

ROUNDING = {"one_minus_cosine": 1e-14, "relative_error": 1e-8}
"""What is less than single precision can tell is drawn here: it would stretch the axis for nothing."""


class Probe(NamedTuple):
    """What the gradient that trains was, after an epoch."""

    iterations: int
    mode: str
    one_minus_cosine: float
    relative_error: float


class ByCount:
    """The two figures by K, with a line a mode.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(self):
        self.sources = {mode: ColumnDataSource(_by_count(None, mode)) for mode in MODE_LOOKS}
        self._counts = Range1d(start=0, end=10)
        self._now = [Span(dimension="height", line_color=NEUTRAL_COLOR, line_dash="dashed", line_width=2) for _ in "12"]
        self.ranges = {name: Range1d(start=1e-3, end=1) for name in ROUNDING}
        self._lines: dict[str, list[Any]] = {mode: [] for mode in MODE_LOOKS}
        titles = {
            "one_minus_cosine": ("Same direction? 1 − cosine, small is good", "1 − cosine (log scale)"),
            "relative_error": ("How far off? Relative error, small is good", "relative error (log scale)"),
        }
        self.figures = {
            name: self._make(name, *words, now=now)
            for (name, words), now in zip(titles.items(), self._now, strict=True)
        }
        self.legends = {name: legend() for name in titles}
        self.summaries = {name: Summary() for name in titles}
        self.cards = [card(as_pane(self.figures[name]), self.legends[name], self.summaries[name]) for name in titles]
        self.view = tab_grid(*((each, {"lg": 6}) for each in self.cards))
        self.view.margin = 0

    def _make(self, column: str, title: str, label: str, *, now: Span) -> figure:
        plot = make_figure(
            title,
            "inner iterations K",
            label,
            y_axis_type="log",
            x_range=self._counts,
            y_range=self.ranges[column],
            height=300,
        )
        plot.yaxis.ticker = LogTicker(desired_num_ticks=6)
        plot.add_layout(now)
        marks: list[DataRenderer] = []
        for mode, look in MODE_LOOKS.items():
            source = self.sources[mode]
            self._lines[mode].append(
                plot.line("count", column, source=source, color=look.color, line_dash=look.dash, line_width=2)
            )
            marks.append(
                plot.scatter(
                    "count",
                    column,
                    source=source,
                    marker=look.marker,
                    size=9,
                    line_color=look.color,
                    line_width=1.5,
                    fill_alpha=0,
                )
            )
        plot.add_tools(
            HoverTool(
                renderers=marks,
                tooltips=[
                    ("", "@mode, K = @count"),
                    ("cosine", "@cosine{0.000000}"),
                    ("angle", "@angle{%.3g}°"),
                    ("relative error", "@error{%.3g}"),
                ],
                formatters={"@angle": "printf", "@error": "printf"},
            )
        )
        return see_through(plot)

    def show(self, lab: GradientLab, own: str) -> None:
        """Show a comparison; `own` is the mode with which the run trains."""
        for mode, source in self.sources.items():
            source.data = _by_count(lab, mode)
            for line in self._lines[mode]:
                line.glyph.line_width = 3.5 if mode == own else 2
        largest = 1.05 * max(lab.counts)
        self._counts.update(start=0, end=largest, reset_start=0, reset_end=largest)
        for span in self._now:
            span.location = lab.iterations
        for column, axis in self.ranges.items():
            drawn = np.concatenate([np.asarray(source.data[column], float) for source in self.sources.values()])
            drawn = drawn[np.isfinite(drawn)]
            if len(drawn):
                start, end = whole_decades(float(drawn.min()), float(drawn.max()))
                axis.update(start=start, end=end, reset_start=start, reset_end=end)
            self.legends[column].object = legend_html(
                *(
                    (
                        f"{MODE_LOOKS[mode].dash} {MODE_LOOKS[mode].marker}",
                        MODE_LOOKS[mode].color,
                        _name(lab, mode, own),
                    )
                    for mode in lab.modes
                    if np.isfinite(np.asarray(self.sources[mode].data[column], float)).any()
                ),
                ("dashed", NEUTRAL_COLOR, f"K of the run, {lab.iterations}"),
            )
            self.summaries[column].tell(_in_words(lab, column), at_once=True)


class OverEpochs:
    """The relative error of the gradient that trains, above K, over the epochs.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(self):
        self.source = ColumnDataSource(_over_epochs({}))
        self._epochs, self.errors, self._levels = (
            Range1d(start=0, end=100),
            Range1d(start=1e-3, end=1),
            Range1d(start=0, end=10),
        )
        error = make_figure(
            "The gradient that trains: its error by epoch",
            "epoch",
            "relative error (log scale)",
            y_axis_type="log",
            x_range=self._epochs,
            y_range=self.errors,
            height=240,
        )
        error.yaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=4)
        levels = make_figure("And its K", "epoch", "K", x_range=self._epochs, y_range=self._levels, height=170)
        errors = error.scatter("epoch", "error", source=self.source, size=5)
        counts = levels.scatter("epoch", "iterations", source=self.source, size=5)
        self._marks = errors, counts
        self._lines = (
            error.line("epoch", "error", source=self.source, line_width=2),
            levels.step("epoch", "iterations", source=self.source, line_width=2, mode="after"),
        )
        for plot, marks in ((error, errors), (levels, counts)):
            see_through(plot).add_tools(
                HoverTool(
                    renderers=[marks],
                    tooltips=[
                        ("", "@mode after epoch @epoch, K = @iterations"),
                        ("cosine", "@cosine{0.000000}"),
                        ("relative error", "@error{%.3g}"),
                    ],
                    formatters={"@error": "printf"},
                )
            )
        self.legend, self.summary = legend(), Summary()
        self.view = card(as_pane(error), as_pane(levels), self.legend, self.summary)

    def show(self, history: Mapping[int, Probe], contender: Contender) -> None:
        """Show the probes of a run by epoch."""
        self.source.data = _over_epochs(history)
        look = contender.look
        for line in self._lines:
            line.glyph.line_color = look.color
        for mark in self._marks:
            mark.glyph.update(line_color=look.color, fill_color=look.color, marker=look.marker)
        epochs = max(contender.run.settings.epochs, 1)
        self._epochs.update(start=0, end=epochs, reset_start=0, reset_end=epochs)
        errors = np.asarray(self.source.data["error"], float)
        errors = errors[np.isfinite(errors)]
        if len(errors):
            start, end = whole_decades(float(errors.min()), float(errors.max()))
            self.errors.update(start=start, end=end, reset_start=start, reset_end=end)
        top = 1.1 * max(probe.iterations for probe in history.values())
        self._levels.update(start=0, end=top, reset_start=0, reset_end=top)
        first, last = min(history), max(history)
        modes = " and ".join(dict.fromkeys(probe.mode for probe in history.values()))
        self.legend.object = legend_html(
            (f"solid {look.marker}", look.color, f"{contender.label}, {modes}, against the converged gradient")
        )
        told = [
            f"{_number(probe.relative_error)} after epoch {epoch} at K = {probe.iterations}"
            for epoch, probe in ((first, history[first]), (last, history[last]))
        ]
        self.summary.tell(f"Relative error of the gradient that trains: {', then '.join(dict.fromkeys(told))}.")


def _by_count(lab: GradientLab | None, mode: str) -> dict[str, Any]:
    """The columns of one mode; empty where it was not compared."""
    names = ("count", "one_minus_cosine", "relative_error", "cosine", "angle", "error")
    if lab is None or mode not in lab.modes:
        return {**{name: np.zeros(0) for name in names}, "mode": []}
    row = lab.modes.index(mode)
    turned, error = lab.one_minus_cosine[row], lab.relative_error[row]
    values = (
        np.array(lab.counts, float),
        np.maximum(turned, ROUNDING["one_minus_cosine"]),
        np.maximum(error, ROUNDING["relative_error"]),
        1 - turned,
        _degrees(turned),
        error,
    )
    return {**dict(zip(names, values, strict=True)), "mode": [mode] * len(lab.counts)}


def _over_epochs(history: Mapping[int, Probe]) -> dict[str, Any]:
    probes = [history[epoch] for epoch in sorted(history)]
    errors = np.array([probe.relative_error for probe in probes], float)
    return {
        "epoch": np.array(sorted(history), float),
        "iterations": np.array([probe.iterations for probe in probes], float),
        "error": np.maximum(errors, ROUNDING["relative_error"]),
        "cosine": np.array([1 - probe.one_minus_cosine for probe in probes], float),
        "mode": [probe.mode for probe in probes],
    }


def _degrees(turned: Any) -> Any:
    """The angle that belongs to 1 - cosine, exact also where it is small."""
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(turned, 0, 2) / 2)))


def _name(lab: GradientLab, mode: str, own: str) -> str:
    none = not np.nan_to_num(lab.norm[lab.modes.index(mode)], nan=1.0).any()
    return mode + (", of this run" if mode == own else "") + (": no gradient at all" if none else "")


def _in_words(lab: GradientLab, column: str) -> str:
    """What a figure says at K of now and at the largest K."""
    values: np.ndarray = getattr(lab, column)

    def told(place: int) -> str:
        return ", ".join(_value(mode, values[row, place], column) for row, mode in enumerate(lab.modes))

    what = "1 − cosine" if column == "one_minus_cosine" else "Relative error"
    now = f"{what} at K of the run, {lab.iterations}: {told(lab.counts.index(lab.iterations))}."
    if lab.counts[-1] == lab.iterations:
        return now
    return f"{now} At K = {lab.counts[-1]}: {told(-1)}."


def _number(value: float) -> str:
    """A number of two digits for a sentence."""
    digits, _, exponent = f"{value:.2g}".partition("e")
    return (f"{digits}e{int(exponent)}" if exponent else digits).replace("-", "−")


def _value(mode: str, value: float, column: str) -> str:
    if not math.isfinite(value):
        return f"{mode} none"
    angle = f" ({_number(float(_degrees(value)))}°)" if column == "one_minus_cosine" else ""
    return f"{mode} {_number(value)}{angle}"
