"""The views show what the logs say."""

import html

import numpy as np
import pytest
from bokeh.models import ColumnDataSource, GlyphRenderer, Title
from bokeh.plotting import figure
from dashboard_helpers import add_snapshot, columns, extent, made_up_race, made_up_rows

from prdp_explorer import Race, Run
from prdp_explorer.dashboard._controls import FULL_LABEL, PRDP_LABEL
from prdp_explorer.dashboard._costs import Costs
from prdp_explorer.dashboard._curves import Curves
from prdp_explorer.dashboard._fields import Fields
from prdp_explorer.dashboard._history import LINES_SHOWN, History
from prdp_explorer.dashboard._source import RunSource
from prdp_explorer.engine import Event, Log, Snapshot, as_records


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


class TestFields:
    @pytest.fixture
    def fields(self, race: Race) -> Fields:
        fields = Fields((PRDP_LABEL, FULL_LABEL))
        fields.look_at(dict(race.runs))
        return fields

    @staticmethod
    def title(fields: Fields, label: str) -> str:
        title = fields._figures[label].title
        assert isinstance(title, Title)
        return str(title.text)

    @staticmethod
    def assert_shown(source: ColumnDataSource, run: Run, snapshot: Snapshot, sample: int) -> None:
        np.testing.assert_allclose(columns(source)["x"], run.settings.problem.points())
        for index, values in enumerate(snapshot.fields.values()):
            np.testing.assert_array_equal(columns(source)[f"field_{index}"], values[sample - 1])
        assert len({len(column) for column in columns(source).values()}) == 1

    def test_without_snapshots_nothing_is_drawn(self, fields: Fields):
        fields.update()
        assert all(not len(column) for source in fields._sources.values() for column in columns(source).values())

    def test_the_lines_are_the_newest_snapshot(self, fields: Fields, race: Race):
        for label, run in race.runs.items():
            for epoch in (0, 4, 9):
                snapshot = add_snapshot(run, epoch)
                fields.update()
                assert fields.epoch.value == epoch or label == FULL_LABEL
                self.assert_shown(fields._sources[label], run, snapshot, sample=1)
                assert self.title(fields, label) == f"{label} after epoch {epoch}, K = 3"
        assert fields.follow.value
        assert fields.sample.end == 25

    def test_another_epoch_and_another_sample(self, fields: Fields, race: Race):
        run = race.runs[PRDP_LABEL]
        first, second, _ = (add_snapshot(run, epoch) for epoch in (0, 5, 10))
        fields.update()
        fields.epoch.value = 7
        assert not fields.follow.value
        self.assert_shown(fields._sources[PRDP_LABEL], run, second, sample=1)
        fields.sample.value = 25
        self.assert_shown(fields._sources[PRDP_LABEL], run, second, sample=25)
        fields.epoch.value = 0
        self.assert_shown(fields._sources[PRDP_LABEL], run, first, sample=25)
        latest = add_snapshot(run, 12)
        fields.update()
        self.assert_shown(fields._sources[PRDP_LABEL], run, first, sample=25)
        fields.follow.value = True
        self.assert_shown(fields._sources[PRDP_LABEL], run, latest, sample=25)
        assert fields.epoch.value == 12

    @pytest.mark.parametrize("scale", [0.01, 0.95, 1.0, 1.25, 1.3, 2.2, 7.0, 8.8, 9.9, 1234.0])
    def test_the_axis_holds_all_lines(self, fields: Fields, race: Race, scale: float):
        add_snapshot(race.runs[PRDP_LABEL], 0, scale)
        fields.update()
        largest = max(np.abs(columns(fields._sources[PRDP_LABEL])[f"field_{index}"]).max() for index in range(4))
        start, end = extent(fields._y_range)
        assert start <= -largest
        assert largest <= end

    def test_a_new_race_has_an_axis_of_its_own(self, fields: Fields, race: Race):
        add_snapshot(race.runs[PRDP_LABEL], 0, 1e20)
        fields.update()
        other = made_up_race()
        fields.look_at(dict(other.runs))
        add_snapshot(other.runs[PRDP_LABEL], 0)
        fields.update()
        assert extent(fields._y_range)[1] < 10

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_leaves_an_axis(self, fields: Fields, race: Race, value: float):
        add_snapshot(race.runs[PRDP_LABEL], 0, value)
        fields.update()
        assert np.isfinite(extent(fields._y_range)).all()

    def test_showing_a_race_that_has_snapshots_follows_it(self, fields: Fields, race: Race):
        for run in race.runs.values():
            for epoch in (0, 50):
                add_snapshot(run, epoch)
        fields.update()
        assert fields.epoch.value == 50
        other = made_up_race()
        for run in other.runs.values():
            for epoch in (0, 80):
                add_snapshot(run, epoch)
        fields.look_at(dict(other.runs))
        fields.update()
        assert fields.follow.value
        assert fields.epoch.value == 80

    def test_snapshots_that_arrive_while_it_draws_do_not_end_following(self, fields: Fields, race: Race):
        run = race.runs[PRDP_LABEL]

        class Busy(Log):
            """The engine adds a snapshot between any two looks."""

            @property
            def snapshots(self) -> tuple[Snapshot, ...]:
                kept = super().snapshots
                newest = Snapshot(kept[-1].epoch + 1, 3, kept[-1].fields)
                self.add_snapshot(newest)
                return kept

        add_snapshot(run, 0)
        busy = Busy()
        busy.add_snapshot(run.log.snapshots[0])
        run.log = busy
        fields.update()
        fields.update()
        assert fields.follow.value

    def test_figures_and_sources_belong_together(self, fields: Fields):
        for label, plot in fields._figures.items():
            assert isinstance(plot, figure)
            drawn = {renderer.data_source.id for renderer in plot.renderers if isinstance(renderer, GlyphRenderer)}
            assert drawn == {fields._sources[label].id}
