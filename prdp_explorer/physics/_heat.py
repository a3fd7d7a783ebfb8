"""The heat equation u_t = α Δu on the unit interval, square or cube with u = 0 on the boundary."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers import AbstractOperator


class HeatOperator(AbstractOperator):
    """One step of backward Euler, (I - α dt Δ) u_next = u, as a stencil.

    Second-order central differences on n interior points a side with spacing 1 / (n + 1); the fields have shape (n,),
    (n, n) or (n, n, n). The matrix is symmetric, positive definite and strictly diagonally dominant.

    **Arguments:**

    - `diffusion`: α dt, non-dimensional.
    - `num_points`: n, the interior points a side.
    - `num_spatial_dims`: 1, 2 or 3.
    """

    diffusion: Float[Array, ""] | float
    num_points: int = eqx.field(static=True)
    num_spatial_dims: int = eqx.field(static=True, default=1)

    @property
    def coupling(self) -> Float[Array, ""] | float:
        """α dt / dx², what one neighbour weighs."""
        return self.diffusion * (self.num_points + 1) ** 2

    def matvec(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        padded = jnp.pad(u, 1)
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

    def solve_exactly(self, b: Float[np.ndarray, "*batch_and_grid"]) -> Float[np.ndarray, "*batch_and_grid"]:
        """u with A u = b to rounding, by the sine functions, which are the eigenvectors of A.

        In NumPy and float64 whatever JAX's precision, since this is what data and tests are made with. The grid is the
        last `num_spatial_dims` axes.
        """
        modes = np.arange(1, self.num_points + 1)
        angle = np.pi / (self.num_points + 1)
        sines = np.sqrt(2 / (self.num_points + 1)) * np.sin(angle * np.outer(modes, modes))  # its own inverse
        rate = 4 * np.sin(angle * modes / 2) ** 2
        eigenvalues = 1 + float(self.coupling) * sum(np.meshgrid(*[rate] * self.num_spatial_dims, indexing="ij"))

        def transform(u: np.ndarray) -> np.ndarray:
            for axis in range(-self.num_spatial_dims, 0):
                u = np.moveaxis(np.moveaxis(u, axis, -1) @ sines, -1, axis)
            return u

        return transform(transform(np.asarray(b, np.float64)) / eigenvalues)
