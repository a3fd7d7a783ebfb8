"""The epoch that is pointed at: pointing at one in any view shows it in all of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from bokeh.events import MouseLeave, MouseMove, Tap
from bokeh.models import ColumnDataSource, CustomJS, Span
from bokeh.plotting import figure

from ._session import locked
from ._theme import NEUTRAL_COLOR

EPOCH = "epoch"

# At most every 50 ms, since each change is told to the server. `along` is the column that a figure is drawn over.
_POINT = """
const column = any_axis ? axis.data.column[0] : "epoch"
let epoch = NaN
if (cb_obj.event_name !== "mouseleave") {
  let nearest = Infinity
  for (const source of sources) {
    const along = source.data[column], epochs = source.data.epoch
    for (let i = 0; i < epochs.length; i++) {
      const distance = Math.abs(along[i] - cb_obj.x)
      if (distance < nearest) { nearest = distance; epoch = epochs[i] }
    }
  }
}
told.wanted = epoch
const tell = () => {
  told.timer = null
  if (!Object.is(told.wanted, told.data.epoch[0])) { told.data = {epoch: [told.wanted]} }
}
if (told.timer == null) { told.timer = setTimeout(tell, 50) }
"""

_SHOW = """
const epoch = told.data.epoch[0]
const column = axis.data.column[0]
let there = null
for (const source of sources) {
  const i = Array.from(source.data.epoch).indexOf(epoch)
  if (there === null && i >= 0) { there = source.data[column][i] }
}
by_epoch.location = Number.isFinite(epoch) ? epoch : null
by_any.location = there
"""


class Pointer:
    """Follows the pointer over all figures that it was attached to: a line in each shows the epoch pointed at.

    The browser moves the lines by itself, and tells the server.

    **Arguments:**

    - `sources`: of the contenders, by place, with a column for each axis; only what is in them can be pointed at.
    - `on_point`: called with the epoch, or None when nothing is pointed at any more.
    """

    def __init__(self, sources: Sequence[ColumnDataSource], on_point: Callable[[int | None], None]):
        self._sources = list(sources)
        self._told = ColumnDataSource({EPOCH: [math.nan]})
        self._axis = ColumnDataSource({"column": [EPOCH]})
        self._by_epoch, self._by_any = (
            Span(dimension="height", location=None, line_color=NEUTRAL_COLOR, line_width=1.5, line_alpha=0.9)
            for _ in range(2)
        )
        shared: dict[str, Any] = {"told": self._told, "axis": self._axis, "sources": self._sources}
        self._point = {any_axis: CustomJS(args={**shared, "any_axis": any_axis}, code=_POINT) for any_axis in (0, 1)}
        self._told.js_on_change(
            "data", CustomJS(args={**shared, "by_epoch": self._by_epoch, "by_any": self._by_any}, code=_SHOW)
        )
        self._told.on_change("data", lambda _, __, new: locked(lambda: on_point(_whole(new[EPOCH][0]))))

    def attach(self, plot: figure, *, any_axis: bool = False) -> None:
        """Follow the pointer over a figure whose horizontal axis is epochs, or with `any_axis` what `use` says."""
        plot.add_layout(self._by_any if any_axis else self._by_epoch)
        for event in (MouseMove, MouseLeave, Tap):
            plot.js_on_event(event, self._point[int(any_axis)])

    def use(self, column: str) -> None:
        """Let the figures whose axis can be switched be drawn over this column of the sources."""
        self._axis.data = {"column": [column]}


def _whole(epoch: float | None) -> int | None:
    return None if epoch is None or not math.isfinite(epoch) else int(epoch)
