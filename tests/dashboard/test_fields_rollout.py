"""The rollout player: what it asks for, and what it shows of the answers."""

from concurrent.futures import Future
from typing import Any, cast

import numpy as np
import pytest
from bokeh.plotting import figure
from dashboard_helpers import columns, extent, made_up_race, made_up_rows

from prdp_explorer import Constant, Engine, Race, Run
from prdp_explorer.dashboard import _fields_rollout
from prdp_explorer.dashboard._fields_lines import Lines
from prdp_explorer.dashboard._fields_rollout import RolloutPlayer
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import FULL_LABEL, LOOKS, PRDP_LABEL
from prdp_explorer.engine import Rollout, settings_for

STEPS = 20
POINTS = 30


class Answering:
    """Takes the place of the engine: keeps what was asked, and answers when it is told to."""

    def __init__(self):
        self.asked: list[tuple[Run, int | None, int, Future[Rollout]]] = []

    def __call__(self, run: Run, *, epoch: int | None, sample: int) -> Future[Rollout]:
        future: Future[Rollout] = Future()
        self.asked.append((run, epoch, sample, future))
        return future

    def answer(self, error: float = 0.01) -> None:
        """Answer what is open: each network is off by `error` more at each step, twice that for full physics."""
        for run, epoch, sample, future in self.asked:
            if not future.done():
                truth = np.ones((STEPS + 1, POINTS), np.float32) * (sample + 1)
                off = error * (2 if run.label == FULL_LABEL else 1) * np.arange(STEPS + 1)[:, None]
                fields = {"trained network": truth * (1 + off), "true solver": truth}
                future.set_result(Rollout(run.epoch if epoch is None else epoch, sample, fields, 0.0))


@pytest.fixture
def engine_like(monkeypatch: pytest.MonkeyPatch) -> Answering:
    monkeypatch.setattr(_fields_rollout, "SECONDS_BETWEEN", 0.0)
    return Answering()


@pytest.fixture
def race() -> Race:
    race = made_up_race()
    for run in race.runs.values():
        run.log.append(made_up_rows(0, 6))
    return race


def player_of(engine_like: Answering, race: Race) -> RolloutPlayer:
    player = RolloutPlayer(engine_like)
    player.look_at(Shown(race, kept=False).contenders)
    return player


def shown(player: RolloutPlayer, label: str) -> dict[str, Any]:
    assert isinstance(player._fields, Lines)
    return columns(player._fields._sources[label])


def title(player: RolloutPlayer, label: str) -> str:
    assert isinstance(player._fields, Lines)
    plot: figure = player._fields._figures[label]
    return cast(Any, plot.title).text


class TestAsking:
    def test_for_all_contenders_at_once_and_then_only_for_what_is_new(self, engine_like: Answering, race: Race):
        player = player_of(engine_like, race)
        for _ in range(3):
            player.update(None, 0, None)
        assert [(run.label, epoch, sample) for run, epoch, sample, _ in engine_like.asked] == [
            (PRDP_LABEL, None, 0),
            (FULL_LABEL, None, 0),
        ]
        assert "Computing" in player._status.object
        assert not player._played.visible
        engine_like.answer()
        for _ in range(3):
            player.update(None, 0, None)
        assert player._played.visible
        assert not player._status.visible
        assert len(engine_like.asked) == 2
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 1))
        player.update(None, 0, None)
        assert [run.label for run, *_ in engine_like.asked[2:]] == [PRDP_LABEL]

    def test_a_sample_or_an_epoch_that_is_chosen(self, engine_like: Answering, race: Race):
        player = player_of(engine_like, race)
        for epoch, sample in ((None, 0), (None, 3), (2, 3), (None, 3)):
            player.update(epoch, sample, None)
            assert [each[1:3] for each in engine_like.asked[-2:]] == [(epoch, sample)] * 2
            engine_like.answer()
            player.update(epoch, sample, None)
        assert len(engine_like.asked) == 8

    def test_training_alone_is_followed_now_and_then(
        self, engine_like: Answering, race: Race, monkeypatch: pytest.MonkeyPatch
    ):
        player = player_of(engine_like, race)
        monkeypatch.setattr(_fields_rollout, "SECONDS_BETWEEN", 1000.0)
        player.update(None, 0, None)
        engine_like.answer()
        player.update(None, 0, None)
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 1))
        player.update(None, 0, None)
        assert len(engine_like.asked) == 2
        player.update(None, 1, None)  # a person does not wait
        assert len(engine_like.asked) == 4

    def test_before_training_it_waits(self, engine_like: Answering):
        player = player_of(engine_like, made_up_race())
        player.update(None, 0, None)
        assert not engine_like.asked
        assert "when training begins" in player._status.object

    def test_a_replay_that_is_moved_keeps_what_is_shown(self, engine_like: Answering, race: Race):
        player = player_of(engine_like, race)
        player.update(None, 0, None)
        engine_like.answer()
        player.update(None, 0, None)
        player.look_at(Shown(race, kept=False).contenders)
        assert player._played.visible
        player.look_at(Shown(made_up_race(), kept=False).contenders)
        assert not player._played.visible

    def test_what_cannot_be_computed_is_told_as_text(self, engine_like: Answering, race: Race):
        player = player_of(engine_like, race)
        player.update(None, 0, None)
        for *_, future in engine_like.asked:
            future.set_exception(ValueError("<b>no</b>"))
        player.update(None, 0, None)
        assert "could not be computed. &lt;b&gt;no" in player._status.object
        assert player._status.visible
        assert not player._played.visible

    @pytest.mark.parametrize("name", ["poisson-1", "poisson-3"])
    def test_an_inverse_problem_says_why_there_is_none(self, engine_like: Answering, name: str):
        race = Race({PRDP_LABEL: settings_for(name), FULL_LABEL: settings_for(name, Constant())}, None, lambda: None)
        for run in race.runs.values():
            run.log.append(made_up_rows(0, 6))
        player = player_of(engine_like, race)
        player.update(None, 0, None)
        assert "inverse problem" in player._status.object
        assert not engine_like.asked


class TestPlaying:
    @pytest.fixture
    def player(self, engine_like: Answering, race: Race) -> RolloutPlayer:
        player = player_of(engine_like, race)
        player.update(None, 1, None)
        engine_like.answer()
        player.update(None, 1, None)
        return player

    @pytest.mark.parametrize("step", [0, 7, STEPS])
    def test_a_step_is_what_the_fields_show(self, player: RolloutPlayer, step: int):
        player.player.value = step
        np.testing.assert_allclose(shown(player, PRDP_LABEL)["field_0"], 2 * (1 + 0.01 * step), rtol=1e-6)
        np.testing.assert_allclose(shown(player, FULL_LABEL)["field_0"], 2 * (1 + 0.02 * step), rtol=1e-6)
        np.testing.assert_array_equal(shown(player, PRDP_LABEL)["field_1"], 2)
        np.testing.assert_allclose(shown(player, FULL_LABEL)["field_2"], 0.04 * step, atol=1e-6)
        assert title(player, PRDP_LABEL) == f"PRDP of epoch 5, step {step} of 20"
        told = player._told.object
        assert f"Validation sample 2 after {step} of 20 rollout steps" in told
        assert f"{0.01 * step:.3g} for PRDP, {0.02 * step:.3g} for full physics" in told

    def test_the_curve_grows_with_the_steps_in_the_look_of_each(self, player: RolloutPlayer):
        curve = player._curve
        for step in (0, 4, STEPS, 2):
            player.player.value = step
            for place in (0, 1):
                reached, whole = columns(curve._reached[place]), columns(curve._whole[place])
                assert list(reached["step"]) == list(range(step + 1))
                assert len(whole["step"]) == STEPS + 1
                np.testing.assert_allclose(whole["error"][1:], 0.01 * (place + 1) * np.arange(1, 21), rtol=1e-5)
            assert curve._at.location == step
        assert all(not len(columns(source)["step"]) for source in (*curve._reached[2:], *curve._before))
        assert extent(curve._errors)[0] < 0.01 < 0.4 < extent(curve._errors)[1]
        assert LOOKS[0].color in curve._legend.object

    def test_what_runs_away_leaves_the_scale_to_the_others(
        self, player: RolloutPlayer, engine_like: Answering, race: Race
    ):
        player.player.value = STEPS
        assert "off scale" not in title(player, PRDP_LABEL)
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 1))
        player.update(None, 1, None)
        engine_like.answer(error=1e6)
        player.update(None, 1, None)
        assert isinstance(player._fields, Lines)
        assert 4 <= extent(player._fields._y_range)[1] < 6
        assert title(player, PRDP_LABEL).endswith("off scale")
        assert "off scale" not in title(player, FULL_LABEL)

    def test_a_network_that_diverged_is_a_gap(self, player: RolloutPlayer, engine_like: Answering, race: Race):
        race.runs[PRDP_LABEL].log.append(made_up_rows(6, 1))
        player.update(None, 1, None)
        engine_like.answer(error=np.nan)
        player.update(None, 1, None)
        player.player.value = 3
        assert np.isnan(shown(player, PRDP_LABEL)["field_0"]).all()
        assert "not a number for PRDP" in player._told.object


def test_of_a_component_that_is_shown(engine_like: Answering):
    race = Race({PRDP_LABEL: settings_for("navier-stokes-2d")}, None, lambda: None)
    race.runs[PRDP_LABEL].log.append(made_up_rows(0, 2))
    player = player_of(engine_like, race)
    player.update(None, 0, 0)
    names = ("coarse solver alone", "with the trained network", "reference")
    fields = {
        name: np.random.default_rng(index).normal(size=(STEPS + 1, 4, 24, 24)) for index, name in enumerate(names)
    }
    engine_like.asked[0][-1].set_result(Rollout(1, 0, fields, 0.0))
    for component in (0, 3):
        player.update(None, 0, component)
        player.player.value = 5
        images = cast(Any, player._fields)._images[PRDP_LABEL]
        assert list(images) == [*names, "error"]
        np.testing.assert_array_equal(
            columns(images["reference"]._source)["image"][0], fields["reference"][5, component].astype(np.float32)
        )
        before = columns(player._curve._before[0])
        assert len(before["step"]) == STEPS + 1
        assert set(before["what"]) == {"coarse solver alone"}


def test_of_real_runs(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_fields_rollout, "SECONDS_BETWEEN", 0.0)
    race = engine.race("heat-1d", {PRDP_LABEL: None}, epochs=2)
    assert race.runs[PRDP_LABEL].wait(timeout=60)
    player = RolloutPlayer(engine.rollout)
    player.look_at(Shown(race, kept=False).contenders)
    player.update(None, 0, None)
    [future] = [future for _, future in player._asked.values()]
    assert future.result(60).epoch == 2
    player.update(None, 0, None)
    assert title(player, PRDP_LABEL) == "PRDP of epoch 2, step 0 of 20"
