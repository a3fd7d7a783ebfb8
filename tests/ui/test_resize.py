"""Figures that come onto a page while it changes its size."""

import re

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import PATIENCE, Server, View

pytestmark = pytest.mark.ui

RESTLESS = """() => {
    let width = 0
    setInterval(() => { document.body.style.paddingRight = `${width++ % 7}px` }, 50)
}"""

LAID_OUT = """() => {
    const figures = [...Bokeh.documents[0].all_models].filter(model => model.type === 'Figure')
    const seen = figures.map(model => Bokeh.index.find_one(model)).filter(view => view?.is_displayed)
    return seen.length > 0 && seen.every(view => view.layout && view.frame.bbox.width > 50)
}"""


def test_figures_come_while_the_page_changes_its_size(page: Page, server: Server):
    view = View(page, server).open()
    view.start.click()
    view.expect_epoch(1)
    view.page.evaluate(RESTLESS)
    for tab in (
        view.page.get_by_role("tab").filter(has_not_text=re.compile("Kept runs|Stories")).all()
    ):  # which have none
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true", timeout=PATIENCE)
        view.page.wait_for_timeout(500)  # a figure that fails does so now, and then this test does
        view.page.wait_for_function(LAID_OUT, timeout=PATIENCE)
