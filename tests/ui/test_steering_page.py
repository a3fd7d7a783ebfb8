"""Steering as an experiment: edits are undone, the past is looked at while a race waits, further contenders race."""

import re

import pytest
from playwright.sync_api import expect
from ui_helpers import CURVES, FASTEST, PATIENCE, View

pytestmark = pytest.mark.ui


def test_undo_restores_what_was_set_exactly(view: View):
    view.start.click()
    view.expect_epoch(3)
    undo = view.page.get_by_role("button", name="Undo", exact=True)
    expect(undo).to_be_disabled()
    before = view.inside()["runs"]
    view.enter("τ_step", "0.1234")
    expect(view.log).to_contain_text("tau_step = 0.1234", timeout=PATIENCE)
    view.enter("Learning rate", "0.00025")
    expect(view.log).to_contain_text("learning_rate = 0.00025", timeout=PATIENCE)
    edited = view.inside()["runs"]
    assert edited["PRDP"]["settings"]["refinement"]["tau_step"] == 0.1234
    assert {run["settings"]["learning_rate"] for run in edited.values()} == {0.00025}

    undo.click()
    expect(view.field("Learning rate")).to_have_value("0.001", timeout=PATIENCE)
    expect(view.field("τ_step")).to_have_value("0.1234")
    undo.click()
    expect(view.field("τ_step")).to_have_value("0.98", timeout=PATIENCE)
    expect(undo).to_be_disabled(timeout=PATIENCE)
    expect(view.log).to_contain_text("tau_step = 0.98", timeout=PATIENCE)
    after = view.inside()["runs"]
    assert {label: run["settings"] for label, run in after.items()} == {
        label: run["settings"] for label, run in before.items()
    }


def test_a_race_waits_while_its_past_is_looked_at_and_both_branches_of_a_fork_are_shown(view: View):
    view.enter("Seed", "41")
    view.start.click()
    view.expect_epoch(12)
    live = view.race
    slider = view.page.get_by_role("slider", name="Epoch", exact=True)
    slider.focus()
    slider.press("ArrowLeft")
    view.expect_state("Replay, paused")
    slider.press("Home")
    expect(view.status).to_have_text(re.compile(r"^epoch 0 of"), timeout=PATIENCE)
    waited = view.server.inspect()["races"][live]
    assert waited["paused"]
    view.resume.click()
    view.expect_state("Training")
    stood = max(run["epoch"] for run in waited["runs"].values())
    view.expect_epoch(stood + 2)
    assert view.race == live

    view.page.get_by_role("slider", name="Epoch", exact=True).focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    view.expect_state("Replay, paused")
    view.enter("τ_step", "0.6")
    view.choose("Speed", FASTEST)
    view.fork.click()
    view.page.wait_for_url(lambda address: live not in address, timeout=PATIENCE)
    view.expect_state("Finished; Stopped")  # the race that waited is over with it
    expect(view.main.get_by_text("K of PRDP (not forked)")).to_be_visible(timeout=PATIENCE)
    labels = set(view.inside()["runs"])
    assert {"PRDP", "PRDP (not forked)"} <= labels


def test_a_further_contender_races_for_equal_time(view: View):
    view.page.get_by_role("button", name="Add constant K").click()
    view.page.get_by_role("button", name="equal time", exact=True).click()
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Finished")
    runs = view.inside()["runs"]
    assert len(runs) == 3 and "K = 5" in runs
    expect(view.main.get_by_text(re.compile(r"^With .* seconds each PRDP has done"))).to_be_visible(timeout=PATIENCE)
    columns = view.page.evaluate(CURVES)["contender 2"]
    assert set(columns["iterations"][1:]) == {5.0}
    view.page.get_by_role("button", name="seconds", exact=True).click()
    expect(view.page.get_by_role("button", name="seconds", exact=True)).to_have_attribute("aria-pressed", "true")
