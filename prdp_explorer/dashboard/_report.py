"""A run on one page that needs no server and no network: for a colleague, an archive, a supplement."""

from datetime import datetime
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.models import WheelZoomTool
from bokeh.resources import Resources

from ..engine import Store
from ..problems import title_of
from ._costs import Costs, savings
from ._curves import SAVING_MARKS, Curves
from ._history import told
from ._kept import KeptRun, Pair
from ._report_page import page, section, table

LINES_TOLD = 500
"""Of what happened, the newest so many lines are told."""


def report(store: Store, run_id: str, full_id: str | None = None) -> str:
    """One HTML page of a kept run: what it saved, plots that move and zoom, settings, what happened, versions.

    Everything that it needs is in it, and its own policy forbids it to ask any network.

    **Arguments:**

    - `run_id`: of the run. `full_id`: of the full-physics run to compare it with; None for none, and what was saved is
      counted against K_full in every epoch.

    **Raises:** `StoreError` for a run that is not there.
    """
    run = KeptRun.read(store, run_id)
    full = None if full_id is None else KeptRun.read(store, full_id)
    pair = Pair.of(run, full)
    cards = [list(card) for card in _cards(run, pair)]
    script, places = components(tuple(pane.object for *panes, _ in cards for pane in panes), wrap_script=False)
    left = iter(places)
    stored = run.stored
    edits = {f"{name}, as edited last": value for name, value in stored.edits.items()}
    return page(
        title=title_of(stored.settings.get("scenario")),
        name=f"{stored.name or stored.label}, {stored.id}",
        headline=headline(run, full),
        status=_status(run),
        note=stored.note,
        plots=["".join(next(left) for _ in panes) + legend.object for *panes, legend in cards],
        above=[
            section("Cost", table(_costs(run, full, pair), head=True)),
            section("Versions and machine", table([[name, str(value)] for name, value in stored.made_with.items()])),
        ],
        below=[
            section(
                "Settings", table([[name, str(value)] for name, value in (_flat(stored.settings) | edits).items()])
            ),
            section("What happened", _happened(run), "tall"),
        ],
        scripts=[*Resources(mode="inline", components=["bokeh"]).js_raw, script],
    )


def headline(run: KeptRun, full: KeptRun | None = None) -> str:
    """What the records say, in a sentence that is true of them."""
    rows = run.log.read()
    if len(rows) < 2:
        return "No epoch of training was recorded."
    epochs = len(rows) - 1
    if full is not None and len(full.log) > 1:
        epochs = min(epochs, len(full.log) - 1)
    row = rows[epochs]
    spent = int(row["cumulative_iterations"])
    subject = "PRDP" if run.words == "PRDP" else "this run"
    after = f"After {epochs:,} {'epoch' if epochs == 1 else 'epochs'}"
    if full is not None and len(full.log) > 1:
        other = full.log.read(epochs)[0]
        if not np.isfinite([row["validation"], other["validation"]]).all():
            return f"{after} the errors are no longer numbers that can be compared."
        iterations = f"{_share(spent, other['cumulative_iterations'])} of the inner iterations"
        seconds = f" and {_share(row['cumulative_seconds'], other['cumulative_seconds'])} of the seconds"
        apart = run.timed_in != full.timed_in  # seconds of a busy machine and of an idle one say nothing together
        return (
            f"{after} {subject} has spent {iterations}{'' if apart else seconds} of full physics, and its error is "
            f"{_times(row['validation'], other['validation'])} that of full physics."
            + (" Their seconds were measured on different occasions." if apart else "")
        )
    cost = f"{after} {subject} has spent {spent:,} inner {'iteration' if spent == 1 else 'iterations'}"
    whole = run.settings.full_iterations
    if spent != epochs * whole:
        cost += f", {_share(spent, epochs * whole)} of what K = {whole} throughout takes"
    first, last = float(rows[0]["validation"]), float(row["validation"])
    if not np.isfinite(last):
        return f"{cost}, and its validation error is no longer a number."
    return f"{cost}, and its validation error went from {first:.3g} to {last:.3g}."


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole > 0 else "an unknown share"


def _times(value: float, other: float) -> str:
    return f"{value / other:.2f}\u00a0×" if other > 0 else "not comparable with"


def _status(run: KeptRun) -> str:
    stored = run.stored
    when = datetime.fromtimestamp(stored.created).astimezone().strftime("%Y-%m-%d %H:%M %Z")
    forked = f" Forked from {stored.parent} after epoch {stored.parent_epoch}." if stored.parent else ""
    message = stored.message or stored.status
    return f"{stored.epochs} of {run.settings.epochs} epochs. {message} Begun {when}.{forked}"


def _cards(run: KeptRun, pair: Pair) -> list[Any]:
    """The views as they are after the last epoch, each of panes of figures and, last, a legend."""
    curves, costs = Curves(pair.prdp, pair.full), Costs(pair.prdp, pair.full)
    followed = [source.run.settings for source in (pair.prdp, pair.full) if source.run is not None]
    curves.set_extent(
        max(settings.epochs for settings in followed),
        max(pair.full_iterations, *(settings.largest_iterations for settings in followed)),
    )
    for view in (curves, costs):
        view.name(*pair.names)
        view.update()
    by_epoch: list[Any] = [curves.error, curves.iterations]
    if np.isfinite(run.log.read()["plateau_ratio"]).any():
        by_epoch.append(curves.ratios())
    for pane, _ in by_epoch:
        pane.object.add_tools(WheelZoomTool())
    return [*by_epoch, costs.view]


def _costs(run: KeptRun, full: KeptRun | None, pair: Pair) -> list[list[str]]:
    """The table of what was spent and saved: a column for each run, and one for K_full in every epoch."""
    runs = [run] if full is None else [run, full]
    lasts = [each.log.read(len(each.log) - 1)[0] if len(each.log) > 1 else None for each in runs]
    whole = "–" if lasts[0] is None else f"{run.stored.epochs * run.settings.full_iterations:,}"
    rows = [
        ["", *(each.words for each in runs), f"K = {run.settings.full_iterations} throughout"],
        ["epochs", *(f"{each.stored.epochs:,}" for each in runs), f"{run.stored.epochs:,}"],
        ["inner iterations", *(_number(last, "cumulative_iterations", ",") for last in lasts), whole],
        ["seconds of computing", *(_number(last, "cumulative_seconds", ".3g") for last in lasts), "–"],
        [
            "K of the last epoch",
            *(_number(last, "iterations", ",") for last in lasts),
            f"{run.settings.full_iterations:,}",
        ],
        ["validation error", *(_number(last, "validation", ".4g") for last in lasts), "–"],
    ]
    if lasts[0] is not None and pair.names[0]:
        spent, late, end = savings(lasts[0], pair.full_iterations, pair.full.last)
        for (_, _, words), saved in zip(SAVING_MARKS, (late - spent, end - late), strict=True):
            rows.append([words, f"{saved:,}", *("–" for _ in runs)])
    return rows


def _number(row: Any, name: str, kind: str) -> str:
    if row is None:
        return "–"
    return format(row[name].item(), kind) if np.isfinite(row[name]) else "not a number"


def _flat(settings: Any) -> dict[str, Any]:
    """Settings with those of the controller among them."""
    inner = settings.get("refinement")
    return {name: value for name, value in settings.items() if name != "refinement"} | (
        {f"refinement: {name}": value for name, value in inner.items()} if isinstance(inner, dict) else {}
    )


def _happened(run: KeptRun) -> str:
    lines = sorted(told(run.log.read(), run.log.events), key=lambda line: line[0])
    left_out = f"The newest {LINES_TOLD} of {len(lines)} lines." if len(lines) > LINES_TOLD else ""
    shown = [[str(epoch), words] for epoch, words in lines[-LINES_TOLD:]]
    return left_out + (table([["epoch", "what"], *shown], head=True) if shown else "Nothing was recorded.")
