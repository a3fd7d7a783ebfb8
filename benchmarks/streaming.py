"""What watching costs: training throughput with a dashboard session open, against headless.

    python benchmarks/streaming.py [--seconds S] [--repeats N] [--browser] [--json FILE]

A server process serves the explorer and trains one unpaced race of heat 1D (preset live, PRDP and full physics) in its
background thread. Throughput is that of the engine, in epochs a second of both runs together, over a window of some
seconds, in turn

- headless: nobody looks;
- watched: one session, whose page a websocket client pulled and keeps receiving;
- browser (with --browser): one session in headless Chromium on the same cores, each of whose tabs was opened.

The share of a window is compared with the mean of the headless windows before and after it, since the machine's own
speed drifts. The claim: watched reaches at least 90 % of headless.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

CLAIM = 0.90
EPOCHS = 100_000


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description="Training throughput watched against headless.")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a window")
    parser.add_argument("--repeats", type=int, default=3, help="windows of each kind")
    parser.add_argument("--browser", action="store_true", help="also with Chromium on the same cores")
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    options = parser.parse_args()
    kinds: dict[str, Callable[[str], AbstractContextManager[None]]] = {"watched": _websocket_client}
    if options.browser:
        kinds["browser"] = _chromium
    rates: dict[str, list[float]] = {"headless": [], **{kind: [] for kind in kinds}}
    shares: dict[str, list[float]] = {kind: [] for kind in kinds}
    with _server() as server:
        before = server.rate(options.seconds)
        rates["headless"].append(before)
        for kind, watcher in list(kinds.items()) * options.repeats:
            with watcher(server.address):
                during = server.rate(options.seconds)
            time.sleep(1.0)  # the session ends
            after = server.rate(options.seconds)
            rates["headless"].append(after)
            rates[kind].append(during)
            shares[kind].append(2 * during / (before + after))
            before = after
    for kind, values in rates.items():
        print(f"{kind:10} {statistics.median(values):8.0f} epochs/s (median of {len(values)} windows)")
    for kind, values in shares.items():
        share = statistics.median(values)
        claim = f"   claim: at least {CLAIM:.0%}, {'met' if share >= CLAIM else 'NOT MET'}" if kind == "watched" else ""
        print(f"{kind:10} {share:8.1%} of headless (from {min(values):.1%} to {max(values):.1%}){claim}")
    print(f"load average {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")
    if options.json:
        Path(options.json).write_text(json.dumps({"rates": rates, "shares": shares}, indent=1))
    return 0


class _Server:
    """The process that serves and trains, asked for its epoch count over its standard input and output."""

    def __init__(self, process: subprocess.Popen[str], port: int, race: str):
        self._process = process
        self.address = f"http://localhost:{port}/explorer?race={race}"

    def rate(self, seconds: float) -> float:
        """Epochs a second over a window."""
        first, began = self._epochs(), time.perf_counter()
        time.sleep(seconds)
        last, ended = self._epochs(), time.perf_counter()
        return (last - first) / (ended - began)

    def _epochs(self) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("epochs\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def _server() -> Iterator[_Server]:
    port = 5917
    with tempfile.TemporaryDirectory() as cache:
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PRDP_EXPLORER_CACHE": cache,
                "PRDP_EXPLORER_STORE": str(Path(cache) / "runs.sqlite"),
            },
        )
        try:
            assert process.stdout is not None
            race = process.stdout.readline().strip()
            assert race, "the server did not start"
            yield _Server(process, port, race)
        finally:
            process.kill()
            process.wait()


def _serve(port: int) -> None:
    """In the server process: serve the explorer, each page watching the one race, and answer with its epochs."""
    import panel as pn

    from prdp_explorer import Constant
    from prdp_explorer.dashboard import make_page
    from prdp_explorer.dashboard._explorer import shared_engine

    engine = shared_engine()
    race = engine.race("heat-1d", {"PRDP": None, "full physics": Constant()}, epochs=EPOCHS)
    race.watch()  # so that it goes on when a page leaves
    run, other = race.runs.values()
    run.wait(lambda run: run.epoch > 2000)

    def answer() -> None:
        print(race.id, flush=True)
        for _ in sys.stdin:
            if run.ended or other.ended:
                raise SystemExit("the race ended within the benchmark; use fewer seconds")
            print(run.epoch + other.epoch, flush=True)

    threading.Thread(target=answer, daemon=True).start()
    pn.serve({"explorer": make_page}, port=port, address="localhost", show=False, verbose=False)


@contextmanager
def _websocket_client(address: str) -> Iterator[None]:
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


@contextmanager
def _chromium(address: str) -> Iterator[None]:
    """A session in a real browser on the same cores."""
    import shutil

    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Pause").wait_for()
        tabs = page.get_by_role("tab").all()
        for tab in [*tabs[1:], *tabs[:1]]:
            tab.click()
            time.sleep(1.0)
        time.sleep(2.0)
        yield
        browser.close()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        _serve(int(sys.argv[-1]))
    else:
        sys.exit(main())
