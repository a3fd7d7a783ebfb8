"""A kept run in few words. What a file says of a run may be anything at all; here it becomes text, never an error."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from ..engine import Event, StoredRun, is_full_physics, settings_for
from ..problems import OWN

SYMBOLS = {
    "tau_step": "τ_step",
    "tau_stop": "τ_stop",
    "window": "δ",
    "ema_window": "w",
    "initial": "first K",
    "step": "K added",
    "maximum": "largest K",
    "compare_with_start": "compare with start",
    "rtol_initial": "first tolerance",
    "rtol_factor": "tolerance times",
    "rtol_floor": "smallest tolerance",
    "iterations": "K",
    "learning_rate": "learning rate",
}
"""The settings in few letters; the others are called by their names."""

_CONTROLLERS = {"prdp": "PRDP", "prdp-tolerance": "PRDP (tolerance)", "constant": "constant", "scheduled": "scheduled"}
_ALWAYS_TOLD = ("tau_step", "tau_stop", "iterations")


def scenario_words(run: StoredRun) -> str:
    """The scenario's id and the preset."""
    return f"{run.settings.get('scenario')}, {run.settings.get('preset')}"


def settings_words(run: StoredRun) -> str:
    """The controller, the solver and the mode, the seed; edits as old→new.

    Of the other values only those that are not the preset's own, or were edited.
    """
    values = flat_settings(run.settings)
    scenario, preset, kind = (str(values.get(name)) for name in ("scenario", "preset", "kind"))
    usual = (_usual if preset == OWN else _known_usual)(scenario, preset, kind)
    changes = [
        change_words(name, values.get(name), run.edits.get(name))
        for name in {**values, **run.edits}
        if name not in _PLACED
        and (name in _ALWAYS_TOLD or name in run.edits or values[name] != usual.get(name, values[name]))
    ]
    controller = "full physics" if is_full_physics(run) else _CONTROLLERS.get(str(values.get("kind")), "controller")
    parts = [
        " ".join([controller, ", ".join(changes)]).strip(),
        *(change_words("", values.get(name), run.edits.get(name)) for name in ("solver", "differentiation")),
        "" if usual.get("deterministic") else f"seed {value_words(values.get('seed'))}",
        "fed the training loss" if values.get("metric") == "training" else "",
    ]
    return " · ".join(filter(None, parts))


_PLACED = frozenset({"kind", "scenario", "preset", "solver", "differentiation", "seed", "epochs", "metric"})
"""Settings that have a place of their own in the words, or in the table."""


def status_words(run: StoredRun) -> str:
    """The state, the epochs, and the error that it came to."""
    error = run.summary.get("validation")
    return f"{run.status} after epoch {run.epochs}" + ("" if error is None else f", error {error:.2e}")


def fork_words(run: StoredRun, events: Iterable[Event]) -> str:
    """From which epoch a fork goes its own way, and what was changed there."""
    if run.parent_epoch is None:
        return ""
    values, changes = flat_settings(run.settings), {}
    for event in events:
        if event.name == "adjust" and event.epoch <= run.parent_epoch:
            values |= event.values
        elif event.name == "adjust" and event.epoch == run.parent_epoch + 1:
            changes |= event.values
    told = ", ".join(change_words(name, values.get(name), value) for name, value in changes.items())
    return f"after epoch {run.parent_epoch}: {told or 'nothing changed'}"


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the controller's values among them, by the names that edits have."""
    refinement = settings.get("refinement")
    values = dict(refinement) if isinstance(refinement, Mapping) else {}
    return {**values, **{name: value for name, value in settings.items() if name != "refinement"}}


def change_words(name: str, value: Any, new: Any) -> str:
    """A setting, and what it was changed to unless that is None."""
    told = f"{SYMBOLS.get(name, name)} {value_words(value)}".strip()
    return told if new is None else f"{told}→{value_words(new)}"


def value_words(value: Any) -> str:
    """A value of a setting; not longer than a line, whatever it is."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]


def _usual(scenario: str, preset: str, kind: str) -> Mapping[str, Any]:
    """What a preset has of its own with such a controller; nothing for what is not known here."""
    try:
        settings = settings_for(scenario, {"kind": kind}, preset=preset)
    except ValueError:
        return {}
    return flat_settings(settings.to_json()) | {"deterministic": settings.problem.deterministic}


_known_usual = functools.lru_cache(maxsize=256)(_usual)
"""The same for presets that stay what they are."""
