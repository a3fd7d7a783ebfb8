"""Kept runs in the place of live ones, for views that follow logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..engine import Log, Run, Store, StoredRun, problem_of
from ._shown import Contender
from ._source import RunSource


@dataclass(frozen=True)
class Extent:
    """What views ask of the settings of a run: its `epochs`, its largest K, and K of full physics."""

    epochs: int
    largest_iterations: int
    full_iterations: int

    @property
    def problem(self) -> "Extent":
        """In the place of the problem, which may be one's own and not here."""
        return self


@dataclass(frozen=True)
class KeptRun:
    """What views look at of a run, of one that is kept.

    **Attributes:**

    - `stored`, `log`: what the store has of it.
    - `settings`: the epochs it was to have, its largest K, and K of full physics; where the problem is one's own, the
      largest K known.
    """

    stored: StoredRun
    log: Log
    settings: Extent

    @classmethod
    def read(cls, store: Store, run_id: str) -> "KeptRun":
        """Read a run.

        **Raises:** `StoreError` if there is none with that id.
        """
        stored, log = store.run(run_id), store.log(run_id)
        refinement = stored.settings.get("refinement", {})
        recorded = int(log.read()["iterations"].max(initial=1))
        largest = max(recorded, int(refinement.get("maximum", refinement.get("iterations", 1))))
        problem = problem_of(stored)
        full = largest if problem is None else problem.full_iterations
        return cls(stored, log, Extent(int(stored.epochs_requested or stored.epochs), largest, full))

    @property
    def timed_in(self) -> str:
        """The race in which its seconds were measured."""
        return self.stored.race

    @property
    def words(self) -> str:
        """What it is in a legend."""
        refinement: Any = self.stored.settings.get("refinement", {})
        if refinement.get("kind") != "constant":
            return "scheduled K" if refinement.get("kind") == "scheduled" else "PRDP"
        if "iterations" in self.stored.edits:
            return "constant K, edited"
        iterations = self.settings.largest_iterations
        return "full physics" if iterations == self.settings.full_iterations else f"K = {iterations} throughout"


@dataclass(frozen=True)
class Pair:
    """A run beside full physics, as the views take them: sources that have read everything, and names for legends.

    Of a run by itself the other source has nothing, and its name is empty; what was saved is then counted against
    K_full in every epoch. A run of constant K by itself takes the place of full physics.
    """

    prdp: RunSource
    full: RunSource
    names: tuple[str, str]

    @classmethod
    def of(cls, run: KeptRun, full: KeptRun | None = None) -> "Pair":
        """A run and its full-physics run, if there is one."""
        if full is not None:
            return cls(read_source(run), read_source(full), (run.words, full.words))
        if run.stored.settings.get("refinement", {}).get("kind") == "constant":
            return cls(read_source(None), read_source(run), ("", run.words))
        return cls(read_source(run), read_source(None), (run.words, ""))

    @classmethod
    def raced(cls, contenders: Sequence[Contender]) -> "Pair":
        """The first two of the contenders on the page, as far as they are."""
        runs = {each.place: each.run for each in contenders}
        prdp, full = runs.get(0), runs.get(1)
        return cls(read_source(prdp), read_source(full), (prdp.label if prdp else "", full.label if full else ""))

    @property
    def full_iterations(self) -> int:
        """K that what was saved is counted against."""
        if self.full.run is not None:
            return self.full.run.settings.largest_iterations
        return 0 if self.prdp.run is None else self.prdp.run.settings.problem.full_iterations

    @property
    def sources(self) -> list[tuple[str, RunSource]]:
        """Those that have something, by name."""
        both = zip(self.names, (self.prdp, self.full), strict=True)
        return [(name, source) for name, source in both if name]


def read_source(run: KeptRun | Run | None) -> RunSource:
    """A source that has read everything that there is of a run."""
    source = RunSource()
    source.follow(cast(Run | None, run))
    source.update()
    return source
