"""Stories on the page: steps set it, whatever was there before, and as files they are whole."""

import re
from pathlib import Path
from typing import Any

import pytest
from dashboard_helpers import click, tick_until

from prdp_explorer import Engine
from prdp_explorer.__main__ import main
from prdp_explorer.dashboard import Explorer, story_page
from prdp_explorer.dashboard._address import setting_in, step_in
from prdp_explorer.stories import STORIES, Step, Story, recorded

STORY = STORIES["coarse-suffices"]


@pytest.fixture
def explorer(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("what was recorded is computed anew")

    for lab in ("solver_lab", "gradient_lab"):
        monkeypatch.setattr(engine, lab, refuse)
    explorer = Explorer(engine=engine)
    yield explorer
    explorer.close()


def test_a_step_sets_the_page(explorer: Explorer):
    runs = recorded(STORY)
    for place, step in enumerate(STORY.tell(runs)):
        explorer.tell_story(STORY.id, place)
        assert list(explorer._builders)[explorer.tabs.active] == step.tab
        assert explorer.shown.first.label == step.runs[0]
        assert explorer.shown.epoch == (runs[step.runs[0]].epochs if step.epoch is None else step.epoch)
        assert explorer.teller._layout.visible
        assert step.heading in explorer.teller._words.object
        assert explorer.address.query.endswith(f"&story={STORY.id}&story_step={place + 1}")
        assert explorer.controls.scenario.value == "heat-1d"  # Start trains what is told of
    assert explorer.teller.next.disabled and not explorer.teller.back.disabled


def test_the_labs_show_what_was_recorded(explorer: Explorer):
    told = recorded(STORY)["PRDP"]
    for place, epoch in ((1, 0), (3, told.epochs), (1, 0)):
        explorer.tell_story(STORY.id, place)
        labs = explorer.views["Labs"]
        gradients, system = told.findings(epoch)
        assert gradients.epoch == system.epoch == epoch
        assert labs.gradient._spent(labs.gradient._contender).lab is gradients
        assert labs.solver.lab is system and labs.solver.solvers.value == list(system.convergences)
        assert len(labs.solver._drawn)
        for _ in "twice":
            explorer.tick()  # which asks for nothing


@pytest.mark.parametrize(("place", "early"), [(0, 20), (1, 8)])
def test_an_early_step_shows_its_epochs_until_there_are_more(place: int, early: int, explorer: Explorer):
    explorer.tell_story("diverging-start", place)
    axis = explorer.views["Why"].figures._epochs if place else explorer.overview.curves._along
    assert (axis.end, axis.reset_end) == (early, 100)
    assert explorer.race is not None
    explorer.race.set_pace(None)
    click(explorer.bar.pause)  # which plays on
    tick_until(explorer, lambda: axis.end == 100)
    assert explorer.shown.epoch > early


def test_it_is_turned_left_and_gone_on_with(explorer: Explorer):
    explorer.tabs.active = list(explorer._builders).index("Stories")
    click(explorer._open("Stories").begin[STORY.id])
    assert explorer.teller.back.disabled
    click(explorer.teller.next)
    assert explorer.teller.place == 1
    click(explorer.teller.back)
    click(explorer.teller.leave)
    assert not explorer.teller._layout.visible and explorer.teller.story is None
    assert "story" not in explorer.address.query
    assert explorer.shown.replayed  # what is seen stays
    explorer.tell_story(STORY.id, 2)
    click(explorer.bar.start)
    tick_until(explorer, lambda: explorer.shown.training)
    assert explorer.teller.story is STORY  # Next goes on with it
    explorer._command("stop")
    click(explorer.teller.next)
    assert explorer.shown.replayed and explorer.teller.place == 3


def test_left_after_a_start_the_address_still_names_what_was_started(explorer: Explorer):
    explorer.tell_story("diverging-start", 3)
    click(explorer.bar.start)
    assert explorer.race is not None
    click(explorer.teller.leave)
    assert explorer.address.query.endswith(f"&race={explorer.race.id}")


def test_a_run_of_a_story_is_forked_from_the_page(keeping: Engine):
    explorer = Explorer(engine=keeping)
    explorer.tell_story("diverging-start", 3)
    assert keeping.store.runs() == []
    diverged = explorer.shown.first
    explorer.fork(diverged.id, 4, {"learning_rate": 2e3, "epochs": 10})
    tick_until(explorer, lambda: not explorer.shown.active)
    assert explorer.shown.first.parent == (diverged.id, 4)
    assert {run.label for run in keeping.store.runs()} == {"rate 20,000"}
    explorer.close()


@pytest.mark.parametrize(
    ("story", "place", "words"),
    [("nix", 0, "There is no story 'nix'"), (STORY.id, 40, "has the steps 1 to 5; got 41"), (STORY.id, -1, "got 0")],
)
def test_what_there_is_not_is_told_in_words(story: str, place: int, words: str, explorer: Explorer, told: list[str]):
    with pytest.raises(ValueError, match=re.escape(words)):
        explorer.tell_story(story, place)
    explorer._turn_to(story, place)
    assert words in told[0]
    assert explorer.race is None and explorer.teller.story is None


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "999", "٣", "1\n", "<b>"])
def test_a_hostile_step_is_refused(text: str):
    with pytest.raises(ValueError, match="`story_step` must be the number of a step, from 1; got "):
        step_in(text)


def test_an_address_with_a_story_holds_no_setting():
    assert step_in("12") == 12
    assert setting_in("?story=coarse-suffices&story_step=2") is None


class TestPage:
    def test_all_that_is_told_is_in_it_and_it_asks_nobody(self):
        page = story_page(STORY)
        steps = STORY.tell(recorded(STORY))
        assert page.count('class="step"') == len(steps)
        for step in steps:
            assert step.look_at.replace("'", "&#x27;") in page
        assert "default-src 'none'" in page
        assert not re.search(r"https?:", page.split("<script")[0])
        assert page.count("steps[") == len(steps) + 1  # each drawn when it is first shown
        assert "what-if" not in page.split("</style>")[1].split("<script")[0]  # nobody can be asked

    def test_whatever_a_story_says_is_text(self):
        hostile = "</section><script>window.harmed = 1</script>"
        step = Step(hostile, (hostile,), hostile, ("PRDP", "full physics"))
        story = Story(STORY.id, hostile, hostile, 1, STORY.train, lambda _: [step])
        page = story_page(story)
        assert hostile not in page and "&lt;script&gt;window.harmed" in page


class TestCommand:
    def test_stories_are_listed_and_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        assert main(["story"]) == 0
        listed = capsys.readouterr().out
        assert all(f"{story.id}: {story.title}" in listed for story in STORIES.values())
        file = tmp_path / "story.html"
        assert main(["story", "diverging-start", str(file)]) == 0
        assert capsys.readouterr().out == f"diverging-start is in {file}.\n"
        assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nix", "x.html"], "There is no story 'nix'"),
            (["thresholds"], "PLACE must be a file that ends in .html; got None"),
            (["thresholds", "x.txt"], "PLACE must be a file that ends in .html; got 'x.txt'"),
            (["thresholds", "/nix/x.html"], "PLACE must be a file in an existing folder"),
            (["all"], "PLACE must be an existing folder for all stories; got None"),
            (["all", "/nix"], "PLACE must be an existing folder for all stories; got '/nix'"),
        ],
    )
    def test_what_cannot_be_is_refused_in_one_line(
        self, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ):
        assert main(["story", *arguments]) != 0
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
