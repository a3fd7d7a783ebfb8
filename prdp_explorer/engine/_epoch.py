"""The compiled heart: whole epochs of training, validation and refinement in one call."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ..problems import InnerSolve, Problem
from ..refinement import AbstractController, ControllerState
from ..solvers import AbstractDifferentiation, AbstractSolver, Detached

PyTree = Any

RECORD_TYPES: Mapping[str, type] = {
    "epoch": int,
    "iterations": int,
    "train_loss": float,
    "validation": float,
    "smoothed": float,
    "plateau_ratio": float,
    "checkpoint_ratio": float,
    "refined": bool,
    "reason": int,
    "next_iterations": int,
    "rtol": float,
    "next_rtol": float,
}
"""The columns of a compiled record."""

LONGEST_CALL = 256
"""Epochs that one compiled call can hold: the length of its buffer of records."""


class TrainingState(eqx.Module):
    """Everything that training carries from one epoch to the next; donated to each call.

    `epoch` is the number of the next epoch. Epoch 0 trains nothing: it measures the metric before training.
    """

    parameters: PyTree
    optimizer: PyTree
    controller: ControllerState
    shuffle_key: Array
    epoch: Int[Array, ""]
    finite: Bool[Array, ""]


class Steering(eqx.Module):
    """What a person may change between two calls; all leaves are traced."""

    controller: AbstractController
    learning_rate: Float[Array, ""]


Records = Mapping[str, Array]
"""Columns of the records of one call, each of length `LONGEST_CALL`; only as many are filled as epochs were run."""


@dataclass(frozen=True)
class Trainer:
    """The pure functions of a training run. Trainers of the same problem, solver and mode are equal.

    **Arguments:**

    - `problem`: what is learned.
    - `solver`, `differentiation`: the inner solve and its gradient.
    - `metric`: what the controller is fed, "validation" or "training" (the loss).
    """

    problem: Problem
    solver: AbstractSolver
    differentiation: AbstractDifferentiation
    metric: str

    @property
    def words(self) -> str:
        """The trainer without its problem, for naming what is compiled from it."""
        return f"{self.solver} {self.differentiation} {self.metric}"

    def init(self, seed: Any, steering: Steering) -> TrainingState:
        """The state before training. The order in which keys are split is the reference code's."""
        rest, _ = jax.random.split(jax.random.PRNGKey(seed))
        _, shuffle_key = jax.random.split(rest)
        parameters = self.parameters(seed)
        return TrainingState(
            parameters=parameters,
            optimizer=self.problem.optimizer.init(parameters),
            controller=steering.controller.init(),
            shuffle_key=shuffle_key,
            epoch=jnp.asarray(0, jnp.int32),
            finite=jnp.asarray(True),
        )

    def parameters(self, seed: Any) -> PyTree:
        """The parameters before training."""
        _, model_key = jax.random.split(jax.random.PRNGKey(seed))
        return eqx.filter(self.problem.model(model_key), eqx.is_array)

    def advance(
        self, state: TrainingState, steering: Steering, data: PyTree, epochs: Int[Array, ""]
    ) -> tuple[TrainingState, Records]:
        """Run `epochs` (traced, at most `LONGEST_CALL`) epochs, or up to the first that is not finite."""
        dtypes = {int: jnp.int32, float: jnp.result_type(float), bool: jnp.bool_}
        records = {name: jnp.zeros((LONGEST_CALL,), dtypes[kind]) for name, kind in RECORD_TYPES.items()}

        def body(carry: Any) -> Any:
            done, state, records = carry
            state, record = self._epoch(state, steering, data)
            return done + 1, state, jax.tree.map(lambda rows, value: rows.at[done].set(value), records, record)

        _, state, records = jax.lax.while_loop(
            lambda carry: (carry[0] < epochs) & carry[1].finite, body, (jnp.asarray(0, jnp.int32), state, records)
        )
        return state, records

    def fields(self, parameters: PyTree, iterations: Int[Array, ""], data: PyTree) -> Mapping[str, Array]:
        """The problem's fields for these parameters and this K."""
        return self.problem.fields(self.model(parameters), data[1], self._evaluation(iterations))

    def rollout(
        self, parameters: PyTree, validation: PyTree, sample: Int[Array, ""], steps: int
    ) -> Mapping[str, Array]:
        """The problem's rollout for these parameters, at full physics."""
        solve = self._evaluation(self.problem.full_iterations)
        return self.problem.rollout(self.model(parameters), validation, sample, solve, steps)

    def model(self, parameters: PyTree) -> PyTree:
        """The model that has these parameters."""
        return eqx.combine(parameters, self._static_parts)

    @functools.cached_property
    def _static_parts(self) -> PyTree:
        """The parts of a model that are no arrays, such as activation functions: the same for every key."""
        template = eqx.filter_eval_shape(self.problem.model, jax.ShapeDtypeStruct((2,), jnp.uint32))
        return eqx.filter(template, lambda leaf: not isinstance(leaf, jax.ShapeDtypeStruct))

    def _evaluation(self, iterations: Any) -> InnerSolve:
        """The inner solve where no gradient is wanted."""
        return InnerSolve(self.solver, Detached(), jnp.asarray(iterations), self.problem.rtol)

    def _epoch(self, state: TrainingState, steering: Steering, data: PyTree) -> tuple[TrainingState, dict[str, Array]]:
        training, validation = data
        problem = self.problem
        num_samples = len(jax.tree.leaves(training)[0])
        num_batches = num_samples // problem.batch_size
        trains = state.epoch > 0
        iterations, rtol = state.controller.iterations, state.controller.rtol
        solve = InnerSolve(self.solver, self.differentiation, iterations, problem.rtol if rtol is None else rtol)

        rest, key = jax.random.split(state.shuffle_key)
        order = jax.random.permutation(key, num_samples)
        zero = jnp.zeros((), jnp.result_type(float))
        unread = jnp.zeros(2, zero.dtype)

        def loss(parameters: PyTree, meter: Array, batch: PyTree) -> Float[Array, ""]:
            return problem.loss(self.model(parameters), batch, replace(solve, meter=meter))

        def update(index: Array, carry: Any) -> Any:
            parameters, optimizer, total, meter = carry
            rows = jax.lax.dynamic_slice_in_dim(order, index * problem.batch_size, problem.batch_size)
            batch = jax.tree.map(lambda leaf: leaf[rows], training)
            value, (gradient, reading) = jax.value_and_grad(loss, (0, 1))(parameters, unread, batch)
            direction, optimizer = problem.optimizer.update(gradient, optimizer, parameters)
            step = (state.epoch - 1) * num_batches + index
            rate = steering.learning_rate * problem.decay(step)
            parameters = optax.apply_updates(parameters, jax.tree.map(lambda leaf: -rate * leaf, direction))
            return parameters, optimizer, total + value, meter + reading

        # Epoch 0 has no batches: a bound that is data costs less than a branch around the loop.
        parameters, optimizer, total, meter = jax.lax.fori_loop(
            0, jnp.where(trains, num_batches, 0), update, (state.parameters, state.optimizer, zero, unread)
        )
        train_loss = jnp.where(trains, total / num_batches, jnp.nan)
        metric = problem.metric(self.model(parameters), validation, self._evaluation(problem.full_iterations))
        if self.metric == "training":
            before = jax.lax.cond(trains, lambda: zero, lambda: loss(parameters, unread, training))
            fed = jnp.where(trains, train_loss, before)
        else:
            fed = metric
        controller = steering.controller.update(fed, state.controller)
        if rtol is not None:
            iterations = jnp.round(meter[0] / jnp.maximum(meter[1], 1)).astype(iterations.dtype)

        record: dict[str, Any] = {  # jnp.nan is a plain number until this is compiled
            "epoch": state.epoch,
            "iterations": jnp.where(trains, iterations, 0),
            "train_loss": train_loss,
            "validation": metric,
            "smoothed": controller.smoothed,
            "plateau_ratio": controller.plateau_ratio,
            "checkpoint_ratio": controller.checkpoint_ratio,
            "refined": controller.refined,
            "reason": controller.reason,
            "next_iterations": controller.iterations,
            "rtol": jnp.nan if rtol is None else jnp.where(trains, rtol, jnp.nan),
            "next_rtol": jnp.nan if rtol is None else controller.rtol,
        }
        finite = jnp.isfinite(metric) & jnp.isfinite(fed) & (jnp.isfinite(train_loss) | ~trains)
        return TrainingState(
            parameters=parameters,
            optimizer=optimizer,
            controller=controller,
            shuffle_key=jnp.where(trains, rest, state.shuffle_key),
            epoch=state.epoch + 1,
            finite=finite,
        ), record
