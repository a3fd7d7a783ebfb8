"""The scenarios that can be named."""

import difflib

from ._burgers import BURGERS_1D
from ._heat import HEAT_1D, HEAT_2D, HEAT_3D
from ._navier_stokes import NAVIER_STOKES_2D
from ._poisson import POISSON_1, POISSON_3
from ._problem import Problem, Scenario

SCENARIOS: dict[str, Scenario] = {
    scenario.id: scenario
    for scenario in (HEAT_1D, HEAT_2D, HEAT_3D, BURGERS_1D, NAVIER_STOKES_2D, POISSON_1, POISSON_3)
}
"""The built-in scenarios by id."""


def name_of(problem: Problem) -> str | None:
    """The scenario and preset that a built-in problem stands for, such as "heat-1d/paper"; None for another."""
    for scenario in SCENARIOS.values():
        for preset, known in scenario.presets.items():
            if known is problem:
                return f"{scenario.id}/{preset}"
    return None


def scenario_named(name: str) -> Scenario:
    """The scenario of that id.

    **Raises:** `ValueError` for an unknown id, with the nearest known one.
    """
    if not isinstance(name, str) or name not in SCENARIOS:
        near = difflib.get_close_matches(str(name), SCENARIOS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"`scenario` must be one of {', '.join(SCENARIOS)}; got {name!r}.{hint}")
    return SCENARIOS[name]


def problem_named(scenario: str, preset: str) -> Problem:
    """The problem of a scenario's preset.

    **Raises:** `ValueError` for an unknown scenario or preset.
    """
    presets = scenario_named(scenario).presets
    if not isinstance(preset, str) or preset not in presets:
        raise ValueError(f"`preset` must be one of {', '.join(presets)}; got {preset!r}.")
    return presets[preset]
