"""Further contenders of a race: other thresholds, another mode or solver, a constant K."""

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..engine import RunSettings, settings_for
from ..refinement import Constant
from ._run_words import change_words, flat_settings
from ._session import notify
from ._theme import LOOKS, name_contender

MOST = len(LOOKS) - 2
"""Contenders beside PRDP and full physics."""

_OWN = ("solver", "differentiation")
"""What a further contender may have of its own beside its controller; the rest is the race's."""


class Further(pn.viewable.Viewer):
    """A list of contenders that a person adds to and takes from; each keeps the settings that it was added with.

    **Arguments:**

    - `get`: gives the settings of PRDP as they are set now; may raise `ValueError`.

    **Attributes:**

    - `contenders`: by label, the controller as plain data, the solver and the mode.
    """

    def __init__(self, get: Callable[[], RunSettings]):
        super().__init__()
        self._get = get
        self.contenders: dict[str, dict[str, Any]] = {}
        self._locked = False
        button: dict[str, Any] = {"variant": "outlined", "size": "small", "icon": "add", "margin": (4, 10)}
        self.add_prdp = pmui.Button(label="Add PRDP as set above", sizing_mode="stretch_width", **button)
        self.add_constant = pmui.Button(label="Add constant K", **button)
        self.constant = pmui.IntInput(label="K", value=5, start=1, size="small", width=120, margin=(4, 10))
        self.add_prdp.on_click(lambda _: self._add(self._get))
        self.add_constant.on_click(lambda _: self._add(self._constant))
        self._list = pmui.Column(sizing_mode="stretch_width", margin=0)
        self._layout = pmui.Column(
            self._list,
            self.add_prdp,
            pmui.Row(self.add_constant, self.constant, sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width",
            margin=0,
        )

    def __panel__(self) -> pmui.Column:
        return self._layout

    def settings(self, scenario: str, choices: Mapping[str, Any]) -> dict[str, RunSettings]:
        """Their settings by label, in a race of this scenario with these choices in common.

        **Raises:** `ValueError` in words for what does not go together.
        """
        return {
            label: settings_for(
                scenario, own["refinement"], **{**choices, **{name: own[name] for name in _OWN}}
            )
            for label, own in self.contenders.items()
        }  # fmt: skip

    def show_contenders(self, contenders: Mapping[str, RunSettings]) -> None:
        """Have these."""
        self.contenders = {label: _own(settings) for label, settings in list(contenders.items())[:MOST]}
        self._draw()

    def lock(self, locked: bool) -> None:
        """Keep the list as it is, or let it be changed again."""
        if locked != self._locked:
            self._locked = locked
            self._draw()

    def _constant(self) -> RunSettings:
        iterations = self.constant.value
        settings = self._get()
        Constant.limits["iterations"].number("iterations", iterations)
        return settings_for(
            settings.scenario, {"kind": "constant", "iterations": iterations}, preset=settings.preset,
            **{name: getattr(settings, name) for name in _OWN},
        )  # fmt: skip

    def _add(self, make: Callable[[], RunSettings]) -> None:
        try:
            settings = make()
        except ValueError as error:
            notify(str(error))
            return
        label = _label(settings)
        if _own(settings) in self.contenders.values():
            notify(f"{label} is among the contenders already; change a setting above first.")
            return
        taken = [each for each in self.contenders if each.split(" #")[0] == label]
        self.contenders[f"{label} #{len(taken) + 1}" if taken else label] = _own(settings)
        self._draw()

    def _remove(self, label: str) -> None:
        del self.contenders[label]
        self._draw()

    def _draw(self) -> None:
        full = len(self.contenders) >= MOST
        for widget in (self.add_prdp, self.add_constant, self.constant):
            widget.disabled = self._locked or full
        rows = []
        for look, label in zip(LOOKS[2:], self.contenders, strict=False):
            words = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 8))
            name_contender(words, look, label)
            remove = pmui.IconButton(
                icon="close", description=f"Remove {label}", size="small", margin=0, disabled=self._locked
            )
            remove.on_click(lambda _, label=label: self._remove(label))
            rows.append(pmui.Row(words, remove, sizing_mode="stretch_width", margin=(0, 4)))
        self._list[:] = rows


def _own(settings: RunSettings) -> dict[str, Any]:
    return {"refinement": dict(settings.refinement), **{name: getattr(settings, name) for name in _OWN}}


def _label(settings: RunSettings) -> str:
    """What it is in a few words: its kind, and what is not the preset's own."""
    kind = settings.refinement["kind"]
    usual = flat_settings(settings_for(settings.scenario, {"kind": kind}, preset=settings.preset).to_json())
    own = flat_settings(settings.to_json())
    names = [name for name in (*settings.refinement, *_OWN) if name != "kind" and own[name] != usual[name]]
    told = [change_words(name if name not in _OWN else "", own[name], None) for name in names]
    if kind == "constant":
        told = [f"K = {own['iterations']}", *(words for words in told if not words.startswith("K "))]
        return ", ".join(told)
    return " ".join(["PRDP" if kind == "prdp" else "PRDP of tolerance", ", ".join(told) or "of the preset"])
