"""The page: it opens, reads well on any screen and with a keyboard, and can be linked to."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import FASTEST, PATIENCE, Server, Shared, View

pytestmark = pytest.mark.ui


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_it_opens_and_is_live(page: Page, server: Server, host: str):
    view = View(page, server).open(server.address(host))
    expect(page).to_have_title("PRDP explorer")
    expect(view.start).to_have_count(1)
    expect(view.start).to_be_enabled()
    expect(view.status).to_have_count(1)
    for button in (view.pause, view.step, view.stop):
        expect(button).to_be_disabled()
    view.enter("Epochs", "20")
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Finished")
    expect(view.status).to_have_text("epoch 20 of 20")


class TestLinks:
    def test_a_second_page_shows_the_same_race(self, view: View, server: Server, new_page: Callable[..., Page]):
        view.enter("Epochs", "60")
        view.enter("τ_step", "0.95")
        view.start.click()
        view.expect_epoch(2)
        view.pause.click()
        expect(view.resume).to_be_visible(timeout=PATIENCE)
        second = View(new_page(), server).open(view.page.url)
        expect(second.status).to_have_text(view.status.inner_text(), timeout=PATIENCE)
        expect(second.resume).to_be_visible(timeout=PATIENCE)
        expect(second.start).to_be_disabled()
        assert second.curves["PRDP"]["validation"] == view.curves["PRDP"]["validation"]
        after_a_step = f"epoch {view.epoch + 1} of 60"
        second.step.click()
        for page in (view, second):
            expect(page.status).to_have_text(after_a_step, timeout=PATIENCE)
        expect(second.log).to_contain_text("Training.")
        expect(second.field("Epochs")).to_have_value("60")
        expect(second.field("τ_step")).to_have_value("0.95")
        expect(second.slider("τ_step")).to_have_value("0.95")

    def test_a_link_to_a_race_that_is_not_kept_leaves_a_usable_page(self, page: Page, server: Server):
        view = View(page, server)
        view.open(server.address(query="?race=%3Cscript%3Ealert(1)%3C/script%3E"))
        expect(view.alerts.filter(has_text="not kept any more")).to_be_visible(timeout=PATIENCE)
        expect(view.start).to_be_enabled()
        view.choose("Speed", FASTEST)
        view.start.click()
        view.expect_state("Finished")
        assert view.race in server.inspect()["races"]


def test_the_dark_theme_is_readable(view: View):
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Finished")
    view.page.get_by_role("button", name="Toggle theme").click()
    view.page.wait_for_function(
        "() => Bokeh.documents[0].all_models && [...Bokeh.documents[0].all_models].filter(m => m.type === 'Figure')"
        f".every(figure => {LUMINANCE}(figure.title.text_color) - {LUMINANCE}(figure.background_fill_color) > 0.5)",
        timeout=PATIENCE,
    )
    for text in (view.status, view.main.get_by_text("After 100 epochs"), view.log.get_by_role("cell").first):
        assert view.page.evaluate(f"color => {LUMINANCE}(color)", text.evaluate("e => getComputedStyle(e).color")) > 0.5
    view.page.get_by_role("button", name="Toggle theme").click()
    view.page.wait_for_function(
        "() => [...Bokeh.documents[0].all_models].filter(m => m.type === 'Figure')"
        f".every(figure => {LUMINANCE}(figure.title.text_color) < 0.5)",
        timeout=PATIENCE,
    )


LUMINANCE = """(color => {
    const context = document.createElement('canvas').getContext('2d')
    context.fillStyle = color
    context.fillRect(0, 0, 1, 1)
    const [r, g, b] = context.getImageData(0, 0, 1, 1).data
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255
})"""

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


def test_a_narrow_page_needs_no_scrolling_aside(server: Server, new_page: Callable[..., Page]):
    view = View(new_page(width=390, height=844), server).open()
    view.start.click(timeout=PATIENCE)  # Playwright clicks only what nothing covers
    view.expect_epoch(2)
    view.pause.click()
    expect(view.resume).to_be_visible(timeout=PATIENCE)
    assert view.page.evaluate(WIDER_THAN_ITS_FRAME) == []
    view.stop.click()
    view.expect_state("Stopped")
    view.page.get_by_role("button", name=re.compile("drawer")).click()
    view.field("τ_step").scroll_into_view_if_needed(timeout=PATIENCE)
    expect(view.field("τ_step")).to_be_in_viewport(timeout=PATIENCE)


def test_a_race_is_commanded_by_keyboard(view: View):
    view.choose("Speed", "¼×")
    view.start.click()
    view.expect_epoch(1)
    view.pause.focus()
    view.page.keyboard.press("Enter")
    expect(view.resume).to_be_focused(timeout=PATIENCE)
    view.stop.press("Space")
    view.expect_state("Stopped")
    expect(view.start).to_be_enabled()
    view.start.press("Enter")
    view.expect_state("Training")


def test_a_race_that_nobody_watches_is_paused_and_leaves_nothing(
    shared: Shared, server: Server, new_page: Callable[..., Page]
):
    shared.close()
    server.wait_until(lambda inside: inside["sessions"] == 0)
    view = View(new_page(), server).open()
    view.start.click()
    view.expect_epoch(1)
    race = view.race
    during = server.inspect()
    assert (during["sessions"], during["races"][race]["watchers"]) == (1, 1)
    view.page.context.close()
    inside = server.wait_until(lambda inside: inside["sessions"] == 0 and inside["races"][race]["paused"])
    assert inside["races"][race]["watchers"] == 0
    assert {run["state"] for run in inside["races"][race]["runs"].values()} <= {"running", "paused"}
    inside = server.wait_until(
        lambda inside: {run["state"] for run in inside["races"][race]["runs"].values()} == {"paused"}
    )
    assert inside["callbacks"] == 0
    assert set(inside["threads"]) <= set(during["threads"])
    epochs = [run["epoch"] for run in inside["races"][race]["runs"].values()]
    # Somebody comes back by the link and goes on.
    again = View(new_page(), server).open(server.address(query=f"?race={race}"))
    expect(again.resume).to_be_visible(timeout=PATIENCE)
    assert again.epoch == max(epochs)
    again.resume.click()
    again.expect_epoch(max(epochs) + 1)
    again.stop.click()
    again.expect_state("Stopped")
