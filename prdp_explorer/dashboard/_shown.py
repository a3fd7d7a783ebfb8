"""The race on the page: which of its runs are seen where, and what can be done with it."""

from typing import NamedTuple

from ..engine import LoopSettings, Race, Run, is_known
from ._theme import FULL_LABEL, LOOKS, Look

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

    - `race`: what is shown. `kept`: whether its runs are kept, so that what was can be seen again.

    **Attributes:**

    - `contenders`: the runs shown, by place: at most as many as there are looks. What has a constant K is what the
      others are compared with, full physics before any other; of several constant ones the last.
    """

    def __init__(self, race: Race | None, *, kept: bool):
        self.race, self._kept = race, kept
        self._labels = [] if race is None else list(race.runs)
        runs = [] if race is None else list(race.runs.values())
        constant = [run for run in runs if run.started_with.refinement["kind"] == "constant"]
        named = [run for run in runs if run.label == FULL_LABEL]
        full = next(iter([*named, *constant[::-1]]), None)
        others = [run for run in runs if run is not full]
        first = next((run for run in others if run not in constant), others[0] if others else None)
        rest = [run for run in others if run is not first]
        placed = zip(range(len(LOOKS)), (first, full, *rest), strict=False)
        self.contenders = [Contender(place, run) for place, run in placed if run is not None]

    def at(self, place: int) -> Run | None:
        """The run at a place, if there is one."""
        return next((contender.run for contender in self.contenders if contender.place == place), None)

    @property
    def names(self) -> list[str]:
        """The labels by place, empty where there is nothing."""
        return [run.label if (run := self.at(place)) else "" for place in range(len(LOOKS))]

    @property
    def runs(self) -> list[Run]:
        return [contender.run for contender in self.contenders]

    @property
    def first(self) -> Run:
        """The run that is looked at first, which a fork is one of."""
        return self.runs[0]

    @property
    def epoch(self) -> int:
        """The last epoch that any run has done; while something goes on, any of those that do."""
        runs = [run for run in self.runs if not run.ended] or self.runs
        return max((run.epoch for run in runs), default=0)

    @property
    def epochs(self) -> int:
        """The epochs that there are to be."""
        return max((run.settings.epochs for run in self.runs), default=0)

    @property
    def largest_iterations(self) -> int:
        """The largest K that any of them may have, that of full physics among them."""
        settings = [run.settings for run in self.runs]
        return max((max(each.largest_iterations, each.problem.full_iterations) for each in settings), default=1)

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
    def outdated(self) -> bool:
        """Whether the race has got a contender since: a loop of one's own has full physics beside it once it begins."""
        return self.race is not None and list(self.race.runs) != self._labels

    @property
    def loop(self) -> LoopSettings | None:
        """The settings of a loop of one's own, which only its author's code starts; None for what the engine trains."""
        settings = self.first.settings if self.runs else None
        return settings if isinstance(settings, LoopSettings) else None

    @property
    def movable(self) -> bool:
        """Whether any epoch of it can be seen again: a replay, or what is kept."""
        if self.replayed or not self.runs:
            return self.replayed
        return self._kept and self.first.epoch > 0 and is_known(self.first.settings.to_json())

    @property
    def words(self) -> str:
        """The state in words."""
        states = list(dict.fromkeys(run.state for run in [run for run in self.runs if not run.ended] or self.runs))
        words = "; ".join(STATE_WORDS[state] for state in states)
        if not self.replayed:
            return words
        return f"Replay, {'playing' if states == ['running'] else words.lower()}"
