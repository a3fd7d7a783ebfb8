"""Heat 1D as published, against runs of the reference code."""

import json
from pathlib import Path

import pytest

from prdp_explorer import Constant, train

CASES = json.loads((Path(__file__).parent / "heat_1d.json").read_text())
BOTH_MODES = pytest.mark.parametrize("differentiation", ["implicit", "unrolled"])
BOTH_SEEDS = pytest.mark.parametrize("case", CASES, ids=[f"seed {case['seed']}" for case in CASES])


def test_there_are_two_seeds():
    assert [case["seed"] for case in CASES] == [1, 2]


@BOTH_MODES
@BOTH_SEEDS
def test_prdp_repeats_the_published_schedule_and_error(case, differentiation):
    training = train("heat-1d", preset="paper", seed=case["seed"], differentiation=differentiation)
    records = list(training)
    assert [record.iterations for record in records] == case["prdp_K"]
    assert records[-1].cumulative_iterations == case["cumulative"]
    assert records[-1].validation == pytest.approx(case["prdp_nmse"][1], rel=0.01)
    assert training.status == "finished"


@BOTH_MODES
@BOTH_SEEDS
def test_full_physics_repeats_the_published_error(case, differentiation):
    records = list(train("heat-1d", Constant(), preset="paper", seed=case["seed"], differentiation=differentiation))
    assert [record.iterations for record in records] == [case["full_K"]] * case["epochs"]
    assert records[-1].cumulative_iterations == case["full_K"] * case["epochs"]
    assert records[-1].validation == pytest.approx(case["full_nmse"][1], rel=0.01)


@BOTH_SEEDS
def test_the_default_controller_of_the_paper_preset_is_the_published_one(case):
    records = list(train("heat-1d", {"kind": "prdp"}, preset="paper", seed=case["seed"]))
    assert sum(record.refined for record in records) == sum(
        after > before for before, after in zip(case["prdp_K"], case["prdp_K"][1:], strict=False)
    )
    saving = 1 - records[-1].cumulative_iterations / (case["full_K"] * case["epochs"])
    assert saving == pytest.approx(case["saving"], abs=1e-9)
