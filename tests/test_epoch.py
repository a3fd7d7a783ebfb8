"""The compiled epoch: one compilation for everything, and results that do not depend on how calls are cut."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, PlainToy, Toy, adjustments, timeless, wait_for_epoch

from prdp_explorer import PRDP, Constant, Engine, Scheduled, train
from prdp_explorer.engine import RECORD, forget_programs, settings_for
from prdp_explorer.engine._training import Training
from prdp_explorer.problems import InnerSolve
from prdp_explorer.refinement import TolerancePRDP
from prdp_explorer.solvers import Implicit, Jacobi, residual_history

CLOCKS = ("seconds", "cumulative_seconds")


class Exploding(Toy):
    """Its updates grow without bound."""

    def decay(self, step):
        return 1e4**step


def advance(training: Training, calls: list[int]) -> np.ndarray:
    return np.concatenate([training.advance(epochs) for epochs in calls])


def assert_same(rows: np.ndarray, other: np.ndarray) -> None:
    """To the last bit, but for the seconds."""
    assert len(rows) == len(other)
    for name in RECORD.names or ():
        if name not in CLOCKS:
            np.testing.assert_array_equal(rows[name], other[name], err_msg=name)


class TestOneCompilation:
    def test_a_whole_run_with_every_refinement(self):
        problem = Toy()
        training = train(problem)
        traces = problem.traces
        records = list(training)
        assert len({record.iterations for record in records}) > 3
        assert training.compilations == 1
        assert problem.traces == traces > 0

    def test_live_edits_of_everything_that_can_be_edited(self):
        problem = Toy()
        training = Training(settings_for(problem, epochs=40))
        traces = problem.traces
        rows = [training.advance(3)]
        for changes in (
            {"tau_step": 0.5},
            {"tau_stop": 0.3, "window": 7, "ema_window": 4},
            {"iterations": 9, "learning_rate": 0.01},
            {"maximum": 10, "step": 2},
        ):
            training.adjust(changes)
            rows.append(training.advance(2))
        assert rows[3]["iterations"][0] == 9 > rows[2]["iterations"][-1]
        assert training.compilations == 1
        assert problem.traces == traces

    def test_prdp_full_physics_and_a_schedule_share_it(self):
        problem = Toy()
        trainings = [train(problem, controller) for controller in (PRDP(maximum=12), Constant(), Scheduled(maximum=12))]
        traces = problem.traces
        for training in trainings:
            list(training)
        assert [training.compilations for training in trainings] == [1, 0, 0]
        again = Toy()
        train(again)
        assert traces == problem.traces == again.traces

    def test_all_seeds_and_lengths_share_it(self):
        problem = Toy()
        compilations = [
            train(problem, seed=seed, epochs=epochs, learning_rate=rate).compilations
            for seed, epochs, rate in ((0, 10, None), (2**32 - 1, 10, None), (3, 500, 0.1))
        ]
        assert compilations == [1, 0, 0]

    def test_a_race_in_the_engine_with_edits_shares_it(self, engine: Engine):
        problem = Toy()
        race = engine.race(problem, {"PRDP": None, "full physics": Constant()}, epochs=100_000)
        runs = list(race.runs.values())
        for run in runs:
            wait_for_epoch(run, 10)
        traces = problem.traces
        runs[0].adjust(tau_step=0.5, learning_rate=0.01)
        runs[1].adjust(iterations=3)
        for run in runs:
            assert run.wait(lambda run: bool(adjustments(run)) and run.epoch > adjustments(run)[0][0] + 5, PATIENCE)
        assert [run.compilations for run in runs] == [1, 0]
        assert problem.traces == traces
        again = Toy()
        train(again)
        assert again.traces == traces

    def test_solver_mode_and_metric_have_their_own(self):
        problem = Toy()
        compilations = [
            train(problem, differentiation=mode, metric=metric, epochs=1).compilations
            for mode in ("implicit", "unrolled")
            for metric in ("validation", "training", "validation")
        ]
        assert compilations == [1, 1, 0, 1, 1, 0]

    def test_forgetting_makes_the_next_run_compile_again(self):
        problem = Toy()
        assert [train(problem, epochs=1).compilations for _ in range(2)] == [1, 0]
        forget_programs()
        assert train(problem, epochs=1).compilations == 1


class TestCalls:
    @pytest.mark.parametrize("differentiation", ["implicit", "unrolled"])
    def test_results_do_not_depend_on_how_many_epochs_a_call_holds(self, differentiation):
        settings = settings_for(TOY, differentiation=differentiation, seed=4)
        at_once = advance(Training(settings), [41])
        one_by_one = advance(Training(settings), [1] * 41)
        mixed = advance(Training(settings), [1, 7, 2, 30, 1])
        assert len(at_once) == 41
        assert_same(one_by_one, at_once)
        assert_same(mixed, at_once)

    def test_edits_between_calls_act_wherever_the_calls_are_cut(self):
        settings = settings_for(TOY, seed=4)
        few, many = Training(settings), Training(settings)
        rows = {few: [few.advance(11)], many: [advance(many, [1] * 11)]}
        for training in (few, many):
            training.adjust({"tau_step": 0.7, "ema_window": 1, "learning_rate": 0.005})
        rows[few].append(few.advance(20))
        rows[many].append(advance(many, [1] * 20))
        assert_same(np.concatenate(rows[many]), np.concatenate(rows[few]))
        undisturbed = advance(Training(settings), [31])
        assert_same(undisturbed[:11], rows[few][0])
        assert undisturbed["validation"][-1] != rows[few][1]["validation"][-1]

    def test_a_call_ends_with_the_last_epoch(self):
        training = Training(settings_for(TOY, epochs=5))
        assert training.advance(1_000)["epoch"].tolist() == [0, 1, 2, 3, 4, 5]
        assert training.finished
        assert not training.diverged

    def test_long_runs_are_many_calls(self):
        records = list(train(TOY, epochs=600))
        assert [record.epoch for record in records] == list(range(1, 601))
        assert math.isfinite(records[-1].validation)

    def test_equal_runs_are_equal_to_the_last_bit(self):
        assert timeless(train(TOY, seed=9)) == timeless(train(TOY, seed=9))
        assert timeless(train(TOY, seed=9)) != timeless(train(TOY, seed=10))


class TestRecords:
    def test_the_first_is_before_training(self):
        rows = Training(settings_for(TOY)).advance(3)
        assert rows["epoch"].tolist() == [0, 1, 2]
        assert rows["iterations"].tolist() == [0, 1, 1]
        assert rows["cumulative_iterations"].tolist() == [0, 1, 2]
        assert np.isnan(rows["train_loss"]).tolist() == [True, False, False]
        _, validation = TOY.data()
        rest, key = jax.random.split(jax.random.PRNGKey(0))
        del rest
        before = TOY.metric(
            TOY.model(key),
            jax.tree.map(lambda leaf: leaf.astype(np.float32), validation),
            InnerSolve(Jacobi(), Implicit(), jnp.asarray(12)),
        )
        assert rows["validation"][0] == pytest.approx(float(before), rel=1e-5)

    def test_train_yields_the_epochs_and_keeps_the_value_before(self):
        training = train(TOY)
        records = list(training)
        assert [record.epoch for record in records] == list(range(1, 41))
        assert training.initial_validation == Training(settings_for(TOY)).advance(1)["validation"][0]
        assert training.status == "finished"
        assert set(training.seconds) == {"setup", "compile", "train"}
        assert training.seconds["train"] == pytest.approx(records[-1].cumulative_seconds)

    @pytest.mark.parametrize("metric", ["validation", "training"])
    def test_the_controller_is_fed_the_chosen_metric(self, metric):
        """The schedule is that of the controller alone, fed with the recorded values."""
        controller = PRDP(tau_step=0.7, tau_stop=1, window=2, ema_window=1, maximum=12)
        rows = Training(settings_for(TOY, controller, metric=metric)).advance(41)
        fed = rows["validation"] if metric == "validation" else rows["train_loss"].copy()
        if metric == "training":
            fed[0] = rows["smoothed"][0]
        assert rows["smoothed"].tolist() == fed.tolist()
        state = controller.init()
        for row, value in zip(rows, fed, strict=True):
            assert row["iterations"] in (0, int(state.iterations))
            state = controller.update(value, state)
            assert (row["next_iterations"], row["refined"]) == (int(state.iterations), bool(state.refined))
        assert rows["refined"].sum() > 2

    def test_before_training_the_training_metric_is_the_loss_of_all_samples_at_the_first_k(self):
        rows = Training(settings_for(TOY, metric="training")).advance(1)
        training, _ = jax.tree.map(lambda leaf: leaf.astype(np.float32), TOY.data())
        _, key = jax.random.split(jax.random.PRNGKey(0))
        solved = jax.vmap(TOY.model(key))(training["start"]) / TOY.operator.diagonal()  # one Jacobi iteration
        assert rows["smoothed"][0] == pytest.approx(float(np.mean((solved - training["second"]) ** 2)), rel=1e-5)

    def test_the_metrics_lead_to_different_schedules(self):
        schedules = [
            [record.iterations for record in train(TOY, metric=metric)] for metric in ("validation", "training")
        ]
        assert schedules[0] != schedules[1]

    def test_the_thresholds_of_the_decision_are_recorded(self):
        training = Training(settings_for(TOY))
        first = training.advance(4)
        training.adjust({"tau_step": 0.5})
        second = training.advance(2)
        assert set(first["tau_step"]) == {0.95}
        assert set(second["tau_step"]) == {0.5}
        assert set(np.concatenate([first, second])["tau_stop"]) == {0.95}

    def test_k_is_what_was_decided_the_epoch_before(self):
        rows = Training(settings_for(TOY)).advance(41)
        assert rows["iterations"][1:].tolist() == rows["next_iterations"][:-1].tolist()
        assert np.cumsum(rows["iterations"]).tolist() == rows["cumulative_iterations"].tolist()


class TestAdjust:
    def test_k_of_the_next_epoch(self):
        training = Training(settings_for(TOY))
        training.advance(4)
        training.adjust({"iterations": 7})
        assert training.advance(1)["iterations"] == [7]

    def test_a_lowered_maximum_lowers_k_at_once(self):
        training = Training(settings_for(TOY))
        training.advance(4)
        training.adjust({"iterations": 9})
        assert training.advance(1)["iterations"] == [9]
        training.adjust({"maximum": 5})
        assert training.advance(1)["iterations"] == [5]

    def test_the_maximum_may_fall_below_the_first_k(self):
        """After the start only `maximum` bounds K, and later edits are not held up by `initial` either."""
        training = Training(settings_for(TOY, {"initial": 5}))
        training.advance(3)
        training.adjust({"maximum": 3})
        assert training.advance(1)["iterations"] == [3]
        training.adjust({"tau_step": 0.9})
        assert training.advance(1)["tau_step"] == [0.9]

    def test_k_of_full_physics(self):
        training = Training(settings_for(TOY, Constant()))
        assert training.advance(2)["iterations"].tolist() == [0, 12]
        training.adjust({"iterations": 4})
        assert training.advance(2)["iterations"].tolist() == [4, 4]

    def test_a_schedule(self):
        training = Training(settings_for(TOY, Scheduled.linear(every=2, maximum=12)))
        assert training.advance(6)["iterations"].tolist() == [0, 1, 1, 2, 2, 3]
        training.adjust({"every": 1})
        assert training.advance(2)["iterations"].tolist() == [6, 7]

    @pytest.mark.parametrize(
        "controller", [None, Constant(), Scheduled.linear(maximum=12)], ids=["prdp", "constant", "scheduled"]
    )
    def test_the_learning_rate_beside_every_kind_of_controller(self, controller):
        training = Training(settings_for(TOY, controller))
        training.advance(3)
        for rate in (0.01, 0.001):
            training.adjust({"learning_rate": rate})
            assert training.advance(2)["epoch"].tolist() == [training.epoch - 1, training.epoch]

    def test_the_learning_rate_scales_the_step(self):
        def first_step(rate: float) -> np.ndarray:
            training = Training(settings_for(TOY, learning_rate=0.02))
            training.advance(1)
            before = np.array(training.model.weight)
            training.adjust({"learning_rate": rate})
            training.advance(1)
            return np.abs(np.array(training.model.weight) - before).max()

        assert first_step(1e-9) < 1e-6
        assert first_step(0.02) > 1e-3


def jacobi_iterations(training: Training, rtol: float, maximum: int) -> np.ndarray:
    """What Jacobi needs for each training sample of `TOY` until the residual is below the tolerance."""
    samples, _ = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), TOY.data())
    b = jax.vmap(training.model)(samples["start"])
    residuals = jax.vmap(lambda c: residual_history(Jacobi(), TOY.operator, c, maximum))(b)
    enough = np.asarray(residuals) <= rtol * np.linalg.norm(b, axis=1)[:, None]
    return np.where(enough.any(axis=1), enough.argmax(axis=1), maximum)


class TestTolerance:
    @pytest.mark.parametrize("differentiation", ["implicit", "unrolled"])
    def test_iterations_are_the_mean_of_what_the_solves_used(self, differentiation):
        recorded, expected = [], []
        for rtol in (0.9, 0.5, 0.2, 0.05, 0.01, 1e-5):
            controller = TolerancePRDP(rtol_initial=rtol, rtol_floor=rtol, maximum=12)
            # So small a rate that all batches of the epoch meet the same model.
            training = Training(settings_for(TOY, controller, learning_rate=1e-9, differentiation=differentiation))
            rows = training.advance(2)
            used = jacobi_iterations(training, rtol, 12)
            recorded.append(rows["iterations"].tolist())
            expected.append([0, round(used.mean())])
            assert rows["cumulative_iterations"].tolist() == recorded[-1]
        assert recorded == expected
        spent = [count for _, count in recorded]
        assert spent == sorted(spent)
        assert len(set(spent)) > 4
        assert spent[-1] == 12

    def test_the_tolerance_of_an_epoch_is_what_was_decided_the_epoch_before(self):
        controller = TolerancePRDP(
            tau_step=0.9, tau_stop=1, window=2, ema_window=1, rtol_initial=0.5, rtol_floor=0.01, maximum=12
        )
        rows = Training(settings_for(TOY, controller)).advance(41)
        assert math.isnan(rows["rtol"][0])
        assert rows["rtol"][1:].tolist() == rows["next_rtol"][:-1].tolist()
        assert rows["next_rtol"][0] == 0.5
        assert set(rows["next_iterations"]) == {12}
        state = controller.init()
        for row in rows:
            state = controller.update(row["validation"], state)
            assert (row["next_rtol"], row["refined"]) == (float(np.float32(state.rtol)), bool(state.refined))
        assert rows["refined"].sum() > 2
        assert rows["iterations"][-1] > rows["iterations"][1]
        assert np.isfinite(rows["train_loss"][1:]).all()

    def test_without_one_the_records_say_so(self):
        rows = Training(settings_for(TOY)).advance(3)
        assert np.isnan(rows["rtol"]).all()
        assert np.isnan(rows["next_rtol"]).all()

    def test_results_do_not_depend_on_how_many_epochs_a_call_holds(self):
        settings = settings_for(TOY, {"kind": "prdp-tolerance"}, seed=4)
        at_once = advance(Training(settings), [41])
        assert_same(advance(Training(settings), [1, 7, 2, 30, 1]), at_once)

    def test_one_compilation_with_all_refinements_and_live_edits(self):
        problem = Toy()
        training = Training(settings_for(problem, TolerancePRDP(rtol_floor=0.01, maximum=12), epochs=60))
        traces = problem.traces
        training.advance(3)
        training.adjust({"rtol_floor": 0.4})
        assert training.advance(1)["rtol"] == [np.float32(0.4)]
        training.adjust({"rtol_floor": 1e-4, "rtol_factor": 0.1, "tau_step": 0.1, "tau_stop": 1})
        rows = training.advance(20)
        falls = rows["next_rtol"][rows["refined"]] / rows["rtol"][rows["refined"]]
        assert len(falls) > 1
        np.testing.assert_allclose(falls[:2], 0.1, rtol=1e-5)
        training.adjust({"maximum": 3, "window": 5, "ema_window": 2, "learning_rate": 0.01})
        rows = training.advance(2)
        assert rows["iterations"].max() <= 3
        assert rows["next_iterations"].tolist() == [3, 3]
        assert training.compilations == 1
        assert problem.traces == traces

    def test_it_learns_with_fewer_iterations_than_full_physics(self):
        training = train(TOY, {"kind": "prdp-tolerance"})
        records, full = list(training), list(train(TOY, Constant()))
        assert training.status == "finished"
        assert records[-1].cumulative_iterations < 0.7 * full[-1].cumulative_iterations
        assert records[-1].validation < 0.5 * training.initial_validation


class TestModes:
    def test_both_modes_of_a_run_are_compiled_once(self):
        problem = Toy()
        training = Training(settings_for(problem))
        rows, traces = [training.advance(5)], [problem.traces]
        for mode in ("unrolled", "implicit", "unrolled"):
            training.compile_for({"differentiation": mode})
            traces.append(problem.traces)
            training.adjust({"differentiation": mode})
            rows.append(training.advance(5))
        assert training.compilations == 2
        assert traces[1] > traces[0]
        assert traces[1:] == [traces[1]] * 3
        assert problem.traces == traces[-1]
        assert np.concatenate(rows)["epoch"].tolist() == list(range(20))

    def test_what_was_trained_so_far_is_kept_and_gradients_that_coincide_go_on_alike(self):
        """Jacobi from zero with a constant matrix: implicit and unrolled have the same gradient of b."""
        settings = settings_for(TOY, Constant(5), seed=2)
        switched = Training(settings)
        rows = [switched.advance(11)]
        switched.adjust({"differentiation": "unrolled"})
        rows.append(switched.advance(20))
        found, undisturbed = np.concatenate(rows), Training(settings).advance(31)
        assert_same(found[:11], undisturbed[:11])
        for name in ("train_loss", "validation", "smoothed"):
            np.testing.assert_allclose(found[name], undisturbed[name], rtol=1e-4)

    def test_the_controller_goes_on_where_it_was(self):
        training = Training(settings_for(TOY))
        before = training.advance(20)
        assert before["next_iterations"][-1] > 2
        training.adjust({"differentiation": "unrolled"})
        after = training.advance(10)
        assert after["iterations"][0] == before["next_iterations"][-1]
        state = PRDP(tau_step=0.95, tau_stop=0.95, window=2, ema_window=2, initial=1, maximum=12).init()
        for row in np.concatenate([before, after]):
            state = training.settings.build_controller().update(row["validation"], state)
            assert row["next_iterations"] == int(state.iterations)

    def test_it_acts_from_the_very_next_epoch(self):
        problem = PlainToy()
        training = Training(settings_for(problem))
        before = training.advance(6)
        training.adjust({"differentiation": "detached", "learning_rate": 0.02})
        after = training.advance(4)
        assert len(set(before["validation"])) == 6
        assert set(after["validation"]) == {before["validation"][-1]}
        training.adjust({"differentiation": "implicit"})
        assert training.advance(1)["validation"] < before["validation"][-1]

    def test_more_room_for_unrolling(self):
        training = Training(settings_for(TOY))
        training.advance(2)
        training.adjust({"maximum": 20})
        training.adjust({"differentiation": "unrolled"})
        training.adjust({"iterations": 20})
        (row,) = training.advance(1)
        assert row["iterations"] == 20
        assert math.isfinite(row["train_loss"])
        assert not training.diverged


class TestDivergence:
    def test_ends_with_the_record_that_is_not_finite_wherever_calls_are_cut(self):
        problem = Exploding()
        tables = []
        for size in (1, 7, 41):
            training = Training(settings_for(problem))
            rows = []
            while not training.finished:
                rows.append(training.advance(size))
            tables.append(np.concatenate(rows))
            assert training.diverged
            assert training.epoch == len(tables[-1]) - 1 < 40
            assert_same(tables[-1], tables[0])
        finite = np.isfinite(tables[0]["train_loss"][1:]) & np.isfinite(tables[0]["validation"][1:])
        assert finite[:-1].all()
        assert not finite[-1]

    def test_a_problem_that_blows_up(self):
        training = train(Exploding())
        records = list(training)
        assert training.status == "diverged"
        assert 1 < len(records) < 40
        assert not math.isfinite(records[-1].train_loss + records[-1].validation)
        assert all(math.isfinite(record.train_loss) for record in records[:-1])


@pytest.mark.usefixtures("float64")
def test_double_precision_for_the_thread_that_asks_for_it():
    records = list(train(Toy(), epochs=3))
    assert records[-1].validation != float(np.float32(records[-1].validation))
