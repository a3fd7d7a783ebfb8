"""What a person gives to others, and the address that always holds what is set."""

import shlex
from typing import Any

import pytest
from dashboard_helpers import click, made_up_race, made_up_rows, tick_until

from prdp_explorer import Constant, Engine, Race
from prdp_explorer.__main__ import _parser, _settings
from prdp_explorer.dashboard import Explorer, _share
from prdp_explorer.dashboard._address import setting_in
from prdp_explorer.dashboard._figure import make_race_figure
from prdp_explorer.dashboard._share import Share, Shared, _figure
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import FULL_COLOR, FULL_LABEL, LOOKS, PRDP_COLOR, PRDP_LABEL
from prdp_explorer.engine import Event, race_lines, settings_for


def raced(labels: tuple[str, ...] = (), epochs: int = 40, **choices: Any) -> Race:
    """A race of PRDP, full physics and others, with made-up logs."""
    race = made_up_race(**choices)
    contenders = {label: run.settings for label, run in race.runs.items()}
    contenders |= {label: settings_for("heat-1d", Constant(4), **choices) for label in labels}
    race = Race(contenders, None, lambda: None)
    for run, iterations in zip(race.runs.values(), (3, 25, 4, 4, 4), strict=False):
        run.log.append(made_up_rows(0, epochs + 1, iterations))
    return race


def commands(share: Share) -> list[Any]:
    """The settings that the command lines stand for."""
    return [_settings(_parser().parse_args(shlex.split(line)[3:])) for line in share.command.text.splitlines()]


@pytest.fixture
def explorer(engine: Engine) -> Explorer:
    return Explorer(engine=engine)


class TestShare:
    def test_before_a_race_what_is_set_is_shared(self, explorer: Explorer):
        explorer.controls._fields["tau_step"].show(0.9)
        explorer.controls.further.show_contenders({"K = 4": settings_for("heat-1d", Constant(4), solver="cg")})
        click(explorer.share.button)
        assert explorer.share.dialog.open
        settings = explorer.controls.settings()
        assert commands(explorer.share) == list(settings.values())
        assert explorer.share.python.text == race_lines({label: (each, []) for label, each in settings.items()})
        assert "It trains what is set." in explorer.share._about.object
        assert all(button.disabled for button in explorer.share.figures.values())

    def test_what_does_not_fit_together_is_said(self, explorer: Explorer, monkeypatch: pytest.MonkeyPatch):
        told: list[str] = []
        monkeypatch.setattr(_share, "notify", told.append)
        explorer.controls._fields["initial"].show(30)
        click(explorer.share.button)
        assert not explorer.share.dialog.open
        assert "`initial` must not exceed `maximum`" in told[0]

    def test_of_a_race_what_it_started_with_and_the_edits_since(self):
        race = raced(("K = 4",), seed=3)
        run = race.runs[PRDP_LABEL]
        run.adjust(tau_step=0.7)
        run.log.add_event(Event(5, "adjust", {"tau_step": 0.7}, "…"))
        share = Share(lambda: Shared.of(Shown(race, kept=True), lambda: pytest.fail("not asked")))
        share.open()
        assert commands(share) == [each.started_with for each in race.runs.values()]
        assert "edits=[\n            (5, {'tau_step': 0.7}),\n        ]," in share.python.text
        assert share.python.text.count("edits=") == 1
        assert "with the edits that were made on the way" in share._about.object
        assert "Edits are not part of it." in share._command_note.object
        assert not any(button.disabled for button in share.figures.values())

    def test_of_a_replay_all_edits_also_those_to_come(self, keeping: Engine):
        run = keeping.start("heat-1d", epochs=12)
        assert run.wait(timeout=60)
        (fork,) = keeping.fork(run.id, 8, tau_step=0.5).runs.values()
        assert fork.wait(timeout=60)
        race = keeping.replay(fork.id, 2, beside=[])
        shared = Shared.of(Shown(race, kept=True), lambda: pytest.fail("not asked"))
        ((settings, edits),) = shared.contenders.values()
        assert (settings, edits) == (fork.started_with, [(9, {"tau_step": 0.5})])

    def test_a_schedule_has_python_only(self):
        race = Race({"PRDP": settings_for("heat-1d", {"kind": "scheduled"})}, None, lambda: None)
        share = Share(lambda: Shared.of(Shown(race, kept=True), lambda: pytest.fail("not asked")))
        share.open()
        assert "Scheduled(" in share.python.text
        assert share.command.text == "# none"
        assert "PRDP: The command line knows no schedule" in share._command_note.object


class TestFigure:
    @pytest.mark.parametrize("epochs", [0, 40])
    @pytest.mark.parametrize("labels", [(), ("third", "$\\frac{", "<b>fifth</b>")])
    def test_every_contender_is_drawn_in_its_look(self, labels: tuple[str, ...], epochs: int):
        svg = _figure(Shown(raced(labels, epochs), kept=True).contenders, "svg").decode()
        for look in LOOKS[: 2 + len(labels)]:
            assert look.color.lower() in svg
        for look in LOOKS[2 + len(labels) :]:
            assert look.color.lower() not in svg
        assert _figure(Shown(raced(labels, epochs), kept=True).contenders, "png").startswith(b"\x89PNG")

    def test_of_a_race_that_just_began_and_of_one_contender(self):
        race = Race({FULL_LABEL: settings_for("heat-1d", Constant())}, None, lambda: None)
        assert _figure(Shown(race, kept=True).contenders, "svg")
        race.runs[FULL_LABEL].log.append(made_up_rows(0, 9))
        svg = _figure(Shown(race, kept=True).contenders, "svg").decode()
        assert FULL_COLOR.lower() in svg and PRDP_COLOR.lower() not in svg

    def test_no_word_is_cut_off(self):
        figure = make_race_figure(Shown(raced(("third", "fourth", "fifth")), kept=True).contenders)
        figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert drawn.x0 >= 0 and drawn.y0 >= 0
        assert drawn.x1 <= width and drawn.y1 <= height


class TestAddress:
    def test_it_holds_what_is_set(self, explorer: Explorer):
        assert setting_in(explorer.address.query) == explorer.setting()
        explorer.controls.scenario.value = "heat-2d"
        explorer.controls.solver.value = "cg"
        explorer.controls._fields["tau_stop"]._edit("0.123")
        explorer.controls.further.show_contenders({"K = 4": settings_for("heat-2d", Constant(4))})
        explorer.overview.axis.value = "inner iterations"
        explorer.overview.fairness.value = "time"
        explorer.tick()
        held = setting_in(explorer.address.query)
        assert held is not None and held == explorer.setting()
        assert (held.axis, held.fairness) == ("inner iterations", "time")
        assert held.contenders[PRDP_LABEL].solver == "cg"
        assert held.contenders[PRDP_LABEL].values["tau_stop"] == 0.123
        assert list(held.contenders)[2:] == ["K = 4"]

    def test_a_setting_is_shown_whole(self, explorer: Explorer):
        query = (
            "?scenario=heat-2d&preset=paper&solver=gmres&differentiation=one-step&seed=4294967295&epochs=7"
            "&learning_rate=1e-05&refinement=prdp&tau_step=0.3333333333333333&compare_with_start=0&full=2"
            "&contender=constant,iterations:4,solver:cg,differentiation:implicit,label:four&contender=scheduled,every:3,label:grows"
            "&fairness=time&axis=seconds"
        )
        setting = setting_in(query)
        assert setting is not None
        explorer.show_setting(setting)
        assert explorer.setting() == setting
        assert list(explorer.setting().contenders) == list(setting.contenders)
        tolerance = setting_in("?scenario=poisson-1&refinement=prdp-tolerance&rtol_floor=1e-07&tau_stop=0.25")
        assert tolerance is not None
        explorer.show_setting(tolerance)
        assert explorer.setting() == tolerance
        explorer.tick()
        assert setting_in(explorer.address.query) == tolerance

    def test_it_names_the_race_and_forgets_it(self, explorer: Explorer):
        explorer.bar.speed.value = "as fast as possible"
        explorer.controls._fields["epochs"]._edit("5")
        click(explorer.bar.start)
        assert explorer.race is not None
        assert explorer.address.query.endswith(f"&race={explorer.race.id}")
        tick_until(explorer, lambda: not explorer.shown.active)
        click(explorer.bar.reset)
        explorer.tick()
        assert "race=" not in explorer.address.query
        assert setting_in(explorer.address.query) == explorer.setting()
        explorer.close()

    def test_what_does_not_fit_together_leaves_the_last_that_did(self, explorer: Explorer):
        before = explorer.address.query
        explorer.controls._fields["initial"].show(30)
        explorer.tick()
        assert explorer.address.query == before
        explorer.controls._fields["maximum"].show(30)
        explorer.tick()
        assert setting_in(explorer.address.query) == explorer.setting()
        assert explorer.address.query != before
