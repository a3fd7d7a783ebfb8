"""The view of the solver lab: what it asks for, and what it shows of the answers."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import pytest
from dashboard_helpers import PATIENCE, click, columns, extent, made_up_race, made_up_rows

from prdp_explorer import Constant, Engine, Race, Run
from prdp_explorer.dashboard import _solver_lab
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._solver_lab import SolverLabView
from prdp_explorer.dashboard._theme import FULL_LABEL, LOOKS, PRDP_LABEL
from prdp_explorer.engine import SolverLab
from prdp_explorer.engine._convergence import convergence
from prdp_explorer.engine._loop import loop_settings

RATES = {"jacobi": 0.7, "gauss-seidel": 0.5, "sor": 0.3, "cg": 0.4, "gmres": 0.01, "richardson": 1.2}
POINTS = 31


class Answering:
    """Takes the place of the engine: keeps what was asked, and answers when it is told to."""

    def __init__(self):
        self.asked: list[tuple[Run, tuple[str, ...], Future[SolverLab]]] = []

    def __call__(self, run: Run, *, solvers: Sequence[str]) -> Future[SolverLab]:
        future: Future[SolverLab] = Future()
        self.asked.append((run, tuple(solvers), future))
        return future

    def answer(self, *, reference: bool = True) -> None:
        """Answer what is open: each solver decays geometrically, the error at half the residual after the start."""
        k = np.arange(POINTS)
        for run, names, future in self.asked:
            if not future.done():
                found = {}
                for name in names:
                    residuals = RATES[name] ** k.astype(float)
                    errors = np.where(k > 0, residuals / 2, 1.0) if reference else np.full(POINTS, np.nan)
                    found[name] = convergence(name, k, residuals, errors, 1e-16)
                future.set_result(SolverLab(run.epoch, 0, 3, 900, "a dense solve", True, found))


@pytest.fixture
def engine_like() -> Answering:
    return Answering()


@pytest.fixture
def race() -> Race:
    race = made_up_race()
    for run in race.runs.values():
        run.log.append(made_up_rows(0, 6))
    return race


def view_of(engine_like: Answering, race: Race) -> SolverLabView:
    view = SolverLabView(engine_like)
    view.look_at(Shown(race, kept=False))
    return view


def text(view: SolverLabView) -> str:
    return view.figure.summary._pane.object


class TestAsking:
    def test_once_when_first_seen_with_the_own_solver_in_front(self, engine_like: Answering, race: Race):
        view = view_of(engine_like, race)
        assert not engine_like.asked  # nobody has seen it yet
        for _ in range(3):
            view.update()
        [(run, names, _)] = engine_like.asked
        assert (run.label, names) == (PRDP_LABEL, ("jacobi", "gauss-seidel", "sor"))
        assert "Computing" in view._status.object
        assert not len(view._drawn)
        engine_like.answer()
        for _ in range(3):
            view.update()
        assert len(engine_like.asked) == 1
        assert len(view._drawn)
        assert not view._status.visible

    def test_while_training_goes_on_not_before_some_seconds(
        self, engine_like: Answering, race: Race, monkeypatch: pytest.MonkeyPatch
    ):
        view = view_of(engine_like, race)
        for between in (1000.0, 0.0):
            monkeypatch.setattr(_solver_lab, "SECONDS_BETWEEN", between)
            view._asked_for = None
            view.update()
            engine_like.answer()
            view.update()
            race.runs[PRDP_LABEL].log.append(made_up_rows(race.runs[PRDP_LABEL].epoch + 1, 1))
            asked = len(engine_like.asked)
            time.sleep(0.05)
            view._due = min(view._due, time.monotonic()) if not between else view._due
            view.update()
            assert len(engine_like.asked) == asked + (not between)

    def test_a_person_does_not_wait(self, engine_like: Answering, race: Race):
        view = view_of(engine_like, race)
        view.update()
        engine_like.answer()
        view.update()
        click(view.again)
        assert len(engine_like.asked) == 2
        view.solvers.value = ["cg", "jacobi"]
        assert len(engine_like.asked) == 2  # one at a time
        engine_like.answer()
        view.update()
        assert engine_like.asked[-1][1] == ("jacobi", "cg")
        view.solvers.value = []
        engine_like.answer()
        view.update()
        assert engine_like.asked[-1][1] == ("jacobi",)

    def test_of_another_contender(self, engine_like: Answering, race: Race):
        view = view_of(engine_like, race)
        view.update()
        view.contender.value = 1
        engine_like.answer()  # of the one before, which is not shown any more
        view.update()
        assert view.lab is None
        assert engine_like.asked[-1][0].label == FULL_LABEL
        engine_like.answer()
        view.update()
        assert FULL_LABEL in text(view)
        assert len(columns(view.figure.sources[1])["k"]) == POINTS  # in the look of full physics
        assert not len(columns(view.figure.sources[0])["k"])

    def test_what_is_known_of_an_epoch_is_not_asked_for(self, engine_like: Answering, race: Race):
        view = view_of(engine_like, race)
        view.update()
        engine_like.answer()
        view.update()
        assert view.lab is not None
        known, run = view.lab, race.runs[PRDP_LABEL]
        other = Answering()
        again = SolverLabView(other)
        again.know(run.id, known)
        again.look_at(Shown(race, kept=False))
        again.update()
        assert again.lab is known and len(again._drawn) and not other.asked
        run.log.append(made_up_rows(run.epoch + 1, 1))
        again.update()
        assert [asked.label for asked, _, _ in other.asked] == [PRDP_LABEL]
        later = SolverLabView(Answering())
        later.know(run.id, known)
        later.look_at(Shown(race, kept=False))  # at another epoch
        assert later.lab is None

    def test_before_training_it_waits(self, engine_like: Answering):
        view = view_of(engine_like, made_up_race())
        view.update()
        assert not engine_like.asked
        assert "when training begins" in view._status.object

    def test_a_loop_of_ones_own_says_why_there_is_none(self, engine_like: Answering):
        race = Race({"mine": loop_settings("mine", full_iterations=20)}, None, lambda: None)
        race.runs["mine"].log.append(made_up_rows(0, 6))
        view = view_of(engine_like, race)
        view.update()
        assert not engine_like.asked
        assert "has no system here" in view._status.object
        assert view.again.disabled

    def test_what_cannot_be_computed_is_told_as_text(self, engine_like: Answering, race: Race):
        view = view_of(engine_like, race)
        view.update()
        engine_like.asked[0][-1].set_exception(ValueError("<b>no</b>"))
        view.update()
        assert "could not be looked at. &lt;b&gt;no" in view._status.object
        assert not len(view._drawn)
        view.update()
        assert len(engine_like.asked) == 1  # it would fail again


class TestDrawing:
    @pytest.fixture
    def view(self, engine_like: Answering, race: Race) -> SolverLabView:
        view = view_of(engine_like, race)
        view.solvers.value = ["jacobi", "cg", "richardson"]
        view.update()
        engine_like.answer()
        view.update()
        return view

    def test_curves_in_looks_of_their_own(self, view: SolverLabView):
        by_solver = {
            columns(source)["solver"][0]: columns(source) for source in view.figure.sources if columns(source)["solver"]
        }
        assert set(by_solver) == {"jacobi", "cg", "richardson"}
        for name, drawn in by_solver.items():
            np.testing.assert_allclose(drawn["residual"], RATES[name] ** np.arange(POINTS))
            np.testing.assert_allclose(drawn["error"][1:], drawn["residual"][1:] / 2)
        assert columns(view.figure.sources[0])["solver"][0] == "jacobi"  # the contender's look
        assert LOOKS[0].color in view.figure.legend.object
        low, high = extent(view.figure._values)
        assert low < 0.4**30 / 2
        assert high > 1.2**30

    def test_k_of_now_is_marked(self, view: SolverLabView):
        assert view.figure._at.location == 3
        assert "K of now, 3" in view.figure.legend.object
        assert cast(Any, view.figure.plot.title).text == "jacobi: K = 3 leaves 17 % of the error"

    def test_the_table_has_rates_and_predicted_iterations(self, view: SolverLabView):
        table = view.figure.table.object
        for cell in ("0.7000", "0.34", "0.17", "13", "26", "39"):  # 0.7^3, its half, and log(tolerance) / log(0.7)
            assert f">{cell}<" in table, cell
        assert "1.2, does not converge" in table
        assert ">never<" in table

    def test_in_words(self, view: SolverLabView):
        assert "PRDP after epoch 5, a system of 900 unknowns: jacobi leaves a residual of 0.34" in text(view)
        assert "a dense solve" in text(view)
        assert "double precision" in text(view)

    def test_without_a_solution_there_are_residuals_alone(self, view: SolverLabView, engine_like: Answering):
        click(view.again)
        engine_like.answer(reference=False)
        view.update()
        assert np.isnan(columns(view.figure.sources[0])["error"]).all()
        assert "34 % of the residual" in cast(Any, view.figure.plot.title).text
        assert ">none<" in view.figure.table.object


def test_of_real_runs(engine: Engine):
    race = engine.race("heat-1d", {PRDP_LABEL: None, FULL_LABEL: Constant()}, epochs=2)
    for run in race.runs.values():
        assert run.wait(timeout=PATIENCE)
    view = SolverLabView(engine.solver_lab)
    view.look_at(Shown(race, kept=False))
    deadline = time.monotonic() + PATIENCE
    while view.lab is None:
        assert time.monotonic() < deadline
        view.update()
        time.sleep(0.01)
    assert view.lab.epoch == 2
    assert list(view.lab.convergences) == ["jacobi", "gauss-seidel", "sor"]
    assert len(view._drawn)
