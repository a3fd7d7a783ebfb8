"""Which kept runs belong together: full physics to what was saved against it, and runs that would be the same again."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..problems import built_in_name, scenarios
from ._settings import LOOP, RunSettings
from ._store import StoredRun, made_with

_OF_CONTROLLERS = frozenset({"tau_step", "tau_stop", "window", "ema_window", "step", "maximum", "iterations",
                             "rtol_factor", "rtol_floor"})  # fmt: skip
"""Edits that concern one contender only."""


def full_physics_by_run(runs: Iterable[StoredRun]) -> dict[str, StoredRun]:
    """For each of these runs, by id, its matching full-physics run, where there is one among them.

    That is the newest finished one at K_full throughout whose settings are otherwise the same.
    """
    runs = list(runs)
    full = {_shared(run.settings): run for run in reversed(runs) if run.status == "finished" and is_full_physics(run)}
    comparable = [run for run in runs if run.edits.keys() <= _OF_CONTROLLERS]
    return {run.id: full[key] for run in comparable if (key := _shared(run.settings)) in full}


def full_physics_for(settings: RunSettings, runs: Iterable[StoredRun]) -> StoredRun | None:
    """The newest finished run at K_full throughout with otherwise these settings."""
    wanted = _shared(settings.to_json())
    those = (run for run in runs if run.status == "finished" and _shared(run.settings) == wanted)
    return next((run for run in those if is_full_physics(run)), None)


def is_full_physics(run: StoredRun) -> bool:
    """Whether a kept run had K_full inner iterations throughout."""
    full = run.settings.get("full_iterations")  # a loop of one's own says it itself
    if run.settings.get("preset") != LOOP:
        scenario = scenarios().get(str(run.settings.get("scenario")))
        problem = None if scenario is None else scenario.presets.get(str(run.settings.get("preset")))
        full = None if problem is None else problem.full_iterations
    return (
        full is not None
        and not run.edits
        and run.settings.get("refinement") == {"kind": "constant", "iterations": full}
    )


def kept_twin(settings: RunSettings, runs: Iterable[StoredRun]) -> StoredRun | None:
    """The newest finished run with these very settings, made with these versions on this kind of machine.

    None for a problem or a loop of one's own, whose code may have changed since.
    """
    if built_in_name(settings.problem) is None:
        return None
    wanted = settings.to_json()
    same = (run for run in runs if run.settings == wanted and not run.edits and run.status == "finished")
    return next((run for run in same if run.made_with == made_with()), None)


def _shared(settings: Mapping[str, Any]) -> str:
    """What a run has in common with its full-physics run: all but the controller and what that looks at."""
    return json.dumps({**settings, "refinement": None, "metric": None}, sort_keys=True)
