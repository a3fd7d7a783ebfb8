"""Solvers and matrices given as functions: one's own, or a library's."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._operator import AbstractOperator
from ._solver import AbstractSolver


class FunctionSolver(AbstractSolver):
    """An iterative method given as a function `(operator, b, x0, iterations) -> x`.

    **Arguments:**

    - `function`: what of A u = b it has after so many iterations from x0; all fields have b's shape. The iterations are
      a traced number, or 1 where they are taken one by one; zero of them give x0. It calls `operator.matvec`, or
      whatever else its operator has. For what is no JAX see `on_host`.
    - `cycles`: whether each iteration begins from the solution alone, so that K calls with one iteration are one call
      with K: stationary methods, multigrid cycles. Then every differentiation mode is offered, and a tolerance. Methods
      that carry more, or that cannot be differentiated by JAX, have `cycles=False`: they are called once a solve, and
      offer "implicit" and "detached".
    """

    function: Callable[[Any, Any, Any, Any], Any] = eqx.field(static=True)
    cycles: bool = eqx.field(static=True, default=True)

    @property
    def steps(self) -> bool:  # pyrefly: ignore[bad-override]
        return self.cycles

    def init(self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]) -> Array:
        return x0

    def step(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: Array) -> Array:
        return self.run(operator, b, state, 1)  # a constant, so that a loop over it can be unrolled

    def run(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: Array, iterations: Int[Array, ""] | int
    ) -> Array:
        x = jnp.asarray(self.function(operator, b, state, iterations))
        if x.shape != b.shape:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            raise ValueError(f"The solver {name} must return a field of b's shape {b.shape}; got {x.shape}.")
        return x.astype(b.dtype)

    def solution(self, state: Array) -> Array:
        return state


def on_host(function: Callable[[Any, np.ndarray, np.ndarray, int], Any]) -> Callable[[Any, Any, Any, Any], Array]:
    """A solver that is no JAX (SciPy's, a compiled library's) as a function for `FunctionSolver(…, cycles=False)`.

    **Arguments:**

    - `function`: `(operator, b, x0, iterations) -> x` with NumPy arrays: the operator's leaves are such, too. It must
      not call JAX. It is called once a solve, so that a batch is solved one after another.
    """

    def call(operator: AbstractOperator, b: Array, x0: Array, iterations: Any) -> Array:
        arrays, static = eqx.partition(operator, eqx.is_array)

        def run(arrays: Any, b: Any, x0: Any, iterations: Any) -> np.ndarray:
            arrays, b, x0 = jax.tree.map(np.asarray, (arrays, b, x0))
            return np.asarray(function(eqx.combine(arrays, static), b, x0, int(iterations)), b.dtype)

        shape = jax.ShapeDtypeStruct(b.shape, b.dtype)
        return jax.pure_callback(run, shape, arrays, b, x0, iterations, vmap_method="sequential")

    call.__name__ = getattr(function, "__name__", "call")
    return call


class FunctionOperator(AbstractOperator):
    """A given as a linear function `(parameters, u) -> A u`; its transpose is found by JAX.

    **Arguments:**

    - `function`: linear in u, with a result of u's shape.
    - `parameters`: what A is made of, any pytree; gradients reach its arrays.
    - `of_diagonal`: A's diagonal as a function of the parameters, for solvers that ask for it.
    """

    function: Callable[[Any, Any], Any] = eqx.field(static=True)
    parameters: Any = None
    of_diagonal: Callable[[Any], Any] | None = eqx.field(static=True, default=None)

    def matvec(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return self.function(self.parameters, u)

    def diagonal(self) -> Float[Array, "..."]:
        if self.of_diagonal is None:
            raise NotImplementedError("The diagonal of a matrix given as a function is not known; give `of_diagonal`.")
        return self.of_diagonal(self.parameters)

    def transpose(self) -> "TransposedOperator":
        return TransposedOperator(self)


class TransposedOperator(AbstractOperator):
    """Aᵀ of an operator that does not know it.

    **Arguments:**

    - `operator`: A, whose `matvec` is linear and written in JAX.
    """

    operator: AbstractOperator

    def matvec(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        (product,) = jax.linear_transpose(self.operator.matvec, u)(u)
        return product

    def diagonal(self) -> Float[Array, "..."]:
        return self.operator.diagonal()

    def transpose(self) -> AbstractOperator:
        return self.operator
