"""The view of decisions in the browser: the words follow the pointer, and a slider asks what would have been."""

import re

import pytest
from playwright.sync_api import expect
from ui_helpers import FASTEST, MODELS, PATIENCE, View

pytestmark = pytest.mark.ui

WHAT_IF = f"""() => {{ {MODELS}
    const source = models('ColumnDataSource').find(source =>
        source.columns().includes('refined_tolerance') && !source.columns().includes('fed'))
    return Array.from(source.get_array('iterations')).filter(Number.isFinite)
}}"""


def test_the_words_follow_the_pointer_and_a_what_if_is_asked_and_forked(view: View):
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Training", "Finished")  # what is compiled by then may have taken its time
    view.expect_state("Finished")
    page = view.page
    page.get_by_role("tab", name="Why").click()
    heading = view.main.get_by_text(re.compile(r"^PRDP, after epoch \d+"))
    expect(heading).to_have_text(re.compile(r"epoch 100 \(the newest\)"), timeout=PATIENCE)

    plot = page.locator(".bk-Figure:visible").first
    expect(plot).to_be_visible(timeout=PATIENCE)
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3, steps=3)
    expect(heading).to_have_text(re.compile(r"epoch [3-6]\d \(pointed at\)"), timeout=PATIENCE)
    expect(view.main.get_by_text(re.compile(r"^r = s.*τ_step = 0\.98"))).to_be_visible(timeout=PATIENCE)
    page.mouse.move(5, 5)
    expect(heading).to_have_text(re.compile(r"epoch 100 \(the newest\)"), timeout=PATIENCE)

    fork = page.get_by_role("button", name="Fork the real thing")
    expect(fork).to_be_disabled()
    assert page.evaluate(WHAT_IF) == []
    slider = view.slider("^What if τ_step")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    sentence = page.get_by_role("status").filter(has_text="would have ended at")
    expect(sentence).to_contain_text("τ_step = 0.93", timeout=PATIENCE)
    ended = re.search(r"ended at (\d+) instead of (\d+), with \d+% more inner iterations", sentence.inner_text())
    assert ended, sentence.inner_text()
    iterations = page.evaluate(WHAT_IF)
    assert len(iterations) == 101
    assert iterations[-1] == int(ended[1]) > int(ended[2])
    expect(view.main.get_by_text(re.compile("^An approximation"))).to_be_visible()

    page.get_by_role("button", name="Back to the run's values").click()
    expect(fork).to_be_disabled(timeout=PATIENCE)
    page.wait_for_function(f"() => ({WHAT_IF})().length === 0", timeout=PATIENCE)
    slider.press("ArrowLeft")
    expect(fork).to_be_enabled(timeout=PATIENCE)
    race = view.race
    fork.click()
    page.wait_for_url(lambda address: race not in address, timeout=PATIENCE)
    expect(view.field("τ_step")).to_have_value("0.975", timeout=PATIENCE)
