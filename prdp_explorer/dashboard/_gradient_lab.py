"""The gradient lab: how good the gradient of a coarse solve is, by mode and by K, now and over the run."""

import html
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..engine import GradientLab, LoopSettings
from ._chooser import ContenderChooser
from ._gradient_figures import ByCount, OverEpochs, Probe
from ._session import locked
from ._shown import Contender, Shown
from ._theme import card, fill, tab_grid

RHYTHMS = {"off": 0.0, "every 2 s": 2.0, "every 10 s": 10.0}
"""Seconds between two probes of a run under way, in words."""

SHARE = 0.2
"""The share of the time that these probes may take: training waits for them."""

_ABOUT = (
    "K iterations give an approximate solution, and an approximate gradient to learn from. Here it is compared with "
    "the converged gradient, of a solve and an adjoint taken to rounding: at the parameters of now, on the first batch "
    "of the training data. What is small enough is as good as full physics; what points elsewhere misleads."
)
_START = "Press “Compare gradients now” to compare all differentiation modes at K from 1 to full physics."
_NOT_BEGUN = "There is something to compare when training begins."
_LOOP = "A loop of one's own has its gradients to itself: what is not trained by the engine cannot be compared."
_COMPUTING = (
    "Computing… A mode is compiled the first time, which takes seconds, or minutes for a large problem. Training goes "
    "on meanwhile, and waits only for the probe itself."
)

Compare = Callable[..., Future[GradientLab]]
"""As `Engine.gradient_lab`."""


class _Spent:
    """What was found out about one run, and what it cost."""

    def __init__(self):
        self.lab: GradientLab | None = None
        self.history: dict[int, Probe] = {}
        self.probes, self.seconds = 0, 0.0
        self.asked_at: int | None = None  # the epoch at which the rhythm asked last


class GradientLabView(pn.viewable.Viewer):
    """Compares gradients of one contender when a person asks for it, and the one that trains at a rhythm, while seen.

    **Arguments:**

    - `compare`: what computes it in the background.

    **Attributes:**

    - `contender`, `compare_now`, `rhythm`: the widgets. `rhythm.value` is in seconds, 0 for off.
    """

    def __init__(self, compare: Compare):
        super().__init__()
        self._compare = compare
        self._contender: Contender | None = None
        self._of: dict[str, _Spent] = {}
        self._asked: tuple[str, str | None, Future[GradientLab]] | None = None  # run, mode of a probe, answer
        self._wanted = False
        self._due = 0.0
        self._chooser = ContenderChooser(self._show, size="small", width=200, margin=(14, 8, 4, 8))
        self.contender = self._chooser.widget
        self.compare_now = pmui.Button(
            label="Compare gradients now", icon="compare", size="small", margin=(14, 8, 4, 8)
        )
        self.compare_now.on_click(lambda _: locked(self._press))
        self.rhythm = pmui.RadioButtonGroup(
            label="Probe the gradient that trains",
            options=RHYTHMS,
            value=0.0,
            size="small",
            width=300,
            margin=(6, 8, 4, 8),
            sx={"& .MuiToggleButton-root": {"textTransform": "none", "whiteSpace": "nowrap"}},  # s, not S
        )
        self._status, self._costs, self._subject = (
            pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 8)) for _ in range(3)
        )
        self._by_count = ByCount()
        self._over_epochs = OverEpochs()
        self._compared, self._probed = (pn.Column(sizing_mode="stretch_width", margin=0) for _ in "12")
        heading = pn.pane.HTML(
            f'<h3 style="font-size:15px;margin:6px 0 2px">Gradient lab</h3>'
            f'<p style="font-size:13px;line-height:1.5;margin:0;opacity:.85">{_ABOUT}</p>',
            sizing_mode="stretch_width",
            margin=(0, 8),
        )
        controls = pmui.FlexBox(self.contender, self.compare_now, self.rhythm, align_items="flex-end")
        self._layout = tab_grid(
            (card(heading, controls, self._status, self._costs), {}),
            (self._compared, {}),
            (self._probed, {}),
        )
        self._show(None)

    def __panel__(self) -> pn.Column:
        return self._layout

    def look_at(self, shown: Shown) -> None:
        """Offer the contenders of another race, and show the first; of the same one, moved, that which was shown."""
        chosen, moved = self._chooser.offer(shown)
        self.contender.visible = self._chooser.needed
        if not moved:
            self._of = {}
        self._show(chosen)

    def know(self, run_id: str, lab: GradientLab) -> None:
        """Have the comparison of a run that was made before; it is shown while the run is looked at."""
        self._of.setdefault(run_id, _Spent()).lab = lab
        if self._contender is not None and self._contender.run.id == run_id:
            self._draw(full=True)

    def update(self) -> None:
        """Show what was computed since, and ask for what is due."""
        if self._asked is not None and self._asked[2].done():
            self._take()
        contender = self._contender
        if contender is None or isinstance(contender.run.settings, LoopSettings):
            return
        run, spent = contender.run, self._spent(contender)
        begun = bool(len(run.log))
        if self.compare_now.disabled is begun:  # it begins while it is looked at
            self._show(contender)
        due = self.rhythm.value and time.monotonic() >= self._due and spent.asked_at != run.epoch
        if self._asked is None and begun and (self._wanted or due):
            self._ask(contender, full=self._wanted)
        self._tell_costs()

    def _spent(self, contender: Contender) -> _Spent:
        return self._of.setdefault(contender.run.id, _Spent())

    def _press(self) -> None:
        self._wanted = True
        self._say(_COMPUTING)
        self.update()

    def _ask(self, contender: Contender, *, full: bool) -> None:
        run = contender.run
        mode = None if full else run.settings.differentiation
        self._wanted = self._wanted and not full
        if not full:
            self._spent(contender).asked_at = run.epoch
        try:
            asked = self._compare(run) if full else self._compare(run, modes=(mode,), counts=())
        except ValueError as error:
            self._say(str(error))
            return
        self._asked = run.id, mode, asked
        if full or not self._spent(contender).history:
            self._say(_COMPUTING)

    def _take(self) -> None:
        """Keep what was computed, and show it if it is of the run that is looked at."""
        if self._asked is None:
            return
        (run_id, mode, asked), self._asked = self._asked, None
        self._due = time.monotonic() + self.rhythm.value
        spent = self._of.get(run_id)
        if spent is None:  # of a race that is not shown any more
            return
        here = self._contender is not None and self._contender.run.id == run_id
        if (error := asked.exception()) is not None:
            if here:
                self._say(f"The gradients could not be compared. {error}")
            return
        lab = asked.result()
        self._due = time.monotonic() + max(self.rhythm.value, lab.seconds / SHARE)
        spent.probes += 1
        spent.seconds += lab.seconds
        if mode is None:
            spent.lab = lab
        else:
            spent.history[lab.epoch] = Probe(
                lab.iterations, mode, float(lab.one_minus_cosine[0, 0]), float(lab.relative_error[0, 0])
            )
        if here:
            self._draw(full=mode is None)

    def _show(self, contender: Contender | None) -> None:
        """Look at another contender, with what is known of it."""
        self._contender = contender
        run = None if contender is None else contender.run
        loop = run is not None and isinstance(run.settings, LoopSettings)
        begun = run is not None and bool(len(run.log))
        self.compare_now.disabled = self.rhythm.disabled = loop or not begun
        self._say(_LOOP if loop else _START if begun else _NOT_BEGUN)
        self._draw(full=True)

    def _draw(self, *, full: bool) -> None:
        contender = self._contender
        spent = _Spent() if contender is None else self._spent(contender)
        known = spent.lab is not None or bool(spent.history)
        with pn.io.hold():
            if known:
                self._say("")
            if contender is not None and spent.lab is not None and full:
                lab = spent.lab
                self._subject.object = (
                    '<p style="font-size:13.5px;margin:4px 0">'
                    f"{html.escape(contender.label)} after epoch {lab.epoch}, when its K was {lab.iterations}.</p>"
                )
                self._by_count.show(lab, contender.run.settings.differentiation)
            _show_if(spent.lab is not None, self._compared, self._subject, self._by_count.view)
            if contender is not None and spent.history:
                self._over_epochs.show(spent.history, contender)
            _show_if(bool(spent.history), self._probed, self._over_epochs.view)
        self._tell_costs()

    def _say(self, words: str) -> None:
        self._status.object = f'<p role="status" style="font-size:13px;margin:0">{html.escape(words)}</p>'
        self._status.visible = bool(words)

    def _tell_costs(self) -> None:
        """What the probes took beside training."""
        words, contender = "", self._contender
        if contender is not None and (spent := self._spent(contender)).probes:
            what = "probe" if spent.probes == 1 else "probes"
            words = (
                f"{spent.probes} {what} took {spent.seconds:.2g} s, not counted in the "
                f"{contender.run.seconds['train']:.3g} s of training."
            )
        self._costs.object = f'<p style="font-size:12.5px;margin:0;opacity:.85">{words}</p>'
        self._costs.visible = bool(words)


def _show_if(known: bool, place: pn.Column, *contents: Any) -> None:
    if known and not len(place):
        fill(place, *contents)
    elif not known:
        place.clear()
