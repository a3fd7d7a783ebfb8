"""The bar below a race: how far it is and, once it is over, a scrubber over its epochs and a fork from any of them."""

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from ._following import EpochSlider
from ._shown import Shown


class ReplayBar(pn.viewable.Viewer):
    """Follows the epochs of a race; where it can be moved in time, a replay or over and kept, a person may.

    **Arguments:**

    - `on_fork`: called when a person wants to go another way from the epoch shown.
    """

    def __init__(self, on_fork: Callable[[], None]):
        super().__init__()
        self._wanted: int | None = None
        self._slider = EpochSlider("Epoch", self._want, lambda: True)
        self.epoch = self._slider.widget
        self.fork = pmui.Button(label="Fork", icon="call_split", variant="outlined", size="small", margin=(8, 8))
        self.fork.on_click(lambda _: on_fork())
        note = pn.pane.HTML(
            '<span style="font-size:12px;opacity:.75">Drag to see any epoch again; a race under way waits. To '
            "go another way from there, change settings in the drawer and press Fork.</span>",
            sizing_mode="stretch_width",
            margin=(0, 8),
        )
        self._layout = pmui.Column(
            pmui.Row(self.epoch, self.fork, sizing_mode="stretch_width", margin=0),
            note,
            sizing_mode="stretch_width",
            margin=0,
        )

    def __panel__(self) -> pmui.Column:
        return self._layout

    def wanted(self) -> int | None:
        """The epoch that a person moved to since this was asked last, if any."""
        wanted, self._wanted = self._wanted, None
        return wanted

    def update(self, shown: Shown) -> None:
        """Show where a race is, and whether it can be moved."""
        self.epoch.disabled = not shown.movable
        self.fork.disabled = not shown.movable or shown.loop is not None
        if self._wanted is not None:
            return
        race = shown.race
        if race is None:
            self._slider.follow(0)
            return
        end = shown.epochs
        if race.recordings is not None:
            end = max(each.last_epoch for each in race.recordings.values())
        elif not shown.active:
            end = shown.epoch
        if self.epoch.end != max(end, 1):
            self.epoch.end = max(end, 1)
        self._slider.follow(shown.epoch)

    def _want(self, epoch: int) -> None:
        self._wanted = epoch
