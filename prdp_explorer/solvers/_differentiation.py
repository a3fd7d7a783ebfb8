"""How a gradient passes an inner solve of K iterations."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._operator import AbstractOperator
from ._solver import AbstractSolver, State, iterate

Cotangents = tuple[Any, Any, Array, Array | None]
"""Of the solver's and the operator's array leaves, of b, and of x0; None stands for zero."""


class AbstractDifferentiation(eqx.Module):
    """A differentiation mode: what is kept of a solve, and what gradient is made of it.

    Every mode computes the same P_K(b), the solution of A u = b after K iterations; only the derivative differs. A
    mode has static fields only, hence is hashable and part of what a compiled function depends on.
    """

    @abc.abstractmethod
    def forward(
        self,
        solver: AbstractSolver,
        operator: AbstractOperator,
        b: Float[Array, "*grid"],
        x0: Float[Array, "*grid"],
        iterations: Int[Array, ""] | int,
    ) -> tuple[Float[Array, "*grid"], Any]:
        """The solution after `iterations` (possibly traced) iterations, and what `backward` needs of the way there."""

    @abc.abstractmethod
    def backward(
        self,
        solver: AbstractSolver,
        operator: AbstractOperator,
        b: Float[Array, "*grid"],
        x0: Float[Array, "*grid"],
        iterations: Int[Array, ""] | int,
        kept: Any,
        g: Float[Array, "*grid"],
    ) -> Cotangents:
        """The cotangents that belong to the cotangent g of the solution."""


class Implicit(AbstractDifferentiation):
    """Differentiate the equation A u = b instead of the iterations.

    Solves Aᵀ λ = g with the same solver, K iterations from zero. λ is the cotangent of b, and the cotangent of A's
    parameters is that of -λᵀ A u at the iterate u with which the forward solve ended. The start x0 gets none, since
    the solution of the equation does not depend on it.

    - Exactness: of the same order in K as the solve itself. Coincides with `Unrolled` for the gradient of b with
      Jacobi from zero and a constant A.
    - Memory: constant in K. Cost: K iterations more.
    - Source: Lorraine, Vicol and Duvenaud 2020 (arXiv:1911.02590); Bhatia, Koehler and Thuerey 2025
      (arXiv:2502.19611).
    """

    def forward(self, solver, operator, b, x0, iterations):
        solution = iterate(solver, operator, b, x0, iterations)
        return solution, solution

    def backward(self, solver, operator, b, x0, iterations, kept, g):
        adjoint = iterate(solver, operator.transpose(), g, jnp.zeros_like(g), iterations)
        _, pull_back = jax.vjp(lambda a: -a.matvec(kept), operator)
        (operator_cotangent,) = pull_back(adjoint)
        return None, operator_cotangent, adjoint, None


class Unrolled(AbstractDifferentiation):
    """Reverse-mode differentiation of all K iterations.

    - Exactness: the exact derivative of what was computed.
    - Memory: `capacity` states, whatever K is. Cost: K reversed iterations, each about two to three forward ones.

    **Arguments:**

    - `capacity`: the number of iterates that the buffer holds, a static number. K may be traced up to it; a larger K
      gives NaN rather than a gradient that silently lacks the first iterations.
    """

    capacity: int = eqx.field(static=True)

    def __check_init__(self):
        if self.capacity < 1:
            raise ValueError(f"`capacity` must be at least 1; got {self.capacity}.")

    def forward(self, solver, operator, b, x0, iterations):
        start = solver.init(operator, b, x0)
        buffer = jax.tree.map(lambda leaf: jnp.zeros((self.capacity, *leaf.shape), leaf.dtype), start)

        def body(k: Array, carry: tuple[State, State]) -> tuple[State, State]:
            state, buffer = carry
            buffer = jax.tree.map(lambda kept, leaf: kept.at[k].set(leaf), buffer, state)
            return solver.step(operator, b, state), buffer

        state, buffer = jax.lax.fori_loop(0, iterations, body, (start, buffer))
        solution = jnp.where(iterations <= self.capacity, solver.solution(state), jnp.nan)
        return solution, (state, buffer)

    def backward(self, solver, operator, b, x0, iterations, kept, g):
        end, buffer = kept
        _, pull_back = jax.vjp(lambda m, s: m.solution(s), solver, end)
        # Beyond the capacity the first iterations are lost: no gradient is better than a wrong one.
        solver_cotangent, state_cotangent = pull_back(jnp.where(iterations <= self.capacity, g, jnp.nan))
        zeros = jax.tree.map(jnp.zeros_like, (operator, b))

        def body(done: Array, carry: Any) -> Any:
            state_cotangent, cotangents = carry
            state = jax.tree.map(lambda leaf: leaf[iterations - 1 - done], buffer)
            _, pull_back = jax.vjp(lambda m, a, c, s: m.step(a, c, s), solver, operator, b, state)
            *more, state_cotangent = pull_back(state_cotangent)
            return state_cotangent, _add(cotangents, tuple(more))

        state_cotangent, cotangents = jax.lax.fori_loop(
            0, iterations, body, (state_cotangent, (solver_cotangent, *zeros))
        )
        _, pull_back = jax.vjp(lambda m, a, c, x: m.init(a, c, x), solver, operator, b, x0)
        *more, x0_cotangent = pull_back(state_cotangent)
        return *_add(cotangents, tuple(more)), x0_cotangent


def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)
