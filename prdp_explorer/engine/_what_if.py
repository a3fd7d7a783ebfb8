"""What another controller would have decided on the history that a run had."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..refinement import KINDS, AbstractController, AbstractPRDP, AnyController
from ._settings import Refinement, RunSettings, refinement_for

SMALLEST_CAPACITY = 1024
"""Values that a compiled scan has room for at least; more room is the next power of two."""

_DECIDED = ("iterations", "refined", "reason", "smoothed", "plateau_ratio", "checkpoint_ratio", "rtol")


@dataclass(frozen=True)
class WhatIf:
    """What a controller would have decided after each epoch, row by row as the records of a log.

    An approximation of the run that it would have steered: another K would have made another history.

    **Attributes:** (arrays of shape `(values,)`, the first of the value before training)

    - `refinement`: the controller as plain data.
    - `next_iterations`, `next_rtol`: K, and the tolerance or NaN, of the next epoch.
    - `refined`, `reason`, `smoothed`, `plateau_ratio`, `checkpoint_ratio`: as of `Record`.
    """

    refinement: Refinement
    next_iterations: np.ndarray
    next_rtol: np.ndarray
    refined: np.ndarray
    reason: np.ndarray
    smoothed: np.ndarray
    plateau_ratio: np.ndarray
    checkpoint_ratio: np.ndarray

    def __len__(self) -> int:
        """The number of values that were decided on."""
        return len(self.refined)

    @property
    def iterations(self) -> np.ndarray:
        """K of each epoch, 0 before training; where a tolerance is refined its upper bound."""
        return np.concatenate([[0], self.next_iterations[:-1]])

    def first_difference(self, rows: np.ndarray) -> int | None:
        """The first epoch after which something else is decided than these records of a run say; None if none is."""
        rows = rows[: len(self)]
        here, there = self.next_rtol[: len(rows)], rows["next_rtol"]
        same_rtol = np.isclose(here, there, rtol=1e-6, atol=0, equal_nan=True)
        by_count = np.isnan(here) & np.isnan(there)
        same = np.where(by_count, self.next_iterations[: len(rows)] == rows["next_iterations"], same_rtol)
        different = np.flatnonzero(~same | (self.refined[: len(rows)] != rows["refined"]))
        return int(different[0]) if len(different) else None


def history_of(settings: RunSettings, rows: np.ndarray) -> np.ndarray:
    """The values that a run's controller was fed, in order, from the records of its log."""
    if settings.metric == "validation":
        return rows["validation"]
    # The loss before training is in no column of its own; what a controller smooths begins with it as it is.
    return np.where(rows["epoch"] == 0, rows["smoothed"], rows["train_loss"])


def other_controller(settings: RunSettings, changes: Mapping[str, Any]) -> Refinement:
    """A run's controller with other values, complete and checked, as plain data.

    **Arguments:**

    - `changes`: values by name. With another `kind`, and for a run whose controller decides nothing, they change that
      which the problem comes with.

    **Raises:** `ValueError` in words.
    """
    own = settings.refinement["kind"]
    kind = changes.get("kind", own if _decides(own) else "prdp")
    if kind == own:
        changes = {**settings.values, **changes}
    elif not _decides(kind):
        raise ValueError(f"`kind` must be one that decides by the metric, prdp or prdp-tolerance; got {kind!r}.")
    return refinement_for(settings.problem, {**changes, "kind": kind})


def decide(history: Any, refinement: Refinement, room: int = 0) -> WhatIf:
    """Feed a history to a controller in one compiled scan.

    **Arguments:**

    - `history`: values of a metric, of shape `(values,)`, the one before training first, which NaN leaves out.
    - `refinement`: the controller as `other_controller` gives it.
    - `room`: how many values there may be later; one compilation for each kind of controller serves up to so many.
    """
    values = dict(refinement)
    controller = KINDS[values.pop("kind")](**values)
    length = len(history)
    capacity = max(SMALLEST_CAPACITY, 1 << (max(length, room) - 1).bit_length())
    padded = np.zeros(capacity, jnp.result_type(float))
    padded[:length] = history
    decided = {name: column[:length] for name, column in jax.device_get(_scan(controller, padded, length)).items()}
    return WhatIf(
        refinement=refinement,
        next_iterations=decided.pop("iterations"),
        next_rtol=decided.pop("rtol", np.full(length, np.nan)),
        **decided,
    )


def _decides(kind: Any) -> bool:
    return isinstance(kind, str) and kind in KINDS and issubclass(KINDS[kind], AbstractPRDP)


@jax.jit
def _scan(
    controller: AbstractController, history: Float[Array, " capacity"], length: Int[Array, ""]
) -> dict[str, Float[Array, " capacity"]]:
    state = controller.init()
    first = {name: value for name in _DECIDED if (value := getattr(state, name)) is not None}
    columns = {name: jnp.full(history.shape, value) for name, value in first.items()}

    def body(index: Array, carry: Any) -> Any:
        state, columns = carry
        here, value = controller, history[index]
        if type(controller) in AnyController.kinds:
            # In training the choice between kinds stands in the way of what XLA would take out of the loop, and round
            # otherwise. With this in its place the ratios are those of a training to the last bit.
            here, value, state = jax.lax.optimization_barrier((here, value, state))
        state = here.update(value, state)
        return state, {name: column.at[index].set(getattr(state, name)) for name, column in columns.items()}

    # A loop of one's own need not have measured before training: then nothing is decided on that.
    start = jnp.where(jnp.isnan(history[0]), 1, 0)
    _, columns = jax.lax.fori_loop(start, length, body, (state, columns))
    return columns
