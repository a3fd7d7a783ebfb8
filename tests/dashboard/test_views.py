"""The views show what the logs say."""

import html
from pathlib import Path
from typing import Any

import bokeh
import numpy as np
import panel as pn
import panel_material_ui as pmui
import pytest
from bokeh.document import Document
from dashboard_helpers import columns, extent, made_up_race, made_up_rows

from prdp_explorer import Engine, Race
from prdp_explorer.dashboard import RaceView
from prdp_explorer.dashboard._controls import FULL_LABEL, PRDP_LABEL
from prdp_explorer.dashboard._costs import Costs
from prdp_explorer.dashboard._curves import Curves
from prdp_explorer.dashboard._history import LINES_SHOWN, History
from prdp_explorer.dashboard._source import RunSource
from prdp_explorer.dashboard._theme import AROUND_DATA, PLAIN_PAGE, make_figure
from prdp_explorer.engine import Event, as_records


@pytest.fixture
def race() -> Race:
    return made_up_race()


@pytest.fixture
def sources(race: Race) -> tuple[RunSource, RunSource]:
    sources = (RunSource(), RunSource())
    for label, source in zip((PRDP_LABEL, FULL_LABEL), sources, strict=True):
        source.follow(race.runs[label])
    return sources


def append(race: Race, prdp: np.ndarray, full: np.ndarray, sources: tuple[RunSource, RunSource]) -> None:
    race.runs[PRDP_LABEL].log.append(prdp)
    race.runs[FULL_LABEL].log.append(full)
    for source in sources:
        source.update()


class TestCosts:
    def test_before_a_race_there_are_no_bars(self, sources):
        costs = Costs(*sources)
        costs.update()
        assert all(not len(column) for source in (costs._spent, costs._saved) for column in columns(source).values())

    def test_the_bars_are_the_sums_of_the_log(self, race: Race, sources):
        costs = Costs(*sources)
        append(race, made_up_rows(0, 41, iterations=3), made_up_rows(0, 41, iterations=25), sources)
        costs.update()
        spent = columns(costs._spent)
        assert list(spent["name"]) == ["full physics", "PRDP"]
        assert list(spent["iterations"]) == [40 * 25, 40 * 3]
        assert list(spent["iterations_label"]) == ["1,000", "120"]
        np.testing.assert_allclose(spent["seconds"], [0.41, 0.41])
        assert {len(column) for column in spent.values()} == {2}

    def test_the_savings_are_the_papers(self, race: Race, sources):
        prdp = made_up_rows(0, 41)
        prdp["iterations"] = [0, *[1] * 10, *[2] * 20, *[4] * 10]
        prdp["cumulative_iterations"] = np.cumsum(prdp["iterations"])
        costs = Costs(*sources)
        append(race, prdp, made_up_rows(0, 41, iterations=25), sources)
        costs.update()
        (spent,), (late,), (everything,) = (columns(costs._saved)[name] for name in ("spent", "late", "all"))
        epochs, total, final = 40, int(prdp["iterations"].sum()), 4
        assert spent == total
        assert late - spent == epochs * final - total  # PR saving
        assert everything - late == epochs * (25 - final)  # IC saving
        assert extent(costs._iterations_range)[1] > everything

    def test_the_savings_end_where_full_physics_does_after_its_K_was_edited(self, race: Race, sources):
        costs = Costs(*sources)
        full = made_up_rows(0, 41, iterations=25)
        full["iterations"][21:] = 10
        full["cumulative_iterations"] = np.cumsum(full["iterations"])
        append(race, made_up_rows(0, 41, iterations=3), full, sources)
        race.runs[FULL_LABEL].adjust(iterations=10)
        costs.update()
        assert columns(costs._saved)["all"] == [int(full["cumulative_iterations"][-1])]


class TestCurves:
    def test_the_areas_are_at_the_present_K(self, race: Race, sources):
        curves = Curves(*sources)
        curves.set_extent(100, 25)
        append(race, made_up_rows(0, 31, iterations=4), made_up_rows(0, 31, iterations=25), sources)
        curves.update()
        area = {name: list(column) for name, column in columns(curves._ic_area).items()}
        assert area == {"left": [0], "right": [30], "bottom": [4], "top": [25]}
        assert curves._pr_area.glyph.y2 == 4

    def test_before_training_K_is_that_of_the_first_epoch(self, race: Race, sources):
        curves = Curves(*sources)
        append(race, made_up_rows(0, 1, iterations=2), made_up_rows(0, 1, iterations=25), sources)
        curves.update()
        assert columns(curves._ic_area)["bottom"] == [2]
        assert curves._pr_area.glyph.y2 == 2

    def test_the_axis_of_errors_holds_them_all(self, race: Race, sources):
        curves = Curves(*sources)
        prdp, full = made_up_rows(0, 31), made_up_rows(0, 31)
        prdp["validation"][3] = 30.0
        full["validation"][-1] = 2e-4
        append(race, prdp, full, sources)
        curves.update()
        start, end = extent(curves._errors)
        assert 0 < start <= 2e-4
        assert 30 <= end < np.inf

    @pytest.mark.parametrize("error", [np.nan, 0.0, np.inf, 1.0, 0.1])
    def test_an_axis_always_has_an_extent(self, race: Race, sources, error: float):
        curves = Curves(*sources)
        rows = made_up_rows(0, 1)
        rows["validation"] = error
        append(race, rows, rows, sources)
        curves.update()
        start, end = extent(curves._errors)
        assert 0 < start < end < np.inf

    def test_the_axis_of_K_holds_a_raised_maximum(self, race: Race, sources):
        curves = Curves(*sources)
        curves.set_extent(100, 25)
        append(race, made_up_rows(0, 31, iterations=60), made_up_rows(0, 31, iterations=25), sources)
        curves.update()
        assert extent(curves._iterations)[1] > 60

    def test_forgetting_a_race_takes_the_areas_away(self, race: Race, sources):
        curves = Curves(*sources)
        append(race, made_up_rows(0, 31), made_up_rows(0, 31, iterations=25), sources)
        curves.update()
        sources[0].follow(None)
        curves.update()
        assert all(not len(column) for column in columns(curves._ic_area).values())


class TestHistory:
    def test_it_tells_of_nothing_yet(self):
        history = History()
        history.update()
        assert "Nothing yet" in history._pane.object

    def test_every_refinement_edit_and_state_is_told_once_newest_first(self, race: Race):
        history = History()
        history.look_at(race)
        run = race.runs[PRDP_LABEL]
        run.log.add_event(Event(1, "queued", message="About to train."))
        run.log.add_event(Event(1, "running", message="Training."))
        run.log.append(made_up_rows(0, 21))
        history.update()
        run.log.add_event(Event(22, "adjust", {"tau_step": 0.9}, "From epoch 22 on: tau_step = 0.9."))
        run.log.append(made_up_rows(21, 5))
        run.log.add_event(Event(26, "finished", message="Finished all 25 epochs."))
        history.update()
        history.update()
        refinements = [record for record in run.log.records if record.refined]
        expected = [
            (0, "Training."),
            *((record.epoch, record.explanation) for record in refinements),
            (21, "From epoch 22 on: tau_step = 0.9."),
            (25, "Finished all 25 epochs."),
        ]
        assert [(epoch, text) for epoch, _, text in history._lines] == expected
        assert {label for _, label, _ in history._lines} == {PRDP_LABEL}
        positions = [history._pane.object.index(html.escape(text)) for _, text in expected]
        assert positions == sorted(positions, reverse=True)

    def test_it_forgets_the_oldest_and_other_races(self, race: Race):
        history = History()
        history.look_at(race)
        race.runs[PRDP_LABEL].log.append(made_up_rows(0, 300, refine_every=1))
        history.update()
        assert len(history._lines) == LINES_SHOWN
        assert history._lines[-1][0] == 299
        history.look_at(None)
        assert "Nothing yet" in history._pane.object

    def test_messages_cannot_bring_markup(self, race: Race):
        history = History()
        history.look_at(race)
        race.runs[PRDP_LABEL].log.add_event(Event(1, "failed", message="<img src=x onerror=alert(1)>"))
        history.update()
        assert "<img" not in history._pane.object
        assert "&lt;img" in history._pane.object

    def test_the_words_are_the_records_own(self, race: Race):
        (record,) = as_records(made_up_rows(10, 1))
        assert record.refined
        assert "K" in record.explanation


def test_figures_are_light_or_dark_without_a_page_of_material_ui():
    """Bokeh reads such names when it draws, and passes by what it does not know."""
    code = (Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.js").read_text()
    assert 'global_css_prefix = "--bk-"' in code
    plot = make_figure("title", "x", "y")
    parts: list[Any] = [plot, plot.title, *plot.axis]
    for name in AROUND_DATA:
        assert any(name.removeprefix("--bk-").replace("-", "_") in part.properties() for part in parts), name


@pytest.mark.parametrize("wrap", [pn.Column, lambda view: pmui.Page(main=[view])])
def test_a_view_by_itself_has_its_figures_coloured_unless_such_a_page_does(race: Race, engine: Engine, wrap: Any):
    race.engine = engine  # else it would be that of the process, which lives on
    view = RaceView(race)
    wrap(view).get_root(Document())
    assert (PLAIN_PAGE in view.__panel__().stylesheets) == (wrap is pn.Column)
    view.close()


def test_the_axis_of_the_costs_begins_at_one_and_leaves_room_for_the_label(race: Race, sources):
    costs = Costs(*sources)
    costs.update()
    assert extent(costs._iterations_range) == extent(costs._seconds_range) == (0.0, 1.0)
    append(race, made_up_rows(0, 41, iterations=3), made_up_rows(0, 41, iterations=25), sources)
    costs.update()
    assert extent(costs._seconds_range)[1] >= 1.4 * 0.41
