"""The gradient lab: how good the gradient of a coarse solve is, by mode and by K, now and over the run."""

import html
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui

from ..engine import GradientLab, LoopSettings, suited_modes
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
_STOPPED = "Stopped. What was compared by then is shown."
_NOT_BEGUN = "There is something to compare when training begins."
_LOOP = "A loop of one's own has its gradients to itself: what is not trained by the engine cannot be compared."
_COMPILED = (
    "The first time a mode is compiled, which takes seconds, or half a minute for a large problem, and longer beside "
    "training. Training goes on meanwhile, and waits only for the probe itself."
)

Compare = Callable[..., Future[GradientLab]]
"""As `Engine.gradient_lab`."""


class _Asked(NamedTuple):
    """What is being computed: one mode of a comparison, beside those before it, or a probe of what trains."""

    run_id: str
    mode: str
    probe: bool
    beside: GradientLab | None
    answer: Future[GradientLab]


class _Spent:
    """What was found out about one run, and what it cost."""

    def __init__(self, lab: GradientLab | None = None):
        self.lab = lab
        self.history: dict[int, Probe] = {}
        self.seconds = 0.0
        self.asked_at: int | None = None  # the epoch at which the rhythm asked last

    @property
    def known(self) -> bool:
        return self.lab is not None or bool(self.history)


class GradientLabView(pn.viewable.Viewer):
    """Compares gradients of one contender when a person asks for it, and the one that trains at a rhythm, while seen.

    One mode after another, that of the run first, and each is drawn when it comes.

    **Arguments:**

    - `compare`: what computes it in the background.

    **Attributes:**

    - `contender`, `compare_now`, `stop`, `rhythm`: the widgets. `rhythm.value` is in seconds, 0 for off.
    """

    def __init__(self, compare: Compare):
        super().__init__()
        self._compare = compare
        self._contender: Contender | None = None
        self._known: dict[str, GradientLab] = {}
        self._of: dict[str, _Spent] = {}
        self._asked: _Asked | None = None
        self._wanted = False
        self._modes: tuple[str, ...] = ()  # of the comparison under way
        self._beside: GradientLab | None = None  # what it has found so far
        self._due = 0.0
        self._chooser = ContenderChooser(self._show, size="small", width=200, margin=(14, 8, 4, 8))
        self.contender = self._chooser.widget
        self.compare_now = pmui.Button(
            label="Compare gradients now", icon="compare", size="small", margin=(14, 8, 4, 8)
        )
        self.compare_now.on_click(lambda _: locked(self._press))
        self.stop = pmui.Button(
            label="Stop comparing", icon="stop", variant="outlined", size="small", disabled=True, margin=(14, 8, 4, 8)
        )
        self.stop.on_click(lambda _: locked(self._stop))
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
        controls = pmui.FlexBox(self.contender, self.compare_now, self.stop, self.rhythm, align_items="flex-end")
        self._layout = tab_grid(
            (card(heading, controls, self._status, self._costs), {}),
            (self._compared, {}),
            (self._probed, {}),
        )
        self._layout.margin = (0, 10, 10, 10)  # the labs above have theirs
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
        """Have the comparison of a run that was made before; it is shown when the run comes up."""
        self._known[run_id] = lab
        if run_id in self._of:
            self._of[run_id].lab = lab

    def update(self) -> None:
        """Show what was computed since, and ask for what is due."""
        if self._asked is not None and self._asked.answer.done():
            self._take(self._asked)
        contender = self._contender
        if contender is None or isinstance(contender.run.settings, LoopSettings):
            return
        run, spent = contender.run, self._spent(contender)
        begun = bool(len(run.log))
        if self.compare_now.disabled is begun:  # it begins while it is looked at
            self._show(contender)
        if self._asked is None and begun:
            if self._wanted:
                self._wanted, self._beside, self._modes = False, None, suited_modes(run.settings)
            if self._left:
                self._ask(contender)
            elif self.rhythm.value and time.monotonic() >= self._due and spent.asked_at != run.epoch:
                self._ask_for_probe(contender)
        self.stop.disabled = not (self._wanted or self._left)
        self._tell_costs()

    @property
    def _left(self) -> tuple[str, ...]:
        """The modes that the comparison under way has not got yet."""
        return self._modes[0 if self._beside is None else len(self._beside.modes) :]

    def _spent(self, contender: Contender) -> _Spent:
        run_id = contender.run.id
        return self._of.setdefault(run_id, _Spent(self._known.get(run_id)))

    def _press(self) -> None:
        self._wanted = True
        self._say(f"Computing… {_COMPILED}")
        self.update()

    def _stop(self) -> None:
        self._wanted, self._modes = False, ()
        asked = self._asked
        if asked is not None and not asked.probe and asked.answer.cancel():
            self._asked = None
        self._say(_STOPPED if self._asked is None else f"{_STOPPED} What is being computed, {self._asked.mode}, comes.")
        self.update()

    def _ask(self, contender: Contender) -> None:
        """Ask for the next mode of the comparison under way."""
        mode, run = self._left[0], contender.run
        try:
            answer = self._compare(run, modes=(mode,), beside=self._beside)
        except ValueError as error:
            self._refuse(error)
            return
        self._asked = _Asked(run.id, mode, False, self._beside, answer)
        place = len(self._modes) - len(self._left) + 1
        self._say(f"Comparing {mode}, {place} of {len(self._modes)} modes… {_COMPILED}")

    def _ask_for_probe(self, contender: Contender) -> None:
        """Ask for the gradient that trains, at K of now."""
        run, spent = contender.run, self._spent(contender)
        mode, spent.asked_at = run.settings.differentiation, run.epoch
        try:
            answer = self._compare(run, modes=(mode,), counts=())
        except ValueError as error:
            self._refuse(error)
            return
        self._asked = _Asked(run.id, mode, True, None, answer)
        if not spent.history:
            self._say(f"Computing… {_COMPILED}")

    def _refuse(self, error: BaseException) -> None:
        self._modes = ()
        self._say(f"The gradients could not be compared. {error}")

    def _take(self, asked: _Asked) -> None:
        """Keep what was computed, and show it if it is of the run that is looked at."""
        self._asked = None
        self._due = time.monotonic() + self.rhythm.value
        spent = self._of.get(asked.run_id)
        if spent is None:  # of a race that is not shown any more
            return
        here = self._contender is not None and self._contender.run.id == asked.run_id
        if (error := asked.answer.exception()) is not None:
            if here:
                self._refuse(error)
            return
        lab = asked.answer.result()
        self._due = time.monotonic() + max(self.rhythm.value, lab.seconds / SHARE)
        spent.seconds += lab.seconds
        if asked.probe:
            spent.history[lab.epoch] = Probe(
                lab.iterations, asked.mode, float(lab.one_minus_cosine[0, 0]), float(lab.relative_error[0, 0])
            )
        else:
            spent.lab = lab if asked.beside is None else asked.beside.with_modes_of(lab)
        if here:
            if not asked.probe and self._modes:
                self._beside = spent.lab
            if not self._wanted:
                self._say("" if asked.probe or self._modes else _STOPPED)
            self._draw(full=not asked.probe)

    def _show(self, contender: Contender | None) -> None:
        """Look at another contender, with what is known of it; a comparison under way goes no further."""
        if self._contender != contender:
            self._contender, self._wanted, self._modes = contender, False, ()
        run = None if contender is None else contender.run
        loop = run is not None and isinstance(run.settings, LoopSettings)
        begun = run is not None and bool(len(run.log))
        self.compare_now.disabled = self.rhythm.disabled = loop or not begun
        if not self._left:
            known = contender is not None and self._spent(contender).known
            self._say(_LOOP if loop else "" if known else _START if begun else _NOT_BEGUN)
        self._draw(full=True)

    def _draw(self, *, full: bool) -> None:
        contender = self._contender
        spent = _Spent() if contender is None else self._spent(contender)
        with pn.io.hold():
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
        """What was computed took beside training."""
        words, contender = "", self._contender
        if contender is not None and (seconds := self._spent(contender).seconds):
            trained = contender.run.seconds["train"]
            words = f"Comparing took {seconds:.2g} s so far, not counted in the {trained:.3g} s of training."
        self._costs.object = f'<p style="font-size:12.5px;margin:0;opacity:.85">{words}</p>'
        self._costs.visible = bool(words)


def _show_if(known: bool, place: pn.Column, *contents: Any) -> None:
    if known and not len(place):
        fill(place, *contents)
    elif not known:
        place.clear()
