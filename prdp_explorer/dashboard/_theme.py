"""Colours that mean the same in every view, and the look that all figures share."""

import html
from collections.abc import Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.models import GlyphRenderer, HoverTool, Title
from bokeh.plotting import figure

# Okabe and Ito's palette, told apart with any of the usual deficiencies of colour vision, on light and on dark.
PRDP_COLOR = "#0085D0"
FULL_COLOR = "#D55E00"
PR_SAVING_COLOR = "#009E73"
IC_SAVING_COLOR = "#E69F00"
NEUTRAL_COLOR = "#8A8A8A"
FIELD_COLORS = (NEUTRAL_COLOR, "#56B4E9", "#CC79A7", "#009E73")
"""Of the fields in the order in which a problem names them."""

FIGURE_HEIGHT = 300


def make_figure(title: str, x_label: str, y_label: str, **options: Any) -> figure:
    """An empty figure in the common look: title, labelled axes, quiet grid, a toolbar that appears on hover."""
    plot = figure(
        **{
            "title": Title(text=title, text_font_size="13px"),
            "x_axis_label": x_label,
            "y_axis_label": y_label,
            "height": FIGURE_HEIGHT,
            "sizing_mode": "stretch_width",
            "tools": "pan,box_zoom,reset,save",
            "min_border_left": 64,
            **options,
        }
    )
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
    "area": '<rect width="28" height="12" fill="{0}" opacity="0.4"/>',
    "hatched": '<rect width="28" height="12" fill="{0}" opacity="0.3"/>'
    '<path d="M2 12L14 0M10 12L22 0M18 12L28 2" stroke="{0}" opacity="0.7"/>',
    "circle": '<circle cx="14" cy="6" r="3.5" fill="{0}"/>',
    "triangle": '<path d="M14 0L20.5 12H7.5Z" fill="{0}"/>',
}


def legend(*entries: tuple[str, str, str]) -> pn.pane.HTML:
    """A legend as text below a plot: it wraps on narrow pages, hides no data, and can be read aloud.

    **Arguments:**

    - `entries`: of each mark its kind (a key of `_SWATCHES`), its colour, and what it means.
    """
    items = "".join(
        '<li style="display:flex;align-items:center;gap:6px">'
        f'<svg width="28" height="12" aria-hidden="true" style="flex:none">{_SWATCHES[kind].format(color)}</svg>'
        f"<span>{html.escape(text)}</span></li>"
        for kind, color, text in entries
    )
    return pn.pane.HTML(
        '<ul style="display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:0;padding:0 8px 6px;'
        f'font-size:12px;line-height:1.4">{items}</ul>',
        sizing_mode="stretch_width",
        margin=0,
    )


def set_title(plot: figure, text: str) -> None:
    """Change the title of a figure."""
    if isinstance(plot.title, Title):
        plot.title.text = text


def add_hover(plot: figure, renderers: Sequence[GlyphRenderer], tooltips: list[tuple[str, str]]) -> None:
    """Show values under the pointer."""
    plot.add_tools(HoverTool(renderers=list(renderers), tooltips=tooltips))


def as_pane(plot: figure) -> pn.pane.Bokeh:
    """A figure as something that Panel lays out and colours light or dark."""
    return pn.pane.Bokeh(plot, sizing_mode="stretch_width", height=plot.height, margin=0)


def card(*contents: Any) -> pmui.Paper:
    """A framed part of the page."""
    return pmui.Paper(*contents, sizing_mode="stretch_width", elevation=1, sx={"p": 1}, margin=0)
