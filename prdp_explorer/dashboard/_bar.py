"""The bar above the views: commands, speed, state, and what the data shown say."""

import html
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ._comparison import comparison
from ._replay import ReplayBar
from ._session import locked
from ._shown import Shown

RACE_SECONDS = 30
"""How long a race takes at the speed 1×, so that a person can follow it."""

SPEEDS: dict[str, float | None] = {"¼×": 0.25, "½×": 0.5, "1×": 1.0, "2×": 2.0, "5×": 5.0, "as fast as possible": None}

WELCOME = (
    "Press <b>Start</b>: two networks train on the same data through the same physics. One solves the physics fully in "
    "every epoch; the other, PRDP, begins with one inner iteration and adds more only when training stops improving."
)


class Bar(pn.viewable.Viewer):
    """What a person does with a race, and how far it is.

    **Arguments:**

    - `on_command`: called with "start", "pause" (or go on, or play again), "step", "stop", "reset", "undo" or "fork".
    - `on_pace`: called when another speed was chosen.
    - `beside`: what else has a place among the buttons.
    """

    def __init__(self, on_command: Callable[[str], None], on_pace: Callable[[], None], *beside: Any):
        super().__init__()

        def button(label: str, icon: str, variant: str = "outlined") -> pmui.Button:
            made = pmui.Button(label=label, icon=icon, variant=variant, size="small", margin=(5, 4))
            made.on_click(lambda _: locked(lambda: on_command(label.lower())))
            return made

        self.start = button("Start", "play_arrow", "contained")
        self.pause = button("Pause", "pause")
        self.step = button("Step", "skip_next")
        self.stop = button("Stop", "stop")
        self.reset = button("Reset", "restart_alt")
        self.undo = button("Undo", "undo")
        self.speed = pmui.Select(
            label="Speed", options=list(SPEEDS), value="1×", size="small", width=170, margin=(5, 8)
        )
        self.speed.param.watch(lambda _: on_pace(), "value")
        self.replay = ReplayBar(lambda: locked(lambda: on_command("fork")))
        self.status = pn.pane.HTML(margin=(5, 8), align="center")
        self.headline = pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 8), styles={"min-height": "3.2em"})
        self._layout = pmui.Paper(
            pmui.FlexBox(
                self.start,
                self.pause,
                self.step,
                self.stop,
                self.reset,
                self.undo,
                self.speed,
                *beside,
                self.status,
                align_items="center",
            ),
            self.replay,
            self.headline,
            sizing_mode="stretch_width",
            elevation=1,
            sx={"p": 1},
            margin=(10, 10, 0, 10),
        )

    def __panel__(self) -> pmui.Paper:
        return self._layout

    def pace(self, epochs: int) -> float | None:
        """Epochs a second at the speed chosen, for a race of so many epochs; None for as fast as possible."""
        speed = SPEEDS[self.speed.value]
        return None if speed is None else speed * max(epochs, 1) / RACE_SECONDS

    def show_pace(self, pace: float | None, epochs: int) -> None:
        """Show the pace of a race, where it is one of the speeds offered; another is left as it is."""
        wanted = None if pace is None else round(pace * RACE_SECONDS / epochs, 6)
        for name, speed in SPEEDS.items():
            if speed == wanted:
                self.speed.value = name

    def update(self, shown: Shown, trouble: str | None, *, undoable: bool = False, aside: bool = False) -> None:
        """Show where a race is and what can be done with it.

        **Arguments:**

        - `trouble`: why runs are not kept, if they are not.
        - `undoable`: whether there is an edit to undo.
        - `aside`: whether a race that is under way stands still while its past is looked at.
        """
        self.start.disabled = shown.training or shown.loop is not None
        self.reset.disabled = not shown.runs
        self.undo.disabled = not (undoable and shown.training)
        self.pause.disabled = not (shown.active or shown.movable)
        self.step.disabled = not shown.active
        self.stop.disabled = not shown.training
        label, icon = "Pause", "pause"
        if shown.paused or aside:
            label, icon = "Resume", "play_arrow"
        elif shown.movable and not shown.active:
            label, icon = "Replay", "replay"
        if self.pause.label != label:
            self.pause.param.update(label=label, icon=icon)
        self.replay.update(shown)
        if not shown.runs:
            self.status.object = status_html("Ready", "no run yet")
            self.headline.object = WELCOME
            return
        self.status.object = status_html(shown.words, f"epoch {shown.epoch} of {shown.epochs}")
        self.headline.object = "<br>".join(_sentences(shown, trouble))


def _sentences(shown: Shown, trouble: str | None) -> list[str]:
    """What went wrong, if anything, and what the data say, if anything, as HTML."""
    told = [
        f"<b>{html.escape(run.label)}</b>: {html.escape(run.message)}"
        for run in shown.runs
        if run.state in ("diverged", "failed")
    ]
    if trouble is not None:
        told.append(html.escape(trouble))
    if shown.epoch > 0 or not told:
        told += comparison(shown)
    return told


def status_html(state: str, progress: str) -> str:
    """The state of a race and how far it is, in a line."""
    return (
        f'<div style="font-size:14px;white-space:nowrap"><b>{state}</b> · '
        f'<span role="status" aria-live="polite">{progress}</span></div>'
    )
