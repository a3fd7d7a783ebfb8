"""The view of decisions: what a controller saw, what it decided and why, and what it would have decided."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn

from ..engine import Engine, WhatIf, as_records
from ._chooser import ContenderChooser
from ._pointer import Pointer
from ._shown import Contender, Shown
from ._theme import CONTROL, card, contender_heading, name_contender, tab_grid
from ._what_if import WhatIfCard
from ._why_figures import WhyFigures
from ._why_source import changes_level
from ._why_words import decision_html, edit_row, figure_words, table_html, table_row, values_at

LINES_SHOWN = 200
"""Decisions in the table."""

SECONDS_BETWEEN = 0.2
"""Four figures and a decision in words: drawn more often they would keep the browser from answering a person."""

SECONDS_BETWEEN_WORDS = 1.0
"""The texts below the figures change at most this often, for whoever has them read aloud."""


class Why(pn.viewable.Viewer):
    """One contender's decisions, with their inequalities at the epoch pointed at, and a what-if.

    **Arguments:**

    - `engine`: what computes a what-if.
    - `pointer`: what follows the pointer over the figures.
    - `on_fork`: called with the id of a run, the epoch after which to fork it, and what to change; may raise
      `ValueError` in words.
    """

    def __init__(self, engine: Engine, pointer: Pointer, on_fork: Callable[[str, int, dict[str, Any]], None]):
        super().__init__()
        self._contender: Contender | None = None
        self._epoch: int | None = None
        self._cursor = self._events = 0
        self._rows: deque[tuple[str, ...]] = deque(maxlen=LINES_SHOWN)
        self._drawn = self._said = 0.0
        self._chooser = ContenderChooser(self._show, **{**CONTROL, "width": 240, "sizing_mode": None})
        self.contender = self._chooser.widget
        self.figures = WhyFigures(pointer)
        self.what_if = WhatIfCard(engine, self._show_what_if, on_fork)
        self._heading = contender_heading()
        self.decision = pn.pane.HTML(
            sizing_mode="stretch_width", margin=(2, 8), styles={"min-height": "5.6em", "font-size": "13.5px"}
        )
        self.table = pn.pane.HTML(sizing_mode="stretch_width", margin=0)
        figures = self.figures
        half = {"lg": 6}
        self._layout = tab_grid(
            (card(self.contender, self._heading, self.decision), {}),
            (_below_each_other(figures.metric.view, figures.plateau.view, figures.checkpoint.view), half),
            (_below_each_other(figures.levels_view, self.what_if, card(self.table)), half),
        )

    def __panel__(self) -> pn.Column:
        return self._layout

    def look_at(self, shown: Shown) -> None:
        """Offer the contenders of another race, and show the first; of the same one, moved, that which was shown."""
        chosen, _ = self._chooser.offer(shown)
        self.contender.visible = self._chooser.needed
        self._show(chosen)

    def update(self) -> None:
        """Show what is new in the log of the contender shown."""
        if self._contender is None:
            return
        with pn.io.hold():
            self.what_if.update()
            if time.monotonic() < self._drawn + SECONDS_BETWEEN:
                return
            self._drawn = time.monotonic()
            if self.figures.update() and self._epoch is None:
                self._show_decision()
            self._list()
            if time.monotonic() >= self._said + SECONDS_BETWEEN_WORDS:
                self._summarise()

    def point_at(self, epoch: int | None) -> None:
        """Show the decision after an epoch; None is the newest."""
        if epoch != self._epoch:
            self._epoch = epoch
            with pn.io.hold():
                self._show_decision()

    def _show(self, contender: Contender | None) -> None:
        self._contender, self._epoch = contender, None
        self._cursor = self._events = 0
        self._rows.clear()
        with pn.io.hold():
            self.figures.look_at(contender)
            self.what_if.look_at(None if contender is None else contender.run)
            self._show_decision()
            self._write_table()
            self._summarise()
        self._drawn = 0.0
        self.update()

    def _show_decision(self) -> None:
        """The decision at the epoch pointed at, or at the newest, in words and in the figure."""
        contender = self._contender
        log = np.zeros(0) if contender is None else contender.run.log.read()
        if contender is None or not len(log):
            self._heading.object = ""
            self.decision.object = "Start a race: each decision of its controller is explained here."
            return
        pointed = self._epoch is not None and self._epoch < len(log)
        epoch = int(self._epoch) if pointed and self._epoch is not None else len(log) - 1
        (record,) = as_records(log[epoch : epoch + 1])
        values = values_at(contender.run, epoch)
        which = "pointed at" if pointed else "the newest"
        name_contender(
            self._heading, contender.look, f"{contender.label}, after epoch {epoch} ({which}): what was decided?"
        )
        self.decision.object = decision_html(record, log, values)
        self.figures.mark(epoch, int(values.get("window", 0)))

    def _list(self) -> None:
        """Add decisions and edits that are new to the table."""
        contender = self._contender
        if contender is None:
            return
        rows = contender.run.log.read(self._cursor)
        events = contender.run.log.events[self._events :]
        self._cursor += len(rows)
        self._events += len(events)
        new = [(record.epoch, table_row(record)) for record in as_records(rows[changes_level(rows)])]
        new += [(event.epoch - 1, edit_row(event)) for event in events if event.name == "adjust"]
        if new:
            self._rows.extend(cells for _, cells in sorted(new, key=lambda row: row[0]))
            self._write_table()

    def _write_table(self) -> None:
        level = "tolerance" if self.figures.by_tolerance else "K"
        self.table.object = table_html(list(self._rows), level)

    def _show_what_if(self, what_if: WhatIf | None) -> None:
        self.figures.show_what_if(what_if)
        self._summarise()

    def _summarise(self) -> None:
        """Say in words what the figures show."""
        self._said = time.monotonic()
        contender = self._contender
        log = np.zeros(0) if contender is None else contender.run.log.read()
        if contender is None or not len(log):
            words = ["Nothing yet."] * 4
        else:
            words = figure_words(contender.label, log, values_at(contender.run, len(log) - 1), self.what_if.answer)
        figures = self.figures
        for each, text in zip(
            (figures.metric, figures.plateau, figures.checkpoint, figures.levels), words, strict=True
        ):
            each.summary.tell(text, at_once=True)


def _below_each_other(*views: Any) -> pn.Column:
    return pn.Column(*views, sizing_mode="stretch_width", margin=0, styles={"gap": "10px"})
