"""One time step of Navier-Stokes as published, against runs of the reference code."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prdp_explorer.physics import NavierStokesOperator, divergence, navier_stokes_right_side

CASES = json.loads((Path(__file__).parent / "navier_stokes.json").read_text())
EVERY_CASE = pytest.mark.parametrize(
    "case", CASES, ids=[f"N {c['N']} restart {c['restart']} K {c['K']}" for c in CASES]
)


def solve(operator: NavierStokesOperator, b: jax.Array, restart: int, iterations: int) -> jax.Array:
    """The solution after that many restarts of GMRES from zero, fewer where the published tolerance is met before."""
    solution, _ = jax.scipy.sparse.linalg.gmres(
        operator.matvec, b, restart=restart, maxiter=iterations, tol=1e-5, solve_method="batched"
    )
    return solution


def start(case: dict) -> np.ndarray:
    coordinates = np.arange(case["N"]) / case["N"]
    y, x = np.meshgrid(coordinates, coordinates, indexing="ij")
    along, turn = 2 * np.pi * (x + 0.1 * case["shift"]), 2 * np.pi * y
    vx = np.sin(along) * np.cos(turn) + 0.5 * np.cos(2 * turn + case["shift"])
    vy = -np.cos(along) * np.sin(turn) + 0.3 * np.sin(6 * np.pi * x - case["shift"])
    return np.stack([vx, vy, np.zeros_like(vx)])


def step(state: jax.Array, case: dict) -> jax.Array:
    velocity = state[:2]
    operator = NavierStokesOperator(velocity, case["dt"], case["nu"], averages="published")
    return solve(operator, navier_stokes_right_side(velocity, case["dt"]), case["restart"], case["K"])


def test_there_are_several_grids_and_iteration_numbers():
    assert len(CASES) == 6
    assert {case["N"] for case in CASES} == {16, 24}
    assert {case["K"] for case in CASES} == {1, 3, 5, 10, 40}


@pytest.mark.usefixtures("float64")
@EVERY_CASE
def test_a_step_repeats_the_published_fields(case):
    after = np.asarray(jax.jit(lambda state: step(state, case))(start(case)))
    probes = [after[:, j, i] for j, i in case["probe_index"]]
    np.testing.assert_allclose(np.linalg.norm(after, axis=(1, 2)), case["norms"], rtol=1e-6)
    np.testing.assert_allclose(probes, case["probes"], rtol=1e-6)
    assert np.abs(divergence(after[:2])).max() == pytest.approx(case["divergence"], rel=1e-6)


@pytest.mark.usefixtures("float64")
@EVERY_CASE
def test_its_gradient_repeats_the_published_norms(case):
    gradient = jax.jit(jax.grad(lambda state: jnp.sum(step(state, case)[:2] ** 2)))(jnp.asarray(start(case)))
    norms = np.linalg.norm(gradient, axis=(1, 2))
    np.testing.assert_allclose(norms, case["grad_norms"], rtol=1e-6)
