"""The views of a race by epoch, iterations or seconds: validation error, and K with what it saves."""

from typing import Any

import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, GlyphRenderer, LogTicker, Range1d
from bokeh.plotting import figure

from ._pointer import Pointer
from ._source import AXES, RunSource, draw
from ._theme import (
    EDIT_MARK,
    FULL_LABEL,
    IC_SAVING_COLOR,
    LOOKS,
    NEUTRAL_COLOR,
    PR_SAVING_COLOR,
    PRDP_COLOR,
    PRDP_LABEL,
    add_edit_marks,
    add_hover,
    as_pane,
    card,
    legend,
    legend_html,
    make_figure,
    round_up,
    whole_decades,
)

SAVING_MARKS = (
    ("area", PR_SAVING_COLOR, "saved by refining late (PR)"),
    ("hatched", IC_SAVING_COLOR, "saved by never converging fully (IC)"),
)
"""What was saved, in a legend."""


class Curves:
    """Views that share the sources of the contenders, so that what is streamed once moves all of them.

    **Arguments:**

    - `sources`: of the contenders by place, that of PRDP first, then that of what it is compared with.
    - `pointer`: what shows the epoch pointed at in all views; None for none.

    **Attributes:**

    - `error`, `iterations`: the views.
    """

    def __init__(self, *sources: RunSource, pointer: Pointer | None = None):
        self._sources, self._pointer = sources, pointer
        # Ranges are set here rather than left to the browser: a range with no data yet makes it warn or, with one end
        # fixed, hang, and lines that grow make an automatic one jump.
        self._along = Range1d(start=0, end=100)
        self._errors = Range1d(start=1e-3, end=1)
        self._iterations = Range1d(start=0, end=26)
        self._epochs, self._reach = 100, 100.0
        self._column = "epoch"
        self._drawn: list[GlyphRenderer] = []
        self._ic_area = ColumnDataSource(_no_area())
        self._error_legend, self._iterations_legend = legend(), legend()
        self._plots: list[figure] = []
        self.error = self._make_error()
        self._pr_area: GlyphRenderer
        self.iterations = self._make_iterations()
        self.name(PRDP_LABEL, FULL_LABEL)

    def name(self, *names: str) -> None:
        """Say in the legends what is compared, by place; an empty name is left out."""
        lines = [(look.dash, look.color, name) for look, name in zip(LOOKS, names, strict=False) if name]
        self._error_legend.object = legend_html(*lines, EDIT_MARK)
        self._iterations_legend.object = legend_html(
            *((dash, color, f"K of {name}") for dash, color, name in lines),
            *(SAVING_MARKS if names[:1] != ("",) else ()),
        )

    def set_extent(self, epochs: int, iterations: int) -> None:
        """Fix the axes to the length of the race and its largest K."""
        self._errors.update(start=1e-3, end=1)
        self._epochs = epochs
        self._iterations.update(start=0, end=1.04 * iterations, reset_start=0, reset_end=1.04 * iterations)
        self._begin_along()

    def zoom(self, epochs: int) -> None:
        """Show the first epochs alone, until there are more; Reset in the toolbar shows all there are to be."""
        self._reach = self._along.end = float(epochs)

    def begin_over(self, axis: str) -> None:
        """Let the extent of what is shown next be along this key of `AXES`; `draw_over` follows once that is shown.

        Not before: Bokeh 3.9 fails on an area whose column changes and then its length, in one message.
        """
        self._column = AXES[axis]

    def draw_over(self, axis: str) -> None:
        """Draw over what is meant by this key of `AXES`."""
        self._column = AXES[axis]
        for renderer in self._drawn:
            renderer.glyph.x = self._column
        for plot in self._plots:
            plot.xaxis.axis_label = AXIS_LABELS[self._column]
        if self._pointer is not None:
            self._pointer.use(self._column)
        self._begin_along()
        self.update()

    def update(self) -> None:
        """Move the axes, and the areas of what was saved, to the present K; the lines move by themselves."""
        smallest = min(source.smallest for source in self._sources)
        largest = max(source.largest for source in self._sources)
        if 0 < smallest <= largest:
            start, end = whole_decades(smallest, largest)
            if (start, end) != (self._errors.start, self._errors.end):
                self._errors.update(start=start, end=end, reset_start=start, reset_end=end)
        self._widen_along()
        prdp, full = self._sources[0], self._sources[1].run
        if prdp.run is None or prdp.last is None:
            draw(self._ic_area, _no_area())
            return
        last = prdp.last
        final = int(last["next_iterations"] if last["epoch"] == 0 else last["iterations"])
        whole = prdp.run.settings.problem.full_iterations if full is None else full.settings.largest_iterations
        full_iterations = max(whole, final)
        if self._pr_area.glyph.y2 != final:
            self._pr_area.glyph.y2 = final
        self._iterations.end = max(self._iterations.end, 1.04 * full_iterations)
        area = {"left": [0], "right": [last[self._column].item()], "bottom": [final], "top": [full_iterations]}
        draw(self._ic_area, area)

    def _begin_along(self) -> None:
        self._reach = float(self._epochs if self._column == "epoch" else 1e-3)
        self._along.update(start=0, end=self._reach, reset_start=0, reset_end=self._reach)
        self._widen_along()

    def _widen_along(self) -> None:
        """Where the end is not known before, move it in steps; from a zoom, to the end."""
        reached = max(
            (float(source.last[self._column]) for source in self._sources if source.last is not None), default=0
        )
        if reached > self._reach:
            self._reach = float(self._epochs) if self._column == "epoch" else round_up(1.1 * reached)
            self._along.update(end=self._reach, reset_end=self._reach)

    def _make(self, title: str, label: str, **options: Any) -> figure:
        plot = make_figure(title, "epoch", label, x_range=self._along, min_border_left=58, **options)
        self._plots.append(plot)
        if self._pointer is not None:
            self._pointer.attach(plot, any_axis=True)
        return plot

    def _make_error(self) -> pmui.Paper:
        plot = self._make(
            "Same accuracy? Validation error", "relative error (log scale)", y_axis_type="log", y_range=self._errors
        )
        plot.yaxis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=4)  # labels of a single decade stay apart
        lines = [
            plot.line("epoch", "validation", source=source.source, color=look.color, line_dash=look.dash, line_width=2)
            for source, look in reversed(list(zip(self._sources, LOOKS, strict=False)))
        ]
        self._drawn += lines
        add_hover(plot, lines, [("epoch", "@epoch"), ("error", "@validation{0.0000}"), ("K", "@iterations")])
        self._drawn += add_edit_marks(plot, "validation", [source.edits for source in self._sources])
        return card(as_pane(plot), self._error_legend)

    def _make_iterations(self) -> pmui.Paper:
        plot = self._make("How much physics? K", "inner iterations K", y_range=self._iterations)
        plot.quad(
            left="left", right="right", top="top", bottom="bottom", source=self._ic_area, color=IC_SAVING_COLOR,
            alpha=0.25, hatch_pattern="/", hatch_color=IC_SAVING_COLOR, hatch_alpha=0.35, line_alpha=0,
        )  # fmt: skip
        self._pr_area = plot.varea_step(
            x="epoch", y1="iterations", y2=0, source=self._sources[0].source, color=PR_SAVING_COLOR, alpha=0.3,
            step_mode="before",
        )  # fmt: skip
        steps = [
            plot.step(
                "epoch", "iterations", source=source.source, color=look.color, line_dash=look.dash, line_width=2,
                mode="before",
            )
            for source, look in reversed(list(zip(self._sources, LOOKS, strict=False)))
        ]  # fmt: skip
        self._drawn += [self._pr_area, *steps]
        add_hover(plot, steps, [("epoch", "@epoch"), ("K", "@iterations"), ("decision", "@decision")])
        self._drawn += add_edit_marks(plot, "iterations", [source.edits for source in self._sources])
        return card(as_pane(plot), self._iterations_legend)

    def ratios(self) -> pmui.Paper:
        """The controller's ratios of PRDP, by epoch."""
        plot = make_figure(
            "Why refine? The controller's ratios",
            "epoch",
            "ratio of errors",
            x_range=self._along,
            y_range=Range1d(start=-0.05, end=1.45),
        )
        data = self._sources[0].source
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


AXIS_LABELS = {
    "epoch": "epoch",
    "cumulative_iterations": "inner iterations so far",
    "cumulative_seconds": "seconds of computing so far",
}
"""The axes by column, in full."""


def _no_area() -> dict[str, Any]:
    return {"left": [], "right": [], "bottom": [], "top": []}
