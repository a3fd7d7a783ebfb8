"""The solver lab: residual and error by iteration of the system that a contender solves now, for several solvers."""

import html
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

import panel as pn
import panel_material_ui as pmui

from ..engine import LoopSettings, Run, SolverLab
from ._chooser import ContenderChooser
from ._session import locked
from ._shown import Contender, Shown
from ._solver_figure import SolverFigure
from ._theme import CONTROL, LOOKS, card, fill, grid

SECONDS_BETWEEN = 4.0
"""While training goes on the system is looked at again at most so often, and takes at most a tenth of the time."""

FIRST_CHOSEN = 3
"""Solvers that are looked at to begin with, the run's own among them."""

_NOTHING_YET = "It appears here when training begins."
_COMPUTING = "Computing… The first look at a scenario is compiled, which takes some seconds, and more beside training."
_LOOP = "A loop of one's own has no system here: only its author's code makes it and solves it."
_ABOUT = (
    "The linear system A x = b of the first inner solve, for one training sample and the parameters of now. How far K "
    "iterations get, how far they would get with another solver, and the K that a tolerance of the residual needs."
)

logger = logging.getLogger(__name__)

LookAtSystem = Callable[..., Future[SolverLab]]
"""As `Engine.solver_lab`."""


class SolverLabView(pn.viewable.Viewer):
    """Asks for the lab of one contender while it is seen, and draws it.

    **Arguments:**

    - `look_at_system`: what computes a lab in the background.

    **Attributes:**

    - `contender`, `solvers`, `again`: the widgets that choose whose system, which solvers, and to look at it again.
    - `lab`: what is shown, or None. `figure`: what it is shown in.
    """

    def __init__(self, look_at_system: LookAtSystem):
        super().__init__()
        self._look_at_system = look_at_system
        self._contender: Contender | None = None
        self._known: dict[tuple[str, int], SolverLab] = {}  # by run and epoch
        self.lab: SolverLab | None = None
        self._asked: Future[SolverLab] | None = None
        self._asked_for: tuple[int, tuple[str, ...]] | None = None  # the epoch, and the solvers
        self._asked_at = self._due = 0.0
        self._wanted = False
        self._choosing = False
        self._offered: bool | None = None
        self._chooser = ContenderChooser(self._show, **CONTROL)
        self.contender = self._chooser.widget
        self.solvers = pmui.MultiChoice(
            label="Solvers (five at most)", max_items=len(LOOKS), **{**CONTROL, "size": None}
        )
        self.solvers.param.watch(lambda _: self._want(), "value")
        self.again = pmui.Button(
            label="Look at the system now", icon="refresh", variant="outlined", size="small", margin=(10, 20)
        )
        self.again.on_click(lambda _: self._want())
        self._status = pn.pane.HTML(sizing_mode="stretch_width", margin=(4, 12))
        self.figure = SolverFigure()
        self._drawn = pn.Column(sizing_mode="stretch_width", margin=0)  # holds the figure while there is a lab
        heading = pn.pane.HTML(
            '<h3 style="font-size:15px;margin:6px 0 2px">Solver lab</h3>'
            f'<p style="font-size:13px;margin:0;opacity:.85">{_ABOUT}</p>',
            sizing_mode="stretch_width",
            margin=(0, 12),
        )
        self._controls = pn.Column(sizing_mode="stretch_width", margin=(10, 0, 0, 0))
        self._offer(contenders=False)
        self._layout = card(heading, self._controls, self._status, self._drawn)
        self._say(_NOTHING_YET)

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def look_at(self, shown: Shown) -> None:
        """Offer the contenders of another race, and look at the first; of the same one, moved, at that which was."""
        chosen, moved = self._chooser.offer(shown)
        self._offer(contenders=self._chooser.needed)
        self._show(chosen, same=moved)

    def know(self, run_id: str, lab: SolverLab) -> None:
        """Have a look at the system of a run that was taken before; it is shown when the run comes up at that epoch."""
        self._known[run_id, lab.epoch] = lab

    def update(self) -> None:
        """Show what was computed since, and ask for what is new; called while it is seen."""
        run = self._run
        if run is None or isinstance(run.settings, LoopSettings):
            return
        if self._asked is not None and self._asked.done():
            self._take()
        if self._asked is not None or not len(run.log):
            return
        new = self._asked_for is None or (self._asked_for[0] != run.epoch and time.monotonic() >= self._due)
        if self._wanted or new:
            self._ask(run)

    def _offer(self, *, contenders: bool) -> None:
        """Show the controls that there is something to choose with."""
        if self._offered != contenders:
            self._offered = contenders
            choosers = [(self.contender, {"md": 3})] if contenders else []
            left = {"md": 6 if contenders else 9}
            self._controls[:] = [grid(*choosers, (self.solvers, left), (self.again, {"md": 3}))]

    @property
    def _run(self) -> Run | None:
        return None if self._contender is None else self._contender.run

    def _show(self, contender: Contender | None, *, same: bool = False) -> None:
        """Look at another contender; at the same one, at another epoch, as before."""
        self._contender, run = contender, None if contender is None else contender.run
        if self._asked is not None:
            self._asked.cancel()
        self._asked = self._asked_for = None
        self.again.loading = False
        known = None if run is None else self._known.get((run.id, run.epoch))
        if not same:
            self._hide()
            own = [] if run is None or isinstance(run.settings, LoopSettings) else _own_first(run)
            self._choosing = True
            try:
                chosen = own[:FIRST_CHOSEN] if known is None else list(known.convergences)
                self.solvers.param.update(options=own, value=chosen)
            finally:
                self._choosing = False
        loop = run is not None and isinstance(run.settings, LoopSettings)
        self.solvers.disabled = self.again.disabled = run is None or loop
        self._say(_LOOP if loop else _NOTHING_YET if self.lab is None else "")
        if known is not None and contender is not None and list(known.convergences) == self.solvers.value:
            self._asked_for = known.epoch, tuple(known.convergences)
            self._draw(known, contender)

    def _want(self) -> None:
        """A person asks: at the next turn, whatever else is under way."""
        if not self._choosing:
            self._wanted = True
            locked(self.update)

    def _ask(self, run: Run) -> None:
        chosen = [name for name in _own_first(run) if name in self.solvers.value]
        names = tuple(chosen or _own_first(run)[:1])
        self._wanted = False
        self._asked_for, self._asked_at = (run.epoch, names), time.monotonic()
        if self.lab is None:
            self._say(_COMPUTING)
        self.again.loading = self.lab is not None and not run.ended
        try:
            self._asked = self._look_at_system(run, solvers=names)
        except ValueError as error:
            self._refuse(error)

    def _take(self) -> None:
        """Show the answer that there is."""
        asked, self._asked = self._asked, None
        now = time.monotonic()
        self._due = now + max(SECONDS_BETWEEN, 10 * (now - self._asked_at))
        self.again.loading = False
        try:
            lab = asked.result() if asked is not None else None
        except ValueError as error:
            self._refuse(error)
            return
        except Exception as error:  # whatever XLA or a problem of one's own may raise, the page goes on
            logger.exception("a system could not be looked at")
            self._refuse(error)
            return
        if lab is not None and self._contender is not None:
            self._draw(lab, self._contender)

    def _draw(self, lab: SolverLab, contender: Contender) -> None:
        self.lab = lab
        with pn.io.hold():
            self.figure.show(lab, contender)
            self._say("")
            if not len(self._drawn):
                fill(self._drawn, *self.figure.parts)

    def _hide(self) -> None:
        self.lab = None
        self._drawn.clear()

    def _refuse(self, error: Exception) -> None:
        self._hide()
        self._say(f"The system could not be looked at. {html.escape(str(error)[:300])}")

    def _say(self, words: str) -> None:
        self._status.object = f'<p role="status" style="font-size:13px;margin:0">{words}</p>'
        self._status.visible = bool(words)


def _own_first(run: Run) -> list[str]:
    own = run.settings.solver
    return [own, *(name for name in run.settings.problem.solvers if name != own)]
