"""A problem of one's own, as somebody outside of the package writes it: diffusion in a rod of uneven material."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from prdp_explorer import PRDP, Problem
from prdp_explorer.solvers import FunctionOperator, FunctionSolver

POINTS = np.linspace(0, 1, 9)[1:-1]


def diffuse(conductivity, u):
    """u - ∇·(c ∇u) times a step of time; the ends are held at zero, c is that of the 8 gaps between points."""
    return u - jnp.diff(conductivity * jnp.diff(jnp.pad(u, 1)))


def diagonal(conductivity):
    return 1 + conductivity[1:] + conductivity[:-1]


def damped_jacobi(operator, b, x0, iterations):
    step = lambda _, x: x + 0.8 * (b - operator.matvec(x)) / operator.diagonal()  # noqa: E731
    return jax.lax.fori_loop(0, iterations, step, x0)


class UnevenRod(Problem):
    """A linear map learns one step of diffusion through the solver of the next.

    The material conducts well on one side and badly on the other.
    """

    full_iterations, epochs, batch_size, learning_rate = 16, 30, 8, 0.02
    controller = PRDP(tau_step=0.97, tau_stop=0.97, window=2, ema_window=2, initial=1, maximum=16)
    solvers, own_solvers = ("damped-jacobi",), {"damped-jacobi": FunctionSolver(damped_jacobi)}
    differentiations = ("implicit", "unrolled")
    quantity = "temperature u"
    rollout_steps = 5

    def __init__(self):
        self.operator = FunctionOperator(diffuse, jnp.asarray(np.linspace(0.1, 1.5, 8), jnp.float32), diagonal)

    def step(self, u, iterations=60):
        return damped_jacobi(self.operator, u, u, iterations)

    def data(self):
        start = np.random.default_rng(0).normal(size=(37, 7)).astype(np.float32)
        first = jax.vmap(self.step)(start)
        both = np.stack([start, first, jax.vmap(self.step)(first)], axis=1)
        return both[:32], both[32:]

    def model(self, key):
        return eqx.nn.Linear(7, 7, key=key)

    def loss(self, model, batch, solve):
        after_physics = jax.vmap(lambda u: solve(self.operator, model(u)))(batch[:, 0])
        return jnp.mean((after_physics - batch[:, 2]) ** 2)

    def metric(self, model, validation, solve):
        return jnp.mean((jax.vmap(model)(validation[:, 0]) - validation[:, 1]) ** 2)

    def fields(self, model, validation, solve):
        return {"network output": jax.vmap(model)(validation[:, 0]), "target": validation[:, 1]}

    def points(self):
        return POINTS

    def rollout(self, model, validation, sample, solve, steps):
        def repeated(step):
            _, states = jax.lax.scan(lambda u, _: (step(u),) * 2, validation[sample, 0], length=steps)
            return jnp.concatenate([validation[sample, :1], states])

        return {"trained network": repeated(model), "true solver": repeated(self.step)}
