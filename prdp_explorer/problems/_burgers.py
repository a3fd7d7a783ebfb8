"""The emulator of Burgers' equation: a network learns one step through the solver of the next, shocks included."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..physics import BurgersOperator, burgers_step_exactly, periodic_fourier_series
from ..refinement import PRDP
from ..solvers import solvers_for
from ._emulator import Emulator
from ._networks import FieldResNet
from ._problem import InnerSolve, Scenario


class BurgersEmulator(Emulator):
    """An `Emulator` of an implicit upwind step of Burgers' equation.

    The step's matrix depends on the state it starts from, so that the gradient reaches the network through the right
    side and through the matrix. The metric is the squared error after five steps of the network alone, relative to
    ‖u_5‖², averaged over the validation samples.

    **Arguments:**

    - `num_points`: of the periodic grid. `channels`, `blocks`: of the residual network.
    - `dt`, `viscosity`: of the equation, non-dimensional.
    - `controller`, `learning_rate`, `decay_rate` (every 100 steps): the preset's own.
    - `num_training_samples`, `num_validation_samples`: initial states.
    """

    full_iterations = 24
    epochs = 100
    solvers = solvers_for(BurgersOperator, "bicgstab")
    operator_type = BurgersOperator
    quantity = "velocity u"

    num_modes = 4
    num_steps = 5

    def __init__(
        self,
        *,
        num_points: int,
        channels: int,
        blocks: int,
        dt: float,
        viscosity: float,
        controller: PRDP,
        learning_rate: float = 1e-3,
        decay_rate: float = 0.94,
        num_training_samples: int = 200,
        num_validation_samples: int = 25,
    ):
        self.num_points = num_points
        self.dt, self.viscosity = dt, viscosity
        self._network = (channels, blocks)
        self.controller = controller
        self.learning_rate = learning_rate
        self.decay_rate = decay_rate
        self._samples = (num_training_samples, num_validation_samples)

    def data(self):
        training, validation = self._samples
        return self._trajectories(1337, training, 2), self._trajectories(1338, validation, self.num_steps)

    def _trajectories(self, seed: int, count: int, steps: int) -> Float[np.ndarray, "count times num_points"]:
        states = [periodic_fourier_series(seed, count, self.num_points, self.num_modes).astype(np.float64)]
        for _ in range(steps):
            states.append(burgers_step_exactly(states[-1], self.dt, self.viscosity))
        return np.stack(states, axis=1).astype(np.float32)

    def model(self, key: Array) -> FieldResNet:
        channels, blocks = self._network
        return FieldResNet(1, channels, blocks, "periodic", key=key)

    def metric(self, model, validation, solve: InnerSolve):
        u = validation[:, 0]
        for _ in range(self.num_steps):
            u = jax.vmap(model)(u)
        last = validation[:, self.num_steps]
        return jnp.mean(jnp.sum((u - last) ** 2, axis=1) / jnp.sum(last**2, axis=1))

    def step(self, u, solve: InnerSolve):
        return solve(BurgersOperator(u, self.dt, self.viscosity), u)

    def points(self) -> Float[np.ndarray, " num_points"]:
        return (np.arange(self.num_points) / self.num_points).astype(np.float32)


BURGERS_1D = Scenario(
    id="burgers-1d",
    title="Burgers 1D emulator",
    summary=(
        "A network learns one time step of a flow that steepens into shocks, through the solver of the next step, "
        "whose matrix depends on what the network says."
    ),
    teaches=(
        "Here the network's output enters the physics twice, as the right side and as the wind in the matrix, and the "
        "gradient comes back both ways. That is where the differentiation modes differ most: try unrolled against "
        "implicit, and detached to see what is lost without. Physics is cheap in one dimension, so look at the "
        "iterations rather than at the seconds."
    ),
    shares={"live": 0.32, "paper": 0.32},
    presets={
        "live": BurgersEmulator(
            num_points=64,
            channels=12,
            blocks=2,
            dt=0.05,
            viscosity=0.002,
            learning_rate=3e-3,
            decay_rate=0.8,
            controller=PRDP(tau_step=0.95, tau_stop=0.95, window=3, ema_window=8, initial=1, step=1, maximum=24),
        ),
        "paper": BurgersEmulator(
            num_points=100,
            channels=32,
            blocks=6,
            dt=0.05,
            viscosity=0.001,
            num_validation_samples=5,
            controller=PRDP(tau_step=0.98, tau_stop=0.9, window=3, ema_window=8, initial=1, step=1, maximum=24),
        ),
    },
    chosen=(
        "both: the sources at hand give a Krylov solver, the metric, the epochs, 24 iterations of full physics and "
        "what is saved, nothing else. Chosen are BiCGStab, 4 modes of the initial states and dt 0.05.",
        "paper: 100 points, viscosity 0.001, 32 channels, 6 blocks, thresholds and learning rates of heat 1D.",
        "live: 64 points, viscosity 0.002, 12 channels, 2 blocks, 25 validation samples, learning rate 3e-3 × 0.8 "
        "every 100 steps, τ_step and τ_stop 0.95.",
    ),
)
