"""Poisson's equation -u'' = f on the unit interval with u = 0 at both ends."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..solvers import AbstractOperator
from ._grids import checkerboard, divide_in_eigenvectors, laplacian_eigenvalues


class PoissonOperator(AbstractOperator):
    """-u'' by second-order central differences on n interior points with spacing 1 / (n + 1), as a stencil.

    The matrix is symmetric, positive definite and diagonally dominant, strictly at both ends.

    **Arguments:**

    - `num_points`: n, the interior points.
    """

    properties = frozenset({"diagonal", "ordering", "positive definite"})

    num_points: int = eqx.field(static=True)

    def matvec(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        padded = jnp.pad(u, 1)
        return (2 * u - padded[:-2] - padded[2:]) * (self.num_points + 1) ** 2

    def diagonal(self) -> Float[Array, ""]:
        return jnp.asarray(2.0 * (self.num_points + 1) ** 2)

    def transpose(self) -> "PoissonOperator":
        return self

    def first_color(self, u: Float[Array, " n"]) -> Bool[Array, " n"]:
        return checkerboard(u.shape, "zero")

    def solve_exactly(self, b: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
        """u with A u = b to rounding, by the sine functions, which are the eigenvectors of A.

        In NumPy and float64 whatever JAX's precision, since this is what data and tests are made with.
        """
        eigenvalues = (self.num_points + 1) ** 2 * laplacian_eigenvalues(self.num_points, 1, "zero")
        return divide_in_eigenvectors(b, eigenvalues, "zero")
