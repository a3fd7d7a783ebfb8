"""The view of what happened: commands, refinements with their reasons, and changes of state, newest first."""

import html
from collections import deque
from collections.abc import Sequence

import numpy as np
import panel as pn
import panel_material_ui as pmui

from ..engine import Event, Race, as_records
from ._theme import card

LINES_SHOWN = 100


def told(rows: np.ndarray, events: Sequence[Event]) -> list[tuple[int, str]]:
    """What is worth telling of records and events, in words, each with the epoch after which it happened."""
    refined = [(record.epoch, record.explanation) for record in as_records(rows[rows["refined"]])]
    return refined + [(event.epoch - 1, event.message) for event in events if event.name != "queued"]


class History(pn.viewable.Viewer):
    """Follows the logs of a race by cursors and tells in words what is worth telling."""

    def __init__(self):
        super().__init__()
        self._race: Race | None = None
        self._cursors: dict[str, tuple[int, int]] = {}
        self._lines: deque[tuple[int, str, str]] = deque(maxlen=LINES_SHOWN)
        self._pane = pn.pane.HTML(sizing_mode="stretch_width", margin=0)
        self._layout = card(self._pane)
        self._write()

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, race: Race | None) -> None:
        """Tell of another race, from its beginning."""
        self._race = race
        self._cursors = {}
        self._lines.clear()
        self._write()

    def update(self) -> None:
        """Tell what is new."""
        if self._race is None:
            return
        new: list[tuple[int, str, str]] = []
        for label, run in self._race.runs.items():
            records_read, events_read = self._cursors.get(label, (0, 0))
            rows = run.log.read(records_read)
            events = run.log.events[events_read:]
            self._cursors[label] = (records_read + len(rows), events_read + len(events))
            new += [(epoch, label, text) for epoch, text in told(rows, events)]
        if new:
            self._lines.extend(sorted(new, key=lambda line: line[0]))
            self._write()

    def _write(self) -> None:
        rows = "".join(
            f"<tr><td>{epoch}</td><td>{html.escape(label)}</td><td>{html.escape(text)}</td></tr>"
            for epoch, label, text in reversed(self._lines)
        )
        if not rows:
            rows = '<tr><td colspan="3">Nothing yet. Every refinement, edit and change of state is told here.</td></tr>'
        self._pane.object = (
            '<div class="history" role="log" aria-label="What happened" tabindex="0" '
            'style="max-height:340px;overflow-y:auto;padding:0 8px">'
            '<table style="width:100%;border-spacing:8px 1px;font-size:12.5px;text-align:left">'
            '<caption style="text-align:left;font-weight:600;padding:4px 0">What happened, newest first</caption>'
            "<thead><tr><th>epoch</th><th>run</th><th>what</th></tr></thead>"
            f"<tbody style='vertical-align:top'>{rows}</tbody></table></div>"
        )
