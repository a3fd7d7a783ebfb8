"""The published figure of a run or a race, for papers and slides: error, K by epoch with what was saved, and cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..engine import optional_module, written_whole
from ..problems import title_of
from ._costs import savings
from ._curves import SAVING_MARKS
from ._kept import KeptRun, Pair, read_source
from ._shown import Contender
from ._source import RunSource
from ._theme import IC_SAVING_COLOR, LOOKS, PR_SAVING_COLOR, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PR_LOOK: dict[str, Any] = {"facecolor": PR_SAVING_COLOR, "alpha": 0.35, "linewidth": 0}
_IC_LOOK: dict[str, Any] = {"facecolor": "none", "edgecolor": IC_SAVING_COLOR, "hatch": "////", "linewidth": 0}
_DASHES: dict[str, Any] = {
    "solid": "-", "dashed": "--", "dotdash": "-.", "dotted": ":", "dashdot": (0, (6, 2, 2, 2)),
}  # fmt: skip
"""Of a look, as Matplotlib has them."""


class _Line(NamedTuple):
    """A run that is drawn: its name, its look, and its records."""

    name: str
    look: Look
    source: RunSource

    @property
    def style(self) -> dict[str, Any]:
        return {"color": self.look.color, "linestyle": _DASHES[self.look.dash]}


def make_paper_figure(run: KeptRun, full: KeptRun | None = None) -> "Figure":
    """Three panels of a run, beside full physics if that is given; non-dimensional except seconds.

    **Raises:** `ValueError` in words without Matplotlib.
    """
    scenario = str(run.stored.settings.get("scenario"))
    return _draw(Pair.of(run, full), [], scenario, run.stored.id)


def make_race_figure(contenders: Sequence[Contender]) -> "Figure":
    """The same of the contenders on the page, as far as they are, in the looks that they have there.

    **Raises:** `ValueError` in words without Matplotlib.
    """
    others = [_Line(each.label, each.look, read_source(each.run)) for each in contenders if each.place > 1]
    first = contenders[0].run
    return _draw(Pair.raced(contenders), others, first.settings.scenario, first.race.id)


def _draw(pair: Pair, others: Sequence[_Line], scenario: str, name: str) -> "Figure":
    figure = optional_module("matplotlib.figure").Figure(figsize=(12.5, 4.2), layout="constrained")
    error, iterations, costs = figure.subplots(1, 3)
    looks = {id(pair.prdp): LOOKS[0], id(pair.full): LOOKS[1]}
    # From below: PRDP is drawn over full physics, which is drawn over the others.
    lines = [*others[::-1], *(_Line(name, looks[id(source)], source) for name, source in reversed(pair.sources))]
    _draw_errors(error, lines)
    _draw_iterations(iterations, lines, pair)
    _draw_costs(costs, lines, pair)
    last = [int(line.source.last["epoch"]) for line in lines if line.source.last is not None]
    for axes in (error, iterations):
        axes.set_xlim(0, max([1, *last]))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    for axes in (error, iterations, costs):
        axes.spines[["top", "right"]].set_visible(False)
    title = title_of(scenario)
    figure.suptitle(f"{title}, {name}", parse_math=False)
    handles, labels = iterations.get_legend_handles_labels()
    drawn = figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4, frameon=False)
    for text in drawn.get_texts():
        text.set_parse_math(False)
    return figure


def write_paper_figure(file: str | Path, run: KeptRun, full: KeptRun | None = None) -> None:
    """Write `make_paper_figure` as PNG or SVG, whichever the name ends in.

    **Raises:** `ValueError` in words without Matplotlib, and if the file cannot be written.
    """
    figure = make_paper_figure(run, full)
    with written_whole(file) as part:
        figure.savefig(part, format=Path(file).suffix[1:].lower(), dpi=200)


def _draw_errors(axes: "Axes", lines: Sequence[_Line]) -> None:
    for line in lines:
        columns: Any = line.source.source.data
        axes.plot(columns["epoch"], columns["validation"], **line.style)
    if any(np.isfinite(line.source.smallest) for line in lines):
        axes.set_yscale("log")
    axes.set(title="Validation error", ylabel="relative error")


def _draw_iterations(axes: "Axes", lines: Sequence[_Line], pair: Pair) -> None:
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
    for line in lines:
        drawn: Any = line.source.source.data
        axes.step(drawn["epoch"], drawn["iterations"], where="pre", label=line.name, **line.style)
    axes.set_ylim(bottom=0)
    axes.set(title="K by epoch", ylabel="inner iterations K")


def _draw_costs(axes: "Axes", lines: Sequence[_Line], pair: Pair) -> None:
    """A bar of inner iterations for each run, with what was saved, and the seconds beside it in words."""
    bars = [line for line in lines if line.source.last is not None]
    longest = 1
    for place, line in enumerate(bars):
        last: Any = line.source.last
        spent = end = int(last["cumulative_iterations"])
        axes.barh(place, spent, height=0.5, color=line.look.color)
        if line.source is pair.prdp:
            spent, late, end = savings(last, pair.full_iterations, pair.full.last)
            axes.barh(place, late - spent, left=spent, height=0.5, **_PR_LOOK)
            axes.barh(place, end - late, left=late, height=0.5, **_IC_LOOK)
        axes.text(end, place, f" {spent:,} spent\n {last['cumulative_seconds']:.3g} s", va="center")
        longest = max(longest, end)
    axes.set_yticks(range(len(bars)), [line.name for line in bars], parse_math=False)
    axes.set_xlim(0, 1.4 * longest)
    axes.set_ylim(-0.6, max(1, len(bars)) - 0.4)
    axes.set(title="Cost: iterations and seconds", xlabel="inner iterations in all")
