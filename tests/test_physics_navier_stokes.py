"""Navier-Stokes: what a step does to a flow, and the fields around it. Its matrix is among the other operators'."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.sparse.linalg

from prdp_explorer.physics import (
    NavierStokesOperator,
    coarsen,
    divergence,
    navier_stokes_right_side,
    project_divergence_free,
    smoothed_noise_velocity,
    vorticity,
)

pytestmark = pytest.mark.usefixtures("quickly")

both_averages = pytest.mark.parametrize("averages", ["published", "proper"])


@partial(jax.jit, static_argnames="averages")
def products(velocity: jax.Array, dt: float, viscosity: float, averages, us: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the step's matrix with each u, and the right side."""
    operator = NavierStokesOperator(velocity, dt, viscosity, averages)
    return jax.vmap(operator.matvec)(us), navier_stokes_right_side(velocity, dt)


def step_exactly(velocity: np.ndarray, dt: float, viscosity: float, averages) -> np.ndarray:
    """(vx, vy, p) after a step, by a sparse direct solve for the solution whose pressure has mean zero.

    A product with ones at every third point of a component along x and y tells a column of the matrix from the next.
    """
    num_points = velocity.shape[-1]
    assert num_points % 3 == 0
    combs = np.zeros((27, 3, num_points, num_points))
    for comb, (component, y, x) in zip(combs, np.ndindex(3, 3, 3), strict=True):
        comb[component, y::3, x::3] = 1
    with jax.enable_x64(True):
        entries, b = map(np.asarray, products(jnp.asarray(velocity), dt, viscosity, averages, jnp.asarray(combs)))
    rows = np.arange(b.size).reshape(b.shape)
    _, j, i = np.indices(b.shape)
    columns = [
        component * num_points**2
        + (j + (y - j + 1) % 3 - 1) % num_points * num_points
        + (i + (x - i + 1) % 3 - 1) % num_points
        for component, y, x in np.ndindex(3, 3, 3)
    ]
    matrix = scipy.sparse.csc_array((entries.ravel(), (np.tile(rows.ravel(), 27), np.ravel(columns))))
    matrix.eliminate_zeros()
    matrix += scipy.sparse.csc_array(([1.0], ([b.size - 1], [b.size - 1])))  # the last pressure is zero
    after = np.asarray(scipy.sparse.linalg.spsolve(matrix, b.ravel())).reshape(b.shape)
    after[2] -= after[2].mean()
    return after


def taylor_green(num_points: int) -> np.ndarray:
    """Vortices on the faces of the cells, which decay by exp(-8π² ν t) and stay where they are."""
    faces = 2 * np.pi * np.arange(1, num_points + 1) / num_points
    middles = faces - np.pi / num_points
    vx = np.sin(faces) * np.cos(middles)[:, None]
    vy = -np.cos(middles) * np.sin(faces)[:, None]
    return np.stack([vx, vy])


def random_velocity(num_points: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, 2, num_points, num_points))


class TestOneStep:
    @both_averages
    def test_makes_the_divergence_vanish_and_leaves_the_pressure_mean_zero(self, averages):
        after = step_exactly(random_velocity(9)[0], 0.1, 1e-3, averages)
        np.testing.assert_allclose(divergence(after[:2]), 0, atol=1e-9)
        assert np.abs(after[:2]).max() > 0.1
        assert after[2].mean() == pytest.approx(0, abs=1e-10)

    @both_averages
    @pytest.mark.parametrize("seed", [0, 1])
    def test_loses_kinetic_energy(self, averages, seed):
        velocity = smoothed_noise_velocity(seed, 1, 12)[0].astype(np.float64)
        energies = [np.sum(velocity**2)]
        for _ in range(4):
            velocity = step_exactly(velocity, 0.1, 1e-4, averages)[:2]
            energies.append(np.sum(velocity**2))
        assert all(after < before for before, after in itertools.pairwise(energies))

    @both_averages
    def test_a_uniform_flow_goes_on_and_carries_others_without_loss_of_momentum(self, averages):
        wind = np.broadcast_to(np.array([0.7, -0.4])[:, None, None], (2, 6, 6))
        after = step_exactly(wind, 0.5, 1e-3, averages)
        np.testing.assert_allclose(after[:2], wind, atol=1e-12)
        np.testing.assert_allclose(after[2], 0, atol=1e-11)
        with jax.enable_x64(True):
            operator = NavierStokesOperator(jnp.asarray(wind), 0.5, 1e-3, averages)
            u = jnp.asarray(np.random.default_rng(3).normal(size=(3, 6, 6)))
            np.testing.assert_allclose(operator.matvec(u).sum((1, 2)), [*u[:2].sum((1, 2)) / 0.5, 0], atol=1e-10)

    @both_averages
    def test_is_the_same_mirrored_in_the_diagonal(self, averages):
        velocity = random_velocity(6)[0]
        after = step_exactly(velocity, 0.1, 1e-3, averages)
        mirrored = step_exactly(velocity[::-1].transpose(0, 2, 1), 0.1, 1e-3, averages)
        np.testing.assert_allclose(mirrored, after[[1, 0, 2]].transpose(0, 2, 1), rtol=1e-9, atol=1e-10)

    @both_averages
    def test_first_order_towards_the_decay_of_vortices(self, averages):
        """With dt in proportion to dx."""
        viscosity, errors = 0.05, []
        for num_points in (12, 24, 48):
            velocity = taylor_green(num_points)
            for _ in range(num_points // 6):
                velocity = step_exactly(velocity, 0.6 / num_points, viscosity, averages)[:2]
            expected = np.exp(-8 * np.pi**2 * viscosity * 0.1) * taylor_green(num_points)
            errors.append(np.sqrt(np.mean((velocity - expected) ** 2)))
        assert np.log2(errors[-2] / errors[-1]) == pytest.approx(1, abs=0.2)


class TestNavierStokesOperator:
    @pytest.mark.usefixtures("float64")
    def test_the_proper_averages_lie_on_the_points_where_they_are_used(self):
        """A wind that is smooth: the proper mean of four is of second order, the published one of first."""
        differences = {}
        for averages in ("published", "proper"):
            errors = []
            for num_points in (16, 32):
                vx = taylor_green(num_points)[0] + 2  # positive, as the wind to the west reads it
                operator = NavierStokesOperator(jnp.asarray([vx, np.ones_like(vx)]), 1.0, 0.0, averages)
                middles = 2 * np.pi * (np.arange(num_points) + 0.5) / num_points
                faces = middles + np.pi / num_points
                expected = np.sin(middles) * np.cos(faces)[:, None] + 2
                errors.append(np.abs(-operator.west[1] / num_points - expected).max())
            differences[averages] = np.log2(errors[0] / errors[1])
        assert differences["proper"] == pytest.approx(2, abs=0.1)
        assert differences["published"] == pytest.approx(1, abs=0.15)

    def test_unknown_averages_are_refused(self, monkeypatch):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse them itself
        with pytest.raises(ValueError, match="`averages` must be one of published, proper; got 'own'"):
            NavierStokesOperator(jnp.ones((2, 4, 4)), 0.1, 1e-3, "own")  # pyrefly: ignore[bad-argument-type]

    def test_in_a_batch_the_same(self):
        velocities = jnp.asarray(random_velocity(5, 3), jnp.float32)
        us = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3, 5, 5)), jnp.float32)

        def product(velocity, u):
            return NavierStokesOperator(velocity, 0.1, 1e-3).matvec(u)

        together = jax.jit(jax.vmap(product))(velocities, us)
        for velocity, u, mine in zip(velocities, us, together, strict=True):
            np.testing.assert_allclose(mine, product(velocity, u), rtol=1e-5, atol=1e-4)

    def test_the_right_side(self):
        velocity = jnp.asarray(random_velocity(4)[0], jnp.float32)
        b = navier_stokes_right_side(velocity, 0.1)
        np.testing.assert_allclose(b[:2], 10 * velocity, rtol=1e-6)
        np.testing.assert_array_equal(b[2], 0)


class TestProjection:
    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("num_points", [2, 7, 16])
    def test_only_the_divergence_goes(self, num_points):
        before = random_velocity(num_points, 3)
        after = project_divergence_free(before)
        assert after.dtype == np.float64
        np.testing.assert_allclose(divergence(after), 0, atol=1e-12 * num_points)
        turns = jax.vmap(vorticity)
        np.testing.assert_allclose(turns(jnp.asarray(after)), turns(jnp.asarray(before)), atol=1e-11 * num_points)
        np.testing.assert_allclose(after.mean((-2, -1)), before.mean((-2, -1)), atol=1e-13)
        np.testing.assert_allclose(project_divergence_free(after), after, atol=1e-12)
        np.testing.assert_allclose(project_divergence_free(before[1]), after[1], atol=1e-13)

    def test_it_is_the_nearest(self):
        before = random_velocity(8, 2)
        after = project_divergence_free(before)
        assert np.vdot(before - after, after) == pytest.approx(0, abs=1e-10)

    def test_float32_is_projected_in_float64(self):
        assert np.abs(divergence(project_divergence_free(random_velocity(8).astype(np.float32)))).max() < 1e-12


class TestFields:
    @pytest.mark.usefixtures("float64")
    def test_the_divergence_and_the_vorticity_of_vortices(self):
        np.testing.assert_allclose(divergence(taylor_green(12)), 0, atol=1e-13)
        errors = []
        for num_points in (16, 32):
            corners = 2 * np.pi * np.arange(1, num_points + 1) / num_points
            expected = 4 * np.pi * np.sin(corners) * np.sin(corners)[:, None]
            errors.append(np.abs(vorticity(jnp.asarray(taylor_green(num_points))) - expected).max())
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)

    def test_coarse_fields_are_every_second_point_from_the_second(self):
        fields = np.arange(2.0 * 97 * 97).reshape(2, 97, 97)
        coarse = coarsen(fields)
        assert coarse.shape == (2, 48, 48)
        assert coarse[1, 0, 0] == fields[1, 1, 1]
        assert coarse[1, 47, 3] == fields[1, 95, 7]
        assert coarsen(fields[:, :96, :96]).shape == (2, 48, 48)
