"""The view of decisions: what a controller saw, what it decided and why, and what it would have decided."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from bokeh.models import ColumnDataSource
from dashboard_helpers import PATIENCE, click, columns, extent, made_up_race, made_up_rows

from prdp_explorer import Race
from prdp_explorer.dashboard import _what_if, _why
from prdp_explorer.dashboard._pointer import Pointer
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._source import MOST_POINTS
from prdp_explorer.dashboard._theme import FULL_LABEL, LOOKS, PRDP_LABEL
from prdp_explorer.dashboard._what_if import APPROXIMATION
from prdp_explorer.dashboard._why import Why
from prdp_explorer.dashboard._why_source import what_if_columns
from prdp_explorer.engine import Event, Run, WhatIf, as_records, history_of, settings_for
from prdp_explorer.engine._what_if import decide, other_controller
from prdp_explorer.refinement import Reason


class Answering:
    """Stands in for an engine: answers at once, or when told to, and remembers what was asked."""

    def __init__(self):
        self.asked: list[dict[str, Any]] = []
        self.waiting: list[Callable[[], None]] = []
        self.at_once = True

    def what_if(self, run: Run, changes: dict[str, Any]) -> Future[WhatIf]:
        self.asked.append(dict(changes))
        controller = other_controller(run.settings, changes)
        future: Future[WhatIf] = Future()

        def answer() -> None:
            future.set_result(decide(history_of(run.settings, run.log.read()), controller))

        if self.at_once:
            answer()
        else:
            self.waiting.append(answer)
        return future


@pytest.fixture
def engine() -> Answering:
    return Answering()


@pytest.fixture
def forks() -> list[Any]:
    return []


@pytest.fixture
def why(engine: Any, forks: list[Any], monkeypatch: pytest.MonkeyPatch) -> Why:
    """Drawn at every update."""
    monkeypatch.setattr(_why, "SECONDS_BETWEEN", 0.0)
    pointer = Pointer([ColumnDataSource({"epoch": []})], lambda epoch: view.point_at(epoch))
    view = Why(engine, pointer, lambda *asked: forks.append(asked))
    view.look_at(Shown(None, kept=False))
    return view


def decided(race: Race, label: str, count: int, **changes: Any) -> np.ndarray:
    """Records of a run on a made-up history, with what its own controller decides on it."""
    settings = race.runs[label].settings
    rows = made_up_rows(0, count)
    rows["validation"] = 0.5 * np.exp(-np.minimum(np.arange(count) % 40, 25) / 20 - np.arange(count) // 40 / 1.5)
    answer = decide(rows["validation"], other_controller(settings, changes))
    for name in ("next_iterations", "refined", "reason", "smoothed", "plateau_ratio", "checkpoint_ratio", "next_rtol"):
        rows[name] = getattr(answer, name)
    rows["iterations"] = answer.iterations
    rows["rtol"] = np.concatenate([[np.nan], answer.next_rtol[:-1]])
    rows["cumulative_iterations"] = np.cumsum(answer.iterations)
    for name in ("tau_step", "tau_stop"):
        rows[name] = answer.refinement[name]
    return rows


@pytest.fixture
def race() -> Race:
    race = made_up_race()
    race.runs[PRDP_LABEL].log.append(decided(race, PRDP_LABEL, 161))
    full = decided(race, FULL_LABEL, 161)
    full["iterations"][1:] = full["next_iterations"] = 25
    full["cumulative_iterations"] = 25 * full["epoch"]
    full["refined"], full["reason"], full["smoothed"] = False, int(Reason.FIXED), full["validation"]
    for name in ("plateau_ratio", "checkpoint_ratio", "tau_step", "tau_stop"):
        full[name] = np.nan
    race.runs[FULL_LABEL].log.append(full)
    return race


def look_at(why: Why, race: Race) -> Run:
    why.look_at(Shown(race, kept=False))
    why.update()
    return race.runs[PRDP_LABEL]


def drawn(source: ColumnDataSource, name: str) -> list[float]:
    return [value for value in columns(source)[name] if np.isfinite(value)]


def epochs_where(source: ColumnDataSource, name: str) -> list[int]:
    return [
        int(epoch)
        for epoch, value in zip(columns(source)["epoch"], columns(source)[name], strict=True)
        if np.isfinite(value)
    ]


class TestTheRun:
    def test_before_a_race_it_says_what_will_be_here(self, why: Why):
        why.update()
        assert "Start a race" in why.decision.object
        assert "Nothing yet" in why.table.object
        assert "Nothing yet" in why.figures.metric.summary._words
        assert not why.contender.visible

    def test_the_figures_hold_what_the_controller_saw(self, why: Why, race: Race):
        run = look_at(why, race)
        log, source = run.log.read(), why.figures.source.source
        for name, column in (("fed", "validation"), ("smoothed", "smoothed"), ("plateau_ratio", "plateau_ratio")):
            np.testing.assert_array_equal(columns(source)[name], log[column])
        refined = np.flatnonzero(log["refined"])
        assert len(refined) > 3
        assert epochs_where(source, "refined_iterations") == refined.tolist()
        # s_checkpoint is what r_c was made with.
        held = np.isfinite(log["checkpoint_ratio"]) & (log["checkpoint_ratio"] > 0)
        np.testing.assert_allclose(
            columns(source)["checkpoint"][held], log["smoothed"][held] / log["checkpoint_ratio"][held], rtol=1e-5
        )
        assert np.isnan(columns(source)["checkpoint"][: refined[0] + 1]).all()

    def test_the_checkpoint_may_be_the_value_before_training(self, why: Why):
        race = made_up_race()
        run = race.runs[PRDP_LABEL]
        run.settings = run.started_with = settings_for("heat-1d", {"kind": "prdp", "compare_with_start": 1})
        run.log.append(decided(race, PRDP_LABEL, 60))
        look_at(why, race)
        assert columns(why.figures.source.source)["checkpoint"][1] == run.log.read()["smoothed"][0]
        why.point_at(int(np.flatnonzero(np.isfinite(run.log.read()["checkpoint_ratio"]))[0]))
        assert "before training" in why.decision.object

    def test_what_is_new_is_added(self, why: Why):
        race = made_up_race()
        run, rows = race.runs[PRDP_LABEL], decided(race, PRDP_LABEL, 100)
        run.log.append(rows[:30])
        look_at(why, race)
        run.log.append(rows[30:])
        why.update()
        assert list(columns(why.figures.source.source)["epoch"]) == list(range(100))
        assert "after epoch 99" in why._heading.object

    def test_of_a_long_run_the_browser_gets_no_more_points_than_it_may(self, why: Why, race: Race):
        race = made_up_race(epochs=100_000)
        race.runs[PRDP_LABEL].log.append(decided(race, PRDP_LABEL, 20_000))
        look_at(why, race)
        assert len(columns(why.figures.source.source)["epoch"]) <= MOST_POINTS
        why.what_if.sliders["tau_step"].value = 0.9
        why.update()
        assert 1000 < len(columns(why.figures.what_if)["epoch"]) <= 1.5 * MOST_POINTS

    def test_it_is_not_drawn_more_often_than_can_be_seen(self, why: Why, race: Race, monkeypatch: pytest.MonkeyPatch):
        run = look_at(why, race)
        drawn = len(columns(why.figures.source.source)["epoch"])
        monkeypatch.setattr(_why, "SECONDS_BETWEEN", 1000.0)
        run.log.append(made_up_rows(len(run.log), 20))
        why.update()
        assert len(columns(why.figures.source.source)["epoch"]) == drawn
        monkeypatch.setattr(_why, "SECONDS_BETWEEN", 0.0)
        why.update()
        assert len(columns(why.figures.source.source)["epoch"]) == drawn + 20

    def test_the_axes_hold_what_is_drawn(self, why: Why, race: Race):
        run = look_at(why, race)
        rows = made_up_rows(161, 1)
        rows["validation"], rows["smoothed"], rows["plateau_ratio"], rows["iterations"] = 1e-5, 3e-5, 2.3, 60
        rows["tau_step"] = 0.4
        run.log.append(rows)
        why.update()
        figures = why.figures
        assert extent(figures._metrics)[0] <= 1e-5
        assert extent(figures._plateau_ratios)[0] < 0.4
        assert extent(figures._plateau_ratios)[1] >= 2.3
        assert extent(figures._iterations)[1] > 60
        assert extent(figures._epochs) == (0, 100)

    def test_a_contender_has_its_look(self, why: Why, race: Race):
        look_at(why, race)
        assert why.contender.options == {PRDP_LABEL: 0, FULL_LABEL: 1}
        why.contender.value = 1
        assert {line.glyph.line_color for line, _ in why.figures._lines} == {LOOKS[1].color}
        assert all(len(line.glyph.line_dash) > 0 for line, dashed in why.figures._lines if dashed)
        assert "K is fixed" in why.decision.object
        assert FULL_LABEL in why.figures.levels.legend.object

    def test_a_replay_that_is_moved_keeps_what_was_chosen(self, why: Why, race: Race):
        look_at(why, race)
        why.contender.value = 1
        why.what_if.sliders["window"].value = 5
        moved = made_up_race()
        for label, run in moved.runs.items():
            run.id = race.runs[label].id
            run.log.append(race.runs[label].log.read()[:50])
        why.look_at(Shown(moved, kept=False))
        assert why.contender.value == 1
        assert why.what_if.changes == {"window": 5}
        why.look_at(Shown(made_up_race(), kept=False))
        assert why.contender.value == 0
        assert why.what_if.changes == {}

    def test_a_tolerance_has_a_figure_of_its_own(self, why: Why):
        race = made_up_race()
        run = race.runs[PRDP_LABEL]
        run.settings = run.started_with = settings_for("heat-1d", {"kind": "prdp-tolerance"})
        run.log.append(decided(race, PRDP_LABEL, 161))
        look_at(why, race)
        assert why.figures.by_tolerance
        assert "tolerance" in why.figures.levels.legend.object
        assert drawn(why.figures.source.source, "tolerance")[0] == pytest.approx(0.3)
        assert "0.3" in why.table.object
        assert why.what_if.sliders["rtol_factor"].visible
        assert not why.what_if.sliders["step"].visible
        why.what_if.sliders["tau_step"].value = 0.8
        why.update()
        assert "the tolerance would be at" in why.what_if.sentence.object
        why.contender.value = 1
        assert not why.figures.by_tolerance


class TestTheDecision:
    def test_it_is_that_of_the_newest_epoch_or_of_the_one_pointed_at(self, why: Why, race: Race):
        look_at(why, race)
        assert "after epoch 160 (the newest)" in why._heading.object
        why.point_at(40)
        assert "after epoch 40 (pointed at)" in why._heading.object
        why.point_at(5000)  # of another contender
        assert "after epoch 160 (the newest)" in why._heading.object
        why.point_at(None)
        assert "after epoch 160 (the newest)" in why._heading.object

    def test_each_inequality_is_told_with_its_numbers(self, why: Why, race: Race):
        run = look_at(why, race)
        seen = set()
        for record in as_records(run.log.read()):
            why.point_at(record.epoch)
            words = why.decision.object
            seen.add(Reason(record.reason))
            if record.reason == Reason.COLLECTING:
                assert "Collecting" in words
                continue
            assert f"{record.plateau_ratio:.3f} {'≤' if record.reason == Reason.IMPROVING else '&gt;'} τ_step" in words
            assert ("still improving" in words) == (record.reason == Reason.IMPROVING)
            assert ("→ worth it" in words) == (record.reason == Reason.WORTHWHILE)
            assert ("→ not worth it" in words) == (record.reason == Reason.SUPERFLUOUS)
            assert ("refine: K rises" in words) == record.refined
        assert {Reason.COLLECTING, Reason.IMPROVING, Reason.WORTHWHILE, Reason.SUPERFLUOUS} <= seen

    def test_the_window_marks_what_r_compares(self, why: Why, race: Race):
        run = look_at(why, race)
        log = run.log.read()
        why.point_at(70)
        marks, window = columns(why.figures._marks), why.figures._window
        assert list(marks["epoch"]) == [68, 70] == [window.left, window.right]
        np.testing.assert_array_equal(marks["smoothed"], log["smoothed"][[68, 70]])
        assert log["plateau_ratio"][70] == pytest.approx(marks["smoothed"][1] / marks["smoothed"][0])
        why.point_at(1)
        assert not window.visible
        why.contender.value = 1
        assert not window.visible

    def test_an_edit_of_the_window_acts_from_its_epoch(self, why: Why, race: Race):
        run = race.runs[PRDP_LABEL]
        run.log.add_event(Event(90, "adjust", {"window": 6}, "From epoch 90 on: window = 6."))
        look_at(why, race)
        for epoch, start in ((89, 87), (90, 85)):
            why.point_at(epoch)
            assert why.figures._window.left == start


class TestTheTable:
    def test_it_lists_what_was_refined_and_edited_newest_first(self, why: Why, race: Race):
        run = race.runs[PRDP_LABEL]
        run.log.add_event(Event(100, "adjust", {"tau_step": 0.97}, "From epoch 100 on: <tau_step> = 0.97."))
        run.log.add_event(Event(101, "paused", message="Paused."))
        look_at(why, race)
        refined = run.log.read()[run.log.read()["refined"]]
        assert [row[0] for row in why._rows] == sorted([*map(str, refined["epoch"].tolist()), "99"], key=int)
        for record in as_records(refined):
            assert f"{record.iterations}\u00a0→\u00a0{record.next_iterations}" in why.table.object
        assert "&lt;tau_step&gt; = 0.97" in why.table.object
        assert "Paused" not in why.table.object
        assert 'tabindex="0"' in why.table.object

    def test_refinements_at_the_bound_do_not_fill_it(self, why: Why):
        race = made_up_race()
        rows = made_up_rows(0, 300, refine_every=1)
        rows["iterations"] = rows["next_iterations"] = 25
        race.runs[PRDP_LABEL].log.append(rows)
        look_at(why, race)
        assert not why._rows
        why.point_at(200)
        assert "its bound" in why.decision.object


class TestTheWords:
    def test_each_figure_has_a_sentence(self, why: Why, race: Race):
        run = look_at(why, race)
        why._summarise()
        figures = why.figures
        words = [each.summary._words for each in (figures.metric, figures.plateau, figures.checkpoint, figures.levels)]
        last = run.log.read()[-1]
        assert f"{last['smoothed']:.4g}" in words[0]
        assert f"{last['plateau_ratio']:.3f}" in words[1]
        assert "τ_stop is 0.9" in words[2]
        assert f"from 1 to {last['iterations']}" in words[3]


class TestWhatIf:
    def test_it_begins_with_the_values_of_the_run_and_draws_nothing(self, why: Why, race: Race, engine: Answering):
        look_at(why, race)
        own = race.runs[PRDP_LABEL].settings.refinement
        for name in ("tau_step", "tau_stop", "window", "ema_window", "step"):
            assert why.what_if.sliders[name].value == own[name]
        assert engine.asked == [{}]  # which has it compiled
        assert not drawn(why.figures.what_if, "iterations")
        assert "Move a slider" in why.what_if.sentence.object
        assert why.what_if.fork.disabled
        assert why.what_if.back.disabled

    @pytest.mark.parametrize(
        ("name", "value"), [("tau_step", 0.6), ("tau_stop", 1.0), ("window", 9), ("ema_window", 30), ("step", 4)]
    )
    def test_it_shows_what_the_controller_decides_with_other_values(self, why: Why, race: Race, name: str, value: Any):
        run = look_at(why, race)
        why.what_if.sliders[name].value = value
        why.update()
        rows = decided(race, PRDP_LABEL, 161, **{name: value})
        drawing = why.figures.what_if
        np.testing.assert_array_equal(columns(drawing)["iterations"][1:], rows["iterations"][1:])
        assert epochs_where(drawing, "refined_iterations") == np.flatnonzero(rows["refined"]).tolist()
        if name == "tau_step":
            assert extent(why.figures._plateau_ratios)[0] < value
        sentence = why.what_if.sentence.object
        would, did = int(rows["iterations"][-1]), int(run.log.read()["iterations"][-1])
        assert (f"<b>{would}</b> instead of {did}" if would != did else f"<b>{would}</b> as well") in sentence
        share = rows["cumulative_iterations"][-1] / run.log.read()["cumulative_iterations"][-1] - 1
        assert f"{abs(share):.0%} {'fewer' if share < 0 else 'more'}" in sentence
        assert "approximation" in APPROXIMATION
        assert APPROXIMATION in why.what_if.note.object

    def test_a_run_that_is_over_would_have_ended(self, why: Why, race: Race):
        race.runs[PRDP_LABEL].enter("finished", "Finished.")
        look_at(why, race)
        why.what_if.sliders["tau_step"].value = 0.9
        why.update()
        assert "K would have ended at" in why.what_if.sentence.object

    def test_one_is_asked_at_a_time_and_the_newest_next(self, why: Why, race: Race, engine: Answering):
        look_at(why, race)
        engine.at_once = False
        slider = why.what_if.sliders["tau_step"]
        for value in (0.97, 0.95, 0.93, 0.91):
            slider.value = value
            why.update()
        assert engine.asked[1:] == [{"tau_step": 0.97}]
        engine.waiting.pop()()
        why.update()
        assert engine.asked[2:] == [{"tau_step": 0.91}]
        engine.waiting.pop()()
        why.update()
        assert "τ_step = 0.91" in why.what_if.sentence.object
        assert not engine.waiting

    def test_an_answer_about_another_run_is_not_shown(self, why: Why, race: Race, engine: Answering):
        look_at(why, race)
        engine.at_once = False
        why.what_if.sliders["tau_step"].value = 0.8
        (answer,) = engine.waiting
        why.look_at(Shown(made_up_race(), kept=False))
        answer()
        why.update()
        assert why.what_if.answer is None
        assert not drawn(why.figures.what_if, "iterations")

    def test_back_to_the_values_of_the_run(self, why: Why, race: Race):
        look_at(why, race)
        why.what_if.sliders["tau_step"].value = 0.8
        why.update()
        assert not why.what_if.back.disabled
        click(why.what_if.back)
        why.update()
        assert why.what_if.changes == {}
        assert not drawn(why.figures.what_if, "iterations")
        assert why.what_if.back.disabled
        assert why.what_if.fork.disabled

    def test_it_follows_a_run_as_it_grows_and_as_it_is_edited(
        self, why: Why, engine: Answering, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(_what_if, "SECONDS_BETWEEN", 0.0)
        race = made_up_race()
        run, rows = race.runs[PRDP_LABEL], decided(race, PRDP_LABEL, 161)
        run.log.append(rows[:50])
        look_at(why, race)
        asked = len(engine.asked)
        run.log.append(rows[50:60])
        why.update()
        assert len(engine.asked) == asked  # nothing to be seen of it
        why.what_if.sliders["tau_step"].value = 0.9
        run.log.append(rows[60:])
        deadline = time.monotonic() + PATIENCE
        while why.what_if.answer is None or len(why.what_if.answer) < 161:
            assert time.monotonic() < deadline
            why.update()
        run.settings = run.settings.changed({"tau_stop": 0.8, "tau_step": 0.95})
        why.update()
        assert why.what_if.sliders["tau_stop"].value == 0.8
        assert why.what_if.changes == {"tau_step": 0.9}

    def test_full_physics_is_asked_with_the_problems_own_controller(self, why: Why, race: Race, forks: list[Any]):
        look_at(why, race)
        why.contender.value = 1
        why.update()
        assert drawn(why.figures.what_if, "iterations")[0] == 1
        assert "instead of 25" in why.what_if.sentence.object
        assert why.what_if.fork.disabled
        assert "start a race" in why.what_if.note.object

    def test_what_is_refused_is_told(self, why: Why, race: Race, engine: Any, told: list[str]):
        look_at(why, race)

        def refuse(run: Run, changes: Any) -> Any:
            raise ValueError("This engine is closed; make a new one.")

        engine.what_if = refuse
        why.what_if.sliders["tau_step"].value = 0.8
        assert told == ["This engine is closed; make a new one."]

    def test_what_fails_is_told(self, why: Why, race: Race, engine: Any, told: list[str]):
        look_at(why, race)
        failed: Future[WhatIf] = Future()
        failed.set_exception(RuntimeError("no memory"))
        engine.what_if = lambda run, changes: failed
        why.what_if.sliders["tau_step"].value = 0.8
        why.update()
        assert len(told) == 1
        assert "no memory" in told[0]


class TestTheFork:
    def test_it_shares_the_past_up_to_the_first_other_decision(self, why: Why, race: Race, forks: list[Any]):
        run = look_at(why, race)
        why.what_if.sliders["tau_step"].value = 0.9
        why.update()
        why.what_if.sliders["step"].value = 2
        why.update()
        rows, own = decided(race, PRDP_LABEL, 161, tau_step=0.9, step=2), run.log.read()
        first = int(np.flatnonzero(rows["next_iterations"] != own["next_iterations"])[0])
        click(why.what_if.fork)
        assert forks == [(run.id, first - 1, {"tau_step": 0.9, "step": 2})]

    def test_where_no_decision_differs_it_says_so(self, why: Why, race: Race, forks: list[Any]):
        look_at(why, race)
        why.what_if.sliders["tau_stop"].value = 0.905
        why.update()
        assert "decided the same" in why.what_if.sentence.object
        assert "nothing to fork" in why.what_if.note.object
        assert why.what_if.fork.disabled

    def test_what_the_run_was_edited_to_by_then_is_no_change(self, why: Why, race: Race, forks: list[Any]):
        run = race.runs[PRDP_LABEL]
        run.log.add_event(Event(1, "adjust", {"tau_stop": 0.85}, "From epoch 1 on."))
        run.settings = run.settings.changed({"tau_stop": 0.85})
        look_at(why, race)
        why.what_if.sliders["tau_step"].value = 0.9
        why.update()
        click(why.what_if.fork)
        assert forks[0][2] == {"tau_step": 0.9}

    def test_a_refusal_is_told(self, why: Why, race: Race, told: list[str]):
        def refuse(*_: Any) -> None:
            raise ValueError("This engine keeps no runs.")

        why.what_if._on_fork = refuse
        look_at(why, race)
        why.what_if.sliders["tau_step"].value = 0.9
        why.update()
        click(why.what_if.fork)
        assert told == ["This engine keeps no runs."]


def test_a_what_if_is_thinned_but_for_its_refinements():
    history = 2.0 ** -(np.arange(50_000) // 500 / 10)
    answer = decide(history, {"kind": "prdp", "ema_window": 1, "maximum": 10_000})
    thinned = what_if_columns(answer)
    assert len(thinned["epoch"]) <= 2 * MOST_POINTS
    assert set(np.flatnonzero(answer.refined)) <= set(thinned["epoch"])
    assert thinned["epoch"][-1] == 49_999
    assert len({len(column) for column in thinned.values()}) == 1
    assert what_if_columns(None).keys() == thinned.keys()
