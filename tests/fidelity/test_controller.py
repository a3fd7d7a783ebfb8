"""The controller against the decisions of the reference code."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prdp_explorer import PRDP

CASES = json.loads((Path(__file__).parent / "controller.json").read_text())
NAMES = [
    f"{n}-step{case['tau_step']}-stop{case['tau_stop']}-window{case['window']}-ema{case['ema_window']}"
    for n, case in enumerate(CASES)
]
LONGEST = max(len(case["history"]) for case in CASES)


def controller_of(case) -> PRDP:
    return PRDP(**{name: case[name] for name in ("tau_step", "tau_stop", "window", "ema_window")}, maximum=1000)


@jax.jit
def decisions(controller, history):
    def step(state, metric):
        state = controller.update(metric, state)
        return state, (state.refined, state.iterations)

    return jax.lax.scan(step, controller.init(), history)[1]


sweep = jax.jit(jax.vmap(decisions, in_axes=(0, None)))


def stacked(controllers: list[PRDP]) -> PRDP:
    """One controller whose leaves hold a setting a lane."""
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *controllers)


def padded(case):
    """All histories of one length, so that one compilation serves all cases; what follows cannot change what was."""
    history = case["history"]
    return np.array(history + history[-1:] * (LONGEST - len(history)))


def refine_epochs(refined, case) -> list[int]:
    return np.flatnonzero(np.asarray(refined)[: len(case["history"])]).tolist()


def test_there_are_39_cases_and_most_refine():
    assert len(CASES) == 39
    assert sum(bool(case["refine_at"]) for case in CASES) > 30


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_plain_python(case):
    controller = controller_of(case)
    state = controller.init()
    refined_at, iterations = [], [int(state.iterations)]
    for epoch, metric in enumerate(case["history"]):
        state = controller.update(metric, state)
        iterations.append(int(state.iterations))
        if state.refined:
            refined_at.append(epoch)
    assert refined_at == case["refine_at"]
    assert iterations == [1 + sum(epoch < count for epoch in refined_at) for count in range(len(iterations))]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_jit_and_scan(case):
    refined, iterations = decisions(controller_of(case), padded(case))
    assert refine_epochs(refined, case) == case["refine_at"]
    assert int(np.asarray(iterations)[len(case["history"]) - 1]) == 1 + len(case["refine_at"])


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_vmap_over_thresholds(case):
    thresholds = [(case["tau_step"], case["tau_stop"]), (0.98, 0.9), (0.9, 0.98), (1.0, 0.8), (0.95, 0.95)]
    controllers = [
        PRDP(tau_step=a, tau_stop=b, window=case["window"], ema_window=case["ema_window"], maximum=1000)
        for a, b in thresholds
    ]
    refined, iterations = jax.device_get(sweep(stacked(controllers), padded(case)))
    assert refine_epochs(refined[0], case) == case["refine_at"]
    for lane, controller in enumerate(controllers):
        solo_refined, solo_iterations = jax.device_get(decisions(controller, padded(case)))
        assert refined[lane].tolist() == solo_refined.tolist()
        assert iterations[lane].tolist() == solo_iterations.tolist()


def test_one_sweep_serves_all_cases_at_once():
    """Window and ema_window vary between the lanes as well."""
    controllers = stacked([controller_of(case) for case in CASES])
    refined, _ = jax.vmap(decisions)(controllers, np.stack([padded(case) for case in CASES]))
    assert [refine_epochs(row, case) for row, case in zip(refined, CASES, strict=True)] == [
        case["refine_at"] for case in CASES
    ]
