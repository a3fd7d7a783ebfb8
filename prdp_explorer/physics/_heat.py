"""The heat equation u_t = α Δu on the unit interval, square or cube, with u = 0 on the boundary or periodic."""

from typing import get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers import AbstractOperator
from ._grids import Boundary, checkerboard, divide_in_eigenvectors, laplacian_eigenvalues


class HeatOperator(AbstractOperator):
    """One step of backward Euler, (I - α dt Δ) u_next = u, as a stencil.

    Second-order central differences on n points a side; the fields have shape (n,), (n, n) or (n, n, n). The matrix is
    symmetric, positive definite and strictly diagonally dominant.

    **Arguments:**

    - `diffusion`: α dt, non-dimensional, not negative.
    - `num_points`: n, the points a side.
    - `num_spatial_dims`: 1, 2 or 3.
    - `boundary`: "zero" for u = 0 on the boundary, with interior points alone and dx = 1 / (n + 1); "periodic" for
      dx = 1 / n.

    **Raises:** `ValueError` for an unknown boundary, or fewer than 2 points around; `first_color` for an odd number of
    points around.
    """

    properties = frozenset({"diagonal", "ordering", "positive definite"})

    diffusion: Float[Array, ""] | float
    num_points: int = eqx.field(static=True)
    num_spatial_dims: int = eqx.field(static=True, default=1)
    boundary: Boundary = eqx.field(static=True, default="zero")

    def __check_init__(self):
        if self.boundary not in get_args(Boundary):
            raise ValueError(f"`boundary` must be one of {', '.join(get_args(Boundary))}; got {self.boundary!r}.")
        if self.boundary == "periodic" and self.num_points < 2:
            raise ValueError(f"`num_points` of a periodic grid must be at least 2; got {self.num_points}.")

    @property
    def coupling(self) -> Float[Array, ""] | float:
        """α dt / dx², what one neighbour weighs."""
        return self.diffusion * (self.num_points + (self.boundary == "zero")) ** 2

    def matvec(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        padded = jnp.pad(u, 1, mode="wrap" if self.boundary == "periodic" else "constant")
        inner = (slice(1, -1),) * u.ndim
        neighbours = sum(
            padded[(*inner[:axis], side, *inner[axis + 1 :])]
            for axis in range(u.ndim)
            for side in (slice(None, -2), slice(2, None))
        )
        return self.diagonal() * u - self.coupling * neighbours

    def diagonal(self) -> Float[Array, ""]:
        return jnp.asarray(1 + 2 * self.num_spatial_dims * self.coupling)

    def transpose(self) -> "HeatOperator":
        return self

    def first_color(self, u: Float[Array, "*grid"]) -> Bool[Array, "*grid"]:
        return checkerboard(u.shape, self.boundary)

    def solve_exactly(self, b: Float[np.ndarray, "*batch_and_grid"]) -> Float[np.ndarray, "*batch_and_grid"]:
        """u with A u = b to rounding, by the sine functions, or around by Fourier's, the eigenvectors of A.

        In NumPy and float64 whatever JAX's precision, since this is what data and tests are made with. The grid is the
        last `num_spatial_dims` axes.
        """
        eigenvalues = laplacian_eigenvalues(self.num_points, self.num_spatial_dims, self.boundary)
        return divide_in_eigenvectors(b, 1 + float(self.coupling) * eigenvalues, self.boundary)
