"""A kept run as files: those of the engine, and those with pictures."""

from collections.abc import Callable, Mapping

from ..engine import EXPORTS as ENGINE_EXPORTS
from ..engine import Store, full_physics_by_run, is_full_physics, written_whole
from ._figure import write_paper_figure
from ._kept import KeptRun
from ._report import report


def _write_figure(store: Store, run_id: str, file: str) -> None:
    full = _full_physics_of(store, run_id)
    write_paper_figure(file, KeptRun.read(store, run_id), None if full is None else KeptRun.read(store, full))


def _write_report(store: Store, run_id: str, file: str) -> None:
    page = report(store, run_id, _full_physics_of(store, run_id))
    with written_whole(file) as part:
        part.write_text(page, encoding="utf-8")


def _full_physics_of(store: Store, run_id: str) -> str | None:
    """The full-physics run to compare a run with, if one is kept and it is not full physics itself."""
    full = full_physics_by_run(store.runs()).get(run_id)
    return None if full is None or is_full_physics(store.run(run_id)) else full.id


EXPORTS: Mapping[str, Callable[[Store, str, str], None]] = {
    **ENGINE_EXPORTS,
    ".png": _write_figure,
    ".svg": _write_figure,
    ".html": _write_report,
}
"""What writes a run of a store to a file, by the ending of the file's name."""
