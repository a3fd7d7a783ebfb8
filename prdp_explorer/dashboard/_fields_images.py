"""Fields in two dimensions as small square images, and what the slices of three dimensions share with them."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import panel as pn
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Image,
    LinearColorMapper,
    PrintfTickFormatter,
    Range1d,
    Title,
)

from ._theme import (
    DIVERGING_PALETTE,
    NEUTRAL_COLOR,
    SEQUENTIAL_PALETTE,
    Look,
    as_pane,
    contender_heading,
    grid,
    image_row,
    legend,
    make_figure,
    make_image_figure,
    name_contender,
    round_up,
    see_through,
    set_title,
)

TARGET = "target"
ERROR = "error"
"""The difference of what is compared, a result and its truth, where a problem names both."""

Compared = tuple[str, str] | None
"""The names of a result and of its truth."""

_COARSE_STEPS = (1.0, 2.0, 5.0)


class Images:
    """For each contender one image a field, and one of the error.

    All images but those of the error share one scale, which is widened but not narrowed until `restart`; those of the
    error share another, which follows their size in coarse steps, so that small errors are seen as well.

    **Arguments:**

    - `looks`: of the contenders, by label. `names`: of the fields. `points`: the coordinates along one side.
    - `compared`: of which fields the error is.

    **Attributes:**

    - `view`: what is displayed.
    """

    def __init__(
        self, looks: Mapping[str, Look], names: tuple[str, ...], points: np.ndarray, compared: Compared = None
    ):
        self._compared = compared
        self._fields, self._error = ColorScale(), ColorScale(error_label(compared))
        shown = (*names, ERROR) if compared else names
        self._images = {
            label: {
                name: FieldImage(name, ("x", "y"), points, self._error if name == ERROR else self._fields)
                for name in shown
            }
            for label in looks
        }
        self._contenders = ContenderHeadings(looks)
        scales = [self._fields, self._error] if ERROR in shown else [self._fields]
        self.view = pn.Column(sizing_mode="stretch_width", margin=0)
        for label, images in self._images.items():
            self.view += [self._contenders[label], image_row([image.figure for image in images.values()])]
        self.view += [grid(*((scale.view, {"sm": 6}) for scale in scales)), self._contenders.gaps]

    def clear(self) -> None:
        """Show nothing."""
        self._contenders.clear()
        for images in self._images.values():
            for image in images.values():
                image.show(None)

    def restart(self, quantity: str, limit: float = math.inf) -> None:
        """Begin the scales anew, for another race, sample or component. They go to `limit` at most."""
        self._fields.restart(quantity, limit)
        self._error.restart(limit=limit)

    def widen(self, fields: Iterable[np.ndarray]) -> None:
        """Let the scale of the fields hold these values as well."""
        self._fields.widen(map(as_sent, fields))

    def show(self, label: str, words: str, fields: Mapping[str, np.ndarray]) -> None:
        """Show the fields of one sample for one contender."""
        values = with_error(fields, self._compared)
        self._fields.widen(field for name, field in values.items() if name != ERROR)
        if ERROR in values:
            self._error.follow(label, values[ERROR])
        self._contenders.show(label, words, values.values())
        for name, image in self._images[label].items():
            image.show(values[name])


class FieldImage:
    """A square picture of values on a grid.

    **Arguments:**

    - `axes`: names of the horizontal and the vertical one. `points`: the coordinates along both.
    """

    def __init__(self, title: str, axes: tuple[str, str], points: np.ndarray, scale: "ColorScale"):
        spacing = float(points[1] - points[0]) if len(points) > 1 else 1.0
        start, width = float(points[0]) - spacing / 2, len(points) * spacing
        self._source = ColumnDataSource({"image": []})
        self._shown: np.ndarray | None = None
        # The whole domain where its boundary is not among the points; a periodic one ends with its last point.
        side = Range1d(start=min(start, 0.0), end=1.0 if start > 0 else start + width)
        self.figure = make_image_figure(title, *axes, x_range=side, y_range=side)
        self.figure.axis.ticker = FixedTicker(ticks=[0, 0.5, 1])
        self._glyph = Image(image="image", x=start, y=start, dw=width, dh=width, color_mapper=scale.mapper)
        renderer = self.figure.add_glyph(self._source, self._glyph)
        self.figure.add_tools(
            HoverTool(
                renderers=[renderer],
                tooltips=[(axes[0], "$x{0.00}"), (axes[1], "$y{0.00}"), ("value", "@image{%.3g}")],
                formatters={"@image": "printf"},
            )
        )

    def show(self, values: np.ndarray | None) -> None:
        """Show values, the vertical axis first, or nothing; what is shown already is not sent again."""
        if values is self._shown:
            return
        if values is None or self._shown is None or not np.array_equal(values, self._shown, equal_nan=True):
            self._shown = values
            self._source.data = {"image": [] if values is None else [values]}

    def use(self, scale: "ColorScale") -> None:
        """Colour the values by another scale."""
        if self._glyph.color_mapper is not scale.mapper:
            self._glyph.color_mapper = scale.mapper


class ColorScale:
    """What the colours of several images mean, and the bar that says so.

    **Attributes:**

    - `mapper`: for the images.
    - `view`: the bar, an image with an axis.
    """

    def __init__(self, label: str = ""):
        self._palette: Sequence[str] = DIVERGING_PALETTE
        self.mapper = LinearColorMapper(palette=self._palette, low=-1, high=1, nan_color=NEUTRAL_COLOR)
        self._range = Range1d(start=-1, end=1)
        self._source = ColumnDataSource({"image": [], "start": [], "width": []})
        self._bar = make_figure(
            "", "", "", height=84, tools="", toolbar_location=None, x_range=self._range, y_range=(0, 1),
            min_border_left=28,
        )  # fmt: skip
        self._bar.title = Title(text=label, text_font_size="12px", text_font_style="normal", align="center")
        self._bar.add_glyph(
            self._source, Image(image="image", x="start", y=0, dw="width", dh=1, color_mapper=self.mapper)
        )
        self._ticker = FixedTicker()
        self._bar.xaxis.ticker = self._ticker
        self._bar.xaxis.formatter = PrintfTickFormatter(format="%.4g")
        self._bar.min_border_right = 28
        self._bar.yaxis.visible = False
        self._bar.grid.visible = False
        # In a column, since a pane of a figure cannot be shown again once it was hidden (Panel 1.9).
        self.view = pn.Column(as_pane(see_through(self._bar)), sizing_mode="stretch_width", margin=0)
        self._set(-1.0, 1.0)
        self.restart()

    def restart(self, label: str | None = None, limit: float = math.inf) -> None:
        """Forget the values so far, and change the label if another is given. What exceeds `limit` is cut there."""
        self._low, self._high, self._limit = math.inf, -math.inf, limit
        self._size = Size(limit)
        if label is not None:
            set_title(self._bar, label)

    def widen(self, fields: Iterable[np.ndarray]) -> None:
        """Let the scale hold these values beside those so far."""
        low, high = self._low, self._high
        for field in fields:
            finite = field[np.isfinite(field)].clip(-self._limit, self._limit)
            low, high = float(finite.min(initial=low)), float(finite.max(initial=high))
        if (low, high) != (self._low, self._high):
            self._low, self._high = low, high
            self._set(*round_interval(low, high))

    def follow(self, label: str, field: np.ndarray) -> None:
        """Let the scale be symmetric and about as large as the values that the contenders have now."""
        if self._size.follow(label, field):
            self._set(-self._size.bound, self._size.bound)

    def _set(self, low: float, high: float) -> None:
        palette = DIVERGING_PALETTE if low == -high else SEQUENTIAL_PALETTE
        if self._palette is not palette:  # hundreds of colours, which Bokeh would check one by one
            self._palette = self.mapper.palette = palette
        self.mapper.update(low=low, high=high)
        self._range.update(start=low, end=high)
        self._ticker.ticks = np.linspace(low, high, 5).tolist()
        colors = np.linspace(low, high, len(palette))
        self._source.data = {"image": [colors[None, :]], "start": [low], "width": [high - low]}


class Size:
    """About how large what the contenders have now is, in coarse steps.

    **Arguments:**

    - `limit`: what is larger does not count as larger.

    **Attributes:**

    - `bound`: no value is larger, unless it exceeds the limit; 0 before there are any.
    """

    def __init__(self, limit: float = math.inf):
        self._limit = limit
        self.bound = 0.0
        self._largest: dict[str, float] = {}

    def follow(self, label: str, values: np.ndarray) -> bool:
        """Take the values of one contender for those before; whether the bound has changed."""
        self._largest[label] = float(np.abs(values[np.isfinite(values)]).max(initial=0))
        largest = min(max(self._largest.values()), self._limit)
        # Somewhat less is no reason to narrow it: it would go to and fro.
        if largest <= 0 or 0.3 * self.bound <= largest <= self.bound:
            return False
        self.bound = round_up(largest, _COARSE_STEPS)
        return True


class ContenderHeadings:
    """Which images are whose, and whether some have gaps.

    **Attributes:**

    - `gaps`: the explanation of gaps, there only while there are some.
    """

    def __init__(self, looks: Mapping[str, Look]):
        self._looks = looks
        self._headings = {label: contender_heading() for label in looks}
        self._gaps: dict[str, bool] = {}
        self.gaps = legend(("square", NEUTRAL_COLOR, "not a number: the run diverged"))
        self.clear()

    def __getitem__(self, label: str) -> pn.pane.HTML:
        """The heading of a contender."""
        return self._headings[label]

    def clear(self) -> None:
        """Name the contenders, of whom nothing is shown."""
        for label in self._headings:
            self.show(label, label, ())

    def show(self, label: str, words: str, fields: Iterable[np.ndarray]) -> None:
        """Change the heading of one contender, and look for gaps in what is shown of it."""
        name_contender(self._headings[label], self._looks[label], words)
        self._gaps[label] = any(np.isnan(field).any() for field in fields)
        self.gaps.visible = any(self._gaps.values())


def compared_in(names: Sequence[str]) -> Compared:
    """The field that is compared with the target, if there is one, the last "after …" before it, and the target."""
    before = [name for name in names[: names.index(TARGET)] if name.startswith("after ")] if TARGET in names else []
    return (before[-1], TARGET) if before else None


def error_label(compared: Compared) -> str:
    """What the error is, in words."""
    return f"{ERROR}: {compared[0]} − {compared[1]}" if compared else ""


def with_error(fields: Mapping[str, np.ndarray], compared: Compared) -> dict[str, np.ndarray]:
    """The fields as the browser gets them, and the error where there is one."""
    values = {name: as_sent(field) for name, field in fields.items()}
    if compared is not None:
        result, truth = compared
        with np.errstate(over="ignore"):
            values[ERROR] = as_sent(values[result] - values[truth])
    return values


def relative_error(result: np.ndarray, truth: np.ndarray) -> float:
    """‖result − truth‖ / ‖truth‖ over all points; NaN where that is no number."""
    with np.errstate(all="ignore"):
        error = np.linalg.norm(np.asarray(result, float) - truth) / np.linalg.norm(np.asarray(truth, float))
    return float(error) if np.isfinite(error) else math.nan


def as_sent(values: np.ndarray) -> np.ndarray:
    """Values in single precision, with NaN, a gap, for whatever is not finite."""
    with np.errstate(over="ignore"):
        single = np.asarray(values, np.float32)
    return np.where(np.isfinite(single), single, np.float32(np.nan))


def round_interval(low: float, high: float) -> tuple[float, float]:
    """An interval with round ends that holds values from `low` to `high`: symmetric about 0 if they have both signs."""
    if low < 0 < high:
        bound = round_up(max(-low, high))
        return -bound, bound
    if high <= 0 > low:
        start, end = round_interval(-high, -low)
        return -end, -start
    if high <= 0:
        return -1.0, 1.0
    if low <= high / 2:
        return 0.0, round_up(high)
    step = round_up(max((high - low) / 10, 1e-6 * high))
    start = math.floor(low / step)
    return start * step, max(math.ceil(high / step), start + 1) * step
