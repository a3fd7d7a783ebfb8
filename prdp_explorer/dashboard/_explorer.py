"""The explorer: it holds a race, passes a person's commands on, and moves the views."""

import contextlib
import html
import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn
import panel_material_ui as pmui

from ..engine import Engine, Race, Run, is_known, settings_for, shared_engine
from ..problems import Problem, name_of, register, scenario_named
from ..stories import recorded, story_named
from ._address import Setting, address_query
from ._address_bar import AddressBar
from ._bar import Bar
from ._controls import Controls
from ._fields import Fields
from ._labs import Labs
from ._live import Live, checked_engine, race_of, tick_once
from ._overview import Overview
from ._pointer import Pointer
from ._runs import Runs
from ._session import locked, notify
from ._share import Share, Shared
from ._shown import Shown
from ._source import RunSource
from ._stories import StoryShelf, StoryTeller
from ._story_page import race_of_step, zoom
from ._theme import FITTED, FULL_LABEL, LOOKS, PRDP_LABEL, fill
from ._why import Why

SEEN_AFTER_MILLISECONDS = 40
"""An edit has acted by then: a compiled call takes about 30 ms."""
UNSEEN_SECONDS = 1.0
"""How late the curves of the race may be while another tab is open, where only the pointer needs them."""


_TABS = {"@media (max-width: 600px)": {"& .MuiTab-root": {"minWidth": 0, "padding": "12px 7px", "fontSize": "12px"}}}
"""All tabs have a place on a telephone."""

_BESIDE = """
:host { display: grid; grid-template-columns: minmax(0, 1fr) }
:host > .drawer { order: 1 }
@container (min-width: 820px) {
  :host { grid-template-columns: 300px minmax(0, 1fr) }
  :host > .drawer { order: 0 }
}
"""
"""The drawer beside the views where there is room, else below them."""


class Explorer(Live):
    """PRDP against full physics and others, live: settings, commands, and views that follow the logs of the runs.

    Displayed by its last line in a notebook (after `pn.extension("tabulator", inline=True)`), or served with
    `.servable()`; either way a timer keeps it up to date. `close` ends the timer and withdraws the interest in the
    race.

    **Arguments:**

    - `show`: what to begin with: the id of a scenario or a problem of one's own, which the drawer is set to; a race or
      a run, or what has one as `race`, as a session of `explore` has, to be shown and followed; None for the first
      scenario.
    - `engine`: what trains; by default the one that trains what is shown, or that this process shares.

    **Raises:** `ValueError` in words for anything else.
    """

    def __init__(self, show: Any = None, *, engine: Engine | None = None):
        race = None if show is None or isinstance(show, str | Problem | type) else race_of(show)
        scenario = scenario_to_show(show) if race is None and show is not None else None
        super().__init__()
        of_race = None if race is None else race.engine
        self.engine = of_race or shared_engine() if engine is None else checked_engine(engine)
        self.shown = Shown(None, kept=False)
        self._aside: Race | None = None  # under way, while its past is looked at
        self._streamed = -math.inf
        self._edits: list[list[tuple[Run, dict[str, Any]]]] = []  # and what undoes each
        self.sources = [RunSource() for _ in LOOKS]
        for place, source in enumerate(self.sources):
            source.source.name = f"contender {place}"  # to be found by, in the browser
        self._pointer = Pointer([source.source for source in self.sources], self._point)
        self.controls = Controls(self._edit)
        self.address = AddressBar(margin=0)
        self._opened: dict[str, str] = {}  # the race or the run that the address names
        self._held: Any = None
        self.share = Share(lambda: Shared.of(self.shown, self.setting))
        self.teller = StoryTeller(self._turn_to, self._leave_story)
        self.bar = Bar(self._command, self._set_pace, self.share)
        # Built when it is first opened, and by then shown another race.
        self._builders: dict[str, Callable[[], Any]] = {
            "Race": lambda: Overview(self.sources, self._pointer, self._set_fairness),
            "Why": lambda: Why(self.engine, self._pointer, self.fork),
            "Fields": lambda: Fields(self.engine.rollout, self._pointer),
            "Labs": lambda: Labs(self.engine, lambda: self.controls.settings()[PRDP_LABEL]),
            "Kept runs": self._make_runs,
            "Stories": lambda: StoryShelf(lambda story: self._turn_to(story, 0)),
        }
        self.views: dict[str, Any] = {}
        self._looked: dict[str, Shown] = {}
        self._places = {
            name: pn.Column(sizing_mode="stretch_width", margin=0, styles=FITTED) for name in self._builders
        }
        self.tabs = pmui.Tabs(*self._places.items(), sizing_mode="stretch_width", margin=0, sx=_TABS)
        self.tabs.param.watch(lambda _: locked(self.tick), "active")
        self.overview: Overview = self._open("Race")
        self.tick()
        if scenario is not None:
            self.controls.scenario.value = scenario
        if race is not None:
            self.show_race(race, {"race": race.id})

    def _lay_out(self) -> pn.Column:
        drawer = pn.Column(self.controls, css_classes=["drawer"], sizing_mode="stretch_width", margin=0)
        views = pn.Column(self.bar, self.teller, self.tabs, sizing_mode="stretch_width", margin=0)
        beside = pn.Column(drawer, views, stylesheets=[_BESIDE], sizing_mode="stretch_width", margin=0)
        return pn.Column(beside, styles=FITTED, sizing_mode="stretch_width", margin=0)

    def attach(self, race: Race, tab: str | None = None) -> None:
        """Show a race from its beginning, in a tab if one is named, and watch it from now on."""
        with self.changing():
            self.leave()
            self._aside = None
            self._edits.clear()
            self._follow(race)
            self.arrive()
            self.bar.show_pace(race.pace, self.shown.epochs)
            self.overview.fairness.value = race.fairness
            if tab is not None:  # now, so that the tab that was open asks for nothing more
                self.tabs.active = list(self._builders).index(tab)
            self.tick()

    def _follow(self, race: Race | None) -> None:
        self.race = race
        self.shown = Shown(race, kept=self.engine.recorder is not None)
        self._streamed = -math.inf
        for place, source in enumerate(self.sources):
            source.follow(self.shown.at(place))

    def _open(self, name: str) -> Any:
        """The view of a tab, built if need be."""
        if name not in self.views:
            self.views[name] = self._builders[name]()
        return self.views[name]

    def _make_runs(self) -> Any:
        if self.engine.recorder is None:
            return pn.pane.HTML(html.escape(self.engine.trouble or "This engine keeps no runs."), margin=20)
        return Runs(self.engine.store, self._from_table(self.open_run), self._from_table(self.resume_run))

    @property
    def runs(self) -> Runs:
        """The view of kept runs."""
        return self._open("Kept runs")

    def open_run(self, run_id: str) -> None:
        """Show a kept run, with what it is seen beside, at its end.

        **Raises:** `ValueError` in words for a run that cannot be shown.
        """
        race = self.engine.replay(run_id)
        race.set_pace(self.bar.pace(max(run.settings.epochs for run in race.runs.values())))
        self.show_race(race, {"run": run_id}, "Race")

    def resume_run(self, run_id: str) -> None:
        """Go on with a kept run that was interrupted or stopped.

        **Raises:** `ValueError` in words for a run that cannot go on.
        """
        race = self.engine.resume(run_id, beside=True)
        race.set_pace(self.bar.pace(max(run.settings.epochs for run in race.runs.values())))
        self.show_race(race, {"race": race.id}, "Race")

    def tell_story(self, story_id: str, place: int = 0) -> None:
        """Show a step of a story, from 0: its recorded runs, where there is something to see, and its words.

        **Raises:** `ValueError` in words for a story or a step that there is not, and for a damaged recording.
        """
        story = story_named(story_id)
        runs = recorded(story)
        steps = story.tell(runs)
        if not 0 <= place < len(steps):
            raise ValueError(f"The story {story_id!r} has the steps 1 to {len(steps)}; got {place + 1}.")
        step = steps[place]
        race = race_of_step(self.engine, runs, step)
        race.set_pace(self.bar.pace(max(run.settings.epochs for run in race.runs.values())))
        with self.changing():
            self.overview.begin_over(step.axis)
            if step.tab == "Labs":
                first = runs[step.runs[0]]
                self._open("Labs").know(first.kept.id, *first.findings(step.epoch))
            self.show_race(race, {"story": story_id, "story_step": str(place + 1)}, step.tab)
            if step.tab == "Race":
                zoom(self.overview.curves, step, self.shown.epochs)
            elif step.tab == "Why":
                zoom(self.views["Why"].figures, step, self.shown.first.settings.epochs)
            self.teller.tell(story, steps, place)

    def _leave_story(self) -> None:
        if "story" in self._opened:  # else a race was started meanwhile, which the address goes on to name
            self._link({})

    def _turn_to(self, story_id: str, place: int) -> None:
        try:
            self.tell_story(story_id, place)
        except ValueError as error:
            notify(str(error))

    def show_race(self, race: Race, link: dict[str, str], tab: str | None = None) -> None:
        """Show a race with its settings, in a tab if one is named; `link` is what the address then says."""
        self.attach(race, tab)
        self._copy_settings()
        self._link(link)

    def _copy_settings(self) -> None:
        """Show in the drawer what the contenders have by now, if their problem can be set there."""
        self.controls.show_loop(self.shown.loop)
        if self.shown.loop is not None or not is_known(self.shown.first.settings.to_json()):
            return
        first, full = self.shown.at(0), self.shown.at(1)
        others = {each.label: each.run.settings for each in self.shown.contenders if each.place > 1}
        self.controls.copy_from(first.settings if first else None, full.settings if full else None, others)

    def tick(self) -> None:
        """Show what is new in the logs, in the tab that is open."""
        with self.changing():
            # Before anything is streamed: Bokeh 3.9 fails on columns that grow and then shrink in one message.
            if (epoch := self.bar.replay.wanted()) is not None:
                self._seek(epoch)
            if self.shown.outdated:
                self._follow(self.race)
            name = list(self._builders)[self.tabs.active]
            if name == "Race" or time.monotonic() >= self._streamed + UNSEEN_SECONDS:
                self._streamed = time.monotonic()
                for source in self.sources:
                    source.update()
            view = self._open(name)
            if self._looked.get(name) is not self.shown and hasattr(view, "look_at"):
                self._looked[name] = self.shown
                view.look_at(self.shown)
            if hasattr(view, "update"):
                view.update()
            if not len(self._places[name]):
                # Not before: what is changed and then replaced in one go is told to a page that never heard of it.
                fill(self._places[name], view)
            self._show_state()
            self._show_address()
            self.forget_told()

    def _point(self, epoch: int | None) -> None:
        """Show an epoch that a person points at, or none, in all views."""
        with self.changing():
            for view in self.views.values():
                if hasattr(view, "point_at"):
                    view.point_at(epoch)

    def _from_table(self, show: Callable[[str], None]) -> Callable[[str], None]:
        """What shows a kept run, made to bring the race before the person who asked, or to say why not."""

        def bring(run_id: str) -> None:
            try:
                show(run_id)
            except ValueError as error:
                notify(str(error))

        return bring

    def _command(self, name: str) -> None:
        """Do what a person pressed in the bar."""
        if name == "start":
            self._start()
        elif name == "fork":
            self._fork()
        elif name == "pause":
            self._pause_or_go_on()
        elif name == "undo":
            self._undo()
        elif name == "reset":
            self._reset()
        elif self.race is not None:
            (self.race.step if name == "step" else self.race.stop)()
        self.tick()

    def _start(self) -> None:
        fairness = self.overview.fairness.value
        try:
            race = self.engine.race_with(
                self.controls.settings(),
                pace=self.bar.pace(self.controls.epochs),
                reuse=self.controls.reuse.value and fairness == "epochs",  # else its seconds are those of another day
                fairness=fairness,
            )
        except ValueError as error:
            notify(str(error))
            return
        self.attach(race)
        self._link({"race": race.id})

    def _reset(self) -> None:
        """End what is shown and be as before the first start; the drawer stays as it is."""
        for race in (self._aside, self.race):
            if race is not None and race.recordings is None:
                race.stop()
        self.leave()
        self._aside = None
        self._edits.clear()
        self._follow(None)
        self.controls.show_loop(None)
        self._link({})

    def _link(self, link: dict[str, str]) -> None:
        """Let the address open what is shown."""
        self._opened = link
        self._show_address()

    def _show_address(self) -> None:
        """Let the address hold what is set, and open what is shown."""
        chosen = self.overview.fairness.value, self.overview.axis.value
        held = (self.controls.held(), chosen, self._opened)
        if held != self._held:
            self._held = held
            setting = None
            if self.shown.loop is None:
                with contextlib.suppress(ValueError):  # it does not fit together, and Start says why
                    setting = self.setting()
            if setting is not None or self._opened:
                self.address.query = address_query(setting, self._opened)

    def setting(self) -> Setting:
        """Everything that is set.

        **Raises:** `ValueError` in words for what does not fit together.
        """
        return Setting(self.controls.settings(), self.overview.fairness.value, self.overview.axis.value)

    def show_setting(self, setting: Setting) -> None:
        """Show a setting, which is no edit; a race under way says itself what it is set to."""
        self.overview.axis.value = setting.axis
        if not self.shown.training:
            (_, prdp), (_, full), *others = setting.contenders.items()
            self.controls.copy_from(prdp, full, dict(others))
            self.overview.fairness.value = setting.fairness

    def _pause_or_go_on(self) -> None:
        if self._aside is not None and self._aside.active:
            race = self._aside
            self.attach(race)
            race.resume()
        elif self.shown.movable and not self.shown.active:
            self._seek(0, play=True)
        elif self.race is not None:
            (self.race.resume if self.race.paused else self.race.pause)()

    def _seek(self, epoch: int, *, play: bool = False) -> None:
        """Show an epoch that was, of what is over, replayed, or under way; the last waits meanwhile."""
        race, playing = self.race, play or (self.shown.replayed and self.shown.active and not self.shown.paused)
        if race is None or not self.shown.movable:
            return
        aside = self._aside if race.recordings is not None else race if race.active else None
        try:
            if race.recordings is None:
                race.pause()
                first, *others = (run.id for run in self.shown.runs)
                race = self.engine.replay(first, beside=others, pace=race.pace)
            self.attach(self.engine.seek(race, epoch, paused=not playing))
        except ValueError as error:
            notify(str(error))
        else:
            self._aside = aside

    def _undo(self) -> None:
        """Take the last edit back, which is an edit, too."""
        if not self._edits:
            return
        try:
            for run, former in self._edits.pop():
                if not run.ended:
                    run.adjust(**former)
        except ValueError as error:
            notify(str(error))
        self._copy_settings()

    def _fork(self) -> None:
        """Go another way from the epoch shown, with the settings of the drawer."""
        run = self.shown.first
        place = FULL_LABEL if run.settings.refinement["kind"] == "constant" else PRDP_LABEL
        try:
            wanted = settings_for(
                self.controls.scenario.value,
                self.controls.contenders()[place],
                metric=run.settings.metric,
                **self.controls.choices(),
            )
            self.fork(run.id, run.epoch, run.settings.difference(wanted))
        except ValueError as error:
            notify(str(error))

    def fork(self, run_id: str, epoch: int, changes: Mapping[str, Any]) -> None:
        """Let a kept run go another way from an epoch on, beside what it did, and show that.

        **Raises:** `ValueError` in words; nothing is started then.
        """
        if self.race is not None:
            self.engine.take_in(self.race)  # a story's runs are not among one's own until they are forked
        race = self.engine.fork(run_id, epoch, pace=self.bar.pace(self.shown.epochs), beside=True, **changes)
        self.show_race(race, {"race": race.id}, "Race")

    def _set_pace(self) -> None:
        if self.race is not None:
            self.race.set_pace(self.bar.pace(self.shown.epochs))

    def _set_fairness(self) -> None:
        if self.shown.training and self.race is not None:
            self.race.set_fairness(self.overview.fairness.value)

    def _edit(self, places: Sequence[int], changes: dict[str, Any]) -> None:
        """Pass an edit on to the runs under way at these places: to all or, with `ValueError` in words, to none."""
        if not self.shown.training:
            return
        here = [each for each in self.shown.contenders if each.place in places and not each.run.ended]
        runs = [each.run for each in here if each.place < 2 or not each.run.played]  # what a fork left stays as it was
        done: list[tuple[Run, dict[str, Any]]] = []
        try:
            for run in runs:
                done.append((run, run.adjust(**changes)))
        except ValueError:
            for run, former in done:
                run.adjust(**former)
            raise
        if done:
            self._edits.append(done)
            document = pn.state.curdoc
            if document is not None and document.session_context is not None:  # seen sooner than by the timer
                explorer: weakref.ref[Explorer] = weakref.ref(self)
                document.add_timeout_callback(lambda: tick_once(explorer), SEEN_AFTER_MILLISECONDS)

    def _show_state(self) -> None:
        training, first = self.shown.training, self.shown.at(0)
        self.controls.lock(training)
        if training and first is not None:
            self.controls.follow(first.settings)
        aside = self._aside is not None and bool(self._aside.active)
        self.bar.update(self.shown, self.engine.trouble, undoable=bool(self._edits), aside=aside)


def scenario_to_show(show: "str | Problem | type[Problem]") -> str:
    """The id of the scenario that is meant; a problem of one's own that has no name yet is registered by its class's.

    **Raises:** `ValueError` in words for one that there is not.
    """
    if isinstance(show, str):
        return scenario_named(show).id
    known = name_of(show) if isinstance(show, Problem) else None
    return register(show).id if known is None else known[0]
