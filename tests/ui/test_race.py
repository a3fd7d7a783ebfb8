"""A race in the browser: started, watched, steered and ended."""

import re

import pytest
from playwright.sync_api import Page, expect
from ui_helpers import FASTEST, LINES, PATIENCE, TITLES, Server, View

pytestmark = pytest.mark.ui


def lengths(view: View) -> dict[str, int]:
    return {label: len(columns["epoch"]) for label, columns in view.curves.items()}


def test_it_trains_at_a_pace_that_a_person_can_follow_and_takes_commands(view: View):
    view.start.click()
    expect(view.status).to_have_text(re.compile(r"^epoch \d+ of 100$"), timeout=PATIENCE)
    first_epoch, began = view.expect_epoch(3)
    view.expect_state("Training")
    expect(view.start).to_be_disabled()
    before = lengths(view)
    last_epoch, ended = view.expect_epoch(15)
    rate = (last_epoch - first_epoch) / (ended - began)
    assert 20 <= 100 / rate <= 40
    after = lengths(view)
    assert all(before[label] < after[label] for label in after)

    view.pause.click()
    expect(view.resume).to_be_visible(timeout=PATIENCE)
    view.expect_state("Paused")
    stands = view.status.inner_text()
    view.page.wait_for_timeout(1000)
    assert view.status.inner_text() == stands
    expect(view.resume).to_be_visible()
    expect(view.pause).to_have_count(0)
    curves = view.curves
    for columns in curves.values():
        assert columns["epoch"] == list(range(view.epoch + 1))

    epoch = view.epoch
    view.step.click()
    expect(view.status).to_have_text(f"epoch {epoch + 1} of 100", timeout=PATIENCE)
    view.step.click()
    expect(view.status).to_have_text(f"epoch {epoch + 2} of 100", timeout=PATIENCE)
    view.expect_state("Paused")
    assert {run["epoch"] for run in view.inside()["runs"].values()} == {epoch + 2}

    view.resume.click()
    view.expect_epoch(epoch + 4)
    expect(view.pause).to_be_visible()
    view.expect_state("Training")

    view.stop.click()
    view.expect_state("Stopped")
    expect(view.start).to_be_enabled()
    expect(view.pause).to_have_count(0)
    expect(view.replay).to_be_enabled()
    stopped, first = view.epoch, view.race
    assert 0 < stopped < 100
    view.start.click()
    expect(view.status).to_have_text(re.compile(r"^epoch \d of 100$"), timeout=PATIENCE)
    view.expect_epoch(1)
    assert view.race != first
    assert all(columns["epoch"][0] == 0 and len(columns["epoch"]) < stopped for columns in view.curves.values())


class TestEdits:
    def test_a_slider_acts_during_the_race(self, view: View):
        view.start.click()
        view.expect_epoch(3)
        slider = view.slider("^τ_step")
        slider.focus()
        slider.press("ArrowLeft")
        expect(view.field("τ_step")).to_have_value("0.975", timeout=PATIENCE)
        slider.press("ArrowLeft")
        expect(view.field("τ_step")).to_have_value("0.97", timeout=PATIENCE)
        expect(view.log).to_contain_text("tau_step = 0.97", timeout=PATIENCE)
        view.page.wait_for_function(
            "() => [...Bokeh.documents[0].all_models].some(source => source.type === 'ColumnDataSource' "
            "&& source.columns().includes('tau_step') && Array.from(source.get_array('tau_step')).at(-1) === 0.97)",
            timeout=PATIENCE,
        )
        thresholds = view.curves["PRDP"]["tau_step"]
        assert thresholds[0] == 0.98
        told = re.findall(r"From epoch (\d+) on: tau_step = 0\.97\.(?!\d)", view.log.inner_text())
        assert len(told) == 1
        first = int(told[0])
        assert thresholds[first - 1] != 0.97
        assert set(thresholds[first:]) == {0.97}
        assert view.inside()["runs"]["PRDP"]["settings"]["refinement"]["tau_step"] == 0.97

    def test_what_is_no_threshold_is_refused(self, view: View):
        view.start.click()
        view.expect_epoch(1)
        for bad in ("abc", "7", "-1", "nan", ""):
            view.enter("τ_step", bad)
            view.expect_alert("tau_step", "above 0 and at most 1", bad)
            expect(view.field("τ_step")).to_have_value("0.98", timeout=PATIENCE)
            expect(view.slider("^τ_step")).to_have_value("0.98")
        assert view.inside()["runs"]["PRDP"]["settings"]["refinement"]["tau_step"] == 0.98
        expect(view.log).not_to_contain_text("tau_step =")
        view.enter("τ_stop", "0.85")
        expect(view.log).to_contain_text("tau_stop = 0.85", timeout=PATIENCE)

    def test_a_refusal_shows_what_was_entered_as_it_was(self, view: View):
        view.enter("τ_step", "<b>&")
        expect(view.alerts).to_contain_text("got '<b>&'.")

    def test_what_is_no_number_is_refused_before_a_start(self, view: View):
        for field, name, bad, shown in (
            ("Seed", "seed", "-1", "0"),
            ("Seed", "seed", "1.5", "0"),
            ("Epochs", "epochs", "0", "100"),
            ("Epochs", "epochs", "many", "100"),
            ("Window", "window", "65", "3"),
            ("Smoothing", "ema_window", "0", "8"),
            ("First K", "initial", "0", "1"),
            ("K added", "step", "inf", "1"),
            ("Largest K", "maximum", "1e9", "25"),
            ("K of full physics", "iterations", "", "25"),
            ("Learning rate", "learning_rate", "0", "0.001"),
            ("τ_stop", "tau_stop", "2", "0.9"),
        ):
            view.enter(field, bad)
            view.expect_alert(name)
            expect(view.field(field)).to_have_value(shown, timeout=PATIENCE)
        races = len(view.server.inspect()["races"])
        view.enter("First K", "30")
        view.start.click()
        view.expect_alert("initial", "maximum", "30", "25")
        assert len(view.server.inspect()["races"]) == races
        expect(view.status).not_to_contain_text("epoch")
        expect(view.start).to_be_enabled()
        view.enter("First K", "2")
        view.enter("Seed", "7")
        view.choose("Speed", FASTEST)
        view.start.click()
        view.expect_state("Finished")
        prdp = view.inside()["runs"]["PRDP"]
        assert (prdp["settings"]["seed"], prdp["iterations"][1]) == (7, 2)


def _race_in(url: str) -> str:
    return url.partition("race=")[2]


def test_an_edit_that_the_click_on_start_ends_counts(view: View):
    for seed in ("5", "6", "7"):
        view.field("Seed").fill(seed)
        before = _race_in(view.page.url)
        view.start.click()  # leaving the field is what sends its value
        view.page.wait_for_url(lambda url: _race_in(url) not in ("", before), timeout=PATIENCE)  # noqa: B023
        view.expect_epoch(1)
        assert {run["settings"]["seed"] for run in view.inside()["runs"].values()} == {int(seed)}
        assert all(len(columns["epoch"]) > 1 for columns in view.curves.values())
        view.stop.click()
        expect(view.start).to_be_enabled(timeout=PATIENCE)


def test_unrolled_mode_trains_and_refuses_more_than_it_made_room_for(view: View):
    view.choose("Differentiation mode", "unrolled")
    view.start.click()
    view.expect_epoch(1)
    run = view.inside()["runs"]["PRDP"]
    assert run["settings"]["differentiation"] == "unrolled"
    view.enter("Largest K", "26")
    view.expect_alert("25", "26")
    expect(view.field("Largest K")).to_have_value("25", timeout=PATIENCE)
    assert view.inside()["runs"]["PRDP"]["settings"]["refinement"]["maximum"] == 25
    view.enter("Largest K", "20")
    expect(view.log).to_contain_text("maximum = 20", timeout=PATIENCE)


def test_as_fast_as_possible_finishes_and_can_be_started_again(view: View):
    view.start.click()
    view.expect_epoch(1)
    view.choose("Speed", FASTEST)
    view.expect_state("Finished")
    expect(view.status).to_have_text("epoch 100 of 100")
    expect(view.start).to_be_enabled()
    for columns in view.curves.values():
        assert columns["epoch"] == list(range(101))
    expect(view.main).to_contain_text("After 100 epochs PRDP has spent")
    view.choose("Speed", "1×")
    view.start.click()
    expect(view.status).to_have_text(re.compile(r"^epoch \d of 100$"), timeout=PATIENCE)
    view.expect_epoch(1)
    assert all(columns["epoch"][0] == 0 and len(columns["epoch"]) < 50 for columns in view.curves.values())
    expect(view.log).not_to_contain_text("Finished")


def test_the_fields_of_an_earlier_epoch_can_be_looked_at(page: Page, server: Server):
    view = View(page, server).open()
    view.enter("Seed", "31")  # nothing that is kept: what was trained at full speed left few fields to be played
    view.start.click()
    view.expect_epoch(6)
    view.open_tab("Fields")
    follow = view.page.get_by_role("switch", name="Follow training")
    expect(follow).to_be_checked(timeout=PATIENCE)
    slider = view.slider("Epoch shown")
    slider.focus()
    slider.press("Home")
    expect(follow).not_to_be_checked(timeout=PATIENCE)
    slider.press("ArrowRight")
    slider.press("Home")  # what the server sent meanwhile may have moved it
    expect(slider).to_have_value("0")
    wanted = "() => {titles}().filter(title => title.includes('after epoch {epoch},')).length === 2"
    view.page.wait_for_function(wanted.replace("{titles}", f"({TITLES})").replace("{epoch}", "0"), timeout=PATIENCE)
    earlier = view.page.evaluate(LINES)
    epoch = view.epoch
    view.expect_epoch(epoch + 3)
    assert view.page.evaluate(LINES) == earlier  # it stays there
    follow.click()
    view.page.wait_for_function(
        f"() => ({TITLES})().every(title => !title.includes('after epoch 0,'))", timeout=PATIENCE
    )
    later = view.page.evaluate(LINES)
    assert later[0]["field_0"] == earlier[0]["field_0"]  # the input
    assert later[0]["field_1"] != earlier[0]["field_1"]  # the network's output
    assert later[0]["field_3"] == earlier[0]["field_3"]  # the target
    expect(follow).to_be_checked()
    sample = view.slider("Validation sample")
    sample.press("ArrowRight")
    view.page.wait_for_function(
        f"input => JSON.stringify(({LINES})()[0].field_0) !== JSON.stringify(input)",
        arg=later[0]["field_0"],
        timeout=PATIENCE,
    )


def test_following_does_not_end_by_itself(view: View):
    view.choose("Speed", "5×")
    view.start.click()
    view.open_tab("Fields")
    view.expect_state("Finished")
    expect(view.page.get_by_role("switch", name="Follow training")).to_be_checked()
    expect(view.slider("Epoch shown")).to_have_value("100")


def test_divergence_is_told_in_plain_words_and_leaves_the_page_usable(view: View):
    view.enter("Learning rate", "1e4")
    view.choose("Speed", FASTEST)
    view.start.click()
    view.expect_state("Diverged", "Diverged; Finished", "Finished; Diverged")
    expect(view.main).to_contain_text("no longer a finite number", timeout=PATIENCE)
    assert not re.search(r"\bnan\b|Traceback", view.main.inner_text())
    expect(view.start).to_be_enabled()
    view.enter("Learning rate", "0.001")
    view.start.click()
    view.expect_state("Finished")
    expect(view.main).not_to_contain_text("no longer a finite number")
    expect(view.main).to_contain_text("After 100 epochs")
