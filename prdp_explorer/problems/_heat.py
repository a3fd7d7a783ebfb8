"""Emulators of the heat equation: a network learns one step through the solver of the next."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..physics import HeatOperator, interior_points, truncated_fourier_series
from ..refinement import PRDP
from ..solvers import DIFFERENTIATIONS, solvers_for
from ._emulator import Emulator
from ._networks import CoarseFieldMLP, FieldMLP, FieldResNet
from ._problem import InnerSolve, Scenario


class HeatEmulator(Emulator):
    """An `Emulator` of backward Euler for the heat equation.

    The metric is the squared error of two steps of the network alone, relative to ‖u_1‖², averaged over the validation
    samples.

    **Arguments:**

    - `num_spatial_dims`, `num_points`: of the grid, interior points a side.
    - `network`: a function of a key that makes the model, from a field to a field of the same shape.
    - `full_iterations`, `epochs`, `decay_rate`, `controller`, `differentiation`: the preset's own.
    - `diffusion`: diffusivity times time step.
    - `num_modes`: of the initial states. `num_training_samples`, `num_validation_samples`: how many.
    """

    learning_rate = 1e-3
    solvers = solvers_for(HeatOperator, "jacobi")
    operator_type = HeatOperator
    quantity = "temperature u"

    def __init__(
        self,
        num_spatial_dims: int,
        network: Any,
        *,
        full_iterations: int,
        controller: PRDP,
        epochs: int = 100,
        decay_rate: float = 0.94,
        num_points: int = 30,
        diffusion: float = 0.001,
        num_modes: int = 5,
        num_training_samples: int = 200,
        num_validation_samples: int = 5,
        differentiation: str = "implicit",
    ):
        self.full_iterations = full_iterations
        self.epochs = epochs
        self.controller = controller
        self.differentiations = (differentiation, *(mode for mode in DIFFERENTIATIONS if mode != differentiation))
        self.operator = HeatOperator(diffusion, num_points, num_spatial_dims)
        self._network = network
        self.decay_rate = decay_rate
        self._num_modes = num_modes
        self._samples = (num_training_samples, num_validation_samples)

    def data(self):
        training, validation = self._samples
        return self._trajectories(1337, training), self._trajectories(1338, validation)

    def _trajectories(self, seed: int, count: int) -> Float[np.ndarray, "count 3 *grid"]:
        points, dimensions = self.operator.num_points, self.operator.num_spatial_dims
        initial = truncated_fourier_series(seed, count, points, self._num_modes, dimensions)
        first = self.operator.solve_exactly(initial)
        return np.stack([initial, first, self.operator.solve_exactly(first)], axis=1).astype(np.float32)

    def model(self, key: Array) -> Any:
        return self._network(key)

    def metric(self, model, validation, solve: InnerSolve):
        first = jax.vmap(model)(validation[:, 0])
        second = jax.vmap(model)(first)
        axes = tuple(range(1, second.ndim))
        # The published metric divides by the state before the one predicted.
        return jnp.mean(jnp.sum((second - validation[:, 2]) ** 2, axes) / jnp.sum(validation[:, 1] ** 2, axes))

    def step(self, u, solve: InnerSolve):
        return solve(self.operator, u)

    def points(self) -> Float[np.ndarray, " num_points"]:
        return interior_points(self.operator.num_points)


def _heat_1d(num_validation_samples: int) -> HeatEmulator:
    return HeatEmulator(
        1,
        lambda key: FieldMLP(30, 64, 3, key=key),
        full_iterations=25,
        controller=PRDP(tau_step=0.98, tau_stop=0.9, window=3, ema_window=8, initial=1, step=1, maximum=25),
        num_validation_samples=num_validation_samples,
    )


HEAT_1D = Scenario(
    id="heat-1d",
    title="Heat 1D emulator",
    summary=(
        "A network learns one time step of the heat equation by training through the solver of the next one. A handful "
        "of Jacobi iterations gives it as good a gradient as the converged solve."
    ),
    teaches=(
        "The method in its plainest form. Early on the network's own error dwarfs the solver's, so one iteration "
        "does; each time the validation error stops falling K rises by one, and long before the solver has converged "
        "more of it no longer helps. Two fifths of the iterations are saved by starting late, two fifths by stopping "
        "early. The network is so small that seconds hardly change: iterations are not the whole cost."
    ),
    shares={"live": 0.20, "paper": 0.21},
    presets={"live": _heat_1d(25), "paper": _heat_1d(5)},
    chosen=("live: 25 validation samples instead of 5, so that the validation error is less noisy.",),
)

HEAT_2D = Scenario(
    id="heat-2d",
    title="Heat 2D emulator",
    summary=(
        "The same on a square: a network that sees all points at once learns one step of the heat equation. Far fewer "
        "Jacobi iterations than convergence needs are enough."
    ),
    teaches=(
        "With another dimension Jacobi converges more slowly and full physics costs more, while what the network needs "
        "from it hardly changes: the share that can be saved grows. In the published set-up the network has 23 million "
        "weights, so that on a CPU its own cost decides; compare the bars of iterations with those of seconds."
    ),
    shares={"live": 0.14, "paper": 0.15},
    presets={
        "live": HeatEmulator(
            2,
            lambda key: FieldMLP(20**2, 256, 3, key=key),
            full_iterations=43,
            epochs=70,
            decay_rate=0.9,
            num_points=20,
            diffusion=0.002,
            num_validation_samples=25,
            differentiation="unrolled",
            controller=PRDP(tau_step=0.9, tau_stop=0.9, window=3, ema_window=6, initial=1, step=1, maximum=43),
        ),
        "paper": HeatEmulator(
            2,
            lambda key: FieldMLP(30**2, 3000, 3, key=key),
            full_iterations=43,
            epochs=70,
            decay_rate=0.9,
            differentiation="unrolled",
            controller=PRDP(
                tau_step=0.9, tau_stop=0.9, window=3, ema_window=6, initial=1, step=1, maximum=43, compare_with_start=1
            ),
        ),
    },
    chosen=(
        "live: 20 × 20 points, a diffusivity times time step of 0.002, a network of width 256 and 25 validation "
        "samples, so that a race takes seconds; the first refinement need not be better than before training.",
        "both: initial states are products of sines and cosines of the two coordinates; the reference code multiplies "
        "those of the same coordinate in one of the four.",
    ),
)

HEAT_3D = Scenario(
    id="heat-3d",
    title="Heat 3D emulator",
    summary=(
        "The same in a cube, where nearly all of the time goes into the physics: what is saved in iterations is saved "
        "in seconds."
    ),
    teaches=(
        "An iteration touches every point of the cube, so that the solver is the cost of training and the network is "
        "not. Here the method shows on the clock: compare the bars of seconds with those of heat in one dimension. "
        "The slices show how little of the solution's shape the last iterations change."
    ),
    shares={"live": 0.25},
    presets={
        "live": HeatEmulator(
            3,
            lambda key: CoarseFieldMLP(3, 30, 3, 64, 2, key=key),
            full_iterations=29,
            diffusion=0.0004,
            num_modes=2,
            decay_rate=0.95,
            num_training_samples=300,
            num_validation_samples=20,
            controller=PRDP(tau_step=0.95, tau_stop=0.95, window=3, ema_window=8, initial=1, step=1, maximum=29),
        ),
        "paper": HeatEmulator(
            3,
            lambda key: FieldResNet(3, 32, 6, "dirichlet", key=key),
            full_iterations=29,
            diffusion=0.0004,
            controller=PRDP(tau_step=0.98, tau_stop=0.9, window=3, ema_window=8, initial=1, step=1, maximum=29),
        ),
    },
    chosen=(
        "both: 30 points a side and a diffusivity times time step of 0.0004, with which 29 iterations converge; the "
        "sources at hand do not give them.",
        "paper: a residual network of 32 channels and 6 blocks, the thresholds and the decay of the learning rate of "
        "heat 1D.",
        "live: 2 modes, 300 training and 20 validation samples, a learning rate × 0.95 every 100 steps, τ_step and "
        "τ_stop 0.95, and instead of the residual network, whose convolutions are slow on a CPU, a perceptron on "
        "every third point a side, interpolated back.",
    ),
)
