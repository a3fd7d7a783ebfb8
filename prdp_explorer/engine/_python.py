"""Runs as the lines that train them again: of Python, and of the command line."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..refinement import KINDS
from ._log import Log
from ._settings import RunSettings, settings_from_json
from ._store import StoredRun
from ._training import Edit


def edits_in(log: Log) -> list[Edit]:
    """The edits that a log tells of."""
    return [(event.epoch, dict(event.values)) for event in log.events if event.name == "adjust"]


def python_lines(run: StoredRun, log: Log) -> str:
    """A script that gives the records of a run again, to the last bit on the same machine and versions.

    A fork has its parent's settings and edits, so that nothing else is needed for it.

    **Raises:** `ValueError` in words for a problem of one's own, which only its author's code has.
    """
    if run.settings.get("preset") == "own":
        raise ValueError(_own(run.settings.get("scenario")))
    settings = settings_from_json(run.settings)  # nothing but values: what a file says becomes code here
    kind = KINDS[settings.refinement["kind"]].__name__
    return "\n".join(
        [
            f"# The run {run.id!r}, trained again.",
            "",
            f"from prdp_explorer import {kind}, train",
            "",
            f"controller = {kind}(",
            *_arguments(settings.values),
            ")",
            "records = train(",
            f"    {settings.scenario!r},",
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

    **Raises:** `ValueError` in words for a problem of one's own, which only its author's code has.
    """
    kinds = set()
    calls: list[str] = []
    for label, (settings, edits) in contenders.items():
        if settings.preset == "own":
            raise ValueError(_own(settings.scenario))
        kind = KINDS[settings.refinement["kind"]].__name__
        kinds.add(kind)
        call = [
            f"{label!r}: train(",
            f"    {settings.scenario!r},",
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

    **Raises:** `ValueError` in words for what has no such command: a schedule, and a problem of one's own.
    """
    if settings.preset == "own":
        raise ValueError(_own(settings.scenario))
    kind = settings.refinement["kind"]
    if kind == "scheduled":
        raise ValueError("The command line knows no schedule of K; the lines of Python train it.")
    flags = {
        **_choices(settings),
        "refinement": "constant" if kind == "constant" else "prdp",
        **settings.values,
    }
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["python", "-m", "prdp_explorer", "run", settings.scenario, *words])


def _own(scenario: object) -> str:
    return f"{scenario} is a problem of one's own; its author's code trains it."


def _choices(settings: RunSettings) -> dict[str, Any]:
    return {name: value for name, value in settings.to_json().items() if name not in ("scenario", "refinement")}


def _edits(edits: Iterable[Edit]) -> list[str]:
    lines = [f"        {(epoch, dict(changes))!r}," for epoch, changes in edits]
    return ["    edits=[", *lines, "    ],"] if lines else []


def _arguments(values: Mapping[str, object]) -> Iterator[str]:
    return (f"    {name}={value!r}," for name, value in values.items())
