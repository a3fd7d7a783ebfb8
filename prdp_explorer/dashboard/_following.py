"""A slider of epochs that follows training, and that a person moves as well."""

import time
from collections import deque
from collections.abc import Callable

import panel_material_ui as pmui

from ._theme import CONTROL

ECHO_SECONDS = 10.0
"""How late a busy browser may report an epoch that a slider was set to here. It is not taken for a person's choice
unless the slider was also released there."""


class EpochSlider:
    """Tells what a person chose from what it was set to by `follow`.

    **Arguments:**

    - `label`: for people.
    - `on_choose`: called with the epoch that a person chose.
    - `follows`: whether it is being set from here at present, so that reports of that are to be expected.

    **Attributes:**

    - `widget`: the slider.
    """

    def __init__(self, label: str, on_choose: Callable[[int], None], follows: Callable[[], bool]):
        # Without Material UI's transitions, which would have the browser draw each frame while the slider follows.
        still = {"& .MuiSlider-thumb, & .MuiSlider-track": {"transition": "none"}}
        self.widget = pmui.IntSlider(label=label, start=0, end=100, value=0, sx=still, **CONTROL)
        self._on_choose, self._follows = on_choose, follows
        self._sent: deque[tuple[int, float]] = deque(maxlen=128)
        self._moving = False
        self.widget.param.watch(lambda event: self._choose(event.new, released=False), "value")
        self.widget.param.watch(lambda event: self._choose(event.new, released=True), "value_throttled")

    def follow(self, epoch: int) -> None:
        """Show an epoch; this is no choice."""
        if self.widget.value != epoch:
            self._sent.append((epoch, time.monotonic()))
            self._move(epoch)

    def _move(self, epoch: int) -> None:
        self._moving = True
        try:
            self.widget.value = epoch
        finally:
            self._moving = False

    def _choose(self, epoch: int, *, released: bool) -> None:
        echo = any(epoch == sent and time.monotonic() - when < ECHO_SECONDS for sent, when in self._sent)
        if self._moving or (self._follows() and echo and not released):
            return
        self._move(epoch)
        self._on_choose(epoch)
