"""Colours that mean the same in every view, and the look that all figures share."""

import html
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import ColumnDataSource, GlyphRenderer, HoverTool, Title
from bokeh.palettes import Viridis256, interp_palette
from bokeh.plotting import figure

# From Okabe and Ito's palette; the others were searched for so that all are told apart with any of the usual
# deficiencies of colour vision, on light and on dark. A test measures it.
PRDP_COLOR = "#0085D0"
FULL_COLOR = "#D55E00"
PR_SAVING_COLOR = "#69965A"
IC_SAVING_COLOR = "#E69F00"
NEUTRAL_COLOR = "#8A8A8A"
WHAT_IF_COLOR = "#8C3CFC"
PRDP_LABEL = "PRDP"
FULL_LABEL = "full physics"


class Look(NamedTuple):
    """How a contender is drawn in every view: a colour, a dash and a marker, so that no one of them is needed."""

    color: str
    dash: str
    marker: str


LOOKS = (
    Look(PRDP_COLOR, "solid", "circle"),
    Look(FULL_COLOR, "dashed", "square"),
    Look("#965A96", "dotdash", "triangle"),
    Look("#7869F0", "dotted", "diamond"),
    Look("#E12D3C", "dashdot", "hex"),
)
"""By place: PRDP's, that of what it is compared with, and those of further contenders."""
FIELD_COLORS = (NEUTRAL_COLOR, "#0096FF", "#A55AA5", "#4B874B", "#C3780F")
"""Of the fields in the order in which a problem names them."""

# Kovesi's CET-D1, steps of equal lightness: its ends stand out from a white and from a black page.
DIVERGING_PALETTE = interp_palette(
    ("#2050DA", "#7075E1", "#A09CE7", "#C9C5EC", "#EDE7E9", "#F0BCAF", "#E68A75", "#D5563D", "#BF0205"), 255
)
"""Of values of both signs; 0 is in its middle."""

SEQUENTIAL_PALETTE = Viridis256
"""Of values of one sign."""

FIGURE_HEIGHT = 300

CONTROL: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (5, 20)}
"""The look of the widgets within a view."""


def make_figure(title: str, x_label: str, y_label: str, **options: Any) -> figure:
    """An empty figure in the common look: title, labelled axes, quiet grid, a toolbar that appears on hover."""
    common: dict[str, Any] = {
        "title": Title(text=title, text_font_size="13px"),
        "x_axis_label": x_label,
        "y_axis_label": y_label,
        "height": FIGURE_HEIGHT,
        "sizing_mode": "stretch_width",
        "tools": "pan,box_zoom,reset,save",
        "min_border_left": 64,
    }
    plot = figure(**(common | options))
    plot.toolbar.autohide = True
    plot.toolbar.logo = None
    plot.min_border_right = 14
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "12px"
    plot.axis.major_label_text_font_size = "11px"
    plot.grid.grid_line_alpha = 0.3
    return plot


_SWATCHES = {
    "solid": '<path d="M0 6H28" stroke="{0}" stroke-width="2.5"/>',
    "dashed": '<path d="M0 6H28" stroke="{0}" stroke-width="2.5" stroke-dasharray="7 4"/>',
    "dotted": '<path d="M0 6H28" stroke="{0}" stroke-width="2.5" stroke-dasharray="2 3"/>',
    "dotdash": '<path d="M0 6H28" stroke="{0}" stroke-width="2.5" stroke-dasharray="2 3 8 3"/>',
    "dashdot": '<path d="M0 6H28" stroke="{0}" stroke-width="2.5" stroke-dasharray="10 3 2 3 2 3"/>',
    "area": '<rect width="28" height="12" fill="{0}" opacity="0.4"/>',
    "hatched": '<rect width="28" height="12" fill="{0}" opacity="0.3"/>'
    '<path d="M2 12L14 0M10 12L22 0M18 12L28 2" stroke="{0}" opacity="0.7"/>',
    "square": '<rect x="8" width="12" height="12" fill="{0}"/>',
    "inverted": '<path d="M14 12L7.5 0H20.5Z" fill="{0}"/>',
    "circle": '<circle cx="14" cy="6" r="3.5" fill="{0}"/>',
    "triangle": '<path d="M14 0L20.5 12H7.5Z" fill="{0}"/>',
    "diamond": '<path d="M14 0L19 6L14 12L9 6Z" fill="{0}"/>',
    "hex": '<path d="M10.5 0H17.5L21 6L17.5 12H10.5L7 6Z" fill="{0}"/>',
    "cross": '<path d="M9 1L19 11M19 1L9 11" stroke="{0}" stroke-width="2.5"/>',
}


_SWATCHES["x"] = _SWATCHES["cross"]  # as Bokeh calls its marker


def legend(*entries: tuple[str, str, str]) -> pn.pane.HTML:
    """A legend as text below a plot: it wraps on narrow pages, hides no data, and can be read aloud.

    **Arguments:**

    - `entries`: of each mark its kind (a key of `_SWATCHES`, or several with spaces between), its colour, and what it
      means.
    """
    return pn.pane.HTML(legend_html(*entries), sizing_mode="stretch_width", margin=0)


def legend_html(*entries: tuple[str, str, str]) -> str:
    """What `legend` shows."""
    items = "".join(
        '<li style="display:flex;align-items:center;gap:6px">'
        f'<svg width="28" height="12" aria-hidden="true" style="flex:none">{_swatch(kind, color)}</svg>'
        f"<span>{html.escape(text)}</span></li>"
        for kind, color, text in entries
    )
    return (
        '<ul style="display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:0;padding:0 8px 6px;'
        f'font-size:12px;line-height:1.4">{items}</ul>'
    )


def _swatch(kind: str, color: str) -> str:
    return "".join(_SWATCHES[part] for part in kind.split()).format(color)


def contender_heading() -> pn.pane.HTML:
    """A line above what belongs to one contender; `name_contender` says to which."""
    return pn.pane.HTML(sizing_mode="stretch_width", margin=(6, 8, 0, 8))


def name_contender(heading: pn.pane.HTML, look: Look, text: str) -> None:
    """Change the words of a heading, after the contender's line and marker."""
    swatch = _swatch(f"{look.dash} {look.marker}", look.color)
    heading.object = (
        '<div style="display:flex;align-items:center;gap:8px;font-size:14px;line-height:1.5">'
        f'<svg width="28" height="12" aria-hidden="true" style="flex:none">{swatch}</svg>'
        f"<span>{html.escape(text)}</span></div>"
    )


def whole_decades(smallest: float, largest: float) -> tuple[float, float]:
    """The ends of a logarithmic axis for these values, above 0: such an axis has labels and moves rarely."""
    # A hair below: rounding makes two decades less than two, of which Bokeh labels the upper part only.
    start = 10.0 ** np.floor(np.log10(smallest)) * (1 - 1e-9)
    return float(start), float(10.0 ** np.floor(np.log10(largest) + 1))


_STEPS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)


def round_up(value: float, steps: Sequence[float] = _STEPS) -> float:
    """The smallest of these steps, times a power of ten, that is at least as large as a positive value."""
    digit = 10.0 ** math.floor(math.log10(value))
    return next((step * digit for step in steps if step * digit >= value), 10 * digit)


def set_title(plot: figure, text: str) -> None:
    """Change the title of a figure."""
    if isinstance(plot.title, Title):
        plot.title.text = text


def add_hover(plot: figure, renderers: Sequence[GlyphRenderer], tooltips: list[tuple[str, str]]) -> None:
    """Show values under the pointer."""
    plot.add_tools(HoverTool(renderers=list(renderers), tooltips=tooltips))


EDIT_MARK = ("inverted", NEUTRAL_COLOR, "an edit: point at it")
"""What `add_edit_marks` draws, in a legend."""


def add_edit_marks(plot: figure, column: str, sources: Sequence[ColumnDataSource]) -> list[GlyphRenderer]:
    """Mark where contenders were edited, by place, and tell under the pointer what was changed."""
    marks = [
        plot.scatter(
            "epoch", column, source=source, marker="inverted_triangle", size=11, color=look.color,
            line_color=NEUTRAL_COLOR,
        )
        for source, look in zip(sources, LOOKS, strict=False)
    ]  # fmt: skip
    add_hover(plot, marks, [("edit", "@message")])
    return marks


def as_pane(plot: figure) -> pn.pane.Bokeh:
    """A figure as something that Panel lays out and colours light or dark."""
    return pn.pane.Bokeh(plot, sizing_mode="stretch_width", height=plot.height, margin=0)


_WIDER_THAN = {"sm": 260, "md": 620, "lg": 840}
"""Pixels from which on a size counts, of what the views have for themselves: Material UI's, less the drawer."""

FITTED = {"container-type": "inline-size"}
"""The style of what holds views, by whose width they lay themselves out."""


def grid(*cells: tuple[Any, dict[str, int]], gap: int = 0, margin: int = 0) -> pn.Column:
    """Cells of so many twelfths of the width from a width of what is `FITTED` on ("sm", "md", "lg"), else all of it.

    Of Panel's columns, since figures in Material UI's grid stay without axes when something else on the page changes
    its size while that draws itself anew.
    """
    rules = [":host > * { grid-column: span 12 }"]
    for width, pixels in _WIDER_THAN.items():
        for size in {sizes[width] for _, sizes in cells if width in sizes}:
            rules.append(
                f"@container (min-width: {pixels}px) {{ :host > .{width}-{size} {{ grid-column: span {size} }} }}"
            )
    return pn.Column(
        *(
            pn.Column(
                view,
                css_classes=[f"{width}-{size}" for width, size in sizes.items()],
                sizing_mode="stretch_width",
                margin=0,
            )
            for view, sizes in cells
        ),
        sizing_mode="stretch_width",
        margin=margin,
        styles={"display": "grid", "grid-template-columns": "repeat(12, minmax(0, 1fr))", "gap": f"{gap}px"},
        stylesheets=["\n".join(rules)],
    )


def tab_grid(*cells: tuple[Any, dict[str, int]]) -> pn.Column:
    """`grid` of the cards that fill a tab."""
    return grid(*cells, gap=10, margin=10)


def make_image_figure(title: str, x_label: str, y_label: str, **options: Any) -> figure:
    """A figure whose frame is square, since its borders take as much of the height as of the width."""
    plot = make_figure(
        title,
        x_label,
        y_label,
        **{
            "tools": "",
            "toolbar_location": None,
            "sizing_mode": "scale_width",
            "aspect_ratio": 1,
            "min_border_left": 62,
            "min_border_bottom": 54,
            "min_border_top": 28,
            **options,
        },
    )
    plot.min_border_right = 20
    if isinstance(plot.title, Title):
        plot.title.update(offset=-44)  # from above the labels of the axis on, so that it has a place on a telephone
    plot.grid.visible = False
    return see_through(plot)


def see_through(plot: figure) -> figure:
    """Let the card be seen behind a figure: the page's theme gives one that comes later a background of its own.

    Without an outline, which that theme would draw in the dark only, and Bokeh 3.9 around the last mark as well.
    """
    plot.background_fill_alpha = plot.border_fill_alpha = 0
    plot.outline_line_color = None
    return plot


def image_row(plots: Sequence[figure]) -> pn.Column:
    """Figures with square frames: all in a row on wide pages, fewer on narrower ones, two on a telephone."""
    side = f"max({99.9 / len(plots):.3f}%, min(48%, 190px))"
    return pn.Column(
        *(pn.pane.Bokeh(plot, sizing_mode="scale_width", aspect_ratio=1, margin=0) for plot in plots),
        sizing_mode="stretch_width",
        margin=0,
        styles={
            "display": "grid",
            "grid-template-columns": f"repeat(auto-fill, minmax({side}, 1fr))",
            "max-width": f"{400 * len(plots)}px",
        },
    )


PLAIN_PAGE = ":host { --plain-page: ; }"
"""The style of what holds cards on a page where neither `pmui.Page` nor a notebook colours figures."""

_TEXT, _QUIET = "var(--panel-on-surface-color)", "var(--panel-on-secondary-color)"
AROUND_DATA = {
    "--bk-background-fill-color": "transparent",
    "--bk-border-fill-color": "transparent",
    "--bk-text-color": _TEXT,
    "--bk-axis-label-text-color": _TEXT,
    "--bk-major-label-text-color": _QUIET,
    "--bk-axis-line-color": _QUIET,
    "--bk-major-tick-line-color": _QUIET,
    "--bk-minor-tick-line-color": _QUIET,
}
"""There, what Bokeh draws around the data is light or dark as the card."""


def card(*contents: Any) -> pmui.Paper:
    """A framed part of the page."""
    # Elsewhere `--plain-page` is not known, and no such value counts.
    colors = {name: f"var(--plain-page) {color}" for name, color in AROUND_DATA.items()}
    return pmui.Paper(*contents, sizing_mode="stretch_width", elevation=1, sx={"p": 1, **colors}, margin=0)


def fill(place: pn.Column, *contents: Any) -> None:
    """Put contents with figures into a place that is on the page already; figures come there in no other way.

    Bokeh 3.9 lays everything out whenever something changes its size, and fails ("… reading 'top_panel'") on a figure
    that was made but not put into the page yet. A container of Material UI puts what it is given into the page some
    time after it was made, and Panel's column what comes first only when its siblings were made as well. A column of
    Panel with one child does both at once.
    """
    place[:] = [pn.Column(*contents, sizing_mode="stretch_width", margin=0)]
