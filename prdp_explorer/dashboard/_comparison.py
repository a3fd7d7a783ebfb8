"""What the data shown say, in sentences that are true of them."""

import html
from typing import Any

import numpy as np

from ..engine import Run
from ._shown import Shown

COMPILING = "Compiling the training step; this takes a few seconds the first time."


def comparison(shown: Shown) -> list[str]:
    """The comparison of each contender with what it is compared with, as HTML: at the last epoch that all of them have
    or, in a race by equal time, after as many seconds of each. A run by itself is compared with K_full throughout.
    """
    runs = [run for run in shown.runs if run.epoch > 0 or not run.ended] or shown.runs
    if min(run.epoch for run in runs) < 1:
        return [COMPILING if any(run.state == "compiling" for run in runs) else "Nothing to compare yet."]
    by_time = shown.race is not None and shown.race.fairness == "time" and len(runs) > 1
    rows = _after_equal_time(runs) if by_time else _after_equal_epochs(runs)
    if len(runs) == 1:
        return [_alone(runs[0], rows[0])]
    full = next((run for run in runs if run is shown.at(1)), runs[-1])
    compared = [(run, row) for run, row in zip(runs, rows, strict=True) if run is not full]
    reference = rows[runs.index(full)]
    (first, row), *others = compared
    return [
        _compared(first, row, full, reference, by_time),
        *(_in_short(run, row, full, reference, by_time) for run, row in others),
    ]


def _after_equal_epochs(runs: list[Run]) -> list[Any]:
    together = min(run.epoch for run in runs)
    return [run.log.read(together)[0] for run in runs]


def _after_equal_time(runs: list[Run]) -> list[Any]:
    """The last record of each run up to the least time that any has computed for."""
    logs = [run.log.read() for run in runs]
    least = min(log[-1]["cumulative_seconds"] for log in logs)
    return [log[max(int(np.searchsorted(log["cumulative_seconds"], least, side="right")) - 1, 0)] for log in logs]


def _epochs(row: Any) -> str:
    return "After 1 epoch" if row["epoch"] == 1 else f"After {row['epoch']} epochs"


def _alone(run: Run, row: Any) -> str:
    share = row["cumulative_iterations"] / (row["epoch"] * run.settings.problem.full_iterations)
    return (
        f"{_epochs(row)} {html.escape(run.label)} has spent <b>{share:.0%}</b> of the inner iterations of full "
        f"physics, {row['cumulative_seconds']:.3g} seconds, and its error is <b>{row['validation']:.3g}</b>."
    )


def _compared(run: Run, row: Any, full: Run, reference: Any, by_time: bool) -> str:
    if not _comparable(row, reference):
        return _NO_NUMBERS
    name, other = html.escape(run.label), html.escape(full.label)
    apart = run.timed_in != full.timed_in
    if by_time:
        seconds = max(row["cumulative_seconds"], reference["cumulative_seconds"])
        spent = (
            f"With {seconds:.3g} seconds each {name} has done <b>{row['epoch']}</b> epochs and {other} "
            f"<b>{reference['epoch']}</b>"
        )
    else:
        seconds = "" if apart else f" and <b>{_share(row, reference, 'cumulative_seconds')}</b> of the seconds"
        iterations = f"<b>{_share(row, reference, 'cumulative_iterations')}</b> of the inner iterations"
        spent = f"{_epochs(row)} {name} has spent {iterations}{seconds} of {other}"
    return f"{spent}, and its error is <b>{_times(row, reference)}</b> that of {other}.{_APART if apart else ''}"


def _in_short(run: Run, row: Any, full: Run, reference: Any, by_time: bool) -> str:
    if not _comparable(row, reference):
        return f"{html.escape(run.label)}: {_NO_NUMBERS}"
    told = (
        [f"{row['epoch']} epochs"]
        if by_time
        else [f"{_share(row, reference, 'cumulative_iterations')} of the iterations"]
    )
    if not by_time and run.timed_in == full.timed_in:
        told.append(f"{_share(row, reference, 'cumulative_seconds')} of the seconds")
    return f"{html.escape(run.label)}: {', '.join(told)}, {_times(row, reference)} the error."


_NO_NUMBERS = "The errors are no longer numbers that can be compared."
_APART = " Their seconds were measured on different occasions."


def _comparable(row: Any, reference: Any) -> bool:
    return bool(np.isfinite([row["validation"], reference["validation"]]).all() and reference["validation"] > 0)


def _share(row: Any, reference: Any, name: str) -> str:
    return f"{row[name] / reference[name]:.0%}" if reference[name] > 0 else "an unknown share"


def _times(row: Any, reference: Any) -> str:
    return f"{row['validation'] / reference['validation']:.2f} ×"
