"""What emulators of a time step have in common: they are trained through the solver of the next step."""

import abc
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..solvers import DIFFERENTIATIONS, BiCGStab, Detached
from ._problem import InnerSolve, Problem

POINTS_SHOWN = 2**17
"""Points of all samples that are shown, so that fields in 3D can follow the training."""


class Emulator(Problem):
    """min over networks f of the mean square of P_K(f(u_0)) - u_2, where u_1, u_2 follow u_0 by exact steps.

    The network never sees u_1: it learns a step only because the solver, which makes the step after it, lets the
    gradient through. The learning rate decays by `decay_rate` every 100 steps.
    """

    batch_size = 25
    differentiations = DIFFERENTIATIONS
    rollout_steps = 20
    decay_rate: float

    @abc.abstractmethod
    def step(self, u: Float[Array, "*grid"], solve: InnerSolve) -> Float[Array, "*grid"]:
        """One time step from the state u by the physics."""

    def decay(self, step):
        return self.decay_rate ** (step / 100)

    def loss(self, model, batch, solve: InnerSolve):
        after_physics = jax.vmap(lambda u: self.step(u, solve))(jax.vmap(model)(batch[:, 0]))
        return jnp.mean((after_physics - batch[:, 2]) ** 2)

    def fields(self, model, validation, solve: InnerSolve) -> Mapping[str, Array]:
        shown = validation[: max(1, POINTS_SHOWN // validation[0, 0].size)]
        after_network = jax.vmap(model)(shown[:, 0])
        return {
            "input": shown[:, 0],
            "network output": after_network,
            "after the physics": jax.vmap(lambda u: self.step(u, solve))(after_network),
            "target": shown[:, 2],
        }

    def rollout(self, model, validation, sample, solve: InnerSolve, steps: int) -> Mapping[str, Array]:
        start = validation[sample, 0]
        # Whatever solver the run has: this one converges to rounding on every matrix here.
        exactly = InnerSolve(BiCGStab(), Detached(), jnp.asarray(200), float(jnp.finfo(start.dtype).eps))
        return {
            "trained network": repeated(model, start, steps),
            "true solver": repeated(lambda u: self.step(u, exactly), start, steps),
        }


def repeated(step: Callable[[Array], Array], start: Float[Array, "..."], steps: int) -> Float[Array, "times ..."]:
    """A state and those after 1 … `steps` steps."""
    _, states = jax.lax.scan(lambda state, _: (after := step(state), after), start, length=steps)
    return jnp.concatenate([start[None], states])
