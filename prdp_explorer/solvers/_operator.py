"""What a solver needs to know of a linear system's matrix."""

import abc
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Property = Literal["diagonal", "ordering", "positive definite"]
"""What a solver may require of a matrix: a diagonal that dominates its rows, so that splitting it off converges;
an order in which points can be swept; symmetry with positive eigenvalues."""


class AbstractOperator(eqx.Module):
    """A square matrix A given by its action, never assembled.

    A field u has any shape; A acts on it as a whole. Whatever a gradient may be wanted of is an array leaf.

    **Attributes to set:**

    - `properties`: what holds for every such matrix; it decides which solvers suit.
    """

    properties: ClassVar[frozenset[Property]] = frozenset()

    @abc.abstractmethod
    def matvec(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """A u."""

    @abc.abstractmethod
    def diagonal(self) -> Float[Array, "..."]:
        """D, the diagonal of A, of any shape that broadcasts against u."""

    @abc.abstractmethod
    def transpose(self) -> "AbstractOperator":
        """The operator of Aᵀ."""

    def first_color(self, u: Float[Array, "*grid"]) -> Bool[Array, "*grid"]:
        """Of operators with an ordering: a mask of points none of which couples to another, nor any of the rest."""
        raise NotImplementedError(f"{type(self).__name__} has no ordering to sweep along.")

    def solve_lower(self, r: Float[Array, "*grid"], relaxation: Float[Array, ""] | float) -> Float[Array, "*grid"]:
        """z with (D / relaxation + L) z = r, where L is what lies below the diagonal in the operator's ordering.

        Unless an operator knows better: red-black, the points of `first_color` before the others.
        """
        first = self.first_color(r)
        weight = relaxation / self.diagonal()
        z = jnp.where(first, weight * r, 0)
        return jnp.where(first, z, weight * (r - self.matvec(z)))


class DenseOperator(AbstractOperator):
    """A given as a matrix: for small systems, tests, and matrices that are no stencil.

    Nothing is known of its entries, so every solver is let try.

    **Arguments:**

    - `matrix`: A, of shape `(n, n)`.
    """

    properties = frozenset({"diagonal", "ordering", "positive definite"})

    matrix: Float[Array, "n n"]

    def matvec(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.matrix @ u

    def diagonal(self) -> Float[Array, " n"]:
        return self.matrix.diagonal()

    def transpose(self) -> "DenseOperator":
        return DenseOperator(self.matrix.T)

    def solve_lower(self, r: Float[Array, " n"], relaxation: Float[Array, ""] | float) -> Float[Array, " n"]:
        relaxed = jnp.tril(self.matrix, -1) + jnp.diag(self.matrix.diagonal() / relaxation)
        return jax.scipy.linalg.solve_triangular(relaxed, r, lower=True)
