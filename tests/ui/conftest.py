"""A real server, a real browser, and pages that must not complain."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, TimeoutError, sync_playwright
from ui_helpers import Server, View

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "browser tests were NOT run: no Chromium found; apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server as `make serve` starts it, with an eye inside."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    origins = [f"--allow-websocket-origin={host}:{port}" for host in ("localhost", "127.0.0.1")]
    lifetime = ["--unused-session-lifetime=5000", "--check-unused-sessions=2000"]
    command = [sys.executable, "-m", "panel", "serve", "apps/explorer.py"]
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--address=localhost", f"--port={port}", *origins, *lifetime, "--plugins=inspect_plugin"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = monotonic() + 60
            while not _answers(port):
                assert process.poll() is None and monotonic() < deadline, (folder / "log").read_text()
                sleep(0.1)
            yield Server(port)
            told = (folder / "log").read_text()
            assert process.poll() is None, told
            # A page that closes while something is written to it is nothing to complain of.
            errors = [error for error in told.split("Traceback (most recent call last)")[1:] if not _CLOSED(error)]
            assert not errors, told
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_CLOSED = re.compile(r"(WebSocket|Stream)ClosedError").search


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/inspect", timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def new_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Makes pages in fresh contexts; the test fails if any of them complained or asked elsewhere."""
    complaints: list[str] = []
    contexts = []

    def listen(page: Page) -> Page:
        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                complaints.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

        def on_request(request: Request) -> None:
            known = tuple(f"{scheme}://{host}:{server.port}/" for scheme in ("http", "ws") for host in HOSTS)
            if not request.url.startswith((*known, "data:", "blob:")):
                complaints.append(f"asked elsewhere: {request.url[:200]}")

        def on_dialog(dialog: Dialog) -> None:
            complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("console", on_console)
        page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
        page.on("request", on_request)
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:200]} {request.failure}"))
        page.on("dialog", on_dialog)
        return page

    def make(width: int = 1440, height: int = 1100) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        return listen(context.new_page())

    yield make
    complained = list(complaints)  # before closing, which cancels requests
    for context in contexts:
        context.close()
    assert not complained, "\n".join(complained)


HOSTS = ("localhost", "127.0.0.1")


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A blank page of 1440 × 1100 pixels."""
    return new_page()


@pytest.fixture
def view(page: Page, server: Server) -> Iterator[View]:
    """The explorer, opened; its race is stopped at the end, so that tests do not slow each other down."""
    view = View(page, server).open()
    yield view
    if not page.is_closed() and view.stop.is_enabled():
        with contextlib.suppress(TimeoutError):  # it may be over before the click
            view.stop.click(timeout=3000)
        view.expect_state("Stopped", "Finished", "Diverged")
