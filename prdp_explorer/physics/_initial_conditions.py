"""Random initial states."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float


def interior_points(num_points: int) -> Float[np.ndarray, " num_points"]:
    """The points strictly inside the unit interval, with spacing 1 / (num_points + 1), in float32."""
    return np.arange(1, num_points + 1, dtype=np.float32) * np.float32(1 / (num_points + 1))


def truncated_fourier_series(
    seed: int, count: int, num_points: int, num_modes: int
) -> Float[np.ndarray, "count num_points"]:
    """Samples of Σ a_i sin(2π i x) + b_i cos(2π i x), i = 1 … `num_modes`, with amplitudes uniform in (-1, 1).

    Random numbers are drawn as in the reference code: one key a sample, split into one for the sines, one for the
    cosines and one for an offset, which the published set-ups switch off. Evaluated in float32 by NumPy: training
    amplifies roundings, and with these the published runs are repeated to six digits, with others to two.

    **Arguments:**

    - `seed`: of the samples. `count`: how many.
    - `num_points`: interior points of the unit interval at which to evaluate.

    **Returns:** the fields, of shape `(count, num_points)`, float32, non-dimensional.
    """
    sine, cosine = (np.asarray(amplitudes) for amplitudes in _amplitudes(seed, count, num_modes))
    angles = 2 * np.pi * np.arange(1, num_modes + 1)[:, None] * interior_points(num_points)
    angles = angles.astype(np.float32)
    return sine @ np.sin(angles) + cosine @ np.cos(angles)


@functools.partial(jax.jit, static_argnames=("count", "num_modes"))
def _amplitudes(seed: Any, count: int, num_modes: int) -> tuple[jax.Array, jax.Array]:
    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        sine_key, cosine_key, _ = jax.random.split(key, 3)
        # float32 also where float64 is on, since another width draws other numbers.
        draws = [
            jax.random.uniform(k, (num_modes,), jnp.float32, minval=-1.0, maxval=1.0) for k in (sine_key, cosine_key)
        ]
        return draws[0], draws[1]

    return jax.vmap(draw)(jax.random.split(jax.random.PRNGKey(seed), count))
