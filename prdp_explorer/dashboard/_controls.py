"""What a person sets: the drawer's widgets, their checks, and the values they stand for."""

import html
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..engine import LIMITS, LoopSettings, RunSettings, not_offered, settings_for, unsuited_combination
from ..problems import Problem, problem_named, scenario_named
from ..refinement import PRDP, Constant, Limits, TolerancePRDP, values_of
from ._cards import ScenarioCards
from ._further import MOST, Further
from ._loop_controls import LoopControls
from ._number_field import NumberField, heading, make_slider
from ._session import notify
from ._theme import FULL_LABEL, LOOKS, PRDP_LABEL

REFINES = {"iterations K": "prdp", "tolerance": "prdp-tolerance"}
"""What PRDP may refine, for people, and the kind of controller that does so."""

MODES = {
    "implicit": "solves the transposed system with as many iterations",
    "unrolled": "goes back through all K iterations",
    "exact-adjoint": "solves the transposed system to rounding",
    "truncated": "goes back through the last 5 iterations",
    "one-step": "goes back through the last iteration",
    "detached": "lets no gradient through the physics",
}
"""What each differentiation mode does, in a few words."""


class Controls(pn.viewable.Viewer):
    """The settings of a race, as widgets and as values.

    **Arguments:**

    - `on_live_edit`: called with the places of contenders and the changes to make, when a value that acts on a race
      under way was edited; may raise `ValueError`.
    """

    def __init__(self, on_live_edit: Callable[[Sequence[int], dict[str, Any]], None]):
        super().__init__()
        self._on_live_edit = on_live_edit
        self.scenario = ScenarioCards(sizing_mode="stretch_width", margin=(7, 10))
        self.preset = pmui.RadioButtonGroup(label="Preset", **_WIDE)
        self._showing = False
        self._unseen: dict[str, Any] = {}  # values of PRDP that no widget shows
        self.solver = pmui.Select(label="Inner solver", description="Solves the physics' linear system.", **_WIDE)
        self.differentiation = pmui.Select(
            label="Differentiation mode",
            description="How the gradient passes the inner solver. During a race the new step is compiled in the "
            "background and then takes over.",
            **_WIDE,
        )
        self._mode_note, self._solver_note = _note(), _note()
        self.refines = pmui.RadioButtonGroup(label="What to refine", options=REFINES, value="prdp", **_WIDE)
        self._fields = {
            **{
                name: self._field(name, label, PRDP.limits[name], _PRDP, slider=make_slider(label, 0.5, 1.0, 0.005))
                for name, label in (("tau_step", "τ_step: plateau"), ("tau_stop", "τ_stop: worth it"))
            },
            "window": self._field("window", "Window δ", PRDP.limits["window"], _PRDP),
            "ema_window": self._field("ema_window", "Smoothing w", PRDP.limits["ema_window"], _PRDP),
            "initial": self._field("initial", "First K", PRDP.limits["initial"]),
            "step": self._field("step", "K added", PRDP.limits["step"], _PRDP),
            "maximum": self._field("maximum", "Largest K", PRDP.limits["maximum"], _PRDP),
            **{
                name: self._field(name, label, TolerancePRDP.limits[name], *edited)
                for name, label, *edited in (
                    ("rtol_initial", "First tolerance"),
                    ("rtol_factor", "Multiplied by", _PRDP),
                    ("rtol_floor", "Smallest tolerance", _PRDP),
                )
            },
            "full_iterations": self._field("iterations", "K of full physics", Constant.limits["iterations"], _FULL),
            "epochs": self._field("epochs", "Epochs", LIMITS["epochs"]),
            "seed": self._field("seed", "Seed", LIMITS["seed"]),
            "learning_rate": self._field("learning_rate", "Learning rate", LIMITS["learning_rate"], _ALL),
        }
        self._locked_in_race = [self._fields[name] for name in ("initial", "rtol_initial", "epochs")]
        self.reuse = pmui.Switch(
            label="Reuse a kept full-physics run",
            value=True,
            margin=(4, 12),
            description="Full physics with equal settings is played from the store rather than trained again; edited "
            "during the race, it is trained from there on.",
        )
        self.further = Further(lambda: self._usual_settings()[PRDP_LABEL])
        view = {name: field.view for name, field in self._fields.items()}
        self._counted = _pair(view["initial"], view["step"])
        self._by_tolerance = pmui.Column(
            view["rtol_initial"], _pair(view["rtol_factor"], view["rtol_floor"]), visible=False, margin=0,
            sizing_mode="stretch_width",
        )  # fmt: skip
        self._show_scenario()
        self.scenario.param.watch(lambda _: self._show_scenario(), "value")
        self.preset.param.watch(lambda _: self._show_preset(), "value")
        self.solver.param.watch(lambda _: self._show_solver(), "value")
        self.differentiation.param.watch(lambda event: self._switch(event.old, event.new), "value")
        self.refines.param.watch(lambda _: self._show_refinement(), "value")
        self.loop = LoopControls(on_live_edit)
        # What decides a race and not a loop of a person's own, from the top and from the bottom.
        self._of_race = [
            pn.Column(*parts, sizing_mode="stretch_width", margin=0)
            for parts in (
                (
                    heading("Scenario"),
                    self.scenario,
                    self.preset,
                    self.solver,
                    self._solver_note,
                    self.differentiation,
                    self._mode_note,
                ),
                (
                    heading(
                        "Further contenders",
                        f"Up to {MOST} more with the same data and start: add one, then change the settings above.",
                    ),
                    self.further,
                    heading("Training"),
                    _pair(view["epochs"], view["seed"]),
                    view["learning_rate"],
                    self.reuse,
                ),
            )
        ]
        above, below = self._of_race
        self._layout = pmui.Column(
            above,
            self.loop,
            heading("When to refine", "These act at once, also during a race."),
            view["tau_step"],
            view["tau_stop"],
            _pair(view["window"], view["ema_window"]),
            heading("How much physics", "What a refinement changes, and its bounds; K counts inner iterations."),
            self.refines,
            self._counted,
            self._by_tolerance,
            _pair(view["maximum"], view["full_iterations"]),
            below,
            sizing_mode="stretch_width",
        )

    def __panel__(self) -> pmui.Column:
        return self._layout

    @property
    def problem(self) -> Problem:
        """The problem chosen."""
        return problem_named(self.scenario.value, self.preset.value)

    @property
    def epochs(self) -> int:
        """The epochs chosen."""
        return int(self._fields["epochs"].value)

    def contenders(self) -> dict[str, dict[str, Any]]:
        """The controllers of the race by label, as plain data."""
        kind = self.refines.value
        limits = PRDP.limits if kind == "prdp" else TolerancePRDP.limits
        values = {name: self._fields[name].value for name in limits if name in self._fields}
        return {
            PRDP_LABEL: {"kind": kind, **values, **(self._unseen if kind == "prdp" else {})},
            FULL_LABEL: {"kind": "constant", "iterations": self._fields["full_iterations"].value},
        }

    def choices(self) -> dict[str, Any]:
        """What the contenders have in common, as `Engine.race` takes it."""
        return {
            "preset": self.preset.value,
            "solver": self.solver.value,
            "differentiation": self.differentiation.value,
            **{name: self._fields[name].value for name in ("seed", "epochs", "learning_rate")},
        }

    def settings(self) -> dict[str, RunSettings]:
        """The settings of all contenders by label.

        **Raises:** `ValueError` in words for what does not go together.
        """
        return {**self._usual_settings(), **self.further.settings(self.scenario.value, self.choices())}

    def _usual_settings(self) -> dict[str, RunSettings]:
        """Those of PRDP and full physics."""
        choices = self.choices()
        return {
            label: settings_for(self.scenario.value, controller, **choices)
            for label, controller in self.contenders().items()
        }

    def held(self) -> tuple[Any, ...]:
        """Everything that `settings` depends on, to be compared: it costs nothing to have."""
        return self.scenario.value, self.contenders(), self.choices(), list(self.further.contenders.items())

    def lock(self, locked: bool) -> None:
        """Lock what cannot change during a race, or unlock it."""
        self.further.lock(locked)
        for widget in (self.scenario, self.preset, self.solver, self.refines):
            widget.disabled = locked
        for field in self._locked_in_race:
            field.lock(locked)
        self._fields["seed"].lock(locked or self.problem.deterministic)

    def copy_from(
        self,
        prdp: RunSettings | None,
        full: RunSettings | None,
        others: Mapping[str, RunSettings] = MappingProxyType({}),
    ) -> None:
        """Show the settings of runs that were started elsewhere, one of the first two at least."""
        settings = prdp or full
        if settings is None:
            return
        self.scenario.deal()
        self.scenario.value = settings.scenario
        self.preset.value = settings.preset
        self.solver.value = settings.solver
        self._show_differentiation(settings.differentiation)
        for name in ("seed", "epochs", "learning_rate"):
            self._fields[name].show(getattr(settings, name))
        for each in (prdp, full):
            if each is not None:
                self._show_values(each)
        self.further.show_contenders(others)

    def show_loop(self, settings: LoopSettings | None) -> None:
        """Show the controller and the controls of a loop of a person's own in the place of what decides a race; None
        goes back.
        """
        self.loop.look_at(settings)
        for part in (*self._of_race, self.refines):
            part.visible = settings is None
        full = self._fields["full_iterations"]
        full.lock(
            settings is not None and settings.refinement["kind"] != "constant"
        )  # what a loop is compared with was
        if settings is not None:
            full.show(settings.problem.full_iterations)
            self._show_values(settings)

    def _show_values(self, settings: RunSettings) -> None:
        """Show the values of a controller; a constant K is that of full physics."""
        kind = settings.refinement["kind"]
        if kind == "constant":
            self._fields["full_iterations"].show(settings.largest_iterations)
        if kind not in REFINES.values():
            return
        self.refines.value = kind
        for name, value in settings.values.items():
            if name in self._fields:
                self._fields[name].show(value)
            else:
                self._unseen[name] = value

    def follow(self, settings: RunSettings) -> None:
        """Show what a run under way has by now that may have been changed elsewhere: by another page, or by code."""
        if isinstance(settings, LoopSettings):
            self.loop.follow(settings)
            return
        if settings.differentiation != self.differentiation.value:
            self._show_differentiation(settings.differentiation)

    def _field(
        self, name: str, label: str, limits: Limits, places: Sequence[int] = (), *, slider: Any = None
    ) -> NumberField:
        def edit(value: float) -> None:
            if places:
                self._on_live_edit(places, {name: value})

        return NumberField(name, label, limits, edit, slider=slider)

    def _show_scenario(self) -> None:
        presets = list(scenario_named(self.scenario.value).presets)
        self.preset.param.update(options=presets, value=presets[0], visible=len(presets) > 1)
        self._show_preset()

    def _show_preset(self) -> None:
        """Fill in what the preset says."""
        problem = self.problem
        self.further.show_contenders({})
        self.solver.param.update(options=list(problem.solvers), value=problem.solvers[0])
        self._show_solver(problem.differentiations[0])
        reasons = {names[0]: reason for names, reason in not_offered(problem).items() if len(names) == 1}
        self._solver_note.object = _small(f"Not offered: {', '.join(reasons)}", [f"{why}." for why in reasons.values()])
        values = {**values_of(TolerancePRDP(maximum=problem.full_iterations)), **values_of(problem.controller)}
        for name, value in values.items():
            if name in self._fields:
                self._fields[name].show(value)
            else:
                self._unseen[name] = value
        self._fields["seed"].lock(problem.deterministic)
        self._fields["full_iterations"].show(problem.full_iterations)
        self._fields["epochs"].show(problem.epochs)
        self._fields["learning_rate"].show(problem.learning_rate)
        if self._fields["seed"].value == LIMITS["seed"].maximum:
            self._fields["seed"].show(0)

    def _show_solver(self, mode: str | None = None) -> None:
        """Offer the differentiation modes that go with the solver, and show one: this, or if it can be, the last."""
        problem, solver = self.problem, self.solver.value
        modes = [name for name in problem.differentiations if not unsuited_combination(problem, solver, name)]
        mode = mode or self.differentiation.value
        self._show_differentiation(mode if mode in modes else modes[0], modes)

    def _show_differentiation(self, mode: str, offered: list[str] | None = None) -> None:
        """Show a mode; this is no edit."""
        self._showing = True
        try:
            self.differentiation.param.update(options=offered or self.differentiation.options, value=mode)
            self._mode_note.object = _small(f"{mode} {MODES[mode]}.")
        finally:
            self._showing = False

    def _switch(self, old: str, new: str) -> None:
        """A person chose another differentiation mode: a race under way goes on with it."""
        if self._showing:
            return
        try:
            self._on_live_edit((*_PRDP, *_FULL), {"differentiation": new})
        except ValueError as error:
            notify(str(error))
            new = old
        self._show_differentiation(new)

    def _show_refinement(self) -> None:
        by_tolerance = self.refines.value != "prdp"
        self._counted.visible, self._by_tolerance.visible = not by_tolerance, by_tolerance


# The places of the contenders that an edit acts on during a race.
_PRDP, _FULL, _ALL = (0,), (1,), tuple(range(len(LOOKS)))

_WIDE: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (7, 10)}


def _note() -> pn.pane.HTML:
    return pn.pane.HTML(sizing_mode="stretch_width", margin=(0, 12))


def _small(text: str, more: Sequence[str] | None = None) -> str:
    """A note; with `more`, that to unfold, or nothing at all where there is no more."""
    if more is None:
        return f'<span style="font-size:12px;opacity:.75">{html.escape(text)}</span>'
    if not more:
        return ""
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in more)
    return f'<details style="font-size:12px;opacity:.75"><summary>{html.escape(text)}. Why?</summary>{lines}</details>'


def _pair(left: Any, right: Any) -> pmui.Row:
    return pmui.Row(left, right, sizing_mode="stretch_width", margin=0)
