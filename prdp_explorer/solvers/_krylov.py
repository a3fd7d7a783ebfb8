"""Methods that search along residuals and what A makes of them: steepest descent and conjugate gradients' kin."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._operator import AbstractOperator
from ._solver import AbstractSolver, norm, ratio
from ._stationary import AbstractCorrecting


class SteepestDescent(AbstractCorrecting):
    """u <- u + (rᵀr / rᵀA r) r with the residual r = b - A u: the exact line search for the energy uᵀA u / 2 - bᵀu."""

    requires = frozenset({"positive definite"})

    def correction(self, operator: AbstractOperator, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        # The step does not depend on r's length: with it divided out, squares of small residuals do not underflow.
        v = ratio(r, jax.lax.stop_gradient(jnp.max(jnp.abs(r))))
        return ratio(jnp.sum(v * v), jnp.sum(v * operator.matvec(v))) * r


def _floor(b: Float[Array, "*grid"], r: Float[Array, "*grid"]) -> Float[Array, ""]:
    """The squared residual at which there is nothing left but rounding, where quotients of residuals mean nothing."""
    return jnp.finfo(b.dtype).eps ** 2 * jnp.maximum(jnp.sum(b * b), jnp.sum(r * r))


class CGState(eqx.Module):
    """The solution, the residual as the recursion has it, the search direction, ‖r‖², and where to stand still."""

    u: Float[Array, "*grid"]
    r: Float[Array, "*grid"]
    p: Float[Array, "*grid"]
    rr: Float[Array, ""]
    floor: Float[Array, ""]


class CG(AbstractSolver):
    """Conjugate gradients (Hestenes and Stiefel 1952). Stands still once the residual is at rounding.

    Unrolled, its gradient sees only the eigenvectors that b contains, also at convergence; implicit sees all.
    """

    requires = frozenset({"positive definite"})
    restarts = False

    def init(self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]) -> CGState:
        r = b - operator.matvec(x0)
        return CGState(x0, r, r, jnp.sum(r * r), _floor(b, r))

    def step(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: CGState) -> CGState:
        image = operator.matvec(state.p)
        going = state.rr > state.floor
        alpha = ratio(state.rr, jnp.where(going, jnp.sum(state.p * image), 0))
        r = state.r - alpha * image
        rr = jnp.where(going, jnp.sum(r * r), state.rr)
        p = r + ratio(rr, jnp.where(going, state.rr, 0)) * state.p
        return CGState(state.u + alpha * state.p, r, p, rr, state.floor)

    def solution(self, state: CGState) -> Float[Array, "*grid"]:
        return state.u

    def residual_norm(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: CGState) -> Float[Array, ""]:
        return jnp.sqrt(state.rr)


class BiCGStabState(eqx.Module):
    """The solution, the residual, its shadow at the start, the search direction, shadowᵀr, and where to stand still."""

    u: Float[Array, "*grid"]
    r: Float[Array, "*grid"]
    shadow: Float[Array, "*grid"]
    p: Float[Array, "*grid"]
    rho: Float[Array, ""]
    floor: Float[Array, ""]


class BiCGStab(AbstractSolver):
    """Stabilised bi-conjugate gradients (van der Vorst 1992), for matrices without symmetry. Two products with A each.

    Stands still once the residual is at rounding, and where the recursion breaks down. On saddle points, whose diagonal
    has zeros, it wanders for hundreds of iterations, hence what it requires. Unrolled, as `CG`.
    """

    requires = frozenset({"diagonal"})
    restarts = False

    def init(self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]) -> BiCGStabState:
        r = b - operator.matvec(x0)
        return BiCGStabState(x0, r, r, r, jnp.sum(r * r), _floor(b, r))

    def step(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: BiCGStabState) -> BiCGStabState:
        going = jnp.sum(state.r * state.r) > state.floor
        image = operator.matvec(state.p)
        alpha = ratio(state.rho, jnp.where(going, jnp.sum(state.shadow * image), 0))
        s = state.r - alpha * image
        t = operator.matvec(s)
        omega = ratio(jnp.sum(t * s), jnp.where(going, jnp.sum(t * t), 0))
        r = s - omega * t
        rho = jnp.where(going, jnp.sum(state.shadow * r), state.rho)
        beta = ratio(rho, jnp.where(going, state.rho, 0)) * ratio(alpha, omega)
        p = r + beta * (state.p - omega * image)
        return BiCGStabState(state.u + alpha * state.p + omega * s, r, state.shadow, p, rho, state.floor)

    def solution(self, state: BiCGStabState) -> Float[Array, "*grid"]:
        return state.u

    def residual_norm(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: BiCGStabState
    ) -> Float[Array, ""]:
        return norm(state.r)
