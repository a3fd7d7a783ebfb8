"""Controllers: when to raise the number of inner iterations K.

A controller is a pure function in optax's manner:

    state = controller.init()                  # state.iterations is K of the next epoch
    state = controller.update(metric, state)   # one metric an epoch, the value before training first

Every field of a controller is an array leaf, so a controller works in plain Python, under `jax.jit`, inside
`jax.lax.scan`, and under `jax.vmap` over many settings at once; its values may be edited between two epochs without a
recompilation. The algorithm is that of Bhatia, Koehler and Thuerey, "PRDP: Progressively Refined Differentiable
Physics", ICLR 2025, arXiv:2502.19611.
"""

import abc
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

LONGEST_WINDOW = 64
"""Smoothed values that a state keeps, hence the largest `window`."""


class Reason(enum.IntEnum):
    """Why a controller did what it did, as a number that fits into a compiled record."""

    FIXED = 0
    SCHEDULED = 1
    COLLECTING = 2
    IMPROVING = 3
    WORTHWHILE = 4
    DIVERGING = 5
    SUPERFLUOUS = 6


@dataclass(frozen=True)
class Limits:
    """The values that one setting of a controller may take, and what it means.

    **Arguments:**

    - `minimum`, `maximum`: the smallest and largest value accepted; `minimum` itself is refused where `above` is true.
    - `doc`: one line for people, used by the dashboard and the command line.
    """

    kind: type
    minimum: int | float
    maximum: int | float
    doc: str
    above: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise `ValueError` in words unless `value` (a number or an array of them) lies within the limits."""
        array = np.asarray(value)
        wanted = f"{'a whole number' if self.kind is int else 'a number'} {self.range}"
        got = array.tolist() if array.dtype.kind in "biuf" else value
        problem = f"`{name}` must be {wanted}; got {got!r}."
        if array.dtype.kind not in "iuf":
            raise ValueError(problem)
        if self.kind is int and not np.all(np.isfinite(array) & (array == np.floor(array))):
            raise ValueError(problem)
        low = array > self.minimum if self.above else array >= self.minimum
        if not np.all(low & (array <= self.maximum)):  # NaN compares false and is refused too
            raise ValueError(problem)

    def number(self, name: str, value: Any) -> int | float:
        """`value`, if it is one number within the limits, as a plain `int` or `float`; else `ValueError` in words."""
        if isinstance(value, str) or np.ndim(value):
            raise ValueError(f"`{name}` must be one number {self.range}; got {value!r}.")
        self.check(name, value)
        return self.kind(value)

    @property
    def range(self) -> str:
        """The limits in words, such as "above 0 and at most 1"."""
        low, high = (
            f"{int(bound):,}" if bound == int(bound) else f"{bound:g}" for bound in (self.minimum, self.maximum)
        )
        return f"above {low} and at most {high}" if self.above else f"from {low} to {high}"


LARGEST_ITERATIONS = 10_000
_iterations = (int, 1, LARGEST_ITERATIONS)

_DECISION_LIMITS = {
    "tau_step": Limits(float, 0, 1, "refine when the error falls by less than this ratio over the window", above=True),
    "tau_stop": Limits(
        float, 0, 1, "refine only if the last refinement lowered the error below this ratio", above=True
    ),
    "window": Limits(int, 2, LONGEST_WINDOW, "values that the plateau ratio compares, both ends counted"),
    "ema_window": Limits(int, 1, 10_000, "epochs that the moving average of the error spans; 1 does not smooth"),
}
"""Of the settings that decide when PRDP refines, whatever it is that it refines."""


class ControllerState(eqx.Module):
    """What a controller remembers between two epochs, and what it decided last.

    All leaves are scalars except `recent`, of shape `(LONGEST_WINDOW,)`. The values of a metric are non-dimensional.
    A ratio that was not evaluated is NaN. `rtol` is the tolerance of the next epoch's solves, None where only K counts.
    """

    iterations: Int[Array, "*sweep"]
    refined: Bool[Array, "*sweep"]
    reason: Int[Array, "*sweep"]
    smoothed: Float[Array, "*sweep"]
    plateau_ratio: Float[Array, "*sweep"]
    checkpoint_ratio: Float[Array, "*sweep"]
    checkpoint: Float[Array, "*sweep"]
    recent: Float[Array, "*sweep window"]
    count: Int[Array, "*sweep"]
    rtol: Float[Array, "*sweep"] | None = None


class AbstractController(eqx.Module):
    """Decides K epoch by epoch. Subclasses are final and hold array leaves only."""

    limits: ClassVar[Mapping[str, Limits]]
    optional: ClassVar[frozenset[str]] = frozenset()

    @abc.abstractmethod
    def first(self) -> Int[Array, ""]:
        """K of the first epoch."""

    def first_rtol(self) -> Float[Array, ""] | None:
        """The tolerance of the first epoch's solves; None where only K counts."""
        return None

    @abc.abstractmethod
    def update(self, metric: Any, state: ControllerState) -> ControllerState:
        """Take one value of the metric (a scalar, lower is better) and decide K of the next epoch."""

    @abc.abstractmethod
    def reconcile(self, state: ControllerState) -> ControllerState:
        """Bring `state` into line with this controller after its values were edited."""

    def init(self) -> ControllerState:
        """The state before any metric was seen."""
        number = jnp.asarray(jnp.nan, jnp.result_type(float))
        return ControllerState(
            iterations=self.first(),
            refined=jnp.asarray(False),
            reason=jnp.asarray(Reason.COLLECTING, jnp.int32),
            smoothed=number,
            plateau_ratio=number,
            checkpoint_ratio=number,
            checkpoint=jnp.full_like(number, jnp.inf),
            recent=jnp.full((LONGEST_WINDOW,), jnp.nan, number.dtype),
            count=jnp.asarray(0, jnp.int32),
            rtol=self.first_rtol(),
        )

    def __check_init__(self):
        """Refuse values outside the limits. Traced values cannot be looked at and are taken as they are."""
        values = {name: getattr(self, name) for name in self.limits}
        values = {name: value for name, value in values.items() if value is not None or name not in self.optional}
        if not any(isinstance(value, Tracer) for value in values.values()):
            check_values(type(self), values)


def _real(value: Any) -> Any:
    return _leaf(value, jnp.result_type(float))


def _whole(value: Any) -> Any:
    return _leaf(value, jnp.int32)


def _leaf(value: Any, dtype: Any) -> Any:
    if isinstance(value, Tracer):
        return value.astype(dtype)
    # In NumPy, where nothing needs to be compiled. What is no number, or no whole one, is left as it is for
    # `__check_init__` to refuse in words.
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            return value
        with np.errstate(invalid="ignore", over="ignore"):
            converted = array.astype(dtype)
    except (TypeError, ValueError, OverflowError):
        return value
    changed = dtype == jnp.int32 and np.any(converted != array)
    return value if changed else jnp.asarray(converted)


class AbstractPRDP(AbstractController):
    """When PRDP refines; its subclasses say what. The four values below are explained at `PRDP`."""

    tau_step: Float[Array, "*sweep"] = eqx.field(converter=_real, default=0.98)
    tau_stop: Float[Array, "*sweep"] = eqx.field(converter=_real, default=0.9)
    window: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=3)
    ema_window: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=6)

    @abc.abstractmethod
    def refine(self, state: ControllerState) -> tuple[Int[Array, ""], Float[Array, ""] | None]:
        """K and the tolerance after a refinement."""

    def start_checkpoint(self, metric: Float[Array, ""]) -> Float[Array, ""]:
        """s_checkpoint before any refinement, given the value before training: infinite."""
        return jnp.full_like(metric, jnp.inf)

    def update(self, metric: Any, state: ControllerState) -> ControllerState:
        return _update_prdp(self, jnp.asarray(metric, state.smoothed.dtype), state)


class PRDP(AbstractPRDP):
    """Progressive refinement with incomplete convergence.

    With the metric smoothed by an exponential moving average s (alpha = 2 / (ema_window + 1)):

    1. plateau ratio r = s_e / s_(e - window + 1): while r <= `tau_step`, training improves and K stays;
    2. otherwise checkpoint ratio r_c = s_e / s_checkpoint, with s_checkpoint the value at the last refinement
       (at first infinite): if r_c < `tau_stop` the last refinement was worth it, if r_c > 1 training diverges; in both
       cases K <- min(K + `step`, `maximum`) and s_checkpoint <- s_e. Otherwise further refinement is superfluous.

    The decision is made, reported and moves the checkpoint also when K has reached its maximum. The moving average is
    the recursion s <- s + alpha (m - s), which unlike the closed form holds for histories of any length.

    **Arguments:** (all array leaves; scalars, or of one shared shape for a sweep under `jax.vmap`)

    - `tau_step`: threshold of the plateau ratio. Smaller refines sooner: less is saved, training progresses faster.
    - `tau_stop`: threshold of the checkpoint ratio. Smaller stops refining earlier.
    - `window`: values compared by the plateau ratio, both ends counted; 2 to 64.
    - `ema_window`: width w of the moving average in epochs; 1 does not smooth. An edit acts from the next value.
    - `initial`, `step`, `maximum`: K of the first epoch, its increment, its upper bound.
    - `compare_with_start`: 1 takes the value before training as the first s_checkpoint, as published for heat 2D, so
      that the first refinement must be worth it, too; 0, the default, takes infinity.

    **Raises:** `ValueError` for a value out of range.
    """

    initial: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=1)
    step: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=1)
    maximum: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=25)
    compare_with_start: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=0)

    limits: ClassVar[Mapping[str, Limits]] = {
        **_DECISION_LIMITS,
        "initial": Limits(*_iterations, "inner iterations K of the first epoch"),
        "step": Limits(*_iterations, "inner iterations added by each refinement"),
        "maximum": Limits(*_iterations, "largest number of inner iterations"),
        "compare_with_start": Limits(int, 0, 1, "1 has also the first refinement be worth it, 0 has not"),
    }

    def first(self) -> Int[Array, ""]:
        return jnp.minimum(self.initial, self.maximum)

    def start_checkpoint(self, metric: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.where(self.compare_with_start > 0, metric, jnp.inf)

    def refine(self, state: ControllerState) -> tuple[Int[Array, ""], None]:
        return jnp.minimum(state.iterations + self.step, self.maximum), None

    def reconcile(self, state: ControllerState) -> ControllerState:
        return eqx.tree_at(lambda s: s.iterations, state, jnp.minimum(state.iterations, self.maximum))


class TolerancePRDP(AbstractPRDP):
    """`PRDP` that refines the inner solver's tolerance instead of K: rtol <- max(rtol `rtol_factor`, `rtol_floor`).

    When to refine is decided as by `PRDP`. A solve ends once ‖b - A u‖ <= rtol ‖b‖, or after `maximum` iterations; what
    an epoch costs is the iterations that its solves then used.

    **Arguments:** (all array leaves)

    - `tau_step`, `tau_stop`, `window`, `ema_window`: as of `PRDP`.
    - `rtol_initial`, `rtol_factor`, `rtol_floor`: the tolerance of the first epoch, what each refinement multiplies it
      by, and its lower bound; relative, non-dimensional.
    - `maximum`: the most iterations of a solve.

    **Raises:** `ValueError` for a value out of range.
    """

    rtol_initial: Float[Array, "*sweep"] = eqx.field(converter=_real, default=0.3)
    rtol_factor: Float[Array, "*sweep"] = eqx.field(converter=_real, default=0.5)
    rtol_floor: Float[Array, "*sweep"] = eqx.field(converter=_real, default=1e-5)
    maximum: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=25)

    limits: ClassVar[Mapping[str, Limits]] = {
        **_DECISION_LIMITS,
        "rtol_initial": Limits(float, 0, 1, "relative tolerance of the first epoch's solves", above=True),
        "rtol_factor": Limits(float, 0, 1, "each refinement multiplies the tolerance by this", above=True),
        "rtol_floor": Limits(float, 0, 1, "smallest relative tolerance", above=True),
        "maximum": Limits(*_iterations, "largest number of inner iterations"),
    }

    def first(self) -> Int[Array, ""]:
        return jnp.array(self.maximum, copy=True)

    def first_rtol(self) -> Float[Array, ""]:
        return jnp.maximum(self.rtol_initial, self.rtol_floor)

    def refine(self, state: ControllerState) -> tuple[Int[Array, ""], Float[Array, ""]]:
        return state.iterations, jnp.maximum(cast(Array, state.rtol) * self.rtol_factor, self.rtol_floor)

    def reconcile(self, state: ControllerState) -> ControllerState:
        return eqx.tree_at(
            lambda s: (s.iterations, s.rtol),
            state,
            (self.first(), jnp.maximum(cast(Array, state.rtol), self.rtol_floor)),
        )


@jax.jit  # so that plain Python use does not dispatch twenty operations one by one
def _update_prdp(controller: AbstractPRDP, metric: Float[Array, ""], state: ControllerState) -> ControllerState:
    alpha = 2.0 / (controller.ema_window + 1.0)
    smoothed = jnp.where(state.count == 0, metric, (1.0 - alpha) * state.smoothed + alpha * metric).astype(metric.dtype)
    recent = state.recent.at[state.count % LONGEST_WINDOW].set(smoothed)
    count = state.count + 1

    enough = count > controller.window
    compared = recent[(count - controller.window) % LONGEST_WINDOW]
    plateau_ratio = jnp.where(enough, smoothed / compared, jnp.nan)
    improving = plateau_ratio <= controller.tau_step
    plateaued = enough & ~improving

    checkpoint = jnp.where(state.count == 0, controller.start_checkpoint(metric), state.checkpoint)
    checkpoint_ratio = jnp.where(plateaued, smoothed / checkpoint, jnp.nan)
    worthwhile = checkpoint_ratio < controller.tau_stop
    diverging = checkpoint_ratio > 1.0
    refined = worthwhile | diverging
    reason = jnp.select(
        [~enough, improving, worthwhile, diverging],
        [Reason.COLLECTING, Reason.IMPROVING, Reason.WORTHWHILE, Reason.DIVERGING],
        Reason.SUPERFLUOUS,
    )
    iterations, rtol = controller.refine(state)
    return ControllerState(
        iterations=jnp.where(refined, iterations, state.iterations),
        refined=refined,
        reason=reason.astype(jnp.int32),
        smoothed=smoothed,
        plateau_ratio=plateau_ratio,
        checkpoint_ratio=checkpoint_ratio,
        checkpoint=jnp.where(refined, smoothed, checkpoint),
        recent=recent,
        count=count,
        rtol=None if rtol is None else jnp.where(refined, rtol, cast(Array, state.rtol)),
    )


def _after(state: ControllerState, metric: Any, iterations: Array, reason: Reason) -> ControllerState:
    """The next state of a controller that does not look at the metric."""
    metric = jnp.asarray(metric, state.smoothed.dtype)
    return eqx.tree_at(
        lambda s: (s.iterations, s.refined, s.reason, s.smoothed, s.count),
        state,
        (
            iterations,
            iterations > state.iterations,
            jnp.full_like(state.reason, reason),
            metric,
            state.count + 1,
        ),
    )


class Constant(AbstractController):
    """The same K in every epoch; with K = K_full this is full physics.

    **Arguments:**

    - `iterations`: K, an array leaf. Left out, `train`, the engine and the command line take the preset's K_full; a
      `Constant` that is used by itself needs a number.
    """

    iterations: Int[Array, "*sweep"] | None = eqx.field(
        converter=lambda value: None if value is None else _whole(value), default=None
    )

    limits: ClassVar[Mapping[str, Limits]] = {
        "iterations": Limits(*_iterations, "inner iterations K of every epoch"),
    }
    optional: ClassVar[frozenset[str]] = frozenset({"iterations"})

    def first(self) -> Int[Array, ""]:
        if self.iterations is None:
            raise ValueError("`Constant()` needs a number of iterations here, such as Constant(25).")
        return self.iterations

    def update(self, metric: Any, state: ControllerState) -> ControllerState:
        return _after(state, metric, self.first(), Reason.FIXED)

    def reconcile(self, state: ControllerState) -> ControllerState:
        # A copy, since the engine donates a state's memory while it keeps the controller.
        return eqx.tree_at(lambda s: s.iterations, state, jnp.array(self.first(), copy=True))


class Scheduled(AbstractController):
    """K grows with the epochs, whatever the metric does: K_n = min(floor(initial factor^n) + step n, maximum).

    n counts the periods of `every` epochs that are over. `Scheduled.linear` and `Scheduled.geometric` name the two
    usual cases. All fields are array leaves.
    """

    initial: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=1)
    step: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=1)
    factor: Float[Array, "*sweep"] = eqx.field(converter=_real, default=1.0)
    every: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=10)
    maximum: Int[Array, "*sweep"] = eqx.field(converter=_whole, default=25)

    limits: ClassVar[Mapping[str, Limits]] = {
        "initial": Limits(*_iterations, "inner iterations K of the first epoch"),
        "step": Limits(int, 0, LARGEST_ITERATIONS, "inner iterations added by each period"),
        "factor": Limits(float, 1, 100, "K is multiplied by this in each period"),
        "every": Limits(int, 1, 1_000_000, "epochs of a period"),
        "maximum": Limits(*_iterations, "largest number of inner iterations"),
    }

    @classmethod
    def linear(cls, *, initial: Any = 1, step: Any = 1, every: Any = 10, maximum: Any = 25) -> "Scheduled":
        """K = min(initial + step n, maximum)."""
        return cls(initial=initial, step=step, factor=1.0, every=every, maximum=maximum)

    @classmethod
    def geometric(cls, *, initial: Any = 1, factor: Any = 2.0, every: Any = 20, maximum: Any = 25) -> "Scheduled":
        """K = min(floor(initial factor^n), maximum)."""
        return cls(initial=initial, step=0, factor=factor, every=every, maximum=maximum)

    def _at(self, epochs: Int[Array, ""]) -> Int[Array, ""]:
        periods = epochs // self.every
        # Compared before the conversion, since a large power overflows int32. The small addend keeps 2.0**3 from
        # becoming 7 where the power is a rounding error short.
        grown = jnp.floor(jnp.minimum(self.initial * self.factor**periods, self.maximum) + 1e-3)
        return jnp.minimum(grown.astype(jnp.int32) + self.step * periods, self.maximum)

    def first(self) -> Int[Array, ""]:
        return self._at(jnp.zeros_like(self.every))

    def update(self, metric: Any, state: ControllerState) -> ControllerState:
        return _after(state, metric, self._at(state.count), Reason.SCHEDULED)

    def reconcile(self, state: ControllerState) -> ControllerState:
        # `count` includes the value before training, hence the epochs that are over are one fewer.
        return eqx.tree_at(lambda s: s.iterations, state, self._at(jnp.maximum(state.count - 1, 0)))


KINDS: Mapping[str, type[AbstractController]] = {
    "prdp": PRDP,
    "constant": Constant,
    "scheduled": Scheduled,
    "prdp-tolerance": TolerancePRDP,
}
"""The controllers that can be named in settings, links and files."""


class AnyController(AbstractController):
    """One of the controllers of K, chosen by a traced number.

    PRDP and full physics then have the same tree of leaves, so that a compiled training step serves both.
    """

    kinds: ClassVar[tuple[type[AbstractController], ...]] = (PRDP, Constant, Scheduled)

    kind: Int[Array, ""]
    options: tuple[AbstractController, ...]

    limits: ClassVar[Mapping[str, Limits]] = {}

    @classmethod
    def of(cls, controller: AbstractController) -> "AnyController":
        """Wrap `controller`, which must be one of `kinds`."""
        options: list[AbstractController] = [PRDP(), Constant(1), Scheduled()]
        index = cls.kinds.index(type(controller))
        options[index] = controller
        return cls(jnp.asarray(np.int32(index)), tuple(options))

    def first(self) -> Int[Array, ""]:
        return jax.lax.switch(self.kind, [lambda option=option: option.first() for option in self.options])

    def update(self, metric: Any, state: ControllerState) -> ControllerState:
        return jax.lax.switch(
            self.kind, [lambda m, s, o=option: o.update(m, s) for option in self.options], metric, state
        )

    def reconcile(self, state: ControllerState) -> ControllerState:
        return jax.lax.switch(self.kind, [lambda s, o=option: o.reconcile(s) for option in self.options], state)


def check_values(kind: type[AbstractController], values: Mapping[str, Any]) -> None:
    """Check the values of a controller without building it (hence without JAX).

    **Raises:** `ValueError`, naming the setting, what was expected and what was got.
    """
    for name, value in values.items():
        if name not in kind.limits:
            known = ", ".join(kind.limits)
            raise ValueError(f"`{name}` is no setting of {kind.__name__}; its settings are {known}.")
        kind.limits[name].check(name, value)
    for low, high in (("initial", "maximum"), ("rtol_floor", "rtol_initial")):
        if low in values and high in values and np.any(np.asarray(values[low]) > values[high]):
            raise ValueError(
                f"`{low}` must not exceed `{high}`; got {low} {values[low]!s} and {high} {values[high]!s}. "
                "Lower the one or raise the other."
            )


def values_of(controller: AbstractController) -> dict[str, float | int]:
    """The values of a controller as plain numbers, for JSON: 0.98 and not 0.9800000190734863.

    **Raises:** `ValueError` for a controller of many settings at once.
    """
    plain: dict[str, float | int] = {}
    for name, limits in controller.limits.items():
        value = getattr(controller, name)
        if value is not None:
            array = np.asarray(value)
            plain[name] = limits.number(name, array.tolist() if array.ndim or limits.kind is int else float(str(array)))
    return plain


def explain(
    reason: int,
    *,
    refined: bool,
    plateau_ratio: float,
    checkpoint_ratio: float,
    tau_step: float,
    tau_stop: float,
    iterations_before: int,
    iterations_after: int,
    rtol_before: float = math.nan,
    rtol_after: float = math.nan,
) -> str:
    """One sentence for people that says what a controller decided and why. A tolerance that is NaN plays no role."""
    stays = "K stays" if math.isnan(rtol_before) else "the tolerance stays"
    match Reason(reason):
        case Reason.FIXED:
            return "K is fixed."
        case Reason.SCHEDULED:
            return f"The schedule raises K to {iterations_after}." if refined else "The schedule keeps K."
        case Reason.COLLECTING:
            return "Collecting values until the window is full."
        case Reason.IMPROVING:
            return f"Still improving: r = {plateau_ratio:.3f} is at most τ_step = {tau_step:g}, so {stays}."
    if math.isnan(plateau_ratio):
        return f"The metric is not a number, so {stays}."
    plateaued = f"Plateau: r = {plateau_ratio:.3f} exceeds τ_step = {tau_step:g}"
    if reason == Reason.SUPERFLUOUS:
        if math.isnan(checkpoint_ratio):
            return f"{plateaued}, but the checkpoint ratio is not a number, so {stays}."
        return (
            f"{plateaued}, but r_c = {checkpoint_ratio:.3f} is not below τ_stop = {tau_stop:g}: "
            "further refinement would be superfluous."
        )
    if not math.isnan(rtol_before):
        fell = f"The tolerance falls from {rtol_before:.2g} to {rtol_after:.2g}."
        outcome = fell if rtol_after != rtol_before else f"The tolerance is at its floor of {rtol_after:.2g}."
    elif iterations_after != iterations_before:
        outcome = f"K rises from {iterations_before} to {iterations_after}."
    else:
        outcome = f"K is at its maximum of {iterations_after}."
    if reason == Reason.DIVERGING:
        return f"{plateaued} and r_c = {checkpoint_ratio:.3f} exceeds 1 (the error grows). {outcome}"
    return f"{plateaued} and r_c = {checkpoint_ratio:.3f} is below τ_stop = {tau_stop:g}. {outcome}"
