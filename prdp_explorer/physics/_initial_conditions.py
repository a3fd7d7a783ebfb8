"""Random initial states."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ._heat import HeatOperator
from ._navier_stokes import project_divergence_free


def interior_points(num_points: int) -> Float[np.ndarray, " num_points"]:
    """The points strictly inside the unit interval, with spacing 1 / (num_points + 1), in float32."""
    return np.arange(1, num_points + 1, dtype=np.float32) * np.float32(1 / (num_points + 1))


def truncated_fourier_series(
    seed: int, count: int, num_points: int, num_modes: int, num_spatial_dims: int = 1
) -> Float[np.ndarray, "count ..."]:
    """Samples of Σ a_i sin(2π i x) + b_i cos(2π i x), i = 1 … `num_modes`, with amplitudes uniform in (-1, 1).

    In more dimensions, each i has an amplitude for every product of sines and cosines of the coordinates: in two,
    sin sin, sin cos, cos sin and cos cos, as published. The standard deviation, √(`num_modes` / 3), is the same in all
    dimensions. The reference code multiplies sine and cosine of the same coordinate in one of the four; these samples
    do not.

    Random numbers are drawn as in the reference code in one dimension: one key a sample, split into one for the sines,
    one for the cosines and one for an offset, which the published set-ups switch off. Evaluated in float32 by NumPy:
    training amplifies roundings, and with these the published runs are repeated to six digits, with others to two.

    **Arguments:**

    - `seed`: of the samples. `count`: how many.
    - `num_points`: interior points a side of the unit interval, square or cube at which to evaluate.
    - `num_modes`: how many i there are; published: 5.
    - `num_spatial_dims`: the dimensions; 1 if left out.

    **Returns:** the fields, of shape `(count, num_points, …)`, float32, non-dimensional.
    """
    angles = 2 * np.pi * np.arange(1, num_modes + 1)[:, None] * interior_points(num_points)
    angles = angles.astype(np.float32)
    amplitudes = _amplitudes(seed, count, num_modes, 2**num_spatial_dims)
    kinds = itertools.product((np.sin(angles), np.cos(angles)), repeat=num_spatial_dims)
    samples = np.float32(0)
    for a, (products, *waves) in zip(amplitudes, kinds, strict=True):
        for wave in waves:
            products = (products[:, :, None] * wave[:, None, :]).reshape(num_modes, -1)
        samples = samples + np.asarray(a) @ products
    return samples.reshape(count, *[num_points] * num_spatial_dims)


def periodic_fourier_series(
    seed: int, count: int, num_points: int, num_modes: int, maximum: float = 1.0
) -> Float[np.ndarray, "count num_points"]:
    """Samples of a truncated Fourier series on a periodic grid, each scaled to the same largest magnitude.

    Σ a_i sin(2π i x) + b_i cos(2π i x), i = 1 … `num_modes`, with amplitudes uniform in (-1, 1) before scaling, at
    x = 0, dx, … with dx = 1 / `num_points`. The mean over the grid is zero if `num_modes` < `num_points`.

    **Arguments:**

    - `seed`: of the samples. `count`: how many.
    - `num_points`: points around the unit interval. `num_modes`: how many i there are.
    - `maximum`: the largest magnitude at a point, 1 if left out.

    **Returns:** the fields, of shape `(count, num_points)`, float32, non-dimensional.
    """
    sine, cosine = (np.asarray(amplitudes, np.float64) for amplitudes in _amplitudes(seed, count, num_modes, 2))
    angles = 2 * np.pi / num_points * np.outer(np.arange(1, num_modes + 1), np.arange(num_points))
    samples = sine @ np.sin(angles) + cosine @ np.cos(angles)
    return (maximum * samples / np.abs(samples).max(axis=-1, keepdims=True)).astype(np.float32)


def smoothed_noise_velocity(first_seed: int, count: int, num_points: int) -> Float[np.ndarray, "count 2 N N"]:
    """Random velocities as published for Navier-Stokes, on the periodic unit square's staggered grid.

    White noise, smoothed by one implicit step of the heat equation (ν 3e-3, dt 1) and for each sample and component
    brought to mean zero and standard deviation one; then projected to be free of divergence, which lowers the
    deviation again, to about 0.7. In float64 up to the last rounding.

    **Arguments:**

    - `first_seed`: of the first sample; each further sample has the next seed, as published. Sets whose first seeds are
      less than `count` apart therefore overlap.
    - `count`: how many.
    - `num_points`: N, the points a side; published: 97.

    **Returns:** the velocities, of shape `(count, 2, N, N)`, float32, non-dimensional.

    **Source:** Bhatia, Koehler and Thuerey 2025 (arXiv:2502.19611) and its code, `tum-pbs/PRDP`, which solves
    iteratively what is solved exactly here.
    """
    smoothing = HeatOperator(3e-3, num_points, 2, "periodic")
    velocity = smoothing.solve_exactly(np.asarray(_white_noise(first_seed, count, num_points)))
    velocity -= velocity.mean(axis=(-2, -1), keepdims=True)
    velocity /= velocity.std(axis=(-2, -1), keepdims=True)
    return project_divergence_free(velocity).astype(np.float32)


# What runs once, for a millisecond, XLA would optimise for seconds; these levels give the same numbers to the last bit.
@functools.partial(
    jax.jit,
    static_argnames=("count", "num_modes", "kinds"),
    compiler_options={"xla_backend_optimization_level": "0"},
)
def _amplitudes(seed: Any, count: int, num_modes: int, kinds: int) -> tuple[jax.Array, ...]:
    def draw(key: jax.Array) -> tuple[jax.Array, ...]:
        *keys, _ = jax.random.split(key, kinds + 1)
        # float32 also where float64 is on, since another width draws other numbers.
        return tuple(jax.random.uniform(k, (num_modes,), jnp.float32, minval=-1.0, maxval=1.0) for k in keys)

    return jax.vmap(draw)(jax.random.split(jax.random.PRNGKey(seed), count))


# Without any optimisation the last bit would be another here.
@functools.partial(
    jax.jit, static_argnames=("count", "num_points"), compiler_options={"xla_backend_optimization_level": "1"}
)
def _white_noise(first_seed: Any, count: int, num_points: int) -> jax.Array:
    def draw(seed: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.PRNGKey(seed))
        return jax.vmap(lambda key: jax.random.normal(key, (num_points, num_points), jnp.float32))(keys)

    return jax.vmap(draw)(first_seed + jnp.arange(count))
