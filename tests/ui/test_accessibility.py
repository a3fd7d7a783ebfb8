"""The page for all: axe finds nothing serious in light or dark, every control is reached by keyboard, and a telephone
shows everything.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Locator, Page, expect
from ui_helpers import FASTEST, FOCUSED, PATIENCE, Server, View

pytestmark = pytest.mark.ui

EXCUSED = {
    # Tabulator puts its pager into the element with the role of a grid. The buttons have names and are reached by
    # keyboard, and the rows are where a grid's rows should be.
    "aria-required-children": "pnx-tabulator",
}
"""Rules that what a toolkit makes cannot keep, and by which words in its markup it is known."""

OF_COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that ask for colours."""

SETTLED = 1500
"""Milliseconds in which colours have faded, drawers have slid, and the page has mended what is new."""

WIDER_THAN_ITS_FRAME = """() => {
    const found = []
    const walk = root => root.querySelectorAll('*').forEach(element => {
        const scrolls = ['auto', 'scroll'].includes(getComputedStyle(element).overflowX)
        if (scrolls && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1)
            found.push(`${element.tagName}.${element.className} ${element.scrollWidth} > ${element.clientWidth}`)
        if (element.shadowRoot) walk(element.shadowRoot)
    })
    walk(document)
    if (document.documentElement.scrollWidth > window.innerWidth) found.push('the page')
    return found
}"""

CONTROLS = """() => {
    const seen = window.controls = new Map()
    const name = element => element.getAttribute('aria-label') || element.labels?.[0]?.innerText || element.innerText
        || element.title || element.outerHTML.slice(0, 120)
    const walk = root => root.querySelectorAll('*').forEach(element => {
        if (element.shadowRoot) walk(element.shadowRoot)
        if (!element.matches('button, input, select, textarea, summary, a[href], [tabindex], [role=tab]')) return
        const shown = element.checkVisibility({visibilityProperty: true}) && !element.closest('[aria-hidden=true]')
        if (!shown || element.disabled || element.ariaDisabled === 'true') return
        // One of a group is reached, and the arrow keys lead to the others.
        const role = element.getAttribute('role') ?? element.type
        const group = role === 'tab' ? element.closest('[role=tablist]')
            : role === 'radio' ? element.closest('[role=radiogroup]') : null
        if (element.tabIndex < 0 && !group) return
        seen.set(group ?? element, `${role ?? element.tagName} ${name(element).replace(/\\s+/g, ' ').trim()}`)
    })
    walk(document)
    return seen.size
}"""

REACHED = """() => {
    let element = document.activeElement
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement
    const group = element?.closest('[role=tablist], [role=radiogroup]')
    window.controls.delete(group ?? element)
    return window.controls.size
}"""


def each_tab(view: View) -> Iterator[str]:
    """Open each tab in turn."""
    for tab in view.page.get_by_role("tab").all():
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true", timeout=PATIENCE)
        panel = view.page.locator(f"#{tab.get_attribute('aria-controls')}")
        if panel.count():
            expect(panel).to_be_visible(timeout=PATIENCE)
        view.page.wait_for_function("() => Bokeh.documents[0].is_idle", timeout=PATIENCE)
        yield tab.inner_text()


def findings(place: Locator, *rules: str) -> list[str]:
    """What axe finds of serious or critical impact in a place by these rules, or by all, in words."""
    place.page.wait_for_timeout(SETTLED)
    place.page.evaluate(AXE_SCRIPT)
    told = []
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    for violation in place.evaluate("(place, options) => axe.run(place, options)", options)["violations"]:
        for node in violation["nodes"]:
            excused = EXCUSED.get(violation["id"])
            if violation["impact"] in ("serious", "critical") and (excused is None or excused not in node["html"]):
                told.append(f"{violation['id']}: {violation['help']}: {node['html'][:300]}\n  {summary_of(node)}")
    return told


def summary_of(node: dict[str, Any]) -> str:
    return node["failureSummary"].replace("\n", " ")


def finished(view: View) -> View:
    """A race that is over, with everything in the drawer to be seen."""
    view.choose("Speed", FASTEST)
    view.start.click()
    expect(view.status).to_have_text("epoch 100 of 100", timeout=3 * PATIENCE)  # of which much is compiling
    view.expect_state("Finished")
    view.unfold_scenarios()
    view.page.get_by_text("What it teaches").click()
    return view


def test_axe_finds_nothing_serious_in_any_tab_in_light_and_dark(view: View):
    finished(view)
    found = {}
    for theme, rules in (("light", ()), ("dark", OF_COLOURS)):  # nothing else differs
        place = view.page.locator("html")
        for tab in each_tab(view):
            if told := findings(place, *rules):
                found[f"{tab}, {theme}"] = told
            place = view.page.locator(".MuiTabsPanel")  # all around it is the same in each tab
        view.page.get_by_role("button", name="Toggle theme").click()
        view.page.wait_for_timeout(2 * SETTLED)  # everything fades at once
    assert not found, "\n".join(f"{where}\n{each}" for where, all_of_it in found.items() for each in all_of_it)


def test_on_a_telephone_all_is_shown_and_axe_finds_nothing_serious(server: Server, new_page: Callable[..., Page]):
    view = View(new_page(width=390, height=844), server).open()
    everything = view.page.locator("html")
    view.start.click(timeout=PATIENCE)  # Playwright clicks only what nothing covers
    view.expect_epoch(2)
    assert "\n".join(findings(everything)) == ""
    view.pause.click()
    expect(view.resume).to_be_visible(timeout=PATIENCE)
    assert view.page.evaluate(WIDER_THAN_ITS_FRAME) == []
    view.stop.click(trial=True, timeout=PATIENCE)
    view.page.get_by_role("button", name="Open drawer").click()
    for field in ("τ_step", "Smoothing w", "K added", "Largest K", "K of full physics", "Seed", "Learning rate"):
        expect(view.field(field)).to_be_visible(timeout=PATIENCE)  # they come one after the other
    assert "\n".join(findings(everything)) == ""
    view.field("τ_step").scroll_into_view_if_needed(timeout=PATIENCE)
    expect(view.field("τ_step")).to_be_in_viewport(timeout=PATIENCE)


def test_every_control_is_reached_by_keyboard(view: View):
    finished(view)
    for tab in each_tab(view):
        view.page.wait_for_timeout(SETTLED)
        count = view.page.evaluate(CONTROLS)
        assert count > 20
        view.page.locator("body").click(position={"x": 600, "y": 30})
        for _ in range(2 * count + 40):
            view.page.keyboard.press("Tab")
            if not view.page.evaluate(REACHED):
                break
        missed = view.page.evaluate("() => [...window.controls.values()]")
        assert not missed, f"{tab}: {missed}; last {view.page.evaluate(FOCUSED)}"
