"""Every scenario keeps the contract of a problem, and a problem of one's own trains like the built-in ones."""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, Toy, timeless

from prdp_explorer import PRDP, Constant, Engine, Problem, Scheduled, train
from prdp_explorer.engine import settings_for, unsuited_combination
from prdp_explorer.engine._epoch import Steering, Trainer
from prdp_explorer.engine._training import Training
from prdp_explorer.problems import SCENARIOS, InnerSolve, problem_named, scenario_named
from prdp_explorer.problems._heat import HeatEmulator
from prdp_explorer.problems._networks import FieldMLP
from prdp_explorer.refinement import values_of
from prdp_explorer.solvers import (
    DIFFERENTIATIONS,
    SOLVERS,
    AbstractOperator,
    DenseOperator,
    differentiation_named,
    solver_named,
)

pytestmark = pytest.mark.usefixtures("quickly")

COSTLY = {"heat-2d paper", "heat-3d paper", "burgers-1d paper", "navier-stokes-2d paper"}
"""Presets whose data, or whose networks of millions of weights, no test may make; their shapes are looked at only."""

PROBLEMS: dict[str, Problem] = {}
for _scenario in SCENARIOS.values():
    for _preset, _problem in _scenario.presets.items():
        if _problem not in PROBLEMS.values():  # Poisson's presets are one and the same
            PROBLEMS[f"{_scenario.id} {_preset}"] = _problem


def inner_solve(problem: Problem, iterations: int, solver: str, differentiation: str) -> InnerSolve:
    capacity = max(iterations, int(problem.controller.maximum))
    mode = differentiation_named(differentiation, capacity)
    return InnerSolve(solver_named(solver), mode, jnp.asarray(iterations), problem.rtol)


def default_solve(problem: Problem, iterations: int) -> InnerSolve:
    return inner_solve(problem, iterations, problem.solvers[0], problem.differentiations[0])


def with_few_samples(problem: Problem) -> Problem:
    """The same problem with the data of one batch: reference solutions of Navier-Stokes take seconds."""
    few = copy.copy(problem)
    vars(few).update(_samples=(problem.batch_size, 1))
    return few


SMALL = {"toy": TOY, "navier-stokes-2d live": with_few_samples(PROBLEMS["navier-stokes-2d live"])}


def run_once(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function` of arrays, compiled without XLA's optimisations, which take longer than what runs once."""
    return jax.jit(function).lower(*arguments).compile({"xla_backend_optimization_level": "0"})(*arguments)


@dataclass
class Case:
    """A problem with its data and a fresh model."""

    name: str
    problem: Problem
    training: Any
    validation: Any
    model: Any

    @property
    def num_samples(self) -> int:
        return len(jax.tree.leaves(self.training)[0])

    @property
    def num_validation_samples(self) -> int:
        return len(jax.tree.leaves(self.validation)[0])

    @property
    def batch(self) -> Any:
        return jax.tree.map(lambda leaf: leaf[: self.problem.batch_size], self.training)


@pytest.fixture(scope="module", params=[*(name for name in PROBLEMS if name not in COSTLY), "toy"])
def case(request: pytest.FixtureRequest, quickly: None) -> Case:
    problem = {**PROBLEMS, **SMALL}[request.param]
    jax.config.update("jax_disable_most_optimizations", False)  # reference solutions take longer than their compilation
    data = problem.data()
    jax.config.update("jax_disable_most_optimizations", True)
    training, validation = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), data)
    return Case(request.param, problem, training, validation, problem.model(jax.random.PRNGKey(0)))


class TestContract:
    def test_data_have_the_samples_first_and_are_finite(self, case: Case):
        for part in (case.training, case.validation):
            leaves = jax.tree.leaves(part)
            assert len({len(leaf) for leaf in leaves}) == 1
            assert all(np.isfinite(leaf).all() for leaf in leaves)
        assert jax.tree.structure(case.training) == jax.tree.structure(case.validation)
        assert case.num_validation_samples >= 1

    def test_the_batch_size_divides_the_samples(self, case: Case):
        assert case.num_samples % case.problem.batch_size == 0
        whole = vars(PROBLEMS.get(case.name, case.problem))
        assert whole.get("_samples", (case.num_samples,))[0] % case.problem.batch_size == 0

    def test_the_data_are_the_same_every_time(self, case: Case):
        if case.name.startswith("navier-stokes"):
            pytest.skip("takes seconds; the seeds of its initial states are tested with them")
        again = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), case.problem.data())
        for leaf, same in zip(*map(jax.tree.leaves, ((case.training, case.validation), again)), strict=True):
            np.testing.assert_array_equal(leaf, same)

    def test_training_and_validation_data_differ(self, case: Case):
        if not case.problem.deterministic:
            training, validation = (jax.tree.leaves(part)[0] for part in (case.training, case.validation))
            count = min(len(training), len(validation))
            assert not np.isclose(training[:count, 0], validation[:count, 0]).all()

    def test_numbers_are_within_their_ranges(self, case: Case):
        check_numbers(case.problem)

    def test_solvers_and_modes_exist(self, case: Case):
        check_solvers_and_modes(case.problem)

    def test_the_seed_decides_the_model(self, case: Case):
        arrays, again, other = (
            jax.tree.leaves(eqx.filter(model, eqx.is_array))
            for model in (
                case.model,
                case.problem.model(jax.random.PRNGKey(0)),
                case.problem.model(jax.random.PRNGKey(1)),
            )
        )
        assert arrays
        for leaf, same in zip(arrays, again, strict=True):
            np.testing.assert_array_equal(leaf, same)
        differs = any(np.any(leaf != changed) for leaf, changed in zip(arrays, other, strict=True))
        assert differs is not case.problem.deterministic

    def test_every_mode_gives_a_finite_loss_and_a_gradient(self, case: Case):
        """All modes compute the same loss; only the derivative differs, and is zero where none passes the solver."""
        problem = case.problem
        if case.name in ("navier-stokes-2d live", "heat-1d paper"):
            pytest.skip("takes seconds to compile, or differs from the live preset by its validation samples alone")
        arrays, rest = eqx.partition(case.model, eqx.is_array)
        iterations = min(int(problem.controller.initial) + 1, problem.full_iterations)
        values: dict[str, list[float]] = {}

        def loss(arrays: Any, batch: Any, solve: InnerSolve) -> jax.Array:
            return problem.loss(eqx.combine(arrays, rest), batch, solve)

        for mode in problem.differentiations:
            solver = next(name for name in problem.solvers if unsuited_combination(problem, name, mode) is None)
            solve = inner_solve(problem, iterations, solver, mode)
            value, gradient = run_once(jax.value_and_grad(loss), arrays, case.batch, solve)
            leaves = jax.tree.leaves(gradient)
            assert jnp.shape(value) == ()
            assert np.isfinite(value)
            assert all(np.isfinite(leaf).all() for leaf in leaves)
            reaches = any(np.abs(leaf).max() > 0 for leaf in leaves)
            assert reaches is (mode != "detached")
            values.setdefault(solver, []).append(float(value))
        for losses in values.values():
            np.testing.assert_allclose(losses, losses[0], rtol=1e-5)

    def test_the_metric_is_one_finite_number(self, case: Case):
        if case.name.startswith("navier-stokes"):
            pytest.skip("takes seconds to compile; it is trained with below")
        arrays, rest = eqx.partition(case.model, eqx.is_array)
        solve = default_solve(case.problem, case.problem.full_iterations)
        metric = run_once(
            lambda a, v, s: case.problem.metric(eqx.combine(a, rest), v, s), arrays, case.validation, solve
        )
        assert jnp.shape(metric) == ()
        assert 0 < float(metric) < np.inf

    def test_fields_are_what_the_dashboard_draws(self, case: Case):
        """Samples first, then the components that the problem names, then the grid; parameters are a number each."""
        problem = case.problem
        arrays, rest = eqx.partition(case.model, eqx.is_array)
        solve = default_solve(problem, int(problem.controller.initial))
        names: list[str] = []

        def fields(arrays, validation, solve):
            named = problem.fields(eqx.combine(arrays, rest), validation, solve)
            names[:] = named
            return tuple(named.values())

        computed = run_once(fields, arrays, case.validation, solve)
        values = dict(zip(names, computed, strict=True))
        check_fields(problem, values, case.num_validation_samples)
        assert all(np.isfinite(field).all() for field in values.values())

    def test_points_rise_within_the_domain(self, case: Case):
        check_points(case.problem)

    def test_one_compilation_serves_epochs_refinements_and_edits(self, case: Case):
        """Two epochs with what the preset says, K differing between them."""
        if case.name == "heat-1d paper":
            pytest.skip("differs from the live preset by its validation samples alone; `run` trains it to its end")
        problem, traces = copy.copy(case.problem), []  # a copy is unknown to all that was compiled before

        def counted(*arguments: Any) -> Any:
            traces.append(None)
            return case.problem.loss(*arguments)

        vars(problem).update(loss=counted, data=lambda: (case.training, case.validation))
        training = Training(settings_for(problem))
        rows, traces_before = [training.advance(2)], len(traces)
        training.adjust({"iterations": int(problem.controller.initial) + 1, "tau_step": 0.9})
        rows.append(training.advance(1))
        records = np.concatenate(rows)
        initial = int(problem.controller.initial)
        assert records["epoch"].tolist() == [0, 1, 2]
        assert records["iterations"].tolist() == [0, initial, initial + 1]
        assert np.isfinite(records["validation"]).all()
        assert np.isfinite(records["train_loss"][1:]).all()
        assert (records["train_loss"][1:] > 0).all()
        assert len(set(records["validation"])) == 3
        assert not training.diverged
        assert training.compilations == 1
        assert len(traces) == traces_before > 0


def numbers_of(problem: Problem) -> dict[str, float]:
    """All numbers that a preset is made of, by name."""
    numbers: dict[str, float] = {}

    def collect(name: str, value: Any) -> None:
        if isinstance(value, PRDP):
            for field, number in values_of(value).items():
                collect(field, number)
        elif isinstance(value, AbstractOperator):
            for field, number in vars(value).items():
                collect(f"{name}.{field}", number)
        elif isinstance(value, tuple):
            for index, number in enumerate(value):
                collect(f"{name}[{index}]", number)
        elif isinstance(value, int | float):
            numbers[name] = float(value)

    for name, value in vars(problem).items():
        collect(name, value)
    return numbers


def check_numbers(problem: Problem) -> None:
    assert isinstance(problem.controller, PRDP)
    assert 1 <= int(problem.controller.initial) <= int(problem.controller.maximum) <= problem.full_iterations
    assert problem.epochs >= 1
    assert problem.batch_size >= 1
    assert problem.learning_rate > 0
    assert 0 < float(problem.decay(jnp.asarray(1_000))) <= float(problem.decay(jnp.asarray(0))) == pytest.approx(1)
    assert problem.rtol is None or 0 < problem.rtol < 1


def check_solvers_and_modes(problem: Problem) -> None:
    assert problem.solvers
    assert set(problem.solvers) <= set(SOLVERS)
    assert len(set(problem.solvers)) == len(problem.solvers)
    assert problem.differentiations
    assert set(problem.differentiations) <= set(DIFFERENTIATIONS)
    assert len(set(problem.differentiations)) == len(problem.differentiations)
    assert unsuited_combination(problem, problem.solvers[0], problem.differentiations[0]) is None


def check_fields(problem: Problem, fields: Mapping[str, Any], samples: int) -> None:
    """Shapes only, so that fields which were never computed can be looked at, too."""
    assert problem.quantity
    parameters = {name: fields[name] for name in problem.reference_parameters}
    drawn = {name: field for name, field in fields.items() if name not in parameters}
    assert len(drawn) >= 2
    for field in parameters.values():
        assert field.shape == (samples,)
    num_points = len(problem.points())
    shapes = {field.shape for field in drawn.values()}
    assert len(shapes) == 1
    (shape,) = shapes
    assert shape[0] == (4 if shape[1:] == (30, 30, 30) else samples)
    if problem.components:
        assert shape[1] == len(problem.components)
        assert len(set(problem.components)) == len(problem.components)
    grid = shape[2 if problem.components else 1 :]
    assert 1 <= len(grid) <= 3
    assert set(grid) == {num_points}
    assert all(drawn)


def check_points(problem: Problem) -> None:
    points = np.asarray(problem.points())
    assert (np.diff(points) > 0).all()
    np.testing.assert_allclose(np.diff(points), points[1] - points[0], rtol=1e-4)
    assert points[0] >= 0
    assert points[-1] <= 1


DATA_SHAPES = {
    "heat-2d paper": ((200, 3, 30, 30), (5, 3, 30, 30)),
    "heat-3d paper": ((200, 3, 30, 30, 30), (5, 3, 30, 30, 30)),
    "burgers-1d paper": ((200, 3, 100), (5, 6, 100)),
    "navier-stokes-2d paper": ((200, 3, 3, 48, 48), (5, 6, 3, 48, 48)),
}


@pytest.mark.parametrize("name", DATA_SHAPES)
class TestShapesOfWhatIsTooCostlyToRun:
    """Traced, never compiled: what a preset of full size would compute fits together."""

    def test_numbers_solvers_modes_and_points(self, name):
        assert set(DATA_SHAPES) == COSTLY
        check_numbers(PROBLEMS[name])
        check_solvers_and_modes(PROBLEMS[name])
        check_points(PROBLEMS[name])
        assert DATA_SHAPES[name][0][0] % PROBLEMS[name].batch_size == 0

    def test_loss_metric_and_fields(self, name):
        problem = PROBLEMS[name]
        training, validation = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in DATA_SHAPES[name])
        batch = jax.ShapeDtypeStruct((problem.batch_size, *training.shape[1:]), jnp.float32)
        solve = default_solve(problem, 1)
        model = eqx.filter_eval_shape(problem.model, jax.random.PRNGKey(0))
        for function, data in ((problem.loss, batch), (problem.metric, validation)):
            value = eqx.filter_eval_shape(function, model, data, solve)
            assert (value.shape, value.dtype) == ((), jnp.float32)
        check_fields(problem, eqx.filter_eval_shape(problem.fields, model, validation, solve), validation.shape[0])


@pytest.fixture(scope="module")
def small_heat() -> Problem:
    """Heat in 1D as built in, but for its size."""
    return HeatEmulator(
        1,
        lambda key: FieldMLP(12, 8, 1, key=key),
        full_iterations=25,
        controller=PRDP(initial=3, maximum=25),
        num_points=12,
        num_training_samples=50,
    )


class TestEverySolverAndMode:
    """Each solver and each mode trains; which go together is `TestSolversAndModes` of the settings."""

    PAIRS: Mapping[str, str] = {
        "jacobi": "truncated",
        "gauss-seidel": "one-step",
        "sor": "unrolled",
        "richardson": "detached",
        "steepest-descent": "exact-adjoint",
        "cg": "implicit",
        "bicgstab": "unrolled",
        "gmres": "implicit",
    }

    def test_all_are_there(self):
        assert list(self.PAIRS) == list(SOLVERS)
        assert set(self.PAIRS.values()) == set(DIFFERENTIATIONS)

    @pytest.mark.parametrize("solver", PAIRS)
    def test_trains_without_a_non_finite_value(self, small_heat: Problem, solver):
        mode = self.PAIRS[solver]
        trainer = Trainer(small_heat, solver_named(solver), differentiation_named(mode, 3), "validation")
        steering = Steering(Constant(3), jnp.asarray(small_heat.learning_rate))

        def two_epochs(steering: Steering, data: Any) -> Any:
            _, records = trainer.advance(trainer.init(0, steering), steering, data, jnp.asarray(3))
            return {name: column[:3] for name, column in records.items()}

        records = run_once(two_epochs, steering, jax.tree.map(jnp.asarray, small_heat.data()))
        assert records["epoch"].tolist() == [0, 1, 2]
        assert records["iterations"].tolist() == [0, 3, 3]
        assert np.isfinite(records["validation"]).all()
        assert np.isfinite(records["train_loss"][1:]).all()
        assert len(set(records["validation"].tolist())) == (1 if mode == "detached" else 3)


class TestRegistry:
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_scenarios_are_complete(self, name):
        scenario = scenario_named(name)
        assert scenario.id == name
        assert set(scenario.presets) == {"live", "paper"}
        assert scenario.title
        assert scenario.summary.endswith(".")
        assert 60 < len(scenario.summary) < 250
        assert len(scenario.teaches) >= 200
        assert scenario.teaches.endswith(".")
        assert scenario.teaches != scenario.summary
        assert all(isinstance(sentence, str) and sentence.endswith(".") for sentence in scenario.chosen)

    def test_titles_and_paragraphs_are_their_own(self):
        for texts in zip(*((s.title, s.summary, s.teaches) for s in SCENARIOS.values()), strict=True):
            assert len(set(texts)) == len(SCENARIOS)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("poisson-3", ["θ starts at (5, -4, 3)", "true one is (2, 1, -1.5)", "1500 steps"]),
            ("heat-2d", ["same coordinate"]),
            ("heat-3d", ["paper:", "30 points a side", "0.0004", "32 channels and 6 blocks", "thresholds", "decay"]),
            ("burgers-1d", ["both:", "modes", "dt", "paper:", "100 points", "0.001", "thresholds"]),
            ("navier-stokes-2d", ["proper averages"]),
        ],
    )
    def test_what_is_not_published_is_said_to_be_chosen(self, name, words):
        chosen = " ".join(SCENARIOS[name].chosen)
        assert [word for word in words if word not in chosen] == []

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_every_number_of_a_live_preset_that_is_not_the_published_one_is_named(self, name):
        presets = SCENARIOS[name].presets
        live, paper = numbers_of(presets["live"]), numbers_of(presets["paper"])
        sentences = " ".join(sentence for sentence in SCENARIOS[name].chosen if sentence.startswith("live:"))
        words = sentences.replace(" one ", " 1 ").replace(" two ", " 2 ")
        named = {float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", words)}
        if re.search("checkpoint|before training|compare", words):
            named.add(0.0)  # of `compare_with_start`, which no number stands for
        silent = {n: value for n, value in live.items() if value != paper[n] and round(value, 9) not in named}
        assert silent == {}

    def test_there_are_seven(self):
        assert list(SCENARIOS) == [
            "heat-1d",
            "heat-2d",
            "heat-3d",
            "burgers-1d",
            "navier-stokes-2d",
            "poisson-1",
            "poisson-3",
        ]

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_one_object_stands_for_a_preset(self, name):
        for preset in ("live", "paper"):
            assert problem_named(name, preset) is problem_named(name, preset) is SCENARIOS[name].presets[preset]

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_only_poisson_is_deterministic(self, name):
        for problem in SCENARIOS[name].presets.values():
            assert problem.deterministic is name.startswith("poisson")
            assert bool(problem.reference_parameters) is name.startswith("poisson")
            assert bool(problem.components) is (name == "navier-stokes-2d")

    def test_a_typing_error_gets_a_suggestion(self):
        known = ", ".join(SCENARIOS)
        with pytest.raises(
            ValueError, match=rf"`scenario` must be one of {known}; got 'haet-1d'\. Did you mean heat-1d\?"
        ):
            scenario_named("haet-1d")

    def test_what_is_like_nothing_gets_none(self):
        with pytest.raises(ValueError, match=r"got 'xyz'\.$"):
            scenario_named("xyz")

    def test_unknown_preset(self):
        with pytest.raises(ValueError, match=r"`preset` must be one of live, paper; got 'dead'\."):
            problem_named("heat-1d", "dead")

    @pytest.mark.parametrize(
        ("name", "numbers", "controller"),
        [
            ("poisson-1", (600, 180, 1, 275), (0.92, 0.9, 2, 1, 25, 10, 600, 0)),
            ("poisson-3", (600, None, 1, 2000), (0.92, 0.9, 2, 1, 25, 10, 600, 0)),
            ("heat-1d", (25, 100, 25, 1e-3), (0.98, 0.9, 3, 8, 1, 1, 25, 0)),
            ("heat-2d", (43, 70, 25, 1e-3), (0.9, 0.9, 3, 6, 1, 1, 43, 1)),
            ("heat-3d", (29, 100, 25, 1e-3), (None, None, None, None, 1, 1, 29, 0)),
            ("burgers-1d", (24, 100, 25, 1e-3), (None, None, None, None, 1, 1, 24, 0)),
            ("navier-stokes-2d", (40, 100, 25, 1e-3), (0.95, 0.9, 3, 6, 1, 1, 40, 0)),
        ],
    )
    def test_the_published_numbers(self, name, numbers, controller):
        """None is not published."""
        problem = problem_named(name, "paper")
        found = (problem.full_iterations, problem.epochs, problem.batch_size, problem.learning_rate)
        names = ("tau_step", "tau_stop", "window", "ema_window", "initial", "step", "maximum", "compare_with_start")
        values = values_of(problem.controller)
        for got, published in zip((*found, *(values[n] for n in names)), (*numbers, *controller), strict=True):
            assert published in (None, got)

    @pytest.mark.parametrize(
        ("name", "decay"), [("heat-1d", 0.94), ("heat-2d", 0.9), ("poisson-1", 1.0), ("poisson-3", 1.0)]
    )
    def test_the_published_decay_of_the_learning_rate(self, name, decay):
        problem = problem_named(name, "paper")
        for steps in (0, 50, 100, 560):
            assert float(problem.decay(jnp.asarray(steps))) == pytest.approx(decay ** (steps / 100), rel=1e-5)

    def test_the_published_decay_of_navier_stokes_is_a_cosine_to_a_tenth(self):
        decay = problem_named("navier-stokes-2d", "paper").decay
        assert [float(decay(jnp.asarray(step))) for step in (0, 400, 800)] == pytest.approx([1, 0.55, 0.1])

    @pytest.mark.parametrize(("name", "mode"), [("heat-2d", "unrolled"), ("heat-1d", "implicit")])
    def test_the_published_mode_is_the_default(self, name, mode):
        for problem in SCENARIOS[name].presets.values():
            assert problem.differentiations[0] == mode

    def test_the_published_solvers_are_the_defaults(self):
        solvers = {name: scenario.presets["paper"].solvers[0] for name, scenario in SCENARIOS.items()}
        assert solvers.pop("navier-stokes-2d") == "gmres"
        assert solvers.pop("burgers-1d") in ("cg", "bicgstab", "gmres")  # "Krylov"
        assert set(solvers.values()) == {"jacobi"}
        assert problem_named("navier-stokes-2d", "paper").rtol == 1e-5

    def test_the_published_networks(self):
        def sizes(name: str) -> list[tuple[int, ...]]:
            model = eqx.filter_eval_shape(problem_named(name, "paper").model, jax.random.PRNGKey(0))
            return [leaf.shape for leaf in jax.tree.leaves(model) if isinstance(leaf, jax.ShapeDtypeStruct)]

        assert sizes("heat-1d")[::2] == [(64, 30), (64, 64), (64, 64), (30, 64)]
        assert sizes("heat-2d")[::2] == [(3000, 900), (3000, 3000), (3000, 3000), (900, 3000)]
        assert sizes("poisson-1") == [(1,)]
        assert sizes("poisson-3") == [(3,)]
        channels = [shape[:2] for shape in sizes("navier-stokes-2d") if len(shape) == 4]
        assert (channels[0], channels[-1]) == ((64, 3), (3, 64))
        assert channels[1:-1] == [(64, 64)] * 6

    def test_the_published_poisson(self):
        problem = problem_named("poisson-1", "paper")
        assert np.asarray(problem.model(jax.random.PRNGKey(0)).theta).tolist() == [5.0]
        assert problem.reference_parameters == {"θ": 2.0}
        (solution,), _ = problem.data()
        x = np.arange(1, 31) / 31
        # The discrete solution of -u'' = 2 sin(2πx) with n interior points.
        eigenvalue = (2 - 2 * np.cos(2 * np.pi / 31)) * 31**2
        np.testing.assert_allclose(solution, 2 * np.sin(2 * np.pi * x) / eigenvalue, rtol=1e-5)

    def test_the_published_heat_1d(self):
        training, validation = problem_named("heat-1d", "paper").data()
        assert (training.shape, validation.shape) == ((200, 3, 30), (5, 3, 30))


class Vector(Problem):
    """The smallest problem there is: find the right side of a given solution; its model is one array."""

    full_iterations = 30
    epochs = 60
    batch_size = 1
    learning_rate = 0.1
    controller = PRDP(tau_step=0.9, window=2, ema_window=1, maximum=30)
    differentiations = ("unrolled", "implicit")

    def data(self):
        return jnp.ones((2, 3)), jnp.ones((1, 3))

    def model(self, key):
        return jax.random.normal(key, (3,))

    @property
    def operator(self) -> DenseOperator:
        return DenseOperator(jnp.array([[3.0, 1.0, 0.0], [0.0, 4.0, 1.0], [1.0, 0.0, 5.0]]))

    def loss(self, model, batch, solve):
        return jnp.mean((solve(self.operator, model) - batch[0]) ** 2)

    def metric(self, model, validation, solve):
        return jnp.mean((solve(self.operator, model) - validation[0]) ** 2)

    def fields(self, model, validation, solve):
        return {"solution": solve(self.operator, model)[None], "target": validation}

    def points(self):
        return np.linspace(0, 1, 3)


class TestProblemOfOnesOwn:
    def test_learns(self):
        training = train(Vector(), seed=3)
        records = list(training)
        assert training.settings.scenario == "Vector"
        assert training.settings.preset == "own"
        assert training.settings.differentiation == "unrolled"
        assert records[-1].validation < 1e-2 * training.initial_validation
        np.testing.assert_allclose(training.model, [4, 5, 6], rtol=0.05)

    @pytest.mark.parametrize("controller", [None, Constant(), Scheduled.linear(every=5, maximum=12)])
    def test_the_engine_trains_it_like_train_does(self, engine: Engine, controller):
        run = engine.start(TOY, controller, seed=5)
        assert run.wait(timeout=PATIENCE)
        assert run.state == "finished"
        assert timeless(run.log.records[1:]) == timeless(train(TOY, controller, seed=5))

    def test_its_own_solver_and_mode_by_name(self):
        records = {mode: list(train(TOY, differentiation=mode)) for mode in TOY.differentiations}
        schedules = [[record.iterations for record in those] for those in records.values()]
        assert schedules[0] == schedules[1]
        assert schedules[0][-1] > 1

    def test_a_batch_size_that_does_not_divide_the_samples(self):
        class Uneven(Toy):
            batch_size = 5

        with pytest.raises(ValueError, match=r"`batch_size` must divide .* got 5 and 16 samples"):
            train(Uneven())

    def test_an_incomplete_problem_cannot_be_made(self):
        class Incomplete(Problem):
            def data(self):
                return (), ()

        with pytest.raises(TypeError, match="abstract"):
            Incomplete()  # pyrefly: ignore[bad-instantiation]
