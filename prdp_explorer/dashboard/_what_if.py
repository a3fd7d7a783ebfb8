"""The card that asks what a controller would have decided with other values, and forks the real thing."""

import contextlib
import html
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.document import Document

from ..engine import ENDED, Engine, Run, WhatIf, other_controller
from ._session import locked, notify
from ._theme import CONTROL, WHAT_IF_COLOR, Look, card, grid, name_contender
from ._why_words import APPROXIMATION, values_at, what_if_html

SLIDERS: Mapping[str, tuple[str, type[Any], dict[str, Any]]] = {
    "tau_step": (
        "What if τ_step: plateau",
        pmui.FloatSlider,
        {"start": 0.5, "end": 1.0, "step": 0.005, "format": "0.000"},
    ),
    "tau_stop": (
        "What if τ_stop: worth it",
        pmui.FloatSlider,
        {"start": 0.5, "end": 1.0, "step": 0.005, "format": "0.000"},
    ),
    "window": ("What if window δ", pmui.IntSlider, {"start": 2, "end": 64}),
    "ema_window": ("What if smoothing w", pmui.IntSlider, {"start": 1, "end": 50}),
    "step": ("What if K added", pmui.IntSlider, {"start": 1, "end": 10}),
    "rtol_factor": ("What if tolerance times", pmui.FloatSlider, {"start": 0.05, "end": 1.0, "step": 0.05}),
}
"""What may be dragged: label, widget and extent by the name of the value."""

SECONDS_BETWEEN = 0.3
"""A what-if follows a run under way at most this often, and takes at most a tenth of the time."""

_START = "These are the values of this run. Move a slider to see what its controller would have decided with another."
_START_FIXED = "K of this run is not refined. This is what the problem's own PRDP would have decided on its history."
_NOT_FORKED = "A run whose K is not refined cannot be forked into one that is: start a race with these values instead."

logger = logging.getLogger(__name__)


class WhatIfCard(pn.viewable.Viewer):
    """Sliders that ask an engine, with one request under way and the newest one wanted next.

    **Arguments:**

    - `engine`: whom to ask.
    - `on_answer`: called with what would have been decided; with None where the values are the run's own.
    - `on_fork`: called with the id of the run, the epoch after which to fork it, and what to change.

    **Attributes:**

    - `answer`: the last answer, or None.
    """

    def __init__(
        self,
        engine: Engine,
        on_answer: Callable[[WhatIf | None], None],
        on_fork: Callable[[str, int, dict[str, Any]], None],
    ):
        super().__init__()
        self._engine, self._on_answer, self._on_fork = engine, on_answer, on_fork
        self.answer: WhatIf | None = None
        self._run: Run | None = None
        self._settings: Any = None
        self._own: Mapping[str, Any] = {}
        self._showing = False
        self._asked: Future[WhatIf] | None = None
        self._asked_at = self._due = 0.0
        self._wanted = False
        self._document: Document | None = None
        self.sliders = {
            name: kind(label=label, value=extent["start"], **extent, **CONTROL)
            for name, (label, kind, extent) in SLIDERS.items()
        }
        for slider in self.sliders.values():
            slider.param.watch(lambda _: self._move(), "value")
        heading = pn.pane.HTML(sizing_mode="stretch_width", margin=(6, 8, 0, 8))
        name_contender(
            heading, Look(WHAT_IF_COLOR, "dashed", "cross"), "What if? An approximation on the history of this run"
        )
        self.sentence = pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 8), styles={"min-height": "4.5em"})
        self.note = pn.pane.HTML(sizing_mode="stretch_width", margin=(0, 8))
        self.fork = pmui.Button(label="Fork the real thing", icon="call_split", size="small", margin=(5, 8))
        self.fork.on_click(lambda _: locked(self._fork))
        self.back = pmui.Button(
            label="Back to the run's values", icon="undo", variant="outlined", size="small", margin=(5, 8)
        )
        self.back.on_click(lambda _: locked(self._go_back))
        half = {"sm": 6}
        *shared, step, factor = self.sliders.values()  # a run has one of the last two
        self._layout = card(
            heading,
            grid(
                *(
                    (slider, half)
                    for slider in (*shared, pn.Column(step, factor, sizing_mode="stretch_width", margin=0))
                )
            ),
            self.sentence,
            self.note,
            pmui.FlexBox(self.fork, self.back),
        )
        self._say()

    def __panel__(self) -> pmui.Paper:
        return self._layout

    @property
    def changes(self) -> dict[str, Any]:
        """The values that are not the run's own."""
        values = {name: slider.value for name, slider in self.sliders.items() if name in self._own}
        values = {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}
        return {name: value for name, value in values.items() if value != self._own[name]}

    def look_at(self, run: Run | None) -> None:
        """Ask about another run, beginning with its own values; go on asking about the same, played from elsewhere."""
        same = run is not None and self._run is not None and run.id == self._run.id
        changes = self.changes if same else None
        self._run, self._asked, self._wanted, self.answer = run, None, False, None
        if run is not None:
            self._show_own(run, changes)
            self._ask()  # also where nothing is drawn of it: the first answer has to be compiled
        self._say()

    def update(self) -> None:
        """Follow the run: its values as they are edited, and its history as it grows."""
        run = self._run
        if run is None:
            return
        if run.settings is not self._settings:
            changes = self.changes
            self._show_own(run, changes)
            self._ask()
        self._take()
        grown = self.answer is None or len(self.answer) < len(run.log)
        if grown and self._asks and self._asked is None and time.monotonic() >= self._due:
            self._ask()

    @property
    def _refines(self) -> bool:
        """Whether the run has a controller of the kind that is asked about."""
        return self._run is not None and self._run.settings.refinement["kind"] == self._own["kind"]

    @property
    def _asks(self) -> bool:
        """Whether there is anything to be seen of a what-if."""
        return self._run is not None and (bool(self.changes) or not self._refines)

    def _show_own(self, run: Run, changes: Mapping[str, Any] | None = None) -> None:
        """Show a run's values, but for these."""
        self._settings = run.settings
        self._own = other_controller(run.settings, {})
        self._showing = True
        try:
            for name, slider in self.sliders.items():
                slider.visible = name in self._own
                if slider.visible:
                    own = self._own[name]
                    extent = SLIDERS[name][2]
                    slider.param.update(
                        start=min(extent["start"], own),
                        end=max(extent["end"], own),
                        value=own if changes is None else changes.get(name, own),
                    )
        finally:
            self._showing = False

    def _move(self) -> None:
        if not self._showing:
            self._ask()

    def _go_back(self) -> None:
        if self._run is not None:
            self._show_own(self._run)
            self._ask()

    def _ask(self) -> None:
        run = self._run
        if run is None or self._asked is not None:
            self._wanted = True
            return
        self._wanted = False
        self._asked_at = time.monotonic()
        try:
            self._asked = self._engine.what_if(run, self.changes)
        except ValueError as error:
            notify(str(error))
            return
        self._document = pn.state.curdoc or self._document
        document = self._document
        card: weakref.ref[WhatIfCard] = weakref.ref(self)
        if document is not None and document.session_context is not None:
            self._asked.add_done_callback(lambda _: _bring(document, card))

    def _take(self) -> None:
        """Show an answer that there is, and ask for what was wanted meanwhile."""
        if self._asked is None or not self._asked.done():
            return
        asked, self._asked = self._asked, None
        now = time.monotonic()
        self._due = now + max(SECONDS_BETWEEN, 10 * (now - self._asked_at))
        try:
            answer = asked.result()
        except Exception as error:  # whatever XLA may raise, the page goes on
            logger.exception("a what-if could not be computed")
            notify(f"What would have been could not be computed. {type(error).__name__}: {error}"[:300])
            return
        self.answer = answer if self._asks and len(answer) > 1 else None
        self._say()  # before the figures, which take longer to draw
        with pn.io.hold():
            self._on_answer(self.answer)
        if self._wanted:
            self._ask()

    def _say(self) -> None:
        """What the answer says, and what can be done about it."""
        run, answer, forkable = self._run, self.answer, False
        if run is None or answer is None:
            self._write(_START if run is None or self._refines else _START_FIXED, "")
        else:
            rows = run.log.read()[: len(answer)]
            differs = answer.first_difference(rows) if self._refines else None
            forkable = differs is not None
            sentence = what_if_html(answer, self._own, rows, ended=run.state in ENDED)
            if differs is not None:
                sentence += f" The decisions first differ after epoch {differs}."
                note = f"Forking {run.label} after epoch {max(differs - 1, 0)} shows what really follows."
            else:
                note = "There is nothing to fork." if self._refines else _NOT_FORKED
            self._write(sentence, f"{APPROXIMATION} {note}")
        self.fork.disabled = not forkable
        self.back.disabled = not self.changes

    def _write(self, sentence: str, note: str) -> None:
        self.sentence.object = f'<div role="status" style="font-size:14px;line-height:1.5">{sentence}</div>'
        self.note.object = f'<span style="font-size:12px;opacity:.8">{html.escape(note)}</span>'

    def _fork(self) -> None:
        """Fork the run where the answer first differs from it, with what the answer was asked with."""
        run, answer = self._run, self.answer
        if run is None or answer is None or (differs := answer.first_difference(run.log.read())) is None:
            return
        epoch = max(differs - 1, 0)
        then = values_at(run, epoch)
        asked = {name: value for name, value in answer.refinement.items() if name in self.sliders}
        changes = {name: value for name, value in asked.items() if value != then.get(name)} or asked
        try:
            self._on_fork(run.id, epoch, changes)
        except ValueError as error:
            notify(str(error))


def _bring(document: Document, card: "weakref.ref[WhatIfCard]") -> None:
    """Let a page show the answer at its next turn rather than its next tick, if it is still there."""

    def take() -> None:
        if (alive := card()) is not None:
            alive._take()

    with contextlib.suppress(AttributeError, RuntimeError):  # of a session that has ended
        document.add_next_tick_callback(take)
