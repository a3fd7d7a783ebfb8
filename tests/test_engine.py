"""Runs and races in the engine's thread, commanded from this one."""

import random
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import (
    PATIENCE,
    TOY,
    BlockingToy,
    GatedToy,
    PlainToy,
    Toy,
    adjustments,
    timeless,
    wait_for_adjustment,
    wait_for_epoch,
    wait_for_state,
)

from prdp_explorer import Constant, Engine, Race, Run, Scheduled, train
from prdp_explorer.engine import ENDED, RECORD, as_records, settings_for
from prdp_explorer.engine._training import Training
from prdp_explorer.solvers import Detached, Unrolled

ENDLESS = 100_000


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def paused(engine: Engine, *arguments, **choices) -> Run:
    """A run that stands still after some epochs."""
    run = engine.start(*arguments, **{"epochs": ENDLESS, **choices})
    wait_for_epoch(run, 3)
    run.pause()
    wait_for_state(run, "paused")
    return run


class Raising(Toy):
    """Raises where the engine traces it."""

    def loss(self, model, batch, solve):
        raise RuntimeError("no such loss")


class RaisingLater(Toy):
    """Raises while it trains, at a chosen epoch."""

    def loss(self, model, batch, solve):
        def check(iterations):
            if iterations >= 2:
                raise RuntimeError("the device caught fire")
            return np.zeros((), np.float32)

        nothing = jax.ShapeDtypeStruct((), np.float32)
        none = jax.pure_callback(check, nothing, solve.iterations)
        return super().loss(model, batch, solve) + jax.lax.stop_gradient(none)


class DivergingAtLargeK(Toy):
    """Its loss is no number from K = 2 on."""

    def loss(self, model, batch, solve):
        return jnp.where(solve.iterations < 2, super().loss(model, batch, solve), jnp.nan)


class TestRuns:
    def test_the_log_equals_train(self, engine: Engine):
        run = engine.start("heat-1d", preset="paper", seed=1)
        assert run.wait(timeout=PATIENCE)
        assert (run.state, run.epoch) == ("finished", 100)
        training = train("heat-1d", preset="paper", seed=1)
        assert timeless(run.log.records[1:]) == timeless(training)
        assert run.log.records[0].validation == training.initial_validation
        assert run.log.records[-1].cumulative_iterations == 546

    def test_eight_at_once_equal_their_solo_trainings(self, engine: Engine):
        runs = [engine.start("heat-1d", preset="paper", seed=seed) for seed in range(8)]
        for seed, run in enumerate(runs):
            assert run.wait(timeout=PATIENCE)
            assert timeless(run.log.records[1:]) == timeless(train("heat-1d", preset="paper", seed=seed))
        assert len({run.id for run in runs}) == 8

    def test_states_in_their_order(self, engine: Engine):
        run = engine.start(TOY)
        assert run.state in ("compiling", "queued", "running")
        wait_for_state(run, "finished")
        assert [event.name for event in run.log.events] == ["queued", "running", "finished"]
        assert run.message == "Finished all 40 epochs."
        assert run.ended
        assert run.state in ENDED

    def test_snapshots_of_the_start_and_the_end(self, engine: Engine):
        run = engine.start(TOY)
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "finished")
        assert run.log.snapshots[0].epoch == 0
        assert run.log.snapshots[-1].epoch == 40
        assert {name: values.shape for name, values in run.log.snapshots[0].fields.items()} == {
            "output": (5, 6),
            "target": (5, 6),
        }

    def test_bad_settings_start_nothing(self, engine: Engine):
        bad: list[dict[str, Any]] = [{"pace": 0}, {"pace": float("nan")}, {"pace": "fast"}, {"seed": -1}]
        for choices in bad:
            with pytest.raises(ValueError, match=f"`{next(iter(choices))}`"):
                engine.start(TOY, **choices)
        with pytest.raises(ValueError, match="`contenders`"):
            engine.race(TOY, {})
        assert not engine.races


class TestPauseAndStep:
    def test_a_paused_run_stands_still_until_it_is_resumed(self, engine: Engine):
        run = paused(engine, TOY, epochs=2_000)
        length = len(run.log)
        assert run.wait(lambda run: len(run.log) > length, 0.2) is False
        assert run.log.snapshots[-1].epoch == run.epoch
        run.resume()
        assert run.wait(timeout=PATIENCE)
        assert run.epoch == 2_000

    def test_disturbed_by_pauses_and_steps_it_equals_an_undisturbed_run(self, engine: Engine):
        run = engine.start(TOY, epochs=3_000, seed=2)
        for epoch in (1, 50, 400):
            wait_for_epoch(run, epoch)
            run.pause()
            wait_for_state(run, "paused")
            length = len(run.log)
            run.step()
            assert run.wait(lambda run, length=length: len(run.log) > length, PATIENCE)
            run.resume()
        assert run.wait(timeout=PATIENCE)
        assert timeless(run.log.records[1:]) == timeless(train(TOY, epochs=3_000, seed=2))

    def test_a_step_is_one_epoch(self, engine: Engine):
        run = paused(engine, TOY)
        for _ in range(3):
            before = run.epoch
            run.step()
            assert run.wait(lambda run, before=before: run.epoch > before, PATIENCE)
            wait_for_state(run, "paused")
            assert run.epoch == before + 1
            assert run.log.snapshots[-1].epoch == run.epoch

    def test_as_many_epochs_as_steps_however_fast_they_are_asked_for(self, engine: Engine):
        run = paused(engine, TOY)
        before = run.epoch
        for _ in range(7):
            run.step()
        assert run.wait(lambda run: run.epoch >= before + 7, 5), f"{run.epoch - before} of 7 steps were done"
        wait_for_state(run, "paused")
        assert run.epoch == before + 7

    def test_a_step_pauses_a_run(self, engine: Engine):
        run = engine.start(TOY, epochs=ENDLESS)
        wait_for_epoch(run, 3)
        run.step()
        wait_for_state(run, "paused")
        assert not run.ended

    def test_paused_before_it_is_compiled(self, engine: Engine):
        problem = BlockingToy()
        run = engine.start(problem)
        run.pause()
        problem.released.set()
        wait_for_state(run, "paused")
        assert len(run.log) == 0
        run.resume()
        assert run.wait(timeout=PATIENCE)
        assert run.state == "finished"


class TestStop:
    def test_keeps_what_there_is(self, engine: Engine):
        run = engine.start(TOY, epochs=ENDLESS)
        wait_for_epoch(run, 5)
        run.stop()
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "stopped")
        assert 5 <= run.epoch < ENDLESS
        assert run.message == f"Stopped after epoch {run.epoch}."
        assert run.log.snapshots[-1].epoch == run.epoch

    def test_while_paused(self, engine: Engine):
        run = paused(engine, TOY)
        run.stop()
        wait_for_state(run, "stopped")

    def test_while_compiling_and_the_next_run_trains(self, engine: Engine):
        problem = BlockingToy()
        run = engine.start(problem)
        assert problem.entered.wait(PATIENCE)
        run.stop()
        wait_for_state(run, "stopped")
        assert not problem.released.is_set()
        problem.released.set()
        after = engine.start(TOY)
        assert after.wait(timeout=PATIENCE)
        assert (after.state, run.state, len(run.log)) == ("finished", "stopped", 0)

    def test_a_contender_that_is_ready_need_not_wait_for_another_to_compile(self, engine: Engine):
        """With unrolling another maximum is another program."""
        problem = BlockingToy()
        problem.released.set()
        train(problem, differentiation="unrolled", epochs=1)
        problem.released.clear()
        problem.entered.clear()
        race = engine.race(problem, {"ready": None, "compiling": {"maximum": 13}}, differentiation="unrolled")
        assert problem.entered.wait(PATIENCE)
        try:
            race.runs["ready"].stop()
            assert race.runs["ready"].wait(timeout=5)
            assert race.runs["compiling"].state == "compiling"
        finally:
            problem.released.set()
        assert race.runs["compiling"].wait(timeout=PATIENCE)

    def test_the_others_of_a_race_go_on(self, engine: Engine):
        race = engine.race(TOY, {"PRDP": None, "full physics": Constant()}, epochs=20_000)
        first, second = race.runs.values()
        wait_for_epoch(first, 5)
        first.stop()
        wait_for_state(first, "stopped")
        assert second.wait(timeout=PATIENCE)
        assert (second.state, second.epoch) == ("finished", 20_000)

    def test_all_of_a_race(self, engine: Engine):
        race = engine.race(TOY, {"PRDP": None, "full physics": Constant()}, epochs=ENDLESS)
        race.stop()
        for run in race.runs.values():
            wait_for_state(run, "stopped")
        assert not race.active


class TestAdjust:
    def test_acts_on_the_very_next_epoch_and_is_recorded_with_it(self, engine: Engine):
        run = paused(engine, TOY)
        epoch = run.epoch
        run.adjust(iterations=9, tau_step=0.5, learning_rate=0.01)
        run.adjust(window=5)
        run.step()
        wait_for_epoch(run, epoch + 1)
        record = run.log.records[epoch + 1]
        assert (record.epoch, record.iterations, record.tau_step) == (epoch + 1, 9, 0.5)
        assert adjustments(run) == [
            (epoch + 1, {"iterations": 9, "tau_step": 0.5, "learning_rate": 0.01}),
            (epoch + 1, {"window": 5}),
        ]
        assert run.log.events[-1].name in ("adjust", "running", "paused")
        assert run.settings.refinement["window"] == 5
        assert run.settings.learning_rate == 0.01

    def test_while_running_the_log_says_from_which_epoch(self, engine: Engine):
        run = engine.start(TOY, epochs=ENDLESS)
        wait_for_epoch(run, 1)
        wanted = [0.5, 0.6, 0.7]
        for number, tau in enumerate(wanted):
            run.adjust(tau_step=tau)
            assert run.wait(
                lambda run, n=number: len(adjustments(run)) > n and run.epoch > adjustments(run)[n][0], PATIENCE
            )
        rows = run.log.read()
        epochs = [0, *(epoch for epoch, _ in adjustments(run)), len(rows)]
        for start, end, tau in zip(epochs, epochs[1:], [0.95, *wanted], strict=False):
            assert set(rows["tau_step"][start:end]) == {tau}

    def test_equals_a_run_that_is_adjusted_the_same_way(self, engine: Engine):
        runs = []
        for stepwise in (True, False):
            run = engine.start(TOY, epochs=60, pace=None)
            run.pause()
            wait_for_state(run, "paused")
            while run.epoch < 10 or len(run.log) == 0:
                length = len(run.log)
                run.step()
                assert run.wait(lambda run, length=length: len(run.log) > length, PATIENCE)
            run.adjust(tau_step=0.6, iterations=5, ema_window=1)
            if stepwise:
                run.step()
            run.resume()
            assert run.wait(timeout=PATIENCE)
            runs.append(run)
        assert timeless(runs[0].log.records) == timeless(runs[1].log.records)
        assert runs[0].log.records[11].iterations == 5

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tau_step": 1.5}, "`tau_step`"),
            ({"tau_step": 0.5, "window": 1}, "`window`"),
            ({"iterations": 13}, "`iterations` must not exceed `maximum`"),
            ({"iterations": 0}, "`iterations`"),
            ({"iterations": 2.5}, "`iterations`"),
            ({"learning_rate": 0}, "`learning_rate`"),
            ({"initial": 2}, "`initial`"),
            ({"epochs": 5}, "`epochs` cannot be changed"),
        ],
        ids=str,
    )
    def test_a_bad_value_changes_nothing(self, engine: Engine, changes, message):
        run = paused(engine, TOY)
        settings, record = run.settings, run.log.records[-1]
        with pytest.raises(ValueError, match=message):
            run.adjust(**changes)
        assert run.settings == settings
        run.step()
        wait_for_epoch(run, record.epoch + 1)
        assert not adjustments(run)
        assert run.log.records[-1].tau_step == record.tau_step
        assert run.log.records[-1].iterations == record.next_iterations

    @pytest.mark.parametrize("changes", [{"maximum": 13}, {"maximum": 13, "iterations": 13}], ids=str)
    def test_unrolled_has_no_room_for_more_than_the_maximum_of_its_start(self, engine: Engine, changes):
        run = paused(engine, TOY, differentiation="unrolled")
        run.adjust(maximum=6)
        with pytest.raises(ValueError, match=r"K cannot exceed 12, .* got 13"):
            run.adjust(**changes)
        run.adjust(maximum=12, iterations=12)
        run.step()
        assert run.wait(lambda run: run.log.records[-1].iterations == 12, PATIENCE)
        assert np.isfinite(run.log.records[-1].train_loss)

    def test_implicit_may_exceed_the_maximum_of_its_start(self, engine: Engine):
        run = paused(engine, TOY, differentiation="implicit")
        run.adjust(maximum=50, iterations=50)
        run.step()
        assert run.wait(lambda run: run.log.records[-1].iterations == 50, PATIENCE)

    def test_the_maximum_may_fall_below_the_first_k(self, engine: Engine):
        run = paused(engine, TOY, {"initial": 5})
        run.adjust(maximum=3)
        run.step()
        assert run.wait(lambda run: run.log.records[-1].iterations == 3, PATIENCE)
        run.adjust(tau_step=0.5)
        assert not run.ended, run.message

    def test_full_physics(self, engine: Engine):
        run = paused(engine, TOY, Constant())
        run.adjust(iterations=4)
        epoch = run.epoch
        run.step()
        wait_for_epoch(run, epoch + 1)
        assert run.log.read()["iterations"][[epoch, epoch + 1]].tolist() == [12, 4]

    @pytest.mark.parametrize(
        "controller", [None, Constant(), Scheduled.linear()], ids=["prdp", "constant", "scheduled"]
    )
    def test_the_learning_rate_of_every_kind(self, engine: Engine, controller):
        run = paused(engine, TOY, controller)
        run.adjust(learning_rate=0.01)
        epoch = run.epoch
        run.step()
        wait_for_epoch(run, epoch + 1)
        run.adjust(learning_rate=0.001)
        run.step()
        wait_for_epoch(run, epoch + 2)

    def test_a_run_that_is_over(self, engine: Engine):
        run = engine.start(TOY)
        assert run.wait(timeout=PATIENCE)
        with pytest.raises(ValueError, match=r"This run is over \(finished\)"):
            run.adjust(tau_step=0.5)


class NoUnrolling(Toy):
    """Raises where the engine traces it for unrolled differentiation of more than `largest` iterations."""

    largest = 0

    def loss(self, model, batch, solve):
        if isinstance(solve.differentiation, Unrolled) and solve.differentiation.capacity > self.largest:
            raise RuntimeError("no such gradient")
        return super().loss(model, batch, solve)


def replayed(run: Run, records: int) -> list[str]:
    """The first records of a training without an engine that is adjusted at the epochs that a run's log says."""
    training = Training(run.started_with)
    rows = []
    for epoch, values in [*adjustments(run), (records, {})]:
        while training.epoch < min(epoch, records) - 1:
            rows.append(training.advance(min(epoch, records) - 1 - training.epoch))
        if values:
            training.adjust(values)
    return timeless(as_records(np.concatenate([np.zeros(0, RECORD), *rows])))


class TestModes:
    """The differentiation mode of a running race can be switched."""

    def test_training_goes_on_while_the_new_step_is_compiled_and_then_it_takes_over(self, engine: Engine):
        problem = GatedToy(Detached)
        run = engine.start(problem, epochs=ENDLESS, pace=50.0)
        wait_for_epoch(run, 3)
        run.adjust(differentiation="detached")
        assert run.settings.differentiation == "detached"
        assert problem.entered.wait(PATIENCE)
        asked = run.epoch
        wait_for_epoch(run, asked + 10)
        assert (run.state, run.compilations, adjustments(run)) == ("running", 1, [])
        (compiling,) = (event for event in run.log.events if event.name == "compiling")
        assert 3 < compiling.epoch <= asked + 1
        assert compiling.values == {"differentiation": "detached"}
        assert compiling.message == "Compiling for detached differentiation; training goes on meanwhile."
        problem.released.set()
        acted = wait_for_adjustment(run, "differentiation")
        traces = problem.traces
        wait_for_epoch(run, acted + 10)
        run.stop()
        wait_for_state(run, "stopped")
        assert acted > asked + 10
        assert adjustments(run) == [(acted, {"differentiation": "detached"})]
        (event,) = (event for event in run.log.events if event.name == "adjust")
        assert event.message == f"From epoch {acted} on: differentiation = detached."
        assert (run.compilations, problem.traces) == (2, traces)
        assert run.seconds["compile"] > 0
        rows = run.log.read()
        assert rows["epoch"].tolist() == list(range(len(rows)))
        # Without a gradient plain descent stands still, from the very epoch that the log names.
        assert (np.diff(rows["validation"][:acted]) != 0).all()
        assert set(rows["validation"][acted:]) == {rows["validation"][acted - 1]}

    def test_equals_a_training_that_is_switched_at_the_same_epochs(self, engine: Engine):
        run = engine.start(TOY, Constant(5), epochs=ENDLESS, seed=3, pace=500.0)
        wait_for_epoch(run, 5)
        acted = 0
        for number, mode in enumerate(("unrolled", "implicit")):
            run.adjust(differentiation=mode)
            assert run.wait(lambda run, n=number: len(adjustments(run)) > n, PATIENCE)
            acted, values = adjustments(run)[number]
            assert values == {"differentiation": mode}
            wait_for_epoch(run, acted + 5)
        run.stop()
        wait_for_state(run, "stopped")
        assert timeless(run.log.records) == replayed(run, len(run.log))
        # Here both modes have the same gradient but for rounding, so that the switch leaves no trace.
        undisturbed = Training(run.started_with).advance(min(len(run.log), 200))
        found = run.log.read()[: len(undisturbed)]
        np.testing.assert_allclose(found["validation"], undisturbed["validation"], rtol=1e-3)

    def test_of_both_contenders_at_once(self, engine: Engine):
        problem = Toy()
        race = engine.race(problem, {"PRDP": None, "full physics": Constant()}, epochs=ENDLESS, pace=200.0)
        runs = list(race.runs.values())
        wait_for_epoch(runs[0], 2)
        for run in runs:
            run.adjust(differentiation="unrolled")
        acted = [wait_for_adjustment(run, "differentiation") for run in runs]
        for run, epoch in zip(runs, acted, strict=True):
            wait_for_epoch(run, epoch + 3)
            assert np.isfinite(run.log.read()["validation"]).all()
        assert [run.compilations for run in runs] == [2, 0]

    def test_while_paused_it_waits_for_the_next_epoch(self, engine: Engine):
        run = paused(engine, TOY)
        epoch = run.epoch
        run.adjust(differentiation="unrolled")
        assert wait_for_adjustment(run, "differentiation") == epoch + 1
        assert (run.epoch, run.race.paused) == (epoch, True)
        run.step()
        wait_for_epoch(run, epoch + 1)
        wait_for_state(run, "paused")

    def test_before_the_start_it_is_the_first_epochs(self, engine: Engine):
        problem = BlockingToy()
        run = engine.start(problem, epochs=10)
        run.pause()
        run.adjust(differentiation="unrolled")
        problem.released.set()
        assert wait_for_adjustment(run, "differentiation") == 1
        run.resume()
        assert run.wait(timeout=PATIENCE)
        assert (run.state, run.epoch, run.settings.differentiation) == ("finished", 10, "unrolled")

    def test_room_for_unrolling_is_the_maximum_at_the_switch(self, engine: Engine):
        run = paused(engine, TOY)
        run.adjust(maximum=20)
        run.adjust(differentiation="unrolled")
        wait_for_adjustment(run, "differentiation")
        with pytest.raises(ValueError, match=r"With unrolled differentiation K cannot exceed 20, .* got 21\. Start"):
            run.adjust(maximum=21)
        with pytest.raises(ValueError, match="K cannot exceed 20"):
            run.adjust(maximum=21, iterations=21)
        assert run.settings.refinement["maximum"] == 20
        run.adjust(iterations=20)
        run.step()
        assert run.wait(lambda run: run.log.records[-1].iterations == 20, PATIENCE)
        assert np.isfinite(run.log.records[-1].train_loss)

    def test_unrolling_anew_makes_more_room(self, engine: Engine):
        run = paused(engine, TOY, differentiation="unrolled")
        with pytest.raises(ValueError, match="K cannot exceed 12"):
            run.adjust(maximum=20)
        run.adjust(differentiation="unrolled", maximum=20, iterations=20)
        wait_for_adjustment(run, "differentiation")
        run.step()
        assert run.wait(lambda run: run.log.records[-1].iterations == 20, PATIENCE)
        assert np.isfinite(run.log.records[-1].train_loss)

    def test_edits_made_while_a_mode_is_compiled_hold_in_the_end(self, engine: Engine):
        """Whether they wait for it or not: what was asked for last is what the run does, and it does not fail."""
        problem = GatedToy(Unrolled)
        race = engine.race(problem, {"a": None, "b": None, "c": None}, epochs=ENDLESS, pace=200.0)
        lower, superseded, later = race.runs.values()
        wait_for_epoch(lower, 2)
        for run, asked, after in (
            (lower, {}, {"maximum": 6}),
            (superseded, {"iterations": 12}, {"maximum": 6}),
            (later, {"tau_step": 0.5}, {"tau_step": 0.9}),
        ):
            run.adjust(differentiation="unrolled", **asked)
            run.adjust(**after)
        assert problem.entered.wait(PATIENCE)
        for run in race.runs.values():
            wait_for_epoch(run, run.epoch + 5)
        problem.released.set()
        for run in race.runs.values():
            wait_for_epoch(run, wait_for_adjustment(run, "differentiation") + 1)
            wait_for_epoch(run, max(epoch for epoch, _ in adjustments(run)) + 3)
            assert run.state == "running", run.message
            assert len(adjustments(run)) == 2
            record = run.log.records[-1]
            assert record.iterations <= run.settings.largest_iterations
            assert record.tau_step == run.settings.values["tau_step"]
        lower.adjust(maximum=12, iterations=12)  # that much room there was when it was switched
        wait_for_epoch(lower, wait_for_adjustment(lower, "iterations") + 1)
        assert np.isfinite(lower.log.read()["train_loss"][1:]).all()
        assert 12 in lower.log.read()["iterations"]
        assert [run.compilations for run in race.runs.values()] == [2, 0, 0]

    @pytest.mark.parametrize("mode", ["adjoint", "truncated", None, 1])
    def test_one_that_is_not_offered_changes_nothing(self, engine: Engine, mode):
        run = paused(engine, TOY)
        settings = run.settings
        with pytest.raises(ValueError, match=r"`differentiation` must be one of implicit, unrolled for Toy; got .+\.$"):
            run.adjust(differentiation=mode, tau_step=0.5)
        assert run.settings == settings
        run.step()
        wait_for_epoch(run, run.epoch + 1)
        assert not [event for event in run.log.events if event.name in ("adjust", "compiling")]

    def test_one_that_does_not_go_with_the_solver_changes_nothing(self):
        race = Race({"run": settings_for(PlainToy(), solver="cg")}, None, lambda: None)
        run = race.runs["run"]
        with pytest.raises(ValueError, match="'one-step' does not go with the solver 'cg': CG takes in b at its start"):
            run.adjust(differentiation="one-step")
        assert run.settings == run.started_with
        assert not run.changes

    def test_one_that_cannot_be_compiled_is_dropped_and_training_goes_on(self, engine: Engine):
        run = engine.start(NoUnrolling(), epochs=ENDLESS)
        wait_for_epoch(run, 3)
        run.adjust(differentiation="unrolled", maximum=20)
        run.adjust(tau_step=0.5, maximum=15)
        assert run.wait(lambda run: any(event.name == "refused" for event in run.log.events), PATIENCE)
        (refused,) = (event for event in run.log.events if event.name == "refused")
        assert refused.message.startswith(
            "Differentiation stays implicit, the solver jacobi: the new step could not be compiled. "
        )
        assert "no such gradient" in refused.message
        assert run.settings == run.started_with
        run.adjust(tau_stop=0.5)
        epoch = wait_for_adjustment(run, "tau_stop")
        wait_for_epoch(run, epoch + 3)
        assert (run.state, adjustments(run)) == ("running", [(epoch, {"tau_stop": 0.5})])

    def test_room_for_unrolling_is_what_it_was_where_more_could_not_be_compiled(self, engine: Engine):
        problem = NoUnrolling()
        problem.largest = 12
        run = paused(engine, problem, differentiation="unrolled")
        run.adjust(differentiation="unrolled", maximum=20)
        assert run.wait(lambda run: any(event.name == "refused" for event in run.log.events), PATIENCE)
        assert run.settings == run.started_with
        with pytest.raises(ValueError, match="K cannot exceed 12"):
            run.adjust(maximum=20)

    def test_a_run_that_ends_meanwhile_stays_ended(self, engine: Engine):
        problem = GatedToy(Unrolled)
        run = engine.start(problem, epochs=ENDLESS)
        wait_for_epoch(run, 3)
        run.adjust(differentiation="unrolled")
        assert problem.entered.wait(PATIENCE)
        run.stop()
        wait_for_state(run, "stopped")
        length = len(run.log)
        with pytest.raises(ValueError, match=r"This run is over \(stopped\)"):
            run.adjust(differentiation="implicit")
        problem.released.set()
        other = engine.start(TOY)  # compiled after it, in the same thread
        assert other.wait(timeout=PATIENCE)
        assert (run.state, len(run.log), adjustments(run)) == ("stopped", length, [])

    def test_of_a_run_that_is_over(self, engine: Engine):
        run = engine.start(TOY)
        assert run.wait(timeout=PATIENCE)
        with pytest.raises(ValueError, match=r"This run is over \(finished\)"):
            run.adjust(differentiation="unrolled")


class TestTolerance:
    def test_races_against_full_physics_and_takes_edits(self, engine: Engine):
        tolerance = {"kind": "prdp-tolerance", "rtol_initial": 0.5, "maximum": 12}
        race = engine.race(TOY, {"PRDP": tolerance, "full physics": Constant()}, epochs=ENDLESS)
        run, full = race.runs.values()
        wait_for_epoch(full, 3)
        race.pause()
        wait_for_state(run, "paused")
        epoch = run.epoch
        run.adjust(rtol_floor=0.5, rtol_factor=0.1, maximum=5)
        run.step()
        wait_for_epoch(run, epoch + 1)
        record = run.log.records[epoch + 1]
        assert (record.rtol, record.next_rtol, record.next_iterations) == (0.5, 0.5, 5)
        assert record.iterations <= 5
        assert adjustments(run) == [(epoch + 1, {"rtol_floor": 0.5, "rtol_factor": 0.1, "maximum": 5})]
        before = run.settings
        for changes, name in (({"rtol_initial": 0.1}, "rtol_initial"), ({"rtol_floor": 0}, "rtol_floor")):
            with pytest.raises(ValueError, match=f"`{name}`"):
                run.adjust(**changes)
        assert run.settings == before
        wait_for_epoch(full, epoch + 1)
        assert full.log.records[-1].iterations == 12
        assert np.isnan(full.log.records[-1].rtol)

    def test_the_log_equals_train(self, engine: Engine):
        run = engine.start(TOY, {"kind": "prdp-tolerance"}, seed=6)
        assert run.wait(timeout=PATIENCE)
        assert timeless(run.log.records[1:]) == timeless(train(TOY, {"kind": "prdp-tolerance"}, seed=6))


class TestRaces:
    @pytest.mark.parametrize(("pace", "epochs"), [(None, 6_000), (400.0, 100)])
    def test_contenders_never_differ_by_more_than_one_call(self, engine: Engine, pace, epochs):
        race = engine.race(TOY, {"a": None, "b": Constant(), "c": {"tau_step": 0.5}}, pace=pace, epochs=epochs)
        runs = list(race.runs.values())
        samples = []
        while race.active:
            before = [len(run.log) for run in runs]
            if before == [len(run.log) for run in runs]:
                samples.append(before)
            time.sleep(0.0005)
        lengths = [epochs + 1, epochs + 1, epochs + 1]
        assert [len(run.log) for run in runs] == lengths
        # The epochs of a call share its seconds, hence the end of a call shows where they change.
        ends = [np.flatnonzero(np.diff(run.log.read()["seconds"])) + 1 for run in runs]
        calls = np.union1d(np.union1d(ends[0], ends[1]), ends[2])
        boundaries = np.concatenate([[0], calls, [epochs + 1]])
        assert len(samples) > 10
        for sample in samples:
            assert set(sample) <= set(boundaries.tolist())
            done = np.searchsorted(boundaries, sample)
            assert done.max() - done.min() <= 1

    def test_one_that_diverges_does_not_hold_up_the_other(self, engine: Engine):
        race = engine.race(DivergingAtLargeK(), {"full physics": Constant(), "first K": Constant(1)}, epochs=2_000)
        first, second = race.runs.values()
        assert first.wait(timeout=PATIENCE)
        assert second.wait(timeout=PATIENCE)
        assert (first.state, second.state) == ("diverged", "finished")
        assert second.epoch == 2_000

    def test_all_contenders_pause_and_step_together(self, engine: Engine):
        race = engine.race(TOY, {"a": None, "b": Constant()}, epochs=ENDLESS)
        runs = list(race.runs.values())
        wait_for_epoch(runs[0], 3)
        runs[1].pause()
        for run in runs:
            wait_for_state(run, "paused")
        assert runs[0].epoch == runs[1].epoch
        before = runs[0].epoch
        runs[0].step()
        for run in runs:
            wait_for_epoch(run, before + 1)
            wait_for_state(run, "paused")
        assert [run.epoch for run in runs] == [before + 1] * 2

    def test_labels_and_ids(self, engine: Engine):
        race = engine.race(TOY, {"a": None, "b": Constant()})
        assert [(label, run.label) for label, run in race.runs.items()] == [("a", "a"), ("b", "b")]
        assert engine.races[race.id] is race
        assert all(run.race is race for run in race.runs.values())


class TestPace:
    def test_epochs_wait_for_their_time(self, engine: Engine):
        run = engine.start(TOY, epochs=30, pace=100.0)
        wait_for_epoch(run, 5)
        began, epoch = time.monotonic(), run.epoch
        assert run.wait(timeout=PATIENCE)
        largest_call = 3
        assert time.monotonic() - began >= (30 - epoch - 2 * largest_call) / 100

    def test_may_be_lifted(self, engine: Engine):
        run = engine.start(TOY, pace=0.01)
        wait_for_epoch(run, 0)
        run.race.set_pace(None)
        assert run.wait(timeout=PATIENCE)
        assert timeless(run.log.records[1:]) == timeless(train(TOY))

    @pytest.mark.parametrize("pace", [0, -1, float("nan"), float("inf"), "1"])
    def test_must_be_a_positive_number(self, engine: Engine, pace):
        run = engine.start(TOY, pace=5.0)
        with pytest.raises(ValueError, match="`pace` must be a positive number"):
            run.race.set_pace(pace)
        assert run.race.pace == 5.0


class TestFailures:
    def test_a_huge_learning_rate_diverges_and_the_records_are_kept(self, engine: Engine):
        run = engine.start("heat-1d", preset="paper", seed=1, learning_rate=1e6)
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "diverged")
        rows = run.log.read()
        assert rows["epoch"].tolist() == list(range(len(rows)))
        assert 1 < len(rows) < 101
        assert np.isfinite(rows["validation"][:-1]).all()
        assert not np.isfinite(rows["validation"][-1] + rows["train_loss"][-1])
        assert run.message.startswith(f"Diverged in epoch {run.epoch}")
        assert run.log.snapshots[-1].epoch == run.epoch

    @pytest.mark.parametrize("problem", [Raising(), RaisingLater()], ids=lambda problem: type(problem).__name__)
    def test_a_problem_that_raises_fails_and_the_engine_trains_another(self, engine: Engine, problem):
        run = engine.start(problem, epochs=2_000)
        assert run.wait(timeout=PATIENCE)
        wait_for_state(run, "failed")
        assert "Error" in run.message
        assert "\n" not in run.message
        other = engine.start(TOY)
        assert other.wait(timeout=PATIENCE)
        assert other.state == "finished"

    def test_what_was_recorded_before_a_failure_is_kept(self, engine: Engine):
        run = engine.start(RaisingLater(), epochs=2_000, pace=100.0)
        assert run.wait(timeout=PATIENCE)
        assert run.state == "failed"
        assert len(run.log) >= 1

    def test_a_contender_that_fails_leaves_the_race_to_the_other(self, engine: Engine):
        race = engine.race(RaisingLater(), {"PRDP": None, "first K": Constant(1)}, epochs=500)
        first, second = race.runs.values()
        assert first.wait(timeout=PATIENCE)
        assert second.wait(timeout=PATIENCE)
        assert (first.state, second.state) == ("failed", "finished")


class TestWatching:
    def test_the_last_who_leaves_pauses(self, engine: Engine):
        run = engine.start(TOY, epochs=ENDLESS)
        first, second = run.race.watch(), run.race.watch()
        wait_for_epoch(run, 3)
        first.close()
        first.close()
        assert not run.race.paused
        second.close()
        wait_for_state(run, "paused")
        third = run.race.watch()
        run.resume()
        wait_for_epoch(run, run.epoch + 5)
        third.close()

    def test_a_race_that_nobody_watches_is_forgotten(self):
        engine = Engine(keep_seconds=0.05)
        try:
            run, other = engine.start(TOY, epochs=ENDLESS), engine.start(TOY, epochs=ENDLESS)
            wait_for_epoch(run, 3)
            run.race.watch().close()
            wait_for_state(run, "stopped")
            wait_until(lambda: run.race.id not in engine.races)
            assert len(run.log) > 3
            wait_for_epoch(other, other.epoch + 5)
            assert other.race.id in engine.races
        finally:
            engine.close()

    def test_someone_who_comes_back_in_time_keeps_it(self):
        engine = Engine(keep_seconds=0.3)
        try:
            run = engine.start(TOY, epochs=ENDLESS)
            wait_for_epoch(run, 3)
            run.race.watch().close()
            watch = run.race.watch()
            time.sleep(0.4)
            assert run.race.id in engine.races
            assert not run.ended
            watch.close()
        finally:
            engine.close()

    def test_the_oldest_that_is_over_makes_room_and_a_full_house_is_refused(self, engine: Engine):
        first = engine.start(TOY, epochs=1)
        assert first.wait(timeout=PATIENCE)
        under_way = [engine.start(TOY, epochs=ENDLESS, pace=0.01) for _ in range(64)]
        assert first.race.id not in engine.races
        assert len(engine.races) == 64
        with pytest.raises(ValueError, match="64 races are under way"):
            engine.start(TOY)
        under_way[10].stop()
        wait_for_state(under_way[10], "stopped")
        assert engine.start(TOY).wait(timeout=PATIENCE)


class TestClose:
    def test_stops_everything_and_leaves_no_thread(self):
        engine = Engine()
        runs = [engine.start(TOY, epochs=ENDLESS) for _ in range(3)]
        wait_for_epoch(runs[0], 3)
        engine.close()
        assert [run.state for run in runs] == ["stopped"] * 3
        assert len(runs[0].log) > 3
        wait_until(lambda: not any(thread.name.startswith("prdp-") for thread in threading.enumerate()))
        with pytest.raises(ValueError, match="closed"):
            engine.start(TOY)
        engine.close()

    def test_while_compiling(self):
        engine, problem = Engine(), BlockingToy()
        run = engine.start(problem)
        assert problem.entered.wait(PATIENCE)
        engine.close()
        assert run.state == "stopped"
        problem.released.set()
        wait_until(lambda: not any(thread.name.startswith("prdp-") for thread in threading.enumerate()))
        assert run.state == "stopped"

    def test_without_a_run(self):
        Engine().close()


class TestControlStorm:
    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_several_people_do_at_once_epochs_rise_and_the_run_ends(self, engine: Engine, seed):
        race = engine.race(TOY, {"a": None, "b": Constant()}, epochs=3_000)
        runs, refused, lengths = list(race.runs.values()), [], []

        def command(seed: int) -> None:
            choose = random.Random(seed)
            for _ in range(120):
                run = choose.choice(runs)
                lengths.append((run.label, len(run.log)))
                action = choose.randrange(9)
                try:
                    match action:
                        case 0:
                            run.pause()
                        case 1 | 2:
                            run.resume()
                        case 3:
                            run.step()
                        case 4:
                            run.adjust(learning_rate=choose.uniform(1e-4, 1e-2))
                        case 5:
                            run.adjust(iterations=choose.randint(1, 12))
                        case 6:
                            race.set_pace(choose.choice([None, 50, 5_000]))
                        case 7:
                            race.watch().close()
                        case 8:
                            run.adjust(maximum=choose.randint(1, 12), tau_step=choose.uniform(0.1, 1))
                except ValueError as error:
                    refused.append(str(error))
                time.sleep(choose.uniform(0, 0.004))

        people = [threading.Thread(target=command, args=(10 * seed + number,)) for number in range(3)]
        for person in people:
            person.start()
        for person in people:
            person.join(PATIENCE)
        assert not any(person.is_alive() for person in people)
        watch = race.watch()
        race.set_pace(None)
        race.resume()
        for run in runs:
            assert run.wait(timeout=PATIENCE)
            assert run.state == "finished", run.message
            assert run.log.read()["epoch"].tolist() == list(range(3_001))
            assert np.isfinite(run.log.read()["validation"]).all()
            seen = [length for label, length in lengths if label == run.label]
            assert max(seen) <= 3_001
            acted = [epoch for epoch, _ in adjustments(run)]
            assert acted == sorted(acted)
        assert all(message.startswith(("`", "This run is over")) for message in refused)
        watch.close()
