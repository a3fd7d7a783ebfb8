"""The quickstart in JupyterLab, as a person works through it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect
from ui_helpers import PATIENCE

pytestmark = pytest.mark.ui

ROOT = Path(__file__).parent.parent.parent

QUIET = '{"fetchNews": "false", "checkForUpdates": false}'
"""JupyterLab would else ask whether it may ask another host for news."""

LAB = ("connection lost", "debugger", "exception opening new comm")
"""What JupyterLab itself complains of on slow machines, none of it about what an output shows."""

# Of all sources with the name of the first contender, on whichever document of the notebook.
EPOCHS = """() => Math.max(0, ...Bokeh.documents.flatMap(document => [...document.all_models])
    .filter(model => model.name === "contender 0").map(model => model.get_array("epoch").length))"""


@pytest.fixture(scope="module")
def lab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """JupyterLab with a copy of the quickstart, on a port of the loopback address."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "work").mkdir()
    text = (ROOT / "notebooks" / "quickstart.ipynb").read_text()
    assert "pace=10" in text
    (folder / "work" / "quickstart.ipynb").write_text(text.replace("pace=10", "pace=2"))  # a browser on a busy machine
    quiet = folder / "settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text(QUIET)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": folder / "work",
        "ServerApp.allow_root": True,
        "IdentityProvider.token": "",
    }
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                *(f"--{name}={each}" for name, each in options.items()),
            ],
            env={
                **os.environ,
                "PRDP_EXPLORER_STORE": ":memory:",
                "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
                "JUPYTER_CONFIG_DIR": str(folder / "config"),
                "JUPYTER_DATA_DIR": str(folder / "data"),
                "IPYTHONDIR": str(folder / "ipython"),
                "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.2)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # with its kernels
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def notebook(browser: Browser, lab: int) -> Iterator["Notebook"]:
    """The quickstart, opened; the test fails if its page complained or asked elsewhere."""
    complaints: list[str] = []
    here = tuple(f"{scheme}://127.0.0.1:{lab}/" for scheme in ("http", "ws"))
    context = browser.new_context(viewport={"width": 1440, "height": 1100})
    page = context.new_page()

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(words in message.text.lower() for words in LAB):
            complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

    def on_request(request: Request) -> None:
        if not request.url.startswith((*here, "data:", "blob:")):
            complaints.append(f"asked elsewhere: {request.url[:200]}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
    page.on("request", on_request)
    yield Notebook(page, lab)
    complained = list(complaints)
    context.close()
    assert not complained, "\n".join(complained)


class Notebook:
    """A notebook in JupyterLab, by its cells."""

    def __init__(self, page: Page, port: int):
        self.page = page
        page.goto(f"http://127.0.0.1:{port}/lab/tree/quickstart.ipynb?reset")
        expect(page.get_by_text(re.compile(r"Python 3.* \| Idle"))).to_be_visible(timeout=60_000)

    def cell(self, words: str) -> Locator:
        """The code cell with these words in it."""
        return self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".cm-content", has_text=words))

    def start(self, words: str) -> Locator:
        """Execute a cell and do not wait."""
        cell = self.cell(words)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        return cell

    def run(self, words: str) -> str:
        """Execute a cell; what it says as text."""
        cell = self.start(words)
        self.wait(cell)
        return "\n".join(cell.locator(".jp-OutputArea-output pre").all_inner_texts())

    def wait(self, cell: Locator) -> None:
        """Wait until a cell is done."""
        expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"), timeout=60_000)

    def add(self, code: str) -> None:
        """Add a cell at the end."""
        last = self.page.locator(".jp-CodeCell").last
        last.locator(".jp-InputPrompt").click()
        self.page.keyboard.press("b")
        self.page.keyboard.press("Enter")
        expect(self.page.locator(".jp-CodeCell").last.locator(".cm-content")).to_be_focused()
        self.page.keyboard.insert_text(code)


def test_the_quickstart_live(notebook: Notebook):
    page = notebook.page
    notebook.run("import panel")
    widget = notebook.start("explorer = Explorer(run)")
    notebook.wait(widget)
    status = widget.get_by_role("status").filter(has_text="epoch").first
    expect(status).to_have_text(re.compile(r"epoch [1-9]\d* of 100"), timeout=25_000)

    # The plot grows, and the slider acts, while a later cell runs.
    notebook.add(
        "import time\nuntil = time.monotonic() + 600\nwhile not run.log.events[-1].name == 'adjust' "
        "and time.monotonic() < until: time.sleep(0.05)\ntime.sleep(1)\nlater = len(run.log)"
    )
    busy = notebook.start("later = len(run.log)")
    before = page.evaluate(EPOCHS)
    page.wait_for_function(f"({EPOCHS})() > {before} + 3", timeout=PATIENCE)
    assert busy.locator(".jp-InputPrompt").inner_text() == "[*]:"
    slider = widget.get_by_role("slider", name=re.compile("τ_step"))
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    notebook.wait(busy)
    notebook.add(
        "print([(event.epoch, event.values) for event in run.log.events if event.name == 'adjust'])\n"
        "print('the last', run.log.records[-1].tau_step)\nrun.stop()"
    )
    told = notebook.run("print('the last'")
    assert re.search(r"'tau_step': 0\.9[67]", told), told  # the slider tells of some of its steps together
    assert "the last 0.96" in told
    expect(widget.get_by_text("Stopped", exact=True)).to_be_visible(timeout=PATIENCE)
