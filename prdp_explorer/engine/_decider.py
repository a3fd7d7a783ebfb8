"""A controller that is asked once an epoch from plain Python, as cheaply as that goes."""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..refinement import KINDS, ControllerState
from ._settings import Refinement

COPIED = ("smoothed", "plateau_ratio", "checkpoint_ratio", "refined", "reason")
_DECIDED = ("iterations", "rtol", *COPIED)


class Decider:
    """A controller with its state, and what it decided as plain numbers.

    **Attributes:**

    - `decided`: by name, of the next epoch: `iterations`, `rtol` (NaN where K is refined), and how that came about.
    """

    def __init__(self, refinement: Refinement):
        self._controller = _build(refinement)
        self._hold(self._controller.init())

    def show(self, metric: float) -> None:
        """Let it decide by the metric of an epoch."""
        # A tree that is taken apart at each call takes longer than the decision, and so do copies one by one.
        with np.errstate(over="ignore"):  # what is too large for single precision is infinite
            self._leaves, decided = _decide(self._structure, self._of_controller, self._leaves, metric)
        self.decided = _plain(decided)

    def change(self, refinement: Refinement, iterations: int | None = None) -> None:
        """Decide with other values from now on; `iterations` is K of the next epoch, None for what follows."""
        state: ControllerState = jax.tree.unflatten(self._structure[1], self._leaves)
        self._controller = _build(refinement)
        state = self._controller.reconcile(state)
        if iterations is not None:
            wanted = jnp.asarray(iterations, state.iterations.dtype)
            state = eqx.tree_at(lambda state: state.iterations, state, wanted)
        self._hold(state)

    def _hold(self, state: ControllerState) -> None:
        self._of_controller, of_controller = jax.tree.flatten(self._controller)
        self._leaves, of_state = jax.tree.flatten(state)
        self._structure = of_controller, of_state
        self.decided = _plain(_packed(state))


@functools.partial(jax.jit, static_argnums=0)
def _decide(
    structure: tuple[Any, Any], of_controller: Sequence[Array], leaves: Sequence[Array], metric: Any
) -> tuple[list[Array], Float[Array, " decided"]]:
    controller, state = map(jax.tree.unflatten, structure, (of_controller, leaves))
    state = controller.update(metric, state)
    return jax.tree.leaves(state), _packed(state)


def _packed(state: ControllerState) -> Float[Array, " decided"]:
    """What was decided in one array; whole numbers are small enough to be exact in it."""
    values = (getattr(state, name) for name in _DECIDED)
    return jnp.stack(
        [jnp.asarray(jnp.nan if value is None else value, state.smoothed.dtype) for value in values]
    )  # fmt: skip


def _plain(packed: Array) -> dict[str, Any]:
    values = dict(zip(_DECIDED, np.asarray(packed).tolist(), strict=True))
    whole: dict[str, Any] = {name: int(values[name]) for name in ("iterations", "reason")}
    return {**values, **whole, "refined": bool(values["refined"])}


def _build(refinement: Refinement) -> Any:
    values = dict(refinement)
    return KINDS[values.pop("kind")](**values)
