"""The solver lab: that the curves, rates and predictions are those of the run's own linear system."""

import math
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import PATIENCE, PlainToy, undisturbed, wait_for_epoch, wait_for_state

from prdp_explorer import PRDP, Constant, Engine, Problem, Race, TolerancePRDP
from prdp_explorer.engine import SolverLab, settings_for
from prdp_explorer.engine._convergence import convergence
from prdp_explorer.engine._loop import loop_settings
from prdp_explorer.engine._rollouts import Parameters
from prdp_explorer.engine._solver_lab import checked_request, look_at_system
from prdp_explorer.physics import (
    BurgersOperator,
    HeatOperator,
    NavierStokesOperator,
    coarsen,
    navier_stokes_right_side,
    smoothed_noise_velocity,
)
from prdp_explorer.problems._burgers import BurgersEmulator
from prdp_explorer.problems._navier_stokes import NavierStokesCorrector
from prdp_explorer.solvers import (
    GMRES,
    SOLVERS,
    AbstractOperator,
    BiCGStab,
    DenseOperator,
    FunctionOperator,
    FunctionSolver,
    Richardson,
    on_host,
    residual_history,
    solvers_for,
)

pytestmark = pytest.mark.usefixtures("quickly")

TOLERANCES = (1e-2, 1e-4, 1e-6)


class Field(eqx.Module):
    """A right side as a model."""

    values: Any


class Diagonal(FunctionOperator):
    """A matrix given as a function, which promises what Jacobi asks for."""

    properties = frozenset({"diagonal"})


class Given(PlainToy):
    """Solves A u = b for a b that is given, from a start that may be."""

    full_iterations = 25
    solvers = (*solvers_for(HeatOperator, "jacobi"), "divergent", "on host")

    def __init__(self, operator: AbstractOperator, b: Any, start: Any = None):
        super().__init__()
        self.operator: Any = operator
        self.b, self.start = np.asarray(b, np.float32), start
        self.own_solvers = {
            "divergent": Richardson(rate=1.0),
            "on host": FunctionSolver(on_host(lambda A, b, x0, k: 0.5**k * x0 + b * (1 - 0.5**k) / 2), cycles=False),
        }

    def data(self) -> Any:
        return np.zeros((4, 1)), np.zeros((2, 1))

    def model(self, key) -> Any:
        return Field(jnp.asarray(self.b))

    def loss(self, model, batch, solve):
        start = None if self.start is None else jnp.asarray(self.start, jnp.float32)
        return jnp.sum(jax.vmap(lambda _: solve(self.operator, model.values, start))(batch) ** 2)


def lab_of(
    problem: Problem, *solvers: str, iterations: int | None = None, sample: int = 0, model: Any = None, **choices: Any
) -> SolverLab:
    """The lab of a run of a problem before training."""
    settings = settings_for(problem, **choices)
    (run,) = Race({"run": settings}, None, lambda: None).runs.values()
    model = problem.model(jax.random.PRNGKey(0)) if model is None else model
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))]
    names = checked_request(settings, solvers or None, iterations)
    return look_at_system(run, Parameters(0, leaves), names, iterations, sample)


def matrix_of(operator: AbstractOperator, shape: tuple[int, ...]) -> np.ndarray:
    """A, column by column, in double precision."""
    size = math.prod(shape)
    with jax.enable_x64(True):
        columns = [operator.matvec(jnp.asarray(unit.reshape(shape))) for unit in np.eye(size)]
        return np.stack([np.asarray(column).ravel() for column in columns], axis=1)


def jacobi_loop(matrix: np.ndarray, b: np.ndarray, x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and errors of Jacobi relative to the start, by a loop in NumPy against a dense solve."""
    b, x = b.astype(float).ravel(), x.astype(float).ravel()
    exact = np.linalg.solve(matrix, b)
    norms = []
    for _ in range(count + 1):
        norms.append((np.linalg.norm(b - matrix @ x), np.linalg.norm(x - exact)))
        x = x + (b - matrix @ x) / np.diagonal(matrix)
    residuals, errors = np.array(norms).T
    return residuals / residuals[0], errors / errors[0]


HEAT = {1: HeatOperator(0.001, 30), 2: HeatOperator(0.002, 8, 2)}


def shape_of(dimensions: int) -> tuple[int, ...]:
    return (HEAT[dimensions].num_points,) * dimensions


def jacobi_radius(dimensions: int) -> tuple[float, np.ndarray]:
    """The spectral radius of I - D⁻¹ A, and the eigenvector that belongs to it, from the eigenvalues of A."""
    matrix = matrix_of(HEAT[dimensions], shape_of(dimensions))
    eigenvalues, vectors = np.linalg.eigh(np.eye(len(matrix)) - matrix / np.diagonal(matrix)[:, None])
    return float(np.abs(eigenvalues).max()), vectors[:, -1].reshape(shape_of(dimensions))


def any_b(dimensions: int) -> np.ndarray:
    return (1 + 0.5 * np.random.default_rng(0).normal(size=shape_of(dimensions))).astype(np.float32)


@pytest.mark.parametrize("dimensions", [1, 2])
class TestJacobiOnHeat:
    def test_the_radius_is_that_of_the_formula(self, dimensions: int):
        """ρ = 2 d c cos(π h) / (1 + 2 d c) with the coupling c: what the others compare with is right."""
        c, points = float(HEAT[dimensions].coupling), HEAT[dimensions].num_points
        formula = 2 * dimensions * c * math.cos(math.pi / (points + 1)) / (1 + 2 * dimensions * c)
        assert jacobi_radius(dimensions)[0] == pytest.approx(formula, rel=1e-10)

    def test_the_rate_is_the_spectral_radius(self, dimensions: int):
        (found,) = lab_of(Given(HEAT[dimensions], any_b(dimensions)), iterations=60).convergences.values()
        assert found.geometric
        assert found.rate == pytest.approx(jacobi_radius(dimensions)[0], rel=2e-3)

    def test_in_the_slowest_direction_k_is_that_of_the_radius(self, dimensions: int):
        radius, slowest = jacobi_radius(dimensions)
        for iterations in (4, 12, 60):  # from a curve that ends long before, and from one that gets there
            (found,) = lab_of(Given(HEAT[dimensions], slowest), iterations=iterations).convergences.values()
            assert found.rate == pytest.approx(radius, rel=1e-4)
            for tolerance in TOLERANCES:
                assert found.predicted_iterations(tolerance) == math.ceil(math.log(tolerance) / math.log(radius))

    def test_residuals_and_errors_are_those_of_a_loop_and_a_dense_solve(self, dimensions: int):
        matrix = matrix_of(HEAT[dimensions], shape_of(dimensions))
        b, start = any_b(dimensions), np.linspace(-1, 1, matrix.shape[0]).reshape(shape_of(dimensions))
        for x0 in (None, start.astype(np.float32)):
            lab = lab_of(Given(HEAT[dimensions], b, x0), iterations=30)
            residuals, errors = jacobi_loop(matrix, b, np.zeros_like(b) if x0 is None else x0, 30)
            found = lab.convergences["jacobi"]
            assert lab.double
            assert lab.unknowns == b.size
            assert "dense" in lab.reference
            np.testing.assert_array_equal(found.iterations, np.arange(31))
            np.testing.assert_allclose(found.residuals, residuals, rtol=1e-8, atol=1e-15)
            np.testing.assert_allclose(found.errors, errors, rtol=1e-8, atol=1e-15)
            assert found.at(7) == (found.residuals[7], found.errors[7])
            assert np.isnan(found.at(31)).all()

    def test_predicted_k_is_that_at_which_a_loop_gets_there(self, dimensions: int):
        b = any_b(dimensions)
        residuals, _ = jacobi_loop(matrix_of(HEAT[dimensions], shape_of(dimensions)), b, np.zeros_like(b), 80)
        for iterations, off in ((25, 1), (80, 0)):
            (found,) = lab_of(Given(HEAT[dimensions], b), iterations=iterations).convergences.values()
            for tolerance in TOLERANCES:
                predicted = found.predicted_iterations(tolerance)
                assert predicted is not None
                assert abs(predicted - int(np.argmax(residuals <= tolerance))) <= off


class TestSolvers:
    def test_each_is_what_it_does_in_double_precision(self):
        problem = Given(HEAT[1], any_b(1))
        lab = lab_of(problem, "cg", *SOLVERS, iterations=20)
        assert list(lab.convergences) == ["cg", *(name for name in SOLVERS if name != "cg")]
        with jax.enable_x64(True):
            for name, found in lab.convergences.items():
                norms = np.asarray(residual_history(problem.solver(name), HEAT[1], jnp.asarray(problem.b, float), 20))
                np.testing.assert_allclose(found.residuals, norms / norms[0], rtol=1e-6, atol=1e-14, err_msg=name)

    def test_gauss_seidel_takes_off_the_square_and_sor_with_the_best_relaxation_less(self):
        radius, _ = jacobi_radius(1)
        found = lab_of(Given(HEAT[1], any_b(1)), "jacobi", "gauss-seidel", iterations=60).convergences
        assert found["gauss-seidel"].rate == pytest.approx(radius**2, rel=5e-3)
        assert found["gauss-seidel"].rounded < 50 < found["jacobi"].rounded

    def test_conjugate_gradients_have_a_mean_factor(self):
        found = lab_of(Given(HEAT[1], any_b(1)), "cg").convergences["cg"]
        assert not found.geometric
        last = int(np.argmax(found.errors < 1e-12))
        assert found.rate == pytest.approx(found.errors[last] ** (1 / last), rel=0.1)

    def test_what_diverges_never_gets_there(self):
        found = lab_of(Given(HEAT[1], any_b(1)), "divergent", iterations=60).convergences["divergent"]
        matrix = matrix_of(HEAT[1], (30,))
        assert found.rate == pytest.approx(np.abs(np.linalg.eigvals(np.eye(30) - matrix)).max(), rel=1e-2)
        assert found.rate > 1
        assert found.predicted_iterations(1e-2) is None
        overflowing = lab_of(Given(HEAT[1], any_b(1)), "divergent", iterations=2000).convergences["divergent"]
        assert not np.isfinite(overflowing.residuals[-1])
        assert overflowing.rate == pytest.approx(found.rate, rel=1e-2)
        assert overflowing.predicted_iterations(1e-2) is None

    def test_one_that_is_called_once_a_solve_is_called_for_some_numbers(self):
        double = Diagonal(lambda _, u: 2 * u, None, lambda _: jnp.asarray(2.0))
        lab = lab_of(Given(double, any_b(1)), "on host", iterations=50)
        found = lab.convergences["on host"]
        assert 20 < len(found.iterations) < 30
        assert {0, 1, lab.iterations, 50} <= set(found.iterations)
        np.testing.assert_allclose(
            found.residuals[found.iterations < 40], 0.5 ** found.iterations[found.iterations < 40], rtol=1e-4
        )
        assert found.rate == pytest.approx(0.5, rel=1e-3)
        assert found.predicted_iterations(1e-3) in (10, 11, 12)

    def test_rounding_ends_a_prediction_and_is_no_convergence(self):
        found = lab_of(Given(HEAT[1], any_b(1)), iterations=400).convergences["jacobi"]
        assert found.rounded < 120
        assert found.rate == pytest.approx(jacobi_radius(1)[0], rel=1e-3)
        assert found.predicted_iterations(1e-30) is None
        short = lab_of(Given(HEAT[1], any_b(1)), iterations=50).convergences["jacobi"]
        assert short.rounded == 51  # it goes on falling, if below what the square root of rounding is
        at = short.predicted_iterations(1e-14)
        assert at is not None
        assert abs(at - int(np.argmax(found.residuals <= 1e-14))) <= 1

    @pytest.mark.parametrize("tolerance", [0, -1, math.nan, math.inf, "1"])
    def test_a_tolerance_that_is_none(self, tolerance: Any):
        (found,) = lab_of(Given(HEAT[1], any_b(1))).convergences.values()
        with pytest.raises(ValueError, match="`tolerance` must be a number above 0"):
            found.predicted_iterations(tolerance)


class TestConvergence:
    def test_without_a_solution_the_residual_tells_the_rate(self):
        iterations = np.arange(40)
        found = convergence("a", iterations, 0.7**iterations, np.full(40, math.nan), 1e-16)
        assert found.rate == pytest.approx(0.7)
        assert found.geometric

    def test_a_transient_does_not_count(self):
        iterations = np.arange(100)
        curve = (0.8**iterations + 1e3 * 0.3**iterations) / 1001
        assert convergence("a", iterations, curve, curve, 1e-16).rate == pytest.approx(0.8, rel=1e-3)

    def test_what_stands_still_does_not_converge(self):
        curve = np.ones(30)
        found = convergence("a", np.arange(30), curve, curve, 1e-16)
        assert found.rate == pytest.approx(1)
        assert found.predicted_iterations(0.5) is None

    def test_a_jump_and_then_rounding(self):
        curve = np.array([1, 3e-16, *[1e-16] * 20])
        found = convergence("a", np.arange(22), curve, curve, 2e-16)
        assert found.rate == pytest.approx(3e-16)
        assert found.predicted_iterations(1e-6) == 1


class TestSystem:
    def test_of_a_matrix_that_depends_on_the_state_it_is_that_of_the_sample(self):
        class Given(BurgersEmulator):
            def data(self):
                return given, given[:2]

        given = np.random.default_rng(0).normal(size=(25, 2, 32)).astype(np.float32)
        problem = Given(
            num_points=32, channels=2, blocks=1, dt=0.05, viscosity=0.002, controller=PRDP(maximum=8),
            num_training_samples=25, num_validation_samples=2,
        )  # fmt: skip
        model = problem.model(jax.random.PRNGKey(0))
        curves = []
        for sample in (0, 3):
            found = lab_of(problem, iterations=10, sample=sample).convergences["bicgstab"]
            u = model(jnp.asarray(given[sample, 0]))
            with jax.enable_x64(True):
                wide = jnp.asarray(u, jnp.float64)
                norms = np.asarray(residual_history(BiCGStab(), BurgersOperator(wide, 0.05, 0.002), wide, 10))
            # The matrix was made in single precision.
            np.testing.assert_allclose(found.residuals, norms / norms[0], rtol=0.02, atol=1e-7)
            curves.append(found.residuals)
        assert np.abs(curves[0] / curves[1] - 1).max() > 0.1

    def test_of_several_solves_it_is_the_first(self):
        class Given(NavierStokesCorrector):
            def data(self):
                return given, given[:2]

        velocities = coarsen(smoothed_noise_velocity(0, 25, 15))  # an even grid has a second, nearly singular mode
        given = np.zeros((25, 3, 3, 7, 7), np.float32)
        given[:, :, :2] = velocities[:, None]
        problem = Given(
            fine_points=15, channels=2, blocks=1, averages="proper", num_training_samples=25, num_validation_samples=2
        )
        lab = lab_of(problem, iterations=8, sample=2)
        with jax.enable_x64(True):
            velocity = jnp.asarray(velocities[2], jnp.float64)
            operator = NavierStokesOperator(velocity, problem.dt, problem.viscosity)
            b = navier_stokes_right_side(velocity, problem.dt)
            norms = np.asarray(residual_history(GMRES(), operator, b, 8))
        found = lab.convergences["gmres"]
        np.testing.assert_allclose(found.residuals, norms / norms[0], rtol=0.02, atol=1e-7)
        assert "GMRES" in lab.reference  # since the matrix is singular
        assert found.errors[-1] < 1e-3

    def test_the_solution_of_a_large_one_is_found_by_iteration(self, monkeypatch: pytest.MonkeyPatch):
        dense = lab_of(Given(HEAT[2], any_b(2)), iterations=30)
        monkeypatch.setattr("prdp_explorer.engine._solver_lab.DENSE", 10)
        iterated = lab_of(Given(HEAT[2], any_b(2)), iterations=30)
        assert ("dense" in dense.reference, "GMRES" in iterated.reference) == (True, True)
        np.testing.assert_allclose(
            iterated.convergences["jacobi"].errors, dense.convergences["jacobi"].errors, rtol=1e-6, atol=1e-15
        )

    def test_one_without_a_solution_has_residuals_alone(self):
        singular = DenseOperator(jnp.asarray(np.diag([1.0, 2.0, 0.0]), jnp.float32))
        lab = lab_of(Given(singular, np.ones(3)), "steepest-descent", iterations=10)
        assert "not found" in lab.reference
        found = lab.convergences["steepest-descent"]
        assert np.isnan(found.errors).all()
        assert np.isfinite(found.residuals).all()

    def test_an_operator_of_single_precision_is_looked_at_in_it(self):
        single = Diagonal(lambda _, u: HEAT[1].matvec(u).astype(jnp.float32), None, lambda _: HEAT[1].diagonal())
        lab = lab_of(Given(single, any_b(1)), iterations=60)
        assert not lab.double
        found = lab.convergences["jacobi"]
        assert found.rate == pytest.approx(jacobi_radius(1)[0], rel=0.01)
        assert found.errors[-1] < 1e-6

    def test_how_far_it_goes_and_k_of_now(self):
        problem = Given(HEAT[1], any_b(1))
        assert len(lab_of(problem).convergences["jacobi"].residuals) == 51
        assert lab_of(problem).iterations == problem.controller.initial
        assert lab_of(problem, controller=Constant(9)).iterations == 9
        assert len(lab_of(problem, controller=Constant(70)).convergences["jacobi"].residuals) == 71


class TestErrors:
    def test_a_solver_that_does_not_suit_the_matrix(self):
        plain = Diagonal(lambda _, u: 2 * u, None, lambda _: jnp.asarray(2.0))
        with pytest.raises(ValueError, match="GaussSeidel needs an order in which points can be swept"):
            lab_of(Given(plain, any_b(1)), "gauss-seidel")

    def test_a_loop_of_ones_own(self):
        settings = loop_settings("mine", full_iterations=20)
        with pytest.raises(ValueError, match="loop of one's own has no system here"):
            checked_request(settings, None, None)

    def test_a_loss_that_makes_no_inner_solve(self):
        class Alone(Given):
            def loss(self, model, batch, solve):
                return jnp.sum(model.values) * solve.iterations

        with pytest.raises(ValueError, match="makes no inner solve through the `solve"):
            lab_of(Alone(HEAT[1], any_b(1)))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_what_diverged(self, bad: float):
        b = any_b(1)
        b[3] = bad
        with pytest.raises(ValueError, match="system is not finite"):
            lab_of(Given(HEAT[1], b))

    def test_what_is_solved_from_the_start(self):
        with pytest.raises(ValueError, match="its solution already"):
            lab_of(Given(HEAT[1], np.zeros(30)))

    @pytest.mark.parametrize("iterations", [0, -3, 2001, 2.5, "9"])
    def test_iterations_that_cannot_be(self, iterations: Any):
        with pytest.raises(ValueError, match="`iterations` must be a whole number from 1 to 2000"):
            lab_of(Given(HEAT[1], any_b(1)), iterations=iterations)

    @pytest.mark.parametrize("sample", [-1, 4, 1.5])
    def test_a_sample_that_there_is_not(self, sample: Any):
        with pytest.raises(ValueError, match="`sample` must be a whole number from 0 to 3"):
            lab_of(Given(HEAT[1], any_b(1)), sample=sample)

    def test_solvers_that_do_not_suit(self):
        with pytest.raises(ValueError, match=r"`solvers` must be some of jacobi, .* got 'multigrid'"):
            lab_of(Given(HEAT[1], any_b(1)), "cg", "multigrid")
        with pytest.raises(ValueError, match="got none"):
            checked_request(settings_for(PlainToy()), (), None)


PLAIN = PlainToy()


class TestEngine:
    def test_while_it_trains_it_disturbs_nothing(self, engine: Engine):
        run = engine.start(PLAIN, epochs=1)
        assert run.wait(timeout=PATIENCE)
        engine.solver_lab(run, solvers=("jacobi", "cg")).result(PATIENCE)  # compiles
        run = engine.start(PLAIN, epochs=2000, pace=1000)
        wait_for_epoch(run, 1)
        epochs = []
        while not run.ended:
            epochs.append(engine.solver_lab(run, solvers=("jacobi", "cg")).result(PATIENCE).epoch)
        assert epochs == sorted(epochs)
        assert len(set(epochs)) > 2
        alone, rows = undisturbed(run)
        for column in ("validation", "train_loss", "iterations"):
            np.testing.assert_array_equal(run.log.read()[column], rows[column])
        for after, expected in zip(engine._parameters(run, None).leaves, alone.parameters(), strict=False):
            np.testing.assert_array_equal(after, expected)

    def test_it_is_of_the_parameters_now(self, engine: Engine):
        run = engine.start(PLAIN, epochs=4000)
        wait_for_epoch(run, 3)
        run.pause()
        wait_for_state(run, "paused")
        lab = engine.solver_lab(run).result(PATIENCE)
        assert lab.epoch == run.epoch
        assert lab.iterations == run.next_iterations
        model = eqx.combine(
            jax.tree.unflatten(
                jax.tree.structure(eqx.filter(PLAIN.model(jax.random.PRNGKey(0)), eqx.is_array)),
                engine._parameters(run, None).leaves[:2],
            ),
            PLAIN.model(jax.random.PRNGKey(0)),
        )
        b = np.asarray(model(jnp.asarray(PLAIN.data()[0]["start"][0], jnp.float32)))
        residuals, errors = jacobi_loop(matrix_of(PLAIN.operator, (6,)), b, np.zeros(6), 20)
        found = lab.convergences["jacobi"]
        np.testing.assert_allclose(found.residuals[:21], residuals, rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(found.errors[:21], errors, rtol=1e-4, atol=1e-8)
        run.stop()

    def test_of_a_run_that_is_over_it_is_of_its_end(self, engine: Engine):
        run = engine.start(PLAIN, epochs=5)
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "finished")
        assert engine.solver_lab(run).result(PATIENCE).epoch == 5

    def test_where_a_tolerance_is_refined_k_is_what_was_used(self, engine: Engine):
        run = engine.start(PLAIN, TolerancePRDP(maximum=12), epochs=5)
        assert run.wait(timeout=PATIENCE)
        lab = engine.solver_lab(run).result(PATIENCE)
        assert lab.iterations == run.log.read()["iterations"][-1] < 12

    def test_what_cannot_be_asked_for_is_refused_at_once(self, engine: Engine):
        run = engine.start(PLAIN, epochs=2)
        with pytest.raises(ValueError, match="`solvers` must be some of"):
            engine.solver_lab(run, solvers=cast(Any, ("multigrid",)))
