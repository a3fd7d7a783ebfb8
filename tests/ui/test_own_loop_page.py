"""A page beside a script, as `docs/own_loop.md` has it: opened while the loop runs, and nothing of it is missed."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from ui_helpers import CURVES

pytestmark = pytest.mark.ui

DOCS = Path(__file__).parents[2] / "docs" / "own_loop.md"


def script() -> str:
    """The script that the page has."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    (found,) = (block for block in blocks if "pn.serve" in block)
    return found


def opened(page: Page, address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < deadline
        try:
            page.goto(address)
            return
        except Exception:  # not yet served
            time.sleep(0.3)


def test_the_script_of_the_page(browser: Browser, tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "my_loop.py"
    file.write_text(script().replace("5007", str(port)))
    environment = {**os.environ, "PRDP_EXPLORER_STORE": ":memory:"}
    process = subprocess.Popen([sys.executable, str(file)], cwd=tmp_path, env=environment)
    page = browser.new_page()
    try:
        opened(page, f"http://localhost:{port}", process)
        page.get_by_role("button", name="Pause", exact=True).wait_for(timeout=60_000)
        page.wait_for_function(f"() => ({CURVES})()['contender 0']?.epoch.length > 100", timeout=60_000)
        epochs = page.evaluate(CURVES)["contender 0"]["epoch"]
        assert epochs == list(range(len(epochs)))
    finally:
        page.close()
        process.kill()
        process.wait()
