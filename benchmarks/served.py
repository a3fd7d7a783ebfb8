"""A process that serves the explorer with one race, and a page in Chromium, for the benchmarks that need them."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EPOCHS = 100_000


class Server:
    """A process that serves and trains, asked over its standard input and output.

    **Attributes:**

    - `address`: of the page that shows its race.
    """

    def __init__(self, process: subprocess.Popen[str], port: int):
        self._process = process
        race = self._read()
        self.address = f"http://localhost:{port}/explorer?race={race}"

    def ask(self, question: str) -> str:
        """Its answer, a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server ended"
        return line.strip()


@contextmanager
def server(script: str, port: int) -> Iterator[Server]:
    """Run a script that calls `serve`, with a store and a cache of its own, as long as this is open."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, script, "--serve", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PRDP_EXPLORER_CACHE": folder,
                "PRDP_EXPLORER_STORE": str(Path(folder) / "runs.sqlite"),
            },
        )
        try:
            yield Server(process, port)
        finally:
            process.kill()
            process.wait()


def begin_race() -> Any:
    """In the server process: an unpaced race of heat 1D (preset live), PRDP and full physics, that needs no page."""
    from prdp_explorer import Constant
    from prdp_explorer.dashboard._explorer import shared_engine

    race = shared_engine().race("heat-1d", {"PRDP": None, "full physics": Constant()}, epochs=EPOCHS)
    race.watch()
    return race


def serve(port: int, race: Any, answers: Mapping[str, Callable[[], str]]) -> None:
    """In the server process: serve the explorer as `apps/explorer.py` does, and answer questions about its race."""
    import panel as pn

    from prdp_explorer.dashboard import make_page

    def answer() -> None:
        print(race.id, flush=True)
        for line in sys.stdin:
            print(answers[line.strip()](), flush=True)

    threading.Thread(target=answer, daemon=True).start()
    pn.serve({"explorer": make_page}, port=port, address="localhost", show=False, verbose=False, location=False)


@contextmanager
def page(address: str) -> Iterator[Any]:
    """A page of headless Chromium, on the same cores, that has been drawn."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        page.get_by_role("button", name="Step", exact=True).wait_for()
        page.wait_for_function("() => Bokeh.documents[0].is_idle")
        yield page
        browser.close()
