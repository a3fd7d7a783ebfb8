"""The tab of the labs: both look at the race that is shown, and at nothing before there is one."""

from dashboard_helpers import click, tick_until
from uneven_rod import UnevenRod

from prdp_explorer import Constant, Engine, explore
from prdp_explorer.dashboard import Explorer
from prdp_explorer.dashboard._labs import Labs
from prdp_explorer.dashboard._theme import FULL_LABEL, PRDP_LABEL

LABS = 4


def opened(explorer: Explorer) -> Labs:
    explorer.tabs.active = LABS
    explorer.tick()
    return explorer.views["Labs"]


def test_both_answer_for_the_race_shown(engine: Engine, told: list[str]):
    explorer = Explorer(engine=engine)
    labs = opened(explorer)
    assert labs.solver.lab is None
    race = engine.race(UnevenRod(), {PRDP_LABEL: None, FULL_LABEL: Constant()})
    explorer.attach(race)
    tick_until(explorer, lambda: not explorer.shown.active)
    tick_until(explorer, lambda: labs.solver.lab is not None)
    assert labs.solver.lab is not None and list(labs.solver.lab.convergences) == ["damped-jacobi"]
    click(labs.gradient.compare_now)
    tick_until(explorer, lambda: labs.gradient._spent(labs.gradient._contenders[0]).lab is not None)
    assert told == []
    explorer.close()


def test_a_loop_of_ones_own_has_neither_and_is_told_so(engine: Engine):
    with explore("mine", Constant(3), engine=engine) as session:
        explorer = Explorer(session)
        labs = opened(explorer)
        for _ in session.epochs(2):
            session.report(1.0)
            explorer.tick()
    assert "only its author's code" in labs.solver._status.object
    assert labs.gradient.compare_now.disabled
    explorer.close()


def test_the_saving_is_predicted_for_what_is_set(engine: Engine, told: list[str]):
    explorer = Explorer("poisson-1", engine=engine)
    labs = opened(explorer)
    click(labs.predicted.measure)
    assert labs.predicted.measure.disabled and "Measuring" in labs.predicted._told.object
    tick_until(explorer, lambda: labs.predicted.prediction is not None)
    words = labs.predicted._told.object
    assert "poisson-1, live: an epoch costs" in words and "of the seconds</b>" in words
    assert not labs.predicted.measure.disabled
    explorer.controls.refines.value = "prdp-tolerance"
    click(labs.predicted.measure)
    tick_until(explorer, lambda: "What a tolerance will cost" in labs.predicted._told.object)
    explorer.close()
