"""The generalised minimal residual method, restarted."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._operator import AbstractOperator
from ._solver import AbstractSolver, norm, ratio


class GMRESState(eqx.Module):
    """The solution and the norm of its residual, which the least-squares problem of the last restart tells."""

    u: Float[Array, "*grid"]
    residual: Float[Array, ""]


class GMRES(AbstractSolver):
    """Restarted GMRES (Saad and Schultz 1986), for any matrix; an iteration is a whole restart.

    Each iteration minimises ‖b - A u‖ over u + span{r, A r, …, Aᵐ⁻¹ r}, m = `restart`, at the price of m + 1 products
    with A and m (m + 1) inner products.

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
        basis = [ratio(r, length)]
        columns = []
        for _ in range(self.restart):
            w = operator.matvec(basis[-1])
            column = [jnp.sum(v * w) for v in basis]
            w = w - sum(h * v for h, v in zip(column, basis, strict=True))
            column.append(norm(w))
            basis.append(ratio(w, column[-1]))
            columns.append(jnp.stack(column + [jnp.zeros_like(length)] * (self.restart + 1 - len(column))))
        weights, residual = _least_squares(jnp.stack(columns, axis=1), length)
        return GMRESState(state.u + sum(y * v for y, v in zip(weights, basis[:-1], strict=True)), residual)

    def solution(self, state: GMRESState) -> Float[Array, "*grid"]:
        return state.u

    def residual_norm(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], state: GMRESState
    ) -> Float[Array, ""]:
        return state.residual


def _least_squares(
    hessenberg: Float[Array, "rows columns"], length: Float[Array, ""]
) -> tuple[list[Float[Array, ""]], Float[Array, ""]]:
    """The y that minimises ‖length e₁ - H y‖, and that minimum, by Givens rotations of H's rows.

    Where the basis has broken down, which is where it holds the solution, the weights beyond are zero.
    """
    size = hessenberg.shape[1]
    rows = list(jnp.concatenate([hessenberg, jnp.eye(size + 1, 1, dtype=hessenberg.dtype) * length], axis=1))
    for i in range(size):
        a, c = rows[i][i], rows[i + 1][i]
        radius = norm(jnp.stack([a, c]))
        cosine, sine = jnp.where(radius > 0, ratio(a, radius), 1), ratio(c, radius)
        rows[i], rows[i + 1] = cosine * rows[i] + sine * rows[i + 1], cosine * rows[i + 1] - sine * rows[i]
    weights: list[Float[Array, ""]] = []
    for i in reversed(range(size)):
        known = sum((rows[i][i + 1 + j] * y for j, y in enumerate(weights)), jnp.zeros_like(length))
        weights.insert(0, ratio(rows[i][size] - known, rows[i][i]))
    return weights, jnp.abs(rows[size][size])
