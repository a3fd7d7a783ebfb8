"""What another controller would have decided is what it does decide."""

import math
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_helpers import PATIENCE, TOY, wait_for_epoch, wait_for_state

from prdp_explorer import Engine, Run
from prdp_explorer.engine import settings_for
from prdp_explorer.engine._what_if import SMALLEST_CAPACITY, WhatIf, _scan, decide, history_of, other_controller
from prdp_explorer.refinement import KINDS, Reason

SOON = {"kind": "prdp", "tau_step": 0.9, "tau_stop": 0.95, "window": 5, "ema_window": 3}
STRICT = {"kind": "prdp", "tau_step": 0.97, "window": 2, "ema_window": 7, "compare_with_start": 1}
TOLERANCE = {"kind": "prdp-tolerance", "tau_step": 0.9, "rtol_initial": 0.5}


def assert_same(what_if: WhatIf, rows: np.ndarray) -> None:
    """What would have been decided is what the records say; the last bit of a ratio is the compiler's."""
    assert len(what_if) == len(rows)
    for name in ("next_iterations", "refined", "reason"):
        np.testing.assert_array_equal(getattr(what_if, name), rows[name], name)
    for name in ("next_rtol", "smoothed", "plateau_ratio", "checkpoint_ratio"):
        np.testing.assert_allclose(getattr(what_if, name), rows[name], rtol=1e-6, err_msg=name)
    assert what_if.first_difference(rows) is None


def finished(engine: Engine, scenario: Any, controller: Any = None, **choices: Any) -> Run:
    run = engine.start(scenario, controller, **choices)
    wait_for_state(run, "finished")
    return run


class TestARunThatWasTrainedSo:
    @pytest.mark.parametrize(
        ("scenario", "metric", "controllers"),
        [
            ("heat-1d", "validation", (None, SOON, STRICT)),
            ("heat-1d", "training", (None, SOON, STRICT)),
            ("poisson-1", "validation", (None, SOON, STRICT, TOLERANCE)),
        ],
    )
    def test_decides_the_same_on_its_own_history(self, engine: Engine, scenario: str, metric: str, controllers: Any):
        refinements = 0
        for controller in controllers:
            run = finished(engine, scenario, controller, metric=metric)
            what_if = engine.what_if(run, {}).result(PATIENCE)
            assert_same(what_if, run.log.read())
            assert what_if.refinement == run.settings.refinement
            np.testing.assert_array_equal(what_if.iterations[1:], run.log.read()["next_iterations"][:-1])
            refinements += np.count_nonzero(what_if.refined)
        assert refinements > len(controllers)

    @pytest.mark.parametrize("changes", [{"tau_step": 0.9}, {"step": 3}, {"window": 6}, {"ema_window": 20}])
    def test_decides_the_same_up_to_where_another_K_makes_another_history(self, engine: Engine, changes: dict):
        run = finished(engine, TOY)
        what_if = engine.what_if(run, changes).result(PATIENCE)
        differs = what_if.first_difference(run.log.read())
        assert differs is not None
        really = finished(engine, TOY, {**run.settings.refinement, **changes}).log.read()
        assert_same(
            decide(history_of(run.settings, run.log.read())[: differs + 1], what_if.refinement), really[: differs + 1]
        )
        assert really["next_iterations"][differs] != run.log.read()["next_iterations"][differs]


def in_plain_python(history: list[float], refinement: dict[str, Any]) -> list[tuple[Any, ...]]:
    values = dict(refinement)
    controller = KINDS[values.pop("kind")](**values)
    state, decided = controller.init(), []
    for value in history:
        state = controller.update(value, state)
        decided.append((int(state.iterations), bool(state.refined), int(state.reason), *map(float, numbers(state))))
    return decided


def numbers(state: Any) -> tuple[Any, ...]:
    rtol = math.nan if state.rtol is None else state.rtol
    return state.smoothed, state.plateau_ratio, state.checkpoint_ratio, rtol


def compiled() -> int:
    """How many scans are compiled."""
    return cast(Any, _scan)._cache_size()


THRESHOLDS = st.fixed_dictionaries(
    {
        "tau_step": st.floats(0.125, 1, width=16),
        "tau_stop": st.floats(0.125, 1, width=16),
        "window": st.integers(2, 64),
        "ema_window": st.integers(1, 100),
        "maximum": st.integers(3, 25),
    }
)
CONTROLLERS = st.one_of(
    st.builds(
        lambda shared, own: {"kind": "prdp", **shared, **own},
        THRESHOLDS,
        st.fixed_dictionaries(
            {"initial": st.integers(1, 3), "step": st.integers(1, 9), "compare_with_start": st.integers(0, 1)}
        ),
    ),
    st.builds(
        lambda shared, factor: {"kind": "prdp-tolerance", **shared, "rtol_factor": factor},
        THRESHOLDS,
        st.floats(0.125, 1, width=16),
    ),
)
# Steps of factors, so that there are plateaus, improvement and growth in each; what diverges ends in what is no number.
HISTORIES = st.lists(
    st.one_of(st.floats(0.5, 1.25, width=16), st.just(1.0), st.sampled_from([math.inf, math.nan])), max_size=120
).map(lambda factors: np.cumprod(np.array([0.5, *factors], np.float32)).tolist())


class TestTheScan:
    @settings(deadline=None, max_examples=60)
    @given(HISTORIES, CONTROLLERS)
    def test_is_the_controller_fed_value_by_value(self, history: list[float], refinement: dict[str, Any]):
        what_if = decide(history, refinement)
        expected = in_plain_python(history, refinement)
        assert len(what_if) == len(history)
        decided = np.array([row[:3] for row in expected])
        for name, column in zip(("next_iterations", "refined", "reason"), decided.T, strict=True):
            np.testing.assert_array_equal(getattr(what_if, name), column, name)
        measured = np.array([row[3:] for row in expected])
        for name, column in zip(
            ("smoothed", "plateau_ratio", "checkpoint_ratio", "next_rtol"), measured.T, strict=True
        ):
            np.testing.assert_allclose(getattr(what_if, name), column, rtol=1e-5, err_msg=name)

    def test_is_compiled_once_for_all_values_and_lengths(self):
        decide(np.ones(3), {"kind": "prdp"})
        before = compiled()
        for length, tau_step in ((10, 0.9), (500, 0.5), (SMALLEST_CAPACITY, 0.98)):
            decide(np.ones(length), {"kind": "prdp", "tau_step": tau_step, "window": 4, "maximum": 9, "step": 2})
        decide(np.ones(2), {"kind": "prdp"}, room=SMALLEST_CAPACITY)
        assert compiled() == before
        assert len(decide(np.ones(SMALLEST_CAPACITY + 1), {"kind": "prdp"})) == SMALLEST_CAPACITY + 1
        assert compiled() == before + 1

    def test_one_of_a_hundred_thousand_epochs_goes_on_deciding(self):
        count = 100_001
        history = 2.0 ** -(np.arange(count) // 1000 / 10)
        refined = np.flatnonzero(decide(history, {"kind": "prdp", "ema_window": 1, "maximum": 10_000}).refined)
        assert len(refined) > 40
        assert refined[-1] > 97_000
        assert not decide(np.ones(0), {"kind": "prdp"}).refined.size


class TestTheEngine:
    def test_answers_while_a_run_is_under_way_and_elsewhere_than_in_its_threads(self, engine: Engine):
        run = engine.start(TOY, epochs=1000, pace=100.0)
        wait_for_epoch(run, 5)
        early = engine.what_if(run, {"tau_step": 0.5}).result(PATIENCE)
        wait_for_epoch(run, len(early) + 3)
        late = engine.what_if(run, {"tau_step": 0.5}).result(PATIENCE)
        assert len(early) < len(late)
        np.testing.assert_array_equal(early.next_iterations, late.next_iterations[: len(early)])
        run.stop()

    def test_asks_about_a_fixed_K_with_the_problems_own_controller(self, engine: Engine):
        run = finished(engine, TOY, {"kind": "constant"})
        what_if = engine.what_if(run, {"tau_stop": 0.7}).result(PATIENCE)
        own = settings_for(TOY).refinement
        assert what_if.refinement == {**own, "tau_stop": 0.7}
        assert Reason.FIXED not in what_if.reason
        assert what_if.next_iterations[0] == own["initial"]
        assert what_if.first_difference(run.log.read()) == 0

    def test_knows_another_kind(self, engine: Engine):
        run = finished(engine, TOY)
        what_if = engine.what_if(run, TOLERANCE).result(PATIENCE)
        assert what_if.refinement["kind"] == "prdp-tolerance"
        assert what_if.next_rtol[0] == 0.5
        assert what_if.next_rtol[-1] < 0.5
        assert set(what_if.next_iterations) == {TOY.full_iterations}

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"tau_step": 2}, "`tau_step` must be a number above 0 and at most 1; got 2"),
            ({"window": 2.5}, "`window` must be a whole number"),
            ({"tau": 1}, "`tau` is no setting of PRDP"),
            ({"kind": "constant"}, "prdp or prdp-tolerance; got 'constant'"),
            ({"kind": [1]}, "prdp or prdp-tolerance; got"),
        ],
    )
    def test_refuses_in_words_at_once(self, engine: Engine, changes: dict[str, Any], words: str):
        run = engine.start(TOY)
        with pytest.raises(ValueError, match=words):
            engine.what_if(run, changes)
        run.stop()

    def test_that_is_closed_says_so(self, engine: Engine):
        run = finished(engine, TOY)
        engine.close()
        with pytest.raises(ValueError, match="closed"):
            engine.what_if(run, {})


class TestTheHistory:
    def test_is_the_metric_that_the_controller_was_fed(self, engine: Engine):
        validated = finished(engine, TOY)
        rows = validated.log.read()
        np.testing.assert_array_equal(history_of(validated.settings, rows), rows["validation"])
        trained = finished(engine, TOY, metric="training")
        rows = trained.log.read()
        fed = history_of(trained.settings, rows)
        np.testing.assert_array_equal(fed[1:], rows["train_loss"][1:])
        assert np.isfinite(fed).all()
        assert fed[0] == rows["smoothed"][0] != rows["validation"][0]

    def test_an_edited_run_is_asked_with_the_values_that_it_has_by_now(self, engine: Engine):
        run = engine.start(TOY, epochs=1000, pace=100.0)
        run.adjust(tau_step=0.6)
        assert other_controller(run.settings, {"window": 4})["tau_step"] == 0.6
        run.stop()
