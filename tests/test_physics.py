"""Operators against assembled matrices and analytic solutions; initial states."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prdp_explorer.physics import HeatOperator, interior_points, truncated_fourier_series


def laplacian(num_points: int, dimensions: int) -> np.ndarray:
    """Entry by entry: -2 times the dimension over dx² on the diagonal, 1 / dx² for each neighbour."""
    cells = list(itertools.product(range(num_points), repeat=dimensions))
    entries = np.zeros((len(cells), len(cells)))
    for row, here in enumerate(cells):
        for column, there in enumerate(cells):
            distance = sum(abs(a - b) for a, b in zip(here, there, strict=True))
            entries[row, column] = {0: -2.0 * dimensions, 1: 1.0}.get(distance, 0.0)
    return entries * (num_points + 1) ** 2


def heat_matrix(diffusion: float, num_points: int, dimensions: int) -> np.ndarray:
    return np.eye(num_points**dimensions) - diffusion * laplacian(num_points, dimensions)


def fields(count: int, num_points: int, dimensions: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(count,) + (num_points,) * dimensions)


grids = pytest.mark.parametrize(("num_points", "dimensions"), [(1, 1), (2, 1), (9, 1), (4, 2), (1, 2), (3, 3)])


class TestHeatOperator:
    @pytest.mark.usefixtures("float64")
    @grids
    def test_the_stencil_equals_the_assembled_matrix(self, num_points, dimensions):
        operator, assembled = HeatOperator(0.013, num_points, dimensions), heat_matrix(0.013, num_points, dimensions)
        for u in fields(3, num_points, dimensions):
            mine = operator.matvec(jnp.asarray(u))
            assert mine.shape == u.shape
            np.testing.assert_allclose(mine.ravel(), assembled @ u.ravel(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            np.broadcast_to(operator.diagonal(), num_points**dimensions), assembled.diagonal(), rtol=1e-14
        )

    @grids
    def test_solve_exactly_equals_a_dense_solve(self, num_points, dimensions):
        operator, assembled = HeatOperator(0.013, num_points, dimensions), heat_matrix(0.013, num_points, dimensions)
        b = fields(4, num_points, dimensions)
        u = operator.solve_exactly(b)
        assert u.dtype == np.float64
        expected = np.linalg.solve(assembled, b.reshape(4, -1).T).T.reshape(b.shape)
        np.testing.assert_allclose(u, expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(operator.solve_exactly(b[0]), u[0], rtol=1e-12, atol=1e-14)

    @pytest.mark.usefixtures("float64")
    @grids
    def test_solve_exactly_inverts_the_stencil(self, num_points, dimensions):
        operator = HeatOperator(0.2, num_points, dimensions)
        b = fields(1, num_points, dimensions)[0]
        np.testing.assert_allclose(operator.matvec(jnp.asarray(operator.solve_exactly(b))), b, rtol=1e-10, atol=1e-11)

    @pytest.mark.usefixtures("float64")
    @grids
    def test_is_symmetric_and_says_so(self, num_points, dimensions):
        operator = HeatOperator(0.05, num_points, dimensions)
        u, v = map(jnp.asarray, fields(2, num_points, dimensions))
        assert jnp.vdot(v, operator.matvec(u)) == pytest.approx(float(jnp.vdot(operator.matvec(v), u)), rel=1e-12)
        np.testing.assert_array_equal(operator.transpose().matvec(u), operator.matvec(u))

    @grids
    def test_a_step_loses_energy(self, num_points, dimensions):
        operator = HeatOperator(0.01, num_points, dimensions)
        u = fields(1, num_points, dimensions)[0]
        energies = [float(np.sum(u**2))]
        for _ in range(5):
            u = operator.solve_exactly(u)
            energies.append(float(np.sum(u**2)))
        assert all(after < before for before, after in itertools.pairwise(energies))

    def test_without_diffusion_nothing_changes(self):
        u = fields(2, 5, 2)
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
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        np.testing.assert_allclose(orders, 2, atol=0.05)

    def test_first_order_in_time_towards_the_exponential_decay(self):
        sine = np.sin(np.pi * np.arange(1, 400) / 400)
        errors = []
        for steps in (10, 20, 40):
            u, operator = sine, HeatOperator(0.1 / steps, 399)
            for _ in range(steps):
                u = operator.solve_exactly(u)
            errors.append(np.abs(u - np.exp(-(np.pi**2) * 0.1) * sine).max())
        np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1, atol=0.05)


class TestInteriorPoints:
    @pytest.mark.parametrize("num_points", [1, 30, 97])
    def test_evenly_spaced_strictly_inside(self, num_points):
        points = interior_points(num_points)
        assert points.dtype == np.float32
        np.testing.assert_allclose(points, np.linspace(0, 1, num_points + 2)[1:-1], rtol=1e-6)


class TestTruncatedFourierSeries:
    def test_shape_and_type(self):
        samples = truncated_fourier_series(3, 7, 30, 5)
        assert samples.shape == (7, 30)
        assert samples.dtype == np.float32

    def test_the_seed_decides(self):
        samples = truncated_fourier_series(3, 7, 30, 5)
        np.testing.assert_array_equal(truncated_fourier_series(3, 7, 30, 5), samples)
        assert np.abs(truncated_fourier_series(4, 7, 30, 5) - samples).max() > 0.1
        assert np.abs(samples[0] - samples[1]).max() > 0.1

    def test_double_precision_draws_the_same_numbers(self):
        samples = truncated_fourier_series(3, 7, 30, 5)
        with jax.enable_x64(True):
            np.testing.assert_array_equal(truncated_fourier_series(3, 7, 30, 5), samples)

    @pytest.mark.parametrize("num_modes", [1, 3, 5])
    def test_made_of_the_named_modes_alone_with_amplitudes_below_one(self, num_modes):
        samples = truncated_fourier_series(5, 50, 30, num_modes)
        amplitudes, rest = amplitudes_of(samples, num_modes)
        assert rest < 1e-5
        assert np.abs(amplitudes).max() < 1
        assert np.abs(amplitudes).max() > 0.9
        assert amplitudes_of(samples, num_modes - 1)[1] > 0.1

    def test_amplitudes_are_uniform_and_centred(self):
        amplitudes, _ = amplitudes_of(truncated_fourier_series(11, 4_000, 30, 5), 5)
        assert amplitudes.shape == (4_000, 10)
        np.testing.assert_allclose(amplitudes.mean(axis=0), 0, atol=0.05)
        np.testing.assert_allclose(amplitudes.var(axis=0), 1 / 3, atol=0.03)
        correlations = np.corrcoef(amplitudes.T) - np.eye(10)
        np.testing.assert_allclose(correlations, 0, atol=0.08)

    def test_has_no_offset(self):
        """The mean over a period, the boundary point included, where only the cosines count, is zero."""
        samples = truncated_fourier_series(5, 20, 30, 5).astype(np.float64)
        at_boundary = amplitudes_of(samples, 5)[0][:, 5:].sum(axis=1)
        np.testing.assert_allclose(samples.sum(axis=1) + at_boundary, 0, atol=1e-4)


def amplitudes_of(samples: np.ndarray, num_modes: int) -> tuple[np.ndarray, float]:
    """Sine and cosine amplitudes by least squares, and the largest part of the samples that they leave over."""
    x = np.arange(1, samples.shape[1] + 1) / (samples.shape[1] + 1)
    angles = 2 * np.pi * np.outer(x, np.arange(1, num_modes + 1))
    modes = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    amplitudes = np.linalg.lstsq(modes, samples.T, rcond=None)[0]
    return amplitudes.T, float(np.abs(modes @ amplitudes - samples.T).max())
