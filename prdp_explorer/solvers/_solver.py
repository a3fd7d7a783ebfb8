"""The contract of an iterative linear solver, and what follows from it for all of them."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._operator import AbstractOperator

State = Any
"""Whatever a solver carries from one iteration to the next: a pytree of arrays of fixed shapes."""


class AbstractSolver(eqx.Module):
    """An iterative method for A u = b, given by its start, one iteration, and the solution so far.

    Forward solves, unrolled gradients and residual histories all follow from these three.
    """

    @abc.abstractmethod
    def init(self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]) -> State:
        """The state before the first iteration."""

    @abc.abstractmethod
    def step(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: State) -> State:
        """One iteration."""

    @abc.abstractmethod
    def solution(self, state: State) -> Float[Array, "*grid"]:
        """The current approximation of u."""


def iterate(
    solver: AbstractSolver,
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    x0: Float[Array, "*grid"],
    iterations: Int[Array, ""] | int,
) -> Float[Array, "*grid"]:
    """The solution after `iterations` iterations, which may be a traced number."""
    state = solver.init(operator, b, x0)
    state = jax.lax.fori_loop(0, iterations, lambda _, s: solver.step(operator, b, s), state)
    return solver.solution(state)


def residual_history(
    solver: AbstractSolver,
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    iterations: int,
    x0: Float[Array, "*grid"] | None = None,
) -> Float[Array, " {iterations}+1"]:
    """The Euclidean norm of b - A u before the first and after each of `iterations` iterations (a static number)."""

    def norm(state: State) -> Float[Array, ""]:
        return jnp.linalg.norm((b - operator.matvec(solver.solution(state))).ravel())

    def body(state: State, _: None) -> tuple[State, Float[Array, ""]]:
        state = solver.step(operator, b, state)
        return state, norm(state)

    start = solver.init(operator, b, jnp.zeros_like(b) if x0 is None else x0)
    _, norms = jax.lax.scan(body, start, None, length=iterations)
    return jnp.concatenate([norm(start)[None], norms])
