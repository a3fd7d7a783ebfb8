"""What the data shown say, in a sentence that is true of them."""

import html

import numpy as np

from ..engine import Run

COMPILING = "Compiling the training step; this takes a few seconds the first time."


def story(prdp: Run | None, full: Run | None) -> str:
    """The comparison of two runs at the last epoch that both have, or of one run with K_full throughout, as HTML."""
    runs = [run for run in (prdp, full) if run is not None]
    together = min(run.epoch for run in runs)
    if together < 1:
        return COMPILING if any(run.state == "compiling" for run in runs) else "Nothing to compare yet."
    epochs = "1 epoch" if together == 1 else f"{together} epochs"
    rows = [run.log.read(together)[0] for run in runs]
    names = [html.escape(run.label) for run in runs]
    if len(runs) == 1:
        (run,), (row,) = runs, rows
        share = row["cumulative_iterations"] / (together * run.settings.problem.full_iterations)
        return (
            f"After {epochs} {names[0]} has spent <b>{share:.0%}</b> of the inner iterations of full physics, "
            f"{row['cumulative_seconds']:.3g} seconds, and its error is <b>{row['validation']:.3g}</b>."
        )
    mine, others = rows
    comparable = np.isfinite(mine["validation"]) and np.isfinite(others["validation"]) and others["validation"] > 0
    if not comparable:
        return "The errors are no longer numbers that can be compared."
    iterations, seconds, error = (
        mine[name] / others[name] for name in ("cumulative_iterations", "cumulative_seconds", "validation")
    )
    if runs[0].timed_in != runs[1].timed_in:
        return (
            f"After {epochs} {names[0]} has spent <b>{iterations:.0%}</b> of the inner iterations of {names[1]}, and "
            f"its error is <b>{error:.2f} ×</b> that of {names[1]}. Their seconds were measured on different occasions."
        )
    return (
        f"After {epochs} {names[0]} has spent <b>{iterations:.0%}</b> of the inner iterations and "
        f"<b>{seconds:.0%}</b> of the seconds of {names[1]}, and its error is <b>{error:.2f} ×</b> that of {names[1]}."
    )
