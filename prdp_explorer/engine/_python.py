"""A kept run as the lines of Python that train it again."""

from collections.abc import Iterator

from ..refinement import KINDS
from ._log import Log
from ._settings import settings_from_json
from ._store import StoredRun


def python_lines(run: StoredRun, log: Log) -> str:
    """A script that gives the records of a run again, to the last bit on the same machine and versions.

    A fork has its parent's settings and edits, so that nothing else is needed for it.

    **Raises:** `ValueError` in words for a problem of one's own, which only its author's code has.
    """
    if run.settings.get("preset") == "own":
        raise ValueError(f"{run.settings.get('scenario')} is a problem of one's own; its author's code trains it.")
    settings = settings_from_json(run.settings).to_json()  # nothing but values: what a file says becomes code here
    values = dict(settings.pop("refinement"))
    kind = KINDS[values.pop("kind")].__name__
    scenario = settings.pop("scenario")
    edits = [(event.epoch, dict(event.values)) for event in log.events if event.name == "adjust"]
    return "\n".join(
        [
            f"# The run {run.id!r}, trained again.",
            "",
            f"from prdp_explorer import {kind}, train",
            "",
            f"controller = {kind}(",
            *_arguments(values),
            ")",
            "records = train(",
            f"    {scenario!r},",
            "    controller,",
            *_arguments(settings),
            *(["    edits=[", *(f"        {edit!r}," for edit in edits), "    ],"] if edits else []),
            ")",
            "for record in records:",
            "    print(record.epoch, record.iterations, record.validation)",
            "",
        ]
    )


def _arguments(values: dict[str, object]) -> Iterator[str]:
    return (f"    {name}={value!r}," for name, value in values.items())
