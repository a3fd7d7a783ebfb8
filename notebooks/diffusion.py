"""A problem and a solver of one's own: diffusion through an uneven material, and a multigrid cycle as inner iteration.

python -m prdp_explorer check --problem notebooks/diffusion.py:Diffusion
python -m prdp_explorer run --problem notebooks/diffusion.py:Diffusion
"""

import jax
import jax.numpy as jnp
import numpy as np

from prdp_explorer import PRDP, Problem
from prdp_explorer.problems import FieldMLP
from prdp_explorer.solvers import AbstractOperator, FunctionSolver


class UnevenDiffusion(AbstractOperator):
    """u - time · ∇·(c ∇u) on a square whose boundary is held at zero: an implicit step of diffusion.

    `c` are the conductivities at all points, those of the boundary included; u are the values at the inner points.
    """

    c: jax.Array
    scale: float  # time over the square of the spacing

    def faces(self):
        """The conductivities half-way between neighbours, along x and along y."""
        c = self.c
        return (c[1:, 1:-1] + c[:-1, 1:-1]) / 2, (c[1:-1, 1:] + c[1:-1, :-1]) / 2

    def matvec(self, u):
        along_x, along_y = self.faces()
        padded = jnp.pad(u, 1)
        out = jnp.diff(along_x * jnp.diff(padded[:, 1:-1], axis=0), axis=0)
        return u - self.scale * (out + jnp.diff(along_y * jnp.diff(padded[1:-1], axis=1), axis=1))

    def diagonal(self):
        along_x, along_y = self.faces()
        return 1 + self.scale * (along_x[1:] + along_x[:-1] + along_y[:, 1:] + along_y[:, :-1])

    def transpose(self):
        return self  # it is symmetric

    def coarser(self):
        """The same material on every second point."""
        return UnevenDiffusion(self.c[::2, ::2], self.scale / 4)


def restrict(r):
    for axis in (0, 1):
        r = jnp.moveaxis(r, axis, 0)
        r = jnp.moveaxis((r[:-1:2] + 2 * r[1::2] + r[2::2]) / 4, 0, axis)
    return r


def prolong(e):
    for axis in (0, 1):
        e = jnp.moveaxis(e, axis, 0)
        beside = jnp.pad(e, ((1, 1), (0, 0)))
        fine = jnp.zeros((2 * len(e) + 1, *e.shape[1:]), e.dtype).at[1::2].set(e)
        e = jnp.moveaxis(fine.at[::2].set((beside[1:] + beside[:-1]) / 2), 0, axis)
    return e


def v_cycle(operator, b, x):
    """Smooth, correct on the coarser grid, smooth."""
    if len(b) == 1:
        return b / operator.diagonal()
    smooth = lambda x: x + 0.8 * (b - operator.matvec(x)) / operator.diagonal()  # noqa: E731
    x = smooth(x)
    coarse = restrict(b - operator.matvec(x))
    x = x + prolong(v_cycle(operator.coarser(), coarse, jnp.zeros_like(coarse)))
    return smooth(x)


def multigrid(operator, b, x0, iterations):
    """The solver: (operator, b, x0, K) → x."""
    return jax.lax.fori_loop(0, iterations, lambda _, x: v_cycle(operator, b, x), x0)


class Diffusion(Problem):
    """A network learns one step of diffusion through the solver of the next."""

    full_iterations, epochs, batch_size, learning_rate = 10, 60, 20, 1e-3
    controller = PRDP(tau_step=0.95, tau_stop=0.95, window=3, ema_window=4, initial=1, step=1, maximum=10)
    solvers, own_solvers = ("multigrid",), {"multigrid": FunctionSolver(multigrid)}
    differentiations = ("implicit", "unrolled")
    quantity = "temperature u"

    def __init__(self):
        x = np.linspace(0, 1, 17)
        uneven = np.exp(1.5 * np.sin(7 * x[:, None]) * np.cos(5 * x))
        self.operator = UnevenDiffusion(jnp.asarray(uneven, jnp.float32), 0.005 * 16**2)

    def data(self):
        modes = np.sin(np.pi * np.arange(1, 5)[:, None] * np.linspace(0, 1, 17)[1:-1])
        weights = np.random.default_rng(0).normal(size=(120, 4, 4))
        start = np.einsum("nij,ix,jy->nxy", weights, modes, modes).astype(np.float32)
        step = jax.jit(jax.vmap(lambda b: multigrid(self.operator, b, b, 20)))
        both = np.stack([start, step(start), step(step(start))], axis=1)
        return both[:100], both[100:]

    def model(self, key):
        return FieldMLP(15**2, 64, 2, key=key)

    def loss(self, model, batch, solve):
        after_physics = jax.vmap(lambda u: solve(self.operator, model(u)))(batch[:, 0])
        return jnp.mean((after_physics - batch[:, 2]) ** 2)

    def metric(self, model, validation, solve):
        return self.loss(model, validation, solve) / jnp.mean(validation[:, 2] ** 2)

    def fields(self, model, validation, solve):
        output = jax.vmap(model)(validation[:3, 0])
        return {
            "input": validation[:3, 0],
            "network output": output,
            "after the physics": jax.vmap(lambda u: solve(self.operator, u))(output),
            "target": validation[:3, 2],
        }

    def points(self):
        return np.linspace(0, 1, 17)[1:-1]
