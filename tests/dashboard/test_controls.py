"""What a person enters, and what it stands for."""

import pytest
from dashboard_helpers import made_up_race
from panel.util import edit_readonly

from prdp_explorer import PRDP, Constant, Race
from prdp_explorer.dashboard._controls import FULL_LABEL, PRDP_LABEL, Controls, NumberField
from prdp_explorer.engine import LIMITS, settings_for
from prdp_explorer.problems import SCENARIOS
from prdp_explorer.refinement import values_of


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
    return Controls(edits)


def threshold(edits: Edits) -> NumberField:
    field = NumberField("tau_step", "τ_step: plateau", PRDP.limits["tau_step"], edits, slider=True)
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
        assert contenders[PRDP_LABEL] == {"kind": "prdp", **values_of(problem.controller)}
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
        settings = {
            label: settings_for(controls.scenario.value, controller, **controls.choices())
            for label, controller in controls.contenders().items()
        }
        prdp, full = settings[PRDP_LABEL], settings[FULL_LABEL]
        for name in ("tau_step", "tau_stop", "window", "ema_window", "initial", "step", "maximum"):
            assert prdp.values[name] == float(entered[name])
        assert full.values == {"iterations": 50}
        for each in (prdp, full):
            assert (each.epochs, each.seed, each.learning_rate) == (7, 4294967295, 0.01)
            assert each.differentiation == "unrolled"

        other = Controls(Edits())
        other.copy_from(Race(settings, None, lambda: None))
        assert other.contenders() == controls.contenders()
        assert other.choices() == controls.choices()

    def test_showing_a_race_is_no_edit(self, controls: Controls, edits: Edits):
        controls.copy_from(made_up_race(seed=3, epochs=5, preset="paper"))
        assert edits == []
        assert (controls.preset.value, controls.epochs) == ("paper", 5)

    def test_edits_go_to_the_contenders_that_they_concern(self, controls: Controls, edits: Edits):
        for name, text in (
            ("tau_step", "0.9"),
            ("maximum", "30"),
            ("full_iterations", "20"),
            ("learning_rate", "0.01"),
            ("epochs", "3"),
        ):
            controls._fields[name]._text.value = text
        assert edits == [
            (PRDP_LABEL, {"tau_step": 0.9}),
            (PRDP_LABEL, {"maximum": 30}),
            (FULL_LABEL, {"iterations": 20}),
            (PRDP_LABEL, {"learning_rate": 0.01}),
            (FULL_LABEL, {"learning_rate": 0.01}),
        ]

    def test_a_preset_brings_its_values_but_keeps_the_seed(self, controls: Controls):
        controls._fields["seed"]._text.value = "5"
        controls._fields["tau_step"]._text.value = "0.5"
        controls.preset.value = "paper"
        assert controls.choices()["seed"] == 5
        assert controls.contenders()[PRDP_LABEL]["tau_step"] == 0.98

    def test_what_cannot_change_in_a_race_is_locked(self, controls: Controls):
        controls.lock(True)
        for widget in (controls.scenario, controls.preset, controls.solver, controls.differentiation):
            assert widget.disabled
        locked = {name for name, field in controls._fields.items() if field._text.disabled}
        assert locked == {"initial", "epochs", "seed"}
        controls.lock(False)
        assert not any(field._text.disabled for field in controls._fields.values())

    def test_the_defaults_are_full_physics(self, controls: Controls):
        settings = settings_for("heat-1d", Constant())
        assert settings_for("heat-1d", controls.contenders()[FULL_LABEL], **controls.choices()) == settings
