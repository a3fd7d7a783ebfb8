"""Steering is an experiment: edits are marked and taken back, the past of a live race is seen and forked."""

import html
import re

import numpy as np
import pytest
from dashboard_helpers import click, columns, made_up_race, made_up_rows, tick_until

from prdp_explorer import Engine
from prdp_explorer.dashboard import Explorer
from prdp_explorer.dashboard._curves import AXIS_LABELS
from prdp_explorer.dashboard._source import AXES
from prdp_explorer.dashboard._theme import FULL_LABEL, PRDP_LABEL
from prdp_explorer.engine import Event


@pytest.fixture
def explorer(keeping: Engine) -> Explorer:
    explorer = Explorer(engine=keeping)
    explorer.controls.scenario.value = "heat-1d"
    return explorer


def headline(explorer: Explorer) -> list[str]:
    return [html.unescape(re.sub("<[^>]*>", "", line)) for line in explorer.bar.headline.object.split("<br>")]


def enter(explorer: Explorer, name: str, value: str) -> None:
    explorer.controls._fields[name]._text.value = value


def started(explorer: Explorer, epoch: int = 3) -> None:
    """A race that is under way, slow enough to be steered."""
    click(explorer.bar.start)
    tick_until(explorer, lambda: explorer.shown.epoch >= epoch)


class TestUndo:
    def test_edits_are_taken_back_one_by_one_in_log_and_drawer(self, explorer: Explorer):
        assert explorer.bar.undo.disabled
        started(explorer)
        assert explorer.bar.undo.disabled
        prdp, full = explorer.shown.runs
        before = prdp.settings, full.settings
        enter(explorer, "tau_step", "0.9")
        between = prdp.settings, full.settings
        enter(explorer, "learning_rate", "0.002")
        explorer.tick()
        assert not explorer.bar.undo.disabled
        click(explorer.bar.undo)
        assert (prdp.settings, full.settings) == between
        assert explorer.controls._fields["learning_rate"].value == before[0].learning_rate
        assert explorer.controls._fields["tau_step"].value == 0.9
        click(explorer.bar.undo)
        assert (prdp.settings, full.settings) == before
        assert explorer.controls.settings() == {PRDP_LABEL: before[0], FULL_LABEL: before[1]}
        assert explorer.bar.undo.disabled

        def edits() -> list[dict]:
            return [dict(event.values) for event in prdp.log.events if event.name == "adjust"]

        tick_until(explorer, lambda: len(edits()) == 4)
        rate = before[0].learning_rate
        assert edits() == [{"tau_step": 0.9}, {"learning_rate": 0.002}, {"learning_rate": rate}, {"tau_step": 0.98}]
        tick_until(explorer, lambda: len(columns(explorer.sources[0].edits)["epoch"]) == 4)

    def test_an_edit_that_one_contender_refuses_changes_none(self, explorer: Explorer):
        started(explorer)
        settings = [run.settings for run in explorer.shown.runs]
        with pytest.raises(ValueError, match="`tau_step` cannot be changed"):
            explorer._edit((0, 1), {"tau_step": 0.5})  # which full physics does not have
        assert [run.settings for run in explorer.shown.runs] == settings
        explorer.tick()
        assert explorer.bar.undo.disabled


def test_an_edit_is_marked_where_the_run_was_when_it_was_made():
    race = made_up_race()
    explorer = Explorer(engine=Engine())
    explorer.attach(race)
    run = race.runs[PRDP_LABEL]
    run.log.add_event(Event(1, "adjust", {"tau_step": 0.9}, "before anything"))
    explorer.tick()
    assert not len(columns(explorer.sources[0].edits)["epoch"])
    run.log.append(made_up_rows(0, 21))
    run.log.add_event(Event(11, "adjust", {"tau_step": 0.8}, "later"))
    explorer.tick()
    marks, rows = columns(explorer.sources[0].edits), run.log.read()
    assert list(marks["message"]) == ["before anything", "later"]
    for name in ("epoch", "validation", "cumulative_iterations", "cumulative_seconds"):
        np.testing.assert_array_equal(marks[name], rows[name][[0, 10]])
    assert not len(columns(explorer.sources[1].edits)["epoch"])


class TestRewinding:
    def test_a_live_race_waits_while_its_past_is_seen_and_goes_on(self, explorer: Explorer):
        started(explorer, 6)
        live = explorer.race
        explorer.bar.replay._want(2)
        explorer.tick()
        assert explorer.shown.replayed
        assert [run.epoch for run in explorer.shown.runs] == [2, 2]
        assert live is not None and live.paused
        assert explorer.bar.pause.label == "Resume"
        click(explorer.bar.pause)
        assert explorer.race is live
        assert not live.paused
        reached = explorer.shown.epoch
        tick_until(explorer, lambda: explorer.shown.epoch > reached)

    def test_both_branches_are_seen_over_each_other(self, explorer: Explorer, told: list[str]):
        started(explorer, 6)
        parent = explorer.shown.first
        explorer.bar.replay._want(4)
        explorer.tick()
        enter(explorer, "tau_step", "0.5")
        click(explorer.bar.replay.fork)
        assert not told
        assert [each.label for each in explorer.shown.contenders] == [PRDP_LABEL, FULL_LABEL, "PRDP (not forked)"]
        fork, _, stem = explorer.shown.runs
        assert fork.parent == (parent.id, 4)
        assert stem.id == parent.id
        tick_until(explorer, lambda: fork.epoch >= 6)
        explorer.controls._fields["learning_rate"]._text.value = "0.002"
        tick_until(explorer, lambda: any("learning_rate" in event.values for event in fork.log.events))
        assert not any("learning_rate" in event.values for event in stem.log.events)

    def test_reset_forgets_the_race_and_keeps_the_drawer(self, explorer: Explorer):
        enter(explorer, "tau_step", "0.91")
        started(explorer)
        runs = explorer.shown.runs
        click(explorer.bar.reset)
        assert explorer.shown.runs == []
        assert headline(explorer)[0].startswith("Press Start")
        assert explorer.controls._fields["tau_step"].value == 0.91
        assert not explorer.controls.scenario.disabled
        tick_until(explorer, lambda: all(run.state == "stopped" for run in runs))
        assert explorer.bar.reset.disabled


class TestFurther:
    def test_they_race_with_what_they_were_added_with(self, explorer: Explorer, told: list[str]):
        further = explorer.controls.further
        further.constant.value = 4
        click(further.add_constant)
        enter(explorer, "tau_step", "0.9")
        explorer.controls.differentiation.value = "unrolled"
        click(further.add_prdp)
        click(further.add_prdp)
        assert told == ["PRDP τ_step 0.9, unrolled is among the contenders already; change a setting above first."]
        enter(explorer, "tau_step", "0.98")
        explorer.controls.differentiation.value = "implicit"
        explorer.bar.speed.value = "as fast as possible"
        click(explorer.bar.start)
        tick_until(explorer, lambda: bool(explorer.shown.runs) and not explorer.shown.active)
        prdp, full, few, other = explorer.shown.runs
        assert [run.state for run in explorer.shown.runs] == ["finished"] * 4
        assert few.settings.refinement == {"kind": "constant", "iterations": 4}
        assert (other.settings.values["tau_step"], other.settings.differentiation) == (0.9, "unrolled")
        assert (prdp.settings.values["tau_step"], prdp.settings.differentiation) == (0.98, "implicit")
        spent = [int(run.log.read()[-1]["cumulative_iterations"]) for run in (prdp, full, few, other)]
        tick_until(explorer, lambda: columns(explorer.overview.costs._spent)["iterations"][::-1] == spent)
        assert headline(explorer)[1].startswith("K = 4: 16% of the iterations, ")
        assert headline(explorer)[2].startswith("PRDP τ_step 0.9, unrolled: ")

    def test_no_more_than_there_are_looks_for_and_another_problem_has_none(self, explorer: Explorer, told: list[str]):
        further = explorer.controls.further
        for iterations in (2, 3, 4):
            further.constant.value = iterations
            click(further.add_constant)
        assert further.add_constant.disabled and further.add_prdp.disabled
        assert list(explorer.controls.settings()) == [PRDP_LABEL, FULL_LABEL, "K = 2", "K = 3", "K = 4"]
        explorer.controls.scenario.value = "heat-2d"
        assert list(explorer.controls.settings()) == [PRDP_LABEL, FULL_LABEL]
        assert not further.add_constant.disabled

    def test_what_is_no_k_is_told(self, explorer: Explorer, told: list[str]):
        explorer.controls.further.constant.value = None
        click(explorer.controls.further.add_constant)
        assert "`iterations` must be" in told[0]
        assert not explorer.controls.further.contenders


class TestWhatIsFair:
    def test_equal_time_compares_at_equal_seconds(self):
        race = made_up_race()
        race.set_fairness("time")
        explorer = Explorer(engine=Engine())
        prdp, full = made_up_rows(0, 41), made_up_rows(0, 11, iterations=25)
        full["cumulative_seconds"] = 0.04 * (1 + np.arange(11))
        race.runs[PRDP_LABEL].log.append(prdp)
        race.runs[FULL_LABEL].log.append(full)
        explorer.attach(race)
        assert explorer.overview.fairness.value == "time"
        ratio = prdp["validation"][40] / full["validation"][9]
        assert headline(explorer) == [
            "With 0.41 seconds each PRDP has done 40 epochs and full physics 9, and its error is "
            f"{ratio:.2f} × that of full physics."
        ]

    def test_it_is_chosen_on_the_way(self, explorer: Explorer):
        started(explorer)
        assert explorer.race is not None
        explorer.overview.fairness.value = "time"
        assert explorer.race.fairness == "time"
        explorer.overview.fairness.value = "epochs"
        assert explorer.race.fairness == "epochs"


def test_everything_is_drawn_over_what_is_chosen():
    race = made_up_race()
    explorer = Explorer(engine=Engine())
    explorer.attach(race)
    for label, iterations in ((PRDP_LABEL, 3), (FULL_LABEL, 25)):
        race.runs[label].log.append(made_up_rows(0, 41, iterations=iterations))
    explorer.tick()
    curves = explorer.overview.curves
    for axis, column in AXES.items():
        explorer.overview.axis.value = axis
        assert {renderer.glyph.x for renderer in curves._drawn} == {column}
        assert [plot.xaxis[0].axis_label for plot in curves._plots] == [AXIS_LABELS[column]] * 2
        furthest = max(run.log.read()[-1][column] for run in race.runs.values())
        assert furthest <= curves._along.end < 3 * furthest
        (right,) = columns(curves._ic_area)["right"]
        assert right == race.runs[PRDP_LABEL].log.read()[-1][column]


def test_an_epoch_pointed_at_is_read_of_all_contenders():
    race = made_up_race()
    explorer = Explorer(engine=Engine())
    explorer.attach(race)
    race.runs[PRDP_LABEL].log.append(made_up_rows(0, 31, iterations=3))
    race.runs[FULL_LABEL].log.append(made_up_rows(0, 21, iterations=25))
    explorer.tick()
    pane = explorer.overview._pointed
    asked = pane.object
    explorer._pointer._told.data = {"epoch": [20.0]}
    assert re.sub("<[^>]*>", "", str(pane.object)) == (
        "Epoch 20 · PRDP: error 0.335, K = 3, plateau, the last step was worth it: refine · "
        "full physics: error 0.335, K = 25, plateau, the last step was worth it: refine"
    )
    explorer._pointer._told.data = {"epoch": [25.0]}
    assert "full physics" not in pane.object
    explorer._pointer._told.data = {"epoch": [float("nan")]}
    assert pane.object == asked
