"""The tab of the race: what all contenders do, by epoch, iterations or seconds, and what happened."""

import html
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ._costs import Costs
from ._curves import Curves
from ._history import History
from ._pointer import Pointer
from ._session import locked
from ._shown import Shown
from ._source import AXES, DECISIONS, RunSource
from ._summary import Summary, costs_in_words, errors_in_words, iterations_in_words
from ._theme import grid, tab_grid

FAIR_BY = {"equal epochs": "epochs", "equal time": "time"}
"""What contenders have in common, in words."""

SECONDS_BETWEEN_COSTS = 0.3
"""Nobody reads numbers that change more often, and the browser draws axes and labels anew for each."""

_NOTHING_POINTED_AT = "Point at an epoch in any plot: it is marked in all of them, and read here."


class Overview(pn.viewable.Viewer):
    """Error, K and cost of all contenders, and what happened.

    **Arguments:**

    - `sources`: of the contenders by place. `pointer`: shows the epoch pointed at.
    - `on_fairness`: called with what the contenders are to have in common, when a person chose it.

    **Attributes:**

    - `axis`, `fairness`: the widgets that choose what is drawn over, and what is fair.
    """

    def __init__(self, sources: Sequence[RunSource], pointer: Pointer, on_fairness: Callable[[], None]):
        super().__init__()
        self._sources = sources
        self._shown = Shown(None, kept=False)
        self._costs_drawn = -math.inf
        self.curves, self.costs, self.history = Curves(*sources, pointer=pointer), Costs(*sources), History()
        choice: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (0, 8)}
        self._summaries = Summary(), Summary(), Summary()
        for view, summary in zip(
            (self.curves.error, self.curves.iterations, self.costs.view), self._summaries, strict=True
        ):
            view.append(summary)
        self.axis = pmui.RadioButtonGroup(
            label="Drawn over", options=list(AXES), value="epoch", max_width=460, **choice
        )
        self.fairness = pmui.RadioButtonGroup(label="Fair by", options=FAIR_BY, value="epochs", max_width=300, **choice)
        self.axis.param.watch(lambda event: locked(lambda: self.curves.draw_over(event.new)), "value")
        self.fairness.param.watch(lambda _: on_fairness(), "value")
        self._pointed = pn.pane.HTML(
            _pointed_html(_NOTHING_POINTED_AT),
            sizing_mode="stretch_width",
            margin=(0, 8),
            styles={"min-height": "1.6em"},
        )
        third, half = {"md": 6, "lg": 4}, {"md": 12, "lg": 4}
        choosers = grid((self.axis, {"md": 7}), (self.fairness, {"md": 5}))
        self._layout = tab_grid(
            (pn.Column(choosers, self._pointed, sizing_mode="stretch_width", margin=0), {}),
            (self.curves.error, third),
            (self.curves.iterations, third),
            (self.costs.view, half),
            (self.history, {}),
        )

    def __panel__(self) -> pn.Column:
        return self._layout

    def begin_over(self, axis: str) -> None:
        """Draw what is shown next over what is meant by this key of `AXES`."""
        self.curves.begin_over(axis)
        self.axis.value = axis

    def look_at(self, shown: Shown) -> None:
        """Show another race, or none, from its beginning."""
        self._shown = shown
        if shown.runs:
            self.curves.name(*shown.names)
            self.costs.name(*shown.names)
            self._costs_drawn = -math.inf
        self.history.look_at(shown.race)
        if shown.runs:
            self.curves.set_extent(shown.epochs, shown.largest_iterations)
        self.update()

    def update(self) -> None:
        """Show what is new; the lines move by themselves."""
        self.curves.update()
        self.history.update()
        if time.monotonic() - self._costs_drawn >= SECONDS_BETWEEN_COSTS:
            self._costs_drawn = time.monotonic()
            self.costs.update()
        if not all(summary.due for summary in self._summaries):
            return
        runs = [(contender.label, contender.run.log.read()) for contender in self._shown.contenders]
        words = errors_in_words(runs), iterations_in_words(runs), costs_in_words(runs)
        for summary, told in zip(self._summaries, words, strict=True):
            summary.tell(told)

    def point_at(self, epoch: int | None) -> None:
        """Read an epoch of all contenders."""
        told = [] if epoch is None else [f"<b>Epoch {epoch}</b>", *self._read(epoch)]
        self._pointed.object = _pointed_html(" · ".join(told) or _NOTHING_POINTED_AT)

    def _read(self, epoch: int) -> list[str]:
        told = []
        for contender in self._shown.contenders:
            log = contender.run.log
            if epoch < len(log):
                row = log.read(epoch)[0]
                words = [f"error {row['validation']:.3g}"]
                words += [f"K = {row['iterations']}"] if epoch else []
                words += [DECISIONS[row["reason"]]] if row["tau_step"] == row["tau_step"] else []
                told.append(f"{html.escape(contender.label)}: {', '.join(words)}")
        return told


def _pointed_html(words: str) -> str:
    return f'<span style="font-size:12.5px">{words}</span>'
