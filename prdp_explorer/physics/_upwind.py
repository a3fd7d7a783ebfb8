"""Upwind differences, which look to where the wind comes from."""

from typing import Any, TypeVar

import jax
import numpy as np

Field = TypeVar("Field", np.ndarray, jax.Array)


def upwind_weights(forth: Field, back: Field, viscosity: jax.Array | float, num_points: int) -> tuple[Field, Field]:
    """The previous and the next point's weight in a⁺ D⁻u + b⁻ D⁺u - ν D⁺D⁻u along one periodic axis with dx = 1 / n.

    D⁻ and D⁺ are the backward and forward difference, `forth` is a⁺ = max(a, 0) and `back` b⁻ = min(b, 0) of the wind.
    Both weights are negative or zero; the point's own is minus their sum.
    """
    diffusion: Any = viscosity * num_points**2  # a plain number where the fields are NumPy's
    return -num_points * forth - diffusion, num_points * back - diffusion
