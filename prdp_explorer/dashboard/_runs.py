"""The view of the runs that are kept: a table to find, name, open and delete them, and what those selected did."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from ..engine import RESUMABLE, Store, StoredRun, StoreError
from ._compare import Compare
from ._family import Family
from ._runs_table import EDITABLE, PAGE_SIZE, SEARCHED, make_table, table_of
from ._session import locked, notify
from ._take_away import TakeAway
from ._theme import card

LOOK_SECONDS = 1.0
"""How often is looked at most whether anything changed."""

SILENCE_SECONDS = 10.0
"""How often runs under way are looked at although nothing changed: nobody tells that a process died."""

EDIT_SECONDS = 60.0
"""How long the table stands still for an edit in a cell: what is shown anew takes away what is being typed."""


GAPS = {"gap": "10px"}


class Runs(pn.viewable.Viewer):
    """The runs of a store, as a table; those selected are drawn over each other, and of one the family is shown.

    Nothing is read before the first `update`.

    **Arguments:**

    - `store`: where the runs are kept.
    - `open_run`, `resume_run`: called with the id of the run that a person wants to look at, or to go on with; None
      where there is nothing to show it in.
    """

    def __init__(
        self,
        store: Store,
        open_run: Callable[[str], None] | None = None,
        resume_run: Callable[[str], None] | None = None,
    ):
        super().__init__()
        self.store = store
        self._runs: dict[str, StoredRun] = {}
        self._signs: tuple[int, int] | None = None
        self._looked = self._read = self._typing = -np.inf
        self._trouble = ""
        self._replacing = False
        self._frame = table_of(())
        self._deleted: list[str] = []
        self.table = make_table(self._frame)
        self.table.param.watch(lambda _: locked(self._select), "selection")
        self.table.on_click(lambda event: locked(lambda: self._click(event.column, event.row)))
        self.table.on_edit(lambda event: locked(lambda: self._edit(event.column, event.row, event.value)))
        self.search = pmui.TextInput(
            label="Find runs", placeholder="words of any column", size="small", width=260, margin=(5, 8)
        )
        self.search.param.watch(lambda _: locked(self._search), "value_input")
        button: dict[str, Any] = {"size": "small", "variant": "outlined", "margin": (5, 4), "disabled": True}
        self.open = pmui.Button(label="Open", icon="open_in_new", **button)
        self.resume = pmui.Button(label="Resume", icon="play_arrow", **button)
        self.delete = pmui.Button(label="Delete", icon="delete", **button)
        self.undo = pmui.Button(label="Undo", icon="undo", size="small", variant="text", margin=(5, 4), visible=False)
        for wanted, act in ((self.open, open_run), (self.resume, resume_run)):
            wanted.visible = act is not None
            if act is not None:
                wanted.on_click(lambda _, act=act: locked(lambda: act(self.selected[0])))
        self.delete.on_click(lambda _: locked(self._delete))
        self.undo.on_click(lambda _: locked(self._undo))
        self._count, self._told = (pn.pane.HTML(margin=(5, 8), align="center") for _ in range(2))
        self.compare = Compare(store)
        self.family = Family(store, self._choose)
        self.take_away = TakeAway(store, self._bring)
        # What is looked at comes when it is; the table first, so that it is seen as soon as it can be. But the figures
        # are there from the start: Bokeh fails on one that is added while anything on the page changes its size.
        table = card(
            pmui.FlexBox(
                self.search, self.open, self.resume, self.delete, self._count, self._told, self.undo,
                align_items="center",
            ),
            self.table,
        )  # fmt: skip
        self._to_come = [table, pmui.Column(self.family, self.take_away, sizing_mode="stretch_width", sx=GAPS)]
        self._above = pmui.Column(sizing_mode="stretch_width", sx=GAPS)
        self._layout = pmui.Column(self._above, self.compare, sizing_mode="stretch_width", margin=10, sx=GAPS)

    def __panel__(self) -> pmui.Column:
        return self._layout

    @property
    def selected(self) -> list[str]:
        """The ids of the runs selected, in the table's order."""
        return [self.table.value.index[row] for row in sorted(self.table.selection) if row < len(self.table.value)]

    def update(self) -> None:
        """Show what changed in the store. Cheap, for a timer: it looks once a second, and reads only what changed."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS or now - self._typing < EDIT_SECONDS:
            return
        self._looked = now
        if self._to_come:
            self._above.append(self._to_come.pop(0))
        with self._telling(again=False):
            signs = self.store.signs()
            under_way = any(run.active for run in self._runs.values())
            if signs != self._signs or (under_way and now - self._read > SILENCE_SECONDS):
                self._read_runs()
                self._signs, self._read = signs, now

    @contextlib.contextmanager
    def _telling(self, *, again: bool = True) -> Iterator[None]:
        """Tell of a store that cannot be used, and look anew next time; not `again` is for what a timer meets."""
        try:
            yield
            self._trouble = ""
        except StoreError as error:
            self._signs = None
            if again or str(error) != self._trouble:
                notify(str(error))
            self._trouble = str(error)

    def _read_runs(self) -> None:
        self._runs = {run.id: run for run in self.store.runs()}
        self._frame = table_of(self._runs.values())
        self._fill()

    def _fill(self) -> None:
        """Show the runs that are searched for, and keep those selected that still are among them."""
        words = (self.search.value_input or "").casefold().split()
        frame = self._frame
        if words:
            texts = (" ".join(row).casefold() for row in frame[SEARCHED].itertuples())
            frame = frame.loc[[all(word in text for word in words) for text in texts]]
        if not frame.equals(self.table.value):
            self._replace(frame)
        found = f"{len(frame)} of {_counted(len(self._runs))}" if words else _counted(len(frame))
        self._count.object = f'<span role="status">{found if self._runs else NO_RUNS}</span>'
        self._show_selected()

    def _replace(self, frame: pd.DataFrame) -> None:
        """Put other rows into the table. Panel then forgets the selection, and a page that is no more stays."""
        selected = self.selected
        self._replacing = True
        try:
            self.table.value = frame
            self.table.selection = [row for row, run in enumerate(frame.index) if run in selected]
            self.table.page = min(self.table.page, max(1, -(-len(frame) // PAGE_SIZE)))
        finally:
            self._replacing = False

    def _show_selected(self) -> None:
        if self._replacing:
            return
        selected = [self._runs[run] for run in self.selected]
        one = selected[0] if len(selected) == 1 else None
        self.open.disabled = one is None
        self.resume.disabled = one is None or one.status not in RESUMABLE
        self.delete.disabled = not selected
        self.compare.look_at(selected)
        self.family.look_at(one, self._runs)
        self.take_away.look_at(self.selected)

    def _select(self) -> None:
        with self._telling():
            self._show_selected()

    def _search(self) -> None:
        with self._telling():
            self._fill()

    def _choose(self, run: str) -> None:
        """Select a run, whatever is searched for."""
        if run not in self.table.value.index:
            self.search.param.update(value="", value_input="")
            self._search()
        self.table.selection = [list(self.table.value.index).index(run)]

    def _bring(self, runs: list[str]) -> None:
        """Show runs that came in."""
        with self._telling():
            self._read_runs()
            self._choose(runs[-1])
        self._told.object = f'<span role="status">Imported {_counted(len(runs))}.</span>'

    def _click(self, column: str, row: int) -> None:
        """A click anywhere in a row selects it, or no longer; in a cell that can be edited it begins an edit."""
        editing = column in EDITABLE
        self._typing = time.monotonic() if editing else -np.inf
        if not editing:
            chosen = self.table.selection
            self.table.selection = [each for each in chosen if each != row] if row in chosen else [*chosen, row]

    def _edit(self, column: str, row: int, value: Any) -> None:
        run, text = self.table.value.index[row], str(value or "").strip()
        self._typing = -np.inf
        with self._telling():
            if column == "name":
                self.store.rename(run, "" if text == run else text)
            else:
                self.store.annotate(run, text)
            self._read_runs()

    def _delete(self) -> None:
        under_way = [self._runs[run].title for run in self.selected if self._runs[run].active]
        if under_way:
            notify(f"Still under way: {', '.join(under_way[:3])}. Stop a run before you delete it.")
            return
        self._deleted = self._each(self.store.delete, self.selected, "Deleted")
        self.undo.visible = bool(self._deleted)

    def _undo(self) -> None:
        self._each(self.store.restore, self._deleted, "Brought back")
        self._deleted = []
        self.undo.visible = False

    def _each(self, change: Callable[[str], None], runs: Sequence[str], done: str) -> list[str]:
        """Change these runs and say so; those that could be changed."""
        changed: list[str] = []
        with self._telling():
            for run in runs:
                change(run)
                changed.append(run)
        if changed:
            self._told.object = f'<span role="status">{done} {_counted(len(changed))}.</span>'
            with self._telling():
                self._read_runs()
        return changed


def _counted(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"


NO_RUNS = "No run is kept yet. Whatever you train is kept here."
