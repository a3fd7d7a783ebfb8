"""Widgets in a real kernel, which no browser looks at, and what is left of them."""

import queue
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

SETUP = """
import threading, time
import panel as pn
from prdp_explorer import PRDP, Engine
from prdp_explorer.dashboard import Explorer, FieldsView, RaceView, WhyView, _notebook
from prdp_explorer.dashboard._notebook import KERNEL
from pyviz_comms import JupyterCommManager

pn.extension("tabulator", inline=True)
engine = Engine()
ip = get_ipython()
opened = []

def messages():
    "What receives messages of the browser, and all that is sent to it over."
    targets = [target for target in ip.kernel.comm_manager.targets if len(target) == 32]
    return len(targets), len(JupyterCommManager._comms)

own = messages()  # Panel's

def left():
    "What there is of widgets: threads, frames that are kept up to date, callbacks of cells, and messages."
    threads = sum(thread.name == "prdp-widgets" for thread in threading.enumerate())
    callbacks = [each for name in ("pre_run_cell", "post_run_cell") for each in ip.events.callbacks[name]]
    called = sum(getattr(each, "__self__", None) is KERNEL for each in callbacks)
    return threads, len(KERNEL._frames), called, *(now - then for now, then in zip(messages(), own))

def settle(wanted, seconds=8):
    "Wait until that is left."
    until = time.monotonic() + seconds
    while left() != wanted and time.monotonic() < until:
        time.sleep(0.05)
    return left()

def open_output(live):
    "What the browser does once it has drawn an output."
    frame = live._frame
    received = _notebook._received_by(frame.root)
    received._comm = frame._output[3]  # what is sent to the browser may be sent anywhere
    received._on_open(None)
    live.beat._handle_msg(0)
"""

NOTHING = (0, 0, 0, 0, 0)


class Kernel:
    """A kernel as a notebook drives it."""

    def __init__(self) -> None:
        self._manager = KernelManager(kernel_name="python3")
        # This Python, whatever the kernels are that are installed.
        spec = self._manager.kernel_spec
        assert spec is not None
        spec.argv[0] = sys.executable
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def run(self, code: str, cell: str = "some cell", timeout: float = 60) -> str:
        """Execute a cell; what it printed. An error in it fails the test."""
        session, printed = self._client.session, []
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = session.msg("execute_request", content, metadata={"cellId": cell})
        self._client.shell_channel.send(message)
        until = time.monotonic() + timeout
        while True:
            try:
                told: Any = self._client.get_iopub_msg(timeout=max(0.1, until - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"The cell is not done after {timeout} seconds: {code}")
            if told["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if told["msg_type"] == "error":
                pytest.fail("\n".join(told["content"]["traceback"]))
            if told["msg_type"] == "stream":
                printed.append(told["content"]["text"])
            if told["msg_type"] == "status" and told["content"]["execution_state"] == "idle":
                return "".join(printed).strip()

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    kernel = Kernel()
    try:
        kernel.run(SETUP, "setup", timeout=120)
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def run(shared: Kernel) -> Iterator[Callable[..., str]]:
    """Executes a cell; in the end nothing is left of the widgets."""
    assert shared.run("print(settle((0, 0, 0, 0, 0)))") == str(NOTHING)
    yield shared.run
    shared.run("for frame in list(KERNEL._known): frame.live.close()")  # one test that fails is enough


def test_a_cell_that_runs_again_leaves_one_widget_and_one_thread(run: Callable[..., str]):
    for _ in range(2):
        run("explorer = Explorer('heat-1d', engine=engine)\nexplorer", "explorer")
    assert run("print(settle((1, 1, 2, 1, 2)))") == "(1, 1, 2, 1, 2)"
    assert run("print(explorer.controls.scenario.value)") == "heat-1d"
    run("1 + 1", "explorer")  # it shows something else now
    assert run("print(settle((0, 0, 0, 0, 0)))") == str(NOTHING)


def test_other_cells_leave_a_widget_alone(run: Callable[..., str]):
    run("run = engine.start('heat-1d', PRDP(), seed=1, pace=5)\nview = RaceView(run)\nview", "view")
    for cell in ("a", "b", "a"):
        run("1 + 1", cell)
    assert run("print(settle((1, 1, 2, 1, 2)), run.race.watchers)") == "(1, 1, 2, 1, 2) 1"
    run("view.close()\nview.close()")
    assert run("print(settle((0, 0, 0, 0, 0)), run.race.watchers, run.race.paused)") == f"{NOTHING} 0 True"


def test_a_race_that_is_shown_again_goes_on_and_one_that_is_not_is_paused(run: Callable[..., str]):
    run("run = engine.start('heat-1d', PRDP(), seed=1, pace=5)")
    for _ in range(2):
        run("RaceView(run)", "view")
    assert run("print(run.race.watchers, run.race.paused)") == "1 False"
    run("former, run = run, engine.start('heat-1d', PRDP(), seed=2, pace=5)\nWhyView(run)", "view")
    assert run("print(former.race.watchers, former.race.paused)") == "0 True"
    assert run("print(run.race.watchers, run.race.paused)") == "1 False"
    run("run.stop()\nformer.stop()", "view")


def test_displayed_a_second_time_it_moves(run: Callable[..., str]):
    run("run = engine.start('heat-1d', PRDP(), seed=1, pace=5)\nview = RaceView(run)\nview", "first")
    run("view", "second")
    assert run("print(settle((1, 1, 2, 1, 2)), run.race.watchers)") == "(1, 1, 2, 1, 2) 1"
    run("1 + 1", "first")
    assert run("print(left(), run.race.watchers)") == "(1, 1, 2, 1, 2) 1"
    run("run.stop()", "second")
    assert run("print(settle((0, 0, 0, 0, 0)))") == str(NOTHING)


def test_closed_and_displayed_again_it_goes_on(run: Callable[..., str]):
    run("run = engine.start('heat-1d', PRDP(), seed=1, pace=5)\nview = RaceView(run)\nview", "first")
    run("view.close()")
    run("view", "second")
    assert run("print(settle((1, 1, 2, 1, 2)), run.race.watchers)") == "(1, 1, 2, 1, 2) 1"
    run("run.stop()\nview.close()")


def test_it_follows_a_run_while_a_cell_runs(run: Callable[..., str]):
    run(
        "run = engine.start('heat-1d', PRDP(), seed=1)\nview = RaceView(run)\n"
        "drawn = len(view.sources[0].source.data['epoch'])\nview",
        "view",
    )
    # Nobody has drawn it yet, and what is sent would be lost.
    assert run("run.wait()\ntime.sleep(1)\nprint(len(view.sources[0].source.data['epoch']) - drawn)") == "0"
    run("open_output(view)")
    printed = run(
        "until = time.monotonic() + 20\n"
        "while 'finished' not in view._heading.object and time.monotonic() < until: time.sleep(0.05)\n"
        "print(len(view.sources[0].source.data['epoch']), 'finished' in view._heading.object)"
    )
    assert printed == "101 True"
    run("view.close()")


def test_when_the_browser_is_silent_it_rests_and_when_it_is_back_it_goes_on(run: Callable[..., str]):
    run("run = engine.start('heat-1d', PRDP(), seed=1, pace=5)\nview = RaceView(run)\nview", "view")
    run("open_output(view)\n_notebook.SILENCE_SECONDS = 0.5")
    try:
        assert run("time.sleep(2)\nprint(left()[:3])") == "(1, 1, 2)"  # a cell runs: nobody can be heard
        time.sleep(2.5)
        assert run("print(left()[:3], run.race.watchers, run.race.paused)") == "(0, 0, 0) 0 True"
        assert run("view.beat._handle_msg(-1)\nprint(left()[:3], run.race.watchers)") == "(1, 1, 2) 1"
    finally:
        run("_notebook.SILENCE_SECONDS = 20.0\nrun.stop()\nview.close()")


def test_beside_others_in_a_layout(run: Callable[..., str]):
    run("run = engine.start('heat-1d', PRDP(), seed=1, pace=5)")
    for _ in range(2):
        run("pn.Column(RaceView(run), FieldsView(run))", "both")
    assert run("print(settle((1, 2, 2, 1, 2)), run.race.watchers)") == "(1, 2, 2, 1, 2) 2"
    # A style is said once or twice: Panel alone says it for each model, and takes ten seconds for that.
    said = run(
        "from bokeh.models import InlineStyleSheet\n"
        "sheets = KERNEL._frames[0]._output[1].select({'type': InlineStyleSheet})\n"
        "long = [sheet.css for sheet in sheets if len(sheet.css) > 1000]\n"
        "print(0 < len(long) <= 2 * len(set(long)))"
    )
    assert said == "True"
    run("run.stop()", "both")
    assert run("print(settle((0, 0, 0, 0, 0)), run.race.watchers)") == f"{NOTHING} 0"


def test_an_output_is_small_and_asks_nobody(run: Callable[..., str]):
    code = (
        "explorer = Explorer(engine=engine)\n"
        "text = explorer._repr_mimebundle_()[0]['text/html']\n"
        "model = explorer._frame._output[1]\n"
        "from bokeh.models import ImportedStyleSheet\n"
        "def loaded(): return len(list(model.select({'type': ImportedStyleSheet})))\n"
        "before = loaded()\n"
        "for tab in range(len(explorer.tabs)):\n"
        "    explorer.tabs.active = tab\n"
        "    explorer.tick()\n"
        "print(len(text) < 5e6, before, loaded())\n"
        "explorer.close()"
    )
    assert run(code) == "True 0 0"
