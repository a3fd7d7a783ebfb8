"""The explorer without a browser."""

import html
import re
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from dashboard_helpers import click, columns, made_up_race, made_up_rows, tick_until

from prdp_explorer import Engine
from prdp_explorer.dashboard import Explorer, _controls, _explorer, _fields_rollout, _overview
from prdp_explorer.dashboard._bar import RACE_SECONDS, SPEEDS
from prdp_explorer.dashboard._controls import FULL_LABEL, PRDP_LABEL
from prdp_explorer.dashboard._explorer import shared_engine
from prdp_explorer.dashboard._shown import STATE_WORDS
from prdp_explorer.dashboard._source import MOST_POINTS
from prdp_explorer.engine import ENDED


def text(pane) -> str:
    """What a person reads in an HTML pane."""
    return html.unescape(re.sub(r"<br>", "\n", pane.object).replace("<b>", "").replace("</b>", ""))


def status(explorer: Explorer) -> str:
    return re.sub("<[^>]*>", "", explorer.bar.status.object)


def heat(engine: Engine) -> Explorer:
    """An explorer that is about to race heat in 1D."""
    explorer = Explorer(engine=engine)
    explorer.controls.scenario.value = "heat-1d"
    return explorer


@pytest.fixture
def explorer(engine: Engine) -> Explorer:
    return heat(engine)


def history(explorer: Explorer) -> str:
    """What a person reads in the view of what happened."""
    return html.unescape(re.sub("<[^>]*>", " ", str(explorer.overview.history._pane.object)))


def states(explorer: Explorer) -> set[str]:
    return {run.state for run in explorer.shown.runs}


class TestCommands:
    def test_before_the_first_race(self, explorer: Explorer):
        assert status(explorer) == "Ready · no run yet"
        assert not explorer.bar.start.disabled
        assert all(button.disabled for button in (explorer.bar.pause, explorer.bar.step, explorer.bar.stop))
        assert explorer.engine.races == {}
        explorer.tick()

    def test_a_race_from_start_to_finish(self, explorer: Explorer):
        explorer.bar.speed.value = "as fast as possible"
        click(explorer.bar.start)
        assert explorer.bar.start.disabled
        assert explorer.controls.scenario.disabled
        tick_until(explorer, lambda: states(explorer) == {"finished"})
        explorer.tick()
        assert status(explorer) == "Finished · epoch 100 of 100"
        assert (explorer.bar.replay.epoch.value, explorer.bar.replay.epoch.end) == (100, 100)
        assert not explorer.bar.start.disabled
        assert not explorer.controls.scenario.disabled
        for source, run in zip(explorer.sources, explorer.shown.runs, strict=False):
            data = columns(source.source)
            np.testing.assert_array_equal(data["epoch"], run.log.read()["epoch"])
            np.testing.assert_array_equal(data["validation"], run.log.read()["validation"])
        first = explorer.race
        click(explorer.bar.start)
        assert explorer.race is not first
        assert status(explorer).endswith("epoch 0 of 100")
        assert {len(columns(source.source)["epoch"]) for source in explorer.sources[:2]} == {1}
        tick_until(explorer, lambda: states(explorer) == {"finished"})
        explorer.close()

    def test_pause_step_resume_stop(self, explorer: Explorer):
        click(explorer.bar.start)
        tick_until(explorer, lambda: min(run.epoch for run in explorer.shown.runs) >= 1)
        click(explorer.bar.pause)
        assert explorer.bar.pause.label == "Resume"
        tick_until(explorer, lambda: states(explorer) == {"paused"})
        epoch = explorer.shown.runs[0].epoch
        click(explorer.bar.step)
        tick_until(explorer, lambda: {run.epoch for run in explorer.shown.runs} == {epoch + 1})
        tick_until(explorer, lambda: states(explorer) == {"paused"})
        assert status(explorer) == f"Paused · epoch {epoch + 1} of 100"
        click(explorer.bar.pause)
        assert explorer.bar.pause.label == "Pause"
        tick_until(explorer, lambda: min(run.epoch for run in explorer.shown.runs) > epoch + 1)
        click(explorer.bar.stop)
        tick_until(explorer, lambda: states(explorer) == {"stopped"})
        explorer.tick()
        assert status(explorer).startswith("Stopped")
        assert not explorer.bar.start.disabled
        assert explorer.bar.stop.disabled

    def test_speeds_are_paces(self, explorer: Explorer):
        click(explorer.bar.start)
        assert explorer.race is not None
        assert explorer.race.pace == pytest.approx(100 / RACE_SECONDS)
        for label, speed in SPEEDS.items():
            explorer.bar.speed.value = label
            expected = None if speed is None else pytest.approx(speed * 100 / RACE_SECONDS)
            assert explorer.race.pace == expected
        tick_until(explorer, lambda: states(explorer) <= ENDED)

    def test_edits_reach_the_runs_and_are_told(self, explorer: Explorer):
        click(explorer.bar.start)
        fields = explorer.controls._fields
        fields["tau_step"]._text.value = "0.9"
        fields["full_iterations"]._text.value = "20"
        tick_until(explorer, lambda: "iterations = 20" in str(explorer.overview.history._pane.object))
        assert explorer.race is not None
        assert explorer.race.runs[PRDP_LABEL].settings.values["tau_step"] == 0.9
        assert explorer.race.runs[FULL_LABEL].settings.values["iterations"] == 20
        assert "tau_step = 0.9" in str(explorer.overview.history._pane.object)
        click(explorer.bar.stop)
        tick_until(explorer, lambda: states(explorer) == {"stopped"})
        fields["tau_step"]._text.value = "0.8"  # for the next race
        assert explorer.race.runs[PRDP_LABEL].settings.values["tau_step"] == 0.9
        assert fields["tau_step"].value == 0.8

    def test_what_does_not_fit_together_is_refused_at_start(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch):
        told: list[str] = []
        monkeypatch.setattr(_explorer, "notify", told.append)
        explorer.controls._fields["initial"]._text.value = "26"
        click(explorer.bar.start)
        assert len(told) == 1
        assert "initial" in told[0]
        assert "maximum" in told[0]
        assert (explorer.race, explorer.engine.races) == (None, {})
        assert not explorer.bar.start.disabled

    def test_a_floor_above_the_first_tolerance_is_refused_at_start(
        self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch
    ):
        told: list[str] = []
        monkeypatch.setattr(_explorer, "notify", told.append)
        explorer.controls.refines.value = "prdp-tolerance"
        explorer.controls._fields["rtol_initial"]._text.value = "0.1"
        explorer.controls._fields["rtol_floor"]._text.value = "0.2"
        click(explorer.bar.start)
        assert len(told) == 1
        assert "`rtol_floor` must not exceed `rtol_initial`" in told[0]
        assert explorer.engine.races == {}

    def test_the_mode_of_a_running_race_is_switched_for_both(self, explorer: Explorer):
        explorer.controls.scenario.value = "poisson-1"
        click(explorer.bar.start)
        tick_until(explorer, lambda: min(run.epoch for run in explorer.shown.runs) >= 1)
        explorer.controls.differentiation.value = "unrolled"
        assert {run.settings.differentiation for run in explorer.shown.runs} == {"unrolled"}
        tick_until(explorer, lambda: history(explorer).count("differentiation = unrolled.") == 2)
        assert history(explorer).count("Compiling for unrolled differentiation; training goes on meanwhile.") == 2
        acted = max(event.epoch for run in explorer.shown.runs for event in run.log.events if event.name == "adjust")
        tick_until(explorer, lambda: min(run.epoch for run in explorer.shown.runs) > acted)
        assert states(explorer) == {"running"}
        assert explorer.controls.differentiation.value == "unrolled"
        assert all(np.isfinite(run.log.read()["validation"]).all() for run in explorer.shown.runs)
        click(explorer.bar.stop)
        tick_until(explorer, lambda: states(explorer) == {"stopped"})
        explorer.controls.differentiation.value = "detached"  # for the next race
        assert {run.settings.differentiation for run in explorer.shown.runs} == {"unrolled"}

    def test_the_mode_shown_is_the_races_whoever_changed_it(self, explorer: Explorer):
        explorer.controls.scenario.value = "poisson-1"
        click(explorer.bar.start)
        for mode in ("one-step", "implicit"):
            for run in explorer.shown.runs:
                run.adjust(differentiation=mode)
            explorer.tick()
            assert explorer.controls.differentiation.value == mode
        assert states(explorer) <= {"compiling", "queued", "running"}

    def test_a_mode_that_has_no_room_is_told_and_reverted(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch):
        told: list[str] = []
        monkeypatch.setattr(_controls, "notify", told.append)
        click(explorer.bar.start)

        def refuse(**changes: Any) -> None:
            raise ValueError("no room for it")

        for run in explorer.shown.runs:
            monkeypatch.setattr(run, "adjust", refuse)
        explorer.controls.differentiation.value = "one-step"
        assert told == ["no room for it"]
        assert explorer.controls.differentiation.value == "implicit"

    def test_a_race_that_refines_a_tolerance(self, explorer: Explorer):
        """Of a scenario whose seed is not used, besides."""
        controls = explorer.controls
        controls.scenario.value = "poisson-1"
        controls.refines.value = "prdp-tolerance"
        explorer.bar.speed.value = "as fast as possible"
        click(explorer.bar.start)
        assert controls.refines.disabled
        tick_until(explorer, lambda: states(explorer) == {"finished"})
        explorer.tick()
        assert status(explorer) == "Finished · epoch 180 of 180"
        assert controls._fields["seed"]._text.disabled
        assert not controls.refines.disabled
        assert "The tolerance falls from 0.3 to 0.15." in history(explorer)
        assert explorer.race is not None
        rows = explorer.race.runs[PRDP_LABEL].log.read()
        data = columns(explorer.sources[0].source)
        np.testing.assert_array_equal(data["iterations"][1:], rows["iterations"][1:])
        assert 0 < rows["iterations"][1] < rows["iterations"][-1] < 600
        assert not data["iterations"][0] > rows["iterations"][1]  # the bound of K is no K that was spent
        assert re.match("After 180 epochs PRDP has spent", text(explorer.bar.headline))

    def test_a_long_race_that_refines_a_tolerance_is_thinned_out_like_any(self, explorer: Explorer):
        explorer.attach(made_up_race())
        assert explorer.race is not None
        rows = made_up_rows(0, 20_000)
        rows["next_iterations"] = 25  # K stays at its bound, and a refinement lowers the tolerance
        rows["rtol"], rows["next_rtol"] = 0.3, np.where(rows["epoch"] == 7_777, 0.15, 0.3)
        rows["refined"] = rows["epoch"] == 7_777
        for part in np.array_split(rows, 10):
            explorer.race.runs[PRDP_LABEL].log.append(part)
            explorer.tick()
        shown = columns(explorer.sources[0].source)["epoch"]
        assert 100 < len(shown) <= MOST_POINTS + 1
        assert 7_777 in shown

    def test_curves_that_nobody_sees_are_sent_late_and_whole(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(_explorer, "UNSEEN_SECONDS", 1000.0)
        race = made_up_race()
        explorer.attach(race)
        explorer.tabs.active = 1
        run = race.runs[PRDP_LABEL]
        before = len(run.log)
        run.log.append(made_up_rows(before, 20))
        explorer.tick()
        assert len(columns(explorer.sources[0].source)["epoch"]) <= max(before, 1)
        explorer.tabs.active = 0
        explorer.tick()
        assert len(columns(explorer.sources[0].source)["epoch"]) == before + 20

    @pytest.mark.parametrize("tab", [0, 1, 2])
    def test_at_rest_nothing_is_sent(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch, tab: int):
        """What is assigned to a source is sent and painted again by Bokeh, whether it is new or not."""
        monkeypatch.setattr(_overview, "SECONDS_BETWEEN_COSTS", 0)
        monkeypatch.setattr(_fields_rollout, "SECONDS_BETWEEN", 1000)  # a rollout that begins is no rest
        explorer.bar.speed.value = "as fast as possible"
        explorer.controls._fields["epochs"].show(20)
        click(explorer.bar.start)
        tick_until(explorer, lambda: states(explorer) == {"finished"})
        explorer.tabs.active = tab
        document = Document()
        document.add_root(explorer.tabs.get_root(document))
        explorer.tick()
        sent: list[Any] = []
        document.on_change(sent.append)
        for _ in range(3):
            explorer.tick()
        assert sent == []

    def test_leaving_pauses_the_race_once_nobody_is_left(self, explorer: Explorer):
        click(explorer.bar.start)
        race = explorer.race
        assert race is not None
        second = Explorer(engine=explorer.engine)
        second.attach(race)
        assert race.watchers == 2
        explorer.close()
        explorer.close()
        assert (race.watchers, race.paused) == (1, False)
        second.close()
        assert (race.watchers, race.paused) == (0, True)

    def test_two_explorers_on_one_engine_do_not_mix(self, engine: Engine):
        one, other = heat(engine), heat(engine)
        for explorer, seed, threshold in ((one, "1", "0.9"), (other, "2", "0.99")):
            explorer.bar.speed.value = "as fast as possible"
            explorer.controls._fields["seed"]._text.value = seed
            explorer.controls._fields["tau_step"]._text.value = threshold
        for explorer in (one, other):
            click(explorer.bar.start)
        for explorer in (one, other):
            tick_until(explorer, lambda explorer=explorer: states(explorer) == {"finished"})
            explorer.tick()
        shown = [columns(explorer.sources[0].source) for explorer in (one, other)]
        assert [set(data["tau_step"]) for data in shown] == [{0.9}, {0.99}]
        assert list(shown[0]["validation"]) != list(shown[1]["validation"])
        assert [run.settings.seed for run in (*one.shown.runs, *other.shown.runs)] == [1, 1, 2, 2]
        assert len(engine.races) == 2

    def test_every_state_has_a_word(self):
        assert set(STATE_WORDS) == ENDED | {"compiling", "queued", "running", "paused"}


class TestSpeed:
    @pytest.mark.parametrize("pace", [None, 2 * 100 / RACE_SECONDS, 1.7])
    def test_looking_at_a_race_leaves_its_pace_as_it_is(self, explorer: Explorer, pace: float | None):
        race = made_up_race()
        race.pace = pace
        explorer.attach(race)
        assert race.pace == pace
        speeds = [name for name, speed in SPEEDS.items() if speed == (pace and round(pace * RACE_SECONDS / 100, 6))]
        assert explorer.bar.speed.value == next(iter(speeds), "1×")


class TestStory:
    """The sentence must be true of the data shown."""

    @pytest.fixture
    def shown(self, explorer: Explorer) -> Explorer:
        explorer.attach(made_up_race())
        return explorer

    @staticmethod
    def append(explorer: Explorer, prdp: np.ndarray, full: np.ndarray) -> str:
        assert explorer.race is not None
        explorer.race.runs[PRDP_LABEL].log.append(prdp)
        explorer.race.runs[FULL_LABEL].log.append(full)
        explorer.tick()
        return text(explorer.bar.headline)

    @pytest.mark.parametrize("seed", range(5))
    def test_its_numbers_are_those_of_the_log(self, shown: Explorer, seed: int):
        random = np.random.default_rng(seed)
        count = int(random.integers(2, 60))
        prdp, full = made_up_rows(0, count), made_up_rows(0, count)
        for rows in (prdp, full):
            rows["iterations"][1:] = random.integers(1, 30, count - 1)
            rows["cumulative_iterations"] = np.cumsum(rows["iterations"])
            rows["seconds"] = random.uniform(0.001, 0.1, count)
            rows["cumulative_seconds"] = np.cumsum(rows["seconds"])
            rows["validation"] = random.uniform(0.001, 1, count)
        story = self.append(shown, prdp, full)
        found = re.fullmatch(
            r"After (\d+) epochs? PRDP has spent (\d+)% of the inner iterations and (\d+)% of the seconds of full "
            r"physics, and its error is ([\d.]+) × that of full physics\.",
            story,
        )
        assert found, story
        assert int(found[1]) == count - 1
        assert abs(int(found[2]) - 100 * prdp["iterations"].sum() / full["iterations"].sum()) <= 0.5
        assert abs(int(found[3]) - 100 * prdp["seconds"].sum() / full["seconds"].sum()) <= 0.5
        assert abs(float(found[4]) - prdp["validation"][-1] / full["validation"][-1]) <= 0.005

    def test_contenders_at_different_epochs_are_compared_at_the_last_that_both_have(self, shown: Explorer):
        story = self.append(shown, made_up_rows(0, 12), made_up_rows(0, 15))
        assert story.startswith("After 11 epochs PRDP")
        assert story == self.append(shown, made_up_rows(0, 0), made_up_rows(15, 5))
        assert self.append(shown, made_up_rows(12, 8), made_up_rows(0, 0)).startswith("After 19 epochs PRDP")

    def test_one_epoch_is_no_epochs(self, shown: Explorer):
        assert self.append(shown, made_up_rows(0, 2), made_up_rows(0, 2)).startswith("After 1 epoch PRDP")

    @pytest.mark.parametrize(
        ("prdp_error", "full_error"), [(np.nan, 0.1), (np.nan, np.nan), (np.inf, np.inf), (0.1, 0.0)]
    )
    def test_what_is_no_number_is_not_compared(self, shown: Explorer, prdp_error: float, full_error: float):
        prdp, full = made_up_rows(0, 3), made_up_rows(0, 3)
        prdp["validation"][-1], full["validation"][-1] = prdp_error, full_error
        story = self.append(shown, prdp, full)
        assert not re.search(r"\b(nan|inf)\b", story)

    def test_it_says_that_it_compiles_only_while_it_compiles(self, shown: Explorer):
        assert "Compiling" in text(shown.bar.headline)
        assert shown.race is not None
        for run in shown.race.runs.values():
            run.enter("stopped", "Stopped before training began.")
        shown.tick()
        assert "Compiling" not in text(shown.bar.headline)

    def test_before_the_first_epoch_it_does_not_compile_any_more(self, shown: Explorer):
        assert shown.race is not None
        for run in shown.race.runs.values():
            run.enter("paused", "Paused after epoch 0.")
        story = self.append(shown, made_up_rows(0, 1), made_up_rows(0, 1))
        assert "Compiling" not in story

    def test_troubles_are_told_as_text(self, shown: Explorer):
        assert shown.race is not None
        shown.race.runs[PRDP_LABEL].enter("failed", "Failed in epoch 3. TypeError: <lambda> & <img src=x>")
        shown.tick()
        assert "PRDP: Failed in epoch 3. TypeError: <lambda> & <img src=x>" in text(shown.bar.headline)
        assert "<img" not in shown.bar.headline.object


class TestKeeping:
    @pytest.fixture
    def own_engine(self, monkeypatch: pytest.MonkeyPatch):
        """`shared_engine` as a new process would make it."""
        shared_engine.cache_clear()
        engines = []

        def make() -> Engine:
            engines.append(shared_engine())
            return engines[-1]

        yield make
        for engine in engines:
            engine.close()
        shared_engine.cache_clear()

    def test_the_pages_engine_keeps_runs_where_the_environment_says(self, own_engine, tmp_path, monkeypatch):
        monkeypatch.setenv("PRDP_EXPLORER_STORE", str(tmp_path / "runs.sqlite"))
        engine = own_engine()
        assert engine.recorder.store.place == str(tmp_path / "runs.sqlite")
        assert engine.trouble is None

    def test_a_store_that_cannot_be_used_is_told_beside_the_result(self, own_engine, tmp_path, monkeypatch):
        (tmp_path / "notes.txt").write_text("<b>no database</b>" * 100)
        monkeypatch.setenv("PRDP_EXPLORER_STORE", str(tmp_path / "notes.txt"))
        explorer = Explorer(engine=own_engine())
        explorer.attach(made_up_race())
        assert "notes.txt' is no store of runs, or is damaged" in text(explorer.bar.headline)
        assert text(explorer.bar.headline).endswith("Runs are not kept.")
        explorer.close()
