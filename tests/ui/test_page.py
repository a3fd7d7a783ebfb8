"""The page: it opens, reads well on any screen and with a keyboard, and can be linked to."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect
from ui_helpers import FASTEST, PATIENCE, Server, View

pytestmark = pytest.mark.ui


def test_it_opens_and_is_live_by_its_number(page: Page, server: Server):
    """By its name, localhost, it is opened by all other tests."""
    view = View(page, server).open(server.address("127.0.0.1"))
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
    browser: Browser, server: Server, new_page: Callable[..., Page]
):
    open_now = len(browser.contexts)  # the page that other tests share, if there is one
    before = server.wait_until(lambda inside: inside["sessions"] == open_now)
    view = View(new_page(), server).open()
    view.start.click()
    view.expect_epoch(1)
    race = view.race
    during = server.inspect()
    assert (during["sessions"], during["races"][race]["watchers"]) == (open_now + 1, 1)
    view.page.context.close()
    inside = server.wait_until(
        lambda inside: (
            inside["sessions"] == open_now
            and {run["state"] for run in inside["races"][race]["runs"].values()} == {"paused"}
        )
    )
    assert inside["races"][race]["paused"]
    assert inside["races"][race]["watchers"] == 0
    assert inside["callbacks"] <= before["callbacks"]
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
