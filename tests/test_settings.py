"""What a person may choose: every bad value is refused by name, every boundary value is taken."""

import json
import math
from typing import Any

import numpy as np
import pytest
from training_helpers import TOY, Toy

from prdp_explorer import PRDP, Constant, Scheduled
from prdp_explorer.engine import LIMITS, METRICS, RunSettings, settings_for, unsuited_combination
from prdp_explorer.problems import SCENARIOS
from prdp_explorer.refinement import KINDS, AnyController, Limits, TolerancePRDP
from prdp_explorer.solvers import DIFFERENTIATIONS, SOLVERS, Unrolled, unsuited_solver

FIELDS: dict[str, tuple[Limits, str]] = {name: (limits, "setting") for name, limits in LIMITS.items()} | {
    f"{kind}.{name}": (limits, kind) for kind, controller in KINDS.items() for name, limits in controller.limits.items()
}
every_field = pytest.mark.parametrize("field", FIELDS)


def settings_with(field: str, value: Any) -> RunSettings:
    kind, _, name = field.rpartition(".")
    if not kind:
        return settings_for("heat-1d", **{name: value})
    room = {
        "initial": {"maximum": 10_000},
        "maximum": {} if kind == "prdp-tolerance" else {"initial": 1},
        "rtol_initial": {"rtol_floor": 1e-6},
        "rtol_floor": {"rtol_initial": 1.0},
    }
    return settings_for("heat-1d", {"kind": kind, **room.get(name, {}), name: value})


def value_in(settings: RunSettings, field: str) -> Any:
    kind, _, name = field.rpartition(".")
    return settings.refinement[name] if kind else getattr(settings, name)


def bad_values(limits: Limits) -> dict[str, Any]:
    values: dict[str, Any] = {
        "below": limits.minimum - 1,
        "above": limits.maximum + 1,
        "not a number": math.nan,
        "infinite": math.inf,
        "negative infinite": -math.inf,
        "flag": True,
        "NumPy flag": np.True_,
        "text": "3",
        "empty text": "",
        "list": [limits.maximum],
        "array of two": np.array([limits.maximum, limits.maximum]),
        "mapping": {"value": 3},
        "complex": 1j,
        "huge": 10**400,
        "object": object(),
    }
    if limits.above:
        values["the open end"] = limits.minimum
    if limits.kind is int:
        values["fraction"] = limits.minimum + 0.5
    return values


@pytest.mark.parametrize(
    ("field", "kind"), [(field, kind) for field, (limits, _) in FIELDS.items() for kind in bad_values(limits)]
)
def test_a_bad_value_is_refused_by_name(field, kind):
    with pytest.raises(ValueError, match=f"`{field.rpartition('.')[2]}`"):
        settings_with(field, bad_values(FIELDS[field][0])[kind])


@every_field
def test_nothing_is_refused_or_means_the_default(field):
    name = field.rpartition(".")[2]
    if field in ("epochs", "learning_rate"):
        assert settings_with(field, None) == settings_for("heat-1d")
    else:
        with pytest.raises(ValueError, match=f"`{name}`"):
            settings_with(field, None)


@every_field
def test_the_ends_of_the_ranges_are_taken(field):
    limits, _ = FIELDS[field]
    smallest = 1e-6 if limits.above else limits.minimum
    for value in (smallest, limits.maximum):
        assert value_in(settings_with(field, value), field) == value


@every_field
def test_numbers_of_numpy_become_plain_ones(field):
    limits, _ = FIELDS[field]
    value = np.int64(limits.maximum) if limits.kind is int else np.float32(1)
    assert type(value_in(settings_with(field, value), field)) is limits.kind
    assert type(value_in(settings_with(field, np.asarray(value)), field)) is limits.kind


@pytest.mark.parametrize("field", [field for field, (limits, _) in FIELDS.items() if limits.kind is int])
def test_a_whole_number_written_as_a_fraction_is_taken(field):
    number = min(5, FIELDS[field][0].maximum)
    value = value_in(settings_with(field, float(number)), field)
    assert (value, type(value)) == (number, int)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("preset", "dead", r"`preset` must be one of live, paper; got 'dead'\."),
        ("preset", 3, "`preset`"),
        ("preset", ["live"], "`preset`"),
        ("solver", "jacoby", r"`solver` must be one of jacobi.* for heat-1d; got 'jacoby'\."),
        ("solver", 3, "`solver`"),
        ("solver", ["jacobi"], "`solver`"),
        (
            "differentiation",
            "adjoint",
            r"`differentiation` must be one of implicit, unrolled, .*detached for heat-1d; got 'adjoint'\.",
        ),
        ("differentiation", True, "`differentiation`"),
        ("metric", "test", r"`metric` must be one of validation, training; got 'test'\."),
        ("metric", 0, "`metric`"),
    ],
)
def test_an_unknown_name_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        settings_for("heat-1d", **{name: value})


@pytest.mark.parametrize("scenario", ["haet-1d", "heat1d", "heat-1D", "heat_1d"])
def test_a_typing_error_in_the_scenario_gets_a_suggestion(scenario):
    with pytest.raises(ValueError, match=r"Did you mean heat-1d\?"):
        settings_for(scenario)


@pytest.mark.parametrize("scenario", ["", "?", None, 3, ["heat-1d"], Toy])
def test_what_is_no_scenario_is_refused(scenario):
    with pytest.raises(ValueError, match=f"`scenario` must be one of {', '.join(SCENARIOS)}; got "):
        settings_for(scenario)


@pytest.mark.parametrize(
    ("controller", "message"),
    [
        ({"kind": "prpd"}, "`kind` must be one of prdp, constant, scheduled, prdp-tolerance; got 'prpd'"),
        ({"kind": ["prdp"]}, "`kind`"),
        ({"tau": 0.9}, "`tau` is no setting of PRDP"),
        ({"kind": "constant", "tau_step": 0.9}, "`tau_step` is no setting of Constant"),
        ({"initial": 26}, "`initial` must not exceed `maximum`; got initial 26 and maximum 25"),
        ({"kind": "scheduled", "initial": 5, "maximum": 4}, "`initial` must not exceed `maximum`"),
        (3, "`controller`"),
        ("prdp", "`controller`"),
        ({"kind": "prdp-tolerance", "initial": 2}, "`initial` is no setting of TolerancePRDP"),
        (
            {"kind": "prdp-tolerance", "rtol_initial": 1e-6},
            "`rtol_floor` must not exceed `rtol_initial`; got rtol_floor 1e-05 and rtol_initial 1e-06",
        ),
        (
            AnyController.of(Constant(3)),
            "`controller` must be one of prdp, constant, scheduled, prdp-tolerance; got AnyController",
        ),
        (PRDP(tau_step=[0.9, 0.95]), "`tau_step`"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PRDP | AnyController) else str(value),
)
def test_what_is_no_controller_is_refused(controller, message):
    with pytest.raises(ValueError, match=message):
        settings_for("heat-1d", controller)


class TestSolversAndModes:
    """What goes together is known before anything is compiled, and what does not is refused with the reason."""

    @pytest.mark.parametrize("preset", ["live", "paper"])
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_everything_is_offered_or_refused_with_its_reason(self, scenario, preset):
        problem = SCENARIOS[scenario].presets[preset]
        offered = 0
        for solver, kind in SOLVERS.items():
            unsuited = unsuited_solver(kind, problem.operator_type) if problem.operator_type else None
            assert (solver in problem.solvers) is (unsuited is None)
            for mode in DIFFERENTIATIONS:
                reason = unsuited or unsuited_combination(problem, solver, mode)
                if reason is None:
                    settings = settings_for(scenario, preset=preset, solver=solver, differentiation=mode)
                    assert (settings.solver, settings.differentiation) == (solver, mode)
                    assert isinstance(settings.build_solver(), kind)
                    offered += 1
                else:
                    with pytest.raises(ValueError) as refused:
                        settings_for(scenario, preset=preset, solver=solver, differentiation=mode)
                    assert str(refused.value).endswith(f"{reason}.")
        assert offered >= 6

    @pytest.mark.parametrize(
        ("scenario", "solver", "reason"),
        [
            (
                "navier-stokes-2d",
                "jacobi",
                r"`solver` must be one of gmres for navier-stokes-2d; got 'jacobi'\. Jacobi needs a diagonal that "
                r"dominates its rows, which NavierStokesOperator does not promise\.$",
            ),
            ("navier-stokes-2d", "sor", "a diagonal that dominates its rows and an order in which points can be swept"),
            ("navier-stokes-2d", "cg", "CG needs symmetry with positive eigenvalues"),
            ("burgers-1d", "cg", r"CG needs symmetry .*, which BurgersOperator does not promise\.$"),
            ("burgers-1d", "steepest-descent", "SteepestDescent needs symmetry"),
        ],
    )
    def test_an_unsuited_solver(self, scenario, solver, reason):
        with pytest.raises(ValueError, match=reason):
            settings_for(scenario, solver=solver)

    @pytest.mark.parametrize("mode", ["one-step", "truncated"])
    @pytest.mark.parametrize(("solver", "words"), [("cg", "CG"), ("bicgstab", "BiCGStab")])
    def test_an_unsuited_pair(self, solver, words, mode):
        reason = (
            rf"`differentiation` '{mode}' does not go with the solver '{solver}': {words} takes in b at its start only"
        )
        with pytest.raises(ValueError, match=reason):
            settings_for("heat-1d", solver=solver, differentiation=mode)

    def test_a_misspelt_solver_gets_no_reason(self):
        with pytest.raises(ValueError, match=r"got 'jacobbi'\.$"):
            settings_for("navier-stokes-2d", solver="jacobbi")

    def test_a_problem_of_ones_own_need_not_say_what_its_matrix_is(self):
        with pytest.raises(ValueError, match=r"`solver` must be one of jacobi for Toy; got 'cg'\.$"):
            settings_for(TOY, solver="cg")

    @pytest.mark.parametrize("mode", DIFFERENTIATIONS)
    def test_there_is_room_for_the_largest_k(self, mode):
        for controller, largest in (
            ({"maximum": 40}, 40),
            (Constant(31), 31),
            (Scheduled.linear(maximum=17), 17),
            ({"kind": "prdp-tolerance", "maximum": 23}, 23),
        ):
            settings = settings_for("heat-1d", controller, differentiation=mode)
            assert settings.largest_iterations == largest
            if mode == "unrolled":
                assert settings.build_differentiation() == Unrolled(largest)


class TestDefaults:
    @pytest.mark.parametrize("preset", ["live", "paper"])
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_nothing_chosen_means_the_presets_own(self, scenario, preset):
        settings, problem = settings_for(scenario, preset=preset), SCENARIOS[scenario].presets[preset]
        assert settings.problem is problem
        assert (settings.epochs, settings.learning_rate) == (problem.epochs, problem.learning_rate)
        assert (settings.solver, settings.differentiation) == (problem.solvers[0], problem.differentiations[0])
        assert (settings.metric, settings.seed) == (METRICS[0], 0)
        assert settings == settings_for(scenario, problem.controller, preset=preset)

    def test_plain_data_fill_up_from_the_preset(self):
        settings = settings_for("heat-1d", {"tau_step": 0.5})
        assert settings.refinement == {**settings_for("heat-1d").refinement, "tau_step": 0.5}
        assert settings.refinement["ema_window"] == 8

    @pytest.mark.parametrize("preset", ["live", "paper"])
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_a_tolerance_takes_the_presets_thresholds_and_the_k_of_full_physics(self, scenario, preset):
        settings = settings_for(scenario, {"kind": "prdp-tolerance"}, preset=preset)
        problem = SCENARIOS[scenario].presets[preset]
        own = settings_for(scenario, preset=preset).refinement
        expected = {name: own[name] for name in ("tau_step", "tau_stop", "window", "ema_window")}
        expected |= {"rtol_initial": 0.3, "rtol_factor": 0.5, "rtol_floor": 1e-5, "maximum": problem.full_iterations}
        assert settings.refinement == {"kind": "prdp-tolerance", **expected}

    def test_a_tolerance_may_use_the_k_of_full_physics_whatever_the_presets_bound_of_k(self):
        problem = Toy()
        problem.controller = PRDP(tau_step=0.9, maximum=5)
        refinement = settings_for(problem, {"kind": "prdp-tolerance"}).refinement
        assert (refinement["maximum"], refinement["tau_step"]) == (12, 0.9)

    def test_a_tolerance_of_ones_own_keeps_its_own_values(self):
        settings = settings_for("heat-1d", TolerancePRDP(tau_step=0.5, maximum=7, rtol_floor=0.01))
        assert settings.refinement == {
            "kind": "prdp-tolerance",
            "tau_step": 0.5,
            "tau_stop": 0.9,
            "window": 3,
            "ema_window": 6,
            "rtol_initial": 0.3,
            "rtol_factor": 0.5,
            "rtol_floor": 0.01,
            "maximum": 7,
        }

    def test_the_published_heat_2d_compares_with_the_start_also_when_a_threshold_is_given(self):
        for controller in (None, {"tau_step": 0.8}):
            assert settings_for("heat-2d", controller, preset="paper").refinement["compare_with_start"] == 1
        assert settings_for("heat-2d", preset="live").refinement["compare_with_start"] == 0

    def test_a_controller_of_ones_own_keeps_its_own_values(self):
        settings = settings_for("heat-1d", PRDP(tau_step=0.5))
        assert settings.refinement["ema_window"] == 6

    @pytest.mark.parametrize("controller", [Constant(), {"kind": "constant"}])
    def test_constant_without_a_number_is_full_physics(self, controller):
        assert settings_for("heat-1d", controller).refinement == {"kind": "constant", "iterations": 25}
        assert settings_for(TOY, controller).refinement == {"kind": "constant", "iterations": 12}

    @pytest.mark.parametrize(
        "controller",
        [
            PRDP(tau_stop=0.7),
            PRDP(compare_with_start=1),
            Constant(9),
            Scheduled.geometric(maximum=9),
            TolerancePRDP(rtol_factor=0.1),
        ],
        ids=str,
    )
    def test_the_controller_can_be_built_again(self, controller):
        settings = settings_for("heat-1d", controller)
        assert settings_for("heat-1d", settings.build_controller()) == settings
        assert settings_for("heat-1d", settings.refinement) == settings

    def test_as_json(self):
        settings = settings_for("heat-1d", {"tau_step": 0.98}, seed=3)
        plain = json.loads(json.dumps(settings.to_json()))
        assert plain["refinement"]["tau_step"] == 0.98
        assert (plain["scenario"], plain["preset"], plain["seed"]) == ("heat-1d", "live", 3)


class TestChanges:
    @pytest.mark.parametrize(
        "field", [field for field, (_, kind) in FIELDS.items() if kind in ("prdp", "prdp-tolerance")]
    )
    def test_bad_values_are_refused_by_name(self, field):
        kind, _, name = field.rpartition(".")
        settings = settings_for("heat-1d", {"kind": kind})
        for value in bad_values(FIELDS[field][0]).values():
            with pytest.raises(ValueError, match=f"`{name}`"):
                settings.changed({name: value})

    @pytest.mark.parametrize("name", ["learning_rate", "iterations"])
    def test_bad_values_of_the_others_are_refused_by_name(self, name):
        settings = settings_for("heat-1d")
        limits = LIMITS["learning_rate"] if name == "learning_rate" else PRDP.limits["maximum"]
        for value in bad_values(limits).values():
            with pytest.raises(ValueError, match=f"`{name}`"):
                settings.changed({name: value})

    @pytest.mark.parametrize("name", ["seed", "preset", "tau", "kind", ""])
    def test_what_cannot_be_changed_is_refused_by_name(self, name):
        with pytest.raises(ValueError, match=f"`{name}` cannot be changed during a run; these can: tau_step, tau_stop"):
            settings_for("heat-1d").changed({name: 1})

    def test_solver_and_epochs_are_checked_and_changed(self):
        settings = settings_for("heat-1d").changed({"solver": "gmres", "epochs": 7})
        assert (settings.solver, settings.epochs) == ("gmres", 7)
        for changes, words in (
            ({"solver": "lu"}, "`solver` must be one of jacobi"),
            ({"epochs": 0}, "`epochs`"),
            ({"epochs": 2.5}, "`epochs`"),
            ({"solver": "cg", "differentiation": "truncated"}, "does not go with the solver 'cg'"),
        ):
            with pytest.raises(ValueError, match=words):
                settings.changed(changes)

    def test_the_difference_is_what_makes_one_of_the_other(self):
        settings = settings_for("heat-1d", PRDP(tau_step=0.9))
        changes = {"tau_step": 0.8, "maximum": 30, "learning_rate": 0.5, "solver": "cg", "epochs": 7}
        other = settings.changed(changes)
        assert settings.difference(other) == changes
        assert settings.changed(settings.difference(other)) == other
        assert settings.difference(settings) == {}
        assert settings.difference(settings_for("heat-1d", PRDP(tau_step=0.9, initial=3))) == {}
        for fixed, words in (
            (settings_for("heat-1d", PRDP(tau_step=0.9), seed=1), "cannot change its seed on the way"),
            (settings_for("heat-1d", Constant(3), preset="paper"), "its preset, kind of controller"),
        ):
            with pytest.raises(ValueError, match=words):
                settings.difference(fixed)

    def test_the_first_k_is_the_past(self):
        with pytest.raises(ValueError, match="`initial` is K of the first epoch"):
            settings_for("heat-1d").changed({"initial": 2})

    def test_what_the_value_before_training_is_compared_with_is_the_past(self):
        with pytest.raises(ValueError, match="`compare_with_start`"):
            settings_for("heat-1d").changed({"compare_with_start": 1})

    @pytest.mark.parametrize(
        ("controller", "known"),
        [
            (Constant(), "iterations, learning_rate, differentiation"),
            (Scheduled(), "step, factor, every, maximum, iterations, learning_rate, differentiation"),
            (
                PRDP(),
                "tau_step, tau_stop, window, ema_window, step, maximum, iterations, learning_rate, differentiation",
            ),
            (
                TolerancePRDP(),
                "tau_step, tau_stop, window, ema_window, rtol_factor, rtol_floor, maximum, learning_rate, "
                "differentiation",
            ),
        ],
        ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
    )
    def test_what_can_be_changed_is_listed(self, controller, known):
        with pytest.raises(
            ValueError, match=rf"`seed` cannot be changed during a run; these can: {known}, solver, epochs\.$"
        ):
            settings_for("heat-1d", controller).changed({"seed": 1})

    def test_thresholds_do_not_suit_full_physics(self):
        with pytest.raises(ValueError, match="`tau_step` cannot be changed"):
            settings_for("heat-1d", Constant()).changed({"tau_step": 0.5})

    def test_k_must_not_exceed_the_maximum(self):
        settings = settings_for("heat-1d")
        with pytest.raises(ValueError, match="`iterations` must not exceed `maximum`, which is 25; got 26"):
            settings.changed({"iterations": 26})
        with pytest.raises(ValueError, match="`iterations` must not exceed `maximum`, which is 5; got 9"):
            settings.changed({"iterations": 9, "maximum": 5})
        assert settings.changed({"iterations": 26, "maximum": 26}).refinement["maximum"] == 26

    def test_changes_are_taken_and_the_rest_stays(self):
        settings = settings_for("heat-1d", seed=3)
        changed = settings.changed({"tau_step": 0.5, "window": 7, "learning_rate": 0.5})
        assert changed.refinement == {**settings.refinement, "tau_step": 0.5, "window": 7}
        assert changed.learning_rate == 0.5
        assert (changed.seed, changed.epochs) == (settings.seed, settings.epochs)
        assert settings == settings_for("heat-1d", seed=3)

    def test_edits_after_the_maximum_fell_below_the_first_k(self):
        settings = settings_for("heat-1d", {"initial": 5}).changed({"maximum": 3})
        assert settings.changed({"tau_step": 0.5}).refinement["tau_step"] == 0.5
        assert int(settings.build_controller().init().iterations) == 3


class TestChangesOfTheMode:
    def test_the_rest_stays(self):
        settings = settings_for("heat-1d", seed=3)
        changed = settings.changed({"differentiation": "one-step", "tau_step": 0.5})
        assert changed.differentiation == "one-step"
        assert changed.refinement == {**settings.refinement, "tau_step": 0.5}
        assert changed.changed({"differentiation": "implicit", "tau_step": 0.98}) == settings

    @pytest.mark.parametrize("controller", [Constant(), Scheduled(), TolerancePRDP()], ids=lambda c: type(c).__name__)
    def test_of_every_kind(self, controller):
        settings = settings_for("heat-1d", controller)
        assert settings.changed({"differentiation": "detached"}).differentiation == "detached"

    @pytest.mark.parametrize("mode", ["adjoint", "", None, 3, True, ["implicit"], "IMPLICIT"])
    def test_an_unknown_one_is_refused(self, mode):
        with pytest.raises(
            ValueError, match=r"`differentiation` must be one of implicit, unrolled.* for heat-1d; got "
        ):
            settings_for("heat-1d").changed({"differentiation": mode})

    def test_one_that_does_not_go_with_the_solver_is_refused_with_the_reason(self):
        settings = settings_for("heat-1d", solver="cg")
        with pytest.raises(ValueError, match="'one-step' does not go with the solver 'cg': CG takes in b at its start"):
            settings.changed({"differentiation": "one-step"})
        assert settings.changed({"differentiation": "detached"}).solver == "cg"


class TestChangesOfATolerance:
    def settings(self) -> RunSettings:
        return settings_for("heat-1d", TolerancePRDP(rtol_initial=0.2, rtol_floor=1e-3, maximum=30))

    def test_are_taken(self):
        changes = {"rtol_factor": 0.1, "rtol_floor": 0.01, "maximum": 9, "tau_stop": 0.7, "window": 5}
        changed = self.settings().changed({**changes, "learning_rate": 0.5})
        assert changed.refinement == {**self.settings().refinement, **changes}
        assert changed.learning_rate == 0.5
        assert changed.largest_iterations == 9

    def test_the_first_tolerance_is_the_past(self):
        with pytest.raises(ValueError, match=r"`rtol_initial` is the tolerance of the first epoch .* set `rtol_floor`"):
            self.settings().changed({"rtol_initial": 0.1})

    @pytest.mark.parametrize("name", ["iterations", "step", "every"])
    def test_k_is_not_chosen(self, name):
        with pytest.raises(ValueError, match=f"`{name}` cannot be changed"):
            self.settings().changed({name: 3})

    def test_the_first_k_is_no_more_a_setting_than_before(self):
        with pytest.raises(ValueError, match="`initial`"):
            self.settings().changed({"initial": 3})

    def test_a_floor_above_the_first_tolerance_does_not_stand_in_the_way(self):
        changed = self.settings().changed({"rtol_floor": 0.5})
        assert changed.refinement["rtol_floor"] == 0.5
        later = changed.changed({"tau_step": 0.5}).changed({"rtol_floor": 0.01})
        assert later.refinement["rtol_floor"] == 0.01
        assert isinstance(changed.build_controller(), TolerancePRDP)
