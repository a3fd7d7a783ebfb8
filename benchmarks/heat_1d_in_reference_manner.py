"""Heat 1D training in the manner of the paper's reference code, written anew: what this package is compared with.

The same computation as the package's scenario, done the usual way: the system matrix is dense, K is a compile-time
constant so that every refinement compiles anew, all iterates are kept, each batch is indexed and trained on by a call
from Python, the validation error is a call an epoch, and Python decides the refinement.

`Program(tightened=True)` keeps all that and makes the calls themselves as cheap as they get: `jax.jit` on arrays in
place of `equinox.filter_jit` on the model, and batches cut by NumPy in place of JAX on the device.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

NUM_POINTS = 30
DIFFUSION = 0.001
FULL_ITERATIONS = 25
EPOCHS = 100
BATCH_SIZE = 25


@dataclass
class Result:
    """What a run gave, and how long it took.

    **Attributes:**

    - `iterations`: K of each epoch. `validation`: the metric, before training and after each epoch.
    - `seconds`: of everything. `loop_seconds`: of the epochs alone, without set-up and the value before training.
    """

    iterations: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    seconds: float = math.nan
    loop_seconds: float = math.nan


class Refinement:
    """PRDP in plain Python, with the published values for heat 1D: cheaper than any call to JAX."""

    tau_step, tau_stop, window, ema_window = 0.98, 0.9, 3, 8

    def __init__(self):
        self.smoothed: list[float] = []
        self.checkpoint = math.inf

    def refines(self, metric: float) -> bool:
        """Take the next value of the metric and say whether to raise K."""
        alpha = 2 / (self.ema_window + 1)
        last = self.smoothed[-1] if self.smoothed else metric
        self.smoothed.append(last + alpha * (metric - last))
        if len(self.smoothed) <= self.window or self.smoothed[-1] / self.smoothed[-self.window] <= self.tau_step:
            return False
        if self.tau_stop <= self.smoothed[-1] / self.checkpoint <= 1:
            return False
        self.checkpoint = self.smoothed[-1]
        return True


def _system_matrix() -> jax.Array:
    coupling = DIFFUSION * (NUM_POINTS + 1) ** 2
    neighbours = np.eye(NUM_POINTS, k=1) + np.eye(NUM_POINTS, k=-1)
    return jnp.asarray((1 + 2 * coupling) * np.eye(NUM_POINTS) - coupling * neighbours, jnp.float32)


def _jacobi(matrix: jax.Array, b: jax.Array, iterations: int) -> jax.Array:
    """The last of the iterates from zero, all of which are kept."""
    diagonal = jnp.diag(matrix)

    def step(u: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        u = u + (b - matrix @ u) / diagonal
        return u, u

    _, iterates = jax.lax.scan(step, jnp.zeros_like(b), None, length=iterations)
    return iterates[-1]


class Program:
    """The functions of the training, compiled at their first call for each K and kept for later runs."""

    def __init__(self, *, tightened: bool = False):
        self.tightened = tightened
        self.optimizer = optax.adam(optax.exponential_decay(1e-3, 100, 0.94))
        self.matrix = _system_matrix()
        self.static: Any = None
        if tightened:
            self.update = jax.jit(self._update, static_argnums=3)
            self.validate = jax.jit(self._validate)
        else:
            self.update = eqx.filter_jit(self._update)
            self.validate = eqx.filter_jit(self._validate)
        self.solve = jax.custom_vjp(self._solve, nondiff_argnums=(1,))
        self.solve.defvjp(self._solve_forward, self._solve_backward)

    def _solve(self, b: jax.Array, iterations: int) -> jax.Array:
        return _jacobi(self.matrix, b, iterations)

    def _solve_forward(self, b: jax.Array, iterations: int) -> tuple[jax.Array, None]:
        return _jacobi(self.matrix, b, iterations), None

    def _solve_backward(self, iterations: int, _: None, cotangent: jax.Array) -> tuple[jax.Array]:
        return (_jacobi(self.matrix.T, cotangent, iterations),)

    def _network(self, model: Any) -> Callable[[jax.Array], jax.Array]:
        return jax.vmap(model if self.static is None else eqx.combine(model, self.static))

    def _loss(self, model: Any, batch: jax.Array, iterations: int) -> jax.Array:
        after_network = self._network(model)(batch[:, 0])
        after_physics = jax.vmap(lambda b: self.solve(b, iterations))(after_network)
        return jnp.mean((after_physics - batch[:, 2]) ** 2)

    def _update(self, model: Any, state: Any, batch: jax.Array, iterations: int) -> tuple[Any, Any, jax.Array]:
        loss, gradient = eqx.filter_value_and_grad(self._loss)(model, batch, iterations)
        updates, state = self.optimizer.update(gradient, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, loss

    def _validate(self, model: Any, validation: jax.Array) -> jax.Array:
        network = self._network(model)
        rollout = network(network(validation[:, 0]))
        error = jnp.sum((rollout - validation[:, 2]) ** 2, axis=1)
        return jnp.mean(error / jnp.sum(validation[:, 1] ** 2, axis=1))

    def train(self, training: np.ndarray, validation: np.ndarray, *, seed: int, progressive: bool) -> Result:
        """Train once and time it.

        **Arguments:**

        - `training`, `validation`: states at three times, of shape `(samples, 3, NUM_POINTS)`.
        - `seed`: of the network and of the order of the samples.
        - `progressive`: K by PRDP; otherwise full physics throughout.
        """
        convert = np.asarray if self.tightened else jnp.asarray
        # Data preparation is apart.
        data, validation_data = jax.block_until_ready((convert(training, np.float32), convert(validation, np.float32)))
        result, refinement = Result(), Refinement()
        began = time.perf_counter()

        rest, model_key = jax.random.split(jax.random.PRNGKey(seed))
        _, shuffle_key = jax.random.split(rest)
        model = eqx.nn.MLP(NUM_POINTS, NUM_POINTS, width_size=64, depth=3, key=model_key)
        if self.tightened:
            model, self.static = eqx.partition(model, eqx.is_array)
        state = self.optimizer.init(eqx.filter(model, eqx.is_array))
        metric = float(self.validate(model, validation_data))
        result.validation.append(metric)
        refinement.refines(metric)
        iterations = 1 if progressive else FULL_ITERATIONS

        loop_began = time.perf_counter()
        for _ in range(EPOCHS):
            shuffle_key, key = jax.random.split(shuffle_key)
            order = convert(jax.random.permutation(key, len(data)))
            losses = []
            for start in range(0, len(data), BATCH_SIZE):
                batch = data[order[start : start + BATCH_SIZE]]
                model, state, loss = self.update(model, state, batch, iterations)
                losses.append(loss)
            np.mean([float(loss) for loss in losses])  # what a record of the epoch needs
            metric = float(self.validate(model, validation_data))
            result.validation.append(metric)
            result.iterations.append(iterations)
            if progressive and refinement.refines(metric):
                iterations = min(iterations + 1, FULL_ITERATIONS)
        ended = time.perf_counter()
        result.seconds, result.loop_seconds = ended - began, ended - loop_began
        return result
