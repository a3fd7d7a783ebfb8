"""The labs in the browser: each answers for the race shown, with numbers that are known otherwise."""

import re

import pytest
from playwright.sync_api import expect
from ui_helpers import FASTEST, MODELS, PATIENCE, View

from prdp_explorer.solvers import DIFFERENTIATIONS

pytestmark = pytest.mark.ui

JACOBI_RATE = 0.6544
"""Of heat-1d, 2 c cos(π h) / (1 + 2 c): the spectral radius."""

COMPARED = f"""() => {{ {MODELS}
    const plots = models('Figure').map(model => Bokeh.index.find_one(model)).filter(
        view => view?.is_displayed && view.layout && view.frame.bbox.width > 50)
    return plots.filter(view => view.model.title.text.includes('small is good')).map(view => new Set(
        view.model.renderers.filter(each => each.data_source.get_length()).map(
            each => each.data_source.get_array('mode')[0]))).map(modes => [...modes].sort())
}}"""


def test_each_lab_answers(view: View):
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Training", "Finished")  # what is compiled by then may have taken its time
    view.expect_state("Finished")
    view.open_tab("Labs")
    page = view.page
    expect(page.get_by_role("columnheader", name="rate per iteration")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Compare gradients now").click()

    rate = page.get_by_role("row", name=re.compile("^jacobi")).get_by_role("cell").first
    assert float(rate.inner_text()) == pytest.approx(JACOBI_RATE, rel=2e-3)
    told = page.get_by_role("columnheader", name="error at K").inner_text()
    last = int(view.curves["PRDP"]["iterations"][-1])
    assert int(told.removeprefix("error at K = ")) in (last, last + 1)  # refined once more at the end or not

    expect(page.get_by_text("detached: no gradient at all")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Stop comparing")).to_be_disabled(timeout=PATIENCE)
    page.wait_for_function(f"() => ({COMPARED})().length === 2", timeout=PATIENCE)
    assert page.evaluate(COMPARED) == [sorted(DIFFERENTIATIONS)] * 2

    page.get_by_role("button", name="Measure and predict").click()
    saving = page.get_by_role("status").filter(has_text=re.compile("an epoch costs [0-9.e-]+ ms \\+ [0-9.e-]+ ms · K"))
    expect(saving).to_contain_text(re.compile("it will save about [0-9]+% of the seconds"), timeout=PATIENCE)
