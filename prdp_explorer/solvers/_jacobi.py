"""Jacobi's method."""

from jaxtyping import Array, Float

from ._operator import AbstractOperator
from ._solver import AbstractSolver


class Jacobi(AbstractSolver):
    """u <- u + D⁻¹ (b - A u) with D the diagonal of A.

    Converges for every start if and only if the spectral radius of I - D⁻¹ A is below 1, which strict diagonal
    dominance guarantees. The state is u itself.
    """

    def init(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]
    ) -> Float[Array, "*grid"]:
        return x0

    def step(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: Float[Array, "*grid"]
    ) -> Float[Array, "*grid"]:
        return state + (b - operator.matvec(state)) / operator.diagonal()

    def solution(self, state: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return state
