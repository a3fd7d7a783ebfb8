"""Solvers against textbooks written in NumPy and against JAX's own, their tolerance, meter and suitability."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from solver_helpers import (
    EVERY_SOLVER,
    MANY,
    SIZE,
    Conduction,
    Transport,
    assembled,
    assert_close,
    dense,
    for_solvers,
    general,
    iterated,
    matrix_for,
    pulled,
    spectral_radius,
    step,
    symmetric,
    textbook,
    vectors,
)

from prdp_explorer.physics import HeatOperator, PoissonOperator
from prdp_explorer.solvers import (
    CG,
    DIFFERENTIATIONS,
    GMRES,
    SOLVERS,
    SOR,
    AbstractDifferentiation,
    AbstractOperator,
    AbstractSolver,
    BiCGStab,
    DenseOperator,
    Detached,
    ExactAdjoint,
    GaussSeidel,
    Implicit,
    Jacobi,
    OneStep,
    Richardson,
    Truncated,
    Unrolled,
    differentiation_named,
    iterate,
    residual_history,
    solve,
    solver_named,
    solvers_for,
    unsuited_differentiation,
    unsuited_solver,
)

pytestmark = pytest.mark.usefixtures("quickly", "float64")

RED_BLACK = sorted(range(16), key=lambda i: (i // 4 + i % 4) % 2)
"""Of the points of a 4 × 4 grid, those whose indices have an even sum before the others."""


class TestIterations:
    @for_solvers()
    @pytest.mark.parametrize("started", [False, True])
    def test_as_in_a_textbook(self, name, started):
        solver, a, (b, start) = EVERY_SOLVER[name], matrix_for(name), vectors(2)
        start = start if started else 0 * start
        expected = textbook(solver, a, b, 5, start)
        for iterations in (0, 1, 2, 3, 5):
            assert_close(iterated(solver, dense(a), b, start, iterations), expected[iterations])

    @for_solvers()
    def test_of_a_stencil_on_a_grid_with_red_black_sweeps(self, name):
        solver, operator = EVERY_SOLVER[name], HeatOperator(0.02, 4, 2)
        b, start = vectors(2, 16)
        expected = textbook(solver, assembled(operator, 4, 4), b, 4, start, RED_BLACK)
        for iterations in (1, 2, 4):
            mine = iterated(solver, operator, b.reshape(4, 4), start.reshape(4, 4), iterations)
            assert_close(mine.ravel(), expected[iterations])

    @pytest.mark.parametrize("name", ["gauss-seidel", "sor"])
    @pytest.mark.parametrize("operator", ["transport", "conduction"])
    def test_red_black_sweeps_with_a_diagonal_that_varies(self, name, operator):
        solver, (b, start) = EVERY_SOLVER[name], vectors(2)
        stencil = Conduction(jnp.append(b, 0.5) ** 2) if operator == "conduction" else Transport(b**2).transpose()
        order = [*range(0, SIZE, 2), *range(1, SIZE, 2)]
        expected = textbook(solver, assembled(stencil, SIZE), b, 3, start, order)
        assert_close(iterated(solver, stencil, b, start, 3), expected[3])

    @pytest.mark.parametrize("signs", [[1, 1, 1, 1, 1, 1, 1, 1], [1, -1, -1, 1, 1, -1, 1, -1]], ids=["plus", "mixed"])
    @pytest.mark.parametrize("name", ["jacobi", "gauss-seidel", "sor", "richardson"])
    def test_with_diagonals_of_either_sign(self, name, signs):
        solver, a, (b, start) = EVERY_SOLVER[name], np.diag(signs) @ general(), vectors(2)
        assert_close(iterated(solver, dense(a), b, start, 3), textbook(solver, a, b, 3, start)[3])

    @pytest.mark.parametrize("restart", [1, 4])
    def test_gmres_with_other_restarts(self, restart):
        solver, (b, start) = GMRES(restart), vectors(2)
        expected = textbook(solver, general(), b, 2, start)
        for iterations in (1, 2):
            assert_close(iterated(solver, dense(general()), b, start, iterations), expected[iterations])

    def test_gmres_by_default_restarts_after_8(self):
        assert solver_named("gmres") == GMRES(8)

    def test_richardson_with_a_rate(self):
        b, start = vectors(2)
        expected = textbook(Richardson(0.05), general(), b, 3, start)[3]
        assert_close(iterated(Richardson(0.05), dense(general()), b, start, 3), expected)

    @for_solvers()
    def test_converges_to_the_dense_solution(self, name):
        a, (b, start) = matrix_for(name), vectors(2)
        assert_close(iterated(EVERY_SOLVER[name], dense(a), b, start, MANY), np.linalg.solve(a, b), 1e-13)

    @for_solvers()
    def test_stays_at_the_solution(self, name):
        a, (b,) = matrix_for(name), vectors(1)
        u = jnp.asarray(np.linalg.solve(a, b))
        for iterations in (1, 2, MANY):
            assert_close(iterated(EVERY_SOLVER[name], dense(a), b, u, iterations), u, 1e-13)

    @pytest.mark.parametrize("dimensions", [1, 2, 3])
    def test_solves_a_heat_step_on_a_grid(self, dimensions):
        operator = HeatOperator(0.01, 5, dimensions)
        b = np.random.default_rng(0).normal(size=(5,) * dimensions)
        assert_close(solve(operator, jnp.asarray(b), "jacobi", MANY), operator.solve_exactly(b))

    @for_solvers(["jacobi", "cg"])
    def test_iterate_is_the_solve_without_a_gradient(self, name):
        solver, operator, (b, start) = EVERY_SOLVER[name], dense(matrix_for(name)), vectors(2)
        assert_close(jax.jit(iterate)(solver, operator, b, start, 4), iterated(solver, operator, b, start, 4), 1e-15)

    def test_the_start_is_zero_if_left_out(self):
        (b,) = vectors(1)
        assert_close(solve(dense(general()), b, "jacobi", 3), textbook(Jacobi(), general(), b, 3)[3])

    @pytest.mark.parametrize("name", ["cg", "bicgstab"])
    def test_ends_after_as_many_iterations_as_there_are_points(self, name):
        a, (b,) = matrix_for(name), vectors(1)
        at_last, before = (iterated(EVERY_SOLVER[name], dense(a), b, 0 * b, k) for k in (SIZE, SIZE - 2))
        assert_close(at_last, np.linalg.solve(a, b), 1e-10)
        assert np.abs(before - np.linalg.solve(a, b)).max() > 1e-8

    @pytest.mark.parametrize("what", ["generic", "few eigenvectors", "identity"])
    def test_gmres_with_more_directions_than_there_are_points(self, what):
        """One iteration solves, and a basis that broke down spoils neither it nor the next."""
        size = 4
        a, (b,) = symmetric(size), vectors(1, size)
        a = np.eye(size) if what == "identity" else a
        b = jnp.asarray(a @ np.linalg.eigh(a)[1][:, :2] @ [1, 2]) if what == "few eigenvectors" else b
        for iterations in (1, 2, 50):
            mine = iterated(GMRES(6), dense(a), b, 0 * b, iterations)
            assert_close(mine, np.linalg.solve(a, b), 1e-13)

    def test_gmres_knows_that_a_singular_matrix_leaves_a_residual(self):
        """The right side lies where the matrix has nothing, as a pressure's mean does."""
        operator, b = dense(np.diag([2.0, 1.0, 0.0])), jnp.array([0.0, 0.0, 3.0])
        state = step(GMRES(2), operator, b, GMRES(2).init(operator, b, 0 * b))
        assert_close((state.u, state.residual), (np.zeros(3), 3.0), 0)

    def test_sor_without_relaxation_is_gauss_seidel(self):
        operator, (b, start) = dense(general()), vectors(2)
        mine, expected = (iterated(solver, operator, b, start, 3) for solver in (SOR(1.0), GaussSeidel()))
        assert_close(mine, expected, 1e-15)

    def test_richardson_is_jacobi_where_the_diagonal_is_constant(self):
        operator, (b, start) = HeatOperator(0.02, 4, 2), vectors(2, 16).reshape(2, 4, 4)
        mine, expected = (iterated(solver, operator, b, start, 3) for solver in (Richardson(), Jacobi()))
        assert_close(mine, expected, 1e-14)

    def test_young_and_the_best_relaxation(self):
        """Red-black: Gauss-Seidel squares Jacobi's radius, the best relaxation's radius is ω - 1."""
        operator, unit = PoissonOperator(8), jnp.eye(8)

        def radius(solver: AbstractSolver) -> float:
            """What an iteration makes of errors: of unit vectors, where zero is the solution."""
            return spectral_radius(jax.vmap(lambda e: solver.step(operator, 0 * e, e))(unit).T)

        of_jacobi = np.cos(np.pi / 9)
        best = 2 / (1 + np.sqrt(1 - of_jacobi**2))
        assert radius(Jacobi()) == pytest.approx(of_jacobi, rel=1e-12)
        assert radius(GaussSeidel()) == pytest.approx(of_jacobi**2, rel=1e-12)
        assert radius(SOR(float(best))) == pytest.approx(best - 1, rel=1e-6)  # a double eigenvalue


class TestAgainstJax:
    """JAX's bicgstab ends half an iteration early where it can, hence is not compared by tolerance."""

    @for_solvers(["cg", "bicgstab", "gmres"])
    def test_k_iterations(self, name):
        operator, (b, start) = dense(matrix_for(name)), vectors(2)
        for iterations in (1, 4):
            mine = iterated(EVERY_SOLVER[name], operator, b, start, iterations)
            assert_close(mine, theirs(name, operator, b, start, 0, iterations), 1e-10)

    @for_solvers(["cg", "gmres"])
    def test_by_tolerance(self, name):
        operator, (b, start) = dense(matrix_for(name)), vectors(2)
        systems = b[None], start[None], jnp.array([60]), jnp.array([1e-3])
        mine, readings = metered(EVERY_SOLVER[name], operator, *systems)
        assert_close(mine[0], theirs(name, operator, b, start, 1e-3, 60), 1e-10)
        assert 1 < readings[0, 0] < 60


@partial(jax.jit, static_argnums=0)
def theirs(name: str, operator: AbstractOperator, b: Any, start: Any, tolerance: Any, iterations: Any) -> Any:
    """JAX's own method of that name."""
    options = {"restart": 2, "solve_method": "batched"} if name == "gmres" else {}
    method = getattr(jax.scipy.sparse.linalg, name)
    return method(operator.matvec, b, x0=start, tol=tolerance, maxiter=iterations, **options)[0]


class TestSinglePrecision:
    """600 iterations, of which all but the first few dozen are at rounding."""

    ITERATIONS = 600

    @pytest.fixture(autouse=True)
    def float32(self, float64):
        with jax.enable_x64(False):
            yield

    def gradients(self, name: str, b: Any, start: Any, mode: AbstractDifferentiation | None = None) -> Any:
        mode = Unrolled(self.ITERATIONS) if mode is None else mode
        operator, g = dense(matrix_for(name).astype(np.float32)), vectors(3)[2]
        return pulled(EVERY_SOLVER[name], mode, operator, b, start, g, self.ITERATIONS)

    @for_solvers()
    def test_stays_single_and_accurate(self, name):
        a, (b, start) = matrix_for(name), vectors(2)
        u, cotangents = self.gradients(name, b, start)
        assert {leaf.dtype for leaf in jax.tree.leaves((u, cotangents))} == {np.dtype(np.float32)}
        assert_close(u, np.linalg.solve(a, b), 1e-5)
        assert_close(cotangents[1], np.linalg.solve(a.T, vectors(3)[2]), 1e-4)

    @for_solvers()
    @pytest.mark.parametrize("scale", [1e-3, 1e-6, 1e-10])
    def test_of_small_fields(self, name, scale):
        """The gradient of b does not depend on b's size, though squares of small residuals underflow."""
        a, (b, start) = matrix_for(name), vectors(2)
        u, (_, of_b, _, _) = self.gradients(name, scale * b, scale * start)
        assert_close(u / scale, np.linalg.solve(a, b), 1e-5)
        assert_close(of_b, np.linalg.solve(a.T, vectors(3)[2]), 1e-4)

    @pytest.mark.parametrize(("name", "mode"), [*((name, None) for name in EVERY_SOLVER), ("cg", Implicit())])
    def test_a_right_side_of_zero(self, name, mode):
        """Also from a start that is not, where the residual falls until it underflows."""
        for start in (jnp.zeros(SIZE), vectors(1)[0]):
            u, cotangents = self.gradients(name, jnp.zeros(SIZE), start, mode)
            assert_close(u, np.zeros(SIZE), 1e-5 if start.any() else 0)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(cotangents))

    @for_solvers()
    def test_the_solution_as_the_start(self, name):
        a = matrix_for(name).astype(np.float32)
        u, cotangents = self.gradients(name, jnp.asarray(a.sum(axis=1)), jnp.ones(SIZE))
        assert_close(u, np.ones(SIZE), 1e-5)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(cotangents))

    def test_of_an_operator_with_a_plain_number(self):
        u = solve(HeatOperator(0.01, 5), jnp.ones(5), "jacobi", 3)
        assert u.dtype == jnp.float32


@jax.jit
def metered(
    solver: AbstractSolver, operator: AbstractOperator, batch: Any, starts: Any, iterations: Any, rtols: Any
) -> Any:
    """Solutions and meter readings of several systems at once, each with a K and a tolerance of its own."""

    def one(b: Any, start: Any, k: Any, rtol: Any) -> Any:
        u, pull_back = jax.vjp(
            lambda meter: solve(operator, b, solver, k, Detached(), x0=start, rtol=rtol, meter=meter), jnp.zeros(2)
        )
        return u, pull_back(u)[0]

    return jax.vmap(one)(batch, starts, iterations, rtols)


def first_within(norms: Any, tolerance: Any) -> int:
    within = np.asarray(norms) <= tolerance
    return int(np.argmax(within)) if within.any() else len(within)


class TestTolerance:
    @for_solvers()
    def test_stops_when_the_residual_says_so(self, name):
        """Per system of a batch, relative to the right side, from a start of one's own, and at K at the latest."""
        solver, a = EVERY_SOLVER[name], matrix_for(name)
        b, start = vectors(2)
        batch = b * jnp.array([1, 1, 1e3, 1, 1e-3, 1])[:, None]
        starts = start * jnp.array([1, 1, 1, 1, 0, 0])[:, None]
        rtols = jnp.array([1e-1, 1e-4, 1e-8, 1e-8, 1e-2, 2.0])
        most = jnp.array([300, 300, 300, 2, 300, 300])
        mine, readings = metered(solver, dense(a), batch, starts, most, rtols)
        norms = [
            residual_history_of(solver, dense(a), right_side, start)
            for right_side, start in zip(batch, starts, strict=True)
        ]
        expected = [
            min(first_within(history, rtol * np.linalg.norm(right_side)), k)
            for history, rtol, right_side, k in zip(norms, rtols, batch, most, strict=True)
        ]
        assert 0 < expected[0] < expected[1] <= expected[2] < 300
        assert expected[3] == 2 and expected[5] == 0
        np.testing.assert_array_equal(readings, [[used, 1] for used in expected])
        for u, right_side, start, used in zip(mine, batch, starts, expected, strict=True):
            assert_close(u, iterated(solver, dense(a), right_side, start, used), 1e-12)

    def test_rtol_may_be_a_plain_number(self):
        (b,) = vectors(1)
        norms = residual_history(Jacobi(), dense(general()), b, 30)
        used = first_within(norms, 1e-3 * np.linalg.norm(b))
        assert_close(solve(dense(general()), b, "jacobi", 30, rtol=1e-3), textbook(Jacobi(), general(), b, used)[used])

    def test_a_right_side_of_zero_needs_no_iteration(self):
        zero, rtol = jnp.zeros((1, SIZE)), jnp.array([1e-3])
        for solver in (Jacobi(), CG()):
            mine, readings = metered(solver, dense(symmetric()), zero, zero, jnp.array([9]), rtol)
            assert not mine.any()
            np.testing.assert_array_equal(readings, [[0, 1]])


residual_history_of = jax.jit(lambda solver, operator, b, start: residual_history(solver, operator, b, 300, start))


class TestMeter:
    @pytest.mark.parametrize("mode", ["unrolled", "implicit", "detached"])
    def test_sums_over_solves_in_a_row_and_over_a_batch(self, mode):
        operator, batch = dense(general()), vectors(3)

        def loss(meter: Any, iterations: Any) -> Any:
            def one(b: Any, k: Any) -> Any:
                u = solve(operator, b, Jacobi(), k, differentiation_named(mode, 9), meter=meter)
                v = solve(operator, u, GMRES(1), 2, differentiation_named(mode, 9), meter=meter)
                return jnp.sum(v**2)

            return jnp.mean(jax.vmap(one)(batch, iterations))

        reading = jax.jit(jax.grad(loss))(jnp.zeros(2), jnp.array([1, 4, 7]))
        np.testing.assert_array_equal(reading, [1 + 4 + 7 + 3 * 2, 6])

    @pytest.mark.parametrize("mode", [Implicit(), Unrolled(9)], ids=["implicit", "unrolled"])
    def test_changes_no_other_gradient(self, mode):
        b, start, g = vectors(3)
        operator = dense(general())

        @jax.jit
        def plain(operator: Any, b: Any, start: Any) -> Any:
            def solution(operator: Any, b: Any, start: Any) -> Any:
                return solve(operator, b, Jacobi(), 4, mode, x0=start)

            u, pull_back = jax.vjp(solution, operator, b, start)
            return u, pull_back(g)

        u, (*cotangents, reading) = pulled(Jacobi(), mode, operator, b, start, g, 4)
        assert_close((u, tuple(cotangents)), plain(operator, b, start), 1e-15)
        np.testing.assert_array_equal(reading, [4, 1])


class TestResidualHistory:
    @for_solvers()
    @pytest.mark.parametrize("started", [False, True])
    def test_norms_before_the_first_and_after_each_iteration(self, name, started):
        a, (b, start) = matrix_for(name), vectors(2)
        start = start if started else 0 * start
        mine = residual_history_of(EVERY_SOLVER[name], dense(a), b, start)
        expected = [np.linalg.norm(b - a @ u) for u in textbook(EVERY_SOLVER[name], a, b, 5, start)]
        assert mine.shape == (301,)
        assert_close(mine[:6], np.array(expected), 1e-11)

    @for_solvers()
    def test_the_norm_that_a_solver_knows_without_a_product(self, name):
        solver, operator, (b, start) = EVERY_SOLVER[name], dense(matrix_for(name)), vectors(2)
        state = solver.init(operator, b, start)
        for _ in range(4):
            expected = np.linalg.norm(b - operator.matvec(solver.solution(state)))
            assert_close(solver.residual_norm(operator, b, state), expected, 1e-11)
            state = step(solver, operator, b, state)

    def test_starts_from_zero_if_left_out(self):
        (b,) = vectors(1)
        expected = residual_history(Jacobi(), dense(general()), b, 3, 0 * b)
        assert_close(residual_history(Jacobi(), dense(general()), b, 3), expected, 0)

    def test_of_a_field_on_a_grid_falls(self):
        norms = residual_history(Jacobi(), HeatOperator(0.01, 5, 2), jnp.ones((5, 5)), 20)
        assert norms.shape == (21,)
        assert norms[0] == 5
        assert (np.diff(norms) < 0).all()


class Bare(AbstractOperator):
    """A matrix of which nothing is promised."""

    def matvec(self, u):
        return 2.0 * u

    def diagonal(self):
        return jnp.asarray(2.0)

    def transpose(self):
        return self


SUITED = {
    (): "gmres",
    ("diagonal",): "jacobi richardson bicgstab gmres",
    ("ordering",): "gmres",
    ("positive definite",): "steepest-descent cg gmres",
    ("diagonal", "ordering"): "jacobi gauss-seidel sor richardson bicgstab gmres",
    ("diagonal", "positive definite"): "jacobi richardson steepest-descent cg bicgstab gmres",
    ("ordering", "positive definite"): "steepest-descent cg gmres",
    ("diagonal", "ordering", "positive definite"): " ".join(EVERY_SOLVER),
}


class TestSuitability:
    @pytest.mark.parametrize("promised", SUITED, ids=lambda promised: ", ".join(promised) or "nothing")
    def test_of_every_solver_for_every_kind_of_matrix(self, promised):
        operator = type("Some", (Bare,), {"properties": frozenset(promised)})
        suited = SUITED[promised].split()
        assert [name for name, solver in SOLVERS.items() if unsuited_solver(solver, operator) is None] == suited
        for name in suited:
            others = [other for other in suited if other != name]
            assert solvers_for(operator, name) == (name, *others)

    def test_in_words(self):
        assert unsuited_solver(Jacobi, Bare) == (
            "Jacobi needs a diagonal that dominates its rows, which Bare does not promise"
        )
        assert unsuited_solver(SOR, Transport) is None
        assert unsuited_solver(SOR, Bare) == (
            "SOR needs a diagonal that dominates its rows and an order in which points can be swept, such as "
            "red-black, which Bare does not promise"
        )
        assert unsuited_solver(CG, Transport) == (
            "CG needs symmetry with positive eigenvalues, which Transport does not promise"
        )

    @pytest.mark.parametrize(
        "name", ["jacobi", "gauss-seidel", "sor", "richardson", "steepest-descent", "cg", "bicgstab"]
    )
    def test_solve_refuses_what_does_not_suit(self, name):
        with pytest.raises(ValueError, match=f"`solver` does not fit: {SOLVERS[name].__name__} needs .*Bare"):
            solve(Bare(), jnp.ones(3), name, 1)

    def test_gmres_takes_anything(self):
        assert_close(solve(Bare(), jnp.ones(3), GMRES(1), 1), np.full(3, 0.5))

    def test_an_ordering_that_is_not_there(self):
        with pytest.raises(NotImplementedError, match="Bare has no ordering"):
            GaussSeidel().step(Bare(), jnp.ones(3), jnp.ones(3))

    def test_of_modes(self):
        modes = (Unrolled, Implicit, ExactAdjoint, Detached, Truncated, OneStep)
        refused = {
            (solver, mode)
            for solver in SOLVERS.values()
            for mode in modes
            if unsuited_differentiation(solver, mode) is not None
        }
        assert refused == {(CG, Truncated), (CG, OneStep), (BiCGStab, Truncated), (BiCGStab, OneStep)}

    @pytest.mark.parametrize("solver", ["cg", "bicgstab"])
    @pytest.mark.parametrize("mode", ["truncated", "one-step", Truncated(2)])
    def test_solve_refuses_modes_that_do_not_suit(self, solver, mode):
        (b,) = vectors(1)
        with pytest.raises(ValueError, match=f"`differentiation` does not fit: {SOLVERS[solver].__name__} takes in b"):
            solve(dense(symmetric()), b, solver, 3, mode)


class TestNames:
    @pytest.mark.parametrize("mode", [Unrolled(3), OneStep()], ids=["unrolled", "one-step"])
    def test_solve_by_names_equals_solve_by_objects(self, mode):
        b, g = vectors(2)

        def gradient(solver: Any, mode: Any) -> Any:
            return jax.jit(jax.grad(lambda b: solve(dense(general()), b, solver, 3, mode) @ g))(b)

        by_name = gradient("jacobi", "unrolled" if isinstance(mode, Unrolled) else "one-step")
        assert_close(by_name, gradient(Jacobi(), mode), 0)

    def test_every_name_stands_for_something(self):
        assert {name: type(solver_named(name)) for name in SOLVERS} == SOLVERS
        assert {name: type(differentiation_named(name, 5)) for name in DIFFERENTIATIONS} == {
            "unrolled": Unrolled,
            "implicit": Implicit,
            "exact-adjoint": ExactAdjoint,
            "truncated": Truncated,
            "one-step": OneStep,
            "detached": Detached,
        }
        assert differentiation_named("unrolled", 5) == Unrolled(5)

    def test_unknown_solver(self):
        with pytest.raises(ValueError, match=r"`solver` must be one of jacobi, .*gmres; got 'jacoby'"):
            solve(HeatOperator(0.1, 3), jnp.ones(3), "jacoby", 1)

    def test_unknown_differentiation(self):
        with pytest.raises(ValueError, match=r"`differentiation` must be one of implicit, unrolled.*; got 'adjoint'"):
            solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", 1, "adjoint")

    def test_unrolled_by_name_needs_a_concrete_k(self):
        with pytest.raises(ValueError, match=r"Pass Unrolled\(capacity\)"):
            jax.jit(lambda k: solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", k, "unrolled"))(3)

    @pytest.mark.parametrize("mode", ["implicit", "truncated", "detached"])
    def test_the_others_by_name_take_a_traced_k(self, mode):
        traced = jax.jit(lambda k: solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", k, mode))(3)
        assert_close(traced, solve(HeatOperator(0.1, 3), jnp.ones(3), "jacobi", 3))

    @pytest.mark.parametrize(
        ("what", "wrong"),
        [
            ("relaxation", lambda: SOR(0.0)),
            ("relaxation", lambda: SOR(2.0)),
            ("rate", lambda: Richardson(0.0)),
            ("restart", lambda: GMRES(0)),
            ("adjoint_iterations", lambda: Implicit(-1)),
            ("last", lambda: Truncated(0)),
            ("capacity", lambda: Unrolled(0)),
            ("capacity", lambda: Unrolled(-1)),
        ],
    )
    def test_parameters_out_of_bounds(self, what, wrong):
        with pytest.raises(ValueError, match=f"`{what}` must be .*; got"):
            wrong()

    def test_parameters_are_part_of_what_a_compiled_function_depends_on(self):
        """Solvers and modes hold no array: they differ, as pytrees do, by their structure."""
        for one, other in ((SOR(1.2), SOR(1.3)), (GMRES(2), GMRES(3)), (Truncated(2), Truncated(3))):
            assert not jax.tree.leaves((one, other))
            assert jax.tree.structure(one) != jax.tree.structure(other)


class TestDenseOperator:
    def test_matvec_diagonal_and_transpose(self):
        operator, (u,) = dense(general()), vectors(1)
        assert_close(operator.matvec(u), general() @ u)
        assert_close(operator.diagonal(), general().diagonal())
        assert_close(operator.transpose().matvec(u), general().T @ u)

    def test_lower_triangle_with_relaxation(self):
        operator, (r,) = DenseOperator(jnp.asarray(general())), vectors(1)
        lower = np.tril(general(), -1) + np.diag(general().diagonal()) / 1.7
        assert_close(operator.solve_lower(r, 1.7), np.linalg.solve(lower, r))
