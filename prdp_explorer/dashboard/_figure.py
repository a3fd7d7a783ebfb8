"""The published figure of a run, for papers and slides: error, K by epoch with what was saved, and cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import optional_module, written_whole
from ..problems import SCENARIOS
from ._costs import savings
from ._curves import SAVING_MARKS
from ._kept import KeptRun, Pair
from ._theme import FULL_COLOR, IC_SAVING_COLOR, PR_SAVING_COLOR, PRDP_COLOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PR_LOOK: dict[str, Any] = {"facecolor": PR_SAVING_COLOR, "alpha": 0.35, "linewidth": 0}
_IC_LOOK: dict[str, Any] = {"facecolor": "none", "edgecolor": IC_SAVING_COLOR, "hatch": "////", "linewidth": 0}


def make_paper_figure(run: KeptRun, full: KeptRun | None = None) -> "Figure":
    """Three panels of a run, beside full physics if that is given; non-dimensional except seconds.

    **Raises:** `ValueError` in words without Matplotlib.
    """
    pair = Pair.of(run, full)
    figure = optional_module("matplotlib.figure").Figure(figsize=(12.5, 4.2), layout="constrained")
    error, iterations, costs = figure.subplots(1, 3)
    _draw_errors(error, pair)
    _draw_iterations(iterations, pair)
    _draw_costs(costs, pair)
    last = [int(source.last["epoch"]) for _, source in pair.sources if source.last is not None]
    for axes in (error, iterations):
        axes.set_xlim(0, max([1, *last]))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    for axes in (error, iterations, costs):
        axes.spines[["top", "right"]].set_visible(False)
    scenario = SCENARIOS.get(str(run.stored.settings.get("scenario")))
    title = scenario.title if scenario else str(run.stored.settings.get("scenario"))
    figure.suptitle(f"{title}, {run.stored.id}", parse_math=False)
    handles, labels = iterations.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, frameon=False)
    return figure


def write_paper_figure(file: str | Path, run: KeptRun, full: KeptRun | None = None) -> None:
    """Write `make_paper_figure` as PNG or SVG, whichever the name ends in.

    **Raises:** `ValueError` in words without Matplotlib, and if the file cannot be written.
    """
    figure = make_paper_figure(run, full)
    with written_whole(file) as part:
        figure.savefig(part, format=Path(file).suffix[1:].lower(), dpi=200)


def _lines(pair: Pair) -> list[tuple[str, Any, dict[str, Any]]]:
    """Of each run its name, its columns and its look; full physics first, so that PRDP is drawn over it."""
    looks = {id(pair.full): {"color": FULL_COLOR, "linestyle": "--"}, id(pair.prdp): {"color": PRDP_COLOR}}
    return [(name, source.source.data, looks[id(source)]) for name, source in reversed(pair.sources)]


def _draw_errors(axes: "Axes", pair: Pair) -> None:
    for _, columns, look in _lines(pair):
        axes.plot(columns["epoch"], columns["validation"], **look)
    if any(np.isfinite(source.smallest) for _, source in pair.sources):
        axes.set_yscale("log")
    axes.set(title="Validation error", ylabel="relative error")


def _draw_iterations(axes: "Axes", pair: Pair) -> None:
    last = pair.prdp.last
    if last is not None and last["epoch"]:
        columns: Any = pair.prdp.source.data
        final = int(last["iterations"])
        by_epoch = np.r_[
            columns["iterations"][1:2], columns["iterations"][1:]
        ]  # where a tolerance is refined 0 has none
        axes.fill_between(
            columns["epoch"], by_epoch, final, where=by_epoch <= final, step="pre",
            label=SAVING_MARKS[0][2], **_PR_LOOK,
        )  # fmt: skip
        axes.fill_between(
            [0, int(last["epoch"])], final, max(pair.full_iterations, final), label=SAVING_MARKS[1][2], **_IC_LOOK
        )
    for name, columns, look in _lines(pair):
        axes.step(columns["epoch"], columns["iterations"], where="pre", label=name, **look)
    axes.set_ylim(bottom=0)
    axes.set(title="K by epoch", ylabel="inner iterations K")


def _draw_costs(axes: "Axes", pair: Pair) -> None:
    """A bar of inner iterations for each run, with what was saved, and the seconds beside it in words."""
    bars = [(name, source) for name, source in reversed(pair.sources) if source.last is not None]
    longest = 1
    for place, (_, source) in enumerate(bars):
        last: Any = source.last
        spent = end = int(last["cumulative_iterations"])
        axes.barh(place, spent, height=0.5, color=PRDP_COLOR if source is pair.prdp else FULL_COLOR)
        if source is pair.prdp:
            spent, late, end = savings(last, pair.full_iterations, pair.full.last)
            axes.barh(place, late - spent, left=spent, height=0.5, **_PR_LOOK)
            axes.barh(place, end - late, left=late, height=0.5, **_IC_LOOK)
        axes.text(end, place, f" {spent:,} spent\n {last['cumulative_seconds']:.3g} s", va="center")
        longest = max(longest, end)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.set_xlim(0, 1.4 * longest)
    axes.set_ylim(-0.6, max(1, len(bars)) - 0.4)
    axes.set(title="Cost: iterations and seconds", xlabel="inner iterations in all")
