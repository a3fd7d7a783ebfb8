"""The bar below a race that is over: a scrubber over its epochs, and the fork that goes another way from there."""

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from ..engine import Race
from ._following import EpochSlider


class ReplayBar(pn.viewable.Viewer):
    """Offered where a race can be moved in time: where it is a replay, or over and kept.

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
            '<span style="font-size:12px;opacity:.75">Drag to see any epoch. To go another way from there, change '
            "settings in the drawer and press Fork: a new run goes on from this epoch with them.</span>",
            sizing_mode="stretch_width",
            margin=(0, 8),
        )
        self._layout = pmui.Column(
            pmui.Row(self.epoch, self.fork, sizing_mode="stretch_width", margin=0),
            note,
            sizing_mode="stretch_width",
            margin=0,
            visible=False,
        )

    def __panel__(self) -> pmui.Column:
        return self._layout

    def wanted(self) -> int | None:
        """The epoch that a person moved to since this was asked last, if any."""
        wanted, self._wanted = self._wanted, None
        return wanted

    def update(self, race: Race | None, epoch: int) -> None:
        """Show where a race is; None offers nothing."""
        self._layout.visible = race is not None
        if race is None or self._wanted is not None:
            return
        recordings = race.recordings
        last = max(run.epoch for run in race.runs.values())
        end = max(1, last if recordings is None else max(each.last_epoch for each in recordings.values()))
        if self.epoch.end != end:
            self.epoch.end = end
        self._slider.follow(epoch)

    def _want(self, epoch: int) -> None:
        self._wanted = epoch
