"""A loop of one's own on the page: its controls in the drawer, its views, and full physics beside it."""

import html
import re
import threading
from collections.abc import Iterator

import numpy as np
import panel_material_ui as pmui
import pytest
from dashboard_helpers import PATIENCE, click, columns, tick_until

from prdp_explorer import PRDP, Constant, Engine, explore
from prdp_explorer.dashboard import Explorer, FieldsView, RaceView, WhyView
from prdp_explorer.dashboard._theme import FULL_LABEL, PRDP_LABEL
from prdp_explorer.dashboard._why_words import figure_words
from prdp_explorer.engine import Session

QUICK = PRDP(tau_step=0.97, tau_stop=0.97, window=2, ema_window=2, initial=1, maximum=12)


def loop(session: Session, count: int = 30) -> None:
    with session:
        for epoch in session.epochs(count):
            error = 1 / epoch + 1 / session.iterations**2
            session.report(
                error, loss=error, fields={"after my loop": np.full(5, error), "target": np.zeros(5), "θ": error}
            )


def declared(engine: Engine, controller: PRDP | Constant) -> Session:
    session = explore("My loop", controller, full_iterations=12, engine=engine)
    session.control("learning rate", 1e-3)
    session.control("samples", 10, 1, 50)
    session.control("momentum", 0.5, 0.0, 1.0)
    return session


@pytest.fixture
def session(keeping: Engine) -> Iterator[Session]:
    """A loop that waits for a person, after one of full physics."""
    loop(declared(keeping, Constant()))
    session = declared(keeping, QUICK)
    session.race.pause()
    thread = threading.Thread(target=loop, args=(session,))
    thread.start()
    yield session
    session.run.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def shown_in(explorer: Explorer) -> list[tuple[int, str]]:
    return [(each.place, each.label) for each in explorer.shown.contenders]


def test_the_drawer_has_the_loops_controls_in_the_place_of_what_decides_a_race(session: Session):
    explorer = Explorer(session)
    tick_until(explorer, lambda: explorer.shown.at(1) is not None)  # it comes when the loop begins
    controls = explorer.controls
    assert shown_in(explorer) == [(0, PRDP_LABEL), (1, FULL_LABEL)]
    assert list(controls.loop.fields) == ["learning rate", "samples", "momentum"]
    assert controls.loop._layout.visible
    assert not any(part.visible for part in (*controls._of_race, controls.refines))
    assert [type(field._slider) for field in controls.loop.fields.values()] == [
        pmui.DiscreteSlider, pmui.IntSlider, pmui.FloatSlider,
    ]  # fmt: skip
    assert controls._fields["maximum"].value == controls._fields["full_iterations"].value == 12
    assert explorer.bar.start.disabled and explorer.bar.replay.fork.disabled
    assert explorer.address.query == f"?race={session.race.id}"
    explorer.close()


def test_sliders_act_on_the_loop_are_refused_in_words_and_undone(session: Session, told: list[str]):
    explorer = Explorer(session)
    tick_until(explorer, lambda: session.run.state == "paused")
    rate, samples = explorer.controls.loop.fields["learning rate"], explorer.controls.loop.fields["samples"]
    rate._text.value = "0.002"
    samples._text.value = "99"
    assert told == ["`samples` must be a whole number from 1 to 50; got 99."]
    assert samples._text.value == "10"
    click(explorer.bar.step)
    tick_until(explorer, lambda: session.run.epoch == 1 and session.run.state == "paused")
    assert session.settings_now.controls == {"learning rate": 0.002, "samples": 10, "momentum": 0.5}
    assert rate._slider.value == pytest.approx(0.002, rel=0.1)
    click(explorer.bar.undo)
    assert rate.value == 0.001
    session.run.adjust(samples=20)  # by code
    explorer.tick()
    assert samples.value == 20 and samples._slider.value == 20
    click(explorer.bar.pause)
    tick_until(explorer, lambda: not explorer.shown.active)
    assert [dict(event.values) for event in session.run.log.events if event.name == "adjust"] == [
        {"learning rate": 0.002}, {"learning rate": 0.001}, {"samples": 20},
    ]  # fmt: skip
    explorer.close()


def test_every_tab_shows_it(session: Session):
    session.race.resume()
    explorer = Explorer(session)
    tick_until(explorer, lambda: not explorer.shown.active)
    for tab in range(len(explorer.tabs)):
        explorer.tabs.active = tab
        explorer.tick()
    fields = explorer.views["Fields"]
    assert list(fields._told) == [PRDP_LABEL, FULL_LABEL]
    words = html.unescape(re.sub("<[^>]*>", "", fields._summary.object))
    assert words.startswith("Relative error ‖after my loop − target‖ / ‖target‖: θ = ")
    why = explorer.views["Why"]
    first, *_ = figure_words(PRDP_LABEL, session.run.log.read(), {}, None)
    assert first.startswith("The smoothed error of PRDP went from 2 to 0.")
    assert "nan" not in why.decision.object
    assert list(columns(explorer.sources[0].source)["epoch"]) == list(range(31))
    assert explorer.bar.headline.object.startswith("After 30 epochs PRDP has spent")
    explorer.close()


def test_it_is_seen_again_and_left(session: Session):
    session.race.resume()
    explorer = Explorer(session)
    tick_until(explorer, lambda: not explorer.shown.active)
    explorer._seek(10)
    assert explorer.shown.replayed and explorer.shown.first.epoch == 10
    assert explorer.controls.loop._layout.visible
    click(explorer.bar.reset)
    assert not explorer.controls.loop._layout.visible
    assert all(part.visible for part in explorer.controls._of_race)
    assert not explorer.bar.start.disabled
    explorer.open_run(session.run.id)
    assert explorer.controls.loop._layout.visible
    explorer.share.open()
    assert explorer.share.python.text.startswith("# This is a loop of one's own: only its author's code trains it.")
    explorer.close()


def test_one_of_full_physics_by_itself_has_its_k_edited(keeping: Engine):
    session = declared(keeping, Constant())
    explorer = Explorer(session)
    explorer.controls._fields["full_iterations"]._text.value = "7"
    assert session.run.settings.largest_iterations == 7
    explorer.close()
    session.close()


@pytest.mark.parametrize("view", [RaceView, WhyView, FieldsView])
def test_each_view_by_itself(session: Session, view: type):
    shown = view(session)
    session.race.resume()
    assert session.run.wait(timeout=PATIENCE)
    shown.tick()
    assert [each.label for each in shown.shown.contenders] == [PRDP_LABEL, FULL_LABEL]
    shown.tick()
    shown.close()


def test_its_fields_by_themselves_are_the_newest_or_those_of_the_epoch_pointed_at(session: Session):
    shown = FieldsView(session)
    session.race.resume()
    assert session.run.wait(timeout=PATIENCE)
    shown.tick()
    words = shown.view._summary
    assert "for PRDP after epoch 30" in words.object and "for full physics after epoch 30" in words.object
    shown._point(1)
    assert words.object.count("after epoch 1;") == words.object.count("after epoch 1.") == 1
    shown._point(None)
    assert "for PRDP after epoch 30" in words.object
    shown.close()
