"""The explorer: it holds a race, passes a person's commands on, and moves the views."""

import functools
import html
import threading
import weakref
from typing import Any
from urllib.parse import urlencode

import numpy as np
import panel as pn
import panel_material_ui as pmui
from panel.io import PeriodicCallback

from ..engine import Engine, Race, Run, Store, StoreError, Watch
from ._controls import FULL_LABEL, PRDP_LABEL, Controls
from ._costs import Costs
from ._curves import Curves
from ._fields import Fields
from ._history import History
from ._session import locked, notify
from ._source import RunSource

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

COMPILING = "Compiling the training step; this takes a few seconds the first time."


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
        self._sources = {PRDP_LABEL: RunSource(), FULL_LABEL: RunSource()}
        sources = (self._sources[PRDP_LABEL], self._sources[FULL_LABEL])
        self.controls = Controls(self._edit)
        self.curves = Curves(*sources)
        self.costs = Costs(*sources)
        self.fields = Fields((PRDP_LABEL, FULL_LABEL))
        self.history = History()

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
        self._progress = pmui.LinearProgress(value=0, variant="determinate", sizing_mode="stretch_width", margin=(4, 8))
        self._headline = pn.pane.HTML(sizing_mode="stretch_width", margin=(2, 8), styles={"min-height": "3.2em"})
        self.bar = pmui.Paper(
            pmui.FlexBox(self.start, self.pause, self.step, self.stop, self.speed, self._status, align_items="center"),
            self._progress,
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
            for label, source in self._sources.items():
                source.follow(race.runs[label])
            self._show_speed(race)
            self.fields.look_at(dict(race.runs))
            self.history.look_at(race)
            settings = race.runs[FULL_LABEL].settings
            self.curves.set_extent(settings.epochs, settings.largest_iterations)
            self.tick()

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
            self._show_state()

    @property
    def _runs(self) -> list[Run]:
        return [] if self.race is None else list(self.race.runs.values())

    def _start(self) -> None:
        try:
            race = self.engine.race(
                self.controls.scenario.value,
                self.controls.contenders(),
                pace=self._pace(self.controls.epochs),
                **self.controls.choices(),
            )
        except ValueError as error:
            notify(str(error))
            return
        self.attach(race)
        if pn.state.location is not None:
            pn.state.location.search = "?" + urlencode({"race": race.id})

    def _pause_or_resume(self) -> None:
        self._command("resume" if self.race is not None and self.race.paused else "pause")

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
        epochs = race.runs[PRDP_LABEL].settings.epochs
        pace = None if race.pace is None else round(race.pace * RACE_SECONDS / epochs, 6)
        for name, speed in SPEEDS.items():
            if speed == pace:
                self.speed.value = name

    def _edit(self, label: str, changes: dict[str, Any]) -> None:
        """Pass an edit on to a run under way."""
        if self.race is not None and not self.race.runs[label].ended:
            self.race.runs[label].adjust(**changes)

    def _show_state(self) -> None:
        runs = self._runs
        active = [run for run in runs if not run.ended]
        self.start.disabled = bool(active)
        for widget in (self.pause, self.step, self.stop):
            widget.disabled = not active
        paused = bool(active) and self.race is not None and self.race.paused
        label, icon = ("Resume", "play_arrow") if paused else ("Pause", "pause")
        if self.pause.label != label:
            self.pause.param.update(label=label, icon=icon)
        self.controls.lock(bool(active))
        if active and self.race is not None:
            self.controls.follow(self.race)
        if not runs:
            _set(self._status, _status_html("Ready", "no run yet"))
            _set(self._headline, WELCOME)
            return
        epoch, epochs = max(run.epoch for run in runs), runs[0].settings.epochs
        states = list(dict.fromkeys(run.state for run in active or runs))
        words = "; ".join(STATE_WORDS[state] for state in states)
        _set(self._status, _status_html(words, f"epoch {epoch} of {epochs}"))
        self._progress.value = round(100 * epoch / epochs)
        _set(self._headline, self._story(runs))

    def _story(self, runs: list[Run]) -> str:
        """What the data shown say, in a sentence that is true of them, and what went wrong, if anything."""
        troubles = [
            f"<b>{run.label}</b>: {html.escape(run.message)}" for run in runs if run.state in ("diverged", "failed")
        ]
        if self.engine.trouble is not None:
            troubles.append(html.escape(self.engine.trouble))
        together = min(run.epoch for run in runs)
        if together < 1:
            compiling = any(run.state == "compiling" for run in runs)
            return "<br>".join(troubles) or (COMPILING if compiling else "Nothing to compare yet.")
        by_label = {run.label: run.log.read(together)[0] for run in runs}
        prdp, full = by_label[PRDP_LABEL], by_label[FULL_LABEL]
        iterations = prdp["cumulative_iterations"] / full["cumulative_iterations"]
        seconds = prdp["cumulative_seconds"] / full["cumulative_seconds"]
        comparable = np.isfinite(prdp["validation"]) and np.isfinite(full["validation"]) and full["validation"] > 0
        if not comparable:
            return "<br>".join([*troubles, "The errors are no longer numbers that can be compared."])
        error = prdp["validation"] / full["validation"]
        epochs = "1 epoch" if prdp["epoch"] == 1 else f"{prdp['epoch']} epochs"
        story = (
            f"After {epochs} PRDP has spent <b>{iterations:.0%}</b> of the inner iterations and "
            f"<b>{seconds:.0%}</b> of the seconds of full physics, and its error is <b>{error:.2f} ×</b> that of full "
            "physics."
        )
        return "<br>".join([*troubles, story])


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
