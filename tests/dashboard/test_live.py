"""What a widget can be made of, and what it does before anybody looks."""

import weakref

import pytest
from dashboard_helpers import columns, made_up_race, made_up_rows
from training_helpers import recorder_of
from uneven_rod import UnevenRod

from prdp_explorer import PRDP, Engine
from prdp_explorer.dashboard import Explorer, FieldsView, KeptRuns, RaceView, WhyView
from prdp_explorer.dashboard._live import tick_once
from prdp_explorer.dashboard._session import MOST_UNDER_WAY, notify, telling
from prdp_explorer.dashboard._theme import PRDP_LABEL
from prdp_explorer.problems import problem_named

VIEWS = (RaceView, WhyView, FieldsView)


class Session:
    """What a loop of one's own has of a race."""

    def __init__(self, race):
        self.race = race


def test_the_browser_is_asked_at_each_tick_of_a_race_and_rarely_at_rest(keeping: Engine):
    run = keeping.start("heat-1d", PRDP(), seed=3, epochs=20)
    run.wait()
    replay = keeping.replay(run.id, 0, pace=0.1)
    explorer = Explorer(replay)
    explorer.beat._handle_msg(0)
    asked: list[float] = []
    for act in (lambda: None, replay.resume):
        act()
        before = explorer.beat._asked
        for _ in range(MOST_UNDER_WAY):
            tick_once(weakref.ref(explorer))
        asked.append(explorer.beat._asked - before)
        explorer.beat._handle_msg(explorer.beat._asked)
    explorer.close()
    assert asked == [1, MOST_UNDER_WAY]


class TestExplorer:
    def test_of_a_scenario_the_drawer_is_set_to_it(self, engine: Engine):
        assert Explorer("burgers-1d", engine=engine).controls.scenario.value == "burgers-1d"

    def test_of_a_run_it_is_followed_and_its_engine_is_used(self, keeping: Engine):
        run = keeping.start("heat-1d", PRDP(tau_step=0.9), seed=3)
        for show in (run, run.race, Session(run.race)):
            explorer = Explorer(show)
            assert (explorer.engine, explorer.race, run.race.watchers) == (keeping, run.race, 1)
            assert explorer.controls.contenders()[PRDP_LABEL]["tau_step"] == 0.9
            explorer.close()
        assert (run.race.watchers, run.race.paused) == (0, True)

    def test_replays_forks_and_what_is_resumed_know_their_engine(self, keeping: Engine):
        run = keeping.start("heat-1d", PRDP(), seed=3, epochs=20)
        run.wait()
        replay = keeping.replay(run.id)
        races = [replay, keeping.seek(replay, 3), keeping.fork(run.id, 10, tau_step=0.9)]
        assert all(race.engine is keeping for race in races)
        assert made_up_race().engine is None

    @pytest.mark.parametrize(
        ("show", "words"),
        [
            ("heat-1", "Did you mean heat-1d"),
            (3, "`show` must be a run or a race"),
            (Session(None), "`show` must be a run or a race"),
            (dict, "The problem must be a Problem, or a class of them; got type"),
        ],
    )
    def test_anything_else_is_refused_in_words(self, show: object, words: str, engine: Engine):
        with pytest.raises(ValueError, match=words):
            Explorer(show, engine=engine)

    def test_a_problem_of_ones_own_is_registered_and_chosen(self, engine: Engine):
        for show in (UnevenRod, problem_named("heat-2d", "live"), UnevenRod()):
            explorer = Explorer(show, engine=engine)
            chosen = "heat-2d" if not isinstance(show, UnevenRod | type) else "uneven-rod"
            assert explorer.controls.scenario.value == chosen
            explorer.close()

    def test_what_is_no_engine_is_refused_in_words(self):
        with pytest.raises(ValueError, match="`engine` must be an `Engine`; got 3"):
            Explorer(engine=3)  # pyrefly: ignore[bad-argument-type]


class TestViews:
    @pytest.mark.parametrize("view", VIEWS)
    def test_it_follows_a_race_and_watches_it(self, view, engine: Engine):
        race = made_up_race()
        race.engine = engine
        live = view(Session(race))
        assert race.watchers == 1
        race.runs[PRDP_LABEL].log.append(made_up_rows(0, 12))
        live.tick()
        assert len(columns(live.sources[0].source)["epoch"]) == 12
        assert "epoch 11 of 100" in live._heading.object
        live.close()
        assert (race.watchers, race.paused) == (0, True)

    @pytest.mark.parametrize("view", VIEWS)
    def test_anything_else_is_refused_in_words(self, view):
        with pytest.raises(ValueError, match="`show` must be a run or a race"):
            view("heat-1d")

    def test_a_what_if_that_is_forked_takes_the_place_of_the_race(self, keeping: Engine):
        run = keeping.start("heat-1d", PRDP(), seed=3, epochs=20)
        run.wait()
        view = WhyView(run)
        view._fork(run.id, 10, {"tau_step": 0.9})
        assert view.race is not run.race
        assert view.shown.first.parent == (run.id, 10)
        with pytest.raises(ValueError, match="without a change"):
            view._fork(run.id, 10, {})
        view.close()

    def test_what_the_race_has_in_common_is_chosen(self, engine: Engine):
        race = made_up_race()
        race.engine = engine
        view = RaceView(race)
        view.view.fairness.value = "time"
        assert race.fairness == "time"


class TestKeptRuns:
    def test_of_an_engine_and_of_a_store(self, keeping: Engine):
        run = keeping.start("heat-1d", PRDP(), seed=3, epochs=20)
        run.wait()
        for kept_by in (keeping, keeping.store):
            recorder_of(keeping).write()
            view = KeptRuns(kept_by)
            assert list(view.view.table.value.index) == [run.id]
            assert not view.view.open.visible and not view.view.resume.visible
            view.close()

    def test_anything_else_is_refused_in_words(self, engine: Engine):
        with pytest.raises(ValueError, match="This engine keeps no runs"):
            KeptRuns(engine)
        with pytest.raises(ValueError, match="must be an `Engine` or a `Store`; got 3"):
            KeptRuns(3)  # pyrefly: ignore[bad-argument-type]


def test_what_went_wrong_is_told_where_there_is_no_page(engine: Engine):
    race = made_up_race()
    race.engine = engine
    view = RaceView(race)
    with telling(view.tell):
        notify("no <room> for it")
    assert "no &lt;room&gt; for it" in str(view._note.object)
    view._told -= 10
    view.tick()
    assert view._note.object == ""
