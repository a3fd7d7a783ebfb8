"""Heat, Poisson and Burgers against analytic solutions and a spectral solver."""

import itertools

import exponax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prdp_explorer.physics import (
    BurgersOperator,
    HeatOperator,
    PoissonOperator,
    burgers_step_exactly,
    periodic_fourier_series,
)

DT, VISCOSITY = 0.07, 0.004

grids = pytest.mark.parametrize(("num_points", "dimensions"), [(1, 1), (2, 1), (9, 1), (4, 2), (1, 2), (3, 3)])


def fields(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape)


def smooth_wave(num_points: int) -> np.ndarray:
    x = np.arange(num_points) / num_points
    return np.sin(2 * np.pi * x) + 0.5 * np.cos(4 * np.pi * x)


def orders(errors: list[float]) -> np.ndarray:
    """From errors whose resolution doubles."""
    return np.log2(np.array(errors[:-1]) / errors[1:])


class TestHeatOperator:
    @settings(deadline=None)
    @given(
        arrays(np.float64, st.integers(2, 12), elements=st.floats(-10, 10)),
        st.floats(0, 10),
        st.sampled_from(["zero", "periodic"]),
    )
    def test_a_step_loses_energy_and_around_keeps_the_mean(self, u, diffusion, boundary):
        after = HeatOperator(diffusion, len(u), 1, boundary).solve_exactly(u)
        assert np.sum(after**2) <= np.sum(u**2) * (1 + 1e-12)
        if boundary == "periodic":
            assert after.mean() == pytest.approx(u.mean(), abs=1e-11)

    @grids
    def test_a_step_loses_energy_strictly(self, num_points, dimensions):
        operator = HeatOperator(0.01, num_points, dimensions)
        u = fields(*[num_points] * dimensions)
        energies = [float(np.sum(u**2))]
        for _ in range(5):
            u = operator.solve_exactly(u)
            energies.append(float(np.sum(u**2)))
        assert all(after < before for before, after in itertools.pairwise(energies))

    def test_without_diffusion_nothing_changes(self):
        u = fields(2, 5, 5)
        np.testing.assert_allclose(HeatOperator(0.0, 5, 2).solve_exactly(u), u, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("dimensions", [1, 2, 3])
    def test_second_order_towards_the_analytic_decay(self, dimensions):
        """Backward Euler takes the product of sin(πx) to 1 / (1 + d π² α dt) of it where space is continuous."""
        diffusion, errors = 0.1, []
        for num_points in (7, 15, 31):
            sine = np.sin(np.pi * np.arange(1, num_points + 1) / (num_points + 1))
            mode = sine
            for _ in range(dimensions - 1):
                mode = np.multiply.outer(mode, sine)
            expected = mode / (1 + dimensions * np.pi**2 * diffusion)
            errors.append(np.abs(HeatOperator(diffusion, num_points, dimensions).solve_exactly(mode) - expected).max())
        np.testing.assert_allclose(orders(errors), 2, atol=0.05)

    def test_first_order_in_time_towards_the_exponential_decay(self):
        sine = np.sin(np.pi * np.arange(1, 400) / 400)
        errors = []
        for steps in (10, 20, 40):
            u, operator = sine, HeatOperator(0.1 / steps, 399)
            for _ in range(steps):
                u = operator.solve_exactly(u)
            errors.append(np.abs(u - np.exp(-(np.pi**2) * 0.1) * sine).max())
        np.testing.assert_allclose(orders(errors), 1, atol=0.05)

    @pytest.mark.usefixtures("float64")
    def test_around_second_order_towards_the_spectral_solution(self):
        """With dt in proportion to dx², against exponax, which is exact in time and for these modes in space."""
        errors = []
        for num_points in (32, 64, 128):
            u = smooth_wave(num_points)
            expected = exponax.stepper.Diffusion(1, 1.0, num_points, 1.0, diffusivity=0.005)(jnp.asarray(u[None]))[0]
            steps = num_points**2 // 64
            operator = HeatOperator(0.005 / steps, num_points, 1, "periodic")
            for _ in range(steps):
                u = operator.solve_exactly(u)
            errors.append(np.abs(u - expected).max())
        assert errors[-1] < 1e-3
        np.testing.assert_allclose(orders(errors), 2, atol=0.1)

    def test_an_unknown_boundary_and_too_few_points_around_are_refused(self, monkeypatch):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse the first one itself
        with pytest.raises(ValueError, match="`boundary` must be one of zero, periodic; got 'open'"):
            HeatOperator(0.1, 4, 1, "open")  # pyrefly: ignore[bad-argument-type]
        with pytest.raises(ValueError, match="must be at least 2; got 1"):
            HeatOperator(0.1, 1, 1, "periodic")


class TestPoissonOperator:
    def test_second_order_towards_the_analytic_solution(self):
        """u = x (1 - x) exp(x) has -u'' = x (x + 3) exp(x)."""
        errors = []
        for num_points in (15, 31, 63):
            x = np.arange(1, num_points + 1) / (num_points + 1)
            u = PoissonOperator(num_points).solve_exactly(x * (x + 3) * np.exp(x))
            errors.append(np.abs(u - x * (1 - x) * np.exp(x)).max())
        np.testing.assert_allclose(orders(errors), 2, atol=0.02)


class TestBurgersOperator:
    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("num_points", [2, 7, 32])
    def test_the_exact_step_inverts_the_stencil(self, num_points):
        before = fields(3, num_points)
        after = burgers_step_exactly(before, DT, VISCOSITY)
        assert after.dtype == np.float64
        for u, v in zip(before, after, strict=True):
            np.testing.assert_allclose(
                BurgersOperator(jnp.asarray(u), DT, VISCOSITY).matvec(jnp.asarray(v)), u, rtol=1e-11
            )
        np.testing.assert_allclose(burgers_step_exactly(before[0], DT, VISCOSITY), after[0], rtol=1e-12)

    @settings(deadline=None)
    @given(arrays(np.float64, st.integers(3, 12), elements=st.floats(-10, 10)), st.floats(1e-4, 100), st.floats(0, 1))
    def test_a_step_stays_within_the_bounds_of_the_state_before(self, u, dt, viscosity):
        after = burgers_step_exactly(u, dt, viscosity)
        assert after.max() <= u.max() + 1e-9
        assert after.min() >= u.min() - 1e-9

    def test_a_step_loses_energy(self):
        u = periodic_fourier_series(2, 10, 64, 5).astype(np.float64)
        for _ in range(20):
            after = burgers_step_exactly(u, 0.02, 0.001)
            assert (np.sum(after**2, axis=1) < np.sum(u**2, axis=1)).all()
            u = after

    def test_what_is_uniform_stays_and_a_uniform_wind_keeps_the_mean(self):
        np.testing.assert_allclose(burgers_step_exactly(np.full(9, -0.3), 0.5, 0.01), -0.3, rtol=1e-13)
        operator = BurgersOperator(jnp.full(9, -0.3), 0.5, 0.01)
        np.testing.assert_allclose(operator.transpose().matvec(jnp.ones(9)), 1, rtol=1e-5)

    def test_a_shock_moves_at_the_mean_of_its_sides(self):
        x = np.arange(100) / 100
        u = np.where((x > 0.1) & (x < 0.4), 1.0, 0.0)
        for _ in range(600):
            u = burgers_step_exactly(u, 0.0005, 0.0)
        assert x[u > 0.5].max() == pytest.approx(0.4 + 0.5 * 0.3, abs=0.02)

    def test_first_order_towards_an_analytic_solution(self):
        """With dt in proportion to dx, to -2ν φ_x / φ (Cole, Hopf) of φ = 1.2 + exp(-ν k² t) cos(k x)."""
        viscosity, k, errors = 0.05, 2 * np.pi, []

        def exact(x: np.ndarray, t: float) -> np.ndarray:
            decay = np.exp(-viscosity * k**2 * t)
            return 2 * viscosity * k * decay * np.sin(k * x) / (1.2 + decay * np.cos(k * x))

        for num_points in (64, 128, 256):
            x = np.arange(num_points) / num_points
            u = exact(x, 0)
            for _ in range(num_points // 8):
                u = burgers_step_exactly(u, 2 / num_points, viscosity)
            errors.append(np.abs(u - exact(x, 0.25)).max())
        np.testing.assert_allclose(orders(errors), 1, atol=0.15)

    @pytest.mark.usefixtures("float64")
    def test_approaches_the_spectral_solution(self):
        """With dt in proportion to dx, against exponax, which resolves this flow."""
        spectral = exponax.stepper.Burgers(1, 1.0, 256, 5e-4, diffusivity=0.05)
        expected = exponax.RepeatedStepper(spectral, 200)(jnp.asarray(smooth_wave(256)[None]))[0]
        errors = []
        for num_points in (64, 128, 256):
            u = smooth_wave(num_points)
            for _ in range(num_points // 4):
                u = burgers_step_exactly(u, 0.4 / num_points, 0.05)
            errors.append(np.abs(u - expected[:: 256 // num_points]).max())
        assert errors[-1] < 0.02
        np.testing.assert_allclose(orders(errors), 1, atol=0.15)
