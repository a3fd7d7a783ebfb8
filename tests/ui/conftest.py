"""A real server, a real browser, and pages that must not complain."""

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
from playwright.sync_api import Browser, Page, sync_playwright
from ui_helpers import HOSTS, Pages, Server, Shared, View

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
    origins = [f"--allow-websocket-origin={host}:{port}" for host in HOSTS]
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
    pages, made = Pages(browser, server), list[Page]()

    def make(width: int = 1440, height: int = 1100) -> Page:
        made.append(pages.make(width, height))
        return made[-1]

    yield make
    complained = pages.complaints()  # before closing, which cancels requests
    for page in made:
        page.context.close()
    assert not complained, complained


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A blank page of 1440 × 1100 pixels."""
    return new_page()


@pytest.fixture(scope="session")
def shared(browser: Browser, server: Server) -> Iterator[Shared]:
    shared = Shared(browser, server)
    yield shared
    shared.close()


@pytest.fixture
def view(shared: Shared, request: pytest.FixtureRequest) -> Iterator[View]:
    """The explorer as it is when it is opened, on a page of 1440 × 1100 pixels; see `Shared`."""
    if getattr(request.node, "execution_count", 1) > 1:  # tried again
        shared.close()
    yield shared.lend()
    shared.take_back()
