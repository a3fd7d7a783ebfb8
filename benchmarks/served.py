"""A process that serves the explorer with one race, and a page in Chromium, for the benchmarks that need them."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
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
    from prdp_explorer.dashboard import make_page

    serve_page(port, make_page, race.id, lambda question: answers[question]())


def serve_page(port: int, make: Callable[[], Any], name: str, answer: Callable[[str], str]) -> None:
    """In the server process: serve what is made for each session, say by which name, and answer questions."""
    import panel as pn

    def listen() -> None:
        print(name, flush=True)
        for line in sys.stdin:
            print(answer(line.strip()), flush=True)

    threading.Thread(target=listen, daemon=True).start()
    pn.serve({"explorer": make}, port=port, address="localhost", show=False, verbose=False, location=False)


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


@contextmanager
def websocket_client(address: str) -> Iterator[None]:
    """A session whose page a client opened over HTTP, pulled over its websocket, and goes on reading as it comes."""
    received, stop = [0], threading.Event()
    reader = threading.Thread(target=lambda: asyncio.run(_read(address, received, stop)), daemon=True)
    reader.start()
    try:
        time.sleep(3.0)  # the page catches up with the race
        before, began = received[0], time.perf_counter()
        yield
        rate = (received[0] - before) / (time.perf_counter() - began)
        assert rate > 1000, "the client received next to nothing, so nothing was measured"
        print(f"           (the client received {rate / 1000:.0f} kB/s)")
    finally:
        stop.set()
        reader.join()


async def _read(address: str, received: list[int], stop: threading.Event) -> None:
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    page = (await AsyncHTTPClient().fetch(address)).body.decode()
    token = re.findall(r'"token":"([^"]+)"', page)[0]
    request = HTTPRequest(address.replace("http", "ws").replace("/explorer?", "/explorer/ws?"))
    connection = await websocket_connect(request, subprotocols=["bokeh", token], max_message_size=2**26)
    for _ in range(3):  # the fragments of the server's greeting, before which it is not ready
        await connection.read_message()
    loaded = {"type": "event", "name": "document_ready", "values": {"type": "map"}}
    told = {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": loaded}]}
    for number, (kind, content) in enumerate([("PULL-DOC-REQ", {}), ("PATCH-DOC", told)]):
        for fragment in ({"msgid": str(number), "msgtype": kind}, {}, content):
            await connection.write_message(json.dumps(fragment))
    while not stop.is_set():
        try:
            message = await asyncio.wait_for(connection.read_message(), timeout=0.5)
        except TimeoutError:
            continue
        if message is None:
            break
        received[0] += len(message)
    connection.close()
