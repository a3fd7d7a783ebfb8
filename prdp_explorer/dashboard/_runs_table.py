"""The table of kept runs: its columns, what they show of a run, and the widget."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import DateFormatter, NumberFormatter, ScientificFormatter

from ..engine import StoredRun, full_physics_by_run
from ._run_words import scenario_words, settings_words, value_words

PAGE_SIZE = 12

EDITABLE = ("name", "note")

COLUMNS = {
    "name": ("Name", "A name of your choice; without one the run's id. Click to edit, or press Enter.", 130),
    "scenario": ("Scenario", "The learning problem and its preset.", 104),
    "settings": (
        "Settings",
        "Controller, solver, differentiation mode and seed. What was edited since the start is shown as old→new; what "
        "is not told is the preset's own.",
        210,
    ),
    "status": ("Status", "Interrupted: the process that trained it is gone; it can be resumed.", 82),
    "epochs": ("Epochs", "Epochs done, of those asked for.", 92),
    "error": ("Error", "The last validation error.", 68),
    "iterations": ("Iterations", "Inner iterations of all epochs.", 84),
    "saved": (
        "Saved",
        "Share of the inner iterations saved against full physics for the same number of epochs. Empty where no "
        "finished full-physics run with otherwise the same settings is kept, and where training went wrong.",
        66,
    ),
    "seconds": ("Seconds", "Seconds of training.", 76),
    "started": ("Started", "When, by the server's clock. The newest come first until you sort.", 116),
    "note": ("Note", "A note of yours. Click to edit, or press Enter.", 150),
}
"""The columns: title, what the header tells, width in pixels."""

SEARCHED = ["name", "scenario", "settings", "status", "note"]


def table_of(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """What the table shows of runs, by id and in their order. NaN stands for numbers that there are not."""
    runs = list(runs)
    full = full_physics_by_run(runs)
    texts = {
        "name": [run.title for run in runs],
        "scenario": [scenario_words(run) for run in runs],
        "settings": [settings_words(run) for run in runs],
        "status": [run.status for run in runs],
        "epochs": _padded(f"{run.epochs} of {value_words(run.epochs_requested)}" for run in runs),
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
    return pd.DataFrame({name: columns[name] for name in COLUMNS}, index)


def saved(run: StoredRun, full: StoredRun | None) -> float | None:
    """The share of inner iterations that a run saved against full physics for as many epochs.

    Full physics has the same K in every epoch, so that it is known what it took up to any of them.
    """
    if full is None or run.id == full.id or run.status in ("diverged", "failed") or not run.epochs:
        return None
    whole = _number(full.summary.get("iterations")) / max(full.epochs, 1) * run.epochs
    return 1 - _number(run.summary.get("iterations")) / whole if whole else None


def _padded(texts: Iterable[str]) -> list[str]:
    """Texts that begin with a number, after spaces, which the page does not show: so they sort as their numbers do."""
    texts = list(texts)
    width = max((len(text.split(" ")[0]) for text in texts), default=0)
    return [" " * (width - len(text.split(" ")[0])) + text for text in texts]


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
        pagination="remote",  # the browser gets one page only
        page_size=PAGE_SIZE,
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
            "seconds": NumberFormatter(format="0.00", nan_format=""),
            "started": DateFormatter(format="%Y-%m-%d %H:%M", nan_format=""),
        },
        text_align=dict.fromkeys(("epochs", "error", "iterations", "saved", "seconds"), "right"),
        header_align=dict.fromkeys(("epochs", "error", "iterations", "saved", "seconds"), "right"),
        # Tabulator's own Tab goes from edit to edit, and never out of the last.
        configuration={"editTriggerEvent": "click", "keybindings": {"navNext": False, "navPrev": False}},
        layout="fit_data_fill",
        sizing_mode="stretch_width",
        margin=(4, 8),
        stylesheets=[LOOK],
    )


LOOK = """
.pnx-tabulator.tabulator { font-size: 12.5px; }
.pnx-tabulator.tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 5px 6px; }
.pnx-tabulator.tabulator .tabulator-row .tabulator-cell { padding: 5px 6px; line-height: 1.4; }
.pnx-tabulator.tabulator .tabulator-tableholder .tabulator-table .tabulator-row.tabulator-row-even { color: inherit; }
.pnx-tabulator.tabulator .tabulator-row.tabulator-selected {
  background-color: color-mix(in srgb, var(--panel-primary-color) 22%, var(--panel-surface-color)) !important;
}
.pnx-tabulator.tabulator .tabulator-row.tabulator-selected .tabulator-cell {
  color: var(--panel-on-surface-color) !important;
}
"""
"""Denser than the theme's own; a selection on which text stays easy to read; no row in a paler colour, as every other
one would be in a dark JupyterLab."""
