"""The views over epochs: validation error, K with its savings, and the controller's ratios."""

from typing import Any

import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, GlyphRenderer, LogTicker, Range1d

from ._source import RunSource
from ._theme import (
    FULL_COLOR,
    IC_SAVING_COLOR,
    NEUTRAL_COLOR,
    PR_SAVING_COLOR,
    PRDP_COLOR,
    add_hover,
    as_pane,
    card,
    legend,
    legend_html,
    make_figure,
    whole_decades,
)

SAVING_MARKS = (
    ("area", PR_SAVING_COLOR, "saved by refining late (PR)"),
    ("hatched", IC_SAVING_COLOR, "saved by never converging fully (IC)"),
)
"""What was saved, in a legend."""


class Curves:
    """Three views that share the sources of the two runs, so that what is streamed once moves all of them.

    **Arguments:**

    - `prdp`, `full`: the sources of the PRDP run and of the full-physics run.

    **Attributes:**

    - `error`, `iterations`, `ratios`: the views.
    """

    def __init__(self, prdp: RunSource, full: RunSource):
        self._prdp, self._full = prdp, full
        # Ranges are set here rather than left to the browser: a range with no data yet makes it warn or, with one end
        # fixed, hang, and lines that grow make an automatic one jump.
        self._epochs = Range1d(start=0, end=100)
        self._errors = Range1d(start=1e-3, end=1)
        self._iterations = Range1d(start=0, end=26)
        self._ratios = Range1d(start=-0.05, end=1.45)
        self._ic_area = ColumnDataSource(_no_area())
        self._error_legend, self._iterations_legend = legend(), legend()
        self.error = self._make_error()
        self._pr_area: GlyphRenderer
        self.iterations = self._make_iterations()
        self.ratios = self._make_ratios()
        self.name("PRDP", "full physics")

    def name(self, prdp: str, full: str) -> None:
        """Say in the legends what is compared; an empty name is left out."""
        lines = [entry for entry in (("solid", PRDP_COLOR, prdp), ("dashed", FULL_COLOR, full)) if entry[2]]
        self._error_legend.object = legend_html(*lines)
        self._iterations_legend.object = legend_html(
            *((kind, color, f"K of {name}") for kind, color, name in lines),
            *(SAVING_MARKS if prdp else ()),
        )

    def set_extent(self, epochs: int, iterations: int) -> None:
        """Fix the axes to the length of the race and its largest K."""
        self._errors.update(start=1e-3, end=1)
        self._epochs.update(start=0, end=epochs, reset_start=0, reset_end=epochs)
        self._iterations.update(start=0, end=1.04 * iterations, reset_start=0, reset_end=1.04 * iterations)

    def update(self) -> None:
        """Move the areas of what was saved to the present K; the lines move by themselves."""
        run, prdp, full = self._prdp.run, self._prdp.last, self._full.run
        smallest = min(self._prdp.smallest, self._full.smallest)
        largest = max(self._prdp.largest, self._full.largest)
        if 0 < smallest <= largest:
            start, end = whole_decades(smallest, largest)
            if (start, end) != (self._errors.start, self._errors.end):
                self._errors.update(start=start, end=end, reset_start=start, reset_end=end)
        if run is None or prdp is None:
            self._ic_area.data = _no_area()
            return
        final = int(prdp["next_iterations"] if prdp["epoch"] == 0 else prdp["iterations"])
        whole = run.settings.problem.full_iterations if full is None else full.settings.largest_iterations
        full_iterations = max(whole, final)
        if self._pr_area.glyph.y2 != final:
            self._pr_area.glyph.y2 = final
        self._iterations.end = max(self._iterations.end, 1.04 * full_iterations)
        self._ic_area.data = {
            "left": [0],
            "right": [int(prdp["epoch"])],
            "bottom": [final],
            "top": [full_iterations],
        }

    def _make_error(self) -> pmui.Paper:
        plot = make_figure(
            "Same accuracy? Validation error",
            "epoch",
            "relative error (log scale)",
            y_axis_type="log",
            x_range=self._epochs,
            y_range=self._errors,
        )
        plot.yaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=4)  # labels of a single decade stay apart
        full = plot.line(
            "epoch", "validation", source=self._full.source, color=FULL_COLOR, line_dash="dashed", line_width=2
        )
        prdp = plot.line("epoch", "validation", source=self._prdp.source, color=PRDP_COLOR, line_width=2)
        add_hover(plot, [full, prdp], [("epoch", "@epoch"), ("error", "@validation{0.0000}"), ("K", "@iterations")])
        return card(as_pane(plot), self._error_legend)

    def _make_iterations(self) -> pmui.Paper:
        plot = make_figure(
            "How much physics? K by epoch",
            "epoch",
            "inner iterations K",
            x_range=self._epochs,
            y_range=self._iterations,
        )
        plot.quad(
            left="left", right="right", top="top", bottom="bottom", source=self._ic_area, color=IC_SAVING_COLOR,
            alpha=0.25, hatch_pattern="/", hatch_color=IC_SAVING_COLOR, hatch_alpha=0.35, line_alpha=0,
        )  # fmt: skip
        self._pr_area = plot.varea_step(
            x="epoch", y1="iterations", y2=0, source=self._prdp.source, color=PR_SAVING_COLOR, alpha=0.3,
            step_mode="before",
        )  # fmt: skip
        full = plot.step(
            "epoch", "iterations", source=self._full.source, color=FULL_COLOR, line_dash="dashed", line_width=2,
            mode="before",
        )  # fmt: skip
        prdp = plot.step("epoch", "iterations", source=self._prdp.source, color=PRDP_COLOR, line_width=2, mode="before")
        add_hover(plot, [full, prdp], [("epoch", "@epoch"), ("K", "@iterations"), ("decision", "@decision")])
        return card(as_pane(plot), self._iterations_legend)

    def _make_ratios(self) -> pmui.Paper:
        plot = make_figure(
            "Why refine? The controller's ratios",
            "epoch",
            "ratio of errors",
            x_range=self._epochs,
            y_range=self._ratios,
        )
        data = self._prdp.source
        for name, dash in (("tau_step", "dashed"), ("tau_stop", "dotted")):
            plot.step("epoch", name, source=data, color=NEUTRAL_COLOR, line_dash=dash, line_width=2, mode="before")
        plateau = plot.line("epoch", "plateau_ratio", source=data, color=PRDP_COLOR, line_width=1.5)
        checkpoint = plot.scatter("epoch", "checkpoint_ratio", source=data, size=6, color=IC_SAVING_COLOR)
        refined = plot.scatter("epoch", "refined_ratio", source=data, marker="triangle", size=11, color=PR_SAVING_COLOR)
        add_hover(
            plot,
            [plateau, checkpoint, refined],
            [
                ("epoch", "@epoch"),
                ("r", "@plateau_ratio{0.000}"),
                ("r_c", "@checkpoint_ratio{0.000}"),
                ("τ_step, τ_stop", "@tau_step{0.000}, @tau_stop{0.000}"),
                ("decision", "@decision"),
            ],
        )
        return card(
            as_pane(plot),
            legend(
                ("solid", PRDP_COLOR, "r: error now over error a window ago; above τ_step is a plateau"),
                ("dashed", NEUTRAL_COLOR, "τ_step"),
                (
                    "circle",
                    IC_SAVING_COLOR,
                    "r_c: error now over error at the last refinement; below τ_stop is worth it",
                ),
                ("dotted", NEUTRAL_COLOR, "τ_stop"),
                ("triangle", PR_SAVING_COLOR, "K was refined"),
            ),
        )


def _no_area() -> dict[str, Any]:
    return {"left": [], "right": [], "bottom": [], "top": []}
