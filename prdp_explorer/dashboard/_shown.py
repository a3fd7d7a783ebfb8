"""The race on the page: which of its runs are seen where, and what can be done with it."""

from typing import NamedTuple

from ..engine import Race, Run
from ._theme import FULL_LABEL, LOOKS, PRDP_LABEL, Look

STATE_WORDS = {
    "compiling": "Compiling",
    "queued": "About to train",
    "running": "Training",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "diverged": "Diverged",
    "failed": "Failed",
    "interrupted": "Interrupted",
}


class Contender(NamedTuple):
    """A run with its place on the page: 0 is looked at first, 1 is what it is compared with, then come the others."""

    place: int
    run: Run

    @property
    def label(self) -> str:
        return self.run.label

    @property
    def look(self) -> Look:
        return LOOKS[self.place]


class Shown:
    """A race, or None, as it is now.

    **Arguments:**

    - `race`: what is shown. `kept`: whether its runs are kept, so that what is over can be played.

    **Attributes:**

    - `places`: the runs shown, by the place where the page does so. What has a constant K goes where full physics is,
      unless it is one of several that have.
    """

    def __init__(self, race: Race | None, *, kept: bool):
        self.race, self._kept = race, kept
        runs = [] if race is None else list(race.runs.values())
        constant = [run for run in runs if run.started_with.refinement["kind"] == "constant"]
        named = [run for run in runs if run.label == FULL_LABEL]
        full = next(iter([*named, *constant[::-1]]), None)
        prdp = next((run for run in runs if run is not full), None)
        self.places = {label: run for label, run in ((PRDP_LABEL, prdp), (FULL_LABEL, full)) if run is not None}
        others = [run for run in runs if run is not prdp and run is not full]
        self.contenders = [Contender(place, run) for place, run in enumerate((prdp, full, *others)) if run is not None]

    @property
    def runs(self) -> list[Run]:
        return list(self.places.values())

    @property
    def first(self) -> Run:
        """The run that is looked at first, which a fork is one of."""
        return self.runs[0]

    @property
    def epoch(self) -> int:
        """The last epoch that any run has done."""
        return max((run.epoch for run in self.runs), default=0)

    @property
    def epochs(self) -> int:
        """The epochs that there are to be."""
        return max((run.settings.epochs for run in self.runs), default=0)

    @property
    def active(self) -> bool:
        """Whether anything goes on."""
        return any(not run.ended for run in self.runs)

    @property
    def paused(self) -> bool:
        """Whether something goes on, but not now."""
        return self.active and self.race is not None and self.race.paused

    @property
    def replayed(self) -> bool:
        """Whether nothing is trained: what is seen was."""
        return self.race is not None and self.race.recordings is not None

    @property
    def training(self) -> bool:
        """Whether anything is being trained."""
        return self.active and not self.replayed

    @property
    def movable(self) -> bool:
        """Whether it can be moved to any epoch: a replay, or what is over and kept."""
        if self.replayed or not self.runs:
            return self.replayed
        return self._kept and not self.active and self.first.epoch > 0 and self.first.settings.preset != "own"

    @property
    def words(self) -> str:
        """The state in words."""
        states = list(dict.fromkeys(run.state for run in [run for run in self.runs if not run.ended] or self.runs))
        words = "; ".join(STATE_WORDS[state] for state in states)
        if not self.replayed:
            return words
        return f"Replay, {'playing' if states == ['running'] else words.lower()}"
