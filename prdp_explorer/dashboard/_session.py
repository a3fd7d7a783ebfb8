"""What concerns the session of the person who looks: telling them something, and changing their document safely."""

import logging
from collections.abc import Callable

import panel as pn

logger = logging.getLogger(__name__)


def notify(message: str) -> None:
    """Show an error to the person whose page this is, as text; without a page (in a notebook) log it."""
    if pn.state.notifications is not None:
        pn.state.notifications.error(message, duration=8000)
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
