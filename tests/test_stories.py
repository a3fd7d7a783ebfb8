"""Stories: what they claim is what was recorded, and what was recorded can be played anywhere."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from prdp_explorer import Constant, Engine
from prdp_explorer.refinement import Reason
from prdp_explorer.stories import STORIES, Story, _library, record, recorded, story_named
from prdp_explorer.stories._story import number, percent

EVERY = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)


class TestEveryStory:
    @EVERY
    def test_what_its_steps_show_was_recorded(self, story: Story):
        runs = recorded(story)
        steps = story.tell(runs)
        assert 4 <= len(steps) <= 7
        for step in steps:
            assert step.words and step.look_at.endswith(".")
            for label in step.runs:
                assert step.epoch is None or step.epoch <= max(runs[each].epochs for each in step.runs)
                assert runs[label].kept.status in ("finished", "diverged")
            first = runs[step.runs[0]]
            if step.tab == "Labs":
                found = first.findings(step.epoch)
                assert found.gradients.epoch == (first.epochs if step.epoch is None else step.epoch)
                assert found.system.epoch == found.gradients.epoch
                assert found.system.iterations == found.gradients.iterations
                assert next(iter(found.system.convergences)) == first.kept.settings["solver"]
            if step.tab == "Fields":
                assert all(runs[label].log.snapshots[-1].epoch == runs[label].epochs for label in step.runs)

    @EVERY
    def test_its_words_are_sentences_with_numbers(self, story: Story):
        for step in story.tell(recorded(story)):
            for words in step.words:
                assert words.endswith(".") and "  " not in words
                assert not re.search(r"nan|inf\b|None|no number|\{|\}|e-\d", words)

    @EVERY
    def test_a_recording_is_small_and_whole(self, story: Story):
        assert (_library.RECORDINGS / f"{story.id}.prdp").stat().st_size < 2.5e6
        for told in recorded(story).values():
            assert np.isfinite(told.log.read()["validation"][: told.epochs]).all()
            assert "jax" in told.kept.made_with

    def test_ids_are_what_they_are_found_by(self):
        assert all(story.id == id for id, story in STORIES.items())
        assert len(STORIES) >= 6
        with pytest.raises(ValueError, match="There is no story 'nix'; stories are coarse-suffices, "):
            story_named("nix")


class TestClaims:
    """What the words say beside their numbers; it fails where a recording that was made anew says something else."""

    def test_coarse_suffices(self):
        runs = recorded(STORIES["coarse-suffices"])
        prdp, full = runs["PRDP"], runs["full physics"]
        assert prdp.angle(1, "implicit", 0) < 45  # downhill
        assert prdp.angle(4, "implicit", 0) < prdp.angle(1, "implicit", 0) / 2
        assert prdp.angle(4, "implicit") > 60  # no direction
        assert prdp.angle(prdp.iterations(), "implicit") < 30
        assert prdp.angle(6, "implicit") > 45
        stalled, later = prdp.refined()[3:5]
        assert prdp.error(later) < 0.7 * prdp.error(stalled)
        assert prdp.spent() < 0.3 * full.spent()
        assert prdp.error() < 1.15 * full.error()
        assert prdp.iterations() < full.iterations()

    def test_coarse_is_not_enough(self):
        runs = recorded(STORIES["coarse-is-not-enough"])
        prdp, full, one, two, four = (runs[name] for name in ("PRDP", "full physics", "K = 1", "K = 2", "K = 4"))
        assert one.error(5) == pytest.approx(full.error(5), rel=0.15)
        assert one.error() > two.error() > four.error() > 2 * full.error()
        assert one.error() > one.error(0)
        for each in (one, two, four):  # flat
            assert each.error() == pytest.approx(each.error(each.epochs - 20), rel=0.1)
        assert two.angle(2, "implicit") > 45
        assert prdp.error() < 1.15 * full.error()
        fields = two.log.snapshots[-1].fields
        assert np.abs(fields["network output"]).max() > 1.2 * np.abs(fields["target"]).max()
        assert np.abs(fields["after the physics"] - fields["target"]).max() < 0.3 * np.abs(fields["target"]).max()

    def test_unrolled_or_implicit(self):
        runs = recorded(STORIES["unrolled-or-implicit"])
        implicit, unrolled, exact, full = (
            runs[name] for name in ("implicit", "unrolled", "exact adjoint", "full physics")
        )
        assert implicit.error() == pytest.approx(unrolled.error(), rel=1e-2)
        assert exact.error() == pytest.approx(implicit.error(), rel=0.1)
        assert full.error() < 0.7 * implicit.error()
        lab = implicit.findings(0).gradients
        same = [lab.modes.index(mode) for mode in ("implicit", "unrolled")]
        np.testing.assert_allclose(*lab.relative_error[same], rtol=1e-2)
        assert implicit.angle(4, "one-step", 0) > 2 * implicit.angle(4, "implicit", 0)
        descent = runs["implicit, steepest descent"]
        assert runs["unrolled, steepest descent"].error() < 0.95 * descent.error()
        assert descent.angle(2, "unrolled", 0) != pytest.approx(descent.angle(2, "implicit", 0), rel=0.1)
        largest = descent.findings(0).gradients.counts[-1]
        for mode in ("implicit", "unrolled"):
            assert descent.angle(largest, mode, 0) < 0.1 * descent.angle(2, mode, 0)

    def test_thresholds(self):
        runs = recorded(STORIES["thresholds"])
        prdp, full, eager, shy, stops = runs.values()
        assert eager.iterations() == full.iterations()
        assert eager.spent() > 2 * prdp.spent() > 2 * shy.spent()
        assert shy.error() > 1.2 * prdp.error()
        assert stops.error() > 1.2 * prdp.error()
        assert stops.iterations() < prdp.iterations()
        ratios = eager.log.read()["plateau_ratio"][3 : eager.refined()[3] + 1]
        assert (ratios > 0.5).all()

    def test_diverging_start(self):
        runs = recorded(STORIES["diverging-start"])
        prdp, one, diverged, rescued = (runs[name] for name in ("PRDP", "K = 1", "rate 20,000", "rescued: rate 2,000"))
        grows = prdp.first(lambda row: row["reason"] == Reason.DIVERGING)
        assert prdp.error(grows) > prdp.error(grows - 1)
        assert prdp.iterations(grows + 1) == prdp.iterations(grows) + 1
        assert prdp.error(3 * grows) < 0.5 * prdp.error(grows)
        assert one.error(0) < one.error(grows) < one.error(2 * grows) < one.error()
        errors = diverged.log.read()["validation"][:20]
        np.testing.assert_allclose(errors[2:] / errors[1:-1], errors[2] / errors[1], rtol=0.05)  # a straight line
        assert diverged.kept.status == "diverged" and not np.isfinite(diverged.log.read()["train_loss"][-1])
        np.testing.assert_array_equal(rescued.log.read()["validation"][:5], diverged.log.read()["validation"][:5])
        assert rescued.error() < 1e-4

    def test_navier_stokes(self):
        runs = recorded(STORIES["navier-stokes"])
        prdp, full = runs["PRDP"], runs["full physics"]
        for epoch in (10, None):
            assert prdp.error(epoch) == pytest.approx(full.error(epoch), rel=0.15)
        assert prdp.spent() < 0.3 * full.spent()
        assert prdp.seconds() < 0.6 * full.seconds()


class TestEngine:
    def test_what_another_store_keeps_is_played_moved_and_on_demand_taken_in(self, keeping: Engine):
        runs = recorded(STORIES["diverging-start"])
        diverged = runs["rate 20,000"]
        race = keeping.replay(diverged.kept.id, 3, beside=(), store=runs.store)
        assert [run.epoch for run in race.runs.values()] == [3]
        moved = keeping.seek(race, 9)
        assert moved.store is runs.store and [run.epoch for run in moved.runs.values()] == [9]
        assert keeping.store.runs() == []
        with pytest.raises(ValueError, match="There is no run"):
            keeping.fork(diverged.kept.id, 4, learning_rate=2e3)
        for _ in "twice":
            keeping.take_in(moved)
        assert [run.id for run in keeping.store.runs()] == [diverged.kept.id]
        (forked,) = keeping.fork(diverged.kept.id, 4, learning_rate=2e3, epochs=12).runs.values()
        assert forked.wait(timeout=60)
        assert forked.state == "finished", forked.message

    def test_its_parameters_are_those_that_were_recorded(self, engine: Engine):
        runs = recorded(STORIES["coarse-suffices"])
        told = runs["PRDP"]
        (run,) = engine.replay(told.kept.id, beside=(), store=runs.store).runs.values()
        assert engine._parameters(run, None).epoch == told.epochs


def test_a_story_is_recorded_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def train(engine: Engine):
        return [engine.start("poisson-1", Constant(), epochs=4)]

    story = Story("tiny", "Tiny", "Why?", 1, train, lambda runs: [], labs=(("full physics", 0),))
    record(story, tmp_path)
    monkeypatch.setattr(_library, "RECORDINGS", tmp_path)
    (told,) = recorded(story).values()
    assert (told.kept.label, told.epochs) == ("full physics", 4)
    assert told.findings(0).gradients.counts[-1] == told.kept.settings["refinement"]["iterations"] == 600
    assert told.angle(600, "implicit", 0) < 1e-3
    system = told.findings(0).system
    assert (system.epoch, system.unknowns, len(system.convergences)) == (0, 30, 3)
    jacobi = system.convergences["jacobi"]
    assert jacobi.predicted_iterations(1e-3) and jacobi.at(0) == (1.0, 1.0)
    assert not list(tmp_path.glob("*-wal"))


@pytest.mark.parametrize("harm", ["cut", "no labs", "labs that are none", "nothing"])
def test_a_damaged_recording_is_told_in_words(harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for file in _library.RECORDINGS.glob("thresholds.*"):
        shutil.copy(file, tmp_path)
    runs, labs = tmp_path / "thresholds.prdp", tmp_path / "thresholds.json"
    if harm == "cut":
        runs.write_bytes(runs.read_bytes()[:5000])
    elif harm == "nothing":
        runs.unlink()
    elif harm == "no labs":
        labs.unlink()
    else:
        labs.write_text("{")
    monkeypatch.setattr(_library, "RECORDINGS", tmp_path)
    with pytest.raises(ValueError, match=r"is cut off|is no file|cannot be read"):
        recorded.__wrapped__(STORIES["thresholds"])


def test_numbers_for_people():
    assert [number(value) for value in (0.02111, 15.89, 1234.5, 6.54e-4, 5.2e7, 0.0, math.nan)] == [
        "0.021", "16", "1,234", "6.5\u00a0·\u00a010⁻⁴", "5.2\u00a0·\u00a010⁷", "0", "no number",
    ]  # fmt: skip
    assert percent(508, 2500) == "20 %"
