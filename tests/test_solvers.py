"""Solvers against NumPy, and gradients against dense ones, finite differences and naive unrolling."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jaxtyping import Array, Float

from prdp_explorer.physics import HeatOperator
from prdp_explorer.solvers import (
    DIFFERENTIATIONS,
    SOLVERS,
    AbstractDifferentiation,
    AbstractOperator,
    AbstractSolver,
    DenseOperator,
    Implicit,
    Jacobi,
    Unrolled,
    differentiation_named,
    iterate,
    residual_history,
    solve,
    solver_named,
)

CONVERGED = 400
pytestmark = pytest.mark.usefixtures("float64")


def matrix(size: int = 6) -> np.ndarray:
    """Not symmetric, strictly diagonally dominant."""
    random = np.random.default_rng(size)
    entries = random.uniform(-1, 1, (size, size))
    return entries + np.diag(2.0 * size * random.choice([-1.0, 1.0], size) - entries.diagonal())


def vectors(count: int, size: int = 6) -> Any:
    return jnp.asarray(np.random.default_rng(count).normal(size=(count, size)))


def dense() -> DenseOperator:
    return DenseOperator(jnp.asarray(matrix()))


def jacobi_by_hand(a: np.ndarray, b: Any, iterations: int, start: Any = None) -> np.ndarray:
    """Entry by entry, as a textbook has it."""
    b = np.asarray(b)
    u = np.zeros_like(b) if start is None else np.asarray(start)
    for _ in range(iterations):
        u = np.array([(b[i] - sum(a[i, j] * u[j] for j in range(len(b)) if j != i)) / a[i, i] for i in range(len(b))])
    return u


def unrolled_by_hand(operator: AbstractOperator, b: Any, iterations: int, start: Any = None) -> Any:
    """Jacobi as a Python loop that `jax.grad` differentiates by itself."""
    u = jnp.zeros_like(b) if start is None else start
    for _ in range(iterations):
        u = u + (b - operator.matvec(u)) / operator.diagonal()
    return u


class Richardson(AbstractSolver):
    """u <- u + rate (b - A u); a solver of one's own, with a parameter, and a state that is no plain array."""

    rate: Float[Array, ""]

    def init(self, operator, b, x0):
        return {"u": x0, "count": jnp.zeros(())}

    def step(self, operator, b, state):
        return {"u": state["u"] + self.rate * (b - operator.matvec(state["u"])), "count": state["count"] + 1.0}

    def solution(self, state):
        return state["u"]


def assert_close(mine: Any, other: Any, tolerance: float = 1e-11) -> None:
    for leaf, same in zip(*map(jax.tree.leaves, (mine, other)), strict=True):
        np.testing.assert_allclose(leaf, same, rtol=tolerance, atol=tolerance)


@jax.jit
def compiled_solve(operator: AbstractOperator, b: Any, iterations: Any, mode: Any, x0: Any = None) -> Any:
    return solve(operator, b, Jacobi(), iterations, mode, x0=x0)


@jax.jit
def projected_gradient(operator: AbstractOperator, b: Any, g: Any, iterations: Any, mode: Any) -> Any:
    """Of gᵀ u with respect to the operator and b."""
    return jax.grad(lambda operator, b: solve(operator, b, Jacobi(), iterations, mode) @ g, (0, 1))(operator, b)


def gradient(function: Callable[..., Any], arguments: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Compiled, which takes less time here than one operation after the other."""
    return jax.jit(jax.grad(function, arguments))


both_modes = pytest.mark.parametrize("mode", [Implicit(), Unrolled(CONVERGED)], ids=["implicit", "unrolled"])


class TestJacobi:
    @pytest.mark.parametrize("iterations", [0, 1, 2, 5, 17])
    @pytest.mark.parametrize("started", [False, True])
    @both_modes
    def test_k_iterations_as_in_a_textbook(self, mode, started, iterations):
        b, start = vectors(2)
        x0 = start if started else None
        mine = compiled_solve(dense(), b, iterations, mode, x0)
        assert_close(mine, jacobi_by_hand(matrix(), b, iterations, x0), 1e-13)

    @both_modes
    def test_converges_to_the_dense_solution(self, mode):
        (b,) = vectors(1)
        mine = solve(dense(), b, "jacobi", CONVERGED, mode)
        assert_close(mine, np.linalg.solve(matrix(), b))

    @pytest.mark.parametrize("dimensions", [1, 2, 3])
    def test_solves_a_heat_step_on_a_grid(self, dimensions):
        operator = HeatOperator(0.01, 5, dimensions)
        b = np.random.default_rng(0).normal(size=(5,) * dimensions)
        assert_close(solve(operator, jnp.asarray(b), "jacobi", CONVERGED), operator.solve_exactly(b))

    def test_stays_at_the_solution(self):
        (b,) = vectors(1)
        u = jnp.linalg.solve(jnp.asarray(matrix()), b)
        assert_close(solve(dense(), b, "jacobi", 3, x0=u), u)

    @both_modes
    def test_single_precision_stays_single(self, mode):
        with jax.enable_x64(False):
            operator = HeatOperator(0.01, 5)
            u = solve(operator, jnp.ones(5), "jacobi", 3, mode)
            of_b = gradient(lambda b: solve(operator, b, "jacobi", 3, mode).sum())(jnp.ones(5))
        assert u.dtype == of_b.dtype == jnp.float32

    def test_iterate_is_the_solve_without_a_gradient(self):
        b, start = vectors(2)
        operator = dense()
        assert_close(iterate(Jacobi(), operator, b, start, 4), solve(operator, b, Jacobi(), 4, x0=start), 1e-15)


class TestTracedIterations:
    @both_modes
    @pytest.mark.parametrize("what", ["solution", "gradient"])
    def test_one_trace_serves_every_k(self, what, mode):
        (b,) = vectors(1)
        operator = dense()
        traces = []

        def solution(operator, b, iterations):
            traces.append(None)
            return solve(operator, b, Jacobi(), iterations, mode)

        def loss(operator, b, iterations):
            return jnp.sum(solution(operator, b, iterations) ** 2)

        compiled = jax.jit(solution if what == "solution" else gradient(loss))
        for iterations in (0, 1, 2, 7, 30):
            mine = compiled(operator, b, iterations)
            if what == "solution":
                assert_close(mine.ravel(), jacobi_by_hand(matrix(), b, iterations))
        assert len(traces) == 1

    @both_modes
    def test_lanes_with_different_k(self, mode):
        (b,) = vectors(1)
        operator = dense()
        counts = [0, 3, 1, 9]

        def loss(b, iterations):
            return jnp.sum(solve(operator, b, Jacobi(), iterations, mode) ** 3)

        one = gradient(loss)
        lanes = jax.jit(jax.vmap(one, in_axes=(None, 0)))(b, jnp.array(counts))
        for lane, count in zip(lanes, counts, strict=True):
            assert_close(lane, one(b, count))


def dense_loss(a: Any, b: Any) -> Any:
    return jnp.sum(jnp.sin(jnp.linalg.solve(a, b)))


def loss_of(mode: AbstractDifferentiation, iterations: Any, start: Any = None) -> Callable[..., Any]:
    return lambda operator, b: jnp.sum(jnp.sin(solve(operator, b, Jacobi(), iterations, mode, x0=start)))


class TestGradientsAtConvergence:
    @both_modes
    def test_of_a_matrix_that_is_not_symmetric(self, mode):
        (b,) = vectors(1)
        of_operator, of_b = gradient(loss_of(mode, CONVERGED), (0, 1))(dense(), b)
        of_matrix, of_dense_b = gradient(dense_loss, (0, 1))(jnp.asarray(matrix()), b)
        assert_close(of_operator.matrix, of_matrix, 1e-10)
        assert_close(of_b, of_dense_b, 1e-10)

    @both_modes
    @pytest.mark.parametrize("dimensions", [1, 2])
    def test_of_the_diffusion(self, mode, dimensions):
        b = jnp.asarray(np.random.default_rng(1).normal(size=(4,) * dimensions))

        def by_matrix(diffusion, b):
            operator = HeatOperator(diffusion, 4, dimensions)
            columns = jax.vmap(operator.matvec)(jnp.eye(b.size).reshape(-1, *b.shape))
            return dense_loss(columns.reshape(b.size, b.size).T, b.ravel())

        def mine(diffusion, b):
            return loss_of(mode, CONVERGED)(HeatOperator(diffusion, 4, dimensions), b)

        assert_close(gradient(mine, (0, 1))(0.02, b), gradient(by_matrix, (0, 1))(0.02, b), 1e-10)

    @both_modes
    def test_under_jit_vmap_and_grad_together(self, mode):
        operator = dense()
        batch = vectors(3)
        gradients = jax.jit(jax.vmap(gradient(loss_of(mode, CONVERGED), 1), in_axes=(None, 0)))(operator, batch)
        expected = [gradient(dense_loss, 1)(jnp.asarray(matrix()), b) for b in batch]
        assert_close(gradients, np.stack(expected), 1e-10)

    @both_modes
    def test_a_gradient_through_two_solves_in_a_row(self, mode):
        (b,) = vectors(1)

        def twice(operator, b):
            return loss_of(mode, CONVERGED)(operator, solve(operator, b, Jacobi(), CONVERGED, mode))

        def dense_twice(a, b):
            return dense_loss(a, jnp.linalg.solve(a, b))

        mine = gradient(twice, (0, 1))(dense(), b)
        assert_close(mine, gradient(dense_twice, (0, 1))(jnp.asarray(matrix()), b), 1e-10)


class TestUnrolled:
    @pytest.mark.parametrize("iterations", [0, 1, 2, 3, 6])
    @pytest.mark.parametrize("traced", [False, True])
    def test_equals_naive_unrolling(self, iterations, traced):
        b, start = vectors(2)
        operator = dense()

        def mine(operator, b, start, iterations):
            return loss_of(Unrolled(6), iterations, start)(operator, b)

        def naive(operator, b, start):
            return jnp.sum(jnp.sin(unrolled_by_hand(operator, b, iterations, start)))

        wanted = (0, 1, 2)
        of_mine = gradient(mine, wanted) if traced else jax.grad(mine, wanted)
        mine_of_all = of_mine(operator, b, start, iterations)
        assert_close(mine_of_all, gradient(naive, (0, 1, 2))(operator, b, start))

    @pytest.mark.parametrize("iterations", [1, 2, 5])
    def test_equals_naive_unrolling_for_the_diffusion(self, iterations):
        (b,) = vectors(1)
        mine = gradient(lambda d: loss_of(Unrolled(8), iterations)(HeatOperator(d, 6), b))
        naive = gradient(lambda d: jnp.sum(jnp.sin(unrolled_by_hand(HeatOperator(d, 6), b, iterations))))
        assert_close(mine(0.03), naive(0.03))
        assert abs(mine(0.03)) > 1e-3

    def test_equals_finite_differences(self):
        b, start = vectors(2)

        def mine(a, b, start):
            return loss_of(Unrolled(4), 4, jnp.asarray(start))(DenseOperator(jnp.asarray(a)), jnp.asarray(b))

        check_grads(mine, (jnp.asarray(matrix()), b, start), 1, ["rev"], rtol=1e-6)

    def test_a_solver_of_ones_own_with_a_parameter(self):
        b, start = vectors(2)
        operator = dense()

        def mine(rate, operator, b, start):
            return jnp.sum(jnp.sin(solve(operator, b, Richardson(rate), 3, Unrolled(5), x0=start)))

        def naive(rate, operator, b, start):
            u = start
            for _ in range(3):
                u = u + rate * (b - operator.matvec(u))
            return jnp.sum(jnp.sin(u))

        arguments = (jnp.asarray(0.05), operator, b, start)
        assert_close(gradient(mine, (0, 1, 2, 3))(*arguments), gradient(naive, (0, 1, 2, 3))(*arguments))

    @pytest.mark.parametrize("traced", [False, True])
    def test_the_solution_beyond_capacity_is_no_number(self, traced):
        (b,) = vectors(1)
        operator = dense()
        compiled = jax.jit(lambda k: solve(operator, b, Jacobi(), k, Unrolled(3)))
        within, beyond = (compiled(k) if traced else solve(operator, b, Jacobi(), k, Unrolled(3)) for k in (3, 4))
        assert_close(within, jacobi_by_hand(matrix(), b, 3))
        assert np.isnan(beyond).all()

    @pytest.mark.parametrize("power", [1, 2], ids=["linear loss", "quadratic loss"])
    def test_the_gradient_beyond_capacity_is_no_number(self, power):
        """Also where the loss is linear, so that its own derivative does not see the NaN of the solution."""
        (b,) = vectors(1)
        operator = dense()
        of_operator, of_b = gradient(lambda a, b: jnp.sum(solve(a, b, Jacobi(), 5, Unrolled(3)) ** power), (0, 1))(
            operator, b
        )
        assert np.isnan(of_b).all()
        assert np.isnan(of_operator.matrix).all()

    @pytest.mark.parametrize("capacity", [0, -1])
    def test_capacity_must_be_positive(self, capacity):
        with pytest.raises(ValueError, match="`capacity` must be at least 1"):
            Unrolled(capacity)


class TestImplicit:
    @pytest.mark.parametrize("iterations", [0, 1, 2, 3, 10])
    def test_truncates_primal_and_adjoint_at_k(self, iterations):
        b, g = vectors(2)
        operator = dense()
        mine = projected_gradient(operator, b, g, iterations, Implicit())
        u = jacobi_by_hand(matrix(), b, iterations)
        adjoint = jacobi_by_hand(matrix().T, g, iterations)
        assert_close(mine[0].matrix, -np.outer(adjoint, u))
        assert_close(mine[1], adjoint)

    @pytest.mark.parametrize("iterations", [1, 2, 3, 5, 11, 50])
    @pytest.mark.parametrize("operator", ["dense", "heat"])
    def test_of_b_equals_unrolled_for_jacobi_from_zero(self, operator, iterations):
        b, g = vectors(2)
        a = dense() if operator == "dense" else HeatOperator(0.02, 6)
        implicit, unrolled = (projected_gradient(a, b, g, iterations, mode)[1] for mode in (Implicit(), Unrolled(50)))
        assert_close(implicit, unrolled, 1e-13)

    def test_of_the_matrix_differs_from_unrolled_before_convergence(self):
        (b,) = vectors(1)
        operator = dense()
        implicit, unrolled = (gradient(loss_of(mode, 2))(operator, b).matrix for mode in (Implicit(), Unrolled(2)))
        assert np.abs(implicit - unrolled).max() > 1e-4

    def test_the_start_has_no_gradient(self):
        b, start = vectors(2)
        operator = dense()
        of_start = gradient(lambda start: loss_of(Implicit(), 2, start)(operator, b))(start)
        assert_close(of_start, np.zeros(6), 0)

    def test_a_solver_of_ones_own_with_a_parameter(self):
        (b,) = vectors(1)
        a = matrix() @ matrix().T / 40 + np.eye(6)

        def loss(rate, operator, b):
            return jnp.sum(jnp.sin(solve(operator, b, Richardson(rate), 3_000)))

        of_rate, of_operator, of_b = gradient(loss, (0, 1, 2))(jnp.asarray(0.1), DenseOperator(jnp.asarray(a)), b)
        of_matrix, of_dense_b = gradient(dense_loss, (0, 1))(jnp.asarray(a), b)
        assert of_rate == 0
        assert_close(of_operator.matrix, of_matrix, 1e-9)
        assert_close(of_b, of_dense_b, 1e-9)


class TestNames:
    def test_solve_by_names_equals_solve_by_objects(self):
        (b,) = vectors(1)
        operator = dense()
        for name in DIFFERENTIATIONS:
            by_name = gradient(lambda b, name=name: solve(operator, b, "jacobi", 3, name).sum())(b)
            by_object = gradient(
                lambda b, name=name: solve(operator, b, Jacobi(), 3, differentiation_named(name, 3)).sum()
            )(b)
            assert_close(by_name, by_object, 0)

    def test_every_name_stands_for_something(self):
        assert {name: type(solver_named(name)) for name in SOLVERS} == SOLVERS
        assert all(isinstance(differentiation_named(name, 5), AbstractDifferentiation) for name in DIFFERENTIATIONS)

    def test_unknown_solver(self):
        with pytest.raises(ValueError, match=r"`solver` must be one of jacobi.*; got 'jacoby'"):
            solve(HeatOperator(0.1, 3), jnp.ones(3), "jacoby", 1)

    def test_unknown_differentiation(self):
        with pytest.raises(ValueError, match=r"`differentiation` must be one of unrolled, implicit.*; got 'adjoint'"):
            solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", 1, "adjoint")

    def test_unrolled_by_name_needs_a_concrete_k(self):
        with pytest.raises(ValueError, match=r"Pass Unrolled\(capacity\)"):
            jax.jit(lambda k: solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", k, "unrolled"))(3)

    def test_implicit_by_name_takes_a_traced_k(self):
        traced = jax.jit(lambda k: solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", k, "implicit"))(3)
        assert_close(traced, solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", 3))


class TestResidualHistory:
    @pytest.mark.parametrize("started", [False, True])
    def test_norms_before_the_first_and_after_each_iteration(self, started):
        b, start = vectors(2)
        x0 = start if started else None
        mine = residual_history(Jacobi(), dense(), b, 8, x0)
        expected = [np.linalg.norm(b - matrix() @ jacobi_by_hand(matrix(), b, k, x0)) for k in range(9)]
        assert_close(mine, np.array(expected), 1e-12)

    def test_of_a_field_on_a_grid_falls(self):
        norms = residual_history(Jacobi(), HeatOperator(0.01, 5, 2), jnp.ones((5, 5)), 20)
        assert norms.shape == (21,)
        assert norms[0] == 5
        assert (np.diff(norms) < 0).all()


class TestDenseOperator:
    def test_matvec_diagonal_and_transpose(self):
        operator, (u,) = dense(), vectors(1)
        assert_close(operator.matvec(u), matrix() @ u)
        assert_close(operator.diagonal(), matrix().diagonal())
        assert_close(operator.transpose().matvec(u), matrix().T @ u)
