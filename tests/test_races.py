"""Races of contenders that differ in anything, by equal epochs or equal time, and edits that are taken back."""

import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, PlainToy, timeless, wait_for_epoch, wait_for_state

from prdp_explorer import Constant, Engine, Race, Run, train
from prdp_explorer.engine import settings_for

ENDLESS = 100_000
QUICK, SLOW = "quick", "slow"


def unequal_race(engine: Engine, fairness: str) -> Race:
    """Two contenders of which one takes many times as long for an epoch."""
    problem = TOY
    contenders = {
        QUICK: settings_for(problem, Constant(1), epochs=ENDLESS),
        SLOW: settings_for(problem, Constant(10_000), epochs=ENDLESS),
    }
    return engine.race_with(contenders, fairness=fairness)


def paused_after(race: Race, label: str, epoch: int) -> list[Run]:
    wait_for_epoch(race.runs[label], epoch)
    race.pause()
    for run in race.runs.values():
        wait_for_state(run, "paused")
    return list(race.runs.values())


def longest_call(run: Run) -> float:
    """Seconds; the epochs of a call share its time evenly."""
    seconds = run.log.read()["seconds"]
    calls = np.split(seconds, np.flatnonzero(np.diff(seconds)) + 1)
    return max(float(call.sum()) for call in calls)


class TestEqualTime:
    def test_contenders_never_differ_by_more_than_one_call(self, engine: Engine):
        quick, slow = paused_after(unequal_race(engine, "time"), QUICK, 2_000)
        spent = [run.seconds["train"] for run in (quick, slow)]
        assert abs(spent[0] - spent[1]) <= max(longest_call(quick), longest_call(slow)) + 1e-9
        assert quick.epoch > 2 * slow.epoch

    def test_by_equal_epochs_again_the_one_behind_catches_up(self, engine: Engine):
        race = unequal_race(engine, "time")
        quick, slow = paused_after(race, QUICK, 2_000)
        ahead = quick.epoch
        assert slow.epoch < ahead
        quick.adjust(iterations=9_999)  # so that both are slow, and catching up is not a race of its own
        slow.adjust(iterations=1)
        race.set_fairness("epochs")
        race.resume()
        wait_for_epoch(quick, ahead + 1)
        race.pause()
        for run in (quick, slow):
            wait_for_state(run, "paused")
        assert quick.epoch == slow.epoch

    def test_a_step_is_one_epoch_of_the_one_behind(self, engine: Engine):
        race = unequal_race(engine, "time")
        runs = paused_after(race, SLOW, 2)
        behind = min(runs, key=lambda run: run.seconds["train"])
        epochs = {run.label: run.epoch for run in runs}
        race.step()
        assert behind.wait(lambda run: run.epoch > epochs[run.label], PATIENCE)
        wait_for_state(behind, "paused")
        assert {run.label: run.epoch - epochs[run.label] for run in runs} == {
            run.label: int(run is behind) for run in runs
        }

    def test_each_contender_does_what_it_does_alone(self, engine: Engine):
        contenders = {"prdp": settings_for(TOY), "full": settings_for(TOY, Constant())}
        race = engine.race_with(contenders, fairness="time")
        for label, run in race.runs.items():
            assert run.wait(timeout=PATIENCE)
            alone = train(TOY, contenders[label].build_controller())
            assert timeless(run.log.records[1:]) == timeless(alone)

    def test_what_is_no_fairness_is_refused_and_nothing_starts(self, engine: Engine):
        with pytest.raises(ValueError, match="`fairness` must be one of epochs, time; got 'luck'"):
            engine.race_with({"a": settings_for(TOY)}, fairness="luck")
        assert not engine.races


def test_contenders_may_differ_in_mode_and_solver(engine: Engine):
    problem = PlainToy()
    contenders = {
        "one": settings_for(problem, solver="cg", differentiation="exact-adjoint"),
        "other": settings_for(problem, Constant(4), solver="jacobi", differentiation="unrolled"),
    }
    race = engine.race_with(contenders)
    for label, run in race.runs.items():
        assert run.wait(timeout=PATIENCE)
        settings = contenders[label]
        alone = train(
            problem, settings.build_controller(), solver=settings.solver, differentiation=settings.differentiation
        )
        assert timeless(run.log.records[1:]) == timeless(alone)


class TestUndo:
    @pytest.mark.parametrize(
        "changes",
        [
            {"tau_step": 0.5},
            {"tau_step": 0.5, "tau_stop": 0.4, "window": 5},
            {"learning_rate": 0.5},
            {"maximum": 30},
            {"differentiation": "unrolled"},
        ],
    )
    def test_what_an_edit_returns_takes_it_back(self, engine: Engine, changes: dict):
        run = engine.start(TOY, epochs=ENDLESS)
        wait_for_epoch(run, 2)
        before = run.settings
        former = run.adjust(**changes)
        assert run.settings != before
        assert former.keys() == changes.keys()
        run.adjust(**former)
        assert run.settings == before

    def test_k_of_the_next_epoch(self, engine: Engine):
        run = engine.start(TOY, epochs=ENDLESS)
        wait_for_epoch(run, 2)
        run.pause()
        wait_for_state(run, "paused")
        decided = int(run.log.read()[-1]["next_iterations"])
        run.adjust(**run.adjust(iterations=11))
        run.step()
        wait_for_epoch(run, run.epoch + 1)
        assert run.log.read()[-1]["iterations"] == decided

    def test_of_full_physics(self, engine: Engine):
        run = engine.start(TOY, Constant(7), epochs=ENDLESS)
        wait_for_epoch(run, 2)
        assert run.adjust(iterations=3) == {"iterations": 7}
        assert run.adjust(iterations=4) == {"iterations": 3}
