"""The generalised minimal residual method, restarted."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._operator import AbstractOperator
from ._solver import AbstractSolver, norm, ratio


class GMRESState(eqx.Module):
    """The solution and the norm of its residual, which the least-squares problem of the last restart tells."""

    u: Float[Array, "*grid"]
    residual: Float[Array, ""]


class GMRES(AbstractSolver):
    """Restarted GMRES (Saad and Schultz 1986), for any matrix; an iteration is a whole restart.

    Each iteration minimises ‖b - A u‖ over u + span{r, A r, …, Aᵐ⁻¹ r}, m = `restart`, at the price of m + 1 products
    with A and 2 m with the matrix of the m vectors, which are kept.

    **Arguments:**

    - `restart`: m, a static number.
    """

    restart: int = eqx.field(static=True, default=8)

    def __check_init__(self):
        if self.restart < 1:
            raise ValueError(f"`restart` must be at least 1; got {self.restart}.")

    def init(self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"]) -> GMRESState:
        return GMRESState(x0, norm(b - operator.matvec(x0)))

    def step(self, operator: AbstractOperator, b: Float[Array, "*grid"], state: GMRESState) -> GMRESState:
        r = b - operator.matvec(state.u)
        length = norm(r)

        def extend(carry: Any, j: Int[Array, ""]) -> Any:
            """The next vector of the basis, and column j of A's projection onto it by classical Gram-Schmidt."""
            basis, w, size = carry
            v = ratio(w, size)
            basis = basis.at[j].set(v.ravel())
            w = operator.matvec(v)
            column = _dot(basis, w.ravel())
            w = (w.ravel() - _dot(column, basis)).reshape(b.shape)
            size = norm(w)
            return (basis, w, size), jnp.where(jnp.arange(self.restart + 1) == j + 1, size, jnp.append(column, 0))

        # The whole basis takes part from the start, its later rows zero. In a loop the product with A is compiled once,
        # and inner products with a matrix take less time than half as many with separate vectors.
        basis = jnp.zeros((self.restart, b.size), b.dtype)
        (basis, _, _), columns = jax.lax.scan(extend, (basis, r, length), jnp.arange(self.restart))
        weights, residual = _least_squares(columns.T, length)
        return GMRESState(state.u + _dot(weights, basis).reshape(b.shape), residual)

    def solution(self, state: GMRESState) -> Float[Array, "*grid"]:
        return state.u

    def residual_norm(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: GMRESState
    ) -> Float[Array, ""]:
        return state.residual


def _dot(left: Array, right: Array) -> Array:
    # Accelerators round the factors of products to few digits by default, which costs the basis its orthogonality.
    return jnp.dot(left, right, precision="highest")


def _least_squares(
    hessenberg: Float[Array, "rows columns"], length: Float[Array, ""]
) -> tuple[Float[Array, " columns"], Float[Array, ""]]:
    """The y that minimises ‖length e₁ - H y‖, and that minimum, by Givens rotations of H's rows.

    Where the basis has broken down, the weights beyond are zero: it holds the solution, or a singular A takes its last
    vector to where the others reach already, and that row stays in the minimum.
    """
    size = hessenberg.shape[1]
    rows = jnp.concatenate([hessenberg, jnp.eye(size + 1, 1, dtype=hessenberg.dtype) * length], axis=1)

    def rotate(above: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        i, below = at
        a, c = above[i], below[i]
        radius = norm(jnp.stack([a, c]))
        cosine, sine = jnp.where(radius > 0, ratio(a, radius), 1), ratio(c, radius)
        return cosine * below - sine * above, cosine * above + sine * below

    def substitute(weights: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        i, row = at
        return weights.at[i].set(ratio(row[size] - _dot(row[:size], weights), row[i])), None

    last, triangle = jax.lax.scan(rotate, rows[0], (jnp.arange(size), rows[1:]))
    weights, _ = jax.lax.scan(substitute, jnp.zeros_like(hessenberg[0]), (jnp.arange(size), triangle), reverse=True)
    left = jnp.where(jnp.diagonal(triangle) == 0, triangle[:, size], 0)
    return weights, norm(jnp.append(left, last[size]))
