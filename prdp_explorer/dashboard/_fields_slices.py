"""Fields in three dimensions as slices through a point."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.events import Tap
from bokeh.models import ColumnDataSource

from ._fields_images import (
    ERROR,
    ColorScale,
    Compared,
    ContenderHeadings,
    FieldImage,
    as_sent,
    error_label,
    with_error,
)
from ._session import locked
from ._theme import CONTROL, NEUTRAL_COLOR, Look, grid, image_row, legend, set_title

_PLANES = {"z": ("x", "y"), "y": ("x", "z"), "x": ("y", "z")}
"""The axes of a slice, the horizontal one first, by the axis that it cuts. In this order they are those of an array."""


class Slices:
    """For each contender the three slices through a chosen point, of a chosen field; cut here, not in the browser.

    All fields but the error share one scale, whichever is shown and wherever it is cut; it is widened but not narrowed
    until `restart`. That of the error follows its size.

    **Arguments:**

    - `looks`: of the contenders, by label. `names`: of the fields. `points`: the coordinates along one side.
    - `compared`: of which fields the error is.

    **Attributes:**

    - `field`: the widget that chooses the field.
    - `positions`: the sliders of the point's coordinates.
    - `view`: what is displayed.
    """

    def __init__(
        self, looks: Mapping[str, Look], names: tuple[str, ...], points: np.ndarray, compared: Compared = None
    ):
        self._compared = compared
        self._points = np.asarray(points, float)
        self._values: dict[str, dict[str, np.ndarray]] = {}
        self._fields, self._error = ColorScale(), ColorScale(error_label(compared))
        middle: dict[str, Any] = {axis: [0.5] for axis in _PLANES}
        self._cut = ColumnDataSource(middle)
        shown = [*names, ERROR] if compared else list(names)
        self.field = pmui.Select(label="Field", options=shown, value=compared[0] if compared else names[0], **CONTROL)
        # One step of a slider is one point, so that it never says another position than the titles.
        side = self._points.tolist()
        span: dict[str, Any] = {"start": side[0], "end": side[-1], "value": side[len(side) // 2]}
        span["step"] = (side[-1] - side[0]) / (len(side) - 1)
        self.positions = {axis: pmui.FloatSlider(label=f"Cut at {axis}", **span, **CONTROL) for axis in "xyz"}
        for widget in (self.field, *self.positions.values()):
            widget.param.watch(lambda _: locked(self._draw), "value")
        self._images = {label: {axis: self._make(axis) for axis in _PLANES} for label in looks}
        self._contenders = ContenderHeadings(looks)
        images = pn.Column(sizing_mode="stretch_width", margin=0)
        for label, planes in self._images.items():
            images += [self._contenders[label], image_row([image.figure for image in planes.values()])]
        beside = pn.Column(
            grid((self.field, {}), *((slider, {"md": 4, "lg": 12}) for slider in self.positions.values())),
            self._fields.view,
            self._error.view,
            sizing_mode="stretch_width",
            margin=0,
        )
        self.view = pn.Column(
            grid((beside, {"lg": 3}), (images, {"lg": 9})),
            legend(("dashed", NEUTRAL_COLOR, "where the other two slices cut; click on a slice to move them")),
            self._contenders.gaps,
            sizing_mode="stretch_width",
            margin=0,
        )
        self._draw()

    def clear(self) -> None:
        """Show nothing."""
        self._values = {}
        self._contenders.clear()
        for images in self._images.values():
            for image in images.values():
                image.show(None)

    def restart(self, quantity: str, limit: float = math.inf) -> None:
        """Begin the scales anew, for another race, sample or component. They go to `limit` at most."""
        self._values = {}
        self._fields.restart(quantity, limit)
        self._error.restart(limit=limit)

    def widen(self, fields: Iterable[np.ndarray]) -> None:
        """Let the scale of the fields hold these values as well."""
        self._fields.widen(map(as_sent, fields))

    def show(self, label: str, words: str, fields: Mapping[str, np.ndarray]) -> None:
        """Show the fields of one sample for one contender."""
        values = self._values[label] = with_error(fields, self._compared)
        self._fields.widen(field for name, field in values.items() if name != ERROR)
        if ERROR in values:
            self._error.follow(label, values[ERROR])
        self._contenders.show(label, words, values.values())
        self._draw()

    def _draw(self) -> None:
        with pn.io.hold():
            scale = self._error if self.field.value == ERROR else self._fields
            for other in (self._fields, self._error):
                other.view.visible = other is scale
            indices = {axis: self._nearest(slider.value) for axis, slider in self.positions.items()}
            cut: dict[str, Any] = {axis: [float(self._points[index])] for axis, index in indices.items()}
            if cut != self._cut.data:
                self._cut.data = cut
            for label, images in self._images.items():
                for number, (axis, image) in enumerate(images.items()):
                    set_title(image.figure, f"{'–'.join(_PLANES[axis])} at {axis} = {cut[axis][0]:.2f}")
                    image.use(scale)
                    if label in self._values:
                        image.show(self._values[label][self.field.value].take(indices[axis], number))

    def _nearest(self, position: float) -> int:
        return int(np.abs(self._points - position).argmin())

    def _make(self, across: str) -> FieldImage:
        axes = _PLANES[across]
        image = FieldImage("", axes, self._points, self._fields)
        # Light below dark: seen on every colour.
        for color, dash, width in (("white", "solid", 2.5), ("black", "dashed", 1)):
            image.figure.vspan(axes[0], source=self._cut, color=color, line_dash=dash, line_width=width, alpha=0.7)
            image.figure.hspan(axes[1], source=self._cut, color=color, line_dash=dash, line_width=width, alpha=0.7)

        def move(event: Any) -> None:
            for axis, position in zip(axes, (event.x, event.y), strict=True):
                self.positions[axis].value = float(self._points[self._nearest(position)])

        image.figure.on_event(Tap, move)
        return image
