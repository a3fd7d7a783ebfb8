"""A number that a person sets, as a widget."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..refinement import Limits
from ._session import notify


class NumberField:
    """One number: a text field that refuses what is wrong in words, and for thresholds a slider beside it.

    **Arguments:**

    - `label`: for people. `name`: of the setting, as in messages. `limits`: what is accepted.
    - `slider`: what slides to the value, beside it: of numbers, or of labelled values of which it shows the nearest.
    - `on_edit`: called with the new value; may raise `ValueError`, and then the old value is shown again.
    """

    def __init__(self, name: str, label: str, limits: Limits, on_edit: Callable[[float], None], *, slider: Any = None):
        self._name, self._limits, self._on_edit, self._slider = name, limits, on_edit, slider
        self._showing = False
        self.value: float = limits.maximum
        tip = f"{limits.doc[0].upper()}{limits.doc[1:]}; {limits.range}."
        self._text = pmui.TextInput(
            label=label, description=tip, size="small", sizing_mode="stretch_width", margin=(7, 10)
        )
        self._text.param.watch(lambda event: self._edit(event.new), "value")
        self._widgets = [self._text]
        if slider is not None:
            slider.param.watch(lambda event: self._edit(event.new), "value_throttled")
            short = label.split(":")[0]
            self._text.param.update(label=short if len(short) < 8 else "value", sizing_mode=None, width=88)
            self._widgets = [slider, self._text]
        for widget in self._widgets:
            # Panel waits for more changes before it tells of one; what is watched here comes one by one.
            widget._debounce = 0  # pyrefly: ignore[read-only]
        self.view = pmui.Row(*self._widgets, sizing_mode="stretch_width", margin=0)

    def show(self, value: float) -> None:
        """Show a value; this is no edit."""
        self.value = self._limits.kind(value)
        self._showing = True
        try:
            self._text.value = repr(self.value)
            self._text.param.trigger("value")  # also where the browser shows something refused
            if isinstance(self._slider, pmui.DiscreteSlider):
                self._slider.value = min(self._slider.values, key=lambda each: abs(each - self.value))
            elif self._slider is not None:
                self._slider.start = min(self._slider.start, self.value)
                self._slider.value = self.value
        finally:
            self._showing = False

    def lock(self, locked: bool) -> None:
        """Keep the value from being edited, or allow it again."""
        for widget in self._widgets:
            widget.disabled = locked

    def _edit(self, entered: Any) -> None:
        if self._showing:
            return
        try:
            value = self._parse(entered)
            self._limits.check(self._name, value)
            if value != self.value:
                self._on_edit(value)
        except ValueError as error:
            notify(str(error))
            value = self.value
        self.show(value)

    def _parse(self, entered: Any) -> Any:
        """The number that was entered, or what was entered, for the limits to refuse."""
        if not isinstance(entered, str):  # the slider's
            return entered
        for kind in (int, float):
            try:
                return kind(entered)
            except ValueError:
                continue
        return entered


def make_slider(label: str, start: float, end: float, step: float) -> pmui.FloatSlider:
    """A slider for a `NumberField`."""
    return pmui.FloatSlider(label=label, start=start, end=end, value=end, step=step, **SLIDER)


SLIDER: dict[str, Any] = {"size": "small", "sizing_mode": "stretch_width", "margin": (0, 4, 0, 16)}


def heading(title: str, note: str = "") -> pn.pane.HTML:
    """The heading of a part of the drawer, with a note beneath."""
    explanation = f'<span style="font-size:12px;opacity:.75"> {note}</span>' if note else ""
    return pn.pane.HTML(
        f'<h2 style="font-size:14px;margin:10px 10px 2px">{title}</h2><div style="margin:0 10px">{explanation}</div>',
        sizing_mode="stretch_width",
        margin=0,
    )
