"""Every solver with a matrix that suits it, the same methods as textbooks have them, and compiled calls to share."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Bool, Float

from prdp_explorer.solvers import (
    CG,
    GMRES,
    SOR,
    AbstractDifferentiation,
    AbstractOperator,
    AbstractSolver,
    BiCGStab,
    DenseOperator,
    ExactAdjoint,
    GaussSeidel,
    Implicit,
    Jacobi,
    OneStep,
    Richardson,
    SteepestDescent,
    Truncated,
    Unrolled,
    solve,
)

SIZE = 8
MANY = 400
"""Iterations after which each of these solvers is at rounding in double precision."""

EVERY_SOLVER: dict[str, AbstractSolver] = {
    "jacobi": Jacobi(),
    "gauss-seidel": GaussSeidel(),
    "sor": SOR(1.1),
    "richardson": Richardson(),
    "steepest-descent": SteepestDescent(),
    "cg": CG(),
    "bicgstab": BiCGStab(),
    "gmres": GMRES(2),
}
STATIONARY = ("jacobi", "gauss-seidel", "sor", "richardson")
FOR_SYMMETRIC = ("steepest-descent", "cg")
WITHOUT_RESTARTS = ("cg", "bicgstab")
RESTARTING = tuple(name for name in EVERY_SOLVER if name not in WITHOUT_RESTARTS)

EVERY_MODE: dict[str, AbstractDifferentiation] = {
    "unrolled": Unrolled(MANY),
    "implicit": Implicit(),
    "exact-adjoint": ExactAdjoint(),
    "truncated": Truncated(3),
    "one-step": OneStep(),
}


def suited_modes(name: str) -> list[str]:
    return [mode for mode in EVERY_MODE if name not in WITHOUT_RESTARTS or mode not in ("truncated", "one-step")]


def for_solvers(names: Any = tuple(EVERY_SOLVER)) -> Any:
    return pytest.mark.parametrize("name", names)


for_every_solver_and_mode = pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name in EVERY_SOLVER for mode in suited_modes(name)]
)


def general(size: int = SIZE) -> np.ndarray:
    """Not symmetric, the diagonal positive and strictly dominant."""
    entries = np.random.default_rng(size).uniform(-1, 1, (size, size))
    np.fill_diagonal(entries, 0)
    return entries + np.diag(np.abs(entries).sum(axis=1) * np.linspace(1.4, 1.8, size))


def symmetric(size: int = SIZE) -> np.ndarray:
    """Symmetric, with eigenvalues from 1 to 20."""
    axes, _ = np.linalg.qr(np.random.default_rng(size).normal(size=(size, size)))
    return axes @ np.diag(np.linspace(1, 20, size)) @ axes.T


def matrix_for(name: str) -> np.ndarray:
    return symmetric() if name in FOR_SYMMETRIC else general()


def dense(matrix: Any) -> DenseOperator:
    return DenseOperator(jnp.asarray(matrix))


def vectors(count: int, size: int = SIZE) -> Any:
    return jnp.asarray(np.random.default_rng(count).normal(size=(count, size)))


def assembled(operator: AbstractOperator, *shape: int) -> Any:
    """The matrix of an operator on fields of that shape."""
    unit = jnp.eye(int(np.prod(shape))).reshape(-1, *shape)
    return jax.vmap(operator.matvec)(unit).reshape(len(unit), len(unit)).T


def assert_close(mine: Any, other: Any, tolerance: float = 1e-11) -> None:
    for leaf, same in zip(*map(jax.tree.leaves, (mine, other)), strict=True):
        np.testing.assert_allclose(leaf, same, rtol=tolerance, atol=tolerance)


# --- Stencils of an input ---------------------------------------------------------------------------------------------


class Transport(AbstractOperator):
    """Upwind advection with a wind of its own at each point, and diffusion, on a periodic grid. Not symmetric."""

    properties = frozenset({"diagonal", "ordering"})

    wind: Float[Array, " n"]
    transposed: bool = eqx.field(static=True, default=False)

    def matvec(self, u):
        if self.transposed:
            return self.diagonal() * u - jnp.roll((self.wind + 0.3) * u, -1) - 0.3 * jnp.roll(u, 1)
        return self.diagonal() * u - (self.wind + 0.3) * jnp.roll(u, 1) - 0.3 * jnp.roll(u, -1)

    def diagonal(self):
        return 1.6 + self.wind

    def transpose(self):
        return Transport(self.wind, not self.transposed)

    def first_color(self, u) -> Bool[Array, "..."]:
        return jnp.arange(u.size) % 2 == 0


class Conduction(AbstractOperator):
    """u - (c u')' with a conductivity of its own between any two points, zero at both ends. Positive definite."""

    properties = frozenset({"diagonal", "ordering", "positive definite"})

    conductivity: Float[Array, " n+1"]

    def matvec(self, u):
        return u - jnp.diff(self.conductivity * jnp.diff(jnp.pad(u, 1)))

    def diagonal(self):
        return 1 + self.conductivity[1:] + self.conductivity[:-1]

    def transpose(self):
        return self

    def first_color(self, u) -> Bool[Array, "..."]:
        return jnp.arange(u.size) % 2 == 0


def stencil_about(name: str, v: Any) -> AbstractOperator:
    """A stencil that suits the solver and whose weights depend on v, as a linearisation about v has it."""
    return Conduction(1 + jnp.sin(jnp.append(v, 0.5)) ** 2) if name in FOR_SYMMETRIC else Transport(jnp.sin(v) ** 2)


# --- Textbooks --------------------------------------------------------------------------------------------------------


def _jacobi(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> Iterator[np.ndarray]:
    """Entry by entry."""
    while True:
        yield u
        u = np.array([(b[i] - sum(a[i, j] * u[j] for j in range(len(b)) if j != i)) / a[i, i] for i in range(len(b))])


def _sweep(a: np.ndarray, b: np.ndarray, u: np.ndarray, relaxation: float, order: Any) -> Iterator[np.ndarray]:
    """In place, each entry from the newest values of all others."""
    u = u.copy()
    while True:
        yield u.copy()
        for i in order:
            u[i] += relaxation * ((b[i] - sum(a[i, j] * u[j] for j in range(len(b)) if j != i)) / a[i, i] - u[i])


def _richardson(a: np.ndarray, b: np.ndarray, u: np.ndarray, rate: float | None) -> Iterator[np.ndarray]:
    rate = 1 / max(abs(a.diagonal())) if rate is None else rate
    while True:
        yield u
        u = u + rate * (b - a @ u)


def _steepest_descent(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> Iterator[np.ndarray]:
    while True:
        yield u
        r = b - a @ u
        u = u + (r @ r) / (r @ a @ r) * r


def _cg(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> Iterator[np.ndarray]:
    r = p = b - a @ u
    while True:
        yield u
        alpha = (r @ p) / (p @ a @ p)
        u, r = u + alpha * p, r - alpha * a @ p
        p = r - (r @ a @ p) / (p @ a @ p) * p  # conjugate to the direction before, as first written down


def _bicgstab(a: np.ndarray, b: np.ndarray, u: np.ndarray) -> Iterator[np.ndarray]:
    r = shadow = b - a @ u
    rho, alpha, omega, v, p = 1.0, 1.0, 1.0, 0 * r, 0 * r
    while True:
        yield u
        rho, before = shadow @ r, rho
        p = r + rho / before * alpha / omega * (p - omega * v)
        v = a @ p
        alpha = rho / (shadow @ v)
        s = r - alpha * v
        t = a @ s
        omega = (t @ s) / (t @ t)
        u, r = u + alpha * p + omega * s, s - omega * t


def _gmres(a: np.ndarray, b: np.ndarray, u: np.ndarray, restart: int) -> Iterator[np.ndarray]:
    """The least residual over the Krylov space, whose basis is written out."""
    while True:
        yield u
        r = b - a @ u
        basis = np.stack([np.linalg.matrix_power(a, i) @ r for i in range(restart)], axis=1)
        basis = basis / np.linalg.norm(basis, axis=0)
        u = u + basis @ np.linalg.lstsq(a @ basis, r)[0]


def textbook(solver: AbstractSolver, a: Any, b: Any, iterations: int, start: Any = None, order: Any = None) -> Any:
    """The iterates 0 to `iterations`, in plain NumPy; sweeps take the rows as they come or in `order`."""
    a, b = np.asarray(a), np.asarray(b)
    order = range(len(b)) if order is None else order
    u = np.zeros_like(b) if start is None else np.asarray(start)
    match solver:
        case Jacobi():
            iterates = _jacobi(a, b, u)
        case GaussSeidel():
            iterates = _sweep(a, b, u, 1, order)
        case SOR(relaxation=relaxation):
            iterates = _sweep(a, b, u, relaxation, order)
        case Richardson(rate=rate):
            iterates = _richardson(a, b, u, rate)
        case SteepestDescent():
            iterates = _steepest_descent(a, b, u)
        case CG():
            iterates = _cg(a, b, u)
        case BiCGStab():
            iterates = _bicgstab(a, b, u)
        case GMRES(restart=restart):
            iterates = _gmres(a, b, u, restart)
        case _:
            raise NotImplementedError(solver)
    return np.stack(list(islice(iterates, iterations + 1)))


def splitting(name: str, a: np.ndarray) -> np.ndarray:
    """M of a stationary method, for A - M to be iterated on."""
    diagonal, lower = np.diag(a.diagonal()), np.tril(a, -1)
    return {
        "jacobi": diagonal,
        "gauss-seidel": diagonal + lower,
        "sor": diagonal / 1.1 + lower,
        "richardson": np.eye(len(a)) * max(abs(a.diagonal())),
    }[name]


def iteration_matrix(name: str, a: np.ndarray) -> np.ndarray:
    return np.eye(len(a)) - np.linalg.solve(splitting(name, a), a)


def spectral_radius(matrix: Any) -> float:
    return max(abs(np.linalg.eigvals(matrix)))


# --- Compiled calls that tests share ----------------------------------------------------------------------------------


traces: list[None] = []
"""Grows with each trace of `pulled`."""


@jax.jit
def pulled(
    solver: AbstractSolver,
    mode: AbstractDifferentiation,
    operator: AbstractOperator,
    b: Any,
    start: Any,
    g: Any,
    iterations: Any,
    rtol: Any = None,
) -> Any:
    """The solution, and the cotangents of operator, b, start and meter that belong to the cotangent g."""
    traces.append(None)

    def solution(operator: AbstractOperator, b: Any, start: Any, meter: Any) -> Any:
        return solve(operator, b, solver, iterations, mode, x0=start, rtol=rtol, meter=meter)

    u, pull_back = jax.vjp(solution, operator, b, start, jnp.zeros(2, b.dtype))
    return u, pull_back(g)


@jax.jit
def iterated(solver: AbstractSolver, operator: AbstractOperator, b: Any, start: Any, iterations: Any) -> Any:
    return solve(operator, b, solver, iterations, x0=start)


@jax.jit
def step(solver: AbstractSolver, operator: AbstractOperator, b: Any, state: Any) -> Any:
    return solver.step(operator, b, state)
