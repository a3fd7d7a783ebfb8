"""What the explorer and each view by itself have in common: being kept up to date while somebody looks."""

import contextlib
import html
import time
import weakref
from collections.abc import Iterator
from typing import Any

import panel as pn

from ..engine import Engine, Race, Watch
from ._notebook import KERNEL, LOCK, Frame
from ._session import SECONDS_BETWEEN_QUESTIONS, Beat

TICK_MILLISECONDS = 100
TOLD_SECONDS = 8.0
"""How long a message stays where there is no page to notify."""


class Live(pn.viewable.Viewer):
    """Something that a timer keeps up to date while it is shown: on a page of the server, or in a notebook.

    Who derives from it says what is seen (`_lay_out`) and what is new (`tick`). Nothing is left of the timer when the
    page, or all outputs in which it is, are gone, or after `close`; shown again it goes on. A race is watched as long.

    **Attributes:**

    - `race`: the race that is shown, or None.
    - `beat`: whether the browser keeps up.
    """

    def __init__(self):
        super().__init__()
        self.race: Race | None = None
        self.beat = Beat(margin=0)
        self._watch: Watch | None = None
        self._frame: Frame | None = None
        self._note = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self._told = 0.0
        self.beat.on_heard = self._hear

    def __panel__(self) -> Frame:
        if self._frame is None:
            self._frame = Frame(self, self._note, self._lay_out(), self.beat)
        self.keep_up()
        return self._frame

    def _lay_out(self) -> Any:
        """What is seen."""
        raise NotImplementedError

    def tick(self) -> None:
        """Show what is new."""
        raise NotImplementedError

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Change what is seen, in one go and one at a time, wherever it is seen."""
        with LOCK, contextlib.nullcontext() if self._frame is None else self._frame.changing(), pn.io.hold():
            yield

    def _hear(self) -> None:
        """The browser said something."""
        if self._frame is not None and self._frame.root is not None:
            KERNEL.hear(self._frame)

    def keep_up(self) -> None:
        """Call `tick` by the timer of the page that is being made; a notebook's begins when its output is made."""
        document = pn.state.curdoc
        if document is not None and document.session_context is not None:
            # Bokeh's own timer: Panel's would switch the page's busy indicator on and off at each tick. It does not
            # hold what it keeps up to date, and so neither does what outlives a session.
            live: weakref.ref[Live] = weakref.ref(self)

            def begin() -> None:
                document.add_periodic_callback(lambda: tick_once(live), TICK_MILLISECONDS)

            self.tick()  # what is new by now goes with the page
            # Not before the page is there: Panel 1.9 drops what is streamed after the page was sent and before that.
            pn.state.onload(begin)
            pn.state.on_session_destroyed(lambda _: _close(live))
            self.arrive()

    def arrive(self) -> None:
        """Somebody looks."""
        if self.race is not None and self._watch is None:
            self._watch = self.race.watch()

    def leave(self) -> None:
        """Nobody looks any more; a race that nobody watches is paused."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def close(self) -> None:
        """End the timer and stop watching; a race that nobody watches is paused. Displayed anew it goes on."""
        with LOCK:
            frame = self._frame
            if frame is not None and frame.root is not None:
                if frame.opened:
                    self.tick()
                    with self.changing():
                        self._note.object = _note_html("Closed. To go on, run its cell again.")
                        frame.send()
                frame.take_out(whole=False)
                self._note.object = ""
                KERNEL.leave(frame)
            self.leave()

    def tell(self, message: str) -> None:
        """Say to the person who looks what went wrong, where there is no page to notify."""
        with self.changing():
            self._note.object = _note_html(message)
            self._told = time.monotonic()

    def forget_told(self) -> None:
        """Take back a message that was there for long enough (for `tick`)."""
        if self._note.object and time.monotonic() > self._told + TOLD_SECONDS:
            self._note.object = ""


def _note_html(message: str) -> str:
    return (
        '<div role="alert" style="margin:6px 10px;padding:6px 10px;border-left:4px solid #D55E00;font-size:13px">'
        f"{html.escape(message)}</div>"
    )


def tick_once(live: "weakref.ref[Any]") -> None:
    """Show what is new, if it is still there and the browser keeps up."""
    if (alive := live()) is not None and alive.beat.ready:
        alive.tick()
        under_way = alive.race is not None and alive.race.active and not alive.race.paused
        if under_way or time.monotonic() > alive.beat.asked + SECONDS_BETWEEN_QUESTIONS:  # little is sent at rest
            alive.beat.ask()


def _close(live: "weakref.ref[Live]") -> None:
    if (alive := live()) is not None:
        alive.close()


def race_of(show: Any) -> Race:
    """The race that is meant by a race, a run, or whatever has one, such as a session of one's own loop.

    **Raises:** `ValueError` in words for anything else.
    """
    race = show if isinstance(show, Race) else getattr(show, "race", None)
    if not isinstance(race, Race):
        raise ValueError(
            "`show` must be a run or a race, as `Engine.start` and `Engine.race` return them, or have one as `race`; "
            f"got {show!r}."
        )
    return race


def checked_engine(engine: Any) -> Engine:
    """`engine` if it is one.

    **Raises:** `ValueError` in words for anything else.
    """
    if not isinstance(engine, Engine):
        raise ValueError(f"`engine` must be an `Engine`; got {engine!r}.")
    return engine
