"""The gradient lab: what it asks for and when, and what it shows of the answers."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from dashboard_helpers import click, columns, extent, made_up_race, made_up_rows

from prdp_explorer import Engine, Race, Run
from prdp_explorer.dashboard import _gradient_lab
from prdp_explorer.dashboard._gradient_figures import MODE_LOOKS
from prdp_explorer.dashboard._gradient_lab import GradientLabView
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import FULL_LABEL, NEUTRAL_COLOR, PRDP_LABEL
from prdp_explorer.engine import GradientLab
from prdp_explorer.engine._loop import loop_settings
from prdp_explorer.engine._rollouts import Parameters
from prdp_explorer.solvers import DIFFERENTIATIONS

COUNTS = (1, 3, 10, 25)


class Answering:
    """Takes the place of the engine: keeps what was asked, and answers when it is told to."""

    def __init__(self):
        self.asked: list[tuple[Run, Sequence[str], Sequence[int] | None, Future[GradientLab]]] = []
        self.beside: list[GradientLab | None] = []
        self.refusal: str | None = None

    def __call__(
        self, run: Run, *, modes: Sequence[str], counts: Sequence[int] | None = None, beside: GradientLab | None = None
    ) -> Future[GradientLab]:
        if self.refusal is not None:
            raise ValueError(self.refusal)
        future: Future[GradientLab] = Future()
        self.asked.append((run, modes, counts, future))
        self.beside.append(beside)
        return future

    @property
    def modes(self) -> list[str]:
        """Those asked for, in order."""
        return [mode for _, modes, _, _ in self.asked for mode in modes]

    def answer(self, scale: float = 1.0, seconds: float = 0.04) -> None:
        """Answer what is open: 1 - cosine is 10^-K, more in each mode; the last mode gives no gradient at all."""
        for run, modes, counts, future in self.asked:
            if future.done():
                continue
            counts = COUNTS if counts is None else (3,)
            places = [1 + DIFFERENTIATIONS.index(mode) for mode in modes]
            turned = scale * np.outer(places, 10.0 ** -np.array(counts, float))
            error, norm = np.sqrt(turned), np.ones_like(turned)
            if "detached" in modes:
                turned[-1], error[-1], norm[-1] = np.nan, 1, 0
            at = Parameters(run.epoch, [])
            future.set_result(GradientLab(run.epoch, 3, tuple(modes), counts, turned, error, norm, 1.0, seconds, at))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    monkeypatch.setattr(_gradient_lab, "SHARE", np.inf)
    return Answering()


@pytest.fixture
def race() -> Race:
    race = made_up_race()
    for run in race.runs.values():
        run.log.append(made_up_rows(0, 6))
        run.seconds = {"setup": 0.0, "compile": 0.0, "train": 4.1}
    return race


def lab_of(answering: Answering, race: Race) -> GradientLabView:
    view = GradientLabView(answering)
    view.look_at(Shown(race, kept=False))
    view.update()
    return view


def source(view: GradientLabView, mode: str) -> dict[str, Any]:
    return columns(view._by_count.sources[mode])


def history(view: GradientLabView) -> dict[str, Any]:
    return columns(view._over_epochs.source)


def compared(view: GradientLabView, answering: Answering, **choices: float) -> None:
    click(view.compare_now)
    while not view.stop.disabled:
        answering.answer(**choices)
        view.update()


def at_once(view: GradientLabView, answering: Answering) -> None:
    """A rhythm that is always due."""
    view.rhythm.value = 1e-9
    view.update()
    answering.answer()
    view.update()


class TestAsking:
    def test_nothing_before_a_person_wants_it(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        assert not answering.asked
        assert "Compare gradients now" in view._status.object
        assert not len(view._compared)
        assert not len(view._probed)

    def test_all_modes_of_the_contender_shown_one_after_another(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        assert view.stop.disabled
        click(view.compare_now)
        for place, mode in enumerate(DIFFERENTIATIONS):
            view.update()  # one at a time
            assert answering.modes == list(DIFFERENTIATIONS[: place + 1])
            assert f"Comparing {mode}, {place + 1} of 6 modes" in view._status.object
            assert not view.stop.disabled
            lab = answering.beside[place]  # the first decides of which parameters all are
            assert (lab.modes if lab else ()) == DIFFERENTIATIONS[:place]
            answering.answer()
            view.update()
            assert len(view._compared)
            assert len(source(view, mode)["count"]) == len(COUNTS)
        assert len(answering.asked) == 6
        assert all(counts is None for _, _, counts, _ in answering.asked)
        assert view.stop.disabled
        assert not view._status.visible
        view.contender.value = 1
        assert not len(view._compared)
        click(view.compare_now)
        assert answering.asked[-1][0].label == FULL_LABEL

    def test_that_of_the_run_comes_first(self, answering: Answering):
        race = made_up_race(differentiation="unrolled")
        race.runs[PRDP_LABEL].log.append(made_up_rows(0, 6))
        view = lab_of(answering, race)
        compared(view, answering)
        assert answering.modes == ["unrolled", *(mode for mode in DIFFERENTIATIONS if mode != "unrolled")]

    def test_it_is_stopped(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        click(view.compare_now)
        answering.answer()
        view.update()
        answering.asked[-1][-1].set_running_or_notify_cancel()
        click(view.stop)
        assert view.stop.disabled
        assert "What is being computed, unrolled, comes" in view._status.object
        answering.answer()
        view.update()
        assert len(source(view, "unrolled")["count"]) == len(COUNTS)
        assert "Stopped" in view._status.object
        assert answering.modes == ["implicit", "unrolled"]
        click(view.compare_now)
        click(view.stop)  # before it is begun
        assert answering.asked[-1][-1].cancelled()
        view.update()
        assert len(answering.asked) == 3
        compared(view, answering)
        assert len(answering.asked) == 9

    def test_another_contender_ends_it(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        click(view.compare_now)
        view.contender.value = 1
        answering.answer()
        view.update()
        assert not len(view._compared)
        assert len(answering.asked) == 1
        view.contender.value = 0
        assert len(source(view, "implicit")["count"]) == len(COUNTS)

    def test_the_rhythm_asks_for_the_gradient_that_trains_when_there_is_a_new_one(
        self, answering: Answering, race: Race
    ):
        view = lab_of(answering, race)
        at_once(view, answering)
        assert [(run.label, modes, counts) for run, modes, counts, _ in answering.asked] == [
            (PRDP_LABEL, ("implicit",), ())
        ]
        view.update()
        assert len(answering.asked) == 1
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 3))
        view.update()
        assert len(answering.asked) == 2
        view.update()  # one at a time
        assert len(answering.asked) == 2
        answering.answer()
        view.rhythm.value = 0.0
        race.runs[PRDP_LABEL].log.append(made_up_rows(9, 3))
        view.update()
        assert len(answering.asked) == 2
        assert list(history(view)["epoch"]) == [5, 8]

    def test_the_rhythm_waits(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        view.rhythm.value = 1000.0
        view.update()
        answering.answer()
        view.update()
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 3))
        view.update()
        assert len(answering.asked) == 1

    def test_slow_probes_take_a_share_of_the_time_at_most(
        self, answering: Answering, race: Race, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(_gradient_lab, "SHARE", 0.2)
        view = lab_of(answering, race)
        view.rhythm.value = 1e-9
        view.update()
        answering.answer(seconds=200.0)
        view.update()
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 3))
        view.update()
        assert len(answering.asked) == 1
        click(view.compare_now)  # a person does not wait
        assert len(answering.asked) == 2

    def test_what_is_wanted_meanwhile_comes_next(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        view.rhythm.value = 1e-9
        view.update()
        click(view.compare_now)
        assert len(answering.asked) == 1
        answering.answer()
        view.update()
        assert answering.asked[-1][2] is None
        answering.answer()
        view.update()
        assert len(view._compared)
        assert answering.modes == ["implicit", "implicit", "unrolled"]

    def test_before_training_it_waits(self, answering: Answering):
        race = made_up_race()
        view = lab_of(answering, race)
        view.rhythm.value = 1e-9
        view.update()
        assert not answering.asked
        assert view.compare_now.disabled
        assert "when training begins" in view._status.object
        race.runs[PRDP_LABEL].log.append(made_up_rows(0, 1))
        view.update()
        assert not view.compare_now.disabled

    def test_a_loop_of_ones_own_says_why_there_is_none(self, answering: Answering):
        race = Race({"mine": loop_settings("mine", full_iterations=5)}, None, lambda: None)
        race.runs["mine"].log.append(made_up_rows(0, 6))
        view = lab_of(answering, race)
        assert view.compare_now.disabled
        assert "A loop of one's own" in view._status.object.replace("&#x27;", "'")

    def test_errors_are_told_as_text(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        click(view.compare_now)
        answering.asked[0][-1].set_exception(ValueError("<b>no</b>"))
        view.update()
        assert "could not be compared. &lt;b&gt;no" in view._status.object
        assert view._status.visible
        answering.refusal = "<i>not</i> now"
        click(view.compare_now)
        assert "&lt;i&gt;not" in view._status.object
        answering.refusal = None
        compared(view, answering)
        assert len(view._compared)

    def test_an_answer_of_a_race_that_has_gone_is_dropped(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        click(view.compare_now)
        view.look_at(Shown(made_up_race(), kept=False))
        answering.answer()
        view.update()
        assert not len(view._compared)
        assert len(answering.asked) == 1

    def test_a_replay_that_is_moved_keeps_what_is_shown(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        compared(view, answering)
        view.look_at(Shown(race, kept=False))
        assert len(view._compared)


class TestShowing:
    def test_a_line_a_mode_by_count(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        compared(view, answering)
        for row, mode in enumerate(DIFFERENTIATIONS[:-1]):
            shown = source(view, mode)
            assert list(shown["count"]) == list(COUNTS)
            turned = (1 + row) * 10.0 ** -np.array(COUNTS, float)
            np.testing.assert_allclose(shown["one_minus_cosine"][:3], turned[:3])
            np.testing.assert_allclose(shown["cosine"], 1 - turned)
            np.testing.assert_allclose(np.cos(np.radians(shown["angle"])), 1 - turned, atol=1e-12)
            np.testing.assert_allclose(shown["relative_error"], np.maximum(np.sqrt(turned), 1e-8))
        low, high = extent(view._by_count.ranges["one_minus_cosine"])
        assert 1e-15 < low < 1e-13  # what is below rounding does not stretch it
        assert 0.1 < high <= 10
        assert all(span.location == 3 for span in view._by_count._now)

    def test_no_gradient_at_all(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        compared(view, answering)
        assert np.isnan(source(view, "detached")["one_minus_cosine"]).all()
        assert list(source(view, "detached")["relative_error"]) == [1] * 4
        legends = view._by_count.legends
        assert "detached" not in legends["one_minus_cosine"].object
        assert "detached: no gradient at all" in legends["relative_error"].object
        assert "detached none" in view._by_count.summaries["one_minus_cosine"]._words

    def test_modes_are_told_apart_by_colour_dash_and_shape(self, answering: Answering, race: Race):
        assert list(MODE_LOOKS) == list(DIFFERENTIATIONS)
        for part in zip(*MODE_LOOKS.values(), strict=True):
            shapes = set(part)
            assert len(shapes) >= len(MODE_LOOKS) - 1  # the last is dotted, too, and has no solve to lie with
        assert len({look.marker for look in MODE_LOOKS.values()}) == len(MODE_LOOKS)
        view = lab_of(answering, race)
        compared(view, answering)
        legend = view._by_count.legends["relative_error"].object
        assert all(look.color in legend for look in MODE_LOOKS.values())
        assert "implicit, of this run" in legend
        assert NEUTRAL_COLOR in legend
        assert "K of the run, 3" in legend

    def test_modes_that_are_not_compared_yet_are_not_drawn(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        compared(view, answering)
        click(view.compare_now)
        few = np.full((1, 2), 0.1)
        lab = GradientLab(5, 1, ("implicit",), (1, 2), few, few, few, 1.0, 0.1, Parameters(5, []))
        answering.asked[-1][-1].set_result(lab)
        view.update()
        assert list(source(view, "implicit")["count"]) == [1, 2]
        assert not len(source(view, "unrolled")["count"])
        assert "unrolled" not in view._by_count.legends["relative_error"].object

    def test_in_words(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        compared(view, answering)
        assert "PRDP after epoch 5, when its K was 3" in view._subject.object
        words = view._by_count.summaries["one_minus_cosine"]._words
        assert words.startswith("1 − cosine at K of the run, 3: implicit 0.001 (2.6°), unrolled 0.002 (3.6°)")
        assert "At K = 25: implicit 1e−25" in words

    def test_what_probes_cost_is_told_apart(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        assert not view._costs.visible
        compared(view, answering)
        assert "Comparing took 0.24 s so far, not counted in the 4.1 s of training" in view._costs.object
        at_once(view, answering)
        assert "Comparing took 0.28 s" in view._costs.object
        view.contender.value = 1
        assert not view._costs.visible

    def test_over_the_epochs(self, answering: Answering, race: Race):
        view = lab_of(answering, race)
        at_once(view, answering)
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 3))
        view.update()
        answering.answer(scale=0.01)
        view.update()
        assert len(view._probed)
        shown = history(view)
        assert list(shown["epoch"]) == [5, 8]
        assert list(shown["iterations"]) == [3, 3]
        np.testing.assert_allclose(shown["error"], [np.sqrt(1e-3), np.sqrt(1e-5)])
        assert extent(view._over_epochs._epochs) == (0, race.runs[PRDP_LABEL].settings.epochs)
        low, high = extent(view._over_epochs.errors)
        assert low < shown["error"].min() < shown["error"].max() < high
        assert "PRDP, implicit" in view._over_epochs.legend.object


def test_of_a_real_run(engine: Engine):
    race = engine.race("heat-1d", {PRDP_LABEL: None}, epochs=2)
    assert race.runs[PRDP_LABEL].wait(timeout=60)
    view = GradientLabView(engine.gradient_lab)
    view.look_at(Shown(race, kept=False))
    view.rhythm.value = 2.0
    view.update()
    assert view._asked is not None
    lab = view._asked.answer.result(60)
    view.update()
    assert list(history(view)["epoch"]) == [2]
    np.testing.assert_allclose(history(view)["error"], lab.relative_error[0])
    assert "Comparing took" in view._costs.object
