"""What solvers make of one linear system, drawn: residual and error by iteration, and a table of rates and of K."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, DataRenderer, HoverTool, Range1d, Span

from ..engine import Convergence, SolverLab
from ._shown import Contender
from ._summary import Summary
from ._theme import (
    LOOKS,
    NEUTRAL_COLOR,
    Look,
    as_pane,
    legend_html,
    make_figure,
    see_through,
    set_title,
    whole_decades,
)

TOLERANCES = (1e-2, 1e-4, 1e-6)
"""Residuals relative to that of the start, for which K is predicted."""

MARKS = 14
"""Markers along a curve, about."""

LOWEST = 1e-16
"""What is below is no number but rounding, and not drawn."""


class SolverFigure:
    """The curves of up to as many solvers as there are looks, and their numbers in a table.

    **Attributes:**

    - `plot`, `legend`, `table`, `summary`: what is displayed; `parts`, in that order.
    - `sources`: of the curves, by look.
    """

    def __init__(self):
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
        self.legend = pn.pane.HTML(sizing_mode="stretch_width", margin=0)
        self.table = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 4))
        self.summary = Summary()
        self.parts = as_pane(see_through(self.plot)), self.legend, self.table, self.summary

    def show(self, lab: SolverLab, contender: Contender) -> None:
        """Show a look at the system of a contender."""
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
        self.legend.object = legend_html(
            *((look.marker, look.color, each.solver) for look, each in zip(looks, found, strict=False)),
            ("solid", NEUTRAL_COLOR, "residual ‖b − A xₖ‖ / ‖b − A x₀‖"),
            ("dashed", NEUTRAL_COLOR, "error ‖xₖ − x*‖ / ‖x₀ − x*‖, x* the solution"),
            ("dotdash", NEUTRAL_COLOR, f"K of now, {lab.iterations}"),
        )
        self.table.object = _table_html(lab, found)
        self.summary.tell(_words(lab, contender.label, found), at_once=True)


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
