"""The chooser of the contender that a view looks at."""

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from ._session import locked
from ._shown import Contender, Shown


class ContenderChooser:
    """A widget that offers the contenders of a race.

    **Arguments:**

    - `on_choice`: called with the contender that a person chooses, while the document is locked.
    - `options`: of the widget.

    **Attributes:**

    - `widget`: its value is a place, or None where there is nobody.
    """

    def __init__(self, on_choice: Callable[[Contender], None], **options: Any):
        self._on_choice = on_choice
        self._contenders: list[Contender] = []
        self._offering = False
        self.widget = pmui.Select(label="Contender", **options)
        self.widget.param.watch(lambda _: self._choose(), "value")

    @property
    def needed(self) -> bool:
        """Whether there is more than one to choose from."""
        return len(self._contenders) > 1

    def offer(self, shown: Shown) -> tuple[Contender | None, bool]:
        """Offer the contenders of another race.

        **Returns:** the one to look at, and whether the race is the same, moved: then it is the one chosen before, else
        the first.
        """
        before, self._contenders = self._contenders, shown.contenders
        moved = [each.run.id for each in before] == [each.run.id for each in self._contenders]
        chosen = next((each for each in self._contenders if moved and each.place == self.widget.value), None)
        chosen = chosen or next(iter(self._contenders), None)
        self._offering = True
        try:
            names = {each.label: each.place for each in self._contenders}
            self.widget.param.update(options=names, value=None if chosen is None else chosen.place)
            if chosen is not None:  # without one, Panel 1.9 sets the value over and over
                self.widget.param.trigger("value")  # the browser knows it by its label, which may be another now
        finally:
            self._offering = False
        return chosen, moved

    def _choose(self) -> None:
        if not self._offering:
            chosen = next(each for each in self._contenders if each.place == self.widget.value)
            locked(lambda: self._on_choice(chosen))
