"""Settings out of stores and files."""

from collections.abc import Mapping
from typing import Any

from ..problems import OWN, scenarios
from ._loop import loop_settings_from_json
from ._settings import LOOP, RunSettings, settings_for


def settings_from_json(values: Mapping[str, Any]) -> RunSettings:
    """The settings that `to_json` of `RunSettings` or `LoopSettings` gave.

    **Raises:** `ValueError` in words for what is no such thing, and for a problem of one's own that is not known here.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"Settings must be an object of values by name; got {type(values).__name__}.")
    choices = dict(values)
    if choices.get("preset") == LOOP:
        return loop_settings_from_json(choices)
    if not is_known(choices):
        raise ValueError(
            f"{choices.get('scenario')} is a problem of one's own, which is not kept with its runs. Register it here, "
            "or name its file or module with --problem."
        )
    names = ("preset", "solver", "differentiation", "metric", "seed", "epochs", "learning_rate")
    missing = [name for name in ("scenario", "refinement", *names) if name not in choices]
    if missing:
        raise ValueError(f"Settings must name {', '.join(missing)}.")
    if not isinstance(choices["preset"], str):
        raise ValueError(f"`preset` must be a name; got {choices['preset']!r}.")
    return settings_for(choices["scenario"], choices["refinement"], **{name: choices[name] for name in names})


def is_known(settings: Mapping[str, Any]) -> bool:
    """Whether the problem of these settings, as `to_json` gives them, is a built-in one or is known here.

    An unregistered problem of one's own has a class's name, which is no id. Of a loop everything that can be known is.
    """
    return settings.get("preset") != OWN or str(settings.get("scenario")) in scenarios()
