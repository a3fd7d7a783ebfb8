"""The labs together: all look at the race that is shown, and at nothing before there is one."""

import time
from collections.abc import Callable

from dashboard_helpers import PATIENCE, click
from uneven_rod import UnevenRod

from prdp_explorer import Constant, Engine, TolerancePRDP, explore
from prdp_explorer.dashboard._labs import Labs
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import FULL_LABEL, PRDP_LABEL
from prdp_explorer.engine import settings_for


def update_until(labs: Labs, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
        labs.update()


def test_both_answer_for_the_race_shown(engine: Engine, told: list[str]):
    labs = Labs(engine, lambda: settings_for("poisson-1"))
    labs.look_at(Shown(None, kept=False))
    labs.update()
    assert labs.solver.lab is None
    race = engine.race(UnevenRod(), {PRDP_LABEL: None, FULL_LABEL: Constant()})
    for run in race.runs.values():
        assert run.wait(timeout=PATIENCE)
    labs.look_at(Shown(race, kept=False))
    update_until(labs, lambda: labs.solver.lab is not None)
    assert labs.solver.lab is not None and list(labs.solver.lab.convergences) == ["damped-jacobi"]
    click(labs.gradient.compare_now)
    update_until(labs, lambda: len(labs.gradient._compared) > 0)
    assert told == []


def test_a_loop_of_ones_own_has_neither_and_is_told_so(engine: Engine):
    labs = Labs(engine, lambda: settings_for("poisson-1"))
    with explore("mine", Constant(3), engine=engine) as session:
        for _ in session.epochs(2):
            session.report(1.0)
    labs.look_at(Shown(session.race, kept=False))
    labs.update()
    assert "only its author's code" in labs.solver._status.object
    assert labs.gradient.compare_now.disabled


def test_the_saving_is_predicted_for_what_is_set(engine: Engine, told: list[str]):
    wanted = [settings_for("poisson-1"), settings_for("poisson-1", TolerancePRDP())]
    labs = Labs(engine, lambda: wanted.pop(0))
    click(labs.predicted.measure)
    assert labs.predicted.measure.disabled and "Measuring" in labs.predicted._told.object
    update_until(labs, lambda: labs.predicted.prediction is not None)
    words = labs.predicted._told.object
    assert "poisson-1, live: an epoch costs" in words and "of the seconds</b>" in words
    assert not labs.predicted.measure.disabled
    click(labs.predicted.measure)
    update_until(labs, lambda: "What a tolerance will cost" in labs.predicted._told.object)
