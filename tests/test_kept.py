"""Kept runs that are played, reused and forked: to whoever reads logs they are runs like any other."""

from typing import Any

import numpy as np
import pytest
from training_helpers import (
    PATIENCE,
    TOY,
    adjustments,
    recorder_of,
    timeless,
    undisturbed,
    wait_for_adjustment,
    wait_for_epoch,
    wait_for_state,
)

from prdp_explorer import PRDP, Constant, Engine, Race, Run
from prdp_explorer.engine import as_records

CONTENDERS = {"PRDP": None, "full physics": Constant()}


def over(race: Race) -> Race:
    for run in race.runs.values():
        assert run.wait(timeout=PATIENCE)
    for run in race.runs.values():
        wait_for_state(run, run.state)
    return race


def trained(engine: Engine, **choices: Any) -> Race:
    """A race of 60 epochs, PRDP edited on the way."""
    usual: dict[str, Any] = {"epochs": 60, "seed": 2, "pace": 100.0}
    race = engine.race("heat-1d", CONTENDERS, **(usual | choices))
    wait_for_epoch(race.runs["PRDP"], 5)
    race.runs["PRDP"].adjust(tau_step=0.95)
    wait_for_adjustment(race.runs["PRDP"], "tau_step")
    race.set_pace(None)
    over(race)
    recorder_of(engine).write()
    return race


def assert_same_records(run: Run, other: Run) -> None:
    assert run.log.read().tobytes() == other.log.read().tobytes()


class TestReplay:
    def test_it_opens_at_its_end_with_everything(self, keeping: Engine):
        race = trained(keeping)
        replay = keeping.replay(race.runs["PRDP"].id)
        assert list(replay.runs) == list(CONTENDERS)
        for label, run in race.runs.items():
            played = replay.runs[label]
            assert (played.id, played.state, played.message, played.played) == (run.id, run.state, run.message, True)
            assert_same_records(played, run)
            assert adjustments(played) == adjustments(run)
            assert played.settings == run.settings
            assert [each.epoch for each in played.log.snapshots][-1] == 60
        assert len(keeping.store.runs()) == 2

    def test_it_plays_at_a_pace_and_takes_commands(self, keeping: Engine):
        run = trained(keeping).runs["PRDP"]
        (edited,) = (epoch for epoch, _ in adjustments(run))
        replay = keeping.replay(run.id, 0, pace=20.0, paused=False)
        played = replay.runs["PRDP"]
        wait_for_epoch(played, 3)
        assert played.epoch < 60
        replay.pause()
        wait_for_state(played, "paused")
        epoch = played.epoch
        replay.step()
        wait_for_epoch(played, epoch + 1)
        wait_for_state(played, "paused")
        assert played.epoch == epoch + 1
        assert played.log.read().tobytes() == run.log.read()[: epoch + 2].tobytes()
        assert played.log.snapshots[-1].epoch <= epoch + 1
        assert len(adjustments(played)) == (edited <= epoch + 2)
        replay.set_pace(None)
        replay.resume()
        over(replay)
        assert_same_records(played, run)
        assert (played.state, played.settings) == ("finished", run.settings)

    def test_it_moves_to_any_epoch(self, keeping: Engine):
        race = trained(keeping)
        replay = keeping.replay(race.runs["PRDP"].id)
        for epoch in (30, 5, 0, 60, 59):
            moved = keeping.seek(replay, epoch)
            assert moved.id == replay.id
            assert keeping.races[replay.id] is moved
            for label, run in moved.runs.items():
                assert run.log.read().tobytes() == race.runs[label].log.read()[: epoch + 1].tobytes()
                assert run.ended == (epoch == 60)
        with pytest.raises(ValueError, match="Only a replay can be moved"):
            keeping.seek(race, 3)

    def test_nothing_of_it_can_be_changed(self, keeping: Engine):
        run = trained(keeping).runs["PRDP"]
        replay = keeping.replay(run.id, 3)
        with pytest.raises(ValueError, match="This is a replay"):
            replay.runs["PRDP"].adjust(tau_step=0.5)

    def test_it_is_forgotten_when_nobody_looks(self, keeping: Engine):
        replay = keeping.replay(trained(keeping).runs["PRDP"].id, 3)
        watch = replay.watch()
        assert replay.id in keeping.races
        watch.close()
        assert replay.runs["PRDP"].wait(timeout=PATIENCE)
        wait_for_state(replay.runs["PRDP"], "stopped")
        assert replay.runs["PRDP"].log.wait(lambda: replay.id not in keeping.races, PATIENCE)

    def test_a_run_by_itself_is_seen_beside_its_full_physics(self, keeping: Engine):
        full = keeping.start("heat-1d", Constant(), epochs=20)
        alone = keeping.start("heat-1d", epochs=20)
        for run in (full, alone):
            assert run.wait(timeout=PATIENCE)
        recorder_of(keeping).write()
        assert {label: run.id for label, run in keeping.replay(alone.id).runs.items()} == {
            "PRDP": alone.id,
            "full physics": full.id,
        }
        assert list(keeping.replay(full.id).runs) == ["full physics"]

    def test_what_is_under_way_elsewhere_ends_where_it_was(self, keeping: Engine):
        run = keeping.start("heat-1d", epochs=100_000)
        wait_for_epoch(run, 30)
        run.pause()
        wait_for_state(run, "paused")
        recorder_of(keeping).write()
        (played,) = keeping.replay(run.id).runs.values()
        assert (played.state, played.epoch) == ("stopped", run.epoch)
        assert "ends here" in played.message

    def test_what_cannot_be_played_is_refused_in_words(self, keeping: Engine):
        with pytest.raises(ValueError, match="There is no run 'heat-1d-0'"):
            keeping.replay("heat-1d-0")
        with pytest.raises(ValueError, match="This engine keeps no runs"):
            Engine().replay("heat-1d-0")
        run = keeping.start(TOY, epochs=3)
        assert run.wait(timeout=PATIENCE)
        recorder_of(keeping).write()
        with pytest.raises(ValueError, match="Toy is a problem of one's own"):
            keeping.replay(run.id)


class TestReuse:
    def test_full_physics_is_not_trained_again(self, keeping: Engine):
        first = trained(keeping)
        again = over(keeping.race("heat-1d", CONTENDERS, epochs=60, seed=2, reuse=True))
        full = again.runs["full physics"]
        assert full.id == first.runs["full physics"].id
        assert_same_records(full, first.runs["full physics"])
        assert "Not trained again" in full.log.events[0].message
        assert again.runs["PRDP"].id != first.runs["PRDP"].id
        recorder_of(keeping).write()
        assert len(keeping.store.runs()) == 3

    def test_only_where_everything_is_equal_and_it_is_wanted(self, keeping: Engine):
        trained(keeping)
        for epochs, seed, reuse in ((60, 3, True), (61, 2, True), (60, 2, False)):
            race = keeping.race("heat-1d", CONTENDERS, epochs=epochs, seed=seed, pace=1.0, reuse=reuse)
            assert not any(run.played for run in race.runs.values())
            race.stop()

    def test_changed_on_the_way_it_is_trained_from_there(self, keeping: Engine):
        first = trained(keeping)
        race = keeping.race("heat-1d", CONTENDERS, epochs=60, seed=2, reuse=True, pace=20.0)
        full = race.runs["full physics"]
        wait_for_epoch(full, 3)
        full.adjust(learning_rate=2e-3)
        acted = wait_for_adjustment(full, "learning_rate")
        race.set_pace(None)
        over(race)
        assert full.state == "finished"
        assert not full.played
        assert full.id != first.runs["full physics"].id
        assert full.parent == (first.runs["full physics"].id, acted - 1)
        _, rows = undisturbed(full)
        assert timeless(full.log.records) == timeless(as_records(rows))
        before = first.runs["full physics"].log.read()[:acted]
        assert full.log.read()[:acted].tobytes() == before.tobytes()
        recorder_of(keeping).write()
        kept = keeping.store.run(full.id)
        assert (kept.parent, kept.parent_epoch) == full.parent
        assert kept.epochs == 60
        assert keeping.store.rows(full.id).tobytes() == full.log.read().tobytes()


class TestFork:
    @pytest.mark.parametrize(
        "changes",
        [
            {"tau_step": 0.5, "tau_stop": 0.99},
            {"iterations": 9, "learning_rate": 3e-3},
            {"solver": "cg"},
            {"differentiation": "unrolled", "maximum": 40, "iterations": 33},
            {"epochs": 90},
        ],
        ids=lambda changes: " ".join(changes),
    )
    def test_it_shares_the_past_and_goes_another_way(self, keeping: Engine, changes: Any):
        parent = trained(keeping).runs["PRDP"]
        (edited,) = (epoch for epoch, _ in adjustments(parent))
        epoch = 30
        assert edited < epoch
        (fork,) = over(keeping.fork(parent.id, epoch, **changes)).runs.values()
        assert (fork.state, fork.epoch, fork.parent) == ("finished", changes.get("epochs", 60), (parent.id, epoch))
        assert fork.log.read()[: epoch + 1].tobytes() == parent.log.read()[: epoch + 1].tobytes()
        assert [each for each, _ in adjustments(fork)] == [edited, epoch + 1]
        assert adjustments(fork)[1][1].items() >= changes.items()
        _, rows = undisturbed(fork)
        assert timeless(fork.log.records) == timeless(as_records(rows))
        if "epochs" not in changes:
            assert fork.log.read()["validation"][-1] != parent.log.read()["validation"][-1]
        recorder_of(keeping).write()
        kept = keeping.store.run(fork.id)
        assert (kept.parent, kept.parent_epoch, kept.label) == (parent.id, epoch, "PRDP")
        assert kept.edits.items() >= {"tau_step": 0.95, **changes}.items()
        assert keeping.store.rows(fork.id).tobytes() == fork.log.read().tobytes()

    def test_unrolling_has_room_for_a_larger_maximum(self, keeping: Engine):
        run = keeping.start("poisson-1", Constant(4), epochs=20, differentiation="unrolled")
        assert run.wait(timeout=PATIENCE)
        recorder_of(keeping).write()
        (fork,) = over(keeping.fork(run.id, 10, iterations=12)).runs.values()
        race = keeping.race("poisson-1", {"a": Constant(4)}, epochs=20, differentiation="unrolled")
        (same,) = over(race).runs.values()
        assert fork.state == "finished"
        assert fork.log.read()["validation"][:11].tolist() == same.log.read()["validation"][:11].tolist()
        assert np.isfinite(fork.log.read()["validation"]).all()
        assert fork.log.read()["iterations"].tolist() == [0] + [4] * 10 + [12] * 10

    def test_a_fork_is_forked_again_and_resumed(self, keeping: Engine):
        parent = trained(keeping).runs["PRDP"]
        (fork,) = over(keeping.fork(parent.id, 30, tau_step=0.5)).runs.values()
        race = keeping.fork(fork.id, 40, tau_stop=0.99, epochs=400, pace=50.0)
        (second,) = race.runs.values()
        wait_for_epoch(second, 60)
        second.stop()
        wait_for_state(second, "stopped")
        recorder_of(keeping).write()
        (again,) = over(keeping.resume(second.id)).runs.values()
        _, rows = undisturbed(again)
        assert timeless(again.log.records) == timeless(as_records(rows))
        assert [epoch for epoch, _ in adjustments(again)][1:] == [31, 41]

    def test_a_run_under_way_is_forked_as_it_is(self, keeping: Engine):
        run = keeping.start("heat-1d", epochs=100_000, pace=100.0)
        wait_for_epoch(run, 20)
        (fork,) = keeping.fork(run.id, 20, tau_step=0.5, epochs=30).runs.values()
        assert fork.wait(timeout=PATIENCE)
        assert (fork.state, fork.epoch) == ("finished", 30)
        assert timeless(fork.log.records[:21]) == timeless(run.log.records[:21])

    def test_its_full_physics_is_played_beside_it(self, keeping: Engine):
        first = trained(keeping)
        race = keeping.fork(first.runs["PRDP"].id, 30, tau_step=0.5, beside=True, pace=20.0)
        wait_for_epoch(race.runs["PRDP"], 32)
        assert abs(race.runs["PRDP"].epoch - race.runs["full physics"].epoch) <= 2
        race.set_pace(None)
        over(race)
        assert_same_records(race.runs["full physics"], first.runs["full physics"])
        assert race.runs["full physics"].played

    def test_what_cannot_be_forked_is_refused_in_words(self, keeping: Engine):
        run = trained(keeping).runs["PRDP"]
        bad: list[tuple[int, Any, str]] = [
            (61, {"tau_step": 0.5}, "`epoch` must be one that .* has recorded, 0 to 60; got 61"),
            (-1, {"tau_step": 0.5}, "0 to 60; got -1"),
            (3, {}, "A fork without a change"),
            (3, {"seed": 1}, "`seed` cannot be changed"),
            (3, {"tau_step": 7}, "`tau_step`"),
            (30, {"epochs": 30}, "`epochs` must exceed the epoch of the fork, which is 30; got 30"),
            (60, {"tau_step": 0.5}, "`epochs` must exceed"),
        ]
        for epoch, changes, words in bad:
            with pytest.raises(ValueError, match=words):
                keeping.fork(run.id, epoch, **changes)
        assert len(keeping.store.runs()) == 2


def test_a_resumed_run_is_seen_beside_what_is_over(keeping: Engine):
    race = keeping.race("heat-1d", {"PRDP": PRDP(), "full physics": Constant()}, epochs=400, pace=50.0)
    wait_for_epoch(race.runs["PRDP"], 10)
    race.runs["PRDP"].stop()
    wait_for_state(race.runs["PRDP"], "stopped")
    race.set_pace(None)
    assert race.runs["full physics"].wait(timeout=PATIENCE)
    recorder_of(keeping).write()
    again = over(keeping.resume(race.runs["PRDP"].id, beside=True))
    assert {label: (run.state, run.played) for label, run in again.runs.items()} == {
        "PRDP": ("finished", False),
        "full physics": ("finished", True),
    }
    assert_same_records(again.runs["full physics"], race.runs["full physics"])
