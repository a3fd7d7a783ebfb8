"""Every scenario keeps the contract of a problem, and a problem of one's own trains like the built-in ones."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, Toy, timeless

from prdp_explorer import PRDP, Constant, Engine, Problem, Scheduled, train
from prdp_explorer.problems import SCENARIOS, InnerSolve, problem_named, scenario_named
from prdp_explorer.refinement import values_of
from prdp_explorer.solvers import DIFFERENTIATIONS, SOLVERS, DenseOperator, differentiation_named, solver_named


def inner_solve(problem: Problem, iterations: int, solver: str, differentiation: str) -> InnerSolve:
    capacity = max(iterations, int(problem.controller.maximum))
    return InnerSolve(solver_named(solver), differentiation_named(differentiation, capacity), jnp.asarray(iterations))


def default_solve(problem: Problem, iterations: int) -> InnerSolve:
    return inner_solve(problem, iterations, problem.solvers[0], problem.differentiations[0])


@dataclass
class Case:
    """A problem with its data and a fresh model."""

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


PROBLEMS = {
    f"{scenario.id} {preset}": problem
    for scenario in SCENARIOS.values()
    for preset, problem in scenario.presets.items()
}


@pytest.fixture(scope="module", params=[*PROBLEMS, "toy"])
def case(request: pytest.FixtureRequest) -> Case:
    problem = {**PROBLEMS, "toy": TOY}[request.param]
    training, validation = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), problem.data())
    return Case(problem, training, validation, problem.model(jax.random.PRNGKey(0)))


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

    def test_the_data_are_the_same_every_time(self, case: Case):
        again = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), case.problem.data())
        for leaf, same in zip(*map(jax.tree.leaves, ((case.training, case.validation), again)), strict=True):
            np.testing.assert_array_equal(leaf, same)

    def test_numbers_are_within_their_ranges(self, case: Case):
        problem = case.problem
        assert isinstance(problem.controller, PRDP)
        assert 1 <= int(problem.controller.initial) <= int(problem.controller.maximum) <= problem.full_iterations
        assert problem.epochs >= 1
        assert problem.batch_size >= 1
        assert problem.learning_rate > 0
        assert 0 < float(problem.decay(jnp.asarray(1_000))) <= float(problem.decay(jnp.asarray(0))) == 1

    def test_solvers_and_modes_exist(self, case: Case):
        assert case.problem.solvers
        assert case.problem.differentiations
        assert set(case.problem.solvers) <= set(SOLVERS)
        assert set(case.problem.differentiations) <= set(DIFFERENTIATIONS)

    def test_the_seed_decides_the_model(self, case: Case):
        arrays = jax.tree.leaves(eqx.filter(case.model, eqx.is_array))
        again = jax.tree.leaves(eqx.filter(case.problem.model(jax.random.PRNGKey(0)), eqx.is_array))
        assert arrays
        for leaf, same in zip(arrays, again, strict=True):
            np.testing.assert_array_equal(leaf, same)

    def test_every_mode_gives_a_finite_loss_and_a_gradient(self, case: Case):
        @eqx.filter_jit
        def value_and_gradient(model, batch, solve):
            return eqx.filter_value_and_grad(lambda m: case.problem.loss(m, batch, solve))(model)

        iterations = int(case.problem.controller.initial)
        values = []
        for mode in case.problem.differentiations:
            solve = inner_solve(case.problem, iterations, case.problem.solvers[0], mode)
            value, gradient = value_and_gradient(case.model, case.batch, solve)
            leaves = jax.tree.leaves(gradient)
            assert jnp.shape(value) == ()
            assert np.isfinite(value)
            assert all(np.isfinite(leaf).all() for leaf in leaves)
            assert any(np.abs(leaf).max() > 0 for leaf in leaves)
            values.append(float(value))
        np.testing.assert_allclose(values, values[0], rtol=1e-5)

    def test_the_metric_is_one_finite_number(self, case: Case):
        solve = default_solve(case.problem, case.problem.full_iterations)
        metric = eqx.filter_jit(case.problem.metric)(case.model, case.validation, solve)
        assert jnp.shape(metric) == ()
        assert 0 < float(metric) < np.inf

    def test_fields_have_the_validation_samples_first_and_the_grid_last(self, case: Case):
        solve = default_solve(case.problem, int(case.problem.controller.initial))
        fields = case.problem.fields(case.model, case.validation, solve)
        assert len(fields) >= 2
        for name, values in fields.items():
            assert name
            assert values.ndim >= 2
            assert values.shape[0] == case.num_validation_samples
            assert values.shape[-1] == len(case.problem.points())
            assert np.isfinite(values).all()

    def test_points_rise_within_the_domain(self, case: Case):
        points = np.asarray(case.problem.points())
        assert (np.diff(points) > 0).all()
        assert points[0] >= 0
        assert points[-1] <= 1


class TestRegistry:
    @pytest.mark.parametrize("name", SCENARIOS)
    def test_scenarios_are_complete(self, name):
        scenario = scenario_named(name)
        assert scenario.id == name
        assert set(scenario.presets) == {"live", "paper"}
        assert scenario.title
        assert scenario.summary.endswith(".")
        assert all(isinstance(sentence, str) and sentence.endswith(".") for sentence in scenario.chosen)

    @pytest.mark.parametrize("name", SCENARIOS)
    def test_one_object_stands_for_a_preset(self, name):
        assert problem_named(name, "live") is problem_named(name, "live") is SCENARIOS[name].presets["live"]

    def test_a_typing_error_gets_a_suggestion(self):
        with pytest.raises(
            ValueError, match=r"`scenario` must be one of heat-1d.*; got 'haet-1d'\. Did you mean heat-1d\?"
        ):
            scenario_named("haet-1d")

    def test_what_is_like_nothing_gets_none(self):
        with pytest.raises(ValueError, match=r"got 'xyz'\.$"):
            scenario_named("xyz")

    def test_unknown_preset(self):
        with pytest.raises(ValueError, match=r"`preset` must be one of live, paper; got 'dead'\."):
            problem_named("heat-1d", "dead")

    def test_the_published_heat_1d(self):
        problem = problem_named("heat-1d", "paper")
        assert (problem.full_iterations, problem.epochs, problem.batch_size) == (25, 100, 25)
        assert values_of(problem.controller) == {
            "tau_step": 0.98,
            "tau_stop": 0.9,
            "window": 3,
            "ema_window": 8,
            "initial": 1,
            "step": 1,
            "maximum": 25,
        }
        training, validation = problem.data()
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
            Incomplete()  # pyright: ignore[reportAbstractUsage]
