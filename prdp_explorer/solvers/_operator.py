"""What a solver needs to know of a linear system's matrix."""

import abc

import equinox as eqx
from jaxtyping import Array, Float


class AbstractOperator(eqx.Module):
    """A square matrix A given by its action, never assembled.

    A field u has any shape; A acts on it as a whole. Whatever a gradient may be wanted of is an array leaf.
    """

    @abc.abstractmethod
    def matvec(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """A u."""

    @abc.abstractmethod
    def diagonal(self) -> Float[Array, "*grid"]:
        """The diagonal of A, of any shape that broadcasts against u."""

    @abc.abstractmethod
    def transpose(self) -> "AbstractOperator":
        """The operator of Aᵀ."""


class DenseOperator(AbstractOperator):
    """A given as a matrix: for small systems, tests, and matrices that are no stencil.

    **Arguments:**

    - `matrix`: A, of shape `(n, n)`.
    """

    matrix: Float[Array, "n n"]

    def matvec(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.matrix @ u

    def diagonal(self) -> Float[Array, " n"]:
        return self.matrix.diagonal()

    def transpose(self) -> "DenseOperator":
        return DenseOperator(self.matrix.T)
