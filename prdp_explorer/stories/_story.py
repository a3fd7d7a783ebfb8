"""What a story is made of: how its runs are trained, its steps, and the figures that its words are made from."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..engine import Engine, GradientLab, Log, Run, SolverLab, Store, StoredRun
from ..refinement import Reason

Tab = Literal["Race", "Why", "Fields", "Labs"]


@dataclass(frozen=True)
class Step:
    """One step: what a page shows of the recorded runs, and what there is to see.

    **Arguments:**

    - `heading`: the step in a few words.
    - `words`: paragraphs. `look_at`: where to look, in one sentence.
    - `tab`: the views that are shown.
    - `runs`: the labels of the runs that are shown; the first is looked at first.
    - `epoch`: after which of their epochs; None for the end.
    - `axis`: what curves are drawn over: "epoch", "inner iterations" or "seconds".
    """

    heading: str
    words: tuple[str, ...]
    look_at: str
    runs: tuple[str, ...]
    tab: Tab = "Race"
    epoch: int | None = None
    axis: str = "epoch"


@dataclass(frozen=True)
class Story:
    """A guided tour of a few recorded runs, for a lecturer in front of a class or a student alone.

    **Arguments:**

    - `id`: a name for links and files. `title`, `question`: what it is about.
    - `minutes`: about how long it takes to be told.
    - `train`: trains its runs with an engine, each with a label that no other run of the story has.
    - `labs`: which runs the labs look into, by label, and after which epoch; None for the end.
    - `tell`: makes the steps from what was recorded, so that every number in their words is one of the recording's.
    """

    id: str
    title: str
    question: str
    minutes: int
    train: Callable[[Engine], Sequence[Run]]
    tell: Callable[["Recorded"], Sequence[Step]]
    labs: tuple[tuple[str, int | None], ...] = ()


class Findings(NamedTuple):
    """What the labs found out about a run after an epoch: its gradients compared, and its solvers."""

    gradients: GradientLab
    system: SolverLab


@dataclass(frozen=True)
class Told:
    """The figures of one recorded run; an epoch of None is the last.

    **Attributes:**

    - `kept`, `log`: the run. `labs`: what the labs found out about it, by epoch.
    """

    kept: StoredRun
    log: Log
    labs: Mapping[int, Findings]

    def _row(self, epoch: int | None) -> Any:
        rows = self.log.read()
        return rows[-1 if epoch is None else epoch]

    @property
    def epochs(self) -> int:
        """The last epoch."""
        return len(self.log) - 1

    def error(self, epoch: int | None = None) -> float:
        """The validation error; of epoch 0, before training."""
        return float(self._row(epoch)["validation"])

    def iterations(self, epoch: int | None = None) -> int:
        """K."""
        return int(self._row(epoch)["iterations"])

    def spent(self, epoch: int | None = None) -> int:
        """Inner iterations in all."""
        return int(self._row(epoch)["cumulative_iterations"])

    def seconds(self, epoch: int | None = None) -> float:
        """Seconds of training."""
        return float(self._row(epoch)["cumulative_seconds"])

    def reason(self, epoch: int | None = None) -> Reason:
        """Why the controller did after an epoch what it did."""
        return Reason(int(self._row(epoch)["reason"]))

    def refined(self) -> list[int]:
        """The epochs after which K was raised."""
        rows = self.log.read(1)  # what is decided before training is where K begins
        return [int(epoch) for epoch in rows["epoch"][rows["next_iterations"] > rows["iterations"]]]

    def first(self, condition: Callable[[Any], bool]) -> int:
        """The first epoch whose record fulfils a condition.

        **Raises:** `ValueError` if there is none.
        """
        for row in self.log.read():
            if condition(row):
                return int(row["epoch"])
        raise ValueError(f"No epoch of {self.kept.label!r} is as the story says; record it anew.")

    def findings(self, epoch: int | None = None) -> Findings:
        """What the labs found out after an epoch."""
        return self.labs[self.epochs if epoch is None else epoch]

    def angle(self, iterations: int, mode: str, epoch: int | None = None) -> float:
        """Degrees between the gradient with so many iterations and the converged one."""
        lab = self.findings(epoch).gradients
        value = lab.one_minus_cosine[lab.modes.index(mode), lab.counts.index(iterations)]
        return math.degrees(math.acos(1 - float(value)))


class Recorded(Mapping[str, Told]):
    """What was recorded for a story: its runs by label.

    **Attributes:**

    - `store`: where they are kept, for whoever plays them.
    """

    def __init__(self, store: Store, told: Mapping[str, Told]):
        self.store, self._told = store, dict(told)

    def __getitem__(self, label: str) -> Told:
        return self._told[label]

    def __iter__(self):
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(part: float, whole: float) -> str:
    """A share for people."""
    return f"{100 * part / whole:.0f} %"


def number(value: float) -> str:
    """A number for people, to two digits that count."""
    if not math.isfinite(value):
        return "no number"
    if value and not 1e-3 <= abs(value) < 1e4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa} · 10{str(int(exponent)).translate(_RAISED)}"
    return f"{value:.2g}" if abs(value) < 100 else f"{value:,.0f}"
