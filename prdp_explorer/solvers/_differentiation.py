"""How a gradient passes an inner solve of K iterations."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._operator import AbstractOperator
from ._solver import AbstractSolver, Budget, State, advance, converge

Cotangents = tuple[Any, Any, Array | None, Array | None]
"""Of the solver's and the operator's array leaves, of b, and of x0; None stands for zero."""

Forward = tuple[Float[Array, "*grid"], Int[Array, ""], Any]
"""The solution, the iterations used, and what `backward` needs of the way there."""


class AbstractDifferentiation(eqx.Module):
    """A differentiation mode: what is kept of a solve, and what gradient is made of it.

    Every mode computes the same P_K(b), the solution of A u = b after K iterations; only the derivative differs. A
    mode has static fields only, hence is hashable and part of what a compiled function depends on.
    """

    def forward(
        self,
        solver: AbstractSolver,
        operator: AbstractOperator,
        b: Float[Array, "*grid"],
        x0: Float[Array, "*grid"],
        budget: Budget,
    ) -> Forward:
        """Solve. Unless a mode needs more, the solution itself is what is kept."""
        state, used, _ = advance(solver, operator, b, solver.init(operator, b, x0), budget)
        solution = solver.solution(state)
        return solution, used, solution

    @abc.abstractmethod
    def backward(
        self,
        solver: AbstractSolver,
        operator: AbstractOperator,
        b: Float[Array, "*grid"],
        x0: Float[Array, "*grid"],
        budget: Budget,
        kept: Any,
        g: Float[Array, "*grid"],
    ) -> Cotangents:
        """The cotangents that belong to the cotangent g of the solution."""


class Implicit(AbstractDifferentiation):
    """Differentiate the equation A u = b instead of the iterations.

    Solves Aᵀ λ = g with the same solver, K iterations from zero. λ is the cotangent of b, and the cotangent of A's
    parameters is that of -λᵀ A u at the iterate u with which the forward solve ended. The start x0 gets none, since
    the solution of the equation does not depend on it.

    - Exactness: of the same order in K as the solve itself. Coincides with `Unrolled` for the gradient of b with a
      stationary solver (Jacobi, Richardson) from zero and a constant A.
    - Memory: constant in K. Cost: K iterations more.
    - Source: Lorraine, Vicol and Duvenaud 2020 (arXiv:1911.02590), whose m-term Neumann series this is for a
      stationary solver with m adjoint iterations; Bhatia, Koehler and Thuerey 2025 (arXiv:2502.19611).

    **Arguments:**

    - `adjoint_iterations`: of the adjoint solve, a static number; None follows K.
    """

    adjoint_iterations: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.adjoint_iterations is not None and self.adjoint_iterations < 0:
            raise ValueError(f"`adjoint_iterations` must be at least 0; got {self.adjoint_iterations}.")

    def backward(self, solver, operator, b, x0, budget, kept, g):
        if self.adjoint_iterations is not None:
            budget = Budget(self.adjoint_iterations, budget.rtol)
        transposed = operator.transpose()
        start = solver.init(transposed, g, jnp.zeros_like(g))
        state, _, _ = advance(solver, transposed, g, start, budget)
        return _of_equation(operator, kept, solver.solution(state))


class ExactAdjoint(AbstractDifferentiation):
    """`Implicit` with the adjoint system solved to rounding: a coarse primal with an exact adjoint.

    - Exactness: the gradient of b is exact for the exact solution's cotangent; what remains is the error of the primal.
      Coincides with `Implicit` at convergence.
    - Memory: constant in K. Cost: a converged solve, whatever K is.
    - Source: the adjoint method (Giles and Pierce 2000).
    """

    def backward(self, solver, operator, b, x0, budget, kept, g):
        return _of_equation(operator, kept, converge(solver, operator.transpose(), g))


class Unrolled(AbstractDifferentiation):
    """Reverse-mode differentiation of all K iterations.

    - Exactness: the exact derivative of what was computed.
    - Memory: `capacity` states, whatever K is. Cost: K reversed iterations, each about two to three forward ones.
    - Source: Griewank and Walther 2008, "Evaluating Derivatives".

    **Arguments:**

    - `capacity`: the number of iterates that the buffer holds, a static number. K may be traced up to it; a larger K
      gives NaN rather than a gradient that silently lacks the first iterations.
    """

    capacity: int = eqx.field(static=True)

    def __check_init__(self):
        if self.capacity < 1:
            raise ValueError(f"`capacity` must be at least 1; got {self.capacity}.")

    def forward(self, solver, operator, b, x0, budget):
        start = solver.init(operator, b, x0)
        state, used, states = advance(solver, operator, b, start, budget, self.capacity)
        solution = jnp.where(used <= self.capacity, solver.solution(state), jnp.nan)
        return solution, used, (state, used, states)

    def backward(self, solver, operator, b, x0, budget, kept, g):
        end, used, states = kept
        # Beyond the capacity the first iterations are lost: no gradient is better than a wrong one.
        g = jnp.where(used <= self.capacity, g, jnp.nan)
        cotangents, state_cotangent = _reverse(solver, operator, b, end, used, states, g)
        _, pull_back = eqx.filter_vjp(lambda m, a, c, x: m.init(a, c, x), solver, operator, b, x0)
        *more, x0_cotangent = pull_back(state_cotangent)
        return *_add(cotangents, tuple(more)), x0_cotangent


class Truncated(AbstractDifferentiation):
    """Reverse-mode differentiation of the last m iterations; the state before them counts as constant.

    - Exactness: for a converging stationary solver the error falls like the solver's own over m iterations. Coincides
      with `Unrolled` for the gradients of b and A while K <= m. For methods that carry more than the solution from
      iteration to iteration (cg, bicgstab) it is no gradient of anything useful, and refused.
    - Memory: m states. Cost: m reversed iterations.
    - Source: Shaban, Cheng, Hatch and Boots 2019 (arXiv:1810.10667).

    **Arguments:**

    - `last`: m, a static number.
    """

    last: int = eqx.field(static=True, default=5)

    def __check_init__(self):
        if self.last < 1:
            raise ValueError(f"`last` must be at least 1; got {self.last}.")

    def forward(self, solver, operator, b, x0, budget):
        state, used, states = advance(solver, operator, b, solver.init(operator, b, x0), budget, self.last)
        return solver.solution(state), used, (state, states, used)

    def backward(self, solver, operator, b, x0, budget, kept, g):
        end, states, used = kept
        cotangents, _ = _reverse(solver, operator, b, end, used, states, g, jnp.minimum(used, self.last))
        return *cotangents, None


class OneStep(AbstractDifferentiation):
    """Reverse-mode differentiation of the last iteration alone: `Truncated` with m = 1.

    For a stationary solver the cotangent of b is M⁻ᵀ g, which is what Jacobian-free backpropagation (Fung et al. 2022,
    arXiv:2103.12803) gives here: the identity stands for I - ∂T of the iteration T, never for A.

    - Exactness: good where one iteration contracts strongly; never converges with K.
    - Memory: one state. Cost: one reversed iteration.
    - Source: Bolte, Pauwels and Vaiter 2023 (arXiv:2305.13768).
    """

    def forward(self, solver, operator, b, x0, budget):
        return Truncated(1).forward(solver, operator, b, x0, budget)

    def backward(self, solver, operator, b, x0, budget, kept, g):
        return Truncated(1).backward(solver, operator, b, x0, budget, kept, g)


class Detached(AbstractDifferentiation):
    """No gradient through the solve at all: what a solver that cannot be differentiated gives.

    - Exactness: none. Memory: none. Cost: none. Learning goes on only where gradients go round the physics.
    - Source: the baseline of List, Chen, Bali and Thuerey 2024 (arXiv:2402.12971), which compares unrolling with and
      without gradients.
    """

    def backward(self, solver, operator, b, x0, budget, kept, g):
        return None, None, None, None


def _reverse(
    solver: AbstractSolver,
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    end: State,
    used: Int[Array, ""],
    states: State,
    g: Float[Array, "*grid"],
    count: Int[Array, ""] | None = None,
) -> tuple[tuple[Any, Any, Array], State]:
    """Pull g back through the last `count` of `used` iterations, whose states lie in the rows of a ring.

    Returns the cotangents of solver, operator and b, and that of the state before these iterations.
    """
    size = len(jax.tree.leaves(states)[0])
    _, pull_back = eqx.filter_vjp(lambda m, s: m.solution(s), solver, end)
    solver_cotangent, state_cotangent = pull_back(g)

    def body(done: Array, carry: Any) -> Any:
        state_cotangent, cotangents = carry
        state = jax.tree.map(lambda rows: rows[(used - 1 - done) % size], states)
        _, pull_back = eqx.filter_vjp(lambda m, a, c, s: m.step(a, c, s), solver, operator, b, state)
        *more, state_cotangent = pull_back(state_cotangent)
        return state_cotangent, _add(cotangents, tuple(more))

    zeros = jax.tree.map(jnp.zeros_like, eqx.filter((operator, b), eqx.is_inexact_array))
    state_cotangent, cotangents = jax.lax.fori_loop(
        0, used if count is None else count, body, (state_cotangent, (solver_cotangent, *zeros))
    )
    return cotangents, state_cotangent


def _of_equation(operator: AbstractOperator, u: Float[Array, "*grid"], adjoint: Float[Array, "*grid"]) -> Cotangents:
    """The cotangents of A u = b, given λ: λ for b, and that of -λᵀ A u for what A is made of."""
    _, pull_back = eqx.filter_vjp(lambda a: -a.matvec(u), operator)
    (operator_cotangent,) = pull_back(adjoint)
    return None, operator_cotangent, adjoint, None


def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)
