"""The server under test, and the page as a person sees it."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Request, expect

HOSTS = ("localhost", "127.0.0.1")

PATIENCE = 30_000
"""Milliseconds after which a test gives up waiting for the page."""

FASTEST = "as fast as possible"

LIVE = "() => window.Bokeh !== undefined && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"

MODELS = "const models = type => [...Bokeh.documents[0].all_models].filter(model => model.type === type);"

CURVES = f"""() => {{ {MODELS}
    return Object.fromEntries(models('ColumnDataSource').filter(
        source => source.name?.startsWith('contender') && source.get_array('epoch')[0] === 0
    ).map(source => [source.name,
        Object.fromEntries(source.columns().map(name => [name, Array.from(source.get_array(name))]))]))
}}"""

TITLES = f"() => {{ {MODELS} return models('Title').map(title => title.text) }}"

LINES = f"""() => {{ {MODELS}
    return models('ColumnDataSource').filter(source => source.columns().includes('field_4')).map(source =>
        Object.fromEntries(source.columns().map(name => [name, Array.from(source.get_array(name))])))
}}"""

FOCUSED = """() => {
    let element = document.activeElement
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement
    const label = element?.getAttribute('aria-label') || element?.labels?.[0]?.innerText || element?.innerText || ''
    return `${element?.getAttribute('role') ?? element?.type ?? element?.tagName} ${label.replace(/\\s+/g, ' ')}`
}"""


@dataclass(frozen=True)
class Server:
    """The server under test."""

    port: int

    def address(self, host: str = "localhost", query: str = "") -> str:
        return f"http://{host}:{self.port}/explorer{query}"

    def inspect(self) -> dict[str, Any]:
        """What the plug-in tells of the inside."""
        with urllib.request.urlopen(f"http://localhost:{self.port}/inspect", timeout=30) as answer:
            return json.load(answer)

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
        """Look inside until a condition holds; fails after some seconds."""
        deadline = time.monotonic() + seconds
        while not condition(inside := self.inspect()):
            assert time.monotonic() < deadline, json.dumps(
                {name: value for name, value in inside.items() if name != "races"}
            )
            time.sleep(0.2)
        return inside


class View:
    """A page with the explorer in it, by what a person reads on it."""

    def __init__(self, page: Page, server: Server):
        self.page, self.server = page, server
        self.start, self.pause, self.resume, self.replay, self.step, self.stop, self.fork, self.reset = (
            page.get_by_role("button", name=name, exact=True)
            for name in ("Start", "Pause", "Resume", "Replay", "Step", "Stop", "Fork", "Reset")
        )
        self.status = page.get_by_role("status")
        self.log = page.get_by_role("log")
        self.alerts = page.get_by_role("alert")
        self.main = page.get_by_role("main")

    def open(self, address: str | None = None) -> "View":
        """Open the explorer and wait until it answers."""
        self.page.goto(address or self.server.address())
        expect(self.start).to_be_visible(timeout=PATIENCE)
        self.page.wait_for_function(LIVE, timeout=PATIENCE)
        if address is None:
            self.page.wait_for_url(re.compile("seed=0"))
            self._fresh = self.page.url
        return self

    def begin_again(self) -> None:
        """Bring the page back to what it was when it was opened, as a person would."""
        self.page.keyboard.press("Escape")
        self.close_alerts()
        self.open_tab("Race")  # first: what is not seen need not be drawn anew
        if self.stop.is_enabled():
            self.stop.click()
        if self.reset.is_enabled():
            self.reset.click()
        self.expect_state("Ready")
        if self.page.get_by_role("combobox", name="Speed").inner_text() != "1×":
            self.choose("Speed", "1×")
        self.unfold_scenarios()
        if self.page.url == self._fresh:
            return
        for scenario, epochs in (("Poisson inverse, 1 parameter", "180"), ("Heat 1D emulator", "100")):
            self.choose_scenario(scenario)  # which sets all that belongs to it
            expect(self.field("Epochs")).to_have_value(epochs, timeout=PATIENCE)
        self.enter("Seed", "0")
        for name in ("equal epochs", "epoch"):
            self.page.get_by_role("button", name=name, exact=True).click()
        expect(self.page).to_have_url(self._fresh)

    def open_tab(self, name: str) -> None:
        """Open one of the tabs of the page."""
        self.page.get_by_role("tab", name=name).click()

    def field(self, name: str) -> Locator:
        """The text field whose label begins with `name`."""
        return self.page.get_by_role("textbox", name=re.compile(f"^{name}"))

    def slider(self, name: str) -> Locator:
        return self.page.get_by_role("slider", name=re.compile(name))

    def enter(self, name: str, value: str) -> None:
        """Type a value into a field and press Enter."""
        self.field(name).fill(value)
        self.field(name).press("Enter")

    def choose(self, select: str, option: str) -> None:
        """Choose from a select widget."""
        self.page.get_by_role("combobox", name=re.compile(f"^{select}")).click()
        self.page.get_by_role("menuitem", name=option, exact=True).or_(
            self.page.get_by_role("option", name=option, exact=True)
        ).click()
        expect(self.page.get_by_role("combobox", name=re.compile(f"^{select}"))).to_have_text(option)

    def choose_scenario(self, title: str) -> None:
        """Choose a scenario by its card."""
        self.unfold_scenarios()
        self.page.get_by_role("radio", name=title, exact=True).check()

    def unfold_scenarios(self) -> None:
        """Show the cards of all scenarios, which a race folds away if it lasts long enough to be seen."""
        folded = self.page.get_by_role("button", name="Show all scenarios")
        if folded.is_visible():
            folded.click()

    def expect_state(self, *states: str) -> None:
        """Wait for the state in words."""
        expect(self.main.get_by_text(re.compile(f"^({'|'.join(states)})$")).first).to_be_visible(timeout=PATIENCE)

    def expect_epoch(self, at_least: int) -> tuple[int, float]:
        """Wait for an epoch; the epoch then shown, and when that was in seconds."""
        deadline = time.monotonic() + PATIENCE / 1000
        while not re.match("epoch", text := self.status.inner_text()) or self.epoch < at_least:
            assert time.monotonic() < deadline, text
            self.page.wait_for_timeout(50)
        return self.epoch, time.monotonic()

    @property
    def epoch(self) -> int:
        """The epoch that the status tells."""
        found = re.fullmatch(r"epoch (\d+) of \d+", self.status.inner_text())
        assert found, self.status.inner_text()
        return int(found[1])

    def expect_alert(self, *words: str) -> None:
        """Wait for a notification with all of these words and close it."""
        alert = self.alerts
        for word in words:
            alert = alert.filter(has_text=word)
        expect(alert.first).to_be_visible(timeout=PATIENCE)
        self.close_alerts()

    def close_alerts(self) -> None:
        """Close all notifications, so that the next is seen to be new."""
        for _ in range(self.alerts.count()):
            self.alerts.first.get_by_role("button", name="Close").click()
        expect(self.alerts).to_have_count(0, timeout=PATIENCE)

    @property
    def curves(self) -> dict[str, dict[str, list]]:
        """What the browser holds of the two runs."""
        sources = self.page.evaluate(CURVES)
        return {"PRDP": sources["contender 0"], "full physics": sources["contender 1"]}

    @property
    def race(self) -> str:
        """The id of the race in the page's address."""
        found = re.search(r"race=([\w-]+)", self.page.url)
        assert found, self.page.url
        return found[1]

    def inside(self) -> dict[str, Any]:
        """The race of this page as the server has it."""
        return self.server.inspect()["races"][self.race]


class Pages:
    """Pages of the server under test, each in a fresh context, and what they complained of or asked of others."""

    def __init__(self, browser: Browser, server: Server):
        self._browser, self._server = browser, server
        self._complaints: list[str] = []

    def make(self, width: int = 1440, height: int = 1100) -> Page:
        page = self._browser.new_context(viewport={"width": width, "height": height}).new_page()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._complaints.append(f"page error: {error}"))
        page.on("request", self._on_request)
        page.on(
            "requestfailed", lambda request: self._complaints.append(f"failed: {request.url[:200]} {request.failure}")
        )
        page.on("dialog", self._on_dialog)
        return page

    def complaints(self) -> str:
        """What there was since this was last asked, a line each."""
        told = "\n".join(self._complaints)
        self._complaints.clear()
        return told

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complaints.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        known = tuple(f"{scheme}://{host}:{self._server.port}/" for scheme in ("http", "ws") for host in HOSTS)
        if not request.url.startswith((*known, "data:", "blob:")):
            self._complaints.append(f"asked elsewhere: {request.url[:200]}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self._complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


class Shared:
    """A page that tests have one after the other, since to open one costs more than most of what is tested on it."""

    def __init__(self, browser: Browser, server: Server):
        self._pages, self._server = Pages(browser, server), server
        self._view: View | None = None

    def lend(self) -> View:
        """The page as it is when it is opened: the one that was returned, or a new one."""
        if self._view is None:
            self._view = View(self._pages.make(), self._server).open()
        return self._view

    def take_back(self) -> None:
        """Bring the page back to what it was; fails if that cannot be done, or if the page complained."""
        assert self._view is not None
        try:
            self._view.begin_again()
        except Exception:
            self.close()
            raise
        complained = self._pages.complaints()
        assert not complained, complained

    def close(self) -> None:
        """Close the page, and forget what it complained of: to close one cancels requests."""
        if self._view is not None:
            self._view.page.context.close()
        self._view = None
        self._pages.complaints()
