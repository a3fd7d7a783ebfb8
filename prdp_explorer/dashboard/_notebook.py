"""What a notebook shows: one thread of the kernel keeps it up to date while cells run, and ends when nothing is shown.

Nobody tells a kernel when an output is cleared or its notebook closed. So the browser is asked again and again whether
it is still there, and a cell that runs again takes away what it showed before.
"""

import logging
import sys
import threading
import time
import weakref
from typing import Any, Protocol

import panel as pn
from panel.io.notebook import push_notebook
from panel.io.state import state

from ._session import Beat, telling

TICK_SECONDS = 0.25
SILENCE_SECONDS = 20.0
"""After so long without a word from the browser, while no cell runs, nobody is taken to look any more."""

LOCK = threading.RLock()
"""Held while what a notebook shows is changed: its timer, its cells and its widgets' callbacks run in threads of their
own, and what one of them has changed and not sent yet would be lost by another."""

logger = logging.getLogger(__name__)


class Watched(Protocol):
    """What a frame is told about, and tells of: implemented by `Live`."""

    beat: Beat

    def tick(self) -> None: ...
    def arrive(self) -> None: ...
    def leave(self) -> None: ...
    def tell(self, message: str) -> None: ...


class Frame(pn.Column):
    """The outermost part of something live, which knows in which outputs of which cells it is.

    **Attributes:**

    - `live`: what it shows.
    - `outputs`: the cell and its execution by the id of the root that shows it.
    - `since`: when it was shown last.
    """

    def __init__(self, live: Watched, *contents: Any):
        super().__init__(*contents, sizing_mode="stretch_width", margin=0)
        self.live = live
        self.outputs: dict[str, tuple[str | None, str | None]] = {}
        self.since = 0.0

    def _get_model(self, doc: Any, root: Any = None, parent: Any = None, comm: Any = None) -> Any:
        with LOCK:
            model = super()._get_model(doc, root, parent, comm)
            if doc.session_context is None and _kernel() is not None:
                self.outputs[(root or model).ref["id"]] = _cell()
                KERNEL.show(self)
        return model

    def _cleanup(self, root: Any = None) -> None:
        super()._cleanup(root)
        if root is not None:
            self.outputs.pop(root.ref["id"], None)

    @property
    def opened(self) -> bool:
        """Whether the browser listens in all outputs: what is sent before is lost."""
        comms = [state._views[root][3] for root in self.outputs if root in state._views]
        return all(comm is None or comm._comm is not None for comm in comms)

    def send(self) -> None:
        """Send what was streamed, which does not reach a notebook by itself."""
        push_notebook(self)

    def guard(self) -> None:
        """Let messages from the browser wait for the lock, and what goes wrong with them be told here."""
        for root in self.outputs:
            view, *_ = state._views.get(root, (None,))
            client = None if view is None else view._comms.get(root, (None, None))[1]
            if client is not None and not hasattr(client, "guarded_by"):
                client.guarded_by = self
                client._on_msg = _guarded(client._on_msg, weakref.ref(self))

    def take_out(self, root: str, *, whole: bool) -> None:
        """Let go of an output; with `whole` also where the frame is a part of it only."""
        view, model, *_ = state._views.get(root, (None, None))
        if view is None:
            self.outputs.pop(root, None)
        elif whole or view is self:
            del state._views[root]
            comms = view._comms.get(root, ())
            view._cleanup(model)
            for comm in comms:  # Panel closes them, and keeps them and what they call
                type(state._comm_manager)._comms.pop(comm.id, None)
                state._comm_manager._comms.pop(comm.id, None)
                if hasattr(comm, "manager"):
                    comm.manager.targets.pop(comm.id, None)


def _guarded(handle: Any, frame: "weakref.ref[Frame]") -> Any:
    def guarded(message: Any) -> None:
        shown = frame()
        with LOCK, telling(None if shown is None else shown.live.tell):
            handle(message)

    return guarded


class _Kernel:
    """The thread for everything that the notebooks of this kernel show, and what it knows of their cells."""

    def __init__(self):
        self._frames: list[Frame] = []
        self._known: weakref.WeakSet[Frame] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._cell_runs = False
        self._idle_since = 0.0

    def show(self, frame: Frame, *, by_cell: bool = True) -> None:
        """Keep a frame up to date from now on; `by_cell` unless it was there already."""
        with LOCK:
            frame.since = time.monotonic()
            self._known.add(frame)
            if frame not in self._frames:
                self._frames.append(frame)
                frame.live.arrive()
            if self._thread is None:
                self._cell_runs = by_cell
                self._register(True)
                self._thread = threading.Thread(target=self._work, name="prdp-widgets", daemon=True)
                self._thread.start()

    def hear(self, frame: Frame) -> None:
        """The browser said something: go on, if it had been silent for long."""
        with LOCK:
            if frame.outputs and frame not in self._frames:
                self.show(frame, by_cell=False)

    def leave(self, frame: Frame) -> None:
        """Keep a frame up to date no longer."""
        with LOCK:
            if frame in self._frames:
                self._frames.remove(frame)
                frame.live.leave()

    def _work(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            for frame in list(self._frames):
                with LOCK:
                    if frame in self._frames:
                        self._keep_up(frame)
            with LOCK:
                if not self._frames:
                    self._thread = None
                    self._register(False)
                    return

    def _keep_up(self, frame: Frame) -> None:
        beat = frame.live.beat
        heard = max(beat.heard, frame.since, self._idle_since)
        if not frame.outputs or (not self._cell_runs and time.monotonic() > heard + SILENCE_SECONDS):
            self.leave(frame)
            return
        frame.guard()
        # While a cell runs an older kernel does not hear the browser, which therefore is not waited for.
        if frame.opened and (beat.ready or self._cell_runs):
            try:
                frame.live.tick()
                frame.send()
                beat.ask()
            except Exception:
                logger.exception("what a notebook shows could not be kept up to date")
                self.leave(frame)

    def _register(self, wanted: bool) -> None:
        events = sys.modules["IPython"].get_ipython().events
        change = events.register if wanted else events.unregister
        change("pre_run_cell", self._begin_cell)
        change("post_run_cell", self._end_cell)

    def _begin_cell(self, _info: Any) -> None:
        self._cell_runs = True

    def _end_cell(self, _result: Any) -> None:
        """Take away what an earlier execution of the same cell showed: the notebook did so when the cell began.

        Not before it ends, so that a race that the cell shows again is looked at all the time.
        """
        cell, execution = _cell()
        with LOCK:
            self._cell_runs, self._idle_since = False, time.monotonic()
            for frame in list(self._known):
                for root, shown in list(frame.outputs.items()):
                    if cell is not None and shown[0] == cell and shown[1] != execution:
                        frame.take_out(root, whole=True)
                if not frame.outputs:
                    self.leave(frame)


KERNEL = _Kernel()


def _kernel() -> Any:
    """The kernel of the notebook that this process is, or None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)


def _cell() -> tuple[str | None, str | None]:
    """The cell that is being executed and the id of this execution, as far as the notebook tells."""
    parent = _kernel().get_parent("shell") or {}
    return parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
