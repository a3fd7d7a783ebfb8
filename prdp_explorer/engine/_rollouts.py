"""Rollouts: a trained model makes one time step after another, beside the truth."""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..problems import Problem, built_in_name
from ..solvers import Detached
from ._epoch import Trainer
from ._executables import Program, use_persistent_cache
from ._log import Checkpoint
from ._programs import data_of
from ._run import Run
from ._schema import StoreError
from ._settings import RunSettings
from ._store import Store

MOST_STEPS = 1000

_TRUTHS_KEPT = 16


@dataclass(frozen=True)
class Rollout:
    """What becomes of a validation sample, step by step.

    **Attributes:**

    - `epoch`: of training, after which the model is taken; 0 for before training.
    - `sample`: the number of the validation sample, from 0.
    - `fields`: arrays of shape `(steps + 1, *grid)`, or `(steps + 1, components, *grid)`, by name and in the order of
      drawing, each with the start in front. The last is the truth, the one before it the model's.
    - `seconds`: of computing what the model makes, without compiling.
    """

    epoch: int
    sample: int
    fields: Mapping[str, np.ndarray]
    seconds: float

    @property
    def steps(self) -> int:
        return len(next(iter(self.fields.values()))) - 1


@dataclass(frozen=True)
class Parameters:
    """The leaves of a model's parameters after an epoch, in JAX's order, copied to the host."""

    epoch: int
    leaves: Sequence[np.ndarray]


def rollout_steps(problem: Problem, steps: int | None) -> int:
    """How many steps a rollout is to have.

    **Raises:** `ValueError` in words for a problem without rollouts, and for a number that is none.
    """
    if not problem.rollout_steps:
        raise ValueError("This problem offers no rollout: nothing in it makes one time step after another.")
    if steps is None:
        return problem.rollout_steps
    if not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"`steps` must be a whole number from 1 to {MOST_STEPS}; got {steps!r}.")
    return steps


def kept_parameters(run: Run, epoch: int | None, store: Store | None) -> Parameters:
    """The newest parameters at hand of a run up to an epoch (None: its last), if need be those before training.

    What a fork has in common with what it was forked from is looked for there.
    """
    wanted = run.epoch if epoch is None else min(epoch, run.epoch)
    found = [run.log.checkpoint, run.goes_on_from]
    if store is not None:
        found.append(_stored(store, run.id, run.parent, wanted))
    fitting = [checkpoint for checkpoint in found if checkpoint is not None and checkpoint.epoch <= wanted]
    if fitting:
        newest = max(fitting, key=lambda checkpoint: checkpoint.epoch)
        return Parameters(max(newest.epoch, 0), newest.leaves)
    initial = jax.jit(_trainer(run.started_with).parameters)(np.uint32(run.started_with.seed))
    return Parameters(0, jax.device_get(jax.tree.leaves(initial)))


def fitted(expected: Any, leaves: Sequence[np.ndarray]) -> Any:
    """Parameters of the shapes expected, from the leaves of a checkpoint, which begins with them.

    **Raises:** `ValueError` in words for leaves of other shapes.
    """
    shapes, structure = jax.tree.flatten(expected)
    leaves = leaves[: len(shapes)]
    if [(leaf.shape, leaf.dtype) for leaf in shapes] != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise ValueError("The checkpoint does not fit this scenario: its arrays have other shapes.")
    return jax.tree.unflatten(structure, leaves)


def _stored(store: Store, run_id: str, parent: tuple[str, int] | None, epoch: int) -> Checkpoint | None:
    """The newest checkpoint up to an epoch of a run, or of what it was forked from."""
    while True:
        try:
            found = store.checkpoint(run_id, epoch)
            kept = store.run(run_id)
            parent = None if kept.parent is None or kept.parent_epoch is None else (kept.parent, kept.parent_epoch)
        except StoreError:  # not written yet, or deleted
            found = None
        if found is not None or parent is None:
            return found
        (run_id, last), parent = parent, None
        epoch = min(epoch, last)


def roll_out(settings: RunSettings, parameters: Parameters, sample: int, steps: int) -> Rollout:
    """The rollout of a model with these parameters. Compiles the first time.

    **Raises:** `ValueError` in words for a sample that there is not.
    """
    programs = _programs_for(_trainer(settings), steps, jnp.result_type(float))
    if not isinstance(sample, int) or not 0 <= sample < programs.num_samples:
        raise ValueError(f"`sample` must be a whole number from 0 to {programs.num_samples - 1}; got {sample!r}.")
    fields, seconds = programs.run(parameters.leaves, sample)
    return Rollout(parameters.epoch, sample, fields, seconds)


class _Programs:
    """What rollouts of a problem need compiled, in two parts: what the model makes, and all that it is compared with.

    The second is computed once a sample.
    """

    def __init__(self, trainer: Trainer, steps: int):
        use_persistent_cache()
        name = built_in_name(trainer.problem)
        identity = None if name is None else (name, str(trainer.solver), str(steps))
        self._validation = data_of(trainer.problem)[1]
        self.num_samples = len(jax.tree.leaves(self._validation)[0])
        self._parameters = jax.eval_shape(trainer.parameters, jax.ShapeDtypeStruct((), jnp.uint32))
        self._truths: dict[int, list[np.ndarray]] = {}
        names: list[str] = []

        def rollout(parameters, validation, sample):
            fields = trainer.rollout(parameters, validation, sample, steps)
            names[:] = fields  # JAX would sort them
            return tuple(fields.values())

        def of_model(parameters, validation, sample):
            return rollout(parameters, validation, sample)[-2]

        def others(validation, sample):  # where XLA drops the model
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self._parameters)
            fields = rollout(nothing, validation, sample)
            return (*fields[:-2], fields[-1])

        shapes = self._validation, jax.ShapeDtypeStruct((), jnp.int32)
        found = jax.eval_shape(rollout, self._parameters, *shapes)
        if len(found) < 2:
            raise ValueError(
                f"`rollout` must give what the model makes, and the truth; got {', '.join(names) or '{}'}."
            )
        self._names = tuple(names)
        self._of_model = Program(identity and ("rollout", *identity)).compiled(
            of_model, (self._parameters, *shapes), jax.tree.structure(found[0])
        )
        self._others = Program(identity and ("truth", *identity)).compiled(
            others, shapes, jax.tree.structure(found[1:])
        )

    def run(self, leaves: Sequence[np.ndarray], sample: int) -> tuple[dict[str, np.ndarray], float]:
        """The fields by name, and the seconds that what the model makes took."""
        parameters = fitted(self._parameters, leaves)
        arguments = self._validation, np.int32(sample)
        if sample not in self._truths:
            while len(self._truths) >= _TRUTHS_KEPT:
                del self._truths[next(iter(self._truths))]
            self._truths[sample] = [*jax.device_get(self._others(*arguments))]
        began = time.perf_counter()
        made = jax.device_get(self._of_model(parameters, *arguments))
        seconds = time.perf_counter() - began
        *before, truth = self._truths[sample]
        return dict(zip(self._names, (*before, made, truth), strict=True)), seconds


@functools.lru_cache(8)
def _programs_for(trainer: Trainer, steps: int, _precision: object) -> _Programs:
    return _Programs(trainer, steps)


def _trainer(settings: RunSettings) -> Trainer:
    """Equal for all settings whose rollouts are the same."""
    return Trainer(settings.problem, settings.build_solver(), Detached(), "validation")
