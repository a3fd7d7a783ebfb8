"""The contract of an iterative linear solver, and what follows from it for all of them."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._operator import AbstractOperator, Property

State = Any
"""Whatever a solver carries from one iteration to the next: a pytree of arrays of fixed shapes."""

MOST_ITERATIONS = 10_000
"""Where `converge` gives up."""


class AbstractSolver(eqx.Module):
    """An iterative method for A u = b, given by its start, one iteration, and the solution so far.

    Forward solves, unrolled gradients and residual histories all follow from these three.

    **Attributes to set:**

    - `requires`: what a matrix must be for the method to work.
    - `restarts`: whether each iteration begins from the solution alone, so that it makes sense by itself. Methods that
      carry more, such as conjugate gradients their search directions, have no truncated gradient: b enters them at
      their start only.
    - `steps`: whether it can be taken one iteration at a time; else only `run` is called, once a solve.
    """

    requires: ClassVar[frozenset[Property]] = frozenset()
    restarts: ClassVar[bool] = True
    steps: ClassVar[bool] = True

    @abc.abstractmethod
    def init(self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]) -> State:
        """The state before the first iteration."""

    @abc.abstractmethod
    def step(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: State) -> State:
        """One iteration."""

    @abc.abstractmethod
    def solution(self, state: State) -> Float[Array, "*grid"]:
        """The current approximation of u."""

    def run(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: State, iterations: Int[Array, ""] | int
    ) -> State:
        """So many iterations, which may be a traced number."""
        return jax.lax.fori_loop(0, iterations, lambda _, state: self.step(operator, b, state), state)

    def residual_norm(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: State) -> Float[Array, ""]:
        """‖b - A u‖, the Euclidean norm; a method that knows it without another product with A says so."""
        return norm(b - operator.matvec(self.solution(state)))


class Budget(eqx.Module):
    """How long a solver may iterate; both values may be traced.

    **Arguments:**

    - `iterations`: K, the most iterations.
    - `rtol`: stop as soon as ‖b - A u‖ <= rtol ‖b‖. None never looks, which is faster.
    """

    iterations: Int[Array, ""] | int
    rtol: Float[Array, ""] | float | None = None


def norm(u: Float[Array, "*grid"]) -> Float[Array, ""]:
    """The Euclidean norm of a field, with gradient zero where it is zero."""
    square = jnp.sum(u**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


@jax.custom_jvp
def ratio(numerator: Array, denominator: Array) -> Array:
    """A quotient that is zero, with gradient zero, where the denominator is.

    Its derivative divides twice rather than by the denominator's square, which underflows where residuals are small.
    """
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


@ratio.defjvp
def _ratio_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (numerator, denominator), (of_numerator, of_denominator) = primals, tangents
    quotient = ratio(numerator, denominator)
    return quotient, ratio(of_numerator - quotient * of_denominator, denominator)


def advance(
    solver: AbstractSolver,
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    state: State,
    budget: Budget,
    capacity: int = 0,
) -> tuple[State, Int[Array, ""], State]:
    """Iterate from a state until the budget is spent.

    **Arguments:**

    - `capacity`: how many states to keep, a static number: the last ones, that before iteration k in row k modulo
      `capacity`.

    **Returns:** the state, the iterations used, and the states kept.
    """
    if budget.rtol is None and not capacity:
        return solver.run(operator, b, state, budget.iterations), jnp.asarray(budget.iterations, jnp.int32), None
    kept = jax.tree.map(lambda leaf: jnp.zeros((capacity, *leaf.shape), leaf.dtype), state) if capacity else None

    def body(carry: Any) -> Any:
        k, state, kept = carry
        if capacity:
            kept = jax.tree.map(lambda rows, leaf: rows.at[k % capacity].set(leaf), kept, state)
        return k + 1, solver.step(operator, b, state), kept

    start = (jnp.zeros((), jnp.int32), state, kept)
    if budget.rtol is None:
        used, state, kept = jax.lax.fori_loop(0, budget.iterations, lambda _, carry: body(carry), start)
        return state, used, kept

    enough = budget.rtol * norm(b)

    def wanting(carry: Any) -> Any:
        k, state, _ = carry
        return (k < budget.iterations) & (solver.residual_norm(operator, b, state) > enough)

    used, state, kept = jax.lax.while_loop(wanting, body, start)
    return state, used, kept


def iterate(
    solver: AbstractSolver,
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    x0: Float[Array, "*grid"],
    iterations: Int[Array, ""] | int,
) -> Float[Array, "*grid"]:
    """The solution after `iterations` iterations, which may be a traced number."""
    state, _, _ = advance(solver, operator, b, solver.init(operator, b, x0), Budget(iterations))
    return solver.solution(state)


def converge(
    solver: AbstractSolver, operator: AbstractOperator, b: Float[Array, "*grid"], patience: int = 30
) -> Float[Array, "*grid"]:
    """The solution, from zero, as good as the working precision allows.

    Ends when the residual is at rounding, has found no new minimum for `patience` iterations, or after 10,000.
    """
    state = solver.init(operator, b, jnp.zeros_like(b))
    enough = 4 * jnp.finfo(b.dtype).eps * norm(b)

    def wanting(carry: Any) -> Any:
        k, best_at, best, _ = carry
        return (best > enough) & (k - best_at < patience) & (k < MOST_ITERATIONS)

    def body(carry: Any) -> Any:
        k, best_at, best, state = carry
        state = solver.step(operator, b, state)
        residual = norm(b - operator.matvec(solver.solution(state)))
        better = residual < best
        return k + 1, jnp.where(better, k, best_at), jnp.minimum(residual, best), state

    zero = jnp.zeros((), jnp.int32)
    *_, state = jax.lax.while_loop(wanting, body, (zero, zero, norm(b), state))
    return solver.solution(state)


def residual_history(
    solver: AbstractSolver,
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    iterations: int,
    x0: Float[Array, "*grid"] | None = None,
) -> Float[Array, " {iterations}+1"]:
    """The Euclidean norm of b - A u before the first and after each of `iterations` iterations (a static number)."""

    def residual(state: State) -> Float[Array, ""]:
        return norm(b - operator.matvec(solver.solution(state)))

    def body(state: State, _: None) -> tuple[State, Float[Array, ""]]:
        state = solver.step(operator, b, state)
        return state, residual(state)

    start = solver.init(operator, b, jnp.zeros_like(b) if x0 is None else x0)
    _, norms = jax.lax.scan(body, start, None, length=iterations)
    return jnp.concatenate([residual(start)[None], norms])
