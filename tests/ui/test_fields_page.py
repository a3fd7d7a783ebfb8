"""The view of fields in the browser: sample, epoch, and a rollout that plays."""

import re

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import FASTEST, MODELS, PATIENCE, TITLES, Server, View

pytestmark = pytest.mark.ui

CURVE = f"""() => {{ {MODELS}
    const lengths = models('ColumnDataSource').filter(source => source.columns().includes('what'))
        .map(source => source.get_array('step').length)
    return lengths.filter(length => length > 0)
}}"""


def test_a_rollout_is_played_from_the_sample_and_the_epoch_chosen(page: Page, server: Server):
    view = View(page, server).open()
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Finished")
    view.open_tab("Fields")
    play = page.get_by_role("button", name="Play", exact=True)
    expect(play).to_be_visible(timeout=3 * PATIENCE)  # once it is compiled
    summary = page.get_by_text(re.compile("rollout steps: the relative error"))
    expect(summary).to_contain_text("Validation sample 1 after 0 of 20")

    step = view.slider("Rollout step")
    step.focus()
    step.press("ArrowRight")
    expect(summary).to_contain_text("after 1 of 20", timeout=PATIENCE)
    page.wait_for_function(f"() => JSON.stringify(({CURVE})().sort()) === '[2,2,21,21]'", timeout=PATIENCE)
    play.click()
    expect(summary).to_contain_text(re.compile("after [3-9] of 20"), timeout=PATIENCE)
    page.get_by_role("button", name="Last frame").click()
    expect(summary).to_contain_text("after 20 of 20", timeout=PATIENCE)
    page.wait_for_function(f"() => ({CURVE})().every(length => length === 21)", timeout=PATIENCE)

    before = summary.inner_text()
    view.slider("Validation sample").press("ArrowRight")
    expect(summary).to_contain_text("Validation sample 2 after 20 of 20", timeout=PATIENCE)
    assert summary.inner_text().split(" is ")[1] != before.split(" is ")[1]

    view.slider("Epoch shown").press("Home")
    begun = f"() => ({TITLES})().filter(title => title.startsWith('PRDP of epoch 0, step 20')).length === 1"
    page.wait_for_function(begun, timeout=PATIENCE)
    expect(page.get_by_text(re.compile("relative error ‖after the physics.* for PRDP after epoch 0"))).to_be_visible()
