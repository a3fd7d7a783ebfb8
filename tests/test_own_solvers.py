"""Solvers and matrices given as functions: the same as classes, and as dense algebra has it."""

from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import Toy

from prdp_explorer import Constant, TolerancePRDP, train
from prdp_explorer.engine import settings_for
from prdp_explorer.solvers import (
    DIFFERENTIATIONS,
    DenseOperator,
    FunctionOperator,
    FunctionSolver,
    Jacobi,
    differentiation_named,
    on_host,
    solve,
)

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


SIZE = 6
MANY = 200


def sweeps(operator: Any, b: Any, x0: Any, iterations: Any) -> Any:
    """Jacobi, as somebody would write it."""
    return jax.lax.fori_loop(0, iterations, lambda _, x: x + (b - operator.matvec(x)) / operator.diagonal(), x0)


def conjugate_gradients(operator: Any, b: Any, x0: Any, iterations: Any) -> Any:
    return jax.scipy.sparse.linalg.cg(operator.matvec, b, x0, tol=0.0, atol=0.0, maxiter=iterations)[0]


def gauss_seidel(operator: DenseOperator, b: np.ndarray, x0: np.ndarray, iterations: int) -> np.ndarray:
    """A method of NumPy alone."""
    assert type(operator.matrix) is type(b) is np.ndarray and type(iterations) is int
    lower = np.tril(operator.matrix)
    for _ in range(iterations):
        x0 = x0 + np.linalg.solve(lower, b - operator.matrix @ x0)
    return x0


def matrix_and_right_side(seed: int = 0) -> tuple[Any, Any]:
    """Symmetric, diagonally dominant."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(SIZE, SIZE))
    matrix = matrix + matrix.T + 4 * SIZE * np.eye(SIZE)
    return jnp.asarray(matrix), jnp.asarray(rng.normal(size=SIZE))


def objective(solver: Any, mode: str, iterations: int) -> Any:
    def value(matrix: Any, b: Any) -> Any:
        x = solve(DenseOperator(matrix), b, solver, jnp.asarray(iterations), differentiation_named(mode, MANY))
        return jnp.sum(jnp.sin(x))

    return jax.jit(jax.value_and_grad(value, (0, 1)))


@pytest.mark.parametrize("mode", DIFFERENTIATIONS)
@pytest.mark.parametrize("iterations", [0, 1, 7])
def test_cycles_are_what_the_same_solver_as_a_class_is_in_every_mode(mode: str, iterations: int):
    own, known = (
        objective(solver, mode, iterations)(*matrix_and_right_side()) for solver in (FunctionSolver(sweeps), Jacobi())
    )
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14), own, known)


@pytest.mark.parametrize("function", [conjugate_gradients, on_host(gauss_seidel)], ids=["jax", "numpy"])
def test_a_solver_of_others_has_the_implicit_gradient_for_free(function: Any):
    matrix, b = matrix_and_right_side()
    solver = FunctionSolver(function, cycles=False)
    value, gradients = objective(solver, "implicit", 60)(matrix, b)
    exact, dense = jax.value_and_grad(lambda m, c: jnp.sum(jnp.sin(jnp.linalg.solve(m, c))), (0, 1))(matrix, b)
    np.testing.assert_allclose(value, exact, rtol=1e-12)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12), gradients, dense)
    coarse = solve(DenseOperator(matrix), b, solver, 1)
    assert 1e-6 < float(jnp.max(jnp.abs(coarse - jnp.linalg.solve(matrix, b)))) < 1  # K counts
    batch = jax.vmap(lambda c: solve(DenseOperator(matrix), c, solver, jnp.asarray(60)))(jnp.stack([b, 2 * b]))
    np.testing.assert_allclose(batch[1], 2 * batch[0], rtol=1e-9)


@pytest.mark.parametrize("mode", ["unrolled", "truncated", "one-step", "exact-adjoint"])
def test_what_needs_single_iterations_is_refused_of_a_solver_without_them(mode: str):
    matrix, b = matrix_and_right_side()
    with pytest.raises(ValueError, match="`differentiation` does not fit: FunctionSolver is called once a solve"):
        solve(DenseOperator(matrix), b, FunctionSolver(conjugate_gradients, cycles=False), 3, mode)
    with pytest.raises(ValueError, match="`rtol` does not fit: FunctionSolver cannot stop at a tolerance"):
        solve(DenseOperator(matrix), b, FunctionSolver(conjugate_gradients, cycles=False), 3, rtol=1e-3)


def test_a_result_of_another_shape_is_told_with_both():
    matrix, b = matrix_and_right_side()
    with pytest.raises(ValueError, match=r"The solver <lambda> must return a field of b's shape \(6,\); got \(1, 6\)"):
        solve(DenseOperator(matrix), b, FunctionSolver(lambda operator, b, x0, iterations: x0[None]), 3)


@given(seed=st.integers(0, 10_000))
def test_the_transpose_of_a_function_is_that_of_its_matrix(seed: int):
    rng = np.random.default_rng(seed)
    matrix, u = rng.normal(size=(SIZE, SIZE)), rng.normal(size=SIZE)
    operator = FunctionOperator(lambda matrix, u: matrix @ u, jnp.asarray(matrix))
    np.testing.assert_allclose(operator.matvec(jnp.asarray(u)), matrix @ u, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(operator.transpose().matvec(jnp.asarray(u)), matrix.T @ u, rtol=1e-10, atol=1e-12)
    assert operator.transpose().transpose() is operator


def test_gradients_reach_what_a_function_is_made_of():
    matrix, b = matrix_and_right_side()

    def apply(parameters: Any, u: Any) -> Any:
        return parameters["scale"] * (matrix @ u)

    def value(scale: Any) -> Any:
        operator = FunctionOperator(apply, {"scale": scale})
        return jnp.sum(jnp.sin(solve(operator, b, FunctionSolver(conjugate_gradients, cycles=False), 60)))

    exact = jax.grad(lambda scale: jnp.sum(jnp.sin(jnp.linalg.solve(scale * matrix, b))))(1.3)
    for scale in (1.3, jnp.asarray(1.3)):
        np.testing.assert_allclose(jax.grad(value)(scale), exact, rtol=1e-9)
    with pytest.raises(NotImplementedError, match="give `of_diagonal`"):
        FunctionOperator(apply).diagonal()


class WithOwnSolvers(Toy):
    own_solvers = MappingProxyType(
        {"sweeps": FunctionSolver(sweeps), "library": FunctionSolver(conjugate_gradients, cycles=False)}
    )
    solvers = ("sweeps", "library", "jacobi")


class TestAProblem:
    def test_trains_with_its_own_solvers_as_with_built_in_ones(self):
        problem = WithOwnSolvers()
        own, known = (
            [record.validation for record in train(problem, Constant(6), solver=name, epochs=4)]
            for name in ("sweeps", "jacobi")
        )
        np.testing.assert_allclose(own, known, rtol=1e-5)
        other = [record.validation for record in train(problem, Constant(6), solver="library", epochs=4)]
        assert np.isfinite(other).all() and other[-1] < other[0]

    def test_refines_a_tolerance_of_cycles(self):
        records = list(train(WithOwnSolvers(), TolerancePRDP(maximum=12), solver="sweeps", epochs=4))[1:]
        known = list(train(WithOwnSolvers(), TolerancePRDP(maximum=12), solver="jacobi", epochs=4))[1:]
        assert [record.iterations for record in records] == [record.iterations for record in known]
        assert max(record.iterations for record in records) < 12

    def test_says_what_does_not_go_together(self):
        problem = WithOwnSolvers()
        assert settings_for(problem).solver == "sweeps"
        with pytest.raises(ValueError, match="'unrolled' does not go with the solver 'library'"):
            settings_for(problem, solver="library", differentiation="unrolled")
        with pytest.raises(ValueError, match="'library' is called once a solve and cannot stop at a tolerance"):
            settings_for(problem, TolerancePRDP(), solver="library")
        with pytest.raises(ValueError, match="`solver` must be one of sweeps, library, jacobi"):
            settings_for(problem, solver="cg")
        assert eqx.tree_equal(settings_for(problem).build_solver(), problem.own_solvers["sweeps"])


def test_the_diagonal_of_a_function_may_be_given():
    operator = FunctionOperator(lambda c, u: c * u + jnp.roll(u, 1), jnp.arange(1.0, 5.0), lambda c: c)
    dense = jax.vmap(operator.matvec, out_axes=1)(jnp.eye(4))
    np.testing.assert_array_equal(operator.diagonal(), dense.diagonal())
    np.testing.assert_array_equal(operator.transpose().diagonal(), dense.diagonal())
