"""What refinement will save, before the start: an epoch's cost as a + b·K, measured in a moment on this machine."""

import html
import logging
from collections.abc import Callable
from concurrent.futures import Future

import panel as pn
import panel_material_ui as pmui

from ..engine import Prediction, RunSettings
from ._session import locked
from ._theme import card

_ABOUT = (
    "An epoch costs a + b·K: a is the network, its optimiser and validation, b one inner iteration, there and back. "
    "Only what is physics can be saved. Measured for the setting in the drawer, best before a race starts."
)

logger = logging.getLogger(__name__)


class PredictedSaving(pn.viewable.Viewer):
    """Measures when a person asks for it, and says what follows.

    **Arguments:**

    - `predict`: what measures in the background, as `Engine.predict`.
    - `get`: gives the settings of PRDP as they are set; may raise `ValueError` in words.

    **Attributes:**

    - `prediction`: what was found last, or None.
    """

    def __init__(self, predict: Callable[[RunSettings], Future[Prediction]], get: Callable[[], RunSettings]):
        super().__init__()
        self._predict, self._get = predict, get
        self.prediction: Prediction | None = None
        self._asked: tuple[str, Future[Prediction]] | None = None
        self.measure = pmui.Button(
            label="Measure and predict", icon="speed", variant="outlined", size="small", margin=(10, 8)
        )
        self.measure.on_click(lambda _: locked(self._press))
        self._told = pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 12, 8, 12))
        heading = pn.pane.HTML(
            '<h3 style="font-size:15px;margin:6px 0 2px">Predicted saving</h3>'
            f'<p style="font-size:13px;line-height:1.5;margin:0;opacity:.85">{_ABOUT}</p>',
            sizing_mode="stretch_width",
            margin=(0, 12),
        )
        self._layout = card(heading, self.measure, self._told)

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def update(self) -> None:
        """Show what was measured since."""
        if self._asked is None or not self._asked[1].done():
            return
        (scenario, asked), self._asked = self._asked, None
        self.measure.disabled = False
        try:
            self.prediction = asked.result()
        except ValueError as error:
            self._say(str(error))
        except Exception as error:  # whatever a problem of one's own may raise
            logger.exception("a prediction failed")
            self._say(f"It could not be measured. {type(error).__name__}: {error}")
        else:
            self._told.object = _html(scenario, self.prediction)

    def _press(self) -> None:
        try:
            settings = self._get()
            self._asked = f"{settings.scenario}, {settings.preset}", self._predict(settings)
        except ValueError as error:
            self._say(str(error))
            return
        self.measure.disabled = True
        self._say("Measuring; the first time a scenario is compiled, which takes some seconds.")

    def _say(self, words: str) -> None:
        self._told.object = f'<span role="status" style="font-size:13.5px">{html.escape(words)}</span>'


def _html(scenario: str, found: Prediction) -> str:
    """What was found, in sentences."""
    if found.saving is None or found.share is None:
        saved = f"How many iterations it will spend is not known yet, so that it saves {found.physics:.0%} at most."
    else:
        saved = (
            f"If it spends {found.share:.0%} of the iterations, known from {found.known_from}, it will save about "
            f"<b>{found.saving:.0%} of the seconds</b>, of {found.seconds:.3g} s with full physics."
        )
    if found.physics < 0.3:
        verdict = "The network dominates: refinement saves iterations here, and hardly any time."
    elif found.physics < 0.7:
        verdict = "Network and physics cost about as much."
    else:
        verdict = "Physics dominates: what is saved of the iterations is saved of the time."
    cost = f"{1000 * found.fixed:.3g} ms + {1000 * found.each:.3g} ms · K"
    return (
        f'<div role="status" style="font-size:13.5px;line-height:1.6">{html.escape(scenario)}: an epoch costs '
        f"<b>{cost}</b>; at K = {found.full_iterations}, full physics, {found.physics:.0%} of it is physics. {verdict} "
        f"{saved}</div>"
    )
