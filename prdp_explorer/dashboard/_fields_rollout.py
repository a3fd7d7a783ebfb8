"""The rollout player: trained networks make step after step beside the true solver."""

import html
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, HoverTool, Range1d, Span

from ..engine import Rollout
from ..problems import Problem
from ._fields_images import Compared, Images, as_sent, relative_error
from ._fields_lines import Lines
from ._fields_slices import Slices
from ._session import locked
from ._shown import Contender
from ._theme import (
    CONTROL,
    LOOKS,
    NEUTRAL_COLOR,
    Look,
    as_pane,
    card,
    fill,
    legend_html,
    make_figure,
    see_through,
    whole_decades,
)

BY_DIMENSIONS: dict[int, type[Lines] | type[Images] | type[Slices]] = {1: Lines, 2: Images, 3: Slices}

SECONDS_BETWEEN = 1.0
"""At least so long after a rollout the next is asked for, where training alone is what is new."""

SHARE = 0.1
"""The share of the time that rollouts may take while training goes on."""

ROOM = 2.0
"""The scale goes to so many times the largest value of the truth; what exceeds it is said to be off the scale."""

STEP_MILLISECONDS = 400

_ABOUT = (
    "What was trained makes one time step after another from the validation sample chosen above, beside the truth. "
    "Each step begins with the error of the one before."
)
_NOTHING_YET = "It appears here when training begins."
_COMPUTING = "Computing; the first rollout of a scenario is compiled, which takes some seconds."
_INVERSE = (
    "An inverse problem has no rollout: what is trained are the parameters above and no network that makes time steps."
)
_NONE = "This problem offers no rollout: it defines no <code>rollout</code> and <code>rollout_steps</code>."

RollOut = Callable[..., Future[Rollout]]
"""As `Engine.rollout`."""


class RolloutPlayer(pn.viewable.Viewer):
    """Asks for rollouts of the contenders while it is seen, and plays them step by step.

    **Arguments:**

    - `roll_out`: what computes a rollout in the background.

    **Attributes:**

    - `player`: the widget whose value is the step shown.
    """

    def __init__(self, roll_out: RollOut):
        super().__init__()
        self._roll_out = roll_out
        self._contenders: dict[str, Contender] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._asked: dict[str, tuple[tuple[int, int], Future[Rollout]]] = {}
        self._known: dict[str, tuple[int, int]] = {}
        self._chosen: tuple[int | None, int] | None = None
        self._component: int | None = None
        self._due = 0.0  # when what training alone has changed is asked for
        self._kind: Any = None
        self._fields: Lines | Images | Slices | None = None
        self.player = pmui.Player(
            label="Rollout step",
            start=0,
            end=20,
            value=0,
            interval=STEP_MILLISECONDS,
            loop_policy="once",
            show_loop_controls=False,
            show_value=True,
            visible_buttons=["first", "previous", "pause", "play", "next", "last"],
            sx={"& .MuiIconButton-root:not(.MuiIconButton-colorPrimary)": {"color": "text.secondary"}},
            **CONTROL,
        )
        self.player.param.watch(lambda _: locked(self._draw), "value")
        self._status = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 12))
        self._told = pn.pane.HTML(sizing_mode="stretch_width", margin=(0, 12))
        self._curve = _Curve()
        self._body = pn.Column(sizing_mode="stretch_width", margin=0)
        self._played = pn.Column(
            self.player, self._body, self._curve.view, self._told, sizing_mode="stretch_width", margin=0, visible=False
        )
        heading, self._about = (
            pn.pane.HTML(words, sizing_mode="stretch_width", margin=(0, 12))
            for words in (
                '<h3 style="font-size:15px;margin:6px 0 2px">Rollout player</h3>',
                f'<p style="font-size:13px;margin:0;opacity:.85">{_ABOUT}</p>',
            )
        )
        self._layout = card(heading, self._about, self._status, self._played)
        self.look_at(())

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, contenders: Sequence[Contender]) -> None:
        """Show the rollouts of others."""
        same = [each.run.id for each in contenders] == [each.run.id for each in self._contenders.values()]
        self._contenders = {each.label: each for each in contenders}
        if contenders and same:  # at another epoch
            return
        for _, future in self._asked.values():
            future.cancel()
        self._rollouts, self._asked, self._known, self._chosen = {}, {}, {}, None
        self._due = time.monotonic() + SECONDS_BETWEEN  # the fields are drawn first
        problem = self._problem
        self._played.visible = False
        self._about.visible = problem is None or bool(problem.rollout_steps)
        self._curve.restart({label: each.look for label, each in self._contenders.items()})
        if problem is None:
            self._say(_NOTHING_YET)
        elif problem.rollout_steps:
            self._say(_NOTHING_YET)
            self.player.param.update(value=0, direction=0, end=problem.rollout_steps)
        else:
            self._say(_INVERSE if problem.reference_parameters else _NONE)

    def update(self, epoch: int | None, sample: int, component: int | None) -> None:
        """Show what was computed since, and ask for what is new.

        **Arguments:**

        - `epoch`: of training; None for the newest. `sample`: of the validation data, from 0.
        - `component`: which of a field's components to show; None where it has none.
        """
        problem = self._problem
        if problem is None or not problem.rollout_steps:
            return
        arrived = bool(self._asked) and all(future.done() for _, future in self._asked.values())
        if arrived:
            self._take()
        if arrived or component != self._component:
            self._component = component
            self._curve.restart({label: each.look for label, each in self._contenders.items()})
            self._draw()
        self._ask(epoch, sample)

    @property
    def _problem(self) -> Problem | None:
        return next((each.run.settings.problem for each in self._contenders.values()), None)

    def _ask(self, epoch: int | None, sample: int) -> None:
        waits = self._chosen in (None, (epoch, sample)) and time.monotonic() < self._due
        if self._asked or waits:
            return
        self._chosen = epoch, sample
        for label, contender in self._contenders.items():
            run = contender.run
            wanted = sample, run.epoch if epoch is None else min(epoch, run.epoch)
            if len(run.log) and self._known.get(label) != wanted:
                self._asked[label] = wanted, self._roll_out(run, epoch=epoch, sample=sample)
        if self._asked and not self._rollouts:
            self._say(_COMPUTING)

    def _take(self) -> None:
        """Keep what was computed."""
        seconds, refused = 0.0, ""
        for label, (wanted, future) in self._asked.items():
            self._known[label] = wanted
            if (error := future.exception()) is not None:
                refused = f"The rollout could not be computed. {html.escape(str(error))}"
                continue
            rollout = self._rollouts[label] = future.result()
            self._known[label] = wanted[0], max(wanted[1], rollout.epoch)
            seconds += rollout.seconds
        self._asked = {}
        self._due = time.monotonic() + max(SECONDS_BETWEEN, seconds / SHARE)
        self._say(refused)
        self._played.visible = bool(self._rollouts)

    def _say(self, words: str) -> None:
        self._status.object = f'<p style="font-size:13px;margin:0">{words}</p>'
        self._status.visible = bool(words)

    def _draw(self) -> None:
        """Show the step of the player."""
        problem = self._problem
        if not self._rollouts or problem is None:
            return
        states = {label: self._states(rollout) for label, rollout in self._rollouts.items()}
        names = tuple(next(iter(states.values())))
        compared = names[-2], names[-1]
        self._lay_out(problem, states, names, compared)
        if self._fields is None:
            return
        step = self.player.value
        with pn.io.hold():
            words = problem.components[self._component] if self._component is not None else ""
            # The truth at all steps, so that the scale stays where it is; but a start that is far larger would leave
            # the rest pale. What runs away may not hide the others.
            truths = [truth for fields in states.values() for truth in fields[names[-1]][min(step, 1) :]]
            limit = ROOM * max(float(np.abs(truth).max(where=np.isfinite(truth), initial=0)) for truth in truths)
            self._fields.restart(f"{words} ({problem.quantity})" if words else problem.quantity, limit or math.inf)
            shown = {label: {name: each[step] for name, each in fields.items()} for label, fields in states.items()}
            self._fields.widen([*truths, *(field for fields in shown.values() for field in fields.values())])
            errors = {}
            for label, fields in shown.items():
                rollout = self._rollouts[label]
                words = f"{label} of epoch {rollout.epoch}, step {step} of {rollout.steps}"
                if any((np.abs(field) > limit).any() for field in fields.values()) and limit:
                    words += ", off scale"
                self._fields.show(label, words, fields)
                errors[label] = relative_error(fields[names[-2]], fields[names[-1]])
            self._curve.show(states, step)
            self._tell(errors, step, compared)

    def _states(self, rollout: Rollout) -> dict[str, np.ndarray]:
        """The component shown of each field, by step."""
        if self._component is None:
            return dict(rollout.fields)
        return {name: field[:, self._component] for name, field in rollout.fields.items()}

    def _lay_out(
        self,
        problem: Problem,
        states: Mapping[str, Mapping[str, np.ndarray]],
        names: tuple[str, ...],
        compared: Compared,
    ) -> None:
        """Make the figures for other contenders or another kind of problem."""
        looks = {label: each.look for label, each in self._contenders.items()}
        points = problem.points()
        dimensions = next(iter(next(iter(states.values())).values())).ndim - 1
        kind = (list(looks.items()), names, points.tolist(), dimensions)
        if kind != self._kind:
            self._kind = kind
            self._fields = BY_DIMENSIONS[dimensions](looks, names, points, compared)
            fill(self._body, self._fields.view)

    def _tell(self, errors: Mapping[str, float], step: int, compared: tuple[str, str]) -> None:
        sample = next(iter(self._rollouts.values())).sample + 1
        by_label = ", ".join(f"{number(error)} for {html.escape(label)}" for label, error in errors.items())
        self._told.object = quiet(
            f"Validation sample {sample} after {step} of {self.player.end} rollout steps: the relative error "
            f"‖{compared[0]} − {compared[1]}‖ / ‖{compared[1]}‖ is {by_label}."
        )


class _Curve:
    """The relative error by rollout step: faint as a whole, and full up to the step shown.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(self):
        self._steps, self._errors = Range1d(start=0, end=20), Range1d(start=0.01, end=1)
        plot = make_figure(
            "Relative error by rollout step", "rollout step", "relative error", y_axis_type="log",
            x_range=self._steps, y_range=self._errors, height=240,
        )  # fmt: skip
        self._at = Span(location=0, dimension="height", line_color=NEUTRAL_COLOR, line_width=1.5)
        plot.add_layout(self._at)
        self._before, self._whole, self._reached = (
            [ColumnDataSource(_rows("", ())) for _ in range(count)] for count in (1, len(LOOKS), len(LOOKS))
        )
        lines: list[Any] = [
            plot.line("step", "error", source=self._before[0], color=NEUTRAL_COLOR, line_dash="dotted", line_width=2)
        ]
        for look, whole, reached in reversed(list(zip(LOOKS, self._whole, self._reached, strict=True))):
            style: dict[str, Any] = {"color": look.color, "line_dash": look.dash}
            lines.append(plot.line("step", "error", source=whole, line_width=1.5, alpha=0.35, **style))
            plot.line("step", "error", source=reached, line_width=2.5, **style)
            plot.scatter("step", "error", source=reached, color=look.color, marker=look.marker, size=6)
        plot.add_tools(
            HoverTool(
                renderers=lines,
                tooltips=[("", "@what"), ("rollout step", "@step"), ("relative error", "@error{%.3g}")],
                formatters={"@error": "printf"},
            )
        )
        self._legend = pn.pane.HTML(sizing_mode="stretch_width", margin=0)
        self._looks: Mapping[str, Look] = {}
        self.view = pn.Column(as_pane(see_through(plot)), self._legend, sizing_mode="stretch_width", margin=0)

    def restart(self, looks: Mapping[str, Look]) -> None:
        """Let what is shown next take the place of all that is shown."""
        self._looks, self._known = looks, {}

    def show(self, states: Mapping[str, Mapping[str, np.ndarray]], step: int) -> None:
        """Show the errors of the contenders, with those up to a step in full."""
        self._at.location = step
        if not self._known:
            self._measure(states)
        for label, errors in self._known.items():
            self._of(label, self._reached).data = _rows(label, errors[: step + 1])

    def _of(self, label: str, sources: Sequence[ColumnDataSource]) -> ColumnDataSource:
        return sources[LOOKS.index(self._looks[label])]

    def _measure(self, states: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        before: dict[str, list[float]] = {}
        shown = [self._of(label, sources) for label in states for sources in (self._whole, self._reached)]
        for source in (*self._before, *self._whole, *self._reached):
            if source not in shown and len(source.data["step"]):
                source.data = _rows("", ())
        for label, fields in states.items():
            *others, made, truth = fields.values()
            self._known[label] = _errors(made, truth)
            self._of(label, self._whole).data = _rows(label, self._known[label])
            if others:
                before = {next(iter(fields)): _errors(others[0], truth)}
        entries = [(self._looks[label].dash, self._looks[label].color, label) for label in self._known]
        for name, errors in before.items():
            self._before[0].data = _rows(name, errors)
            entries.append(("dotted", NEUTRAL_COLOR, name))
        self._legend.object = legend_html(*entries)
        curves = [*self._known.values(), *before.values()]
        positive = [error for errors in curves for error in errors if error > 0]
        if positive:
            start, end = whole_decades(min(positive), max(positive))
            self._errors.update(start=start, end=end, reset_start=start, reset_end=end)
        steps = max(len(errors) for errors in curves) - 1
        self._steps.update(start=0, end=steps, reset_start=0, reset_end=steps)


def _errors(made: np.ndarray, truth: np.ndarray) -> list[float]:
    """The relative error by step. At the start there is none, which a logarithmic axis cannot show."""
    errors = [relative_error(*states) for states in zip(made, truth, strict=True)]
    return [error if error > 0 else math.nan for error in errors]


def _rows(what: str, errors: Sequence[float]) -> dict[str, Any]:
    steps = np.arange(len(errors), dtype=float)
    return {"step": steps, "error": as_sent(np.array(errors)), "what": [what] * len(errors)}


def number(value: float) -> str:
    """A number for a sentence."""
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else "not a number"


def quiet(words: str) -> str:
    """A sentence that says in words what a figure shows."""
    return f'<p style="font-size:12.5px;margin:4px 0;opacity:.85">{words}</p>'
