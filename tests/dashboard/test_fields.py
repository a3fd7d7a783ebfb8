"""The fields of the snapshots: lines, images, slices and trajectories show what the snapshots hold."""

import math
from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import param
import pytest
from bokeh.models import GlyphRenderer, HoverTool, Line, Span, Title
from bokeh.plotting import figure
from dashboard_helpers import add_snapshot, columns, extent, made_up_race

from prdp_explorer import PRDP, Constant, Problem, Race, Run
from prdp_explorer.dashboard import _following
from prdp_explorer.dashboard._controls import FULL_LABEL, PRDP_LABEL
from prdp_explorer.dashboard._fields import Fields
from prdp_explorer.dashboard._fields_images import ERROR, ColorScale, FieldImage, Images, round_interval
from prdp_explorer.dashboard._fields_lines import Lines, styles_of
from prdp_explorer.dashboard._fields_parameters import MOST_POINTS, Parameters
from prdp_explorer.dashboard._fields_slices import Slices
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import DIVERGING_PALETTE, LOOKS, SEQUENTIAL_PALETTE, round_up
from prdp_explorer.engine import Log, Rollout, Snapshot, settings_for

LABELS = (PRDP_LABEL, FULL_LABEL)
NAMES = ("input", "network output", "after the physics", "target")
SIDE = 6


class Pictured(Problem):
    """Has a grid and words for its fields; nobody trains it."""

    full_iterations = 10
    epochs = 40
    batch_size = 1
    learning_rate = 0.1
    controller = PRDP(maximum=10)

    def __init__(
        self,
        points: int = SIDE,
        components: tuple[str, ...] = (),
        reference_parameters: Mapping[str, float] | None = None,
        quantity: str = "temperature u",
    ):
        self._points = points
        self.components = components
        self.reference_parameters = reference_parameters or {}
        self.quantity = quantity

    def points(self):
        return np.arange(1, self._points + 1) / (self._points + 1)

    def data(self):
        raise NotImplementedError

    def model(self, key):
        raise NotImplementedError

    def loss(self, model, batch, solve):
        raise NotImplementedError

    def metric(self, model, validation, solve):
        raise NotImplementedError

    def fields(self, model, validation, solve):
        raise NotImplementedError


def race_of(problem: Problem) -> Race:
    return Race({PRDP_LABEL: settings_for(problem), FULL_LABEL: settings_for(problem, Constant())}, None, lambda: None)


def random_fields(*grid: int, names: tuple[str, ...] = NAMES, samples: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.uniform(-1, 1, (samples, *grid)).astype(np.float32) for name in names}


def keep(race: Race, epoch: int, fields: Mapping[str, np.ndarray], *labels: str) -> None:
    """A snapshot of these fields for these contenders, or both."""
    for label in labels or LABELS:
        race.runs[label].log.add_snapshot(Snapshot(epoch, 3, fields))


def shown_of(race: Race) -> Shown:
    return Shown(race, kept=False)


def looking_at(race: Race) -> Fields:
    fields = Fields(roll_out_nothing)
    fields.look_at(shown_of(race))
    fields.update()
    return fields


def roll_out_nothing(run: Run, *, epoch: int | None, sample: int) -> Future[Rollout]:
    """Is asked and never answers."""
    return Future()


def lines_of(fields: Fields) -> Lines:
    assert isinstance(fields._fields, Lines)
    return fields._fields


def images_of(fields: Fields) -> Images:
    assert isinstance(fields._fields, Images)
    return fields._fields


def slices_of(fields: Fields) -> Slices:
    assert isinstance(fields._fields, Slices)
    return fields._fields


def trajectories_of(fields: Fields) -> Parameters:
    assert fields._parameters is not None
    return fields._parameters


def truths(trajectories: Parameters) -> list[Span]:
    return [span for plot in trajectories._figures.values() for span in plot.center if isinstance(span, Span)]


def pixels(image: FieldImage) -> np.ndarray:
    (values,) = columns(image._source)["image"]
    return values


def limits(scale: ColorScale) -> tuple[float, float]:
    return cast(Any, scale.mapper.low), cast(Any, scale.mapper.high)


def label_of(scale: ColorScale) -> str:
    return str(cast(Title, scale._bar.title).text)


def title_of(plot: figure) -> str:
    assert isinstance(plot.title, Title)
    return str(plot.title.text)


def offered(fields: Fields) -> list[Any]:
    """The controls that a person sees, left to right."""
    (row,) = cast(Any, fields._controls)
    return [cell[0] for cell in row]


def body(fields: Fields) -> list[Any]:
    """What is shown in the place of the figures."""
    return list(cast(Any, fields.body[0]))


def text(layout: Any) -> str:
    """The text of the last of what is laid out."""
    return layout[-1].object


class TestLines:
    @pytest.fixture
    def race(self) -> Race:
        return made_up_race()

    @staticmethod
    def assert_shown(fields: Fields, label: str, run: Run, snapshot: Snapshot, sample: int) -> None:
        source = lines_of(fields)._sources[label]
        np.testing.assert_allclose(columns(source)["x"], run.settings.problem.points())
        for index, values in enumerate(snapshot.fields.values()):
            np.testing.assert_array_equal(columns(source)[f"field_{index}"], values[sample - 1])
        assert len({len(column) for column in columns(source).values()}) == 1
        words = f"{label} after epoch {snapshot.epoch}, K = {snapshot.iterations}"
        assert title_of(lines_of(fields)._figures[label]) == words

    def test_before_a_snapshot_it_says_so(self, race: Race):
        fields = looking_at(race)
        assert fields._fields is None
        assert "appear here" in text(fields.body[0])

    def test_the_lines_are_the_newest_snapshot(self, race: Race):
        fields = looking_at(race)
        for label, run in race.runs.items():
            for epoch in (0, 4, 9):
                snapshot = add_snapshot(run, epoch)
                fields.update()
                assert fields.epoch.value == epoch or label == FULL_LABEL
                self.assert_shown(fields, label, run, snapshot, sample=1)
        assert fields.follow.value
        assert fields.sample.end == 25

    def test_another_epoch_and_another_sample(self, race: Race):
        run = race.runs[PRDP_LABEL]
        first, second, _ = (add_snapshot(run, epoch) for epoch in (0, 5, 10))
        fields = looking_at(race)
        fields.epoch.value = 7
        assert not fields.follow.value
        self.assert_shown(fields, PRDP_LABEL, run, second, sample=1)
        fields.sample.value = 25
        self.assert_shown(fields, PRDP_LABEL, run, second, sample=25)
        fields.epoch.value = 0
        self.assert_shown(fields, PRDP_LABEL, run, first, sample=25)
        latest = add_snapshot(run, 12)
        fields.update()
        self.assert_shown(fields, PRDP_LABEL, run, first, sample=25)
        fields.follow.value = True
        self.assert_shown(fields, PRDP_LABEL, run, latest, sample=25)
        assert fields.epoch.value == 12

    @pytest.mark.parametrize("scale", [0.001, 0.01, 0.95, 1.0, 1.25, 1.3, 2.2, 7.0, 8.8, 9.9, 1234.0])
    def test_the_axis_holds_all_lines_and_little_more(self, race: Race, scale: float):
        add_snapshot(race.runs[PRDP_LABEL], 0, scale)
        fields = looking_at(race)
        shown = columns(lines_of(fields)._sources[PRDP_LABEL])
        largest = max(np.abs(shown[f"field_{index}"]).max() for index in range(4))
        start, end = extent(lines_of(fields)._y_range)
        assert -start == end
        assert largest <= end < 1.5 * largest

    def test_the_axis_is_widened_but_not_narrowed_until_another_sample(self, race: Race):
        run = race.runs[PRDP_LABEL]
        ends = []
        fields = looking_at(race)
        for epoch, scale in enumerate((1.0, 50.0, 2.0)):
            add_snapshot(run, epoch, scale)
            fields.update()
            ends.append(extent(lines_of(fields)._y_range)[1])
        assert ends[0] < 2 < 50 <= ends[1] == ends[2]
        fields.sample.value = 2
        assert extent(lines_of(fields)._y_range)[1] < 10

    def test_a_new_race_has_an_axis_of_its_own(self, race: Race):
        add_snapshot(race.runs[PRDP_LABEL], 0, 1e20)
        fields = looking_at(race)
        other = made_up_race()
        fields.look_at(shown_of(other))
        add_snapshot(other.runs[PRDP_LABEL], 0)
        fields.update()
        assert extent(lines_of(fields)._y_range)[1] < 10

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
    def test_what_is_not_finite_is_a_gap(self, race: Race, value: float):
        problem = Pictured()
        race = race_of(problem)
        values = random_fields(SIDE)
        values["target"] = values["target"].astype(float)
        values["target"][0, 2] = value
        keep(race, 0, values)
        lines = lines_of(looking_at(race))
        target = columns(lines._sources[PRDP_LABEL])["field_3"]
        assert list(np.isnan(target)) == [False, False, True, False, False, False]
        assert np.isfinite(extent(lines._y_range)).all()

    def test_nothing_finite_leaves_an_axis(self, race: Race):
        add_snapshot(race.runs[PRDP_LABEL], 0, np.nan)
        assert extent(lines_of(looking_at(race))._y_range) == (-1, 1)

    def test_the_axis_is_named_after_the_quantity(self):
        race = race_of(Pictured(quantity="velocity u"))
        keep(race, 0, random_fields(SIDE))
        fields = looking_at(race)
        assert [plot.yaxis.axis_label for plot in lines_of(fields)._figures.values()] == ["velocity u"] * 2
        other = race_of(Pictured(quantity="solution u"))  # of the same kind
        keep(other, 0, random_fields(SIDE))
        fields.look_at(shown_of(other))
        fields.update()
        assert [plot.yaxis.axis_label for plot in lines_of(fields)._figures.values()] == ["solution u"] * 2

    def test_figures_and_sources_belong_together(self, race: Race):
        add_snapshot(race.runs[PRDP_LABEL], 0)
        lines = lines_of(looking_at(race))
        for label, plot in lines._figures.items():
            drawn = [renderer for renderer in plot.renderers if isinstance(renderer, GlyphRenderer)]
            assert {renderer.data_source.id for renderer in drawn} == {lines._sources[label].id}
            assert [cast(Any, renderer.glyph).y for renderer in drawn] == [f"field_{index}" for index in range(4)]

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
    def test_any_number_of_fields_is_told_apart(self, count: int):
        names = tuple(f"field {index}" for index in range(count))
        styles = styles_of(names)
        assert tuple(styles) == names
        assert len(set(styles.values())) == count
        race = race_of(Pictured())
        keep(race, 0, random_fields(SIDE, names=names))
        data = columns(lines_of(looking_at(race))._sources[FULL_LABEL])
        assert len(data) == count + 1

    def test_a_component_can_be_looked_at(self):
        race = race_of(Pictured(components=("velocity", "pressure")))
        values = random_fields(2, SIDE)
        keep(race, 0, values)
        fields = looking_at(race)
        fields.component.value = "pressure"
        np.testing.assert_array_equal(
            columns(lines_of(fields)._sources[PRDP_LABEL])["field_1"], values["network output"][0, 1]
        )


class TestFollowing:
    @pytest.fixture
    def race(self) -> Race:
        return made_up_race()

    def test_showing_a_race_that_has_snapshots_follows_it(self, race: Race):
        for run in race.runs.values():
            for epoch in (0, 50):
                add_snapshot(run, epoch)
        fields = looking_at(race)
        assert fields.epoch.value == 50
        fields.epoch.value = 3
        other = made_up_race()
        for run in other.runs.values():
            for epoch in (0, 80):
                add_snapshot(run, epoch)
        fields.look_at(shown_of(other))
        fields.update()
        assert fields.follow.value
        assert fields.epoch.value == 80

    def test_snapshots_that_arrive_while_it_draws_do_not_end_following(self, race: Race):
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
        fields = looking_at(race)
        fields.update()
        assert fields.follow.value

    def test_a_late_report_of_an_epoch_that_was_followed_does_not_end_following(
        self, race: Race, monkeypatch: pytest.MonkeyPatch
    ):
        fields = looking_at(race)
        for epoch in (5, 10, 15):
            add_snapshot(race.runs[PRDP_LABEL], epoch)
            fields.update()
        fields.epoch.value = 10  # by the browser, which was busy
        assert fields.follow.value
        fields.update()
        assert fields.epoch.value == 15
        now = _following.time.monotonic()
        monkeypatch.setattr(_following, "time", SimpleNamespace(monotonic=lambda: now + _following.ECHO_SECONDS + 1))
        fields.epoch.value = 10  # by a person
        assert not fields.follow.value

    def test_releasing_the_slider_on_an_epoch_that_was_followed_ends_following(self, race: Race):
        fields = looking_at(race)
        for epoch in (5, 10, 15):
            add_snapshot(race.runs[PRDP_LABEL], epoch)
            fields.update()
        with param.edit_constant(fields.epoch):
            fields.epoch.value_throttled = 10
        fields.update()
        assert not fields.follow.value
        assert fields.epoch.value == 10
        assert "after epoch 10," in title_of(lines_of(fields)._figures[PRDP_LABEL])

    def test_releasing_it_at_the_end_follows_again(self, race: Race):
        add_snapshot(race.runs[PRDP_LABEL], 5)
        fields = looking_at(race)
        fields.epoch.value = 2
        assert not fields.follow.value
        fields.epoch.value = 100
        assert fields.follow.value


class TestKinds:
    def test_races_of_the_same_kind_share_figures(self):
        first, second = race_of(Pictured()), race_of(Pictured())
        for race in (first, second):
            keep(race, 0, random_fields(SIDE, SIDE))
        fields = looking_at(first)
        images = images_of(fields)
        controls = fields._controls[0]
        fields.look_at(shown_of(second))
        fields.update()
        assert images_of(fields) is images
        assert body(fields)[0] is images.view
        assert fields._controls[0] is controls

    def test_each_kind_has_its_view(self):
        kinds = {
            Lines: (Pictured(), random_fields(SIDE)),
            Images: (Pictured(), random_fields(SIDE, SIDE)),
            Slices: (Pictured(), random_fields(SIDE, SIDE, SIDE)),
        }
        fields = Fields(roll_out_nothing)
        for _ in range(2):
            for kind, (problem, values) in kinds.items():
                race = race_of(problem)
                keep(race, 0, values)
                fields.look_at(shown_of(race))
                fields.update()
                shown = fields._fields
                assert isinstance(shown, kind)
                assert body(fields) == [cast(Any, shown).view]

    @pytest.mark.parametrize(
        ("problem", "values"),
        [
            (Pictured(points=8), random_fields(8, 8)),
            (Pictured(), random_fields(SIDE, SIDE, names=("start", "end"))),
            (Pictured(components=("a", "b")), random_fields(2, SIDE, SIDE)),
        ],
        ids=["grid", "names", "components"],
    )
    def test_what_differs_has_figures_of_its_own(self, problem: Problem, values: Mapping[str, np.ndarray]):
        first, second = race_of(Pictured()), race_of(problem)
        keep(first, 0, random_fields(SIDE, SIDE))
        keep(second, 0, values)
        fields = looking_at(first)
        before = images_of(fields)
        fields.look_at(shown_of(second))
        fields.update()
        assert images_of(fields) is not before
        for label in LABELS:
            for name, image in images_of(fields)._images[label].items():
                if name != ERROR:
                    field = values[name][0, 0] if problem.components else values[name][0]
                    np.testing.assert_array_equal(pixels(image), field)

    def test_a_race_that_has_not_begun_shows_nothing_of_the_last(self):
        problem = Pictured(reference_parameters={"θ": 1.0})
        for grid in ((SIDE,), (SIDE, SIDE), (SIDE, SIDE, SIDE)):
            race = race_of(problem)
            keep(race, 5, {**random_fields(*grid), "θ": np.ones(3, np.float32)})
            fields = looking_at(race)
            fields.look_at(shown_of(race_of(problem)))
            fields.update()
            sources = [*trajectories_of(fields)._lines.values(), *trajectories_of(fields)._marks.values()]
            if isinstance(fields._fields, Lines):
                sources += fields._fields._sources.values()
            elif fields._fields is not None:
                sources += [image._source for images in fields._fields._images.values() for image in images.values()]
            assert all(not len(column) for source in sources for column in columns(source).values())

    @pytest.mark.parametrize(
        "other",
        [Pictured(points=8), Pictured(components=("a", "b")), Pictured(reference_parameters={"θ": 1.0})],
        ids=["grid", "components", "parameters"],
    )
    def test_before_a_race_of_another_kind_begins_there_are_no_figures_of_the_last(self, other: Problem):
        race = race_of(Pictured())
        keep(race, 5, random_fields(SIDE, SIDE))
        fields = looking_at(race)
        fields.look_at(shown_of(race_of(other)))
        fields.update()
        assert "appear here" in text(fields.body[0])
        fields.look_at(shown_of(race))
        fields.update()
        assert body(fields) == [images_of(fields).view]

    def test_only_controls_that_offer_a_choice_are_there(self):
        fields = Fields(roll_out_nothing)
        assert offered(fields) == [fields.sample, fields.epoch, fields.follow]
        for components, samples in (((), 1), ((), 5), (("a", "b"), 5), (("a", "b"), 1), ((), 1)):
            race = race_of(Pictured(components=components))
            keep(race, 0, random_fields(*[2] * bool(components), SIDE, SIDE, samples=samples))
            fields.look_at(shown_of(race))
            fields.update()
            choosers = [fields.component] * bool(components) + [fields.sample] * (samples > 1)
            assert offered(fields) == [*choosers, fields.epoch, fields.follow]
            assert fields.component.value == ("a" if components else None)

    def test_a_sample_that_there_is_not_any_more_is_left(self):
        first, second = race_of(Pictured()), race_of(Pictured())
        few = random_fields(SIDE, SIDE, samples=2)
        keep(first, 0, random_fields(SIDE, SIDE, samples=7))
        keep(second, 0, few)
        fields = looking_at(first)
        fields.sample.value = 7
        fields.look_at(shown_of(second))
        fields.update()
        assert (fields.sample.value, fields.sample.end) == (2, 2)
        np.testing.assert_array_equal(pixels(images_of(fields)._images[FULL_LABEL]["input"]), few["input"][1])

    def test_a_component_that_there_is_not_any_more_is_left(self):
        first = race_of(Pictured(components=("vorticity", "pressure")))
        second = race_of(Pictured(components=("velocity", "density")))
        values = random_fields(2, SIDE, SIDE)
        for race in (first, second):
            keep(race, 0, values)
        fields = looking_at(first)
        fields.component.value = "pressure"
        fields.look_at(shown_of(second))
        fields.update()
        assert fields.component.value == "velocity"
        np.testing.assert_array_equal(pixels(images_of(fields)._images[PRDP_LABEL]["input"]), values["input"][0, 0])


class TestImages:
    @pytest.fixture
    def race(self) -> Race:
        return race_of(Pictured())

    def test_each_image_is_its_field_and_the_error_a_difference(self, race: Race):
        both = {label: random_fields(SIDE, SIDE, seed=seed) for seed, label in enumerate(LABELS)}
        for label, values in both.items():
            keep(race, 7, values, label)
        fields = looking_at(race)
        fields.sample.value = 2
        for label, values in both.items():
            shown = images_of(fields)._images[label]
            assert list(shown) == [*NAMES, ERROR]
            for name in NAMES:
                assert pixels(shown[name]).dtype == np.float32
                np.testing.assert_array_equal(pixels(shown[name]), values[name][1])
            error = values["after the physics"][1] - values["target"][1]
            np.testing.assert_array_equal(pixels(shown[ERROR]), error)
            assert f"{label} after epoch 7, K = 3" in images_of(fields)._contenders[label].object

    def test_the_error_is_of_what_comes_last_before_the_target(self):
        names = ("input", "after the physics", "after the correction", "target")
        race = race_of(Pictured())
        values = random_fields(SIDE, SIDE, names=names)
        keep(race, 0, values)
        images = images_of(looking_at(race))
        error = values["after the correction"][0] - values["target"][0]
        np.testing.assert_array_equal(pixels(images._images[PRDP_LABEL][ERROR]), error)
        assert label_of(images._error) == "error: after the correction − target"

    @pytest.mark.parametrize("names", [("a", "b"), ("target",), ("network output", "target"), ("after the physics",)])
    def test_without_both_there_is_no_error(self, names: tuple[str, ...]):
        race = race_of(Pictured())
        keep(race, 0, random_fields(SIDE, SIDE, names=names))
        images = images_of(looking_at(race))
        assert list(images._images[PRDP_LABEL]) == list(names)

    def test_x_is_the_last_axis_and_points_are_in_the_middle_of_their_pixels(self, race: Race):
        keep(race, 0, random_fields(SIDE, SIDE))
        image = images_of(looking_at(race))._images[PRDP_LABEL]["input"]
        points = Pictured().points()
        glyph: Any = image._glyph
        assert (glyph.x, glyph.dw) == (glyph.y, glyph.dh)
        centres = glyph.x + glyph.dw * (np.arange(SIDE) + 0.5) / SIDE
        np.testing.assert_allclose(centres, points)
        assert (image.figure.xaxis.axis_label, image.figure.yaxis.axis_label) == ("x", "y")
        assert extent(cast(Any, image.figure.x_range)) == extent(cast(Any, image.figure.y_range)) == (0, 1)

    def test_a_periodic_grid_fills_its_image(self):
        points = np.arange(8) / 8
        image = FieldImage("", ("x", "y"), points, ColorScale())
        assert extent(cast(Any, image.figure.x_range)) == (points[0] - 1 / 16, points[-1] + 1 / 16)

    def test_one_scale_holds_all_fields_of_both_contenders(self, race: Race):
        small, large = random_fields(SIDE, SIDE), random_fields(SIDE, SIDE)
        large["network output"] = large["network output"] * 30
        keep(race, 0, small, PRDP_LABEL)
        keep(race, 0, large, FULL_LABEL)
        images = images_of(looking_at(race))
        low, high = limits(images._fields)
        largest = max(np.abs(field[0]).max() for field in large.values())
        assert -low == high
        assert largest <= high <= 1.3 * largest
        for shown in images._images.values():
            for name, image in shown.items():
                assert image._glyph.color_mapper is (images._error if name == ERROR else images._fields).mapper
        assert label_of(images._fields) == "temperature u"

    def test_the_scale_is_widened_but_not_narrowed_until_another_sample(self, race: Race):
        fields = looking_at(race)
        highest = []
        for epoch, size in enumerate((1.0, 20.0, 0.5)):
            values = random_fields(SIDE, SIDE)
            values["network output"][0] *= size
            keep(race, epoch, values)
            fields.update()
            highest.append(limits(images_of(fields)._fields)[1])
        assert highest[0] <= 1 < highest[1] == highest[2]
        fields.sample.value = 2
        assert limits(images_of(fields)._fields)[1] <= 1

    def test_values_of_one_sign_have_a_scale_of_one_sign(self, race: Race):
        keep(race, 0, {name: np.abs(field) for name, field in random_fields(SIDE, SIDE).items()})
        fields = looking_at(race)
        scale = images_of(fields)._fields
        assert limits(scale)[0] == 0
        assert tuple(scale.mapper.palette) == tuple(SEQUENTIAL_PALETTE)
        keep(race, 1, random_fields(SIDE, SIDE))
        fields.update()
        assert limits(scale)[0] == -limits(scale)[1]
        assert tuple(scale.mapper.palette) == tuple(DIVERGING_PALETTE)

    def test_the_bar_shows_the_scale(self, race: Race):
        keep(race, 0, random_fields(SIDE, SIDE))
        scale = images_of(looking_at(race))._fields
        bar = columns(scale._source)
        (colors,), (start,), (width,) = bar["image"], bar["start"], bar["width"]
        assert extent(scale._range) == limits(scale) == (start, start + width)
        np.testing.assert_allclose([colors[0, 0], colors[0, -1]], limits(scale), rtol=1e-6)
        assert len(colors[0]) == len(scale.mapper.palette)
        ticks = cast(Any, scale._ticker.ticks)
        assert (ticks[0], ticks[2], ticks[-1]) == (start, 0, start + width)

    def test_the_scale_of_the_error_follows_the_larger_of_both(self, race: Race):
        fields = looking_at(race)
        highest = []
        for epoch, sizes in enumerate(((1.0, 0.1), (0.1, 1.0), (0.9, 0.5), (0.01, 0.01), (0.0, 0.0))):
            for label, size in zip(LABELS, sizes, strict=True):
                values = random_fields(SIDE, SIDE)
                values["after the physics"] = values["target"] + np.float32(size)
                keep(race, epoch, values, label)
            fields.update()
            low, high = limits(images_of(fields)._error)
            assert -low == high
            highest.append(high)
        assert highest[0] == highest[1] == highest[2] <= 2
        assert 0.01 <= highest[3] <= 0.021
        assert highest[4] == highest[3]

    def test_what_is_shown_already_is_not_sent_again(self, race: Race):
        values = random_fields(SIDE, SIDE)
        keep(race, 0, values)
        fields = looking_at(race)
        shown = images_of(fields)._images[PRDP_LABEL]
        sent: list[str] = []
        for name, image in shown.items():
            image._source.on_change("data", lambda _attribute, _old, _new, name=name: sent.append(name))
        fields.update()
        assert sent == []
        keep(race, 1, {**values, "network output": values["network output"] + 1})
        fields.update()
        assert sent == ["network output"]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
    def test_what_is_not_finite_is_a_gap_that_is_explained(self, race: Race, value: float):
        fields = looking_at(race)
        values = random_fields(SIDE, SIDE)
        keep(race, 0, values)
        fields.update()
        assert not images_of(fields)._contenders.gaps.visible
        broken = {name: field.copy() for name, field in values.items()}
        broken["after the physics"][0, 1, 2] = value
        broken["target"][0, 1, 2] = -value
        keep(race, 1, broken, FULL_LABEL)
        fields.update()
        gaps = np.isnan(pixels(images_of(fields)._images[FULL_LABEL][ERROR]))
        assert [tuple(position) for position in np.argwhere(gaps)] == [(1, 2)]
        assert images_of(fields)._contenders.gaps.visible
        assert np.isfinite(limits(images_of(fields)._fields)).all()
        assert np.isfinite(limits(images_of(fields)._error)).all()
        keep(race, 2, values)
        fields.update()
        assert not images_of(fields)._contenders.gaps.visible

    def test_nothing_finite_at_all_breaks_nothing(self, race: Race):
        keep(race, 0, {name: np.full((2, SIDE, SIDE), np.nan, np.float32) for name in NAMES})
        images = images_of(looking_at(race))
        assert limits(images._fields) == limits(images._error) == (-1, 1)

    def test_components_are_shown_one_at_a_time_each_on_its_scale(self):
        race = race_of(Pictured(components=("vorticity", "pressure"), quantity="non-dimensional value"))
        values = random_fields(2, SIDE, SIDE)
        for field in values.values():
            field[:, 1] *= 50
        keep(race, 0, values)
        fields = looking_at(race)
        images = images_of(fields)
        for index, (component, largest) in enumerate((("vorticity", 1), ("pressure", 50), ("vorticity", 1))):
            fields.component.value = component
            np.testing.assert_array_equal(pixels(images._images[FULL_LABEL]["target"]), values["target"][0, index % 2])
            assert label_of(images._fields) == f"{component} (non-dimensional value)"
            assert 0.8 * largest < limits(images._fields)[1] <= largest

    def test_the_pointer_tells_place_and_value(self, race: Race):
        keep(race, 0, random_fields(SIDE, SIDE))
        for image in images_of(looking_at(race))._images[PRDP_LABEL].values():
            (hover,) = image.figure.select({"type": HoverTool})
            assert [name for name, _ in cast(Any, hover).tooltips] == ["x", "y", "value"]


class TestSlices:
    @pytest.fixture
    def values(self) -> dict[str, np.ndarray]:
        return random_fields(SIDE, SIDE, SIDE)

    @pytest.fixture
    def fields(self, values: dict[str, np.ndarray]) -> Fields:
        race = race_of(Pictured())
        keep(race, 0, values)
        return looking_at(race)

    @staticmethod
    def assert_cut(fields: Fields, field: np.ndarray, x: int, y: int, z: int) -> None:
        for images in slices_of(fields)._images.values():
            np.testing.assert_array_equal(pixels(images["z"]), field[z])
            np.testing.assert_array_equal(pixels(images["y"]), field[:, y])
            np.testing.assert_array_equal(pixels(images["x"]), field[:, :, x])

    def test_the_slices_go_through_the_middle(self, fields: Fields, values: dict[str, np.ndarray]):
        assert slices_of(fields).field.value == "after the physics"
        self.assert_cut(fields, values["after the physics"][0], 3, 3, 3)

    def test_another_point_field_and_sample(self, fields: Fields, values: dict[str, np.ndarray]):
        slices, points = slices_of(fields), Pictured().points()
        fields.sample.value = 3
        slices.field.value = "input"
        for axis, index in (("x", 0), ("y", 5), ("z", 2)):
            slices.positions[axis].value = points[index]
        self.assert_cut(fields, values["input"][2], 0, 5, 2)
        titles = [title_of(image.figure) for image in slices._images[PRDP_LABEL].values()]
        assert titles == ["x–y at z = 0.43", "x–z at y = 0.86", "y–z at x = 0.14"]
        assert {axis: value for axis, (value,) in columns(slices._cut).items()} == {
            "x": points[0],
            "y": points[5],
            "z": points[2],
        }

    def test_each_slice_marks_where_the_others_cut(self, fields: Fields):
        for axis, image in slices_of(fields)._images[FULL_LABEL].items():
            spans = [
                renderer.glyph
                for renderer in image.figure.renderers
                if isinstance(renderer, GlyphRenderer) and renderer.data_source is slices_of(fields)._cut
            ]
            across = {type(span).__name__: cast(Any, span) for span in spans}
            assert (across["VSpan"].x, across["HSpan"].y) == (
                image.figure.xaxis.axis_label,
                image.figure.yaxis.axis_label,
            )
            assert {axis, across["VSpan"].x, across["HSpan"].y} == {"x", "y", "z"}

    def test_a_click_moves_the_others_to_the_nearest_point(self, fields: Fields, values: dict[str, np.ndarray]):
        figure = slices_of(fields)._images[PRDP_LABEL]["y"].figure
        (move,) = figure._event_callbacks["tap"]
        cast(Any, move)(SimpleNamespace(x=0.27, y=7.0))
        self.assert_cut(fields, values["after the physics"][0], 1, 3, 5)

    def test_the_scale_is_of_all_fields_wherever_they_are_cut(self, values: dict[str, np.ndarray]):
        values["input"][0, 0, 0, 0] = 40.0
        race = race_of(Pictured())
        keep(race, 0, values)
        fields = looking_at(race)
        assert limits(slices_of(fields)._fields) == (-40.0, 40.0)
        fields.sample.value = 2
        assert limits(slices_of(fields)._fields)[1] <= 1

    def test_the_error_has_a_scale_of_its_own(self, fields: Fields, values: dict[str, np.ndarray]):
        slices = slices_of(fields)
        assert (slices._fields.view.visible, slices._error.view.visible) == (True, False)
        slices.field.value = ERROR
        self.assert_cut(fields, (values["after the physics"] - values["target"])[0], 3, 3, 3)
        assert (slices._fields.view.visible, slices._error.view.visible) == (False, True)
        for images in slices._images.values():
            assert all(image._glyph.color_mapper is slices._error.mapper for image in images.values())
        slices.field.value = "target"
        assert (slices._fields.view.visible, slices._error.view.visible) == (True, False)
        for images in slices._images.values():
            assert all(image._glyph.color_mapper is slices._fields.mapper for image in images.values())

    def test_one_contender_alone_is_shown(self, values: dict[str, np.ndarray]):
        race = race_of(Pictured())
        keep(race, 0, values, FULL_LABEL)
        slices = slices_of(looking_at(race))
        assert all(not len(columns(image._source)["image"]) for image in slices._images[PRDP_LABEL].values())
        assert all(len(columns(image._source)["image"]) for image in slices._images[FULL_LABEL].values())

    def test_gaps_are_explained(self, values: dict[str, np.ndarray]):
        values["network output"][0, 0, 0, 0] = np.nan
        race = race_of(Pictured())
        keep(race, 0, values)
        assert slices_of(looking_at(race))._contenders.gaps.visible


class TestParameters:
    @pytest.fixture
    def race(self) -> Race:
        return race_of(Pictured(reference_parameters={"θ_1": 2.0, "θ_2": -1.0}))

    @staticmethod
    def snapshot(first: float, second: float) -> dict[str, np.ndarray]:
        return {
            "solution": np.zeros((1, SIDE), np.float32),
            "θ_1": np.array([first], np.float32),
            "θ_2": np.array([second], np.float32),
        }

    def test_the_trajectories_go_through_all_snapshots_and_the_shown_one_is_marked(self, race: Race):
        for epoch in (0, 3, 6):
            keep(race, epoch, self.snapshot(5 - epoch, epoch / 10), PRDP_LABEL)
            keep(race, epoch, self.snapshot(7.0, 8.0), FULL_LABEL)
        fields = looking_at(race)
        for shown in (6, 4):
            fields.epoch.value = shown
            trajectories = trajectories_of(fields)
            line, mark = columns(trajectories._lines[PRDP_LABEL]), columns(trajectories._marks[PRDP_LABEL])
            assert list(line["epoch"]) == [0, 3, 6]
            np.testing.assert_allclose(line["parameter_0"], [5, 2, -1])
            np.testing.assert_allclose(line["parameter_1"], [0, 0.3, 0.6], rtol=1e-6)
            assert list(mark["epoch"]) == [shown // 3 * 3]
            np.testing.assert_allclose(mark["parameter_0"], [5 - shown // 3 * 3])
        assert list(columns(trajectories_of(fields)._lines[FULL_LABEL])["parameter_1"]) == [8, 8, 8]

    def test_they_grow_while_an_earlier_epoch_is_looked_at(self, race: Race):
        for epoch in (0, 20):
            keep(race, epoch, self.snapshot(5, 5))
        fields = looking_at(race)
        fields.epoch.value = 1
        keep(race, 30, self.snapshot(4, 4))
        fields.update()
        assert list(columns(trajectories_of(fields)._lines[FULL_LABEL])["epoch"]) == [0, 20, 30]
        assert list(columns(trajectories_of(fields)._marks[FULL_LABEL])["epoch"]) == [0]

    def test_nothing_is_sent_while_nothing_is_new(self, race: Race):
        keep(race, 0, self.snapshot(5, 5))
        fields = looking_at(race)
        sent: list[Any] = []
        for source in (*trajectories_of(fields)._lines.values(), *trajectories_of(fields)._marks.values()):
            source.on_change("data", lambda _attribute, _old, new: sent.append(new))
        fields.update()
        assert sent == []

    def test_fields_are_shown_beside_them_without_the_parameters(self, race: Race):
        keep(race, 0, self.snapshot(5, 5))
        fields = looking_at(race)
        assert body(fields) == [lines_of(fields).view, trajectories_of(fields).view]
        assert set(columns(lines_of(fields)._sources[PRDP_LABEL])) == {"x", "field_0"}

    def test_parameters_alone_are_shown_alone(self):
        race = race_of(Pictured())
        keep(race, 0, {"θ": np.array([3.0, 4.0])})
        fields = looking_at(race)
        assert fields._fields is None
        assert body(fields) == [trajectories_of(fields).view]
        fields.sample.value = 2
        assert list(columns(trajectories_of(fields)._marks[PRDP_LABEL])["parameter_0"]) == [4]

    def test_the_truth_is_drawn_and_written(self, race: Race):
        keep(race, 0, self.snapshot(5, 5))
        trajectories = trajectories_of(looking_at(race))
        assert [span.location for span in truths(trajectories)] == [2, -1]
        assert "truth: θ_1 = 2, θ_2 = −1" in text(trajectories.view)

    def test_without_a_truth_none_is_claimed(self):
        race = race_of(Pictured())
        keep(race, 0, self.snapshot(5, 5))
        trajectories = trajectories_of(looking_at(race))
        assert not truths(trajectories)
        assert "truth" not in text(trajectories.view)

    def test_the_axes_hold_the_race_the_values_and_the_truth(self, race: Race):
        fields = looking_at(race)
        ends = []
        for epoch, value in enumerate((5.0, 12.0, 4.0)):
            keep(race, epoch, self.snapshot(value, 0))
            fields.update()
            start, end = extent(trajectories_of(fields)._values["θ_1"])
            assert start <= 2
            ends.append(end)
            assert extent(trajectories_of(fields)._values["θ_2"])[0] <= -1
        assert 5 <= ends[0] < 8
        assert 12 <= ends[1] == ends[2] < 16
        assert extent(trajectories_of(fields)._epochs) == (0, 40)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_is_a_gap(self, race: Race, value: float):
        for epoch, first in enumerate((5.0, value, 4.0)):
            keep(race, epoch, self.snapshot(first, value))
        trajectories = trajectories_of(looking_at(race))
        assert list(np.isnan(columns(trajectories._lines[PRDP_LABEL])["parameter_0"])) == [False, True, False]
        start, end = extent(trajectories._values["θ_1"])
        assert start <= 2 < 5 <= end < 7

    def test_a_long_run_is_thinned_and_keeps_its_end(self, race: Race):
        for epoch in range(2 * MOST_POINTS + 4):
            race.runs[PRDP_LABEL].log.snapshot_bytes = 2**40
            race.runs[PRDP_LABEL].log._snapshots += (Snapshot(epoch, 3, self.snapshot(epoch, 0)),)
        line = columns(trajectories_of(looking_at(race))._lines[PRDP_LABEL])
        assert MOST_POINTS / 2 <= len(line["epoch"]) <= MOST_POINTS
        assert line["epoch"][-1] == 2 * MOST_POINTS + 3
        assert len(set(np.diff(line["epoch"]))) == 1

    def test_each_parameter_has_a_figure_and_each_contender_its_look(self, race: Race):
        keep(race, 0, self.snapshot(5, 5))
        trajectories = trajectories_of(looking_at(race))
        assert list(trajectories._figures) == ["θ_1", "θ_2"]
        for index, plot in enumerate(trajectories._figures.values()):
            lines = {}
            for renderer in plot.renderers:
                if isinstance(renderer, GlyphRenderer) and isinstance(renderer.glyph, Line):
                    glyph: Any = renderer.glyph
                    assert glyph.y == f"parameter_{index}"
                    label = next(label for label in LABELS if renderer.data_source is trajectories._lines[label])
                    lines[label] = glyph.line_color, bool(glyph.line_dash)
            assert lines == {PRDP_LABEL: (LOOKS[0].color, False), FULL_LABEL: (LOOKS[1].color, True)}


class TestRounding:
    @pytest.mark.parametrize("value", [1e-30, 0.00999, 0.1, 0.3, 1.0, 1.01, 7.0, 8.01, 9.99, 10.0, 123.0, 3.4e38])
    def test_up_is_near_and_round(self, value: float):
        rounded = round_up(value)
        assert value <= rounded <= 1.34 * value
        assert math.isclose(float(f"{rounded:.1e}"), rounded)

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (-0.3, 0.9, (-1, 1)),
            (-0.9, 0.3, (-1, 1)),
            (-1e-9, 3.0, (-3, 3)),
            (0.0, 0.9, (0, 1)),
            (0.2, 0.9, (0, 1)),
            (-0.9, 0.0, (-1, 0)),
            (0.0, 0.0, (-1, 1)),
            (math.inf, -math.inf, (-1, 1)),
        ],
    )
    def test_intervals(self, low: float, high: float, expected: tuple[float, float]):
        assert round_interval(low, high) == expected

    @pytest.mark.parametrize(("low", "high"), [(293.0, 301.5), (-301.5, -293.0), (7.0, 7.0), (-7.0, -7.0), (1e6, 1e6)])
    def test_intervals_far_from_zero_are_narrow_and_hold_all(self, low: float, high: float):
        start, end = round_interval(low, high)
        assert start <= low <= high <= end
        assert start < end
        assert end - start <= max(1.5 * (high - low), 1e-4 * abs(high))


class TestErrorsOfLines:
    def test_they_are_drawn_below_on_an_axis_of_their_own(self):
        race = race_of(Pictured())
        values = random_fields(SIDE)
        values["target"] = values["after the physics"] + 0.003
        keep(race, 0, values)
        lines = lines_of(looking_at(race))
        np.testing.assert_allclose(columns(lines._sources[FULL_LABEL])["field_4"], -0.003, atol=1e-6)
        assert extent(lines._error_range) == (-0.005, 0.005)
        assert lines._errors is not None
        assert title_of(lines._errors) == "error: after the physics − target"
        drawn = [renderer for renderer in lines._errors.renderers if isinstance(renderer, GlyphRenderer)]
        assert [cast(Any, renderer.glyph).line_color for renderer in drawn] == [LOOKS[1].color, LOOKS[0].color]

    def test_without_a_target_there_are_none(self):
        race = race_of(Pictured())
        keep(race, 0, random_fields(SIDE, names=("a", "b")))
        assert lines_of(looking_at(race))._errors is None


class TestPointing:
    def test_at_an_epoch_shows_its_snapshot_and_leaving_goes_back(self):
        race = made_up_race()
        for epoch in (0, 5, 10):
            for run in race.runs.values():
                add_snapshot(run, epoch)
        fields = looking_at(race)
        for pointed, expected in ((7, 5), (0, 0), (None, 10)):
            fields.point_at(pointed)
            fields.update()
            assert f"after epoch {expected}," in title_of(lines_of(fields)._figures[PRDP_LABEL])
            assert (fields.epoch.value, fields.follow.value) == (10, True)

    def test_before_there_is_anything(self):
        fields = Fields(roll_out_nothing)
        fields.point_at(3)
        fields.point_at(None)


class TestFurtherContenders:
    @pytest.mark.parametrize("grid", [(SIDE,), (SIDE, SIDE), (SIDE, SIDE, SIDE), ()])
    def test_as_many_as_there_are_looks(self, grid: tuple[int, ...]):
        problem = Pictured()
        settings = {PRDP_LABEL: settings_for(problem), FULL_LABEL: settings_for(problem, Constant())}
        settings |= {f"K = {k}": settings_for(problem, Constant(k)) for k in (1, 2, 3)}
        race = Race(settings, None, lambda: None)
        for index, label in enumerate(settings):
            keep(race, 0, random_fields(*grid, seed=index), label)
        fields = looking_at(race)
        part: Any = fields._fields or fields._parameters
        by_label = part._lines if not grid else part._sources if len(grid) == 1 else part._images
        assert list(by_label) == [PRDP_LABEL, FULL_LABEL, "K = 1", "K = 2", "K = 3"]
        for label in by_label:
            assert label in fields._summary.object

    def test_the_summary_tells_the_error_in_numbers(self):
        race = race_of(Pictured(reference_parameters={"θ": 1.0}))
        values = random_fields(SIDE)
        values["target"][0] = 0.8 * values["after the physics"][0]
        keep(race, 4, {**values, "θ": np.array([1.5, 0, 0])})
        told = looking_at(race)._summary.object
        assert "θ = 1.5, 0.25 for PRDP after epoch 4; θ = 1.5, 0.25 for full physics" in told
        assert "truth θ = 1" in told
