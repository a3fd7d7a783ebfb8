"""What a training will cost and save is known before it starts."""

import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, PlainToy, recorder_of, timeless

from prdp_explorer import PRDP, Constant, Engine, TolerancePRDP, explore, train
from prdp_explorer.engine import Prediction, _prediction, settings_for
from prdp_explorer.problems import SCENARIOS


def test_what_follows_from_a_cost():
    found = Prediction(fixed=0.001, each=0.0001, full_iterations=30, epochs=100, share=0.2, known_from="a test")
    assert found.physics == pytest.approx(0.75)
    assert found.saving == pytest.approx(0.6)
    assert found.seconds == pytest.approx(0.4)
    nothing = Prediction(fixed=0.0, each=0.0, full_iterations=30, epochs=100, share=None, known_from="")
    assert (nothing.physics, nothing.saving) == (0.0, None)


def test_the_cost_is_a_line_through_what_one_and_all_iterations_take(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def seconds(settings, counts):
        asked.append(counts)
        return [0.002 + 0.0005 * count for count in counts]

    monkeypatch.setattr(_prediction, "_seconds_an_epoch", seconds)
    found = _prediction.predict(settings_for("heat-1d"))
    assert asked == [(1, 25)]
    assert (found.fixed, found.each) == (pytest.approx(0.002), pytest.approx(0.0005))
    assert (found.share, found.known_from) == (SCENARIOS["heat-1d"].shares["live"], "earlier trainings of the preset")
    other = _prediction.predict(settings_for("heat-1d", PRDP(tau_step=0.5)))
    assert other.share is None
    monkeypatch.setattr(_prediction, "_seconds_an_epoch", lambda settings, counts: [2.0, 1.0])  # as noise may have it
    noisy = _prediction.predict(settings_for("heat-1d"))
    assert (noisy.fixed, noisy.each, noisy.physics) == (1.0, 0.0, 0.0)


def test_it_measures_and_disturbs_nothing(engine: Engine):
    before = timeless(train(TOY, seed=2))
    found = engine.predict(settings_for(TOY, seed=2)).result(PATIENCE)
    assert 0 < found.fixed + found.each < 1
    assert 0 <= found.physics <= 1
    run = engine.start(TOY, seed=2)
    assert run.wait(timeout=PATIENCE)
    assert timeless(run.log.records[1:]) == before
    assert run.compilations == 0  # what was measured is what is trained


def test_a_kept_run_tells_what_is_spent(keeping: Engine):
    run = keeping.start("poisson-1", epochs=30)
    assert run.wait(timeout=PATIENCE)
    recorder_of(keeping).write()
    found = keeping.predict(settings_for("poisson-1", epochs=30)).result(PATIENCE)
    assert found.share == pytest.approx(run.log.records[-1].cumulative_iterations / (30 * 600))
    assert found.known_from == f"the kept run {run.id}"
    other = keeping.predict(settings_for("poisson-1", PRDP(tau_step=0.5), epochs=30)).result(PATIENCE)
    assert other.share is None


def test_what_cannot_be_predicted_is_told(engine: Engine):
    loop = explore("mine", Constant(3), engine=engine).run.settings
    tolerance = settings_for(PlainToy(), TolerancePRDP())
    for settings, words in ((loop, "only its author's code"), (tolerance, "What a tolerance will cost is not known")):
        with pytest.raises(ValueError, match=words):
            engine.predict(settings).result(PATIENCE)


def test_usual_shares_are_shares_of_presets():
    for scenario in SCENARIOS.values():
        assert "live" in scenario.shares
        assert scenario.shares.keys() <= scenario.presets.keys()
        assert np.all((np.array(list(scenario.shares.values())) > 0) & (np.array([*scenario.shares.values()]) < 1))
