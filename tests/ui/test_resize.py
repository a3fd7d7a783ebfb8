"""Figures that come onto a page while it changes its size."""

import pytest
from playwright.sync_api import expect
from ui_helpers import PATIENCE, View

pytestmark = pytest.mark.ui

RESTLESS = """() => {
    let frame = 0
    const move = () => {
        document.body.style.paddingRight = `${frame++ % 7}px`
        requestAnimationFrame(move)
    }
    move()
}"""

UNSEEN = """() => [...Bokeh.documents[0].all_models].filter(model => {
    const view = model.type === 'Figure' && Bokeh.index.find_one(model)
    return view && view.is_displayed && !(view.layout && view.bbox.width > 50)
}).length"""


def test_tabs_are_opened_while_the_page_changes_its_size(view: View):
    view.page.evaluate(RESTLESS)
    view.start.click()
    view.expect_epoch(1)
    for tab in view.page.get_by_role("tab").all():
        tab.click()
        panel = view.page.get_by_role("tabpanel").and_(view.page.locator(":visible")).first
        expect(panel).not_to_be_empty(timeout=PATIENCE)
        view.page.wait_for_timeout(500)  # figures that fail do so now, and then this test does
        view.page.wait_for_function(f"() => ({UNSEEN})() === 0", timeout=PATIENCE)
