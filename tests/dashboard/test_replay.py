"""Kept runs on the page, without a browser: opened, played, moved, forked and reused."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import param
import pytest
from dashboard_helpers import PATIENCE, click, columns, made_up_race, tick_until

from prdp_explorer import PRDP, Constant, Engine, Race
from prdp_explorer.dashboard import Explorer
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import FULL_LABEL, PRDP_LABEL
from prdp_explorer.engine import Store, settings_for
from prdp_explorer.refinement import AbstractController


@pytest.fixture
def explorer(tmp_path: Path) -> Iterator[Explorer]:
    """An explorer whose runs are kept."""
    engine = Engine(Store(tmp_path / "runs.sqlite"))
    yield Explorer(engine=engine)
    engine.close()


def raced(explorer: Explorer) -> Race:
    """A race that is over."""
    explorer.bar.speed.value = "as fast as possible"
    click(explorer.bar.start)
    tick_until(explorer, lambda: not explorer.shown.active)
    assert explorer.race is not None
    return explorer.race


def move(explorer: Explorer, epoch: int) -> None:
    """Release the scrubber at an epoch."""
    with param.edit_constant(explorer.bar.replay.epoch):
        explorer.bar.replay.epoch.value_throttled = epoch
    explorer.tick()


def shown(explorer: Explorer) -> dict[str, list[float]]:
    both = zip((PRDP_LABEL, FULL_LABEL), explorer.sources, strict=False)
    return {label: list(columns(source.source)["epoch"]) for label, source in both}


def status(explorer: Explorer) -> str:
    return re.sub("<[^>]*>", "", explorer.bar.status.object)


def headline(explorer: Explorer) -> str:
    return html.unescape(re.sub("<[^>]*>", "", explorer.bar.headline.object))


def test_a_race_that_is_over_is_moved_and_replayed(explorer: Explorer):
    assert explorer.bar.replay.epoch.disabled
    race = raced(explorer)
    assert not explorer.bar.replay.epoch.disabled
    assert (explorer.bar.replay.epoch.end, explorer.bar.replay.epoch.value) == (100, 100)
    end = headline(explorer)
    move(explorer, 40)
    assert explorer.race is not race
    assert shown(explorer) == {label: list(range(41)) for label in (PRDP_LABEL, FULL_LABEL)}
    tick_until(explorer, lambda: status(explorer) == "Replay, paused · epoch 40 of 100")
    assert headline(explorer).startswith("After 40 epochs PRDP has spent")
    assert explorer.bar.pause.label == "Resume"
    assert not explorer.bar.start.disabled
    assert explorer.bar.stop.disabled
    click(explorer.bar.pause)
    tick_until(explorer, lambda: status(explorer) == "Replay, finished · epoch 100 of 100")
    assert headline(explorer) == end
    assert explorer.bar.pause.label == "Replay"
    explorer.bar.speed.value = "1×"
    click(explorer.bar.pause)
    tick_until(explorer, lambda: status(explorer).startswith("Replay, playing · epoch 2 "))
    assert explorer.bar.replay.epoch.value == explorer.shown.first.epoch
    click(explorer.bar.pause)
    tick_until(explorer, lambda: status(explorer).startswith("Replay, paused"))
    epoch = explorer.shown.first.epoch
    click(explorer.bar.step)
    tick_until(explorer, lambda: explorer.shown.first.epoch == epoch + 1)
    assert len(explorer.engine.store.runs()) == 2
    explorer.close()


def test_the_drawer_does_not_change_what_was(explorer: Explorer):
    raced(explorer)
    move(explorer, 40)
    explorer.controls._fields["tau_step"]._text.value = "0.5"
    explorer.controls.differentiation.value = "unrolled"
    explorer.tick()
    assert explorer.shown.first.settings.values["tau_step"] != 0.5
    assert explorer.controls._fields["tau_step"].value == 0.5
    assert explorer.controls.differentiation.value == "unrolled"


def test_a_fork_goes_another_way_from_the_epoch_shown(explorer: Explorer, told: list[str]):
    race = raced(explorer)
    parent = race.runs[PRDP_LABEL]
    move(explorer, 40)
    click(explorer.bar.replay.fork)
    assert told == ["A fork without a change would be the same run again; change a setting."]
    explorer.controls._fields["tau_step"]._text.value = "0.5"
    explorer.controls._fields["maximum"]._text.value = "30"
    click(explorer.bar.replay.fork)
    fork = explorer.shown.first
    assert fork.parent == (parent.id, 40)
    assert explorer.shown.training
    tick_until(explorer, lambda: not explorer.shown.active)
    assert len(told) == 1
    assert [(each.place, each.label, each.run.state) for each in explorer.shown.contenders] == [
        (0, PRDP_LABEL, "finished"),
        (1, FULL_LABEL, "finished"),
        (2, f"{PRDP_LABEL} (not forked)", "finished"),
    ]
    rows, before = fork.log.read(), parent.log.read()
    assert rows[:41].tobytes() == before[:41].tobytes()
    assert list(columns(explorer.sources[0].source)["validation"]) == rows["validation"].tolist()
    assert rows["validation"][-1] != before["validation"][-1]
    assert "Forked from" in explorer.overview.history._pane.object
    tick_until(explorer, lambda: len(explorer.engine.store.runs()) == 3)


def test_what_a_run_cannot_become_is_told(explorer: Explorer, told: list[str]):
    raced(explorer)
    move(explorer, 40)
    explorer.controls._fields["seed"]._text.value = "7"
    click(explorer.bar.replay.fork)
    explorer.controls.scenario.value = "heat-2d"
    click(explorer.bar.replay.fork)
    assert told == [
        "A run cannot change its seed on the way. Start a new one.",
        "A run cannot change its scenario, seed on the way. Start a new one.",
    ]


def test_full_physics_is_reused_unless_that_is_switched_off(explorer: Explorer):
    first = raced(explorer).runs[FULL_LABEL]
    again = raced(explorer)
    assert (again.runs[FULL_LABEL].id, again.runs[FULL_LABEL].played) == (first.id, True)
    assert "Not trained again" in explorer.overview.history._pane.object
    assert "seconds of" not in headline(explorer)
    assert headline(explorer).endswith("Their seconds were measured on different occasions.")
    assert "different occasions" in str(getattr(explorer.overview.costs._seconds.title, "text", ""))
    explorer.controls.reuse.value = False
    assert not raced(explorer).runs[FULL_LABEL].played
    assert "of the seconds of full physics" in headline(explorer)
    tick_until(explorer, lambda: len(explorer.engine.store.runs()) == 5)


def test_a_rate_changed_on_the_way_reaches_a_reused_run_as_well(explorer: Explorer):
    raced(explorer)
    explorer.bar.speed.value = "1×"
    click(explorer.bar.start)
    tick_until(explorer, lambda: explorer.shown.first.epoch >= 3)
    explorer.controls._fields["learning_rate"]._text.value = "0.002"
    tick_until(explorer, lambda: explorer.overview.history._pane.object.count("learning_rate = 0.002") == 2)
    assert [run.played for run in explorer.shown.runs] == [False, False]
    explorer.bar.speed.value = "as fast as possible"
    tick_until(explorer, lambda: not explorer.shown.active)
    assert [run.state for run in explorer.shown.runs] == ["finished", "finished"]


def test_a_kept_run_is_opened_with_its_settings(explorer: Explorer):
    race = explorer.engine.race("heat-2d", {PRDP_LABEL: None, FULL_LABEL: Constant(40)}, epochs=4, seed=5)
    for run in race.runs.values():
        assert run.wait(timeout=PATIENCE)
    explorer.open_run(race.runs[PRDP_LABEL].id)
    assert status(explorer) == "Replay, finished · epoch 4 of 4"
    controls = explorer.controls
    assert (controls.scenario.value, controls.epochs, controls._fields["seed"].value) == ("heat-2d", 4, 5)
    assert controls._fields["full_iterations"].value == 40
    with pytest.raises(ValueError, match="There is no run 'heat-1d-0'"):
        explorer.open_run("heat-1d-0")
    assert explorer.bar.replay.epoch.value == 4
    click(explorer.bar.reset)
    explorer.tick()
    assert (explorer.bar.replay.epoch.value, explorer.bar.replay.epoch.disabled) == (0, True)


def test_one_run_by_itself_fills_the_views_that_it_can(explorer: Explorer):
    run = explorer.engine.start("heat-1d", epochs=20)
    assert run.wait(timeout=PATIENCE)
    explorer.open_run(run.id)
    explorer.tick()
    rows = run.log.read()
    share = rows["cumulative_iterations"][-1] / (20 * 25)
    assert headline(explorer).startswith(f"After 20 epochs PRDP has spent {share:.0%} of the inner iterations of full")
    assert shown(explorer)[PRDP_LABEL] == rows["epoch"].tolist()
    assert np.isnan(shown(explorer)[FULL_LABEL]).all()
    assert columns(explorer.overview.costs._spent)["name"] == [PRDP_LABEL]
    assert columns(explorer.overview.costs._saved)["all"] == [500]
    assert "full physics" not in explorer.overview.curves._error_legend.object


def test_a_constant_k_by_itself_is_where_full_physics_is(explorer: Explorer):
    run = explorer.engine.start("heat-1d", Constant(4), epochs=10)
    assert run.wait(timeout=PATIENCE)
    explorer.open_run(run.id)
    assert [each.place for each in explorer.shown.contenders] == [1]
    assert "K = 4" in explorer.overview.curves._error_legend.object
    assert headline(explorer).startswith("After 10 epochs K = 4 has spent 16% of the inner iterations")


def test_an_interrupted_run_goes_on_where_it_was(explorer: Explorer):
    explorer.bar.speed.value = "1×"
    click(explorer.bar.start)
    tick_until(explorer, lambda: explorer.shown.first.epoch >= 3)
    click(explorer.bar.stop)
    tick_until(explorer, lambda: not explorer.shown.active)
    run = explorer.shown.first
    explorer.bar.speed.value = "as fast as possible"
    explorer.resume_run(run.id)
    tick_until(explorer, lambda: not explorer.shown.active)
    assert [(each.state, each.epoch) for each in explorer.shown.runs] == [("finished", 100)] * 2
    assert explorer.shown.first.id == run.id
    with pytest.raises(ValueError, match="is finished; what can be resumed"):
        explorer.resume_run(run.id)


def test_where_runs_are_not_kept_nothing_is_moved(engine: Engine):
    explorer = Explorer(engine=engine)
    explorer.attach(made_up_race())
    for run in explorer.shown.runs:
        run.enter("stopped", "Stopped.")
    explorer.tick()
    assert explorer.bar.replay.epoch.disabled
    assert explorer.bar.pause.disabled


def placed(**contenders: AbstractController) -> dict[int, str]:
    settings = {label: settings_for("heat-1d", controller) for label, controller in contenders.items()}
    return {each.place: each.label for each in Shown(Race(settings, None, lambda: None), kept=False).contenders}


def test_places_of_contenders():
    assert placed(a=Constant(1), b=Constant(2)) == {0: "a", 1: "b"}
    assert placed(**{FULL_LABEL: Constant(), "x": PRDP()}) == {0: "x", 1: FULL_LABEL}
    assert placed(few=Constant(4), x=PRDP(), **{FULL_LABEL: Constant()}, y=PRDP()) == {
        0: "x",
        1: FULL_LABEL,
        2: "few",
        3: "y",
    }
    assert placed(**{letter: PRDP() for letter in "abcdefgh"}) == {0: "a", 2: "b", 3: "c", 4: "d"}
