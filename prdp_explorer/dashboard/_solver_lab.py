"""The solver lab: residual and error by iteration of the system that a contender solves now, for several solvers."""

import html
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, DataRenderer, HoverTool, Range1d, Span

from ..engine import Convergence, LoopSettings, Run, SolverLab
from ._chooser import ContenderChooser
from ._session import locked
from ._shown import Contender, Shown
from ._summary import Summary
from ._theme import (
    CONTROL,
    LOOKS,
    NEUTRAL_COLOR,
    Look,
    as_pane,
    card,
    fill,
    grid,
    legend_html,
    make_figure,
    see_through,
    set_title,
    whole_decades,
)

SECONDS_BETWEEN = 4.0
"""While training goes on the system is looked at again at most so often, and takes at most a tenth of the time."""

TOLERANCES = (1e-2, 1e-4, 1e-6)
"""Residuals relative to that of the start, for which K is predicted."""

FIRST_CHOSEN = 3
"""Solvers that are looked at to begin with, the run's own among them."""

MARKS = 14
"""Markers along a curve, about."""

LOWEST = 1e-16
"""What is below is no number but rounding, and not drawn."""

_NOTHING_YET = "It appears here when training begins."
_COMPUTING = "Computing… The first look at a scenario is compiled, which takes some seconds, and more beside training."
_LOOP = "A loop of one's own has no system here: only its author's code makes it and solves it."
_ABOUT = (
    "The linear system A x = b of the first inner solve, for one training sample and the parameters of now. How far K "
    "iterations get, how far they would get with another solver, and the K that a tolerance of the residual needs."
)

logger = logging.getLogger(__name__)

LookAtSystem = Callable[..., Future[SolverLab]]
"""As `Engine.solver_lab`."""


class SolverLabView(pn.viewable.Viewer):
    """Asks for the lab of one contender while it is seen, and draws it.

    **Arguments:**

    - `look_at_system`: what computes a lab in the background.

    **Attributes:**

    - `contender`, `solvers`, `again`: the widgets that choose whose system, which solvers, and to look at it again.
    - `lab`: what is shown, or None.
    """

    def __init__(self, look_at_system: LookAtSystem):
        super().__init__()
        self._look_at_system = look_at_system
        self._contender: Contender | None = None
        self.lab: SolverLab | None = None
        self._asked: Future[SolverLab] | None = None
        self._asked_for: tuple[int, tuple[str, ...]] | None = None  # the epoch, and the solvers
        self._asked_at = self._due = 0.0
        self._wanted = False
        self._choosing = False
        self._offered: bool | None = None
        self._chooser = ContenderChooser(self._show, **CONTROL)
        self.contender = self._chooser.widget
        self.solvers = pmui.MultiChoice(
            label="Solvers (five at most)", max_items=len(LOOKS), **{**CONTROL, "size": None}
        )
        self.solvers.param.watch(lambda _: self._want(), "value")
        self.again = pmui.Button(
            label="Look at the system now", icon="refresh", variant="outlined", size="small", margin=(10, 20)
        )
        self.again.on_click(lambda _: self._want())
        self._status = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 12))
        self._make_figure()
        self._table = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 4))
        self._summary = Summary()
        self._parts = as_pane(see_through(self.plot)), self._legend, self._table, self._summary
        self._drawn = pn.Column(sizing_mode="stretch_width", margin=0)  # holds the parts while there is a lab
        heading = pn.pane.HTML(
            '<h3 style="font-size:15px;margin:6px 0 2px">Solver lab</h3>'
            f'<p style="font-size:13px;margin:0;opacity:.85">{_ABOUT}</p>',
            sizing_mode="stretch_width",
            margin=(0, 12),
        )
        self._controls = pn.Column(sizing_mode="stretch_width", margin=(10, 0, 0, 0))
        self._offer(contenders=False)
        self._layout = card(heading, self._controls, self._status, self._drawn)
        self._say(_NOTHING_YET)

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, shown: Shown) -> None:
        """Offer the contenders of another race, and look at the first; of the same one, moved, at that which was."""
        chosen, moved = self._chooser.offer(shown)
        self._offer(contenders=self._chooser.needed)
        self._show(chosen, same=moved)

    def update(self) -> None:
        """Show what was computed since, and ask for what is new; called while it is seen."""
        run = self._run
        if run is None or isinstance(run.settings, LoopSettings):
            return
        if self._asked is not None and self._asked.done():
            self._take()
        if self._asked is not None or not len(run.log):
            return
        new = self._asked_for is None or (self._asked_for[0] != run.epoch and time.monotonic() >= self._due)
        if self._wanted or new:
            self._ask(run)

    def _offer(self, *, contenders: bool) -> None:
        """Show the controls that there is something to choose with."""
        if self._offered != contenders:
            self._offered = contenders
            choosers = [(self.contender, {"md": 3})] if contenders else []
            left = {"md": 6 if contenders else 9}
            self._controls[:] = [grid(*choosers, (self.solvers, left), (self.again, {"md": 3}))]

    @property
    def _run(self) -> Run | None:
        return None if self._contender is None else self._contender.run

    def _show(self, contender: Contender | None, *, same: bool = False) -> None:
        """Look at another contender; at the same one, at another epoch, as before."""
        self._contender, run = contender, None if contender is None else contender.run
        if self._asked is not None:
            self._asked.cancel()
        self._asked = self._asked_for = None
        self.again.loading = False
        if not same:
            self._hide()
            own = [] if run is None or isinstance(run.settings, LoopSettings) else _own_first(run)
            self._choosing = True
            try:
                self.solvers.param.update(options=own, value=own[:FIRST_CHOSEN])
            finally:
                self._choosing = False
        loop = run is not None and isinstance(run.settings, LoopSettings)
        self.solvers.disabled = self.again.disabled = run is None or loop
        self._say(_LOOP if loop else _NOTHING_YET if self.lab is None else "")

    def _want(self) -> None:
        """A person asks: at the next turn, whatever else is under way."""
        if not self._choosing:
            self._wanted = True
            locked(self.update)

    def _ask(self, run: Run) -> None:
        chosen = [name for name in _own_first(run) if name in self.solvers.value]
        names = tuple(chosen or _own_first(run)[:1])
        self._wanted = False
        self._asked_for, self._asked_at = (run.epoch, names), time.monotonic()
        if self.lab is None:
            self._say(_COMPUTING)
        self.again.loading = self.lab is not None and not run.ended
        try:
            self._asked = self._look_at_system(run, solvers=names)
        except ValueError as error:
            self._refuse(error)

    def _take(self) -> None:
        """Show the answer that there is."""
        asked, self._asked = self._asked, None
        now = time.monotonic()
        self._due = now + max(SECONDS_BETWEEN, 10 * (now - self._asked_at))
        self.again.loading = False
        try:
            lab = asked.result() if asked is not None else None
        except ValueError as error:
            self._refuse(error)
            return
        except Exception as error:  # whatever XLA or a problem of one's own may raise, the page goes on
            logger.exception("a system could not be looked at")
            self._refuse(error)
            return
        if lab is not None and self._contender is not None:
            self.lab = lab
            with pn.io.hold():
                self._draw(lab, self._contender)
                self._say("")
                if not len(self._drawn):
                    fill(self._drawn, *self._parts)

    def _hide(self) -> None:
        self.lab = None
        self._drawn.clear()

    def _refuse(self, error: Exception) -> None:
        self._hide()
        self._say(f"The system could not be looked at. {html.escape(str(error)[:300])}")

    def _say(self, words: str) -> None:
        self._status.object = f'<p role="status" style="font-size:13px;margin:0">{words}</p>'
        self._status.visible = bool(words)

    def _make_figure(self) -> None:
        self._iterations, self._values = Range1d(start=0, end=50), Range1d(start=1e-6, end=2)
        self.plot = make_figure(
            "Residual and error by iteration",
            "iterations k",
            "relative to the start (log scale)",
            y_axis_type="log",
            x_range=self._iterations,
            y_range=self._values,
            height=340,
        )
        self._at = Span(location=0, dimension="height", line_color=NEUTRAL_COLOR, line_width=2, line_dash="dotdash")
        self.plot.add_layout(self._at)
        self.sources = [ColumnDataSource(_columns("", None)) for _ in LOOKS]
        self._marked = [ColumnDataSource(_columns("", None)) for _ in LOOKS]
        lines: list[DataRenderer] = []
        for look, source, marked in reversed(list(zip(LOOKS, self.sources, self._marked, strict=True))):
            style: dict[str, Any] = {"color": look.color, "line_width": 2.2}
            lines.append(self.plot.line("k", "residual", source=source, **style))
            lines.append(self.plot.line("k", "error", source=source, line_dash="dashed", **style))
            self.plot.scatter("k", "residual", source=marked, color=look.color, marker=look.marker, size=8)
        self.plot.add_tools(
            HoverTool(
                renderers=lines,
                tooltips=[("", "@solver"), ("k", "@k"), ("residual", "@residual{%.2e}"), ("error", "@error{%.2e}")],
                formatters={"@residual": "printf", "@error": "printf"},
            )
        )
        self._legend = pn.pane.HTML(sizing_mode="stretch_width", margin=0)

    def _draw(self, lab: SolverLab, contender: Contender) -> None:
        found = list(lab.convergences.values())
        own = contender.run.settings.solver
        looks = _looks(contender.look, own_is_shown=any(each.solver == own for each in found))
        places = {LOOKS.index(look): each for look, each in zip(looks, found, strict=False)}
        for place, (source, marked) in enumerate(zip(self.sources, self._marked, strict=True)):
            each = places.get(place)
            if each is not None or len(source.data["k"]):
                source.data = _columns("" if each is None else each.solver, each)
                marked.data = _columns("" if each is None else each.solver, each, every=True)
        drawn = np.concatenate([column for each in found for column in (each.residuals, each.errors)])
        drawn = drawn[np.isfinite(drawn) & (drawn >= LOWEST)]
        start, end = whole_decades(float(drawn.min(initial=1e-2)), min(float(drawn.max(initial=1.0)), 1e8))
        self._values.update(start=start, end=end, reset_start=start, reset_end=end)
        last = max(int(each.iterations[-1]) for each in found)
        self._iterations.update(start=0, end=last, reset_start=0, reset_end=last)
        self._at.location = lab.iterations
        first = found[0]
        residual, error = first.at(lab.iterations)
        left = f"{_share(error)} of the error" if math.isfinite(error) else f"{_share(residual)} of the residual"
        set_title(self.plot, f"{first.solver}: K = {lab.iterations} leaves {left}")
        self._legend.object = legend_html(
            *((look.marker, look.color, each.solver) for look, each in zip(looks, found, strict=False)),
            ("solid", NEUTRAL_COLOR, "residual ‖b − A xₖ‖ / ‖b − A x₀‖"),
            ("dashed", NEUTRAL_COLOR, "error ‖xₖ − x*‖ / ‖x₀ − x*‖, x* the solution"),
            ("dotdash", NEUTRAL_COLOR, f"K of now, {lab.iterations}"),
        )
        self._table.object = _table_html(lab, found)
        self._summary.tell(_words(lab, contender.label, found), at_once=True)


def _own_first(run: Run) -> list[str]:
    own = run.settings.solver
    return [own, *(name for name in run.settings.problem.solvers if name != own)]


def _looks(own: Look, *, own_is_shown: bool) -> list[Look]:
    """Of the solvers in order: the run's own in the look that the contender has everywhere; the others' after it."""
    others = [look for look in (*LOOKS[2:], LOOKS[1], LOOKS[0]) if look is not own]
    return [own, *others] if own_is_shown else others


def _columns(solver: str, found: Convergence | None, *, every: bool = False) -> dict[str, Any]:
    """What is drawn of a solver, or with `every` only of some iterations; nothing of what is rounding."""
    if found is None:
        return {"k": np.zeros(0), "residual": np.zeros(0), "error": np.zeros(0), "solver": []}
    step = max(len(found.iterations) // MARKS, 1) if every else 1
    iterations = found.iterations[::step]
    curves = (np.where(curve[::step] >= LOWEST, curve[::step], np.nan) for curve in (found.residuals, found.errors))
    residuals, errors = (np.where(np.isfinite(curve), curve, np.nan) for curve in curves)
    return {"k": iterations.astype(float), "residual": residuals, "error": errors, "solver": [solver] * len(iterations)}


def _share(value: float) -> str:
    """A share of the start for people."""
    if not math.isfinite(value):
        return "no number"
    return f"{100 * value:.2g} %" if 1e-5 <= value < 1 else _number(value)


def _number(value: float) -> str:
    return f"{value:#.2g}".replace("-", "−") if math.isfinite(value) else "none"


def _predicted(found: Convergence, tolerance: float) -> str:
    iterations = found.predicted_iterations(tolerance)
    return "never" if iterations is None else f"{iterations:,}"


def _rate(found: Convergence) -> str:
    if found.rate >= 1:
        return f"{found.rate:.4g}, does not converge"
    return f"{_number(found.rate) if found.rate < 0.01 else f'{found.rate:.4f}'}{'' if found.geometric else ' (mean)'}"


def _table_html(lab: SolverLab, found: Sequence[Convergence]) -> str:
    heads = ["solver", "rate per iteration", f"residual at K = {lab.iterations}", f"error at K = {lab.iterations}"]
    heads += [f"K for {_number_as_power(tolerance)}" for tolerance in TOLERANCES]
    rows = [
        [each.solver, _rate(each), *map(_number, each.at(lab.iterations)), *(_predicted(each, t) for t in TOLERANCES)]
        for each in found
    ]
    style = 'style="text-align:right;padding:2px 5px"'
    head = "".join(
        f'<th scope="col" style="text-align:{"right" if place else "left"};padding:2px 5px;font-weight:600">{name}</th>'
        for place, name in enumerate(heads)
    )
    body = "".join(
        f'<tr><th scope="row" style="text-align:left;padding:2px 5px;font-weight:400">{html.escape(name)}</th>'
        + "".join(f"<td {style}>{html.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return (
        '<div role="region" aria-label="Solvers" tabindex="0" style="overflow-x:auto">'
        '<table style="width:100%;border-spacing:0;font-size:12.5px;font-variant-numeric:tabular-nums">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _number_as_power(tolerance: float) -> str:
    return f"10<sup>−{-round(math.log10(tolerance))}</sup>"


def _words(lab: SolverLab, label: str, found: Sequence[Convergence]) -> str:
    """What is seen, for those who cannot see it, and what x* is."""
    told = []
    for each in found:
        residual, error = each.at(lab.iterations)
        told.append(
            f"{each.solver} leaves a residual of {_number(residual)} and an error of {_number(error)} of the start's "
            f"after K = {lab.iterations}, at a rate of {_rate(each)} per iteration"
        )
    mean = "" if all(each.geometric for each in found) else "; (mean) is over all of them, where it is no constant one"
    precision = "double" if lab.double else "single"
    return (
        f"{label} after epoch {lab.epoch}, a system of {lab.unknowns:,} unknowns: {'; '.join(told)}. The rate is the "
        f"factor by which an iteration multiplies the error at last, before rounding{mean}. x*: {lab.reference}. "
        f"Computed in {precision} precision."
    )
