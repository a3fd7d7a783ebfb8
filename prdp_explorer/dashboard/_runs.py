"""The view of the runs that are kept: a table to find, name, open and delete them, and what it shows of those selected."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import DateFormatter, NumberFormatter, ScientificFormatter

from ..engine import RESUMABLE, Store, StoredRun, StoreError, full_physics_by_run
from ._compare import Compare
from ._family import Family
from ._run_words import scenario_words, settings_words, value_words
from ._session import locked, notify
from ._theme import card

LOOK_SECONDS = 1.0
"""How often is looked at most whether anything changed."""

SILENCE_SECONDS = 10.0
"""How often runs under way are looked at although nothing changed: nobody tells that a process died."""

EDIT_SECONDS = 60.0
"""How long the table stands still for an edit in a cell: what is shown anew takes away what is being typed."""

PAGE_SIZE = 12

EDITABLE = ("name", "note")


class Runs(pn.viewable.Viewer):
    """The runs of a store, as a table; those selected are drawn over each other, and of one the family is shown.

    Nothing is read before the first `refresh`.

    **Arguments:**

    - `store`: where the runs are kept.
    - `open_run`, `resume_run`: called with the id of the run that a person wants to look at, or to go on with.
    """

    def __init__(self, store: Store, open_run: Callable[[str], None], resume_run: Callable[[str], None]):
        super().__init__()
        self.store = store
        self._runs: dict[str, StoredRun] = {}
        self._signs: tuple[int, int] | None = None
        self._looked = self._read = self._typing = -np.inf
        self._trouble = ""
        self._frame = table_of(())
        self._deleted: list[str] = []
        self.table = make_table(self._frame)
        self.table.param.watch(lambda _: locked(self._show_selected), "selection")
        self.table.on_click(lambda event: locked(lambda: self._click(event.column, event.row)))
        self.table.on_edit(lambda event: locked(lambda: self._edit(event.column, event.row, event.value)))
        self.search = pmui.TextInput(
            label="Find runs", placeholder="words of any column", size="small", width=260, margin=(5, 8)
        )
        self.search.param.watch(lambda _: locked(self._fill), "value_input")
        button: dict[str, Any] = {"size": "small", "variant": "outlined", "margin": (5, 4), "disabled": True}
        self.open = pmui.Button(label="Open", icon="open_in_new", **button)
        self.resume = pmui.Button(label="Resume", icon="play_arrow", **button)
        self.delete = pmui.Button(label="Delete", icon="delete", **button)
        self.undo = pmui.Button(label="Undo", icon="undo", size="small", variant="text", margin=(5, 4), visible=False)
        self.open.on_click(lambda _: locked(lambda: open_run(self.selected[0])))
        self.resume.on_click(lambda _: locked(lambda: resume_run(self.selected[0])))
        self.delete.on_click(lambda _: locked(self._delete))
        self.undo.on_click(lambda _: locked(self._undo))
        self._count, self._told = (pn.pane.HTML(margin=(5, 8), align="center") for _ in range(2))
        self.compare = Compare(store)
        self.family = Family(store, self._choose)
        self._layout = pmui.Column(
            card(
                pmui.FlexBox(
                    self.search, self.open, self.resume, self.delete, self._count, self._told, self.undo,
                    align_items="center",
                ),
                self.table,
            ),
            self.family,
            self.compare,
            sizing_mode="stretch_width",
            margin=10,
            sx={"gap": "10px"},
        )  # fmt: skip

    def __panel__(self) -> pmui.Column:
        return self._layout

    @property
    def selected(self) -> list[str]:
        """The ids of the runs selected, in the table's order."""
        return [self.table.value.index[row] for row in sorted(self.table.selection) if row < len(self.table.value)]

    def refresh(self) -> None:
        """Show what changed in the store. Cheap, for a timer: it looks once a second, and reads only what changed."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS or now - self._typing < EDIT_SECONDS:
            return
        self._looked = now
        with self._telling():
            signs = self.store.signs()
            under_way = any(run.active for run in self._runs.values())
            if signs != self._signs or (under_way and now - self._read > SILENCE_SECONDS):
                self._read_runs()
                self._signs, self._read = signs, now

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell of a store that cannot be used; of the same trouble once, since the timer will meet it again."""
        try:
            yield
        except StoreError as error:
            self._signs = None
            if str(error) != self._trouble:
                notify(str(error))
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _read_runs(self) -> None:
        self._runs = {run.id: run for run in reversed(self.store.runs())}
        self._frame = table_of(self._runs.values())
        self._fill()

    def _fill(self) -> None:
        """Show the runs that are searched for, and keep those selected that still are among them."""
        words = (self.search.value_input or "").casefold().split()
        frame = self._frame
        if words:
            texts = (" ".join(row).casefold() for row in frame[SEARCHED].itertuples())
            frame = frame[[all(word in text for word in words) for text in texts]]
        if not frame.equals(self.table.value):
            self.table.value = frame  # Panel moves the selection along by the ids
        found = f"{len(frame)} of {_counted(len(self._runs))}" if words else _counted(len(frame))
        self._count.object = f'<span role="status">{found if self._runs else NO_RUNS}</span>'
        self._show_selected()

    def _show_selected(self) -> None:
        selected = [self._runs[run] for run in self.selected]
        one = selected[0] if len(selected) == 1 else None
        self.open.disabled = one is None
        self.resume.disabled = one is None or one.status not in RESUMABLE
        self.delete.disabled = not selected
        with self._telling():
            self.compare.show(selected)
            self.family.show(one, self._runs)

    def _choose(self, run: str) -> None:
        """Select a run, whatever is searched for."""
        if run not in self.table.value.index:
            self.search.param.update(value="", value_input="")
            self._fill()
        self.table.selection = [self.table.value.index.get_loc(run)]

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
        self._told.object = f'<span role="status">{done} {_counted(len(changed))}.</span>'
        with self._telling():
            self._read_runs()
        return changed


def _counted(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs:,} runs"


NO_RUNS = "No run is kept yet. Whatever you train is kept here."

COLUMNS = {
    "name": ("Name", "A name of your choice; without one the run's id. Click to edit.", 140),
    "scenario": ("Scenario", "The learning problem and its preset.", 114),
    "settings": (
        "Settings",
        "Controller, solver, differentiation mode and seed. What was edited since the start is shown as old→new; what "
        "is not told is the preset's own.",
        235,
    ),
    "status": ("Status", "Interrupted: the process that trained it is gone; it can be resumed.", 88),
    "epochs": ("Epochs", "Epochs done, of those asked for.", 96),
    "error": ("Error", "The last validation error.", 70),
    "saved": (
        "Saved",
        "Share of the inner iterations saved against full physics for the same number of epochs. Empty where no "
        "finished full-physics run with otherwise the same settings is kept, and where training went wrong.",
        70,
    ),
    "started": ("Started", "When, by the server's clock.", 120),
    "note": ("Note", "A note of yours. Click to edit.", 150),
    "iterations": ("Iterations", "Inner iterations of all epochs.", 92),
    "seconds": ("Seconds", "Seconds of training.", 84),
}
"""The columns: title, what the header tells, width in pixels."""

SEARCHED = ["name", "scenario", "settings", "status", "note"]


def table_of(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """What the table shows of runs, by id. Text where people read text, NaN for numbers that there are not."""
    runs = list(runs)
    full = full_physics_by_run(runs)
    texts = {
        "name": [run.title for run in runs],
        "scenario": [scenario_words(run) for run in runs],
        "settings": [settings_words(run) for run in runs],
        "status": [run.status for run in runs],
        "epochs": _padded(f"{run.epochs} of {value_words(run.settings.get('epochs'))}" for run in runs),
        "note": [run.note for run in runs],
    }
    numbers = {
        "error": [_number(run.summary.get("validation")) for run in runs],
        "iterations": [_number(run.summary.get("iterations")) for run in runs],
        "saved": [saved(run, full.get(run.id)) for run in runs],
        "seconds": [_number(run.summary.get("seconds")) for run in runs],
    }
    index = pd.Index([run.id for run in runs], name="id", dtype=object)
    columns = {name: pd.Series(values, index, object) for name, values in texts.items()}
    columns |= {name: pd.Series(values, index, float) for name, values in numbers.items()}
    columns["started"] = pd.Series([_when(run.created) for run in runs], index, "datetime64[ms]")
    return pd.DataFrame(columns, index)[list(COLUMNS)]


def saved(run: StoredRun, full: StoredRun | None) -> float | None:
    """The share of inner iterations that a run saved against full physics for as many epochs.

    Full physics has the same K in every epoch, so that it is known what it took up to any of them.
    """
    if full is None or run.id == full.id or run.status in ("diverged", "failed") or not run.epochs:
        return None
    whole = _number(full.summary.get("iterations")) / max(full.epochs, 1) * run.epochs
    return 1 - _number(run.summary.get("iterations")) / whole if whole else None


def _padded(texts: Iterable[str]) -> list[str]:
    """Texts that begin with a number, with spaces as wide as digits, so that they sort as their numbers do."""
    texts = list(texts)
    width = max((len(text.split(" ")[0]) for text in texts), default=0)
    return ["\u2007" * (width - len(text.split(" ")[0])) + text for text in texts]


def _number(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:  # a file may hold any integer
        return np.nan


def _when(created: float) -> datetime | None:
    """In the server's time zone, which the browser may not know."""
    try:
        return datetime.fromtimestamp(created)
    except (ValueError, OverflowError, OSError):  # no moment that a calendar has
        return None


def make_table(frame: pd.DataFrame) -> pn.widgets.Tabulator:
    """The widget. Every cell is text or a number to it, whatever a name or a note looks like."""
    return pn.widgets.Tabulator(
        frame,
        show_index=False,
        selectable="checkbox",
        pagination="local",
        page_size=PAGE_SIZE,
        sorters=[{"field": "started", "dir": "desc"}],
        titles={name: title for name, (title, _, _) in COLUMNS.items()},
        header_tooltips={name: tip for name, (_, tip, _) in COLUMNS.items()},
        widths={name: width for name, (_, _, width) in COLUMNS.items()},
        editors={name: "input" if name in EDITABLE else None for name in COLUMNS},
        formatters={
            **dict.fromkeys(("name", "scenario", "settings", "note"), "textarea"),
            "status": "plaintext",
            "epochs": "plaintext",
            "error": ScientificFormatter(precision=2, power_limit_low=99, nan_format=""),
            "iterations": NumberFormatter(format="0,0", nan_format=""),
            "saved": NumberFormatter(format="0%", nan_format=""),
            "seconds": NumberFormatter(format="0.0", nan_format=""),
            "started": DateFormatter(format="%Y-%m-%d %H:%M", nan_format=""),
        },
        text_align=dict.fromkeys(("epochs", "error", "iterations", "saved", "seconds"), "right"),
        header_align=dict.fromkeys(("epochs", "error", "iterations", "saved", "seconds"), "right"),
        layout="fit_data_fill",
        sizing_mode="stretch_width",
        margin=(4, 8),
        stylesheets=[LOOK],
    )


LOOK = """
.pnx-tabulator.tabulator { font-size: 12.5px; }
.pnx-tabulator.tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 5px 6px; }
.pnx-tabulator.tabulator .tabulator-row .tabulator-cell { padding: 5px 6px; line-height: 1.4; }
.pnx-tabulator.tabulator .tabulator-row.tabulator-selected {
  background-color: color-mix(in srgb, var(--panel-primary-color) 22%, var(--panel-surface-color)) !important;
  color: var(--panel-on-surface-color);
}
"""
"""Denser than the theme's own, and a selection on which text stays easy to read."""
