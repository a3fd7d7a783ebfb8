"""The one entry point: solve a linear system by K inner iterations and differentiate through it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from ._differentiation import (
    AbstractDifferentiation,
    Detached,
    ExactAdjoint,
    Implicit,
    OneStep,
    Truncated,
    Unrolled,
)
from ._gmres import GMRES
from ._krylov import CG, BiCGStab, SteepestDescent
from ._operator import AbstractOperator
from ._solver import AbstractSolver, Budget
from ._stationary import SOR, GaussSeidel, Jacobi, Richardson

SOLVERS: Mapping[str, type[AbstractSolver]] = {
    "jacobi": Jacobi,
    "gauss-seidel": GaussSeidel,
    "sor": SOR,
    "richardson": Richardson,
    "steepest-descent": SteepestDescent,
    "cg": CG,
    "bicgstab": BiCGStab,
    "gmres": GMRES,
}
"""The solvers by the names that settings, the command line and links use."""

_MODES: Mapping[str, Callable[[int], AbstractDifferentiation]] = {
    "implicit": lambda _: Implicit(),
    "unrolled": Unrolled,
    "exact-adjoint": lambda _: ExactAdjoint(),
    "truncated": lambda _: Truncated(),
    "one-step": lambda _: OneStep(),
    "detached": lambda _: Detached(),
}

DIFFERENTIATIONS: tuple[str, ...] = tuple(_MODES)
"""The names of the differentiation modes, that of the paper first."""

_LACKING = {
    "diagonal": "a diagonal that dominates its rows",
    "ordering": "an order in which points can be swept, such as red-black",
    "positive definite": "symmetry with positive eigenvalues",
}


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
    if name not in _MODES:
        raise ValueError(f"`differentiation` must be one of {', '.join(DIFFERENTIATIONS)}; got {name!r}.")
    return _MODES[name](capacity)


def unsuited_solver(solver: type[AbstractSolver], operator: type[AbstractOperator]) -> str | None:
    """Why a solver does not suit the matrices of an operator, in words; None if it does."""
    lacking = [words for name, words in _LACKING.items() if name in solver.requires - operator.properties]
    if not lacking:
        return None
    return f"{solver.__name__} needs {' and '.join(lacking)}, which {operator.__name__} does not promise"


def unsuited_differentiation(
    solver: AbstractSolver | type[AbstractSolver], differentiation: type[AbstractDifferentiation]
) -> str | None:
    """Why a differentiation mode does not suit a solver, in words; None if it does."""
    name = solver.__name__ if isinstance(solver, type) else type(solver).__name__
    if not solver.steps and differentiation not in (Implicit, Detached):
        return (
            f"{name} is called once a solve and gives the last of its iterates only, so that "
            f"{differentiation.__name__}, which needs them one by one, has nothing to look at"
        )
    if solver.restarts or differentiation not in (Truncated, OneStep):
        return None
    return (
        f"{name} takes in b at its start only, so that {differentiation.__name__}, which looks at the last "
        "iterations, would find no gradient"
    )


def solvers_for(operator: type[AbstractOperator], first: str) -> tuple[str, ...]:
    """The names of the solvers that suit an operator, `first` in front."""
    suited = [name for name, solver in SOLVERS.items() if unsuited_solver(solver, operator) is None]
    return first, *(name for name in suited if name != first)


def solve(
    operator: AbstractOperator,
    b: Float[Array, "*grid"],
    solver: AbstractSolver | str,
    iterations: Int[Array, ""] | int,
    differentiation: AbstractDifferentiation | str = "implicit",
    *,
    x0: Float[Array, "*grid"] | None = None,
    rtol: Float[Array, ""] | float | None = None,
    meter: Float[Array, "2"] | None = None,
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
    - `rtol`: stop before K once ‖b - A u‖ <= rtol ‖b‖; may be traced. None never looks.
    - `meter`: two zeros, whose cotangent in a reverse pass is (iterations used, number of solves), whatever else is
      differentiated. It sums over all solves that share it, also under `jax.vmap`: the cost of a loss for free.

    **Returns:** the approximation of u, of b's shape.

    **Raises:** `ValueError` for an unknown name, for "unrolled" with a traced K, for a solver that does not suit the
    operator, and for a mode or a tolerance that does not suit the solver.
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
    for problem, name in (
        (unsuited_solver(type(solver), type(operator)), "solver"),
        (unsuited_differentiation(solver, type(differentiation)), "differentiation"),
        (None if solver.steps or rtol is None else f"{type(solver).__name__} cannot stop at a tolerance", "rtol"),
    ):
        if problem is not None:
            raise ValueError(f"`{name}` does not fit: {problem}. Choose another.")
    x0 = jnp.zeros_like(b) if x0 is None else x0
    meter = jnp.zeros(2, b.dtype) if meter is None else meter
    return _solve(differentiation, solver, operator, b, x0, Budget(jnp.asarray(iterations), rtol), meter)


@jax.custom_vjp
def _solve(differentiation, solver, operator, b, x0, budget, meter):
    solution, _, _ = differentiation.forward(solver, operator, b, x0, budget)
    return solution


def _forward(differentiation, solver, operator, b, x0, budget, meter):
    # Outside of `jit` JAX hands on a number as it is, and what is no array is taken for a constant.
    solver, operator = jax.tree.map(
        lambda leaf: jnp.asarray(leaf) if isinstance(leaf, float) else leaf, (solver, operator)
    )
    solution, used, kept = differentiation.forward(solver, operator, b, x0, budget)
    reading = jnp.stack([used, jnp.ones_like(used)]).astype(meter.dtype)
    return solution, (differentiation, solver, operator, b, x0, budget, kept, reading)


def _backward(residuals: Any, g: Any) -> Any:
    differentiation, *inputs, kept, reading = residuals
    # A zero that depends on g: under `jax.vmap` only what does is summed over a batch, and each lane is a solve.
    reading = reading + 0 * jnp.sum(jnp.isnan(g))
    return None, *differentiation.backward(*inputs, kept, g), None, reading


_solve.defvjp(_forward, _backward)
