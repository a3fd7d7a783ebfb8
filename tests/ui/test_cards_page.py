"""The scenario cards in the browser: by mouse and keyboard, folded and locked during a race."""

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import FASTEST, PATIENCE, Server, View

pytestmark = pytest.mark.ui


def test_a_scenario_is_chosen_by_mouse_and_keyboard_and_locked_in_a_race(view: View):
    cards = view.page.get_by_role("radiogroup", name="Scenario")
    expect(cards.get_by_role("radio")).to_have_count(7)
    expect(cards.get_by_role("radio", name="Heat 1D emulator")).to_be_checked()
    for picture in cards.locator("img").all():
        assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0

    view.choose_scenario("Poisson inverse, 1 parameter")
    expect(view.field("Epochs")).to_have_value("180", timeout=PATIENCE)
    view.page.get_by_text("What it teaches").click()
    expect(view.page.get_by_text("The smallest problem in which refinement pays")).to_be_visible()

    view.page.keyboard.press("Shift+Tab")
    expect(cards.get_by_role("radio", name="Poisson inverse, 1 parameter")).to_be_focused()
    view.page.keyboard.press("ArrowDown")
    view.page.keyboard.press("ArrowDown")  # round the end
    expect(cards.get_by_role("radio", name="Heat 1D emulator")).to_be_checked()
    expect(view.field("Epochs")).to_have_value("100", timeout=PATIENCE)

    view.start.click()
    view.expect_epoch(1)
    expect(view.page.get_by_text("Stop the race to choose another scenario.")).to_be_visible(timeout=PATIENCE)
    expect(cards.get_by_role("radio")).to_have_count(1)
    expect(cards.get_by_role("radio")).to_be_disabled()
    view.stop.click()
    view.expect_state("Stopped")
    view.choose_scenario("Poisson inverse, 3 parameters")
    expect(view.field("Epochs")).to_have_value("1500", timeout=PATIENCE)


def test_fields_of_another_kind_of_problem_are_there_when_their_tab_is_first_opened(page: Page, server: Server):
    view = View(page, server).open()
    view.choose_scenario("Poisson inverse, 1 parameter")
    expect(view.field("Epochs")).to_have_value("180", timeout=PATIENCE)
    view.choose("Speed", FASTEST)
    view.start.click()
    expect(view.status).to_have_text("epoch 180 of 180", timeout=3 * PATIENCE)  # of which much is compiling
    view.open_tab("Fields")
    expect(view.main.get_by_text("truth θ = 2")).to_be_visible(timeout=PATIENCE)
    expect(view.main.locator("canvas").filter(visible=True).first).to_be_visible(timeout=PATIENCE)
    assert view.inside()["runs"]["PRDP"]["settings"]["scenario"] == "poisson-1"
