"""The one entry point: solve a linear system by K inner iterations and differentiate through it."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ._differentiation import AbstractDifferentiation, Implicit, Unrolled
from ._jacobi import Jacobi
from ._operator import AbstractOperator
from ._solver import AbstractSolver

SOLVERS: dict[str, type[AbstractSolver]] = {"jacobi": Jacobi}
"""The solvers by the names that settings, the command line and links use."""

DIFFERENTIATIONS: tuple[str, ...] = ("unrolled", "implicit")
"""The names of the differentiation modes."""


def solver_named(name: str) -> AbstractSolver:
    """The solver of that name with its default parameters.

    **Raises:** `ValueError` for an unknown name.
    """
    if name not in SOLVERS:
        raise ValueError(f"`solver` must be one of {', '.join(SOLVERS)}; got {name!r}.")
    return SOLVERS[name]()


def differentiation_named(name: str, capacity: int) -> AbstractDifferentiation:
    """The differentiation mode of that name, for runs whose K never exceeds `capacity`.

    **Raises:** `ValueError` for an unknown name.
    """
    match name:
        case "unrolled":
            return Unrolled(capacity)
        case "implicit":
            return Implicit()
    raise ValueError(f"`differentiation` must be one of {', '.join(DIFFERENTIATIONS)}; got {name!r}.")


def solve(
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    solver: AbstractSolver | str,
    iterations: Int[Array, ""] | int,
    differentiation: AbstractDifferentiation | str = "implicit",
    *,
    x0: Float[Array, "*grid"] | None = None,
) -> Float[Array, "*grid"]:
    """P_K(b): the solution of A u = b after K iterations of a solver, differentiable in the way chosen.

    **Arguments:**

    - `operator`: A.
    - `b`: the right side, non-dimensional, of the grid's shape. For a batch use `jax.vmap`.
    - `solver`: a solver or its name.
    - `iterations`: K, at least 0; may be traced, so that a change of K needs no recompilation.
    - `differentiation`: a mode or its name. By name, "unrolled" needs a concrete K, whose iterates it stores; for a
      traced K pass `Unrolled(capacity)`.
    - `x0`: the start; zero if left out.

    **Returns:** the approximation of u, of b's shape.

    **Raises:** `ValueError` for an unknown name, or for "unrolled" with a traced K.
    """
    if isinstance(solver, str):
        solver = solver_named(solver)
    if isinstance(differentiation, str):
        if isinstance(iterations, Tracer):
            if differentiation == "unrolled":
                raise ValueError(
                    "`differentiation` 'unrolled' cannot size its buffer for a traced `iterations`. "
                    "Pass Unrolled(capacity) with the largest K that may occur."
                )
            differentiation = differentiation_named(differentiation, 1)
        else:
            differentiation = differentiation_named(differentiation, max(int(iterations), 1))
    x0 = jnp.zeros_like(b) if x0 is None else x0
    return _solve(differentiation, solver, operator, b, x0, jnp.asarray(iterations))


@jax.custom_vjp
def _solve(differentiation, solver, operator, b, x0, iterations):
    solution, _ = differentiation.forward(solver, operator, b, x0, iterations)
    return solution


def _forward(differentiation, solver, operator, b, x0, iterations):
    solution, kept = differentiation.forward(solver, operator, b, x0, iterations)
    return solution, (differentiation, solver, operator, b, x0, iterations, kept)


def _backward(residuals: Any, g: Any) -> Any:
    differentiation, *inputs, kept = residuals
    return None, *differentiation.backward(*inputs, kept, g), None


_solve.defvjp(_forward, _backward)
