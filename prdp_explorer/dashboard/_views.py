"""Each view by itself: of a race or a run, or of the kept runs, in a notebook or on a page of one's own."""

import html
from collections.abc import Mapping
from typing import Any

import panel as pn

from ..engine import Engine, Race, Store, shared_engine
from ..problems import title_of
from ._bar import status_html
from ._comparison import comparison
from ._fields import Fields
from ._live import Live, race_of
from ._overview import Overview
from ._pointer import Pointer
from ._runs import Runs
from ._shown import Shown
from ._source import RunSource
from ._theme import FITTED, LOOKS
from ._why import Why


class _RaceLive(Live):
    """A view of a race below a line that says how far it is.

    **Arguments:**

    - `show`: a race or a run, or what has one as `race`.

    **Attributes:**

    - `engine`: what trains the race, and answers questions about it.
    - `shown`: the race as it is seen. `view`: what it is seen in.

    **Raises:** `ValueError` in words for anything else.
    """

    def __init__(self, show: Any):
        race = race_of(show)
        super().__init__()
        self.engine = race.engine or shared_engine()
        self.shown = Shown(None, kept=False)
        self.sources = [RunSource() for _ in LOOKS]
        for place, source in enumerate(self.sources):
            source.source.name = f"contender {place}"  # to be found by, in the browser
        self._pointer = Pointer([source.source for source in self.sources], self._point)
        self._heading = pn.pane.HTML(sizing_mode="stretch_width", margin=(8, 18, 0, 18))
        self.view: Any = self._make()
        self.attach(race)

    def _make(self) -> Any:
        """The view, which shows nothing yet."""
        raise NotImplementedError

    def _lay_out(self) -> pn.Column:
        return pn.Column(self._heading, self.view, styles=FITTED, sizing_mode="stretch_width", margin=0)

    def attach(self, race: Race) -> None:
        """Show a race from its beginning and watch it from now on."""
        with self.changing():
            self.leave()
            self.race = race
            self.arrive()
            self.shown = Shown(race, kept=self.engine.recorder is not None)
            for place, source in enumerate(self.sources):
                source.follow(self.shown.at(place))
            self.view.look_at(self.shown)
            self.tick()

    def tick(self) -> None:
        """Show what is new in the logs."""
        with self.changing():
            if self.shown.outdated and self.race is not None:
                self.attach(self.race)
                return
            for source in self.sources:
                source.update()
            self.view.update()
            self._heading.object = self._heading_html()
            self.forget_told()

    def _heading_html(self) -> str:
        shown = self.shown
        title = html.escape(title_of(shown.first.settings.scenario))
        status = status_html(f"{title}: {shown.words.lower()}", f"epoch {shown.epoch} of {shown.epochs}")
        troubled = [f"{run.label}: {run.message}" for run in shown.runs if run.state in ("diverged", "failed")]
        return "<br>".join([status, *map(html.escape, troubled)])

    def _point(self, epoch: int | None) -> None:
        with self.changing():
            if hasattr(self.view, "point_at"):
                self.view.point_at(epoch)


class RaceView(_RaceLive):
    """The error, K and cost of a race or a run, and what happened, by itself; the tab *Race* of the explorer.

    Displayed by its last line in a notebook (after `pn.extension("tabulator", inline=True)`), or served with
    `.servable()`. `close` ends its timer; a race that nobody watches any more is paused.

    **Arguments:**

    - `show`: a race or a run, or what has one as `race`.

    **Raises:** `ValueError` in words for anything else.
    """

    view: Overview

    def _make(self) -> Overview:
        return Overview(self.sources, self._pointer, self._set_fairness)

    def attach(self, race: Race) -> None:
        """Show a race from its beginning and watch it from now on."""
        super().attach(race)
        self.view.fairness.value = race.fairness

    def _heading_html(self) -> str:
        return "<br>".join([super()._heading_html(), *(comparison(self.shown) if self.shown.epoch else [])])

    def _set_fairness(self) -> None:
        if self.race is not None and self.shown.training:
            self.race.set_fairness(self.view.fairness.value)


class WhyView(_RaceLive):
    """What the controller of a run saw and decided, by itself, with a what-if; the tab *Why* of the explorer.

    A what-if that is forked is shown in the place of the race. For the rest it is as `RaceView`.

    **Arguments:**

    - `show`: a race or a run, or what has one as `race`.

    **Raises:** `ValueError` in words for anything else.
    """

    view: Why

    def _make(self) -> Why:
        return Why(self.engine, self._pointer, self._fork)

    def _fork(self, run_id: str, epoch: int, changes: Mapping[str, Any]) -> None:
        pace = None if self.race is None else self.race.pace
        self.attach(self.engine.fork(run_id, epoch, pace=pace, beside=True, **changes))


class FieldsView(_RaceLive):
    """The fields of validation samples, and rollouts, by itself; the tab *Fields* of the explorer.

    For the rest it is as `RaceView`.

    **Arguments:**

    - `show`: a race or a run, or what has one as `race`.

    **Raises:** `ValueError` in words for anything else.
    """

    view: Fields

    def _make(self) -> Fields:
        return Fields(self.engine.rollout, self._pointer)


class KeptRuns(Live):
    """The runs of a store by itself: found, compared, named, deleted and taken away; the tab *Kept runs*.

    Displayed by its last line in a notebook (after `pn.extension("tabulator", inline=True)`), or served with
    `.servable()`. `close` ends its timer. To see one of them again, show `engine.replay(id)`.

    **Arguments:**

    - `kept_by`: an engine that keeps runs, or a store.

    **Raises:** `ValueError` in words for anything else, and for an engine that keeps none.
    """

    def __init__(self, kept_by: Engine | Store):
        store = kept_by.store if isinstance(kept_by, Engine) else kept_by
        if not isinstance(store, Store):
            raise ValueError(f"`kept_by` must be an `Engine` or a `Store`; got {kept_by!r}.")
        super().__init__()
        self.view = Runs(store)
        self.tick()

    def _lay_out(self) -> pn.Column:
        return pn.Column(self.view, styles=FITTED, sizing_mode="stretch_width", margin=0)

    def tick(self) -> None:
        """Show what changed in the store."""
        with self.changing():
            self.view.update()
            self.forget_told()
