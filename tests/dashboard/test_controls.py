"""What a person enters, and what it stands for."""

import html
import random
import re

import pytest
from dashboard_helpers import made_up_race
from panel.util import edit_readonly

from prdp_explorer import PRDP, Constant
from prdp_explorer.dashboard._cards import ScenarioCards
from prdp_explorer.dashboard._controls import FULL_LABEL, MODES, PRDP_LABEL, REFINES, Controls
from prdp_explorer.dashboard._number_field import NumberField, make_slider
from prdp_explorer.engine import LIMITS, RunSettings, settings_for, unsuited_combination
from prdp_explorer.problems import SCENARIOS
from prdp_explorer.refinement import KINDS, TolerancePRDP, values_of
from prdp_explorer.solvers import DIFFERENTIATIONS, SOLVERS


class Edits(list):
    """Takes edits, or refuses them."""

    refusal = ""

    def __call__(self, *edit) -> None:
        if self.refusal:
            raise ValueError(self.refusal)
        self.append(edit)


@pytest.fixture
def edits() -> Edits:
    return Edits()


@pytest.fixture
def controls(edits: Edits) -> Controls:
    """Of heat in 1D."""
    controls = Controls(edits)
    controls.scenario.value = "heat-1d"
    assert edits == []
    return controls


@pytest.fixture
def shown(controls: Controls) -> Controls:
    """On a page: only there a choice replaces a value that is none of its options any more."""
    controls.__panel__().get_root()
    return controls


def settings_of(controls: Controls) -> dict[str, RunSettings]:
    """What pressing Start would run."""
    return {
        label: settings_for(controls.scenario.value, controller, **controls.choices())
        for label, controller in controls.contenders().items()
    }


def words(pane) -> str:
    """What a person reads in a note."""
    return html.unescape(re.sub("<[^>]*>", "", pane.object))


def threshold(edits: Edits) -> NumberField:
    slider = make_slider("τ_step: plateau", 0.5, 1.0, 0.005)
    field = NumberField("tau_step", "τ_step: plateau", PRDP.limits["tau_step"], edits, slider=slider)
    field.show(0.98)
    return field


class TestNumberField:
    @pytest.mark.parametrize("bad", ["abc", "7", "-1", "0", "nan", "inf", "", " ", "0,9", "1e999", "True", "9" * 5000])
    def test_it_refuses_and_reverts(self, edits: Edits, told: list[str], bad: str):
        field = threshold(edits)
        field._text.value = bad
        assert len(told) == 1
        assert "`tau_step` must be a number above 0 and at most 1" in told[0]
        assert (field.value, field._text.value, field._slider.value) == (0.98, "0.98", 0.98)
        assert edits == []

    @pytest.mark.parametrize("bad", ["1.5", "-1", "x", "", "1e99", str(2**32), str(2**70)])
    def test_whole_numbers_are_checked_too(self, edits: Edits, told: list[str], bad: str):
        field = NumberField("seed", "Seed", LIMITS["seed"], edits)
        field.show(3)
        field._text.value = bad
        assert len(told) == 1
        assert "`seed` must be a whole number from 0 to 4,294,967,295" in told[0]
        assert (field.value, field._text.value) == (3, "3")

    @pytest.mark.parametrize(("entered", "value"), [("0.5", 0.5), (" .25 ", 0.25), ("1", 1.0), ("1e-3", 1e-3)])
    def test_it_takes_numbers(self, edits: Edits, told: list[str], entered: str, value: float):
        field = threshold(edits)
        field._text.value = entered
        assert (edits, told) == ([(value,)], [])
        assert (field.value, field._slider.value) == (value, value)
        assert field._slider.start <= value

    def test_whole_numbers_stay_whole(self, edits: Edits, told: list[str]):
        field = NumberField("epochs", "Epochs", LIMITS["epochs"], edits)
        field.show(100)
        field._text.value = "1e3"
        assert (field.value, field._text.value, told) == (1000, "1000", [])
        assert isinstance(field.value, int)

    def test_the_slider_edits_when_it_is_let_go(self, edits: Edits, told: list[str]):
        field = threshold(edits)
        field._slider.value = 0.75  # while it is dragged
        assert edits == []
        with edit_readonly(field._slider):
            field._slider.value_throttled = 0.7
        assert (edits, told) == ([(0.7,)], [])
        assert (field.value, field._text.value) == (0.7, "0.7")

    def test_what_the_run_refuses_is_reverted(self, edits: Edits, told: list[str]):
        edits.refusal = "no room"
        field = threshold(edits)
        field._text.value = "0.5"
        assert told == ["no room"]
        assert (field.value, field._text.value, field._slider.value) == (0.98, "0.98", 0.98)

    def test_showing_is_no_edit(self, edits: Edits, told: list[str]):
        field = threshold(edits)
        field.show(0.25)
        field.show(0.25)
        assert (edits, told) == ([], [])
        assert (field.value, field._text.value, field._slider.value) == (0.25, "0.25", 0.25)

    def test_what_is_shown_is_the_value(self, edits: Edits):
        field = threshold(edits)
        field._text.value = "0.98765432"
        assert float(field._text.value) == field.value

    def test_it_can_be_locked(self, edits: Edits):
        field = threshold(edits)
        field.lock(True)
        assert field._text.disabled
        assert field._slider.disabled
        field.lock(False)
        assert not field._text.disabled


class TestControls:
    def test_the_start_is_the_presets_own(self, controls: Controls):
        problem = SCENARIOS["heat-1d"].presets["live"]
        contenders = controls.contenders()
        values = values_of(problem.controller)
        assert contenders[PRDP_LABEL] == {"kind": "prdp", **values}
        assert contenders[FULL_LABEL] == {"kind": "constant", "iterations": problem.full_iterations}
        assert controls.choices() == {
            "preset": "live",
            "solver": problem.solvers[0],
            "differentiation": problem.differentiations[0],
            "seed": 0,
            "epochs": problem.epochs,
            "learning_rate": problem.learning_rate,
        }

    def test_values_reach_the_settings_and_come_back(self, controls: Controls, told: list[str]):
        entered = {
            "tau_step": "0.9",
            "tau_stop": "0.8",
            "window": "5",
            "ema_window": "2",
            "initial": "2",
            "step": "3",
            "maximum": "40",
            "full_iterations": "50",
            "epochs": "7",
            "seed": "4294967295",
            "learning_rate": "0.01",
        }
        for name, text in entered.items():
            controls._fields[name]._text.value = text
        controls.differentiation.value = "unrolled"
        assert told == []
        settings = settings_of(controls)
        prdp, full = settings[PRDP_LABEL], settings[FULL_LABEL]
        for name in ("tau_step", "tau_stop", "window", "ema_window", "initial", "step", "maximum"):
            assert prdp.values[name] == float(entered[name])
        assert full.values == {"iterations": 50}
        for each in (prdp, full):
            assert (each.epochs, each.seed, each.learning_rate) == (7, 4294967295, 0.01)
            assert each.differentiation == "unrolled"

        other = Controls(Edits())
        other.copy_from(settings[PRDP_LABEL], settings[FULL_LABEL])
        assert other.contenders() == controls.contenders()
        assert other.choices() == controls.choices()

    def test_showing_a_race_is_no_edit(self, controls: Controls, edits: Edits):
        race = made_up_race(seed=3, epochs=5, preset="paper")
        controls.copy_from(race.runs[PRDP_LABEL].settings, race.runs[FULL_LABEL].settings)
        assert edits == []
        assert (controls.preset.value, controls.epochs) == ("paper", 5)

    def test_edits_go_to_the_contenders_that_they_concern(self, controls: Controls, edits: Edits):
        for name, text in (
            ("tau_step", "0.9"),
            ("maximum", "30"),
            ("full_iterations", "20"),
            ("learning_rate", "0.01"),
            ("epochs", "3"),
            ("rtol_factor", "0.25"),
            ("rtol_floor", "0.01"),
            ("rtol_initial", "0.2"),
        ):
            controls._fields[name]._text.value = text
        assert edits == [
            ((0,), {"tau_step": 0.9}),
            ((0,), {"maximum": 30}),
            ((1,), {"iterations": 20}),
            ((0, 1, 2, 3, 4), {"learning_rate": 0.01}),
            ((0,), {"rtol_factor": 0.25}),
            ((0,), {"rtol_floor": 0.01}),
        ]

    def test_a_preset_brings_its_values_but_keeps_the_seed(self, controls: Controls):
        controls._fields["seed"]._text.value = "5"
        controls._fields["tau_step"]._text.value = "0.5"
        controls.preset.value = "paper"
        assert controls.choices()["seed"] == 5
        assert controls.contenders()[PRDP_LABEL]["tau_step"] == 0.98

    def test_what_cannot_change_in_a_race_is_locked(self, controls: Controls):
        controls.lock(True)
        fixed = (controls.scenario, controls.preset, controls.solver, controls.refines)
        assert all(widget.disabled for widget in fixed)
        assert not controls.differentiation.disabled
        locked = {name for name, field in controls._fields.items() if field._text.disabled}
        assert locked == {"initial", "rtol_initial", "epochs", "seed"}
        controls.lock(False)
        assert not any(widget.disabled for widget in fixed)
        assert not any(field._text.disabled for field in controls._fields.values())

    def test_the_defaults_are_full_physics(self, controls: Controls):
        settings = settings_for("heat-1d", Constant())
        assert settings_for("heat-1d", controls.contenders()[FULL_LABEL], **controls.choices()) == settings


class TestScenarios:
    @pytest.mark.parametrize("preset", ["live", "paper"])
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_a_preset_brings_everything_of_its_own(self, controls: Controls, edits: Edits, scenario, preset):
        controls.solver.value = "cg"
        controls.differentiation.value = "detached"
        edits.clear()
        for entered in ("tau_step", "rtol_floor", "learning_rate"):
            controls._fields[entered].show(0.123)
        controls.scenario.value = scenario if scenario != "heat-1d" else "heat-3d"
        controls.scenario.value = scenario
        controls.preset.value = preset
        problem = SCENARIOS[scenario].presets[preset]
        assert controls.problem is problem
        settings = settings_of(controls)
        assert settings[PRDP_LABEL] == settings_for(scenario, preset=preset)
        assert settings[FULL_LABEL] == settings_for(scenario, Constant(), preset=preset)
        controls.refines.value = "prdp-tolerance"
        assert settings_of(controls)[PRDP_LABEL] == settings_for(scenario, {"kind": "prdp-tolerance"}, preset=preset)
        assert edits == []

    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_is_chosen_in_whatever_order_is_consistent(self, shown: Controls, edits: Edits, told, seed):
        controls, choose = shown, random.Random(seed)
        for _ in range(40):
            widget = choose.choice(
                [controls.scenario, controls.preset, controls.solver, controls.differentiation, controls.refines]
            )
            widget.value = choose.choice(list(SCENARIOS if isinstance(widget, ScenarioCards) else widget.values))
            if widget is not controls.differentiation:
                assert edits == []
            edits.clear()
            problem = SCENARIOS[controls.scenario.value].presets[controls.preset.value]
            assert controls.problem is problem
            assert controls.solver.options == list(problem.solvers)
            for settings in settings_of(controls).values():
                assert (settings.problem, settings.solver) == (problem, controls.solver.value)
                assert settings.differentiation == controls.differentiation.value
            assert words(controls._mode_note).startswith(f"{controls.differentiation.value} ")
            assert controls._fields["seed"]._text.disabled is problem.deterministic
        assert told == []

    def test_the_seed_of_a_deterministic_scenario_is_locked(self, controls: Controls):
        seed = controls._fields["seed"]._text
        for scenario in ("poisson-1", "poisson-3"):
            controls.scenario.value = scenario
            assert seed.disabled
            controls.lock(True)
            controls.lock(False)  # as at the end of a race
            assert seed.disabled
        controls.scenario.value = "heat-3d"
        assert not seed.disabled
        controls.lock(True)
        assert seed.disabled
        controls.lock(False)
        assert not seed.disabled


class TestSolversAndModes:
    @pytest.mark.parametrize("solver", SCENARIOS["heat-1d"].presets["live"].solvers)
    def test_only_modes_that_go_with_the_solver_are_offered(self, shown: Controls, edits: Edits, solver):
        controls = shown
        controls.differentiation.value = "one-step"
        edits.clear()
        controls.solver.value = solver
        fitting = [mode for mode in DIFFERENTIATIONS if unsuited_combination(controls.problem, solver, mode) is None]
        assert set(controls.differentiation.options) == set(fitting)
        assert controls.differentiation.value == ("one-step" if "one-step" in fitting else "implicit")
        assert words(controls._mode_note).startswith(f"{controls.differentiation.value} ")
        assert edits == []

    def test_all_modes_come_back_with_a_solver_that_they_go_with(self, controls: Controls):
        controls.solver.value = "cg"
        assert set(DIFFERENTIATIONS) - set(controls.differentiation.options) == {"truncated", "one-step"}
        controls.solver.value = "jacobi"
        assert set(controls.differentiation.options) == set(DIFFERENTIATIONS)

    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_solvers_that_are_not_offered_are_named_with_their_reasons(self, controls: Controls, scenario):
        controls.scenario.value = scenario
        note, operator = words(controls._solver_note), controls.problem.operator_type
        assert operator is not None
        missing = [kind.__name__ for name, kind in SOLVERS.items() if name not in controls.solver.options]
        assert bool(note) is bool(missing)
        for name in missing:
            assert re.search(rf"\b{name} needs .+? which {operator.__name__} does not", note)
        for name in controls.solver.options:
            assert f"{SOLVERS[name].__name__} needs" not in note

    def test_every_mode_has_its_few_words(self, controls: Controls):
        assert set(MODES) == set(DIFFERENTIATIONS)
        assert len(set(MODES.values())) == len(MODES)
        for mode, meaning in MODES.items():
            controls.differentiation.value = mode
            assert words(controls._mode_note) == f"{mode} {meaning}."

    def test_another_mode_is_an_edit_of_both_contenders(self, controls: Controls, edits: Edits, told: list[str]):
        controls.lock(True)
        controls.differentiation.value = "unrolled"
        assert edits == [((0, 1), {"differentiation": "unrolled"})]
        assert controls.choices()["differentiation"] == "unrolled"
        assert told == []

    def test_a_mode_that_the_run_refuses_is_reverted_and_told(self, controls: Controls, edits: Edits, told: list[str]):
        edits.refusal = "no room for it"
        controls.differentiation.value = "unrolled"
        assert told == ["no room for it"]
        assert edits == []
        assert controls.differentiation.value == "implicit"
        assert words(controls._mode_note).startswith("implicit ")
        edits.refusal = ""
        controls.differentiation.value = "unrolled"  # a person may try again
        assert len(edits) == 1


class TestTolerance:
    def test_what_can_be_refined_are_kinds_of_controllers(self, controls: Controls):
        assert set(REFINES.values()) <= set(KINDS)
        assert set(controls.refines.values) == {"prdp", "prdp-tolerance"}
        assert controls.refines.value == "prdp"

    def test_its_fields_are_shown_instead_of_those_of_k(self, controls: Controls):
        assert (controls._counted.visible, controls._by_tolerance.visible) == (True, False)
        controls.refines.value = "prdp-tolerance"
        assert (controls._counted.visible, controls._by_tolerance.visible) == (False, True)
        shown = {field for field in controls._by_tolerance.select() if field in {f._text for f in fields(controls)}}
        assert shown == {controls._fields[name]._text for name in ("rtol_initial", "rtol_factor", "rtol_floor")}
        controls.refines.value = "prdp"
        assert (controls._counted.visible, controls._by_tolerance.visible) == (True, False)

    def test_values_reach_the_settings_and_come_back(self, controls: Controls, edits: Edits, told: list[str]):
        controls.refines.value = "prdp-tolerance"
        entered = {
            "tau_step": 0.9,
            "tau_stop": 0.8,
            "window": 5,
            "ema_window": 2,
            "rtol_initial": 0.5,
            "rtol_factor": 0.25,
            "rtol_floor": 0.001,
            "maximum": 40,
        }
        assert set(entered) == set(TolerancePRDP.limits)
        for name, value in entered.items():
            controls._fields[name]._text.value = str(value)
        settings = settings_of(controls)
        assert settings[PRDP_LABEL].refinement == {"kind": "prdp-tolerance", **entered}
        assert settings[FULL_LABEL].refinement == {"kind": "constant", "iterations": 25}
        assert told == []
        edits.clear()
        other = Controls(edits)
        other.copy_from(settings[PRDP_LABEL], settings[FULL_LABEL])
        assert other.contenders() == controls.contenders()
        assert (other._counted.visible, other._by_tolerance.visible) == (False, True)
        assert edits == []

    @pytest.mark.parametrize("bad", ["0", "1.5", "small", ""])
    @pytest.mark.parametrize("name", ["rtol_initial", "rtol_factor", "rtol_floor"])
    def test_bad_values_are_refused_by_name(self, controls: Controls, edits: Edits, told: list[str], name, bad):
        before = controls._fields[name].value
        controls._fields[name]._text.value = bad
        assert len(told) == 1
        assert f"`{name}` must be a number above 0 and at most 1" in told[0]
        assert (controls._fields[name].value, edits) == (before, [])


def fields(controls: Controls) -> list[NumberField]:
    return list(controls._fields.values())


def test_a_race_started_elsewhere_is_shown_with_its_solver_and_mode(edits: Edits):
    choices = {"solver": "cg", "differentiation": "exact-adjoint", "seed": 7, "preset": "paper"}
    settings = {
        PRDP_LABEL: settings_for("heat-3d", {"tau_step": 0.9}, **choices),
        FULL_LABEL: settings_for("heat-3d", Constant(20), **choices),
    }
    controls = Controls(edits)
    controls.__panel__().get_root()
    controls.copy_from(settings[PRDP_LABEL], settings[FULL_LABEL])
    assert settings_of(controls) == settings
    assert set(controls.differentiation.options) == set(DIFFERENTIATIONS) - {"truncated", "one-step"}
    assert edits == []
