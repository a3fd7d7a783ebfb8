"""One time step of Navier-Stokes as published, against runs of the reference code."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prdp_explorer.physics import NavierStokesOperator, divergence, navier_stokes_right_side
from prdp_explorer.solvers import GMRES, solve

CASES = json.loads((Path(__file__).parent / "navier_stokes.json").read_text())
EVERY_CASE = pytest.mark.parametrize(
    "case", CASES, ids=[f"N {c['N']} restart {c['restart']} K {c['K']}" for c in CASES]
)


def solve_by_this_package(
    operator: NavierStokesOperator, b: jax.Array, restart: int, iterations: jax.Array
) -> jax.Array:
    return solve(operator, b, GMRES(restart), iterations, "implicit", rtol=1e-5)


def solve_by_jax(operator: NavierStokesOperator, b: jax.Array, restart: int, iterations: jax.Array) -> jax.Array:
    """What the reference code calls: it tells a deviation of the operator from one of the solver."""
    solution, _ = jax.scipy.sparse.linalg.gmres(
        operator.matvec, b, restart=restart, maxiter=iterations, tol=1e-5, solve_method="batched"
    )
    return solution


BOTH_SOLVERS = pytest.mark.parametrize("gmres", [solve_by_this_package, solve_by_jax])


def start(case: dict) -> np.ndarray:
    coordinates = np.arange(case["N"]) / case["N"]
    y, x = np.meshgrid(coordinates, coordinates, indexing="ij")
    along, turn = 2 * np.pi * (x + 0.1 * case["shift"]), 2 * np.pi * y
    vx = np.sin(along) * np.cos(turn) + 0.5 * np.cos(2 * turn + case["shift"])
    vy = -np.cos(along) * np.sin(turn) + 0.3 * np.sin(6 * np.pi * x - case["shift"])
    return np.stack([vx, vy, np.zeros_like(vx)])


@partial(jax.jit, static_argnames=("gmres", "restart"))
def step_and_gradient(gmres, restart, iterations, dt, viscosity, state) -> tuple[jax.Array, jax.Array]:
    """The state after a step, and the gradient of its Σ (vx² + vy²) with respect to the state before."""

    def energy(state: jax.Array) -> tuple[jax.Array, jax.Array]:
        operator = NavierStokesOperator(state[:2], dt, viscosity, averages="published")
        after = gmres(operator, navier_stokes_right_side(state[:2], dt), restart, iterations)
        return jnp.sum(after[:2] ** 2), after

    gradient, after = jax.grad(energy, has_aux=True)(state)
    return after, gradient


def run(gmres: Callable, case: dict) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        state = jnp.asarray(start(case))
        after, gradient = step_and_gradient(gmres, case["restart"], case["K"], case["dt"], case["nu"], state)
    return np.asarray(after), np.asarray(gradient)


def test_there_are_several_grids_and_iteration_numbers():
    assert len(CASES) == 6
    assert {case["N"] for case in CASES} == {16, 24}
    assert {case["K"] for case in CASES} == {1, 3, 5, 10, 40}


@BOTH_SOLVERS
@EVERY_CASE
def test_a_step_repeats_the_published_fields(case, gmres):
    after, _ = run(gmres, case)
    probes = [after[:, j, i] for j, i in case["probe_index"]]
    np.testing.assert_allclose(np.linalg.norm(after, axis=(1, 2)), case["norms"], rtol=1e-6)
    np.testing.assert_allclose(probes, case["probes"], rtol=1e-6)
    assert np.abs(divergence(after[:2])).max() == pytest.approx(case["divergence"], rel=1e-6)


@BOTH_SOLVERS
@EVERY_CASE
def test_its_gradient_repeats_the_published_norms(case, gmres):
    _, gradient = run(gmres, case)
    # JAX holds the adjoint to the tolerance of the forward solve, this package to that of its own right side.
    stopped_elsewhere = case["K"] == 40 and gmres is solve_by_this_package
    norms = np.linalg.norm(gradient, axis=(1, 2))
    np.testing.assert_allclose(norms, case["grad_norms"], rtol=2e-5 if stopped_elsewhere else 1e-6)
