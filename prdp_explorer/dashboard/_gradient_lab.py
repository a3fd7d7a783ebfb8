"""The gradient lab: how good the gradient of a coarse solve is, by mode and by K, now and over the run."""

import html
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, HoverTool, LogTicker, Range1d, Span
from bokeh.plotting import figure

from ..engine import GradientLab, LoopSettings
from ..solvers import DIFFERENTIATIONS
from ._session import locked
from ._shown import Contender, Shown
from ._summary import Summary
from ._theme import (
    LOOKS,
    NEUTRAL_COLOR,
    Look,
    as_pane,
    card,
    fill,
    legend,
    legend_html,
    make_figure,
    see_through,
    tab_grid,
    whole_decades,
)

RHYTHMS = {"off": 0.0, "every 2 s": 2.0, "every 10 s": 10.0}
"""Seconds between two probes of a run under way, in words."""

SHARE = 0.2
"""The share of the time that these probes may take: training waits for them."""

MODE_LOOKS: Mapping[str, Look] = dict(zip(DIFFERENTIATIONS, (*LOOKS, Look(NEUTRAL_COLOR, "dotted", "x")), strict=True))
"""How a differentiation mode is drawn. Where lines lie on each other, dashes let the one below be seen."""

ROUNDING = {"one_minus_cosine": 1e-14, "relative_error": 1e-8}
"""What is less than single precision can tell is drawn here: it would stretch the axis for nothing."""

_ABOUT = (
    "K iterations give an approximate solution, and an approximate gradient to learn from. Here it is compared with "
    "the converged gradient, of a solve and an adjoint taken to rounding: at the parameters of now, on the first batch "
    "of the training data. What is small enough is as good as full physics; what points elsewhere misleads."
)
_START = "Press “Compare gradients now” to compare all differentiation modes at K from 1 to full physics."
_NOT_BEGUN = "There is something to compare when training begins."
_LOOP = "A loop of one's own has its gradients to itself: what is not trained by the engine cannot be compared."
_COMPUTING = (
    "Computing… A mode is compiled the first time, which takes seconds, or minutes for a large problem. Training goes "
    "on meanwhile, and waits only for the probe itself."
)

Compare = Callable[..., Future[GradientLab]]
"""As `Engine.gradient_lab`."""


class _Probe(NamedTuple):
    """What the gradient that trains was, after an epoch."""

    iterations: int
    mode: str
    one_minus_cosine: float
    relative_error: float


class _Spent:
    """What was found out about one run, and what it cost."""

    def __init__(self):
        self.lab: GradientLab | None = None
        self.history: dict[int, _Probe] = {}
        self.probes, self.seconds = 0, 0.0
        self.asked_at: int | None = None  # the epoch at which the rhythm asked last


class GradientLabView(pn.viewable.Viewer):
    """Compares gradients of one contender when a person asks for it, and the one that trains at a rhythm, while seen.

    **Arguments:**

    - `compare`: what computes it in the background.

    **Attributes:**

    - `contender`, `compare_now`, `rhythm`: the widgets. `rhythm.value` is in seconds, 0 for off.
    """

    def __init__(self, compare: Compare):
        super().__init__()
        self._compare = compare
        self._contenders: list[Contender] = []
        self._contender: Contender | None = None
        self._of: dict[str, _Spent] = {}
        self._asked: tuple[str, str | None, Future[GradientLab]] | None = None  # run, mode of a probe, answer
        self._wanted = False
        self._due = 0.0
        self._choosing = False
        self.contender = pmui.Select(label="Contender", size="small", width=200, margin=(14, 8, 4, 8))
        self.contender.param.watch(lambda _: self._choose(), "value")
        self.compare_now = pmui.Button(
            label="Compare gradients now", icon="compare", size="small", margin=(14, 8, 4, 8)
        )
        self.compare_now.on_click(lambda _: locked(self._press))
        self.rhythm = pmui.RadioButtonGroup(
            label="Probe the gradient that trains",
            options=RHYTHMS,
            value=0.0,
            size="small",
            width=300,
            margin=(6, 8, 4, 8),
            sx={"& .MuiToggleButton-root": {"textTransform": "none", "whiteSpace": "nowrap"}},  # s, not S
        )
        self._status, self._costs, self._subject = (
            pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 8)) for _ in range(3)
        )
        self._by_count = _ByCount()
        self._over_epochs = _OverEpochs()
        self._compared, self._probed = (pn.Column(sizing_mode="stretch_width", margin=0) for _ in "12")
        heading = pn.pane.HTML(
            f'<h3 style="font-size:15px;margin:6px 0 2px">Gradient lab</h3>'
            f'<p style="font-size:13px;line-height:1.5;margin:0;opacity:.85">{_ABOUT}</p>',
            sizing_mode="stretch_width",
            margin=(0, 8),
        )
        controls = pmui.FlexBox(self.contender, self.compare_now, self.rhythm, align_items="flex-end")
        self._layout = tab_grid(
            (card(heading, controls, self._status, self._costs), {}),
            (self._compared, {}),
            (self._probed, {}),
        )
        self._show(None)

    def __panel__(self) -> pn.Column:
        return self._layout

    def look_at(self, shown: Shown) -> None:
        """Offer the contenders of another race, and show the first; of the same one, moved, that which was shown."""
        before, self._contenders = self._contenders, shown.contenders
        same = [each.run.id for each in before] == [each.run.id for each in self._contenders]
        if not same:
            self._of = {}
        chosen = next((each for each in self._contenders if same and each.place == self.contender.value), None)
        chosen = chosen or next(iter(self._contenders), None)
        self._choosing = True
        try:
            names = {each.label: each.place for each in self._contenders}
            self.contender.param.update(options=names, value=None if chosen is None else chosen.place)
            self.contender.visible = len(names) > 1
        finally:
            self._choosing = False
        self._show(chosen)

    def update(self) -> None:
        """Show what was computed since, and ask for what is due."""
        if self._asked is not None and self._asked[2].done():
            self._take()
        contender = self._contender
        if contender is None or isinstance(contender.run.settings, LoopSettings):
            return
        run, spent = contender.run, self._spent(contender)
        begun = bool(len(run.log))
        if self.compare_now.disabled is begun:  # it begins while it is looked at
            self._show(contender)
        due = self.rhythm.value and time.monotonic() >= self._due and spent.asked_at != run.epoch
        if self._asked is None and begun and (self._wanted or due):
            self._ask(contender, full=self._wanted)
        self._tell_costs()

    def _spent(self, contender: Contender) -> _Spent:
        return self._of.setdefault(contender.run.id, _Spent())

    def _choose(self) -> None:
        if not self._choosing:
            chosen = next((each for each in self._contenders if each.place == self.contender.value), None)
            locked(lambda: self._show(chosen))

    def _press(self) -> None:
        self._wanted = True
        self._say(_COMPUTING)
        self.update()

    def _ask(self, contender: Contender, *, full: bool) -> None:
        run = contender.run
        mode = None if full else run.settings.differentiation
        self._wanted = self._wanted and not full
        if not full:
            self._spent(contender).asked_at = run.epoch
        try:
            asked = self._compare(run) if full else self._compare(run, modes=(mode,), counts=())
        except ValueError as error:
            self._say(str(error))
            return
        self._asked = run.id, mode, asked
        if full or not self._spent(contender).history:
            self._say(_COMPUTING)

    def _take(self) -> None:
        """Keep what was computed, and show it if it is of the run that is looked at."""
        if self._asked is None:
            return
        (run_id, mode, asked), self._asked = self._asked, None
        self._due = time.monotonic() + self.rhythm.value
        spent = self._of.get(run_id)
        if spent is None:  # of a race that is not shown any more
            return
        here = self._contender is not None and self._contender.run.id == run_id
        if (error := asked.exception()) is not None:
            if here:
                self._say(f"The gradients could not be compared. {error}")
            return
        lab = asked.result()
        self._due = time.monotonic() + max(self.rhythm.value, lab.seconds / SHARE)
        spent.probes += 1
        spent.seconds += lab.seconds
        if mode is None:
            spent.lab = lab
        else:
            spent.history[lab.epoch] = _Probe(
                lab.iterations, mode, float(lab.one_minus_cosine[0, 0]), float(lab.relative_error[0, 0])
            )
        if here:
            self._draw(full=mode is None)

    def _show(self, contender: Contender | None) -> None:
        """Look at another contender, with what is known of it."""
        self._contender = contender
        run = None if contender is None else contender.run
        loop = run is not None and isinstance(run.settings, LoopSettings)
        begun = run is not None and bool(len(run.log))
        self.compare_now.disabled = self.rhythm.disabled = loop or not begun
        self._say(_LOOP if loop else _START if begun else _NOT_BEGUN)
        self._draw(full=True)

    def _draw(self, *, full: bool) -> None:
        contender = self._contender
        spent = _Spent() if contender is None else self._spent(contender)
        known = spent.lab is not None or bool(spent.history)
        with pn.io.hold():
            if known:
                self._say("")
            if contender is not None and spent.lab is not None and full:
                lab = spent.lab
                self._subject.object = (
                    '<p style="font-size:13.5px;margin:4px 0">'
                    f"{html.escape(contender.label)} after epoch {lab.epoch}, when its K was {lab.iterations}.</p>"
                )
                self._by_count.show(lab, contender.run.settings.differentiation)
            _show_if(spent.lab is not None, self._compared, self._subject, self._by_count.view)
            if contender is not None and spent.history:
                self._over_epochs.show(spent.history, contender)
            _show_if(bool(spent.history), self._probed, self._over_epochs.view)
        self._tell_costs()

    def _say(self, words: str) -> None:
        self._status.object = f'<p role="status" style="font-size:13px;margin:0">{html.escape(words)}</p>'
        self._status.visible = bool(words)

    def _tell_costs(self) -> None:
        """What the probes took beside training."""
        words, contender = "", self._contender
        if contender is not None and (spent := self._spent(contender)).probes:
            what = "probe" if spent.probes == 1 else "probes"
            words = (
                f"{spent.probes} {what} took {spent.seconds:.2g} s, not counted in the "
                f"{contender.run.seconds['train']:.3g} s of training."
            )
        self._costs.object = f'<p style="font-size:12.5px;margin:0;opacity:.85">{words}</p>'
        self._costs.visible = bool(words)


def _show_if(known: bool, place: pn.Column, *contents: Any) -> None:
    if known and not len(place):
        fill(place, *contents)
    elif not known:
        place.clear()


class _ByCount:
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
        cards = [card(as_pane(self.figures[name]), self.legends[name], self.summaries[name]) for name in titles]
        self.view = tab_grid(*((each, {"lg": 6}) for each in cards))
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
        marks = []
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


class _OverEpochs:
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

    def show(self, history: Mapping[int, _Probe], contender: Contender) -> None:
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


def _over_epochs(history: Mapping[int, _Probe]) -> dict[str, Any]:
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
