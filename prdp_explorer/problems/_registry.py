"""The scenarios that can be named: the built-in ones, and those that a person brings."""

import difflib
import functools
import inspect
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from ._burgers import BURGERS_1D
from ._heat import HEAT_1D, HEAT_2D, HEAT_3D
from ._navier_stokes import NAVIER_STOKES_2D
from ._own import complete_problem, problem_at
from ._poisson import POISSON_1, POISSON_3
from ._problem import Problem, Scenario

SCENARIOS: Mapping[str, Scenario] = {
    scenario.id: scenario
    for scenario in (HEAT_1D, HEAT_2D, HEAT_3D, BURGERS_1D, NAVIER_STOKES_2D, POISSON_1, POISSON_3)
}
"""The built-in scenarios by id."""

OWN = "own"
"""The preset of a problem of one's own: it has just the one."""

PROBLEMS_VARIABLE = "PRDP_EXPLORER_PROBLEMS"
"""Environment variable with problems of one's own, as `problem_at` takes them, separated by commas."""

LONGEST_ID = 48

ENTRY_POINTS = "prdp_explorer.problems"
"""The group of entry points by which an installed package offers problems; their names become ids."""

logger = logging.getLogger(__name__)

_own: dict[str, Scenario] = {}
_troubles: list[str] | None = None
_lock = threading.RLock()


def scenarios() -> Mapping[str, Scenario]:
    """All scenarios by id: the built-in ones, those of `PROBLEMS_VARIABLE` and of installed packages, and those that
    were registered in this process.
    """
    troubles()
    return {**SCENARIOS, **_own}


def troubles() -> Sequence[str]:
    """What could not be had of `PROBLEMS_VARIABLE` and of installed packages, in words. They are read once."""
    global _troubles
    with _lock:
        if _troubles is None:
            _troubles = []  # before reading: what is read may itself ask for scenarios
            for place in map(str.strip, os.environ.get(PROBLEMS_VARIABLE, "").split(",")):
                if place:
                    _read(place, None, place, functools.partial(problem_at, place))
            for each in entry_points(group=ENTRY_POINTS):
                _read(f"{each.name} = {each.value}", each.name, each.value, each.load)
        return _troubles


def _read(words: str, name: str | None, place: str, load: Callable[[], Any]) -> None:
    try:
        register(load(), name, place=place)
    except Exception as error:  # whatever a package may raise must not keep the others from being had
        trouble = f"The problem {words!r} cannot be had. {error}"
        logger.warning("%s", trouble)
        if _troubles is not None:
            _troubles.append(trouble)


def register(problem: Problem | type[Problem], name: str | None = None, *, place: str | None = None) -> Scenario:
    """Make a problem of one's own a scenario of this process: by its id it is trained, shown, kept, forked, linked to.

    Registered again, as when a notebook's cell is run again, it takes the place of the former one.

    **Arguments:**

    - `problem`: a `Problem`, or a class of them that is made without arguments.
    - `name`: for people; None takes the class's name. The id is the name in small letters with hyphens. What it is
      about is taken from the class's docstring: the first paragraph in short, all of it for what it teaches.
    - `place`: where it is written, as `problem_at` takes it, so that what is exported can name it.

    **Raises:** `ValueError` in words for what is no complete problem, and for a name that something else has.
    """
    known = next((each for each in _own.values() if type(each.presets[OWN]) is problem), None)
    if known is not None and isinstance(problem, type):
        problem = known.presets[OWN]  # so that what is compiled for it is reused
    problem = complete_problem(problem, "The problem")
    kind = type(problem)
    title = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind.__name__)
    id = id_of(title)
    about = inspect.cleandoc(kind.__doc__ or "")
    with _lock:
        former = _own[id].presets[OWN] if id in _own else None
        if id in SCENARIOS or (former is not None and _written(type(former)) != _written(kind)):
            raise ValueError(f"The name {id!r} is taken by another scenario; give this one another name.")
        scenario = _own[id] = Scenario(
            id=id,
            title=title,
            summary=" ".join(about.split("\n\n")[0].split()) or "A problem of one's own.",
            teaches=" ".join(about.split()) or "Its class has no docstring that would say.",
            presets={OWN: problem},
            chosen=(),
            place=place,
        )
    return scenario


def id_of(name: str) -> str:
    """A name in small letters, digits and hyphens, as ids and links have it.

    **Raises:** `ValueError` in words for what is no name.
    """
    id = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") if isinstance(name, str) else ""
    if not 0 < len(id) <= LONGEST_ID:
        raise ValueError(f"`name` must have 1 to {LONGEST_ID} letters or digits; got {name!r}.")
    return id


def unregister(id: str) -> None:
    """Forget a problem of one's own that was registered; runs of it stay kept."""
    with _lock:
        _own.pop(id, None)


def _written(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def name_of(problem: Problem) -> tuple[str, str] | None:
    """The id of the scenario and the preset that a problem stands for; None for one that has no name here."""
    for scenario in scenarios().values():
        for preset, known in scenario.presets.items():
            if known is problem:
                return scenario.id, preset
    return None


def built_in_name(problem: Problem) -> str | None:
    """The name of a built-in problem, such as "heat-1d/paper", which means the same in every process; None for others,
    whose code may change under their name.
    """
    name = name_of(problem)
    return None if name is None or name[0] not in SCENARIOS else "/".join(name)


def title_of(id: object) -> str:
    """The title of a scenario for people; the id itself of one that is not known here."""
    known = scenarios().get(str(id))
    return str(id) if known is None else known.title


def scenario_named(name: str) -> Scenario:
    """The scenario of that id.

    **Raises:** `ValueError` for an unknown id, with the nearest known one.
    """
    known = scenarios()
    if not isinstance(name, str) or name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"`scenario` must be one of {', '.join(known)}; got {name!r}.{hint}")
    return known[name]


def problem_named(scenario: str, preset: str) -> Problem:
    """The problem of a scenario's preset.

    **Raises:** `ValueError` for an unknown scenario or preset.
    """
    presets = scenario_named(scenario).presets
    if not isinstance(preset, str) or preset not in presets:
        raise ValueError(f"`preset` must be one of {', '.join(presets)}; got {preset!r}.")
    return presets[preset]
