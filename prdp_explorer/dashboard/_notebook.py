"""What a notebook shows: one thread of the kernel keeps it up to date while cells run, and ends when nothing is shown.

Nobody tells a kernel when an output is cleared or its notebook closed. So the browser is asked again and again whether
it is still there, and a cell that runs again takes away what it showed before.
"""

import base64
import contextlib
import functools
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import panel as pn
import panel_material_ui as pmui
import param
from bokeh.document.callbacks import invoke_with_curdoc
from bokeh.models import ImportedStyleSheet, InlineStyleSheet, UIElement
from panel.io.model import patch_cds_msg
from panel.io.notebook import push, replace_inline_css
from panel.io.resources import CDN_DIST, LOCAL_DIST
from panel.io.state import set_curdoc, state
from panel.models.esm import ReactiveESM
from pyviz_comms import JupyterCommJS, JupyterCommManager

from ._session import SECONDS_BETWEEN_QUESTIONS, Beat, telling
from ._theme import PLAIN_PAGE

TICK_SECONDS = 0.25
SILENCE_SECONDS = 20.0
"""After so long without a word from the browser, while no cell runs, nobody is taken to look any more."""

SENT_BY_US = "embedded"
"""What Panel calls a root to which it sends nothing by itself."""

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
    """The outermost part of something live, which knows in which output of which cell it is seen: in one at a time.

    **Attributes:**

    - `live`: what it shows.
    - `root`: the id of the root of the output that shows it; None where none does.
    - `cell`, `execution`: what made that output, as far as the notebook tells.
    - `since`: when it was shown.
    """

    def __init__(self, live: Watched, *contents: Any):
        in_notebook = pn.state.curdoc is None and _kernel() is not None
        carrier = pmui.Typography("", visible=False, margin=0) if in_notebook else None
        first = [carrier, IconFont(font=_icon_font(), margin=0)] if in_notebook else []
        super().__init__(*first, *contents, sizing_mode="stretch_width", margin=0)
        self.live = live
        self.root: str | None = None
        self.cell: str | None = None
        self.execution: str | None = None
        self.since = 0.0
        self._alone = False  # whether the output shows nothing else
        self._carrier = carrier  # the first to be made in the browser, which therefore brings the code of all

    def _get_model(self, doc: Any, root: Any = None, parent: Any = None, comm: Any = None) -> Any:
        if doc.session_context is not None or _kernel() is None:
            if getattr(root, "class_name", None) != "Page":  # which colours figures itself, whenever it changes
                self.stylesheets = [PLAIN_PAGE]
            return super()._get_model(doc, root, parent, comm)
        with LOCK, _inline(doc):
            self.take_out(whole=False)
            model = super()._get_model(doc, root, parent, comm)
            self.root, self._alone = (root or model).ref["id"], False
            self.cell, self.execution = _cell()
            KERNEL.show(self)
        return model

    def _render_model(self, doc: Any = None, comm: Any = None) -> Any:
        if doc is None or comm is None:
            return super()._render_model(doc, comm)
        with LOCK, _inline(doc):
            model = super()._render_model(doc, comm)
            view: Any = state._views[model.ref["id"]][0]
            view._hooks = [*view._hooks, lambda _, root, changed, __: self._say_code_once(root, changed)]
            model.tags = [*model.tags, SENT_BY_US]
            self._alone = True
            # Panel would do so later one by one, and count all models anew each time: half a minute for the explorer.
            with doc.models.freeze():
                _put_styles_inline(model, state._stylesheets[doc])
                self._say_code_once(model)
        return model

    def _say_code_once(self, root: Any, changed: Any = None) -> None:
        """Leave the code of Material UI's components with the first: Panel gives more than a megabyte to each of them.

        The browser finds it by the name of the bundle. And let all of them know what icons look like.
        """
        models = root if changed is None else changed._models[root.ref["id"]][0]
        first = None if self._carrier is None else self._carrier._models.get(root.ref["id"], (None,))[0]
        if first is not None and first.bundle not in (None, "url"):
            for model in models.select({"type": ReactiveESM}):
                if model.bundle == first.bundle:
                    model.css_bundle = ICONS_STYLE
                    if model is not first:
                        model.esm = ""

    def _cleanup(self, root: Any = None) -> None:
        super()._cleanup(root)
        if root is not None and root.ref["id"] == self.root:
            self.root = None

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Change what is shown: one at a time and, in a notebook, in the document of its output.

        There Panel finds the styles that are known already.
        """
        _, _, document, _ = self._output
        with LOCK, contextlib.nullcontext() if document is None else set_curdoc(document):
            yield

    @property
    def _output(self) -> Any:
        """What shows it, the model of the root, the document and what is sent over."""
        return state._views.get(self.root or "", (None, None, None, None))

    @property
    def opened(self) -> bool:
        """Whether the browser has drawn it: what is sent before is lost, and may be lost in part."""
        *_, comm = self._output
        drawn = self.live.beat.heard > self.since
        return self.root is not None and (comm is None or (drawn and comm._comm is not None))

    def send(self) -> None:
        """Send what is new, all at once."""
        _, _, document, comm = self._output
        if comm is not None and self.opened:
            push(document, comm)

    def guard(self) -> None:
        """Let messages from the browser wait for the lock, and what goes wrong with them be told here."""
        received = None if self.root is None else _received_by(self.root)
        if received is None:
            return
        if received._on_msg.func is not _take:
            root, manager = received._on_msg.args
            received._on_msg = functools.partial(_take, root, manager, weakref.ref(self))
        if getattr(received._comm, "_reply_subshell_for", None) is not None:
            # ipykernel 7.4 would let what the browser says wait for the cell that runs if what it said first did.
            received._comm._reply_subshell_for = None

    def take_out(self, *, whole: bool) -> None:
        """Let go of the output, which stays as it is; with `whole` also of what else there is in it."""
        view, model, _, comm = self._output
        root, self.root = self.root, None
        if view is None or root is None:
            return
        if whole or self._alone:
            # Panel closes what is sent over, and keeps it with all that it calls.
            for each in filter(None, (comm, _received_by(root))):
                JupyterCommManager._comms.pop(each.id, None)
                if isinstance(each, JupyterCommJS):
                    each.manager.targets.pop(each.id, None)
            del state._views[root]
            view._cleanup(model)
        else:
            self._cleanup(model)


def _received_by(root: str) -> Any:
    """What receives the browser's messages about an output, or None."""
    for comm in list(JupyterCommManager._comms.values()):
        if isinstance(comm._on_msg, functools.partial) and comm._on_msg.args[:1] == (root,):
            return comm
    return None


def _take(root: str, manager: Any, frame: "weakref.ref[Frame]", message: Any) -> None:
    """Take a message of the browser, in the manner of Panel, which however loses what was not sent by then."""
    shown = frame()
    views: Any = state._views
    _, model, document, comm = views[root]
    with LOCK, set_curdoc(document), telling(None if shown is None else shown.live.tell):
        push(document, comm)
        patch_cds_msg(model, message)
        manager.assemble(message).apply_to_document(document, comm.id)
        # What the browser knows is not sent back to it; what is made of it is.
        changes, document.callbacks._held_events = list(document.callbacks._held_events), []
        for change in changes:
            if change.callback_invoker is not None:
                invoke_with_curdoc(document, change.callback_invoker)
        push(document, comm)


@contextlib.contextmanager
def _inline(document: Any) -> Iterator[None]:
    """Make models for a notebook: styles are said rather than loaded, and once each."""
    # Also where a layout of others has begun a cache: the sheets in that are to be loaded, so that Panel would put them
    # inline for one model after the other, and count all models anew each time.
    if pn.config.inline and not isinstance(state._stylesheets.get(document), InlineStyles):
        state._stylesheets[document] = InlineStyles()
    state._stylesheets.setdefault(document, {})
    with set_curdoc(document):
        yield


class InlineStyles(dict[str, Any]):
    """Panel's cache of the style sheets of a document, which has all of Panel's own from the start, inline."""

    def __bool__(self) -> bool:
        return True

    def __contains__(self, url: object) -> bool:
        if not super().__contains__(url) and isinstance(url, str):
            # Panel has two addresses for the same, depending on when it is asked.
            elsewhere = url.replace(LOCAL_DIST, CDN_DIST) if url.startswith(LOCAL_DIST) else url
            if elsewhere != url and elsewhere in self:
                self[url] = self[elsewhere]
            elif isinstance(sheet := replace_inline_css(ImportedStyleSheet(url=elsewhere)), InlineStyleSheet):
                self[url] = sheet
        return super().__contains__(url)


def _put_styles_inline(model: Any, known: Mapping[str, Any]) -> None:
    """Say what the style sheets of a model and all below it say, which Panel's theme would load."""
    for element in model.select({"type": UIElement}):
        sheets = element.stylesheets
        said = [
            known[sheet.url] if isinstance(sheet, ImportedStyleSheet) and sheet.url in known else sheet
            for sheet in sheets
        ]
        if said != sheets:
            element.stylesheets = said


ICONS_STYLE = """
.material-icons { font-family: "Material Icons"; line-height: 1; letter-spacing: normal; text-transform: none;
  white-space: nowrap; direction: ltr; font-feature-settings: "liga"; -webkit-font-smoothing: antialiased }
"""
"""What Material UI's icons need beside their font."""


class IconFont(pn.custom.JSComponent):
    """Makes the font of the icons known to a notebook, which else shows their names; shows nothing itself."""

    font = param.String(default="", doc="As a data URI.")

    _esm = """
    export function render({model}) {
      const family = "Material Icons"
      if (![...document.fonts].some(font => font.family.replaceAll('"', "") === family)) {
        const font = new FontFace(family, `url(${model.font})`)
        document.fonts.add(font)
        font.load()
      }
      return document.createElement("div")
    }
    """


@functools.cache
def _icon_font() -> str:
    """The font of Material UI's icons as a data URI, which asks no server."""
    (file,) = (Path(pmui.__file__).parent / "dist").glob("material-icons-[!o]*.woff2")
    return f"data:font/woff2;base64,{base64.b64encode(file.read_bytes()).decode()}"


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
            if frame.root is not None and frame not in self._frames:
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
        beat, now = frame.live.beat, time.monotonic()
        heard = max(beat.heard, frame.since, self._idle_since)
        if frame.root is None or (not self._cell_runs and now > heard + SILENCE_SECONDS):
            self.leave(frame)
            return
        frame.guard()
        # While a cell runs an older kernel does not hear the browser, which therefore is not waited for.
        if frame.opened and (beat.ready or self._cell_runs):
            try:
                frame.live.tick()
                with frame.changing():
                    # Not at each tick: the notebook shows the kernel as busy at each answer.
                    if now > beat.asked + SECONDS_BETWEEN_QUESTIONS:
                        beat.ask()
                    frame.send()
            except Exception:  # whatever it is, the other widgets of the notebook go on
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
                if frame.root is not None and frame.cell == cell is not None and frame.execution != execution:
                    frame.take_out(whole=True)
                if frame.root is None:
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
