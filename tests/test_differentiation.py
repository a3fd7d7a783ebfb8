"""Gradients through solves against dense ones, finite differences, naive unrolling and theory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jaxtyping import Array, Float, Int
from solver_helpers import (
    EVERY_MODE,
    EVERY_SOLVER,
    FOR_SYMMETRIC,
    MANY,
    RESTARTING,
    SIZE,
    STATIONARY,
    assembled,
    assert_close,
    dense,
    for_every_solver_and_mode,
    for_solvers,
    general,
    iteration_matrix,
    matrix_for,
    pulled,
    spectral_radius,
    splitting,
    stencil_about,
    step,
    symmetric,
    textbook,
    traces,
    vectors,
)

from prdp_explorer.physics import HeatOperator
from prdp_explorer.solvers import (
    AbstractDifferentiation,
    AbstractOperator,
    AbstractSolver,
    Detached,
    ExactAdjoint,
    Implicit,
    Jacobi,
    Truncated,
    Unrolled,
    solve,
)

pytestmark = pytest.mark.usefixtures("quickly", "float64")


def unrolled_by_hand(solver: AbstractSolver, operator: Any, b: Any, start: Any, iterations: int, last: int) -> Any:
    """A Python loop, in which the state before the last few iterations counts as constant.

    The zeros added to it let JAX take the same compiled steps as where it does not.
    """
    state = solver.init(operator, b, start)
    before = max(iterations - last, 0)
    for _ in range(before):
        state = step(solver, operator, b, state)
    if last < MANY:
        state = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) + 0 * leaf, state)
    for _ in range(iterations - before):
        state = step(solver, operator, b, state)
    return solver.solution(state)


def pulled_by_hand(name: str, operator: Any, b: Any, start: Any, g: Any, iterations: int, last: int = MANY) -> Any:
    solver = EVERY_SOLVER[name]

    def solution(operator: Any, b: Any, start: Any) -> Any:
        return unrolled_by_hand(solver, operator, b, start, iterations, last)

    u, pull_back = jax.vjp(solution, operator, b, start)
    return u, pull_back(g)


def cotangents_of(name: str, mode: AbstractDifferentiation | str, iterations: int) -> Any:
    """Solution and cotangents of matrix, b, start and meter, of one system with the solver's matrix and a start."""
    b, start, g = vectors(3)
    mode = EVERY_MODE[mode] if isinstance(mode, str) else mode
    u, (of_operator, *others) = pulled(EVERY_SOLVER[name], mode, dense(matrix_for(name)), b, start, g, iterations)
    return u, of_operator.matrix, *others


class TestUnrolled:
    @for_solvers()
    def test_equals_naive_unrolling(self, name):
        b, start, g = vectors(3)
        for iterations in (0, 1, 2, 3, 5):
            mine = cotangents_of(name, "unrolled", iterations)
            u, (of_operator, of_b, of_start) = pulled_by_hand(name, dense(matrix_for(name)), b, start, g, iterations)
            assert_close(mine[:4], (u, of_operator.matrix, of_b, of_start), 1e-12)

    @for_solvers()
    def test_equals_central_differences(self, name):
        """Along a random direction of all inputs at once."""
        b, start, g, of_b, of_start = vectors(5)
        a, of_a = matrix_for(name), np.random.default_rng(3).normal(size=(SIZE, SIZE))
        mode, solver = EVERY_MODE["unrolled"], EVERY_SOLVER[name]

        def value(h: float) -> Any:
            u, _ = pulled(solver, mode, dense(a + h * of_a), b + h * of_b, start + h * of_start, g, 3)
            return u @ g

        _, cotangents = pulled(solver, mode, dense(a), b, start, g, 3)
        slope = sum(
            np.sum(cotangent * direction)
            for cotangent, direction in zip(
                (cotangents[0].matrix, *cotangents[1:3]), (of_a, of_b, of_start), strict=True
            )
        )
        np.testing.assert_allclose((value(1e-6) - value(-1e-6)) / 2e-6, slope, rtol=1e-6)
        assert abs(slope) > 1e-3

    def test_passes_jax_own_check(self):
        b, start, _ = vectors(3)

        @jax.jit
        def mine(a: Any, b: Any, start: Any) -> Any:
            return solve(dense(a), b, Jacobi(), 3, Unrolled(3), x0=start)

        check_grads(mine, (jnp.asarray(general()), b, start), 1, ["rev"], rtol=1e-6)

    @for_solvers()
    def test_beyond_capacity_nothing_is_a_number(self, name):
        within, beyond = (cotangents_of(name, "unrolled", iterations)[:4] for iterations in (MANY, MANY + 1))
        assert all(np.isfinite(leaf).all() for leaf in within)
        assert all(np.isnan(leaf).all() for leaf in beyond[:3])

    @pytest.mark.parametrize("traced", [False, True])
    def test_the_solution_beyond_capacity_without_a_gradient(self, traced):
        b, _ = vectors(2)

        def mine(k: Any) -> Any:
            return solve(dense(general()), b, Jacobi(), k, Unrolled(3))

        within, beyond = (jax.jit(mine)(k) if traced else mine(k) for k in (3, 4))
        assert_close(within, textbook(Jacobi(), general(), b, 3)[3])
        assert np.isnan(beyond).all()

    def test_a_tolerance_met_within_capacity(self):
        b, start, g = vectors(3)
        for mode, last in ((Unrolled(20), MANY), (Truncated(3), 3)):
            inputs = Jacobi(), mode, dense(general()), b, start, g
            u, (of_operator, of_b, of_start, meter) = pulled(*inputs, 10_000, 1e-3)
            used = int(meter[0])
            assert 3 < used < 20
            expected_u, expected = pulled_by_hand("jacobi", dense(general()), b, start, g, used, last)
            assert_close((u, (of_operator, of_b, of_start)), (expected_u, expected))

    @for_solvers(["cg", "bicgstab"])
    def test_krylov_methods_see_only_the_eigenvectors_that_b_holds(self, name):
        """They solve with a polynomial of A that is right at the eigenvalues met, and its gradient is that one's."""
        a, (b, start, g) = symmetric(), vectors(3)
        eigenvectors = np.linalg.eigh(a)[1]
        held, others = eigenvectors[:, [1, 5]], eigenvectors[:, [0, 2, 3, 4, 6, 7]]
        b = jnp.asarray(held @ [1.0, -0.4])
        inputs = EVERY_SOLVER[name], EVERY_MODE["unrolled"], dense(a), b, 0 * start, g, MANY
        u, (_, of_b, _, _) = pulled(*inputs)
        expected = np.linalg.solve(a, g)
        assert_close(u, np.linalg.solve(a, b), 1e-13)
        assert_close(held.T @ of_b, held.T @ expected, 1e-12)
        assert np.abs(others.T @ (of_b - expected)).max() > 1e-2


class TestImplicit:
    @for_solvers()
    def test_truncates_primal_and_adjoint_at_k(self, name):
        solver, a, (b, start, g) = EVERY_SOLVER[name], matrix_for(name), vectors(3)
        u, adjoint = textbook(solver, a, b, 5, start), textbook(solver, a.T, g, 5)
        for k in (0, 1, 2, 5):
            _, of_matrix, of_b, of_start, _ = cotangents_of(name, "implicit", k)
            assert_close(of_matrix, -np.outer(adjoint[k], u[k]))
            assert_close(of_b, adjoint[k])
            assert_close(of_start, np.zeros(SIZE), 0)

    @for_solvers(STATIONARY)
    def test_adjoint_iterations_of_its_own_are_terms_of_a_neumann_series(self, name):
        """The sum of m terms (I - M⁻¹ Aᵀ)ʲ M⁻¹ g, whatever K is."""
        a, (b, start, g) = matrix_for(name), vectors(3)
        powers = [np.linalg.matrix_power(iteration_matrix(name, a.T), j) for j in range(3)]
        series = sum(powers) @ np.linalg.solve(splitting(name, a.T), g)
        u = textbook(EVERY_SOLVER[name], a, b, 6, start)
        for k in (0, 2, 6):
            _, of_matrix, of_b, _, meter = cotangents_of(name, Implicit(3), k)
            assert_close(of_b, series, 1e-13)
            assert_close(of_matrix, -np.outer(series, u[k]), 1e-13)
            np.testing.assert_array_equal(meter, [k, 1])

    def test_a_tolerance_holds_for_the_adjoint_too(self):
        a, (b, start, g) = general(), vectors(3)
        _, (_, of_b, _, _) = pulled(Jacobi(), Implicit(), dense(a), b, start, g, MANY, 1e-3)
        iterates = textbook(Jacobi(), a.T, g, 30)
        used = int(np.argmax(np.linalg.norm(g - iterates @ a, axis=1) <= 1e-3 * np.linalg.norm(g)))
        assert used > 3
        assert_close(of_b, iterates[used], 1e-13)

    @for_solvers(["jacobi", "richardson"])
    @pytest.mark.parametrize("iterations", [1, 2, 5, 50])
    def test_of_b_equals_unrolled_from_zero(self, name, iterations):
        implicit, unrolled = (cotangents_of(name, mode, iterations)[2] for mode in ("implicit", "unrolled"))
        assert_close(implicit, unrolled, 1e-13)

    @for_solvers(["gauss-seidel", "sor", "steepest-descent", "cg", "bicgstab", "gmres"])
    def test_of_b_differs_from_unrolled_for_the_others(self, name):
        implicit, unrolled = (cotangents_of(name, mode, 2)[2] for mode in ("implicit", "unrolled"))
        assert np.abs(implicit - unrolled).max() > 1e-4

    @for_solvers()
    def test_of_the_matrix_differs_from_unrolled_before_convergence(self, name):
        implicit, unrolled = (cotangents_of(name, mode, 2)[1] for mode in ("implicit", "unrolled"))
        assert np.abs(implicit - unrolled).max() > 1e-4


class TestExactAdjoint:
    @for_solvers()
    def test_a_coarse_primal_with_an_exact_adjoint(self, name):
        solver, a, (b, start, g) = EVERY_SOLVER[name], matrix_for(name), vectors(3)
        u, adjoint = textbook(solver, a, b, 5, start), np.linalg.solve(a.T, g)
        for k in (0, 1, 5):
            _, of_matrix, of_b, of_start, meter = cotangents_of(name, "exact-adjoint", k)
            assert_close(of_b, adjoint, 1e-13)
            assert_close(of_matrix, -np.outer(adjoint, u[k]))
            assert_close(of_start, np.zeros(SIZE), 0)
            np.testing.assert_array_equal(meter, [k, 1])


class TestTruncated:
    @for_solvers(RESTARTING)
    @pytest.mark.parametrize(("mode", "last"), [("truncated", 3), ("one-step", 1)])
    def test_equals_naive_unrolling_of_the_last_iterations(self, name, mode, last):
        """Fewer than there are, as many, and more; the iterations before them have no gradient, nor has the start."""
        b, start, g = vectors(3)
        for iterations in (0, 1, 2, 3, 4, 5, 9):
            mine = cotangents_of(name, mode, iterations)
            expected = pulled_by_hand(name, dense(matrix_for(name)), b, start, g, iterations, last)
            u, (of_operator, of_b, of_start) = expected
            assert_close(mine[:4], (u, of_operator.matrix, of_b, of_start), 1e-10)
            assert_close(mine[3], np.zeros(SIZE), 0)

    @for_solvers(RESTARTING)
    def test_coincides_with_unrolled_while_all_iterations_fit(self, name):
        for iterations in (1, 3):
            truncated, unrolled = (cotangents_of(name, mode, iterations) for mode in ("truncated", "unrolled"))
            assert_close(truncated[:3], unrolled[:3], 1e-13)

    @for_solvers(STATIONARY)
    def test_one_step_of_b_is_the_splitting_transposed(self, name):
        g = vectors(3)[2]
        for iterations in (1, 2, 30):
            of_b = cotangents_of(name, "one-step", iterations)[2]
            assert_close(of_b, np.linalg.solve(splitting(name, matrix_for(name)).T, g), 1e-13)


class TestDetached:
    @for_solvers(["jacobi", "cg", "gmres"])
    def test_has_no_gradient_and_yet_a_meter(self, name):
        for iterations in (0, 4):
            u, *cotangents, meter = cotangents_of(name, Detached(), iterations)
            b, start, _ = vectors(3)
            assert_close(u, textbook(EVERY_SOLVER[name], matrix_for(name), b, 4, start)[iterations])
            assert not any(leaf.any() for leaf in cotangents)
            np.testing.assert_array_equal(meter, [iterations, 1])


class TestEveryMode:
    @for_every_solver_and_mode
    def test_computes_the_same_solution(self, name, mode):
        b, start, _ = vectors(3)
        expected = textbook(EVERY_SOLVER[name], matrix_for(name), b, 5, start)
        for iterations in (0, 1, 5):
            u, *_, meter = cotangents_of(name, mode, iterations)
            assert_close(u, expected[iterations])
            np.testing.assert_array_equal(meter, [iterations, 1])

    @for_every_solver_and_mode
    def test_one_trace_serves_every_k(self, name, mode):
        cotangents_of(name, mode, 1)
        before = len(traces)
        for iterations in (0, 2, 7, 30):
            cotangents_of(name, mode, iterations)
        assert len(traces) == before


class Ring(AbstractOperator):
    """2 on the diagonal and a weight for the next neighbour, whose number is a leaf, as in a mesh."""

    properties = frozenset({"diagonal"})

    weights: Float[Array, " n"]
    neighbours: Int[Array, " n"]
    transposed: bool = eqx.field(static=True, default=False)

    def matvec(self, u):
        if self.transposed:
            return 2 * u + jnp.zeros_like(u).at[self.neighbours].add(self.weights * u)
        return 2 * u + self.weights * u[self.neighbours]

    def diagonal(self):
        return jnp.full_like(self.weights, 2)

    def transpose(self):
        return Ring(self.weights, self.neighbours, not self.transposed)


class TestWholeNumbers:
    @pytest.mark.parametrize("name", ["jacobi", "gmres"])
    @pytest.mark.parametrize("mode", EVERY_MODE)
    def test_among_an_operators_leaves_have_no_gradient_and_do_no_harm(self, name, mode):
        """The weights have the gradient that they have with the matrix written out."""
        solver, mode = EVERY_SOLVER[name], EVERY_MODE[mode]
        b, weights = vectors(2)
        neighbours = (jnp.arange(SIZE) + 1) % SIZE

        def gradient(operator: Callable[[Any], AbstractOperator]) -> Any:
            return jax.jit(jax.grad(lambda w: jnp.sum(jnp.sin(solve(operator(w), b, solver, 4, mode)))))(weights)

        found = gradient(lambda w: Ring(w, neighbours))
        assert_close(found, gradient(lambda w: dense(2 * jnp.eye(SIZE) + w[:, None] * jnp.eye(SIZE)[neighbours])))
        assert found.any()


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_a_plain_number_outside_of_a_compiled_function_has_its_gradient(mode):
    b = vectors(1)[0]

    def value(diffusion: Any) -> Any:
        return jnp.sum(jnp.sin(solve(HeatOperator(diffusion, SIZE), b, "jacobi", 5, EVERY_MODE[mode])))

    found = jax.grad(value)(0.02)
    assert found != 0
    assert_close(found, jax.grad(value)(jnp.asarray(0.02)))


def adjoint_of_equation(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The dense cotangents of matrix and b."""
    a, (b, _, g) = matrix_for(name), vectors(3)
    adjoint = np.linalg.solve(a.T, g)
    return -np.outer(adjoint, np.linalg.solve(a, b)), adjoint


converging_modes = pytest.mark.parametrize("mode", ["unrolled", "implicit", "exact-adjoint"])


class TestConverged:
    @for_solvers()
    @converging_modes
    def test_meets_the_dense_gradient_of_matrix_and_right_side(self, name, mode):
        """Methods for symmetric matrices know how the solution changes with a symmetric change alone."""
        _, of_matrix, of_b, of_start, _ = cotangents_of(name, mode, MANY)
        expected_matrix, expected_b = adjoint_of_equation(name)
        if name in FOR_SYMMETRIC:
            of_matrix, expected_matrix = of_matrix + of_matrix.T, expected_matrix + expected_matrix.T
        assert_close(of_matrix, expected_matrix, 1e-12)
        assert_close(of_b, expected_b, 1e-12)
        assert_close(of_start, np.zeros(SIZE), 1e-12)

    @pytest.mark.parametrize(
        ("name", "mode"),
        [
            ("jacobi", Truncated(60)),
            ("gauss-seidel", Unrolled(MANY)),
            ("sor", Implicit()),
            ("steepest-descent", Implicit()),
            ("cg", Unrolled(MANY)),
            ("bicgstab", ExactAdjoint()),
            ("gmres", Implicit()),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_through_operator_and_right_side_under_jit_vmap_and_grad(self, name, mode):
        """The stencil is one about the input, as Navier-Stokes linearises about its own; each lane has its K."""
        batch = vectors(3)

        def gradients(*iterations: int) -> Any:
            return lanes(name, mode, batch, jnp.array(iterations))

        exact = self.dense_gradients(name, batch)
        assert_close(gradients(MANY, 300, 350), exact, 1e-10)
        mixed = gradients(2, 5, 1)
        assert_close(mixed, np.stack([gradients(k, k, k)[i] for i, k in enumerate((2, 5, 1))]), 1e-13)
        assert np.abs(mixed - exact).max() > 1e-6

    def dense_gradients(self, name: str, batch: Any) -> Any:
        def loss(v: Any) -> Any:
            return jnp.sum(jnp.sin(jnp.linalg.solve(assembled(stencil_about(name, v), SIZE), v)))

        return jax.jit(jax.vmap(jax.grad(loss)))(batch)

    def test_twice_in_a_row_and_of_a_plain_number(self):
        """One solve's solution is the right side of the next; the diffusion is a number, not an array."""
        (b,) = vectors(1)

        def mine(diffusion: Any, b: Any) -> Any:
            operator = HeatOperator(diffusion, SIZE)
            u = solve(operator, b, "jacobi", MANY)
            return jnp.sum(jnp.sin(solve(operator, u, "jacobi", MANY, Unrolled(MANY))))

        def expected(diffusion: Any, b: Any) -> Any:
            a = assembled(HeatOperator(diffusion, SIZE), SIZE)
            return jnp.sum(jnp.sin(jnp.linalg.solve(a, jnp.linalg.solve(a, b))))

        both = [jax.jit(jax.grad(function, (0, 1)))(0.02, b) for function in (mine, expected)]
        assert_close(both[0], both[1], 1e-10)


@partial(jax.jit, static_argnums=0)
def lanes(name: str, mode: AbstractDifferentiation, batch: Any, iterations: Any) -> Any:
    """Gradients of several inputs at once, each of which is the right side and what the stencil is made of."""

    def loss(v: Any, k: Any) -> Any:
        return jnp.sum(jnp.sin(solve(stencil_about(name, v), v, EVERY_SOLVER[name], k, mode)))

    return jax.vmap(jax.grad(loss))(batch, iterations)


class TestTheory:
    """How the gradient's error falls with K."""

    @staticmethod
    def slow() -> np.ndarray:
        """Tridiagonal and not symmetric, with real eigenvalues: Jacobi's radius is 0.78, Gauss-Seidel's its square."""
        return np.diag(np.full(SIZE, 2.4)) - np.diag(np.full(SIZE - 1, 1.25), -1) - np.diag(np.full(SIZE - 1, 0.8), 1)

    def errors(self, name: str, mode: str, iterations: tuple[int, int], a: np.ndarray) -> np.ndarray:
        """Of the cotangents of matrix and b, for each of two K."""
        b, start, g = vectors(3)
        adjoint = np.linalg.solve(a.T, g)
        of_matrix = -np.outer(adjoint, np.linalg.solve(a, b))
        both = []
        for k in iterations:
            _, (of_operator, of_b, _, _) = pulled(EVERY_SOLVER[name], EVERY_MODE[mode], dense(a), b, 0 * start, g, k)
            both.append([np.linalg.norm(of_operator.matrix - of_matrix), np.linalg.norm(of_b - adjoint)])
        return np.array(both)

    @for_solvers(STATIONARY)
    def test_the_spectral_radius_each_iteration(self, name):
        """Unrolled, the matrix's error falls like K times that power (Gilbert 1992)."""
        a = self.slow()
        few, many = 12, 24
        radius = spectral_radius(iteration_matrix(name, a))
        of_adjoint = spectral_radius(iteration_matrix(name, a.T))
        for mode, growth, expected in (
            ("unrolled", many / few, [radius, radius]),
            ("implicit", 1, [max(radius, of_adjoint), of_adjoint]),
            ("exact-adjoint", 1, [radius, None]),
        ):
            before, after = self.errors(name, mode, (few, many), a)
            of_matrix, of_b = after / before
            assert (of_matrix / growth) ** (1 / (many - few)) == pytest.approx(expected[0], rel=0.05), mode
            if mode == "exact-adjoint":
                assert max(before[1], after[1]) < 1e-13
            else:
                assert of_b ** (1 / (many - few)) == pytest.approx(expected[1], rel=0.05), mode

    @for_solvers(STATIONARY)
    @pytest.mark.parametrize(("mode", "last"), [("truncated", 3), ("one-step", 1)])
    def test_truncated_keeps_the_error_of_the_iterations_left_out(self, name, mode, last):
        a, g = self.slow(), vectors(3)[2]
        expected = np.linalg.solve(a.T, np.linalg.matrix_power(iteration_matrix(name, a).T, last) @ g)
        before, after = self.errors(name, mode, (30, MANY), a)
        assert before[1] == pytest.approx(np.linalg.norm(expected), rel=1e-10)
        assert after[1] == pytest.approx(np.linalg.norm(expected), rel=1e-10)
        assert after[0] > 1e-3

    @pytest.mark.parametrize(
        ("name", "constant", "factor"),
        [("steepest-descent", 1, (20 - 1) / (20 + 1)), ("cg", 2, (20**0.5 - 1) / (20**0.5 + 1))],
    )
    def test_the_condition_number_bounds_the_adjoint(self, name, constant, factor):
        """In the energy norm, and each iteration is better than the one before."""
        a, g = symmetric(), vectors(3)[2]
        exact = np.linalg.solve(a, g)
        errors = [cotangents_of(name, "implicit", k)[2] - exact for k in range(SIZE)]
        energies = np.array([np.sqrt(e @ a @ e) for e in errors])
        assert (np.diff(energies) < 0).all()
        assert (energies <= constant * factor ** np.arange(SIZE) * energies[0]).all()

    def test_elman_bounds_the_adjoint_of_gmres(self):
        """Where the symmetric part is positive definite, each matrix product gains a factor."""
        a, g = general(), vectors(3)[2]
        least, norm = np.linalg.eigvalsh((a + a.T) / 2)[0], np.linalg.norm(a, 2)
        assert least > 0
        residuals = [np.linalg.norm(g - a.T @ cotangents_of("gmres", "implicit", k)[2]) for k in range(6)]
        bounds = (1 - (least / norm) ** 2) ** (2 * np.arange(6) / 2) * residuals[0]
        assert (np.diff(residuals) < 0).all()
        assert (residuals <= bounds + 1e-12).all()


class TestASolverOfOnesOwn:
    class Damped(AbstractSolver):
        """u <- u + rate (b - A u) with a rate that has a gradient, and a state that is no plain array."""

        rate: Float[Array, ""]

        def init(self, operator, b, x0):
            return {"u": x0, "count": jnp.zeros(())}

        def step(self, operator, b, state):
            return {"u": state["u"] + self.rate * (b - operator.matvec(state["u"])), "count": state["count"] + 1.0}

        def solution(self, state):
            return state["u"]

    def loss(self, mode: AbstractDifferentiation, iterations: int) -> Callable[..., Any]:
        return lambda rate, operator, b, start: jnp.sum(
            jnp.sin(solve(operator, b, self.Damped(rate), iterations, mode, x0=start))
        )

    @pytest.mark.parametrize(("mode", "last"), [(Unrolled(5), MANY), (Truncated(2), 2)], ids=["unrolled", "truncated"])
    def test_has_the_gradient_of_its_parameter(self, mode, last):
        b, start = vectors(2)

        def naive(rate: Any, operator: AbstractOperator, b: Any, start: Any) -> Any:
            return jnp.sum(jnp.sin(unrolled_by_hand(self.Damped(rate), operator, b, start, 3, last)))

        inputs = jnp.asarray(0.05), dense(general()), b, start
        mine, expected = (
            f(*inputs) for f in (jax.jit(jax.grad(self.loss(mode, 3), (0, 1, 2, 3))), jax.grad(naive, (0, 1, 2, 3)))
        )
        assert_close(mine, expected)
        assert abs(mine[0]) > 1e-3

    def test_has_none_where_the_equation_is_differentiated(self):
        b, start = vectors(2)
        inputs = jnp.asarray(0.05), dense(symmetric()), b, start
        of_rate, of_operator, of_b, _ = jax.jit(jax.grad(self.loss(Implicit(), 1000), (0, 1, 2, 3)))(*inputs)

        def expected(a: Any, b: Any) -> Any:
            return jnp.sum(jnp.sin(jnp.linalg.solve(a, b)))

        assert of_rate == 0
        of_matrix, of_dense_b = jax.jit(jax.grad(expected, (0, 1)))(inputs[1].matrix, b)
        assert_close((of_operator.matrix, of_b), (of_matrix, of_dense_b))
