"""The explorer: it holds a race, passes a person's commands on, and moves the views."""

import functools
import html
import threading
import weakref
from typing import Any
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui
from panel.io import PeriodicCallback

from ..engine import Engine, Race, Run, Store, StoreError, Watch, settings_for
from ._controls import Controls
from ._costs import Costs
from ._curves import Curves
from ._fields import Fields
from ._history import History
from ._replay import ReplayBar
from ._session import locked, notify
from ._source import RunSource
from ._story import story
from ._theme import FULL_LABEL, PRDP_LABEL

TICK_MILLISECONDS = 100
NOTEBOOK_TICK_MILLISECONDS = 250

RACE_SECONDS = 30
"""How long a race takes at the speed 1×, so that a person can follow it."""

SPEEDS: dict[str, float | None] = {"¼×": 0.25, "½×": 0.5, "1×": 1.0, "2×": 2.0, "5×": 5.0, "as fast as possible": None}

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

WELCOME = (
    "Press <b>Start</b>: two networks train on the same data through the same physics. One solves the physics fully in "
    "every epoch; the other, PRDP, begins with one inner iteration and adds more only when training stops improving."
)


@functools.cache
def shared_engine() -> Engine:
    """The engine of this process, which all its pages share. Without a store that can be used it keeps no runs."""
    try:
        return Engine(Store())
    except StoreError as error:
        return Engine(not_kept=f"{error} Runs are not kept.")


class Explorer(pn.viewable.Viewer):
    """PRDP against full physics, live: settings, commands, and views that follow the logs of the two runs.

    Displayed by its last line in a notebook (after `pn.extension(inline=True)`), or served by `make_page`; either way a
    timer keeps it up to date. `close` ends the timer and withdraws the interest in the race.

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
        self._slots: dict[str, Run] = {}
        self._sources = {PRDP_LABEL: RunSource(), FULL_LABEL: RunSource()}
        sources = (self._sources[PRDP_LABEL], self._sources[FULL_LABEL])
        self.controls = Controls(self._edit)
        self.curves = Curves(*sources)
        self.costs = Costs(*sources)
        self.fields = Fields()
        self.history = History()
        self.replay = ReplayBar(lambda: locked(self._fork))

        button: dict[str, Any] = {"size": "small", "margin": (5, 4)}
        self.start = pmui.Button(label="Start", icon="play_arrow", variant="contained", **button)
        self.pause = pmui.Button(label="Pause", icon="pause", variant="outlined", **button)
        self.step = pmui.Button(label="Step", icon="skip_next", variant="outlined", **button)
        self.stop = pmui.Button(label="Stop", icon="stop", variant="outlined", **button)
        self.speed = pmui.Select(
            label="Speed", options=list(SPEEDS), value="1×", size="small", width=170, margin=(5, 8)
        )
        self.start.on_click(lambda _: locked(self._start))
        self.pause.on_click(lambda _: locked(self._pause_or_resume))
        self.step.on_click(lambda _: locked(lambda: self._command("step")))
        self.stop.on_click(lambda _: locked(lambda: self._command("stop")))
        self.speed.param.watch(lambda _: self._set_pace(), "value")
        self._status = pn.pane.HTML(margin=(5, 8), align="center")
        self._headline = pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 8), styles={"min-height": "3.2em"})
        self.bar = pmui.Paper(
            pmui.FlexBox(self.start, self.pause, self.step, self.stop, self.speed, self._status, align_items="center"),
            self.replay,
            self._headline,
            sizing_mode="stretch_width",
            elevation=1,
            sx={"p": 1},
            margin=(10, 10, 0, 10),
        )
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
        self.tick()

    def __panel__(self) -> pmui.Row:
        self.keep_up()
        self._layout = pmui.Row(
            pmui.Column(self.controls, width=330),
            pmui.Column(self.bar, self.views, sizing_mode="stretch_width"),
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
            self._slots = slots(race)
            for label, source in self._sources.items():
                source.follow(self._slots.get(label))
            names = [run.label if (run := self._slots.get(label)) else "" for label in self._sources]
            self.curves.name(*names)
            self.costs.name(*names)
            self._show_speed(race)
            self.fields.look_at(self._slots)
            self.history.look_at(race)
            settings = [run.settings for run in self._slots.values()]
            self.curves.set_extent(
                max(each.epochs for each in settings),
                max(max(each.largest_iterations, each.problem.full_iterations) for each in settings),
            )
            self.tick()

    def open_run(self, run_id: str) -> None:
        """Show a kept run, with what it is seen beside, at its end.

        **Raises:** `ValueError` in words for a run that cannot be shown.
        """
        race = self.engine.replay(run_id)
        race.set_pace(self._pace(max(max(run.epoch for run in race.runs.values()), 1)))
        self.show_race(race, {"run": run_id})

    def resume_run(self, run_id: str) -> None:
        """Go on with a kept run that was interrupted or stopped.

        **Raises:** `ValueError` in words for a run that cannot go on.
        """
        race = self.engine.resume(run_id, beside=True)
        race.set_pace(self._pace(max(run.settings.epochs for run in race.runs.values())))
        self.show_race(race, {"race": race.id})

    def show_race(self, race: Race, link: dict[str, str]) -> None:
        """Show a race with its settings; `link` is what the address then says."""
        self.attach(race)
        self.controls.copy_from(*(run and run.settings for run in map(self._slots.get, (PRDP_LABEL, FULL_LABEL))))
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
            self._seek(self.replay.wanted())
            self._show_state()

    @property
    def _runs(self) -> list[Run]:
        return list(self._slots.values())

    @property
    def _active(self) -> bool:
        """Whether anything shown goes on."""
        return any(not run.ended for run in self._runs)

    @property
    def _training(self) -> bool:
        """Whether anything shown is being trained."""
        return self._active and self.race is not None and self.race.recordings is None

    @property
    def _movable(self) -> bool:
        """Whether what is shown can be moved to any epoch: a replay, or what is over and kept."""
        if self.race is None or self.engine.recorder is None:
            return False
        if self.race.recordings is not None:
            return True
        return not self._active and self._shown.epoch > 0 and self._shown.settings.preset != "own"

    @property
    def _shown(self) -> Run:
        """The run that is looked at first, which a fork is one of."""
        return self._runs[0]

    def _start(self) -> None:
        try:
            race = self.engine.race(
                self.controls.scenario.value,
                self.controls.contenders(),
                pace=self._pace(self.controls.epochs),
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

    def _pause_or_resume(self) -> None:
        if self._movable and not self._active:
            self._seek(0, play=True)
        else:
            self._command("resume" if self.race is not None and self.race.paused else "pause")

    def _seek(self, epoch: int | None, *, play: bool = False) -> None:
        """Move what is over or replayed to an epoch."""
        race = self.race
        if epoch is None or race is None:
            return
        try:
            if race.recordings is None:
                race = self.engine.replay(self._shown.id, pace=race.pace)
            playing = play or (bool(race.active) and not race.paused)
            self.attach(self.engine.seek(race, epoch, paused=not playing))
        except ValueError as error:
            notify(str(error))

    def _fork(self) -> None:
        """Go another way from the epoch shown, with the settings of the drawer."""
        run = self._shown
        kind = FULL_LABEL if run.settings.refinement["kind"] == "constant" else PRDP_LABEL
        try:
            wanted = settings_for(
                self.controls.scenario.value,
                self.controls.contenders()[kind],
                metric=run.settings.metric,
                **self.controls.choices(),
            )
            changes = run.settings.difference(wanted)
            race = self.engine.fork(run.id, run.epoch, pace=self._pace(wanted.epochs), beside=True, **changes)
        except ValueError as error:
            notify(str(error))
            return
        self.attach(race)
        self._link({"race": race.id})

    def _command(self, name: str) -> None:
        if self.race is not None:
            getattr(self.race, name)()
            self.tick()

    def _set_pace(self) -> None:
        if self.race is not None:
            self.race.set_pace(self._pace(self._runs[0].settings.epochs))

    def _pace(self, epochs: int) -> float | None:
        speed = SPEEDS[self.speed.value]
        return None if speed is None else speed * epochs / RACE_SECONDS

    def _show_speed(self, race: Race) -> None:
        """Show the pace of a race, where it is one of the speeds offered; another is left as it is."""
        epochs = self._shown.settings.epochs
        pace = None if race.pace is None else round(race.pace * RACE_SECONDS / epochs, 6)
        for name, speed in SPEEDS.items():
            if speed == pace:
                self.speed.value = name

    def _edit(self, label: str, changes: dict[str, Any]) -> None:
        """Pass an edit on to a run under way."""
        run = self._slots.get(label)
        if self._training and run is not None and not run.ended:
            run.adjust(**changes)

    def _show_state(self) -> None:
        runs, active, movable = self._runs, self._active, self._movable
        training = self._training
        self.start.disabled = training
        self.pause.disabled = not (active or movable)
        self.step.disabled = not active
        self.stop.disabled = not training
        label, icon = ("Pause", "pause")
        if active and self.race is not None and self.race.paused:
            label, icon = ("Resume", "play_arrow")
        elif movable and not active:
            label, icon = ("Replay", "replay")
        if self.pause.label != label:
            self.pause.param.update(label=label, icon=icon)
        self.controls.lock(training)
        if training and PRDP_LABEL in self._slots:
            self.controls.follow(self._slots[PRDP_LABEL].settings)
        self.replay.update(self.race, max((run.epoch for run in runs), default=0), movable=movable)
        if not runs:
            _set(self._status, _status_html("Ready", "no run yet"))
            _set(self._headline, WELCOME)
            return
        epoch, epochs = max(run.epoch for run in runs), max(run.settings.epochs for run in runs)
        states = list(dict.fromkeys(run.state for run in [run for run in runs if not run.ended] or runs))
        words = "; ".join(STATE_WORDS[state] for state in states)
        if self.race is not None and self.race.recordings is not None:
            words = f"Replay, {'playing' if words == STATE_WORDS['running'] else words.lower()}"
        _set(self._status, _status_html(words, f"epoch {epoch} of {epochs}"))
        troubles = [
            f"<b>{html.escape(run.label)}</b>: {html.escape(run.message)}"
            for run in runs
            if run.state in ("diverged", "failed")
        ]
        if self.engine.trouble is not None:
            troubles.append(html.escape(self.engine.trouble))
        told = story(self._slots.get(PRDP_LABEL), self._slots.get(FULL_LABEL))
        nothing = max(run.epoch for run in runs) < 1
        _set(self._headline, "<br>".join(troubles if troubles and nothing else [*troubles, told]))


def slots(race: Race) -> dict[str, Run]:
    """The runs of a race that the page shows, by the place where it does so.

    What has a constant K goes where full physics is, unless it is one of several that have.
    """
    runs = list(race.runs.values())
    constant = [run for run in runs if run.started_with.refinement["kind"] == "constant"]
    full = race.runs.get(FULL_LABEL) or (constant[-1] if constant else None)
    prdp = next((run for run in runs if run is not full), None)
    return {label: run for label, run in ((PRDP_LABEL, prdp), (FULL_LABEL, full)) if run is not None}


def _tick(explorer: "weakref.ref[Explorer]") -> None:
    if (alive := explorer()) is not None:
        alive.tick()


def _close(explorer: "weakref.ref[Explorer]") -> None:
    if (alive := explorer()) is not None:
        alive.close()


def _set(pane: pn.pane.HTML, text: str) -> None:
    if pane.object != text:
        pane.object = text


def _status_html(state: str, progress: str) -> str:
    return (
        f'<div style="font-size:14px;white-space:nowrap"><b>{state}</b> · '
        f'<span role="status" aria-live="polite">{progress}</span></div>'
    )
