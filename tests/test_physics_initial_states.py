"""Random initial states."""

import itertools

import jax
import numpy as np
import pytest

from prdp_explorer.physics import (
    divergence,
    interior_points,
    periodic_fourier_series,
    project_divergence_free,
    smoothed_noise_velocity,
    truncated_fourier_series,
)

pytestmark = pytest.mark.usefixtures("quickly")


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

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_in_more_dimensions_each_mode_has_an_amplitude_for_every_product(self, dimensions):
        samples = truncated_fourier_series(5, 60, 8, 3, dimensions)
        assert samples.shape == (60,) + (8,) * dimensions
        assert samples.dtype == np.float32
        angles = 2 * np.pi * np.outer(np.arange(1, 4), np.arange(1, 9) / 9)
        letters = "xyz"[:dimensions]
        products = np.concatenate(
            [
                np.einsum(",".join(f"i{axis}" for axis in letters) + f"->i{letters}", *waves).reshape(3, -1)
                for waves in itertools.product((np.sin(angles), np.cos(angles)), repeat=dimensions)
            ]
        )
        amplitudes, *_ = np.linalg.lstsq(products.T, samples.reshape(60, -1).T, rcond=None)
        np.testing.assert_allclose(products.T @ amplitudes, samples.reshape(60, -1).T, atol=1e-5)
        assert 0.95 < np.abs(amplitudes).max() < 1
        np.testing.assert_allclose(amplitudes.mean(axis=1), 0, atol=0.3)
        np.testing.assert_allclose(amplitudes.var(axis=1), 1 / 3, atol=0.15)

    @pytest.mark.parametrize("dimensions", [1, 2, 3])
    def test_the_deviation_is_the_same_in_all_dimensions(self, dimensions):
        samples = truncated_fourier_series(2, 300, 11, 5, dimensions)
        assert samples.std() == pytest.approx(np.sqrt(5 / 3), rel=0.05)

    def test_in_two_dimensions_the_seed_decides(self):
        samples = truncated_fourier_series(3, 4, 10, 5, 2)
        np.testing.assert_array_equal(truncated_fourier_series(3, 4, 10, 5, 2), samples)
        assert np.abs(truncated_fourier_series(4, 4, 10, 5, 2) - samples).max() > 0.1


class TestPeriodicFourierSeries:
    def test_shape_type_and_seed(self):
        samples = periodic_fourier_series(3, 7, 32, 5)
        assert samples.shape == (7, 32)
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(periodic_fourier_series(3, 7, 32, 5), samples)
        assert np.abs(periodic_fourier_series(4, 7, 32, 5) - samples).max() > 0.1
        with jax.enable_x64(True):
            np.testing.assert_array_equal(periodic_fourier_series(3, 7, 32, 5), samples)

    @pytest.mark.parametrize("maximum", [1.0, 0.25])
    def test_each_sample_reaches_the_maximum_and_has_mean_zero(self, maximum):
        samples = periodic_fourier_series(3, 50, 33, 5, maximum)
        np.testing.assert_allclose(np.abs(samples).max(axis=1), maximum, rtol=1e-6)
        np.testing.assert_allclose(samples.mean(axis=1), 0, atol=1e-6)

    def test_made_of_the_named_modes_alone(self):
        spectrum = np.abs(np.fft.rfft(periodic_fourier_series(3, 50, 32, 4).astype(np.float64)))
        assert (spectrum[:, 1:5] > 1e-3).all()
        np.testing.assert_allclose(np.delete(spectrum, np.arange(1, 5), axis=1), 0, atol=1e-5)


class TestSmoothedNoiseVelocity:
    def test_shape_type_and_statistics(self):
        velocity = smoothed_noise_velocity(0, 5, 97)
        assert velocity.shape == (5, 2, 97, 97)
        assert velocity.dtype == np.float32
        np.testing.assert_allclose(velocity.mean(axis=(-2, -1)), 0, atol=1e-6)
        np.testing.assert_allclose(divergence(velocity), 0, atol=1e-4)  # float32's rounding, times 97
        assert velocity.std() == pytest.approx(np.sqrt(0.5), abs=0.1)
        assert np.diff(velocity, axis=-1).var() < 0.2 * velocity.var()  # of white noise, twice as much

    def test_samples_have_their_own_seeds(self):
        velocity = smoothed_noise_velocity(3, 3, 16)
        np.testing.assert_array_equal(smoothed_noise_velocity(3, 3, 16), velocity)
        np.testing.assert_allclose(smoothed_noise_velocity(5, 3, 16)[0], velocity[2], atol=1e-6)
        assert np.abs(velocity[0] - velocity[1]).max() > 0.1
        with jax.enable_x64(True):
            np.testing.assert_allclose(smoothed_noise_velocity(3, 3, 16), velocity, atol=1e-6)

    def test_the_published_recipe_step_by_step(self):
        """Sample 4 of the reference code: its keys, its smoothing, its normalisation, its projection."""
        num_points = 15
        noise = [jax.random.normal(k, (1, num_points, num_points)) for k in jax.random.split(jax.random.PRNGKey(4))]
        rate = 4 * num_points**2 * np.sin(np.pi * np.arange(num_points) / num_points) ** 2
        laplacian = rate[:, None] + rate
        components = []
        for component in noise:
            smooth = np.fft.ifft2(np.fft.fft2(np.asarray(component[0], np.float64)) / (1 + 3e-3 * laplacian)).real
            components.append((smooth - smooth.mean()) / smooth.std())
        expected = project_divergence_free(np.stack(components))
        np.testing.assert_allclose(smoothed_noise_velocity(4, 1, num_points)[0], expected, atol=1e-5)


def amplitudes_of(samples: np.ndarray, num_modes: int) -> tuple[np.ndarray, float]:
    """Sine and cosine amplitudes by least squares, and the largest part of the samples that they leave over."""
    x = np.arange(1, samples.shape[1] + 1) / (samples.shape[1] + 1)
    angles = 2 * np.pi * np.outer(x, np.arange(1, num_modes + 1))
    modes = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    amplitudes = np.linalg.lstsq(modes, samples.T, rcond=None)[0]
    return amplitudes.T, float(np.abs(modes @ amplitudes - samples.T).max())
