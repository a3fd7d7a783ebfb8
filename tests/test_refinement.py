"""Controllers against an independent recursion in NumPy, and their properties."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prdp_explorer.refinement import (
    KINDS,
    PRDP,
    AbstractController,
    AnyController,
    Constant,
    Reason,
    Scheduled,
    TolerancePRDP,
    check_values,
    explain,
    values_of,
)

LARGEST = {"window": 64, "compare_with_start": 1} | dict.fromkeys(("ema_window", "initial", "step", "maximum"), 10_000)
"""Of the settings that are whole numbers; the others are ratios, above 0 and at most 1."""

SMALLEST = {"window": 2, "compare_with_start": 0}
"""Of those that are not from 1 on."""


def bad_value(name: str, kind: str) -> Any:
    """A value that a setting of a smoothing controller must refuse."""
    ratio = name not in LARGEST
    return {
        "below": 0 if ratio else SMALLEST.get(name, 1) - 1,
        "above": LARGEST.get(name, 1) + 1,
        "nan": math.nan,
        "infinite": math.inf,
        "text": "3",
        "flag": True,
        "nothing": None,
    }[kind]


every_bad_value = pytest.mark.parametrize("kind", ["below", "above", "nan", "infinite", "text", "flag", "nothing"])


@jax.jit
def scan(controller: AbstractController, history: Any) -> Any:
    """Feed a whole history; the states after each value, stacked."""

    def step(state, metric):
        state = controller.update(metric, state)
        return state, state

    return jax.lax.scan(step, controller.init(), history)[1]


def reference(
    history: Sequence[float] | np.ndarray, edits: Mapping[int, Mapping[str, float]] | None = None, **values: Any
) -> tuple[list[int], list[int]]:
    """Epochs of refinement and K after each value, as `paper.md` states the method, in float64.

    `edits` are new values by the index of the first value that they act on.
    """
    usual: dict[str, Any] = {"tau_step": 0.98, "tau_stop": 0.9, "window": 3, "ema_window": 6, "step": 1, "maximum": 25}
    values = usual | values
    compare_with_start = values.pop("compare_with_start", 0)
    iterations, checkpoint = values.pop("initial", 1), float(history[0]) if compare_with_start else math.inf
    smoothed: list[float] = []
    refined, all_iterations = [], []
    for epoch, metric in enumerate(np.asarray(history, np.float64).tolist()):
        values |= (edits or {}).get(epoch, {})
        alpha = 2 / (values["ema_window"] + 1)
        smoothed.append(metric if epoch == 0 else smoothed[-1] + alpha * (metric - smoothed[-1]))
        if epoch + 1 > values["window"]:
            plateau_ratio = smoothed[epoch] / smoothed[epoch - values["window"] + 1]
            checkpoint_ratio = smoothed[epoch] / checkpoint
            if plateau_ratio > values["tau_step"] and (checkpoint_ratio < values["tau_stop"] or checkpoint_ratio > 1):
                refined.append(epoch)
                checkpoint = smoothed[epoch]
                iterations = min(iterations + values["step"], values["maximum"])
        all_iterations.append(iterations)
    return refined, all_iterations


def refined_at(states: Any) -> list[int]:
    return np.flatnonzero(states.refined).tolist()


def last(states: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[-1], states)


def noisy_decay(length: int, seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """Falls by a third every thousand epochs, with relative noise."""
    random = np.random.default_rng(seed)
    return np.exp(-np.arange(length) / 2500) * (1 + noise * random.normal(size=length))


class TestPRDP:
    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("seed", [0, 1])
    @pytest.mark.parametrize("ema_window", [1, 2, 6, 40])
    def test_ten_thousand_values_decide_like_the_recursion(self, ema_window, seed):
        history = noisy_decay(10_000, seed)
        values = {"ema_window": ema_window, "tau_step": 0.999, "maximum": 10_000}
        refined, iterations = reference(history, **values)
        states = scan(PRDP(**values), history)
        assert refined_at(states) == refined
        assert states.iterations.tolist() == iterations
        assert refined[-1] > 9_000
        assert len(refined) > 30

    @pytest.mark.parametrize("ema_window", [1, 6])
    def test_late_refinement_also_in_single_precision(self, ema_window):
        states = scan(PRDP(ema_window=ema_window), noisy_decay(10_000).astype(np.float32))
        assert refined_at(states)[-1] > 9_000

    @pytest.mark.usefixtures("float64")
    def test_plain_python_jit_and_scan_agree(self):
        history = noisy_decay(60, noise=0.2)
        controller = PRDP(window=2, ema_window=3, step=3, maximum=11)
        states = scan(controller, history)
        state, compiled_state = controller.init(), controller.init()
        update = jax.jit(lambda controller, metric, state: controller.update(metric, state))
        for epoch, metric in enumerate(history):
            state = controller.update(float(metric), state)
            compiled_state = update(controller, metric, compiled_state)
            for leaf, same, scanned in zip(*map(jax.tree.leaves, (state, compiled_state, states)), strict=True):
                np.testing.assert_allclose(leaf, scanned[epoch], rtol=1e-12)
                np.testing.assert_allclose(same, scanned[epoch], rtol=1e-12)

    @pytest.mark.usefixtures("float64")
    def test_vmapped_sweep_over_every_field_equals_solo_runs(self):
        history = noisy_decay(120, noise=0.1)
        random = np.random.default_rng(3)
        sweep = {
            "tau_step": random.uniform(0.8, 1, 12),
            "tau_stop": random.uniform(0.7, 1, 12),
            "window": random.integers(2, 20, 12),
            "ema_window": random.integers(1, 12, 12),
            "initial": random.integers(1, 4, 12),
            "step": random.integers(1, 4, 12),
            "maximum": random.integers(4, 30, 12),
            "compare_with_start": np.arange(12) % 2,
        }
        states = jax.vmap(lambda controller: scan(controller, history))(PRDP(**sweep))
        decided = 0
        for lane in range(12):
            refined, iterations = reference(history, **{name: column[lane].item() for name, column in sweep.items()})
            assert np.flatnonzero(states.refined[lane]).tolist() == refined
            assert states.iterations[lane].tolist() == iterations
            decided += len(refined)
        assert decided > 40

    def test_without_smoothing_the_metric_is_taken_as_it_is(self):
        history = noisy_decay(30).astype(np.float32)
        assert scan(PRDP(ema_window=1), history).smoothed.tolist() == history.tolist()

    @pytest.mark.parametrize("window", [2, 5, 64])
    def test_nothing_is_decided_before_more_than_window_values_were_seen(self, window):
        states = scan(PRDP(window=window), np.ones(70))
        assert refined_at(states)[0] == window
        assert np.isnan(states.plateau_ratio[:window]).all()
        assert states.reason[:window].tolist() == [Reason.COLLECTING] * window

    def test_decisions_and_checkpoint_ignore_that_the_maximum_is_reached(self):
        history = noisy_decay(3_000)
        free, bounded = scan(PRDP(maximum=10_000), history), scan(PRDP(maximum=3), history)
        assert len(refined_at(free)) > 5
        assert refined_at(bounded) == refined_at(free)
        assert bounded.checkpoint.tolist() == free.checkpoint.tolist()
        assert bounded.iterations.tolist() == np.minimum(free.iterations, 3).tolist()

    @pytest.mark.parametrize("ema_window", [1, 2, 6, 7, 20])
    @pytest.mark.parametrize("value", [1.0, 0.3, 5e-5])
    def test_a_metric_that_stands_still_refines_once(self, value, ema_window):
        """Rounding must not look like an error that grows."""
        states = scan(PRDP(ema_window=ema_window), np.full(300, value, np.float32))
        assert refined_at(states) == [3]

    def test_first_iterations_and_increment(self):
        controller = PRDP(initial=25, step=10, maximum=600, window=2, ema_window=1)
        assert controller.init().iterations == 25
        assert scan(controller, np.ones(3)).iterations.tolist() == [25, 25, 35]

    @pytest.mark.parametrize(
        ("history", "reason", "refines"),
        [
            ([1, 0.5, 0.25], Reason.IMPROVING, False),
            ([1, 1, 1], Reason.WORTHWHILE, True),
            ([1, 1, 1, 0.95, 0.95], Reason.SUPERFLUOUS, False),
            ([1, 1, 1, 0.5, 0.5], Reason.WORTHWHILE, True),
            ([1, 1, 1, 1.5], Reason.DIVERGING, True),
            ([1, 1], Reason.COLLECTING, False),
            ([1, 1, 0.98], Reason.IMPROVING, False),
        ],
    )
    def test_reason_of_the_last_decision(self, history, reason, refines):
        states = scan(PRDP(window=2, ema_window=1), np.asarray(history, np.float32))
        assert Reason(int(states.reason[-1])) is reason
        assert bool(states.refined[-1]) is refines

    def test_ratios_are_reported_where_they_were_evaluated(self):
        states = scan(PRDP(window=2, ema_window=1), np.array([1, 1, 1, 0.5, 0.5]))
        assert states.plateau_ratio[2:].tolist() == [1, 0.5, 1]
        assert states.checkpoint_ratio.tolist()[2::2] == [0, 0.5]
        assert np.isnan(states.checkpoint_ratio[3])

    @pytest.mark.parametrize("ema_window", [1, 6])
    @pytest.mark.parametrize("epoch", [0, 1, 10, 49])
    def test_a_metric_that_is_not_a_number_never_refines(self, epoch, ema_window):
        history = np.ones(50)
        history[epoch] = np.nan
        states = scan(PRDP(ema_window=ema_window), history)
        assert epoch not in refined_at(states)
        if ema_window > 1:
            assert not any(later > epoch for later in refined_at(states))
            assert np.isnan(states.smoothed[epoch:]).all()

    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize(
        "edit",
        [
            {"window": 7},
            {"window": 2},
            {"ema_window": 1},
            {"ema_window": 30},
            {"tau_step": 0.8},
            {"tau_stop": 0.99},
            {"step": 5},
            {"tau_step": 0.9, "window": 12, "ema_window": 2},
        ],
        ids=str,
    )
    def test_an_edited_leaf_acts_from_the_next_value(self, edit):
        history, epoch = noisy_decay(80, seed=4, noise=0.3), 30
        values = {"window": 4, "ema_window": 5, "tau_stop": 0.95, "maximum": 100}
        controller = PRDP(**values)
        state = controller.init()
        iterations = []
        for index, metric in enumerate(history):
            if index == epoch:
                controller = replace(controller, **edit)
            state = controller.update(metric, state)
            iterations.append(int(state.iterations))
        undisturbed = reference(history, **values)[1]
        assert iterations == reference(history, {epoch: edit}, **values)[1]
        assert iterations[:epoch] == undisturbed[:epoch]
        assert iterations != undisturbed

    def test_a_lowered_maximum_bounds_a_reconciled_state_and_nothing_else(self):
        state = replace(last(scan(PRDP(), np.ones(4))), iterations=jnp.asarray(9))
        lowered = PRDP(maximum=5).reconcile(state)
        assert lowered.iterations == 5
        assert PRDP(maximum=12).reconcile(state).iterations == 9
        for before, after in zip(
            *map(jax.tree.leaves, (replace(state, iterations=jnp.asarray(5)), lowered)), strict=True
        ):
            np.testing.assert_array_equal(before, after)

    def test_one_trace_serves_all_values(self):
        traces = []

        @jax.jit
        def decide(controller, state):
            traces.append(None)
            return controller.update(1.0, state).iterations

        for number in range(2, 10):
            controller = PRDP(tau_step=1 / number, window=number, ema_window=number, initial=number, step=number)
            decide(controller, controller.init())
        assert len(traces) == 1

    @pytest.mark.parametrize("name", list(PRDP.limits))
    @every_bad_value
    def test_values_out_of_range_are_refused_by_name(self, name, kind):
        with pytest.raises(ValueError, match=f"`{name}`"):
            PRDP(**{name: bad_value(name, kind)})

    @pytest.mark.parametrize("name", LARGEST)
    @pytest.mark.parametrize("value", [2.5, 2**32 + 3, np.int64(2**32 + 3), 1e30])
    def test_whole_numbers_are_neither_rounded_nor_wrapped(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}`"):
            PRDP(**{name: value})

    @pytest.mark.parametrize("name", list(PRDP.limits))
    def test_the_ends_of_the_ranges_are_accepted(self, name):
        largest = LARGEST.get(name, 1)
        assert values_of(PRDP(**{"maximum": 10_000, name: largest}))[name] == largest
        smallest = SMALLEST.get(name, 1) if name in LARGEST else 1e-6
        assert values_of(PRDP(**{name: smallest}))[name] == smallest

    def test_one_bad_value_of_a_sweep_is_refused(self):
        with pytest.raises(ValueError, match="`window`"):
            PRDP(window=[3, 4, 65])

    def test_the_first_iterations_must_not_exceed_the_maximum(self):
        with pytest.raises(ValueError, match="`initial` must not exceed `maximum`"):
            PRDP(initial=7, maximum=6)
        assert PRDP(initial=7, maximum=7).init().iterations == 7

    def test_unknown_settings_are_refused(self):
        with pytest.raises(ValueError, match="`tau` is no setting of PRDP"):
            check_values(PRDP, {"tau": 0.5})


class TestComparedWithTheStart:
    """As published for heat 2D: the first refinement must be worth it, too."""

    @pytest.mark.parametrize(
        ("history", "ratio", "reason"),
        [
            ([1, 1, 1], 1, Reason.SUPERFLUOUS),
            ([2, 1.9, 1.9], 0.95, Reason.SUPERFLUOUS),
            ([2, 1, 1], 0.5, Reason.WORTHWHILE),
            ([1, 1.5, 1.5], 1.5, Reason.DIVERGING),
        ],
    )
    def test_the_first_refinement_is_measured_against_the_value_before_training(self, history, ratio, reason):
        states = scan(PRDP(window=2, ema_window=1, compare_with_start=1), np.asarray(history, np.float32))
        assert float(states.checkpoint_ratio[-1]) == pytest.approx(ratio)
        assert Reason(int(states.reason[-1])) is reason
        assert refined_at(states) == ([2] if reason in (Reason.WORTHWHILE, Reason.DIVERGING) else [])
        assert states.iterations[-1] == (2 if refined_at(states) else 1)

    @pytest.mark.parametrize("history", [[1, 1, 1], [2, 1.9, 1.9], [2, 1, 1], [1, 1.5, 1.5]])
    def test_by_default_the_first_refinement_needs_a_plateau_alone(self, history):
        states = scan(PRDP(window=2, ema_window=1), np.asarray(history, np.float32))
        assert refined_at(states) == [2]
        assert states.checkpoint_ratio[-1] == 0
        assert Reason(int(states.reason[-1])) is Reason.WORTHWHILE

    def test_the_value_compared_with_is_smoothed_like_all(self):
        """s_0 = m_0, whatever the smoothing; what it is compared with is not m but s."""
        history = np.array([1, 0.2, 0.2, 0.2, 0.2], np.float32)
        states = scan(PRDP(window=2, ema_window=3, tau_step=0.7, compare_with_start=1), history)
        smoothed = [1, 0.6, 0.4, 0.3, 0.25]
        np.testing.assert_allclose(states.smoothed, smoothed, rtol=1e-6)
        (first,) = refined_at(states)[:1]
        assert states.checkpoint_ratio[first] == pytest.approx(smoothed[first], rel=1e-6)

    def test_after_the_first_refinement_the_checkpoint_moves_as_ever(self):
        history = np.array([1, 0.5, 0.5, 0.5, 0.3, 0.3], np.float32)
        states = scan(PRDP(window=2, ema_window=1, compare_with_start=1), history)
        assert refined_at(states) == [2, 5]
        np.testing.assert_allclose(states.checkpoint_ratio[jnp.array([2, 3, 5])], [0.5, 1, 0.6], rtol=1e-6)

    @pytest.mark.usefixtures("float64")
    def test_long_histories_decide_like_the_recursion(self):
        history = np.concatenate([[1.2], noisy_decay(4_000, seed=5)])
        values = {"tau_step": 0.999, "tau_stop": 0.8, "window": 5, "maximum": 10_000}
        compared, free = (scan(PRDP(**values, compare_with_start=flag), history) for flag in (1, 0))
        assert refined_at(compared) == reference(history, **values, compare_with_start=1)[0]
        assert refined_at(free) == reference(history, **values)[0]
        assert refined_at(compared)[0] > refined_at(free)[0]


class TestTolerancePRDP:
    values: Mapping[str, Any] = {"window": 2, "ema_window": 1, "rtol_initial": 0.5, "rtol_factor": 0.25}

    def test_each_refinement_multiplies_the_tolerance_down_to_the_floor(self):
        history = np.repeat(0.5 ** np.arange(6), 3).astype(np.float32)
        states = scan(TolerancePRDP(**self.values, rtol_floor=0.01, maximum=30), history)
        assert refined_at(states) == [2, 4, 7, 10, 13, 16]
        expected = np.repeat([0.5, 0.125, 0.03125, 0.01], [2, 2, 3, 11])
        np.testing.assert_allclose(states.rtol, expected, rtol=1e-6)
        assert set(states.iterations.tolist()) == {30}

    def test_the_first_epoch_has_the_first_tolerance_and_all_iterations(self):
        state = TolerancePRDP(**self.values, maximum=30).init()
        assert (float(cast(Any, state.rtol)), int(state.iterations)) == (0.5, 30)

    def test_decisions_and_checkpoint_ignore_that_the_floor_is_reached(self):
        history = noisy_decay(3_000)
        free = scan(TolerancePRDP(rtol_factor=0.999, rtol_floor=1e-6), history)
        bounded = scan(TolerancePRDP(rtol_factor=0.1, rtol_floor=0.2), history)
        assert len(refined_at(free)) > 5
        assert refined_at(bounded) == refined_at(free)
        assert bounded.checkpoint.tolist() == free.checkpoint.tolist()
        assert bounded.rtol[-1] == np.float32(0.2)

    def test_a_factor_of_one_keeps_the_tolerance(self):
        states = scan(TolerancePRDP(rtol_factor=1, rtol_initial=0.3), noisy_decay(3_000))
        assert len(refined_at(states)) > 5
        assert set(states.rtol.tolist()) == {float(np.float32(0.3))}

    @pytest.mark.usefixtures("float64")
    def test_plain_python_jit_and_scan_agree(self):
        history = noisy_decay(60, noise=0.2)
        controller = TolerancePRDP(**self.values, rtol_floor=1e-3)
        states = scan(controller, history)
        state, compiled_state = controller.init(), controller.init()
        update = jax.jit(lambda controller, metric, state: controller.update(metric, state))
        for epoch, metric in enumerate(history):
            state = controller.update(float(metric), state)
            compiled_state = update(controller, metric, compiled_state)
            for leaf, same, scanned in zip(*map(jax.tree.leaves, (state, compiled_state, states)), strict=True):
                np.testing.assert_allclose(leaf, scanned[epoch], rtol=1e-12)
                np.testing.assert_allclose(same, scanned[epoch], rtol=1e-12)
        assert len(refined_at(states)) > 2

    @pytest.mark.usefixtures("float64")
    def test_vmapped_sweep_over_every_field_equals_the_recursion(self):
        history = noisy_decay(120, noise=0.1)
        random = np.random.default_rng(3)
        sweep = {
            "tau_step": random.uniform(0.8, 1, 12),
            "tau_stop": random.uniform(0.7, 1, 12),
            "window": random.integers(2, 20, 12),
            "ema_window": random.integers(1, 12, 12),
            "rtol_initial": random.uniform(0.1, 1, 12),
            "rtol_factor": random.uniform(0.1, 1, 12),
            "rtol_floor": random.uniform(1e-4, 0.1, 12),
            "maximum": random.integers(4, 30, 12),
        }
        assert set(sweep) == set(TolerancePRDP.limits)
        states = jax.vmap(lambda controller: scan(controller, history))(TolerancePRDP(**sweep))
        decided = 0
        for lane in range(12):
            values = {name: column[lane].item() for name, column in sweep.items()}
            refined, _ = reference(
                history, **{name: values[name] for name in ("tau_step", "tau_stop", "window", "ema_window")}
            )
            assert np.flatnonzero(states.refined[lane]).tolist() == refined
            assert set(states.iterations[lane].tolist()) == {values["maximum"]}
            steps = np.cumsum(np.isin(np.arange(120), refined))
            expected = np.maximum(values["rtol_initial"] * values["rtol_factor"] ** steps, values["rtol_floor"])
            np.testing.assert_allclose(states.rtol[lane], expected, rtol=1e-9)
            decided += len(refined)
        assert decided > 40

    def test_one_trace_serves_all_values(self):
        traces = []

        @jax.jit
        def decide(controller, state):
            traces.append(None)
            return controller.update(1.0, state).rtol

        for number in range(2, 10):
            controller = TolerancePRDP(
                tau_step=1 / number, window=number, rtol_initial=1 / number, rtol_factor=1 / number, maximum=number
            )
            decide(controller, controller.init())
        assert len(traces) == 1

    @pytest.mark.parametrize("edit", [{"rtol_factor": 0.9}, {"rtol_floor": 0.1}, {"window": 5}, {"tau_stop": 0.4}])
    def test_an_edited_leaf_acts_from_the_next_value(self, edit):
        history = np.repeat(0.5 ** np.arange(5), 3).astype(np.float32)
        controller = TolerancePRDP(**self.values, rtol_floor=1e-3)
        undisturbed = scan(controller, history)
        state, tolerances = controller.init(), []
        for index, metric in enumerate(history):
            if index == 4:
                controller = replace(controller, **edit)
            state = controller.update(metric, state)
            tolerances.append(float(cast(Any, state.rtol)))
        assert tolerances[:4] == undisturbed.rtol[:4].tolist()
        assert tolerances != undisturbed.rtol.tolist()

    def test_a_reconciled_state_keeps_within_the_edited_bounds(self):
        controller = TolerancePRDP(**self.values, rtol_floor=1e-3, maximum=20)
        state = last(scan(controller, np.ones(4, np.float32)))
        assert float(state.rtol) == 0.125

        def reconciled(**changes: Any) -> tuple[float, int]:
            after = replace(controller, **changes).reconcile(state)
            return float(cast(Any, after.rtol)), int(after.iterations)

        assert reconciled() == (0.125, 20)
        assert reconciled(rtol_floor=0.25) == (0.25, 20)
        assert reconciled(rtol_floor=0.01) == (0.125, 20)
        assert reconciled(maximum=7) == (0.125, 7)
        assert reconciled(maximum=70) == (0.125, 70)
        assert reconciled(rtol_factor=0.9, tau_step=0.5) == (0.125, 20)

    def test_reconciling_changes_nothing_else(self):
        controller = TolerancePRDP(**self.values, rtol_floor=0.01)
        state = last(scan(controller, np.ones(4, np.float32)))
        after = replace(controller, rtol_floor=0.4, maximum=7).reconcile(state)
        expected = replace(state, rtol=jnp.asarray(np.float32(0.4)), iterations=jnp.asarray(7))
        for leaf, same in zip(*map(jax.tree.leaves, (after, expected)), strict=True):
            np.testing.assert_array_equal(leaf, same)

    @pytest.mark.parametrize("name", list(TolerancePRDP.limits))
    @every_bad_value
    def test_values_out_of_range_are_refused_by_name(self, name, kind):
        with pytest.raises(ValueError, match=f"`{name}`"):
            TolerancePRDP(**{name: bad_value(name, kind)})

    @pytest.mark.parametrize("name", list(TolerancePRDP.limits))
    def test_the_ends_of_the_ranges_are_accepted(self, name):
        largest = LARGEST.get(name, 1)
        assert values_of(TolerancePRDP(**{"rtol_initial": 1, name: largest}))[name] == largest
        smallest = SMALLEST.get(name, 1) if name in LARGEST else 1e-6
        assert values_of(TolerancePRDP(**{"rtol_floor": 1e-6, name: smallest}))[name] == smallest

    def test_the_floor_must_not_exceed_the_first_tolerance(self):
        with pytest.raises(
            ValueError,
            match=r"`rtol_floor` must not exceed `rtol_initial`; got rtol_floor 0\.2 and rtol_initial 0\.1\.",
        ):
            TolerancePRDP(rtol_initial=0.1, rtol_floor=0.2)
        assert TolerancePRDP(rtol_initial=0.2, rtol_floor=0.2).init().rtol == np.float32(0.2)
        with pytest.raises(ValueError, match="`rtol_floor` must not exceed"):
            TolerancePRDP(rtol_initial=[0.3, 0.1], rtol_floor=[0.2, 0.2])

    @pytest.mark.parametrize("name", ["initial", "step", "iterations", "rtol", "compare_with_start"])
    def test_settings_of_k_are_refused(self, name):
        with pytest.raises(ValueError, match=f"`{name}` is no setting of TolerancePRDP"):
            check_values(TolerancePRDP, {name: 1})

    @pytest.mark.parametrize("controller", [PRDP(), Constant(3), Scheduled()], ids=lambda c: type(c).__name__)
    def test_the_others_have_no_tolerance(self, controller):
        assert controller.init().rtol is None
        assert controller.update(1.0, controller.init()).rtol is None
        assert controller.reconcile(controller.init()).rtol is None


thresholds = st.floats(0.5, 1, width=32)
controllers = st.builds(
    PRDP,
    tau_step=thresholds,
    tau_stop=thresholds,
    window=st.integers(2, 10),
    ema_window=st.integers(1, 10),
    initial=st.integers(1, 5),
    step=st.integers(1, 5),
    maximum=st.integers(5, 30),
    compare_with_start=st.integers(0, 1),
)
tolerance_controllers = st.builds(
    TolerancePRDP,
    tau_step=thresholds,
    tau_stop=thresholds,
    window=st.integers(2, 10),
    ema_window=st.integers(1, 10),
    rtol_initial=st.floats(2**-6, 1, width=32),
    rtol_factor=st.floats(2**-6, 1, width=32),
    rtol_floor=st.floats(2**-20, 2**-7, width=32),
)
histories = st.lists(st.floats(2**-20, 2**20, width=32), min_size=40, max_size=40).map(
    lambda values: np.asarray(values, np.float32)
)
few_examples = settings(max_examples=60, deadline=None)


class TestPRDPProperties:
    @few_examples
    @given(controllers, histories)
    def test_k_never_falls_and_stays_within_its_bounds(self, controller, history):
        iterations = np.asarray(scan(controller, history).iterations)
        assert (np.diff(iterations) >= 0).all()
        assert iterations[0] == controller.initial
        assert iterations[-1] <= controller.maximum

    @few_examples
    @given(controllers, histories)
    def test_k_rises_by_the_step_exactly_where_a_refinement_is_reported(self, controller, history):
        states = jax.device_get(scan(controller, history))
        before = np.concatenate([[controller.initial], states.iterations[:-1]])
        expected = np.where(states.refined, np.minimum(before + controller.step, controller.maximum), before)
        assert states.iterations.tolist() == expected.tolist()
        assert np.isin(states.reason[states.refined], [Reason.WORTHWHILE, Reason.DIVERGING]).all()
        assert not np.isin(states.reason[~states.refined], [Reason.WORTHWHILE, Reason.DIVERGING]).any()

    @few_examples
    @given(controllers, histories, st.integers(-60, 60))
    def test_decisions_do_not_depend_on_the_unit_of_the_metric(self, controller, history, exponent):
        states, scaled = scan(controller, history), scan(controller, history * np.float32(2.0**exponent))
        assert refined_at(states) == refined_at(scaled)
        assert states.reason.tolist() == scaled.reason.tolist()

    @few_examples
    @given(tolerance_controllers, histories)
    def test_a_tolerance_is_refined_when_k_would_be(self, controller, history):
        shared = ("tau_step", "tau_stop", "window", "ema_window")
        counting = PRDP(**{name: getattr(controller, name) for name in shared}, maximum=10_000)
        states, same = scan(controller, history), scan(counting, history)
        for name in ("refined", "reason", "smoothed", "plateau_ratio", "checkpoint_ratio", "checkpoint", "recent"):
            np.testing.assert_array_equal(getattr(states, name), getattr(same, name), err_msg=name)

    @few_examples
    @given(tolerance_controllers, histories)
    def test_a_tolerance_falls_by_the_factor_exactly_where_a_refinement_is_reported(self, controller, history):
        states = jax.device_get(scan(controller, history))
        before = np.concatenate([[controller.rtol_initial], states.rtol[:-1]]).astype(np.float32)
        refined = np.maximum(before * np.float32(controller.rtol_factor), np.float32(controller.rtol_floor))
        np.testing.assert_allclose(states.rtol, np.where(states.refined, refined, before), rtol=1e-6)
        assert (np.diff(states.rtol) <= 0).all()
        assert (states.iterations == controller.maximum).all()

    @few_examples
    @given(st.one_of(controllers, tolerance_controllers))
    def test_values_make_the_same_controller_again(self, controller):
        assert jax.tree.leaves(again(controller)) == jax.tree.leaves(controller)

    @few_examples
    @given(st.integers(1, 999_999))
    def test_values_are_the_numbers_that_a_person_typed(self, millionths):
        typed = round(millionths / 1e6, 6)
        assert values_of(PRDP(tau_step=typed))["tau_step"] == typed

    @few_examples
    @given(
        st.sampled_from([name for name in PRDP.limits if name != "compare_with_start"]),  # which may be 0
        st.one_of(st.floats(max_value=0), st.integers(max_value=0), st.floats(10_001), st.integers(10_001)),
    )
    def test_any_value_out_of_range_is_refused_by_name(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}`"):
            PRDP(**{name: value})


def again(controller: AbstractController) -> AbstractController:
    return type(controller)(**values_of(controller))


class TestConstant:
    def test_k_stays(self):
        states = scan(Constant(7), noisy_decay(20))
        assert Constant(7).init().iterations == 7
        assert set(states.iterations.tolist()) == {7}
        assert not states.refined.any()
        assert set(states.reason.tolist()) == {Reason.FIXED}

    def test_an_edit_acts_from_the_next_epoch(self):
        state = Constant(7).update(1.0, Constant(7).init())
        assert Constant(9).reconcile(state).iterations == 9
        assert Constant(9).update(1.0, state).iterations == 9

    def test_without_a_number_it_cannot_be_used_by_itself(self):
        with pytest.raises(ValueError, match="needs a number"):
            Constant().init()

    @pytest.mark.parametrize("value", [0, 10_001, 1.5, math.nan, "7", True])
    def test_values_out_of_range_are_refused_by_name(self, value):
        with pytest.raises(ValueError, match="`iterations`"):
            Constant(value)


class TestScheduled:
    @pytest.mark.parametrize(
        ("initial", "step", "every", "maximum"), [(1, 1, 10, 25), (3, 4, 7, 20), (5, 2, 1, 10_000)]
    )
    def test_linear(self, initial, step, every, maximum):
        controller = Scheduled.linear(initial=initial, step=step, every=every, maximum=maximum)
        expected = [min(initial + step * (epoch // every), maximum) for epoch in range(100)]
        assert controller.init().iterations == initial
        assert scan(controller, np.ones(100)).iterations.tolist() == expected

    @pytest.mark.parametrize("factor", [1, 1.25, 1.5, 2, 3, 5, 7, 10, 21, 100])
    @pytest.mark.parametrize("initial", [1, 2, 7])
    def test_geometric_meets_exact_powers(self, factor, initial):
        controller = Scheduled.geometric(initial=initial, factor=factor, every=3, maximum=10_000)
        expected = [min(math.floor(initial * Fraction(factor) ** (epoch // 3)), 10_000) for epoch in range(200)]
        assert scan(controller, np.ones(200)).iterations.tolist() == expected

    def test_two_to_the_third_is_eight(self):
        controller = Scheduled.geometric(initial=1, factor=2.0, every=1)
        assert scan(controller, np.ones(6)).iterations.tolist() == [1, 2, 4, 8, 16, 25]

    def test_the_first_value_is_taken_before_training_and_starts_no_period(self):
        controller = Scheduled.linear(every=2)
        states = scan(controller, np.ones(5))
        assert states.iterations.tolist() == [1, 1, 2, 2, 3]
        assert states.refined.tolist() == [False, False, True, False, True]
        assert set(states.reason.tolist()) == {Reason.SCHEDULED}

    def test_a_metric_that_is_not_a_number_changes_nothing(self):
        controller = Scheduled.linear(every=2)
        assert (
            scan(controller, np.full(9, np.nan)).iterations.tolist() == scan(controller, np.ones(9)).iterations.tolist()
        )

    def test_an_edit_acts_from_the_next_epoch(self):
        state = last(scan(Scheduled.linear(every=5), np.ones(21)))
        assert state.iterations == 5
        assert Scheduled.linear(every=2).reconcile(state).iterations == 11
        assert Scheduled.linear(every=5, maximum=3).reconcile(state).iterations == 3

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("factor", 0.5),
            ("factor", 101),
            ("factor", math.nan),
            ("every", 0),
            ("step", -1),
            ("initial", 0),
            ("maximum", 0),
        ],
    )
    def test_values_out_of_range_are_refused_by_name(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}`"):
            Scheduled(**{name: value})


ONE_OF_EACH = {
    "prdp": PRDP(initial=2, step=3, window=2, ema_window=1, maximum=17),
    "constant": Constant(4),
    "scheduled": Scheduled(initial=2, step=1, factor=1.5, every=3, maximum=30),
    "prdp-tolerance": TolerancePRDP(rtol_initial=0.25, rtol_factor=0.5, window=2, ema_window=1, maximum=17),
}

SWITCHABLE = [name for name, kind in KINDS.items() if kind in AnyController.kinds]


class TestAllKinds:
    def test_every_kind_is_covered_here(self):
        assert {name: type(controller) for name, controller in ONE_OF_EACH.items()} == dict(KINDS)
        assert [*SWITCHABLE, "prdp-tolerance"] == list(KINDS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_values_make_the_same_controller_again(self, kind):
        controller = ONE_OF_EACH[kind]
        assert set(values_of(controller)) == set(controller.limits)
        assert jax.tree.leaves(again(controller)) == jax.tree.leaves(controller)

    @pytest.mark.usefixtures("float64")
    @pytest.mark.parametrize("seed", range(5))
    def test_the_switchable_controller_decides_like_a_smoothing_one(self, seed):
        controller, history = PRDP(window=4, ema_window=5, tau_stop=0.95), noisy_decay(300, seed, noise=0.2)
        alone, wrapped = scan(controller, history), scan(AnyController.of(controller), history)
        assert len(refined_at(alone)) > 1
        assert refined_at(wrapped) == refined_at(alone)
        assert wrapped.iterations.tolist() == alone.iterations.tolist()

    @pytest.mark.parametrize("kind", SWITCHABLE)
    def test_the_switchable_controller_equals_the_wrapped_one(self, kind):
        controller, history = ONE_OF_EACH[kind], noisy_decay(40)
        wrapped = AnyController.of(controller)
        for mine, other in (
            (scan(controller, history), scan(wrapped, history)),
            (controller.init(), wrapped.init()),
            (controller.reconcile(controller.init()), wrapped.reconcile(controller.init())),
        ):
            for leaf, same in zip(*map(jax.tree.leaves, (mine, other)), strict=True):
                np.testing.assert_array_equal(leaf, same)

    def test_one_trace_serves_all_kinds_that_refine_k(self):
        traces = []

        @jax.jit
        def decide(controller, state):
            traces.append(None)
            return controller.update(1.0, state).iterations

        results = [int(decide(AnyController.of(c), c.init())) for c in map(ONE_OF_EACH.get, SWITCHABLE) if c]
        assert results == [2, 4, 2]
        assert len(traces) == 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_setting_has_a_line_for_people(self, kind):
        assert all(limits.doc and limits.range for limits in KINDS[kind].limits.values())


class TestExplain:
    values: Mapping[str, Any] = {
        "plateau_ratio": 0.991,
        "checkpoint_ratio": 0.85,
        "tau_step": 0.98,
        "tau_stop": 0.9,
        "iterations_before": 4,
        "iterations_after": 5,
    }

    @pytest.mark.parametrize(
        ("reason", "changes", "sentence"),
        [
            (Reason.FIXED, {}, "K is fixed."),
            (Reason.SCHEDULED, {"refined": True}, "The schedule raises K to 5."),
            (Reason.SCHEDULED, {}, "The schedule keeps K."),
            (Reason.COLLECTING, {}, "Collecting values until the window is full."),
            (
                Reason.IMPROVING,
                {"plateau_ratio": 0.5},
                "Still improving: r = 0.500 is at most τ_step = 0.98, so K stays.",
            ),
            (
                Reason.WORTHWHILE,
                {"refined": True},
                "Plateau: r = 0.991 exceeds τ_step = 0.98 and r_c = 0.850 is below τ_stop = 0.9. K rises from 4 to 5.",
            ),
            (
                Reason.WORTHWHILE,
                {"refined": True, "iterations_before": 5},
                "Plateau: r = 0.991 exceeds τ_step = 0.98 and r_c = 0.850 is below τ_stop = 0.9. "
                "K is at its maximum of 5.",
            ),
            (
                Reason.DIVERGING,
                {"refined": True, "checkpoint_ratio": 1.25},
                "Plateau: r = 0.991 exceeds τ_step = 0.98 and r_c = 1.250 exceeds 1 (the error grows). "
                "K rises from 4 to 5.",
            ),
            (
                Reason.SUPERFLUOUS,
                {"checkpoint_ratio": 0.95},
                "Plateau: r = 0.991 exceeds τ_step = 0.98, but r_c = 0.950 is not below τ_stop = 0.9: "
                "further refinement would be superfluous.",
            ),
            (
                Reason.SUPERFLUOUS,
                {"checkpoint_ratio": math.nan},
                "Plateau: r = 0.991 exceeds τ_step = 0.98, but the checkpoint ratio is not a number, so K stays.",
            ),
        ],
    )
    def test_sentence(self, reason, changes, sentence):
        assert explain(int(reason), **{"refined": False, **self.values, **changes}) == sentence

    @pytest.mark.parametrize(
        ("reason", "changes", "sentence"),
        [
            (Reason.COLLECTING, {}, "Collecting values until the window is full."),
            (
                Reason.IMPROVING,
                {"plateau_ratio": 0.5},
                "Still improving: r = 0.500 is at most τ_step = 0.98, so the tolerance stays.",
            ),
            (
                Reason.WORTHWHILE,
                {"refined": True, "rtol_after": 0.0125},
                "Plateau: r = 0.991 exceeds τ_step = 0.98 and r_c = 0.850 is below τ_stop = 0.9. "
                "The tolerance falls from 0.3 to 0.013.",
            ),
            (
                Reason.WORTHWHILE,
                {"refined": True, "rtol_before": 1e-5, "rtol_after": 1e-5},
                "Plateau: r = 0.991 exceeds τ_step = 0.98 and r_c = 0.850 is below τ_stop = 0.9. "
                "The tolerance is at its floor of 1e-05.",
            ),
            (
                Reason.DIVERGING,
                {"refined": True, "checkpoint_ratio": 1.25, "rtol_after": 0.15},
                "Plateau: r = 0.991 exceeds τ_step = 0.98 and r_c = 1.250 exceeds 1 (the error grows). "
                "The tolerance falls from 0.3 to 0.15.",
            ),
            (
                Reason.SUPERFLUOUS,
                {"checkpoint_ratio": 0.95},
                "Plateau: r = 0.991 exceeds τ_step = 0.98, but r_c = 0.950 is not below τ_stop = 0.9: "
                "further refinement would be superfluous.",
            ),
            (
                Reason.SUPERFLUOUS,
                {"checkpoint_ratio": math.nan},
                "Plateau: r = 0.991 exceeds τ_step = 0.98, but the checkpoint ratio is not a number, so the tolerance "
                "stays.",
            ),
            (Reason.SUPERFLUOUS, {"plateau_ratio": math.nan}, "The metric is not a number, so the tolerance stays."),
        ],
    )
    def test_sentence_of_a_tolerance(self, reason, changes, sentence):
        """K is the mean of what the solves used then, and plays no role in the sentence."""
        values: dict[str, Any] = {"refined": False, **self.values, "iterations_before": 4, "iterations_after": 25}
        values |= {"rtol_before": 0.3, "rtol_after": 0.3, **changes}
        assert explain(int(reason), **values) == sentence

    def test_every_reason_has_a_sentence(self):
        for reason in Reason:
            assert explain(reason, **{"refined": False, **self.values}).endswith(".")

    def test_a_metric_that_is_not_a_number_is_no_plateau(self):
        """A ratio that is NaN must not be said to exceed a threshold."""
        history = np.array([1.0, 1.0, np.nan])
        state = last(scan(PRDP(window=2), history))
        values: dict[str, Any] = {
            **self.values,
            "refined": bool(state.refined),
            "plateau_ratio": float(state.plateau_ratio),
            "checkpoint_ratio": float(state.checkpoint_ratio),
        }
        sentence = explain(int(state.reason), **values)
        assert "nan exceeds" not in sentence
        assert sentence.endswith("so K stays.")
