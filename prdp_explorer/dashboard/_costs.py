"""The view of what both runs have cost so far, as bars."""

from typing import Any

from bokeh.models import BasicTicker, BasicTickFormatter, ColumnDataSource, FactorRange, Range1d
from bokeh.plotting import figure

from ._curves import SAVING_MARKS
from ._source import RunSource, draw
from ._theme import (
    FULL_LABEL,
    IC_SAVING_COLOR,
    LOOKS,
    PR_SAVING_COLOR,
    PRDP_LABEL,
    as_pane,
    card,
    legend,
    legend_html,
    make_figure,
    round_up,
    set_title,
)

_SPENT = (
    "name", "color", "iterations", "iterations_label", "iterations_label_at", "seconds", "seconds_label",
    "seconds_label_at",
)  # fmt: skip


_SECONDS = "Seconds of training"


class Costs:
    """Two figures of bars: cumulative inner iterations with what was saved, and seconds of training.

    **Arguments:**

    - `sources`: of the contenders by place; what is saved is counted against the second, or against K_full.

    **Attributes:**

    - `view`: both, framed.
    """

    def __init__(self, *sources: RunSource):
        self._sources = sources
        self._names: tuple[str, ...] = (PRDP_LABEL, FULL_LABEL)
        self._factors = FactorRange(factors=[FULL_LABEL, PRDP_LABEL])
        self._spent = ColumnDataSource(_spent_columns())
        self._saved = ColumnDataSource(_saved_columns())
        self._legend = legend(*SAVING_MARKS)
        iterations, self._iterations_range = self._make("Cumulative inner iterations", "inner iterations", "iterations")
        seconds, self._seconds_range = self._make(_SECONDS, "seconds of computing", "seconds")
        self._seconds = seconds
        for left, right, color, pattern in (
            ("spent", "late", PR_SAVING_COLOR, " "),
            ("late", "all", IC_SAVING_COLOR, "/"),
        ):
            iterations.hbar(
                y="name", left=left, right=right, height=0.5, source=self._saved, fill_color=color, fill_alpha=0.3,
                hatch_pattern=pattern, hatch_color=color, hatch_alpha=0.4, line_alpha=0,
            )  # fmt: skip
        self.view = card(
            as_pane(iterations),
            as_pane(seconds),
            self._legend,
        )

    def name(self, *names: str) -> None:
        """Say beside the bars what is compared, by place; an empty name is left out."""
        self._names = names
        draw(self._spent, _spent_columns())
        draw(self._saved, _saved_columns())
        # From the bottom up: PRDP above what it is compared with, and the others below.
        self._factors.factors = [name for name in names[::-1] if name]
        self._legend.object = legend_html(*(SAVING_MARKS if names[:1] != ("",) else ()))
        occasions = {source.run.timed_in for source in self._sources if source.run is not None}
        set_title(self._seconds, _SECONDS if len(occasions) < 2 else "Seconds, of different occasions")

    def update(self) -> None:
        """Draw the bars of the epochs so far."""
        rows = [
            (name, look.color, source)
            for name, look, source in list(zip(self._names, LOOKS, self._sources, strict=False))[::-1]
            if source.last is not None
        ]
        saved = {name: found for name, _, source in rows if (found := self._savings(source)) is not None}
        spent = {name: int(source.last["cumulative_iterations"]) for name, _, source in rows}
        seconds = {name: float(source.last["cumulative_seconds"]) for name, _, source in rows}
        # Beyond the savings, where the number can be read.
        labelled_at = spent | {name: end for name, (_, _, end) in saved.items()}
        draw(self._saved, _saved_columns(*((name, *each) for name, each in saved.items())))
        bars = {
            "name": list(spent),
            "color": [color for _, color, _ in rows],
            "iterations": list(spent.values()),
            "iterations_label": [f"{value:,}" for value in spent.values()],
            "iterations_label_at": list(labelled_at.values()),
            "seconds": list(seconds.values()),
            "seconds_label": [f"{value:.3g} s" for value in seconds.values()],
            "seconds_label_at": list(seconds.values()),
        }
        draw(self._spent, bars)
        self._iterations_range.end = _room(*labelled_at.values())
        self._seconds_range.end = _room(*seconds.values())

    def _savings(self, source: RunSource) -> tuple[int, int, int] | None:
        full = self._sources[1]
        if source is full or source.run is None or source.last is None:
            return None
        settings = (source.run if full.run is None else full.run).settings
        whole = settings.problem.full_iterations if full.run is None else settings.largest_iterations
        return savings(source.last, whole, full.last)

    def _make(self, title: str, label: str, column: str) -> tuple[figure, Range1d]:
        x_range = Range1d(start=0, end=1)
        plot = make_figure(
            title, label, "", x_range=x_range, y_range=self._factors, height=160, tools="save",
            min_border_left=90,
        )  # fmt: skip
        plot.ygrid.visible = False
        plot.xaxis.ticker = BasicTicker(desired_num_ticks=4)
        plot.xaxis.formatter = BasicTickFormatter(use_scientific=False)
        plot.hbar(y="name", right=column, height=0.5, source=self._spent, color="color")
        plot.text(
            x=f"{column}_label_at", y="name", text=f"{column}_label", source=self._spent, text_baseline="middle",
            text_font_size="12px", x_offset=6, text_color="#7B7B7B",
        )  # fmt: skip
        return plot, x_range


def savings(prdp: Any, full_iterations: int, full: Any = None) -> tuple[int, int, int]:
    """Where on PRDP's bar begins what was saved by refining late, by never converging fully, and where it ends.

    **Arguments:**

    - `prdp`: a record of PRDP, a row of its log.
    - `full_iterations`: K of full physics.
    - `full`: the last record of a full-physics run. Of the same epoch, what it did spend counts: its K may have been
      edited on the way.
    """
    epochs, final, spent = (int(prdp[name]) for name in ("epoch", "iterations", "cumulative_iterations"))
    late = max(spent, epochs * final)
    whole = epochs * full_iterations
    if full is not None and full["epoch"] == epochs:
        whole = int(full["cumulative_iterations"])
    return spent, late, max(late, whole)


def _spent_columns() -> dict[str, Any]:
    """What is drawn of no bars."""
    return {name: [] for name in _SPENT}


def _saved_columns(*bars: tuple[str, int, int, int]) -> dict[str, Any]:
    """Where the savings of each bar begin, change over and end."""
    return {name: [bar[index] for bar in bars] for index, name in enumerate(("name", "spent", "late", "all"))}


def _room(*lengths: float) -> float:
    """The end of an axis that leaves room for the label behind the longest bar, and rarely moves."""
    longest = max(lengths, default=0.0)
    return round_up(1.4 * longest) if longest > 0 else 1.0
