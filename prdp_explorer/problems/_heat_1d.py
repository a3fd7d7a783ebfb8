"""The emulator of the heat equation in 1D: a network learns one step through the solver of the next."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..physics import HeatOperator, interior_points, truncated_fourier_series
from ..refinement import PRDP
from ._problem import InnerSolve, Problem, Scenario


class Heat1D(Problem):
    """min over networks f of the mean square of P_K(f(u_0)) - u_2, where u_1, u_2 follow u_0 by exact steps.

    The network never sees u_1: it learns a step of backward Euler only because the solver, which makes the step after
    it, lets the gradient through. The metric is the squared error of two steps of the network alone, relative to
    ‖u_1‖², averaged over the validation samples.

    **Arguments:**

    - `num_points`: interior grid points. `num_validation_samples`: initial states that the metric averages over.
    """

    full_iterations = 25
    epochs = 100
    batch_size = 25
    learning_rate = 1e-3
    controller = PRDP(tau_step=0.98, tau_stop=0.9, window=3, ema_window=8, initial=1, step=1, maximum=25)

    num_training_samples = 200
    num_modes = 5
    diffusion = 0.001

    def __init__(self, *, num_points: int = 30, num_validation_samples: int = 5):
        self.num_points = num_points
        self.num_validation_samples = num_validation_samples
        self.operator = HeatOperator(self.diffusion, num_points)

    def data(self):
        return self._trajectories(1337, self.num_training_samples), self._trajectories(
            1338, self.num_validation_samples
        )

    def _trajectories(self, seed: int, count: int) -> Float[np.ndarray, "count 3 num_points"]:
        initial = truncated_fourier_series(seed, count, self.num_points, self.num_modes)
        first = self.operator.solve_exactly(initial)
        return np.stack([initial, first, self.operator.solve_exactly(first)], axis=1)

    def model(self, key: Array) -> eqx.nn.MLP:
        return eqx.nn.MLP(self.num_points, self.num_points, width_size=64, depth=3, key=key)

    def decay(self, step):
        return 0.94 ** (step / 100)

    def loss(self, model, batch, solve: InnerSolve):
        after_network = jax.vmap(model)(batch[:, 0])
        after_physics = jax.vmap(lambda b: solve(self.operator, b))(after_network)
        return jnp.mean((after_physics - batch[:, 2]) ** 2)

    def metric(self, model, validation, solve: InnerSolve):
        first = jax.vmap(model)(validation[:, 0])
        second = jax.vmap(model)(first)
        # The published metric divides by the state before the one predicted.
        return jnp.mean(jnp.sum((second - validation[:, 2]) ** 2, axis=1) / jnp.sum(validation[:, 1] ** 2, axis=1))

    def fields(self, model, validation, solve: InnerSolve) -> Mapping[str, Array]:
        after_network = jax.vmap(model)(validation[:, 0])
        return {
            "input": validation[:, 0],
            "network output": after_network,
            "after the physics": jax.vmap(lambda b: solve(self.operator, b))(after_network),
            "target": validation[:, 2],
        }

    def points(self) -> Float[np.ndarray, " num_points"]:
        return interior_points(self.num_points)


HEAT_1D = Scenario(
    id="heat-1d",
    title="Heat 1D emulator",
    summary=(
        "A network learns one time step of the heat equation by training through the solver of the next one. A handful "
        "of Jacobi iterations gives it as good a gradient as the converged solve."
    ),
    presets={"live": Heat1D(num_validation_samples=25), "paper": Heat1D()},
    chosen=("live: 25 validation samples instead of 5, so that the validation error is less noisy.",),
)
