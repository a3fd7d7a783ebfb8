"""The corrector for Navier-Stokes in 2D: a network mends what a coarse grid gets wrong, step by step."""

import functools
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pdequinox.arch import ClassicResNet

from ..physics import (
    NavierStokesOperator,
    coarsen,
    navier_stokes_right_side,
    smoothed_noise_velocity,
    vorticity,
)
from ..refinement import PRDP
from ..solvers import DIFFERENTIATIONS, GMRES, solve, solvers_for
from ._emulator import repeated
from ._problem import InnerSolve, Problem, Scenario

TOLERANCE = 1e-5

_PUBLISHED = PRDP(tau_step=0.95, tau_stop=0.9, window=3, ema_window=6, initial=1, step=1, maximum=40)


class NavierStokesCorrector(Problem):
    """min over networks f of the mean square of u_t - u_t^ref, t = 1, 2, with u_(t+1) = s + f(s), s = P_K(u_t).

    P_K is a time step on the coarse grid, one saddle-point solve for velocity and pressure with the matrix linearised
    about u_t; the reference comes from a grid of twice the resolution, of which every second point is kept. The metric
    is the squared error of vx after five steps with full physics, relative to ‖vx^ref‖², averaged over the validation
    samples.

    **Arguments:**

    - `fine_points`: N of the reference; the coarse grid has half of it, rounded down.
    - `channels`, `blocks`: of the residual network. `averages`: as of `NavierStokesOperator`.
    - `num_training_samples`, `num_validation_samples`: initial states.
    - `epochs`, `controller`: the preset's own.
    """

    full_iterations = 40
    batch_size = 25
    learning_rate = 1e-3
    solvers = solvers_for(NavierStokesOperator, "gmres")
    differentiations = DIFFERENTIATIONS
    operator_type = NavierStokesOperator
    rtol = TOLERANCE
    components = ("vorticity", "velocity x", "velocity y", "pressure")
    quantity = "non-dimensional value"
    rollout_steps = 20

    dt = 0.1
    viscosity = 1e-4
    num_loss_steps = 2
    num_metric_steps = 5

    def __init__(
        self,
        *,
        fine_points: int,
        channels: int,
        blocks: int,
        averages: Literal["published", "proper"],
        epochs: int = 100,
        num_training_samples: int = 200,
        num_validation_samples: int = 5,
        controller: PRDP = _PUBLISHED,
    ):
        self.fine_points = fine_points
        self.num_points = fine_points // 2
        self.epochs = epochs
        self.controller = controller
        self._network = (channels, blocks)
        self._averages: Literal["published", "proper"] = averages
        self._samples = (num_training_samples, num_validation_samples)

    def data(self):
        training, validation = self._samples
        return (
            self._trajectories(0, training, self.num_loss_steps),
            self._trajectories(training, validation, self.num_metric_steps),
        )

    def _trajectories(self, first_seed: int, count: int, steps: int) -> Float[np.ndarray, "count times 3 N N"]:
        states = [self._starts(first_seed, count)]
        for _ in range(steps):
            parts = np.array_split(states[-1], max(1, count // self.batch_size))  # which fit into a processor's cache
            states.append(np.concatenate([self._converged(part) for part in parts]))
        return coarsen(np.stack(states, axis=1))

    def _starts(self, first_seed: int, count: int) -> Float[np.ndarray, "count 3 N N"]:
        """Initial states on the fine grid, whose pressure nothing depends on."""
        velocity = smoothed_noise_velocity(first_seed, count, self.fine_points)
        return np.concatenate([velocity, np.zeros_like(velocity[:, :1])], axis=1)

    def _step_of_reference(self, state: Float[Array, "3 N N"]) -> Float[Array, "3 N N"]:
        operator, b = self._system(state)
        return solve(operator, b, GMRES(8), 250, "detached", rtol=TOLERANCE)

    @functools.cached_property
    def _converged(self):
        """A step of the reference for many states at once."""
        compiled = jax.jit(jax.vmap(self._step_of_reference))
        return lambda states: np.asarray(compiled(states.astype(np.float32)))

    def model(self, key: Array) -> ClassicResNet:
        channels, blocks = self._network
        return ClassicResNet(2, 3, 3, hidden_channels=channels, num_blocks=blocks, boundary_mode="periodic", key=key)

    def decay(self, step):
        # A cosine from 1 to a tenth over the preset's epochs.
        steps = self.epochs * (self._samples[0] // self.batch_size)
        return 0.1 + 0.45 * (1 + jnp.cos(jnp.pi * jnp.minimum(step / steps, 1)))

    def loss(self, model, batch, solve: InnerSolve):
        predicted = self._rollout(model, batch[:, 0], self.num_loss_steps, solve)
        return jnp.mean((predicted - batch[:, 1:]) ** 2)

    def metric(self, model, validation, solve: InnerSolve):
        vx = self._rollout(model, validation[:, 0], self.num_metric_steps, solve)[:, -1, 0]
        reference = validation[:, -1, 0]
        return jnp.mean(jnp.sum((vx - reference) ** 2, axis=(1, 2)) / jnp.sum(reference**2, axis=(1, 2)))

    def fields(self, model, validation, solve: InnerSolve) -> Mapping[str, Array]:
        after_physics = self._step(validation[:, 0], solve)
        fields = {
            "input": validation[:, 0],
            "after the physics": after_physics,
            "after the correction": after_physics + jax.vmap(model)(after_physics),
            "target": validation[:, 1],
        }
        return {name: _with_vorticity(field) for name, field in fields.items()}

    def rollout(self, model, validation, sample, solve: InnerSolve, steps: int) -> Mapping[str, Array]:
        training, count = self._samples
        with jax.ensure_compile_time_eval():  # the fine grid is not among the data
            starts = self._starts(training, count)
        start = validation[sample, 0]
        reference = repeated(self._step_of_reference, jnp.asarray(starts, start.dtype)[sample], steps)

        def corrected(state: Array) -> Array:
            state = solve(*self._system(state))
            return state + model(state)

        states = {
            "coarse solver alone": repeated(lambda state: solve(*self._system(state)), start, steps),
            "with the trained network": repeated(corrected, start, steps),
            "reference": coarsen(reference),
        }
        return {name: _with_vorticity(each) for name, each in states.items()}

    def points(self) -> Float[np.ndarray, " num_points"]:
        return ((1 + 2 * np.arange(self.num_points)) / self.fine_points).astype(np.float32)

    def _rollout(
        self, model: ClassicResNet, state: Float[Array, "samples 3 N N"], steps: int, solve: InnerSolve
    ) -> Float[Array, "samples steps 3 N N"]:
        """The corrected states after 1 … `steps` steps."""

        def step(state: Array, _: None) -> tuple[Array, Array]:
            state = self._step(state, solve)
            state = state + jax.vmap(model)(state)
            return state, state

        _, states = jax.lax.scan(step, state, None, length=steps)
        return jnp.moveaxis(states, 0, 1)

    def _step(self, states: Float[Array, "samples 3 N N"], solve: InnerSolve) -> Float[Array, "samples 3 N N"]:
        return jax.vmap(lambda state: solve(*self._system(state)))(states)

    def _system(self, state: Float[Array, "3 N N"]) -> tuple[NavierStokesOperator, Float[Array, "3 N N"]]:
        """A and b of the time step from a state."""
        operator = NavierStokesOperator(state[:2], self.dt, self.viscosity, self._averages)
        return operator, navier_stokes_right_side(state[:2], self.dt)


def _with_vorticity(states: Float[Array, "states 3 N N"]) -> Float[Array, "states 4 N N"]:
    """What is shown of states: the vorticity before the velocity and the pressure."""
    return jnp.concatenate([jax.vmap(vorticity)(states[:, :2])[:, None], states], axis=1)


NAVIER_STOKES_2D = Scenario(
    id="navier-stokes-2d",
    title="Navier-Stokes 2D corrector",
    summary=(
        "A network corrects a coarse flow solver after each of its steps and learns from a finer one. Each step is a "
        "saddle-point solve by GMRES: here the physics costs nearly everything."
    ),
    teaches=(
        "The case that the method is for. The solver stays part of the trained system, so the network sees what coarse "
        "physics does and learns around it; K, the restarts of GMRES, rises only when the corrected rollout stops "
        "improving. Most of the seconds are saved, not just the iterations. Look at the vorticity before and after the "
        "correction, and at what is left of the target."
    ),
    shares={"live": 0.17},
    presets={
        "live": NavierStokesCorrector(
            fine_points=49,
            channels=8,
            blocks=1,
            averages="proper",
            epochs=40,
            num_training_samples=75,
            controller=PRDP(tau_step=0.95, tau_stop=0.95, window=3, ema_window=6, initial=6, step=2, maximum=40),
        ),
        "paper": NavierStokesCorrector(fine_points=97, channels=64, blocks=3, averages="published"),
    },
    chosen=(
        "live: 24 × 24 points under a reference of 49 × 49, 8 channels in one block, 75 training states, 40 "
        "epochs, the proper averages of the wind, K from 6 in steps of 2, and τ_stop 0.95.",
        "both: the validation states have the seeds after those of the training states, and the reference steps are "
        "solved to the published tolerance with restart 8.",
    ),
)
