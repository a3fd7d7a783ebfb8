"""A training loop of one's own: K is decided, everything is recorded, and a person steers it from elsewhere."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_helpers import PATIENCE, adjustments, recorder_of, wait_for_epoch, wait_for_state

from prdp_explorer import PRDP, Constant, Engine, Scheduled, TolerancePRDP, explore
from prdp_explorer.engine import (
    EXPORTS,
    LoopSettings,
    Session,
    Store,
    command_line,
    full_physics_by_run,
    import_runs,
    race_lines,
    settings_for,
    settings_from_json,
)
from prdp_explorer.refinement import AbstractController

QUICK = PRDP(tau_step=0.97, tau_stop=0.97, window=2, ema_window=2, initial=1, maximum=12)


def error_after(epoch: int, iterations: int) -> float:
    """As if coarse physics let the error fall so far only."""
    return math.exp(-epoch / 5) + 1 / iterations**2


def trained(session: Session, count: int | None = None) -> Session:
    with session:
        for epoch in session.epochs(count):
            session.report(error_after(epoch, session.iterations))
    return session


class Background:
    """A loop in a thread of its own, which may be commanded meanwhile."""

    def __init__(self, session: Session, count: int, body: Callable[[int], None] = lambda epoch: None):
        self.session, self.error = session, None

        def run() -> None:
            with contextlib.suppress(Exception), session:
                for epoch in session.epochs(count):
                    body(epoch)
                    session.report(error_after(epoch, session.iterations))

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def join(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


class TestRecords:
    def test_k_is_what_the_controller_by_itself_decides(self, engine: Engine):
        session = trained(explore("mine", QUICK, engine=engine), 40)
        controller, iterations = QUICK, []
        state = controller.init()
        for epoch in range(1, 41):
            iterations.append(int(state.iterations))
            state = controller.update(error_after(epoch, iterations[-1]), state)
        rows = session.run.log.read()
        assert iterations[-1] > 3
        assert rows["iterations"].tolist() == [0, *iterations]
        assert rows["cumulative_iterations"][-1] == sum(iterations)
        assert rows["epoch"].tolist() == list(range(41))
        assert rows["smoothed"][-1] == float(state.smoothed)
        assert (session.run.state, session.epoch) == ("finished", 40)
        assert math.isnan(rows["validation"][0])

    def test_the_value_before_training_is_shown_to_the_controller(self, engine: Engine):
        with explore("mine", QUICK, engine=engine) as session:
            session.report(2.0, fields={"θ": 5.0})
            for _ in session.epochs(3):
                session.report(1.0, loss=0.5)
        rows = session.run.log.read()
        assert rows["validation"].tolist() == [2.0, 1.0, 1.0, 1.0]
        assert rows["smoothed"][:2].tolist() == pytest.approx([2.0, 4 / 3])
        assert np.isnan(rows["train_loss"][0]) and rows["train_loss"][1] == 0.5
        assert rows["seconds"][0] == 0 < rows["seconds"][1]

    def test_seconds_are_those_of_the_epoch_alone(self, engine: Engine):
        with explore("mine", QUICK, engine=engine) as session:
            for epoch in session.epochs(3):
                if epoch == 2:
                    time.sleep(0.05)
                session.report(1.0)
                time.sleep(0.05)
        seconds = session.run.log.read()["seconds"]
        assert seconds[2] >= 0.05 and seconds[3] < 0.05
        assert session.run.seconds["train"] == pytest.approx(seconds.sum())

    def test_seconds_hold_what_a_framework_computes_when_its_value_is_asked_for(self, engine: Engine):
        class Pending:
            def __float__(self) -> float:
                time.sleep(0.05)
                return 1.0

        with explore("mine", QUICK, engine=engine) as session:
            for _ in session.epochs(1):
                session.report(Pending(), loss=Pending())
        assert session.run.log.read()["seconds"][1] >= 0.1

    @pytest.mark.parametrize("controller", [Constant(), Constant(7), Scheduled.linear(every=2, maximum=9), None])
    def test_every_controller(self, engine: Engine, controller: AbstractController | None):
        session = trained(explore("mine", controller, full_iterations=9, engine=engine), 12)
        last = session.run.log.records[-1].iterations
        expected: dict[type, int] = {
            type(None): last,
            Constant: session.settings_now.largest_iterations,
            Scheduled: 6,
        }
        assert last == expected[type(controller)]
        assert session.run.settings.problem.full_iterations == 9

    def test_a_tolerance(self, engine: Engine):
        with explore("mine", TolerancePRDP(rtol_initial=0.5, window=2, ema_window=1), engine=engine) as session:
            tolerances: list[float] = []
            for _ in session.epochs(5):
                assert session.rtol is not None
                tolerances.append(session.rtol)
                session.report(1.0, iterations=len(tolerances))
        rows = session.run.log.read()
        assert tolerances[0] == 0.5 > tolerances[-1]
        assert rows["rtol"][1:].tolist() == tolerances
        assert rows["iterations"].tolist() == [0, 1, 2, 3, 4, 5]
        assert explore("mine", QUICK, engine=engine).rtol is None

    def test_fields_are_kept_now_and_then_and_a_function_is_called_only_then(self, engine: Engine):
        calls = []
        values = np.zeros((2, 3))

        def fields() -> dict[str, Any]:
            calls.append(1)
            return {"u": values, "θ": 3}

        with explore("mine", QUICK, engine=engine) as session:
            for epoch in session.epochs(200):
                values[:] = epoch
                session.report(1.0, fields=fields)
        snapshots = session.run.log.snapshots
        assert 2 <= len(calls) == len(snapshots) < 100
        assert [snapshots[0].epoch, snapshots[-1].epoch] == [1, 200]
        last = snapshots[-1].fields
        assert {name: array.shape for name, array in last.items()} == {"u": (2, 3), "θ": (2,)}
        assert np.all(last["u"] == 200) and np.all(snapshots[0].fields["u"] == 1)

    def test_a_line_and_numbers_are_those_of_one_sample(self, engine: Engine):
        with explore("mine", QUICK, engine=engine) as session:
            for _ in session.epochs(1):
                session.report(1.0, fields={"u": [1.0, 2.0], "θ": 3})
        fields = session.run.log.snapshots[-1].fields
        assert {name: array.tolist() for name, array in fields.items()} == {"u": [[1.0, 2.0]], "θ": [3.0]}

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("name", ["metric", "loss"])
    def test_what_is_not_finite_ends_it_as_a_result(self, engine: Engine, name: str, value: float):
        with explore("mine", QUICK, engine=engine) as session:
            for epoch in session.epochs(10):
                values: dict[str, Any] = {"metric": 1.0, "loss": 1.0} | ({name: value} if epoch == 4 else {})
                session.report(**values)
        assert (session.run.state, session.run.epoch) == ("diverged", 4)
        assert "Diverged in epoch 4" in session.run.message

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
    def test_whatever_is_reported_what_if_agrees(self, metrics: list[float]):
        engine = Engine()
        with explore("mine", QUICK, engine=engine) as session:
            for epoch in session.epochs(len(metrics)):
                session.report(metrics[epoch - 1])
        assert engine.what_if(session.run, {}).result(PATIENCE).first_difference(session.run.log.read()) is None
        engine.close()


class TestEnds:
    def test_a_loop_that_is_left(self, engine: Engine):
        with explore("mine", QUICK, engine=engine) as session:
            for epoch in session.epochs(10):
                session.report(1.0)
                if epoch == 3:
                    break
        assert (session.run.state, session.run.message) == ("stopped", "Its loop ended after epoch 3.")

    def test_a_session_that_is_over_says_so(self, engine: Engine):
        session = trained(explore("mine", QUICK, engine=engine), 3)
        with pytest.raises(ValueError, match=r"This session is over \(finished\); make a new one with `explore`"):
            trained(session)
        assert session.run.epoch == 3

    def test_a_loop_that_raises_fails_and_its_error_goes_on(self, engine: Engine):
        with pytest.raises(ZeroDivisionError), explore("mine", QUICK, engine=engine) as session:
            for _ in session.epochs(10):
                session.report(1.0)
                _ = 1 / 0
        assert session.run.state == "failed"
        assert session.run.message == "Failed in epoch 1. ZeroDivisionError: division by zero"

    def test_a_person_who_interrupts(self, engine: Engine):
        with pytest.raises(KeyboardInterrupt), explore("mine", QUICK, engine=engine) as session:
            for _ in session.epochs(10):
                raise KeyboardInterrupt
        assert (session.run.state, session.run.message) == ("stopped", "Interrupted after epoch 0.")

    def test_an_engine_that_is_closed_ends_it(self):
        engine = Engine()
        session = explore("mine", QUICK, engine=engine)
        session.run.pause()
        loop = Background(session, 10)
        wait_for_state(session.run, "paused")
        engine.close()
        loop.join()
        assert session.run.state == "stopped"
        with pytest.raises(ValueError, match=r"This run is over \(stopped\)"):
            session.report(1.0)


class TestCommands:
    def test_it_is_paused_stepped_and_goes_on(self, engine: Engine):
        session = explore("mine", QUICK, engine=engine)
        run = session.run
        run.pause()
        loop = Background(session, 30)
        wait_for_state(run, "paused")
        assert run.epoch == 0
        for epoch in (1, 2):
            run.step()
            wait_for_epoch(run, epoch)
            wait_for_state(run, "paused")
            assert run.epoch == epoch
        session.race.set_pace(1000.0)
        run.resume()
        loop.join()
        assert (run.state, run.epoch) == ("finished", 30)

    def test_it_is_paced(self, engine: Engine):
        session = explore("mine", QUICK, pace=50.0, engine=engine)
        began = time.monotonic()
        trained(session, 10)
        assert time.monotonic() - began >= 9 / 50

    def test_it_is_stopped(self, engine: Engine):
        session = explore("mine", QUICK, engine=engine)
        session.race.set_pace(50.0)
        loop = Background(session, 100_000)
        wait_for_epoch(session.run, 2)
        session.run.stop()
        loop.join()
        assert session.run.state == "stopped"
        assert session.run.message == f"Stopped after epoch {session.run.epoch}."

    def test_thresholds_k_and_controls_change_between_epochs_and_are_recorded(self, engine: Engine):
        session = explore("mine", QUICK, engine=engine)
        rate, samples = session.control("learning rate", 1e-3), session.control("samples", 10, 1, 50)
        seen: list[tuple[float, int, int]] = []
        session.run.pause()
        loop = Background(
            session, 6, lambda epoch: seen.append((float(rate), int(samples), session.iterations))
        )  # fmt: skip
        wait_for_state(session.run, "paused")
        session.run.step()
        wait_for_epoch(session.run, 1)
        changes = {"learning rate": 2e-3, "samples": 20, "tau_step": 0.5, "iterations": 4}
        undo = session.run.adjust(**changes)
        assert undo == {"learning rate": 1e-3, "samples": 10, "tau_step": 0.97, "iterations": 1}
        session.run.step()
        wait_for_epoch(session.run, 2)
        session.run.adjust(**{"learning rate": undo["learning rate"]})
        session.run.resume()
        loop.join()
        assert seen[:3] == [(1e-3, 10, 1), (2e-3, 20, 4), (1e-3, 20, seen[2][2])]
        assert isinstance(samples.value, int)
        assert adjustments(session.run) == [(2, changes), (3, {"learning rate": 1e-3})]
        rows = session.run.log.read()
        np.testing.assert_allclose(rows["tau_step"], [0.97] * 2 + [0.5] * 5)

    def test_a_page_that_leaves_lets_it_go_on(self, engine: Engine):
        session = explore("mine", QUICK, engine=engine)
        watch = session.race.watch()
        watch.close()
        assert trained(session, 5).run.state == "finished"
        assert not session.race.paused

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"learning rate": 1.0}, "`learning rate` must be one number|`learning rate` must be a number from"),
            ({"learning rate": "fast"}, "`learning rate` must be one number"),
            ({"tau_step": 3.0}, "`tau_step` must be a number"),
            ({"solver": "cg"}, "`solver` cannot be changed during a run; these can: tau_step, .*, learning rate"),
            ({"learning_rate": 0.1}, "`learning_rate` cannot be changed"),
            ({"iterations": 50}, "must not exceed `maximum`"),
        ],
    )
    def test_what_cannot_be_changed_is_refused(self, engine: Engine, changes: dict[str, Any], words: str):
        session = explore("mine", QUICK, engine=engine)
        session.control("learning rate", 1e-3)
        with pytest.raises(ValueError, match=words):
            session.run.adjust(**changes)


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"name": "…"}, "`name` must have 1 to 48 letters or digits"),
            ({"name": "x" * 60}, "`name` must have 1 to 48 letters or digits"),
            ({"name": 3}, "`name` must have 1 to 48 letters or digits; got 3"),
            ({"controller": None}, "`full_iterations` must say which K counts as full physics"),
            ({"controller": Constant()}, "`full_iterations` must say"),
            ({"full_iterations": 0}, "`full_iterations` must be a whole number from 1"),
            ({"epochs": 0}, "`epochs` must be a whole number"),
            ({"seed": -1}, "`seed` must be"),
            ({"solver": ""}, "`solver` must be 1 to 60 characters"),
            ({"quantity": "a\nb"}, "`quantity` must be 1 to 60 characters"),
            ({"controller": {"kind": "magic", "iterations": 3}}, "`kind` must be one of"),
            ({"controller": "fast", "full_iterations": 3}, "`controller` must be a controller or its values by name"),
        ],
    )
    def test_of_explore(self, engine: Engine, arguments: dict[str, Any], words: str):
        proper: dict[str, Any] = {"name": "mine", "controller": QUICK, "engine": engine}
        with pytest.raises(ValueError, match=words):
            explore(**(proper | arguments))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("", 1.0), "name must be 1 to 60"),
            (("tau_step", 1.0), "is the name of a setting of every run"),
            (("iterations", 1.0), "is the name of a setting of every run"),
            (("a", 1.0, 2.0, 3.0), "`a` must be a number from 2 to 3; got 1.0"),
            (("a", 1.0, 2.0, 1.0), "`minimum` must be below `maximum`"),
            (("a", math.nan), "must be a number"),
            (("a", 1.0, -math.inf), "`minimum` must be a number"),
        ],
    )
    def test_of_control(self, engine: Engine, arguments: tuple[Any, ...], words: str):
        with pytest.raises(ValueError, match=words):
            explore("mine", QUICK, engine=engine).control(*arguments)

    def test_controls_have_a_range_around_their_value(self, engine: Engine):
        session = explore("mine", QUICK, engine=engine)
        for name, value in {"a": 1e-3, "b": 10, "c": -2.0, "d": 0.0}.items():
            session.control(name, value)
        limits = {name: (each.minimum, each.maximum) for name, each in session.settings_now.control_limits.items()}
        assert limits == {"a": (1e-4, 1e-2), "b": (1, 100), "c": (-20.0, -0.2), "d": (0.0, 1.0)}

    def test_of_report(self, engine: Engine):
        with explore("mine", QUICK, engine=engine) as session:
            for epoch in session.epochs(2):
                wrong: list[tuple[dict[str, Any], str]] = [
                    ({"metric": "good"}, "`metric` must be one number; got str"),
                    ({"metric": np.zeros(2)}, "`metric` must be one number; got ndarray"),
                    ({"metric": 1.0, "loss": [1]}, "`loss` must be one number"),
                    ({"metric": 1.0, "iterations": -1}, "`iterations` must be 0 or more"),
                ]
                for arguments, words in wrong:
                    with pytest.raises(ValueError, match=words):
                        session.report(**arguments)
                assert session.run.epoch == epoch - 1
                session.report(np.float32(1.0))
                with pytest.raises(ValueError, match=f"Epoch {epoch} was reported already"):
                    session.report(1.0)

    @pytest.mark.parametrize(
        "fields", [{"u": "text"}, {"u": np.zeros(0)}, {"u": object()}, {"u": np.zeros((2, 3)), "v": np.zeros(3)}, 3]
    )
    def test_of_fields_and_the_epoch_is_kept(self, engine: Engine, fields: Any):
        with explore("mine", QUICK, engine=engine) as session:
            for _ in session.epochs(1):
                with pytest.raises(ValueError, match=r"[Ff]ield"):
                    session.report(1.0, fields=fields)
        assert session.run.epoch == 1

    def test_an_epoch_that_was_not_reported(self, engine: Engine):
        with pytest.raises(ValueError, match="Epoch 1 was not reported"), explore("mine", QUICK, engine=engine) as own:
            for _ in own.epochs(2):
                pass

    def test_a_control_that_is_new_while_the_loop_runs(self, engine: Engine):
        with explore("mine", QUICK, engine=engine) as session:
            rate = session.control("rate", 1.0)
            for _ in session.epochs(1):
                assert session.control("rate", 3.0).value == rate.value == 1.0
                with pytest.raises(ValueError, match="'more' must be declared before the loop begins"):
                    session.control("more", 1.0)
                session.report(1.0)


@pytest.fixture
def kept(keeping: Engine) -> Iterator[tuple[Engine, Session, Session]]:
    """Two kept loops of the same name: full physics, then PRDP edited on the way."""
    sessions = []
    for controller in (Constant(), QUICK):
        with explore("my loop", controller, full_iterations=12, epochs=30, engine=keeping, seed=3) as session:
            session.control("learning rate", 1e-3)
            for epoch in session.epochs():
                if controller is QUICK and epoch == 10:
                    session.run.adjust(**{"learning rate": 2e-3, "tau_step": 0.9})
                session.report(
                    error_after(epoch, session.iterations), fields={"u": np.full((2, 4), epoch), "θ": epoch}
                )  # fmt: skip
        sessions.append(session)
    recorder_of(keeping).write()
    full, prdp = sessions
    yield keeping, full, prdp


class TestKept:
    def test_settings_come_back(self, kept: tuple[Engine, Session, Session]):
        engine, _, prdp = kept
        stored = engine.store.run(prdp.run.id)
        settings = settings_from_json(stored.settings)
        assert isinstance(settings, LoopSettings)
        started = prdp.run.started_with
        assert isinstance(started, LoopSettings)
        assert (settings, settings.control_limits) == (started, started.control_limits)
        assert (stored.status, stored.epochs, stored.edits) == (
            "finished", 30, {"learning rate": 2e-3, "tau_step": 0.9},
        )  # fmt: skip

    def test_full_physics_is_shown_beside_it_and_what_was_saved_is_known(self, kept: tuple[Engine, Session, Session]):
        engine, full, prdp = kept
        assert list(prdp.race.runs) == ["PRDP", "full physics"]
        beside = prdp.race.runs["full physics"]
        assert beside.played and beside.id == full.run.id
        assert beside.log.read().tobytes() == full.run.log.read().tobytes()
        runs = engine.store.runs()
        assert full_physics_by_run(runs)[full.run.id].id == full.run.id
        alone = explore("my loop", QUICK, full_iterations=12, epochs=30, engine=engine, seed=3, beside=False)
        alone.control("learning rate", 1e-3)
        assert list(trained(alone).race.runs) == ["PRDP"]
        other = explore("my loop", QUICK, full_iterations=12, epochs=30, engine=engine, seed=3)
        other.control("learning rate", 5e-3)
        assert list(trained(other).race.runs) == ["PRDP"]

    def test_it_is_replayed(self, kept: tuple[Engine, Session, Session]):
        engine, _, prdp = kept
        replay = engine.replay(prdp.run.id)
        assert next(run.id for run in replay.runs.values()) == prdp.run.id
        played = replay.runs["PRDP"]
        assert played.log.read().tobytes() == prdp.run.log.read().tobytes()
        assert played.settings == prdp.run.settings
        assert [each.epoch for each in played.log.snapshots][-1] == 30

    def test_only_its_author_goes_on_with_it(self, kept: tuple[Engine, Session, Session]):
        engine, _, prdp = kept
        words = "only its author's code trains it"
        for refused in (
            lambda: engine.fork(prdp.run.id, 5, tau_step=0.5),
            lambda: command_line(prdp.run.started_with),
            lambda: race_lines({"PRDP": (prdp.run.started_with, [])}),
            prdp.run.started_with.build_solver,
            prdp.run.started_with.build_differentiation,
        ):
            with pytest.raises(ValueError, match=words):
                refused()
        with pytest.raises(ValueError, match="offers no rollout"):
            engine.rollout(prdp.run)

    def test_it_is_taken_away(self, kept: tuple[Engine, Session, Session], tmp_path: Path):
        engine, _, prdp = kept
        for ending, write in EXPORTS.items():
            if ending == ".py":
                with pytest.raises(ValueError, match="only its author's code"):
                    write(engine.store, prdp.run.id, str(tmp_path / "run.py"))
            else:
                write(engine.store, prdp.run.id, str(tmp_path / f"run{ending}"))
        other = Store(tmp_path / "other.sqlite")
        assert import_runs(other, str(tmp_path / "run.prdp")) == [prdp.run.id]
        assert other.rows(prdp.run.id).tobytes() == prdp.run.log.read().tobytes()
        other.close()

    def test_one_that_was_stopped_is_not_resumed(self, keeping: Engine):
        with explore("mine", QUICK, engine=keeping) as session:
            for _ in session.epochs(5):
                session.report(1.0)
                break
        recorder_of(keeping).write()
        with pytest.raises(ValueError, match="only its author's code"):
            keeping.resume(session.run.id)

    @pytest.mark.parametrize(
        "damage",
        [
            {"controls": {"a": [1.0, 2.0]}},
            {"controls": {"a": [5.0, 1.0, 2.0]}},
            {"controls": [1, 2]},
            {"controls": {"\x1b[2J": [1.0, 0.0, 2.0]}},
            {"controls": {"a": [1.0, 0.0, {"b": 1}]}},
            {"controls": {str(number): [1.0, 0.0, 2.0] for number in range(20)}},
            {"scenario": "../mine"},
            {"scenario": ["mine"]},
            {"full_iterations": "many"},
            {"quantity": "\x1b[2J"},
            {"solver": None},
            {"metric": "training"},
            {"refinement": {"kind": "constant", "iterations": -1}},
        ],
    )
    def test_settings_that_are_none_are_refused(self, engine: Engine, damage: dict[str, Any]):
        session = explore("mine", QUICK, engine=engine)
        session.control("a", 1.0)
        good = session.settings_now.to_json()
        assert settings_from_json(good) == session.settings_now
        with pytest.raises(ValueError):
            settings_from_json(good | damage)

    def test_missing_ones_are_named(self):
        with pytest.raises(ValueError, match="Settings must name refinement, controls, full_iterations"):
            settings_from_json({"preset": "loop", "scenario": "mine"})


def test_other_runs_are_not_loops():
    assert not isinstance(settings_for("heat-1d"), LoopSettings)
