"""Runs as the lines that train them again: of Python, and of the command line."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..problems import OWN, scenarios
from ..refinement import KINDS
from ._from_json import settings_from_json
from ._log import Log
from ._loop import ONLY_ITS_AUTHOR
from ._settings import LOOP, RunSettings
from ._store import StoredRun
from ._training import Edit


def edits_in(log: Log) -> list[Edit]:
    """The edits that a log tells of."""
    return [(event.epoch, dict(event.values)) for event in log.events if event.name == "adjust"]


def python_lines(run: StoredRun, log: Log) -> str:
    """A script that gives the records of a run again, to the last bit on the same machine and versions.

    A fork has its parent's settings and edits, so that nothing else is needed for it.

    **Raises:** `ValueError` in words for a problem of one's own of which it is not known here where it is written.
    """
    if run.settings.get("preset") == OWN:
        _place(run.settings.get("scenario"))
    if run.settings.get("preset") == LOOP:
        raise ValueError(ONLY_ITS_AUTHOR)
    settings = settings_from_json(run.settings)  # nothing but values: what a file says becomes code here
    kind = KINDS[settings.refinement["kind"]].__name__
    return "\n".join(
        [
            f"# The run {run.id!r}, trained again.",
            "",
            f"from prdp_explorer import {kind}, train",
            *_imports([settings]),
            "",
            f"controller = {kind}(",
            *_arguments(settings.values),
            ")",
            "records = train(",
            f"    {_scenario(settings)},",
            "    controller,",
            *_arguments(_choices(settings)),
            *_edits(edits_in(log)),
            ")",
            "for record in records:",
            "    print(record.epoch, record.iterations, record.validation)",
            "",
        ]
    )


def race_lines(contenders: Mapping[str, tuple[RunSettings, Iterable[Edit]]]) -> str:
    """A script that trains contenders, each with the edits made on the way, one after the other.

    **Raises:** `ValueError` in words for a problem of one's own of which it is not known here where it is written.
    """
    kinds = set()
    calls: list[str] = []
    for label, (settings, edits) in contenders.items():
        if settings.preset == LOOP:
            raise ValueError(ONLY_ITS_AUTHOR)
        kind = KINDS[settings.refinement["kind"]].__name__
        kinds.add(kind)
        call = [
            f"{label!r}: train(",
            f"    {_scenario(settings)},",
            f"    {kind}(",
            *(f"    {line}" for line in _arguments(settings.values)),
            "    ),",
            *_arguments(_choices(settings)),
            *_edits(edits),
            "),",
        ]
        calls += [f"    {line}" for line in call]
    return "\n".join(
        [
            f"from prdp_explorer import {', '.join(sorted(kinds))}, train",
            *_imports([settings for settings, _ in contenders.values()]),
            "",
            "contenders = {",
            *calls,
            "}",
            "for label, records in contenders.items():",
            "    for record in records:",
            "        print(label, record.epoch, record.iterations, record.validation)",
            "",
        ]
    )


def command_line(settings: RunSettings) -> str:
    """The command that trains a run, with every value in it, for a shell.

    **Raises:** `ValueError` in words for what has no such command: a schedule, and a problem of one's own of which it
    is not known here where it is written.
    """
    kind = settings.refinement["kind"]
    if kind == "scheduled":
        raise ValueError("The command line knows no schedule of K; the lines of Python train it.")
    if settings.preset == LOOP:
        raise ValueError(ONLY_ITS_AUTHOR)
    own = settings.preset == OWN
    named = ["--problem", _place(settings.scenario)] if own else [settings.scenario]
    flags = {
        **{name: value for name, value in _choices(settings).items() if not (own and name == "preset")},
        "refinement": "constant" if kind == "constant" else "prdp",
        **settings.values,
    }
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["python", "-m", "prdp_explorer", "run", *named, *words])


def _place(scenario: object) -> str:
    """Where a problem of one's own is written, as it was named or registered here: never what a file or a link says."""
    known = scenarios().get(str(scenario))
    if known is None or known.place is None:
        raise ValueError(
            f"{scenario} is a problem of one's own; its author's code trains it. Named by --problem FILE.py:NAME or "
            "package.module:NAME, it can be written here as well."
        )
    return known.place


def _scenario(settings: RunSettings) -> str:
    """What `train` is given."""
    return f"problem_at({_place(settings.scenario)!r})" if settings.preset == OWN else repr(settings.scenario)


def _imports(all_settings: Iterable[RunSettings]) -> list[str]:
    own = any(settings.preset == OWN for settings in all_settings)
    return ["from prdp_explorer.problems import problem_at"] if own else []


def _choices(settings: RunSettings) -> dict[str, Any]:
    return {name: value for name, value in settings.to_json().items() if name not in ("scenario", "refinement")}


def _edits(edits: Iterable[Edit]) -> list[str]:
    lines = [f"        {(epoch, dict(changes))!r}," for epoch, changes in edits]
    return ["    edits=[", *lines, "    ],"] if lines else []


def _arguments(values: Mapping[str, object]) -> Iterator[str]:
    return (f"    {name}={value!r}," for name, value in values.items())
