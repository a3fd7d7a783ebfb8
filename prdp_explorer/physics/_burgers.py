"""Burgers' equation u_t + u u_x = ν u_xx on the periodic unit interval."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers import AbstractOperator
from ._grids import checkerboard
from ._upwind import upwind_weights


class BurgersOperator(AbstractOperator):
    """One step of backward Euler and one of Picard, (I + dt (w D - ν D⁺D⁻)) u_next = u, as a stencil.

    The wind w that carries u_next is the previous state u. First-order upwind differences on n points with spacing
    1 / n: w D = a⁺ D⁻ + b⁻ D⁺ with a and b the wind at the left and the right face, each the mean of two points, so
    that shocks move at their own speed. Rows sum to 1 and nothing off the diagonal is positive, hence a step stays
    within the bounds of the state before it, whatever dt is. The matrix is strictly diagonally dominant, not symmetric.

    **Arguments:**

    - `wind`: w, of shape `(n,)`; gradients reach it through the weights, which are the array leaves.
    - `dt`: the time step, non-dimensional.
    - `viscosity`: ν, non-dimensional, not negative.

    **Raises:** `first_color` a `ValueError` for an odd n.

    **Source:** the differences are those of the reference code, `tum-pbs/PRDP`.
    """

    properties = frozenset({"diagonal", "ordering"})

    left: Float[Array, " n"]
    centre: Float[Array, " n"]
    right: Float[Array, " n"]

    def __init__(
        self, wind: Float[Array, " n"], dt: Float[Array, ""] | float, viscosity: Float[Array, ""] | float
    ) -> None:
        forth = jnp.maximum((wind + jnp.roll(wind, 1)) / 2, 0)
        back = jnp.minimum((wind + jnp.roll(wind, -1)) / 2, 0)
        left, right = upwind_weights(forth, back, viscosity, wind.shape[0])
        self.left, self.centre, self.right = dt * left, 1 - dt * (left + right), dt * right

    def matvec(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.centre * u + self.left * jnp.roll(u, 1) + self.right * jnp.roll(u, -1)

    def diagonal(self) -> Float[Array, " n"]:
        return self.centre

    def transpose(self) -> "BurgersOperator":
        weights = jnp.roll(self.right, 1), jnp.roll(self.left, -1)
        return eqx.tree_at(lambda operator: (operator.left, operator.right), self, weights)

    def first_color(self, u: Float[Array, " n"]) -> Bool[Array, " n"]:
        return checkerboard(u.shape, "periodic")


def burgers_step_exactly(
    u: Float[np.ndarray, "*batch n"], dt: float, viscosity: float
) -> Float[np.ndarray, "*batch n"]:
    """The step that `BurgersOperator` takes from each state u, to rounding: what data and tests are made with.

    In NumPy and float64 whatever JAX's precision, by dense matrices of n² numbers a state.

    **Arguments:** as of `BurgersOperator`; the wind is u.

    **Returns:** the next states, of u's shape, float64.
    """
    u = np.asarray(u, np.float64)
    here = np.arange(u.shape[-1])
    forth = np.maximum((u + np.roll(u, 1, -1)) / 2, 0)
    back = np.minimum((u + np.roll(u, -1, -1)) / 2, 0)
    left, right = upwind_weights(forth, back, viscosity, len(here))
    matrix = np.zeros((*u.shape, len(here)))
    matrix[..., here, here] = 1 - dt * (left + right)
    matrix[..., here, here - 1] += dt * left
    matrix[..., here - 1, here] += dt * np.roll(right, 1, -1)
    return np.linalg.solve(matrix, u[..., None])[..., 0]
