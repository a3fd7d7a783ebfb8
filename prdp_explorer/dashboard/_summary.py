"""What plots show, in words: for those who cannot see them, and for all who want to be sure."""

import html
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import panel as pn

SECONDS_BETWEEN = 1.0
"""A summary that changes more often cannot be read, nor read aloud."""


class Summary(pn.viewable.Viewer):
    """A sentence below a plot.

    What follows a race is written at most once a second: call `tell` at each update of the view, also when nothing is
    new, so that what was said last is written in the end.
    """

    def __init__(self):
        super().__init__()
        self._pane = pn.pane.HTML(sizing_mode="stretch_width", margin=(0, 8, 4, 8))
        self._words = ""
        self._written = -np.inf

    def __panel__(self) -> pn.pane.HTML:
        return self._pane

    @property
    def due(self) -> bool:
        """Whether something else would be written now, so that it is worth finding the words."""
        return time.monotonic() - self._written >= SECONDS_BETWEEN

    def tell(self, words: str, *, at_once: bool = False) -> None:
        """Say something else, `at_once` if a person did something; markup in it is text."""
        if words != self._words and (at_once or self.due):
            self._words, self._written = words, time.monotonic()
            self._pane.object = f'<p style="margin:0;font-size:12px;line-height:1.45">{html.escape(words)}</p>'


def errors_in_words(runs: Iterable[tuple[str, np.ndarray]]) -> str:
    """What a plot of validation errors shows.

    **Arguments:**

    - `runs`: of each the name and the records; those without records are left out.
    """
    told = [f"{name}: from {_number(first_measured(rows))} to {_number(rows[-1])}" for name, rows in _some(runs)]
    return f"Validation error of {'; '.join(told)}." if told else ""


def first_measured(rows: np.ndarray) -> Any:
    """The first record; of a loop of one's own that did not measure before training, that of the first epoch."""
    return rows[min(1, len(rows) - 1)] if np.isnan(rows[0]["validation"]) else rows[0]


def iterations_in_words(runs: Iterable[tuple[str, np.ndarray]]) -> str:
    """What a plot of K shows; names and records as in `errors_in_words`."""
    told = []
    for name, rows in _some(runs):
        iterations = rows["iterations"][rows["epoch"] > 0]
        if len(iterations):
            first, last = int(iterations[0]), int(iterations[-1])
            same = (iterations == first).all()
            told.append(f"{name}: {first} throughout" if same else f"{name}: from {first} to {last}")
    return f"Inner iterations K of {'; '.join(told)}." if told else ""


def costs_in_words(runs: Iterable[tuple[str, np.ndarray]]) -> str:
    """What bars of cost show; names and records as in `errors_in_words`."""
    told = [
        f"{name}: {rows[-1]['cumulative_iterations']:,} iterations, {rows[-1]['cumulative_seconds']:.3g} seconds"
        for name, rows in _some(runs)
    ]
    return f"Spent by {'; '.join(told)}." if told else ""


def _some(runs: Iterable[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    return [(name, rows) for name, rows in runs if len(rows)]


def _number(row: np.void) -> str:
    return f"{row['validation']:.3g}" if np.isfinite(row["validation"]) else "no number"
