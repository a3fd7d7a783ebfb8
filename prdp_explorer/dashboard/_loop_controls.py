"""The numbers of a person's own loop, as sliders."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from ..engine import LoopSettings
from ..problems import title_of
from ..refinement import Limits
from ._number_field import SLIDER, NumberField, heading
from ._theme import LOOKS

ORDERS_OF_MAGNITUDE = 30.0
"""From such a ratio of its ends on a range of positive numbers is divided evenly by ratio."""

STEPS = 60


class LoopControls(pn.viewable.Viewer):
    """What the author of a loop declared to be changed while it runs; hidden where no loop is shown.

    **Arguments:**

    - `on_live_edit`: called with the places of contenders and the changes to make; may raise `ValueError`.

    **Attributes:**

    - `fields`: the widgets by name.
    """

    def __init__(self, on_live_edit: Callable[[Sequence[int], dict[str, Any]], None]):
        super().__init__()
        self._on_live_edit = on_live_edit
        self._offered: Any = None
        self.fields: dict[str, NumberField] = {}
        self._layout = pn.Column(sizing_mode="stretch_width", margin=0, visible=False)

    def __panel__(self) -> pn.Column:
        return self._layout

    def look_at(self, settings: LoopSettings | None) -> None:
        """Offer the controls of a loop; None hides them."""
        self._layout.visible = settings is not None
        if settings is None:
            return
        offered = settings.scenario, dict(settings.control_limits)
        if offered != self._offered:
            self._offered = offered
            self.fields = {name: self._field(name, limits) for name, limits in settings.control_limits.items()}
            note = (
                "Its code runs where you started it. It takes what you change here before the next epoch."
                if self.fields
                else "Its code runs where you started it. It declares no control of its own: session.control(…) does."
            )
            title = heading(f"Your loop: {html.escape(title_of(settings.scenario))}", html.escape(note))
            self._layout[:] = [title, *(field.view for field in self.fields.values())]
        self.follow(settings)

    def follow(self, settings: LoopSettings) -> None:
        """Show the values that the loop has by now, and controls that it has declared since."""
        if settings.control_limits.keys() != self.fields.keys():
            self.look_at(settings)
        for name, value in settings.controls.items():
            if self.fields[name].value != value:
                self.fields[name].show(value)

    def _field(self, name: str, limits: Limits) -> NumberField:
        def edit(value: float) -> None:
            self._on_live_edit(tuple(range(len(LOOKS))), {name: value})

        return NumberField(name, name, limits, edit, slider=_slider(name, limits))


def _slider(name: str, limits: Limits) -> Any:
    low, high = limits.minimum, limits.maximum
    if limits.kind is int:
        return pmui.IntSlider(label=name, start=int(low), end=int(high), value=int(high), **SLIDER)
    if low > 0 and high / low >= ORDERS_OF_MAGNITUDE:
        values = [float(f"{value:.3g}") for value in np.geomspace(low, high, STEPS + 1)]
        options = {f"{value:g}": value for value in [low, *values[1:-1], high]}
        return pmui.DiscreteSlider(label=name, options=options, value=high, **SLIDER)
    return pmui.FloatSlider(label=name, start=low, end=high, value=high, step=(high - low) / STEPS, **SLIDER)
