"""Decisions in words: the one at an epoch with its inequalities, those of a run in a table, and what a what-if says."""

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine import Event, Record, Run, WhatIf
from ..refinement import Reason
from ._run_words import SYMBOLS
from ._source import DECISIONS
from ._summary import first_measured

NOTHING_YET = "Nothing yet. Every refinement and every edit of this run is listed here."


def values_at(run: Run, epoch: int) -> Mapping[str, Any]:
    """The values of a run's controller that decided after an epoch, edits up to there included."""
    settings = run.started_with
    for event in list(run.log.events):
        if event.name == "adjust" and event.epoch <= epoch:
            settings = settings.changed(event.values)
    return settings.values


def decision_html(record: Record, log: np.ndarray, values: Mapping[str, Any]) -> str:
    """What was decided after an epoch and why: each inequality with its numbers, and whether it held.

    **Arguments:**

    - `record`: of the epoch. `log`: all records of the run. `values`: of the controller that decided.
    """
    if math.isnan(record.plateau_ratio):
        lines = [html.escape(record.explanation)]
    else:
        lines = [*_inequalities(record, log, values), f"→ <b>{_outcome(record)}</b>"]
    return "".join(f'<div style="line-height:1.6">{line}</div>' for line in lines)


def _inequalities(record: Record, log: np.ndarray, values: Mapping[str, Any]) -> list[str]:
    then = record.epoch - int(values["window"]) + 1
    start = float(log["smoothed"][then])
    plateau = record.reason != Reason.IMPROVING  # rather than compared here, with more digits than the controller has
    lines = [
        f"r = s<sub>{record.epoch}</sub> / s<sub>{then}</sub> = {_number(record.smoothed)} / {_number(start)} = "
        f"<b>{_ratio(record.plateau_ratio)} {'&gt;' if plateau else '≤'} τ_step = {record.tau_step:g}</b> "
        + ("→ a plateau" if plateau else "→ still improving")
    ]
    if not plateau or math.isnan(record.checkpoint_ratio):
        return lines
    refined = np.flatnonzero(log["refined"][: record.epoch])
    if len(refined):
        last = f"s_checkpoint = {_number(log['smoothed'][refined[-1]])} (epoch {refined[-1]})"
    elif values.get("compare_with_start"):
        last = f"s_checkpoint = {_number(log['smoothed'][0])} (before training)"
    else:
        last = "s_checkpoint = ∞ (never refined yet)"
    worth, grows = (record.reason == reason for reason in (Reason.WORTHWHILE, Reason.DIVERGING))
    lines.append(
        f"r_c = s<sub>{record.epoch}</sub> / s_checkpoint = <b>{_ratio(record.checkpoint_ratio)} "
        f"{'&lt;' if worth else '≥'} τ_stop = {record.tau_stop:g}</b> with {last} "
        + ("→ worth it" if worth else "→ but the error grows" if grows else "→ not worth it")
    )
    return lines


def _outcome(record: Record) -> str:
    """What followed from the inequalities."""
    if math.isnan(record.next_rtol):
        then, now = str(record.iterations), str(record.next_iterations)
        stays, changes = f"K stays {now}", f"K rises from {then} to {now}"
    else:
        then, now = f"{record.rtol:.2g}", f"{record.next_rtol:.2g}"
        stays, changes = f"the tolerance stays {now}", f"the tolerance falls from {then} to {now}"
    if not record.refined:
        return stays
    return f"refine: {changes if now != then else f'{stays}, its bound'}"


def table_row(record: Record) -> tuple[str, ...]:
    """The cells of a refinement in the table of decisions."""
    level = f"{record.iterations} → {record.next_iterations}"
    if not math.isnan(record.next_rtol):
        level = f"{record.rtol:.2g} → {record.next_rtol:.2g}"
    ratios = (_ratio(record.plateau_ratio), _ratio(record.checkpoint_ratio))
    return (str(record.epoch), level.replace(" ", "\u00a0"), *ratios, DECISIONS[Reason(record.reason)])


def edit_row(event: Event) -> tuple[str, ...]:
    """The cells of an edit in the table of decisions."""
    return (str(event.epoch - 1), "", "", "", event.message)


def table_html(rows: list[tuple[str, ...]], level: str) -> str:
    """The table of decisions, newest first; `level` is what they raise or lower."""
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in reversed(rows))
    body = body or f"<tr><td colspan=5>{NOTHING_YET}</td></tr>"
    heads = "".join(
        f'<th scope="col" style="text-align:left">{head}</th>' for head in ("epoch", level, "r", "r_c", "why")
    )
    return (
        '<div class="decisions" role="region" aria-label="Decisions" tabindex="0" '
        'style="max-height:300px;overflow-y:auto;padding:0 8px">'
        '<table style="width:100%;border-spacing:6px 1px;font-size:12.5px;text-align:left">'
        '<caption style="text-align:left;font-weight:600;padding:4px 0">Decisions that changed something, and edits, '
        f"newest first</caption><thead><tr>{heads}</tr></thead>"
        f'<tbody style="vertical-align:top">{body}</tbody></table></div>'
    )


def what_if_html(what_if: WhatIf, own: Mapping[str, Any], rows: np.ndarray, *, ended: bool) -> str:
    """What a what-if says, beside what a run did.

    **Arguments:**

    - `own`: the values that nobody changed, by name. `rows`: the records that were asked about, at least two.
    - `ended`: whether the run is over.
    """
    asked = {name: value for name, value in what_if.refinement.items() if name != "kind" and value != own.get(name)}
    told = ", ".join(f"{SYMBOLS.get(name, name)} = {value:g}" for name, value in asked.items())
    if not told:
        told = ", ".join(f"{SYMBOLS[name]} = {what_if.refinement[name]:g}" for name in ("tau_step", "tau_stop"))
    epoch = len(what_if) - 1
    if what_if.first_difference(rows) is None:
        return f"With <b>{told}</b> it would have decided the same all along, on this history."
    by_tolerance = not math.isnan(what_if.next_rtol[-1])
    if by_tolerance:
        would, did = (f"{float(values[-1]):.2g}" for values in (what_if.next_rtol[:-1], rows["rtol"]))
    else:
        would, did = (str(int(values[-1])) for values in (what_if.iterations, rows["iterations"]))
    outcome = f"{'the tolerance' if by_tolerance else 'K'} would {'have ended' if ended else 'be'} at <b>{would}</b>"
    outcome += f" instead of {did}" if would != did else " as well"
    spent, total = int(what_if.iterations.sum()), int(rows["cumulative_iterations"][-1])
    if not by_tolerance and total > 0:
        outcome += f", {_share(spent, total)}"
    return f"With <b>{told}</b>, {outcome}, up to epoch {epoch}."


APPROXIMATION = (
    "An approximation: it is decided on the history of errors that this run had, and another K would have made another "
    "history."
)


def _share(spent: int, total: int) -> str:
    share = spent / total - 1
    if abs(share) < 0.005:
        return "with about as many inner iterations"
    return f"with <b>{abs(share):.0%} {'fewer' if share < 0 else 'more'}</b> inner iterations"


def _ratio(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _number(value: Any) -> str:
    return f"{value:.4g}"


def figure_words(label: str, log: np.ndarray, values: Mapping[str, Any], what_if: WhatIf | None) -> list[str]:
    """What the figures of the metric, of r, of r_c and of K show, in a sentence or two each, for whoever has them read.

    **Arguments:**

    - `label`: of the run. `log`: its records, at least one. `values`: of its controller now. `what_if`: what is drawn
      beside it.
    """
    last = log[-1]
    epoch, refined = int(last["epoch"]), np.flatnonzero(log["refined"])
    first = first_measured(log)["smoothed"]
    metric = (
        f"The smoothed error of {label} went from {_number(first)} to {_number(last['smoothed'])} in {epoch} epochs."
    )
    if len(refined):
        metric += f" At the last refinement, after epoch {refined[-1]}, it was {_number(log['smoothed'][refined[-1]])}."
    known = np.isfinite(log["plateau_ratio"])
    if not known.any():
        plateau, checkpoint = (f"There is no {name} of {label}, at least so far." for name in ("r", "r_c"))
    else:
        plateaus = int(np.count_nonzero(known & (log["reason"] != Reason.IMPROVING)))
        plateau = (
            f"r of {label} is {_ratio(last['plateau_ratio'])}, τ_step is {last['tau_step']:g}; it was above τ_step, a "
            f"plateau, after {plateaus} of {int(np.count_nonzero(known))} epochs."
        )
        ratios = log["checkpoint_ratio"][np.isfinite(log["checkpoint_ratio"])]
        checkpoint = (
            f"{label} was at a plateau after {len(ratios)} epochs, and r_c then called for a refinement after "
            f"{len(refined)}; τ_stop is {last['tau_stop']:g}."
        )
    if math.isnan(last["next_rtol"]):
        first, now = int(log["next_iterations"][0]), int(last["iterations"] or last["next_iterations"])
        level = f"K of {label} went from {first} to {now} in {epoch} epochs."
    else:
        level = f"The tolerance of {label} went from {log['next_rtol'][0]:.2g} to {last['next_rtol']:.2g}."
    if what_if is not None and math.isnan(what_if.next_rtol[-1]):
        level += f" That of the what-if went from {what_if.next_iterations[0]} to {what_if.iterations[-1]}."
    elif what_if is not None:
        level += f" That of the what-if went from {what_if.next_rtol[0]:.2g} to {what_if.next_rtol[-1]:.2g}."
    return [metric, plateau, checkpoint, level]
