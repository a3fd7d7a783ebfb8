"""Kept runs in the browser: moved in time, replayed, forked, opened by link."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import CURVES, FASTEST, PATIENCE, Server, View

pytestmark = pytest.mark.ui


def finished(view: View, **fields: str) -> View:
    """A race that is over, of few epochs."""
    view.choose("Speed", FASTEST)
    for name, value in fields.items():
        view.enter(name, value)
    view.start.click()
    view.expect_state("Finished")
    return view


def expect_lengths(view: View, epochs: int) -> None:
    """Wait until the browser holds the records up to an epoch of all runs, and no more."""
    view.page.wait_for_function(
        f"epochs => Object.values(({CURVES})()).every(columns => columns.epoch.at(-1) === epochs)",
        arg=epochs,
        timeout=PATIENCE,
    )


def test_what_is_over_is_moved_by_the_keyboard_replayed_and_forked(view: View):
    finished(view, Seed="11")
    slider = view.page.get_by_role("slider", name="Epoch", exact=True)
    expect(slider).to_have_value("100", timeout=PATIENCE)
    whole = view.curves
    slider.focus()
    for _ in range(2):
        slider.press("PageDown")
    expect(slider).to_have_value("80")
    expect(view.status).to_have_text("epoch 80 of 100", timeout=PATIENCE)
    expect_lengths(view, 80)
    for label, columns in view.curves.items():
        assert columns["validation"] == whole[label]["validation"][:81]
    expect(view.main.get_by_text(re.compile("^Replay, paused$"))).to_be_visible(timeout=PATIENCE)
    expect(view.main.get_by_text("After 80 epochs PRDP has spent")).to_be_visible()

    view.fork.click()
    view.expect_alert("A fork without a change would be the same run again")
    view.enter("τ_step", "0.7")
    view.fork.click()
    view.expect_state("Finished")
    expect(view.log).to_contain_text("From epoch 81 on: tau_step = 0.7.", timeout=PATIENCE)
    expect_lengths(view, 100)
    forked = view.curves["PRDP"]
    assert forked["validation"][:81] == whole["PRDP"]["validation"][:81]
    assert set(forked["tau_step"][81:]) == {0.7}

    view.choose("Speed", "1×")
    view.replay.click()
    view.expect_state("Replay, playing")
    expect(view.status).to_have_text(re.compile(r"^epoch [1-9] of 100$"), timeout=PATIENCE)
    view.pause.click()
    expect(view.resume).to_be_visible(timeout=PATIENCE)
    assert view.epoch < 60


def test_a_link_opens_a_kept_run_with_its_settings(view: View, server: Server, new_page: Callable[..., Page]):
    finished(view, Seed="12", τ_step="0.9")
    run = view.inside()["runs"]["PRDP"]["id"]
    whole = view.curves
    other = View(new_page(), server).open(server.address(query=f"?run={run}"))
    expect(other.field("τ_step")).to_have_value("0.9", timeout=PATIENCE)
    expect(other.field("Seed")).to_have_value("12")
    expect(other.status).to_have_text("epoch 100 of 100", timeout=PATIENCE)
    expect_lengths(other, 100)
    for label, columns in other.curves.items():
        assert columns["validation"] == whole[label]["validation"]
    expect(other.start).to_be_enabled()
