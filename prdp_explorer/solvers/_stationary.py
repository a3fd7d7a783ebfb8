"""Stationary methods: u <- u + M⁻¹ (b - A u) with an M that is easily solved for."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._operator import AbstractOperator
from ._solver import AbstractSolver


class AbstractCorrecting(AbstractSolver):
    """u <- u + correction(b - A u). The state is u itself.

    Where the correction is M⁻¹ r with a constant M the method is stationary: it converges for every start if and only
    if the spectral radius of I - M⁻¹ A is below 1.
    """

    @abc.abstractmethod
    def correction(self, operator: AbstractOperator, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        """What to add for the residual r."""

    def init(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]
    ) -> Float[Array, "*grid"]:
        return x0

    def step(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: Float[Array, "*grid"]
    ) -> Float[Array, "*grid"]:
        return state + self.correction(operator, b - operator.matvec(state))

    def solution(self, state: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return state


class Jacobi(AbstractCorrecting):
    """M = D, the diagonal of A. Strict diagonal dominance guarantees convergence."""

    requires = frozenset({"diagonal"})

    def correction(self, operator: AbstractOperator, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return r / operator.diagonal()


class GaussSeidel(AbstractCorrecting):
    """M = D + L, with L what lies below the diagonal: each point is updated with its predecessors' new values.

    Stencils are swept red-black, other matrices row by row. Needs about half the iterations of Jacobi; red-black, each
    costs two products with A.
    """

    requires = frozenset({"diagonal", "ordering"})

    def correction(self, operator: AbstractOperator, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return operator.solve_lower(r, 1.0)


class SOR(AbstractCorrecting):
    """Successive over-relaxation, M = D / ω + L: Gauss-Seidel with each update stretched.

    **Arguments:**

    - `relaxation`: ω, above 0 and below 2. 1 is Gauss-Seidel. For a symmetric stencil with Jacobi's spectral radius ρ
      the best is 2 / (1 + √(1 - ρ²)) (Young 1954).
    """

    requires = frozenset({"diagonal", "ordering"})

    relaxation: float = eqx.field(static=True, default=1.2)

    def __check_init__(self):
        if not 0 < self.relaxation < 2:
            raise ValueError(f"`relaxation` must be above 0 and below 2; got {self.relaxation}.")

    def correction(self, operator: AbstractOperator, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return operator.solve_lower(r, self.relaxation)


class Richardson(AbstractCorrecting):
    """M = 1 / rate, a scalar.

    **Arguments:**

    - `rate`: above 0. None stands for 1 / max |D|, with which this is Jacobi wherever the diagonal is constant.
    """

    requires = frozenset({"diagonal"})

    rate: float | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"`rate` must be above 0; got {self.rate}.")

    def correction(self, operator: AbstractOperator, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return r / jnp.max(jnp.abs(operator.diagonal())) if self.rate is None else self.rate * r
