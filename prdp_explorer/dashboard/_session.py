"""What concerns the session of the person who looks: telling them something, and changing their document safely."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import panel as pn

logger = logging.getLogger(__name__)


_tell: ContextVar[Callable[[str], None] | None] = ContextVar("tell", default=None)


@contextlib.contextmanager
def telling(tell: Callable[[str], None] | None) -> Iterator[None]:
    """Let `notify` use this meanwhile where there is no page: in a notebook, what a person just did something with."""
    token = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(token)


def notify(message: str) -> None:
    """Show an error to the person whose page this is, as text; where nobody is known to look, log it."""
    tell = _tell.get()
    if pn.state.notifications is not None:
        pn.state.notifications.error(message, duration=8000)
    elif tell is not None:
        tell(message)
    else:
        logger.warning(message)


def locked(change: Callable[[], None]) -> None:
    """Make a change that touches Bokeh's models while the document is locked.

    Panel runs the callbacks of widgets without the lock when edits come close together, and Bokeh then refuses.
    """
    document = pn.state.curdoc
    if document is not None and document.session_context is not None:
        document.add_next_tick_callback(change)
    else:
        change()


MOST_UNDER_WAY = 3
"""Updates that were sent and not shown yet, with which no more is sent. One alone would halve the rate where it takes
longer than a tick for it to get there and be drawn."""

PATIENCE_SECONDS = 5.0
"""How long is waited for a browser to show what it was sent: one that is hidden or has gone says nothing."""

SECONDS_BETWEEN_QUESTIONS = 1.0
"""To the browser, whether it keeps up, where little is sent to it."""


class Beat(pn.custom.JSComponent):
    """Tells whether the browser keeps up with what it is sent, so that it is sent no more than it can show.

    Without this a page that is slower than its timer falls behind further and further. It shows nothing itself; where
    it is not on a page nothing is waited for. A page that is hidden draws nothing, but says that it is there.

    **Attributes:**

    - `asked`, `heard`: when the browser was asked, and when it said something last; 0 for never.
    - `on_heard`: called when it does.
    """

    _esm = """
    export function render({model, view}) {
      // In a notebook Panel sends back all that it is told: late, it would undo what was told next.
      const manager = view.model.document?.roots().find(root => root.msg_handler && root._document_changed)
      if (manager && !manager.told) {
        const take = manager.msg_handler.bind(manager), send = manager._document_changed.bind(manager)
        let taking = false
        manager.told = true
        manager.msg_handler = message => {
          taking = true
          try { take(message) } finally { taking = false }
        }
        manager._document_changed = event => { if (!taking) { send(event) } }
      }
      let last = 0
      const show = number => {
        last = number
        if (document.hidden) {
          model.send_msg(-1)
        } else {
          requestAnimationFrame(() => setTimeout(() => model.send_msg(number), 0))
        }
      }
      const back = () => show(last)
      const again = setInterval(back, 1000)  // a notebook's kernel may be too busy to hear it at first
      model.on("msg:custom", number => { clearInterval(again); show(number) })
      document.addEventListener("visibilitychange", back)
      model.on("remove", () => {
        clearInterval(again)
        document.removeEventListener("visibilitychange", back)
      })
      show(0)
      return document.createElement("div")
    }
    """

    def __init__(self, **params: Any):
        super().__init__(**params)
        self._asked, self._answered = 0, -1  # the numbers of the last updates; below 0 where nobody answers
        self.asked = self.heard = 0.0
        self.on_heard: Callable[[], None] = lambda: None

    @property
    def ready(self) -> bool:
        """Whether the browser keeps up, or has had its time to."""
        late = self._answered >= 0 and self._asked - self._answered >= MOST_UNDER_WAY
        return not late or time.monotonic() - self.asked > PATIENCE_SECONDS

    def ask(self) -> None:
        """Let the browser say when it has shown what it was sent up to now."""
        if self._answered >= 0:
            self._asked += 1
            self.asked = time.monotonic()
            self._send_msg(self._asked)

    def _handle_msg(self, data: Any) -> None:
        self._answered = max(self._answered, int(data))
        self.heard = time.monotonic()
        self.on_heard()
