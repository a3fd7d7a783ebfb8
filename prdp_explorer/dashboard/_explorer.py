"""The explorer: it holds a race, passes a person's commands on, and moves the views."""

import functools
import html
import threading
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
from panel.io import PeriodicCallback

from ..engine import Engine, Race, Store, StoreError, Watch, settings_for
from ._bar import Bar
from ._controls import Controls
from ._costs import Costs
from ._curves import Curves
from ._fields import Fields
from ._history import History
from ._runs import Runs
from ._session import locked, notify
from ._shown import Shown
from ._source import RunSource
from ._theme import FULL_LABEL, PRDP_LABEL

TICK_MILLISECONDS = 100
NOTEBOOK_TICK_MILLISECONDS = 250

_RUNS_TAB = 1


@functools.cache
def shared_engine() -> Engine:
    """The engine of this process, which all its pages share. Without a store that can be used it keeps no runs."""
    try:
        return Engine(Store())
    except StoreError as error:
        return Engine(not_kept=f"{error} Runs are not kept.")


class Explorer(pn.viewable.Viewer):
    """PRDP against full physics, live: settings, commands, and views that follow the logs of the two runs.

    Displayed by its last line in a notebook (after `pn.extension("tabulator", inline=True)`), or served by `make_page`;
    either way a timer keeps it up to date. `close` ends the timer and withdraws the interest in the race.

    **Arguments:**

    - `engine`: what trains; by default the one that this process shares.
    """

    def __init__(self, engine: Engine | None = None):
        super().__init__()
        self.engine = engine or shared_engine()
        self.race: Race | None = None
        self._watch: Watch | None = None
        self._timer: PeriodicCallback | None = None
        # In a notebook the timer and the widgets' callbacks are in different threads.
        self._lock = threading.RLock()
        self._layout: pmui.Row | None = None
        self.shown = Shown(None, kept=False)
        self._sources = {PRDP_LABEL: RunSource(), FULL_LABEL: RunSource()}
        sources = (self._sources[PRDP_LABEL], self._sources[FULL_LABEL])
        self.controls = Controls(self._edit)
        self.curves = Curves(*sources)
        self.costs = Costs(*sources)
        self.fields = Fields()
        self.history = History()
        self.bar = Bar(self._command, self._set_pace)
        half = {"xs": 12, "lg": 6}
        self.views = pmui.Grid(
            *(
                pmui.Grid(view, size=size)
                for view, size in (
                    (self.curves.error, half),
                    (self.curves.iterations, half),
                    (self.costs.view, half),
                    (self.curves.ratios, half),
                    (self.fields, {"xs": 12}),
                    (self.history, {"xs": 12}),
                )
            ),
            container=True,
            spacing=1.25,
            sizing_mode="stretch_width",
            margin=10,
        )
        self.runs: Runs | None = None
        kept: Any = pn.pane.HTML(html.escape(self.engine.trouble or "This engine keeps no runs."), margin=20)
        if self.engine.recorder is not None:
            kept = self.runs = Runs(
                self.engine.store, self._from_table(self.open_run), self._from_table(self.resume_run)
            )
        self.tabs = pmui.Tabs(("Race", self.views), ("Kept runs", kept), sizing_mode="stretch_width", margin=0)
        self.tabs.param.watch(lambda _: locked(self.tick), "active")
        self.tick()

    def __panel__(self) -> pmui.Row:
        self.keep_up()
        self._layout = pmui.Row(
            pmui.Column(self.controls, width=330),
            pmui.Column(self.bar, self.tabs, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )
        return self._layout

    def keep_up(self) -> None:
        """Call `tick` by a timer: of the page where there is one, else of the notebook's kernel."""
        document = pn.state.curdoc
        if document is not None:
            # Bokeh's own timer: Panel's would switch the page's busy indicator on and off at each tick. It does not
            # hold the explorer, and so neither does what outlives a session.
            explorer: weakref.ref[Explorer] = weakref.ref(self)
            document.add_periodic_callback(lambda: _tick(explorer), TICK_MILLISECONDS)
            pn.state.on_session_destroyed(lambda _: _close(explorer))
        elif self._timer is None:
            # In the background, since cells that run would otherwise hold it up.
            self._timer = PeriodicCallback(
                callback=self._tick_in_notebook, period=NOTEBOOK_TICK_MILLISECONDS, background=True
            )
            self._timer.start()

    def _tick_in_notebook(self) -> None:
        self.tick()
        if self._layout is not None:
            pn.io.push_notebook(self._layout)  # streamed columns do not reach a notebook by themselves

    def attach(self, race: Race) -> None:
        """Show a race from its beginning and watch it from now on."""
        with self._lock:
            self._unwatch()
            self.race = race
            self._watch = race.watch()
            shown = self.shown = Shown(race, kept=self.engine.recorder is not None)
            for label, source in self._sources.items():
                source.follow(shown.places.get(label))
            names = [run.label if (run := shown.places.get(label)) else "" for label in self._sources]
            self.curves.name(*names)
            self.costs.name(*names)
            self.bar.show_pace(race.pace, shown.epochs)
            self.fields.look_at(shown.places)
            self.history.look_at(race)
            settings = [run.settings for run in shown.runs]
            self.curves.set_extent(
                shown.epochs, max(max(each.largest_iterations, each.problem.full_iterations) for each in settings)
            )
            self.tick()

    def open_run(self, run_id: str) -> None:
        """Show a kept run, with what it is seen beside, at its end.

        **Raises:** `ValueError` in words for a run that cannot be shown.
        """
        race = self.engine.replay(run_id)
        race.set_pace(self.bar.pace(max(run.settings.epochs for run in race.runs.values())))
        self.show_race(race, {"run": run_id})

    def resume_run(self, run_id: str) -> None:
        """Go on with a kept run that was interrupted or stopped.

        **Raises:** `ValueError` in words for a run that cannot go on.
        """
        race = self.engine.resume(run_id, beside=True)
        race.set_pace(self.bar.pace(max(run.settings.epochs for run in race.runs.values())))
        self.show_race(race, {"race": race.id})

    def show_race(self, race: Race, link: dict[str, str]) -> None:
        """Show a race with its settings; `link` is what the address then says."""
        self.attach(race)
        prdp, full = map(self.shown.places.get, (PRDP_LABEL, FULL_LABEL))
        self.controls.copy_from(prdp and prdp.settings, full and full.settings)
        self._link(link)

    def close(self) -> None:
        """End the timer and stop watching; a race that nobody watches is paused."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._unwatch()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def tick(self) -> None:
        """Show what is new in the logs."""
        with self._lock, pn.io.hold():
            moved = [source.update() for source in self._sources.values()]
            if any(moved):
                self.curves.update()
                self.costs.update()
            self.fields.update()
            self.history.update()
            if self.runs is not None and self.tabs.active == _RUNS_TAB:
                self.runs.refresh()
            if (epoch := self.bar.replay.wanted()) is not None:
                self._seek(epoch)
            self._show_state()

    def _from_table(self, show: Callable[[str], None]) -> Callable[[str], None]:
        """What shows a kept run, made to bring the race before the person who asked, or to say why not."""

        def bring(run_id: str) -> None:
            try:
                show(run_id)
            except ValueError as error:
                notify(str(error))
            else:
                self.tabs.active = 0

        return bring

    def _command(self, name: str) -> None:
        """Do what a person pressed in the bar."""
        if name == "start":
            self._start()
        elif name == "fork":
            self._fork()
        elif name == "pause":
            self._pause_or_go_on()
        elif self.race is not None:
            (self.race.step if name == "step" else self.race.stop)()
        self.tick()

    def _start(self) -> None:
        try:
            race = self.engine.race(
                self.controls.scenario.value,
                self.controls.contenders(),
                pace=self.bar.pace(self.controls.epochs),
                reuse=self.controls.reuse.value,
                **self.controls.choices(),
            )
        except ValueError as error:
            notify(str(error))
            return
        self.attach(race)
        self._link({"race": race.id})

    def _link(self, link: dict[str, str]) -> None:
        """Let the address open what is shown."""
        if pn.state.location is not None:
            pn.state.location.search = "?" + urlencode(link)

    def _pause_or_go_on(self) -> None:
        if self.shown.movable and not self.shown.active:
            self._seek(0, play=True)
        elif self.race is not None:
            (self.race.resume if self.race.paused else self.race.pause)()

    def _seek(self, epoch: int, *, play: bool = False) -> None:
        """Move what is over or replayed to an epoch."""
        race, playing = self.race, play or (self.shown.active and not self.shown.paused)
        if race is None or not self.shown.movable:
            return
        try:
            if race.recordings is None:
                race = self.engine.replay(self.shown.first.id, pace=race.pace)
            self.attach(self.engine.seek(race, epoch, paused=not playing))
        except ValueError as error:
            notify(str(error))

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
            changes = run.settings.difference(wanted)
            race = self.engine.fork(run.id, run.epoch, pace=self.bar.pace(wanted.epochs), beside=True, **changes)
        except ValueError as error:
            notify(str(error))
            return
        self.attach(race)
        self._link({"race": race.id})

    def _set_pace(self) -> None:
        if self.race is not None:
            self.race.set_pace(self.bar.pace(self.shown.epochs))

    def _edit(self, label: str, changes: dict[str, Any]) -> None:
        """Pass an edit on to a run under way."""
        run = self.shown.places.get(label)
        if self.shown.training and run is not None and not run.ended:
            run.adjust(**changes)

    def _show_state(self) -> None:
        training = self.shown.training
        self.controls.lock(training)
        if training and PRDP_LABEL in self.shown.places:
            self.controls.follow(self.shown.places[PRDP_LABEL].settings)
        self.bar.update(self.shown, self.engine.trouble)


def _tick(explorer: "weakref.ref[Explorer]") -> None:
    if (alive := explorer()) is not None:
        alive.tick()


def _close(explorer: "weakref.ref[Explorer]") -> None:
    if (alive := explorer()) is not None:
        alive.close()
