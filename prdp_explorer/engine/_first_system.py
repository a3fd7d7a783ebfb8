"""The linear system that a training loss solves first, for one sample, taken out where it would be solved."""

import functools
import threading
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Array, Float

from ..problems import InnerSolve
from ..solvers import AbstractOperator, Detached
from ._epoch import Trainer
from ._programs import RUN_ONCE, data_of
from ._rollouts import Parameters, fitted


@dataclass(frozen=True)
class System:
    """A x = b with the start x_0; the leaves of A are NumPy's, in the working precision."""

    operator: AbstractOperator
    b: np.ndarray
    start: np.ndarray


class _Recorder:
    """Keeps the systems of the inner solves of a function of JAX while it runs.

    **Attributes:**

    - `operators`: of each call of `solve` in the order of tracing, the parts of its operator that are no arrays.
    - `seen`: what ran, in that order: the number of the call, and the arrays of the operator, b and x0.
    """

    def __init__(self):
        self.operators: list[Any] = []
        self.seen: list[tuple[int, Any]] = []

    def keep(self, operator: AbstractOperator, b: Array, x0: Array | None) -> Array:
        """b, kept along with the rest whenever this runs."""
        arrays, static = eqx.partition(operator, eqx.is_array)
        call = len(self.operators)
        self.operators.append(static)

        def see(arrays: Any, b: Any, x0: Any) -> np.ndarray:
            self.seen.append((call, jax.tree.map(np.array, (arrays, b, x0))))
            return np.asarray(b)

        # No gradient passes a callback; a loss that differentiates its solve is still to run.
        given = jax.lax.stop_gradient((arrays, b, jnp.zeros_like(b) if x0 is None else x0))
        return io_callback(see, jax.ShapeDtypeStruct(b.shape, b.dtype), *given)


class _Recorded(InnerSolve):
    """What keeps a system where it would be solved, and gives its right side: what follows is not looked at."""

    recorder: _Recorder = eqx.field(static=True, kw_only=True)

    def __call__(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"] | None = None
    ) -> Float[Array, "*grid"]:
        return self.recorder.keep(operator, b, x0)


class _Capturing:
    """Runs a problem's loss on one sample, compiled up to its solves, and takes out the first system."""

    def __init__(self, trainer: Trainer):
        self._recorder = _Recorder()
        self._lock = threading.Lock()
        self._training = data_of(trainer.problem)[0]
        self._parameters = jax.eval_shape(trainer.parameters, jax.ShapeDtypeStruct((), jnp.uint32))
        solve = _Recorded(trainer.solver, Detached(), jnp.asarray(1), recorder=self._recorder)

        def record(parameters: Any, training: Any, sample: Any) -> None:
            batch = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, sample, 1), training)
            trainer.problem.loss(trainer.model(parameters), batch, solve)  # of which XLA drops what no system needs

        self._record = jax.jit(record, compiler_options=RUN_ONCE)

    def system(self, parameters: Parameters, sample: int) -> System:
        count = len(jax.tree.leaves(self._training)[0])
        if not isinstance(sample, int) or not 0 <= sample < count:
            raise ValueError(f"`sample` must be a whole number from 0 to {count - 1}; got {sample!r}.")
        with self._lock:
            self._recorder.seen.clear()
            self._record(fitted(self._parameters, parameters.leaves), self._training, sample)
            jax.effects_barrier()
            seen = list(self._recorder.seen)
        if not seen:
            raise ValueError(
                "The loss of this problem makes no inner solve through the `solve(operator, b)` that it is given, so "
                "there is no system to look at."
            )
        call, (arrays, b, start) = min(seen, key=lambda each: each[0])
        if not all(np.isfinite(leaf).all() for leaf in (*jax.tree.leaves(arrays), b, start) if leaf.dtype.kind == "f"):
            raise ValueError(
                "The system is not finite: its matrix, right side or start has NaN or infinity in it, as after a "
                "training that diverged."
            )
        return System(eqx.combine(arrays, self._recorder.operators[call]), b, start)


@functools.lru_cache(8)
def capturing(trainer: Trainer, _precision: object) -> _Capturing:
    return _Capturing(trainer)
