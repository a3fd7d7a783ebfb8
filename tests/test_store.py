"""What is kept of runs: whole, in words where it cannot be, and good for going on to the last bit."""

import contextlib
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_helpers import (
    PATIENCE,
    TOY,
    recorder_of,
    timeless,
    undisturbed,
    wait_for_adjustment,
    wait_for_epoch,
    wait_for_state,
)

from prdp_explorer import Constant, Engine, Run
from prdp_explorer.__main__ import main
from prdp_explorer.engine import IN_MEMORY, RECORD, Event, Store, StoreError, as_records
from prdp_explorer.engine._log import thinned
from prdp_explorer.engine._schema import _VERSION_1 as VERSION_1
from prdp_explorer.engine._schema import TABLES, VERSION

SETTINGS = {"scenario": "heat-1d", "epochs": 5}

WORKER = """
import sys, time
from prdp_explorer import Constant, Engine
from prdp_explorer.engine import Store

race = Engine(Store(sys.argv[1])).race(
    "heat-1d", {"PRDP": None, "full physics": Constant()}, epochs=300, seed=1, pace=100.0
)
run = race.runs["PRDP"]
run.wait(lambda run: run.epoch >= 20)
run.adjust(tau_step=0.9)
while not run.ended:
    print(time.monotonic(), min(run.epoch for run in race.runs.values()), flush=True)
    time.sleep(0.02)
"""
"""Trains a race, and says when it had reached which epoch."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


def rows_of(count: int) -> np.ndarray:
    rows = np.zeros(count, RECORD)
    rows["epoch"] = np.arange(count)
    rows["validation"] = np.linspace(1, 0.1, count)
    return rows


def finished(run: Run) -> Run:
    assert run.wait(timeout=PATIENCE)
    wait_for_state(run, "finished")
    return run


def assert_same(run: Run, store: Store) -> None:
    """What was recorded, and what came of it, is what an undisturbed training gives, to the last bit."""
    training, rows = undisturbed(run)
    log, end = store.log(run.id), store.checkpoint(run.id)
    assert timeless(log.records) == timeless(as_records(rows))
    assert end is not None
    for mine, other in zip(end.leaves, training.checkpoint().leaves, strict=True):
        np.testing.assert_array_equal(mine, other)


class TestKeeping:
    def test_a_run_reads_back_as_it_was(self, keeping: Engine, place: Path):
        run = keeping.start("heat-1d", epochs=300, seed=3)
        wait_for_epoch(run, 10)
        run.adjust(tau_step=0.9, learning_rate=2e-3)
        finished(run)
        keeping.close()
        store = Store(place)
        (kept,) = store.runs()
        log = store.log(run.id)
        assert (kept.id, kept.status, kept.epochs, kept.settings) == (
            run.id,
            "finished",
            300,
            run.started_with.to_json(),
        )
        assert kept.summary["validation"] == run.log.records[-1].validation
        assert kept.made_with["jax"]
        assert log.read().tobytes() == run.log.read().tobytes()
        assert log.events == run.log.events
        assert {snapshot.epoch for snapshot in run.log.snapshots} <= {snapshot.epoch for snapshot in log.snapshots}
        for name, values in run.log.snapshots[-1].fields.items():
            np.testing.assert_array_equal(log.snapshots[-1].fields[name], values)
        end = store.checkpoint(run.id)
        assert end is not None
        assert end.epoch == 300

    def test_what_is_read_while_it_is_written_is_a_beginning(self, keeping: Engine, place: Path):
        run = keeping.start("heat-1d", epochs=100_000)
        reader, lengths = Store(place), []
        wait_for_epoch(run, 200)
        for _ in range(5):
            time.sleep(0.3)
            rows = reader.log(run.id).read()
            assert run.log.read()[: len(rows)].tobytes() == rows.tobytes()
            assert reader.run(run.id).status == "running"
            lengths.append(len(rows))
        assert lengths[-1] > lengths[0] > 0

    def test_a_run_of_a_problem_of_ones_own_is_kept_but_cannot_go_on(self, keeping: Engine):
        run = keeping.start(TOY, epochs=100_000)
        wait_for_epoch(run, 3)
        run.stop()
        wait_for_state(run, "stopped")
        recorder_of(keeping).write()
        with pytest.raises(ValueError, match="Toy is a problem of one's own"):
            keeping.resume(run.id)

    def test_deleting_is_undone(self):
        store = Store(IN_MEMORY)
        store.add("a-1", "PRDP", "a-1", SETTINGS)
        store.delete("a-1")
        assert store.runs() == []
        for command in (store.delete, store.run, store.log, store.checkpoint):
            with pytest.raises(StoreError, match="There is no run 'a-1'"):
                command("a-1")
        store.restore("a-1")
        store.annotate("a-1", "for Monday")
        assert store.run("a-1").note == "for Monday"
        with pytest.raises(StoreError, match="There is no run 'a-2'"):
            store.annotate("a-2", "")

    def test_what_was_deleted_long_ago_goes_for_good_at_the_next_deletion(self):
        store = Store(IN_MEMORY)
        for name in ("a-1", "a-2", "a-3"):
            store.add(name, "PRDP", name, SETTINGS)
            store.write(name, status="stopped", message="", rows=rows_of(3), first=0, events=[Event(1, "stopped")])
        store.delete("a-1")
        store._connection.execute("UPDATE runs SET deleted = deleted - 31 * 24 * 3600 WHERE deleted IS NOT NULL")
        store.delete("a-2")
        with pytest.raises(StoreError, match="There is no run 'a-1'"):
            store.restore("a-1")
        store.restore("a-2")
        assert [run.id for run in store.runs()] == ["a-3", "a-2"]
        assert [len(store.rows(name)) for name in ("a-2", "a-3")] == [3, 3]
        for table in ("records", "events"):
            assert store._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 2

    def test_names_and_edits_are_told_with_the_run(self, keeping: Engine):
        run = keeping.start("heat-1d", epochs=100_000)
        wait_for_epoch(run, 3)
        run.adjust(tau_step=0.9, tau_stop=0.8)
        run.adjust(tau_step=0.95)
        wait_for_adjustment(run, "tau_step")
        run.stop()
        wait_for_state(run, "stopped")
        recorder_of(keeping).write()
        store = recorder_of(keeping).store
        signs = store.signs()
        assert store.signs() == signs
        assert store.run(run.id).title == run.id
        store.rename(run.id, "Monday's")
        assert store.signs() != signs
        assert store.run(run.id).title == "Monday's"
        assert store.run(run.id).edits == {"tau_step": 0.95, "tau_stop": 0.8}
        assert store.runs() == [store.run(run.id)]

    def test_records_are_read_from_any_number_on(self):
        store = Store(IN_MEMORY)
        store.add("a-1", "PRDP", "a-1", SETTINGS)
        assert len(store.rows("a-1")) == 0
        for first, last in ((0, 4), (4, 5), (5, 9)):
            store.write("a-1", status="running", message="", rows=rows_of(9)[first:last], first=first)
        for first in range(11):
            assert store.rows("a-1", first)["epoch"].tolist() == list(range(first, 9))

    def test_a_store_of_the_first_version_is_brought_up(self, place: Path):
        connection = sqlite3.connect(place)
        for table in VERSION_1.values():
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {0x50524450}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO runs VALUES (7, 'a-1', 'a-1', 'PRDP', '{}', 1.5, 'finished', '', 5, '{}', '{}', '', 2.5, "
            "NULL, NULL, 'mine', NULL)"
        )
        connection.commit()
        connection.close()
        for _ in range(2):
            with contextlib.closing(Store(place)) as store:
                (run,) = store.runs()
                assert (run.id, run.note, run.name, run.status) == ("a-1", "mine", "", "finished")
        connection = sqlite3.connect(place)
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"))
        assert tables == TABLES
        connection.close()

    def test_a_run_whose_process_is_gone_is_interrupted(self, place: Path):
        store = Store(place)
        store.add("a-1", "PRDP", "a-1", SETTINGS)
        assert store.run("a-1").status == "compiling"
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        node = os.uname().nodename
        for owner, seen, status in (
            (f"{node} {int(gone.stdout)}", time.time(), "interrupted"),
            (f"{node} {os.getppid()}", time.time(), "compiling"),
            (f"{node} {os.getppid()}", time.time() - 3600, "interrupted"),
            ("elsewhere 1", time.time(), "compiling"),
            ("elsewhere 1", time.time() - 3600, "interrupted"),
            (f"{node} nonsense", time.time(), "interrupted"),
        ):
            store._connection.execute("UPDATE runs SET owner = ?, seen = ?", (owner, seen))
            assert store.run("a-1").status == status

    def test_a_record_has_the_columns_of_this_version(self):
        """A change of either asks for a new version, and for a way from the old one to it."""
        told = json.dumps([RECORD.descr, TABLES, VERSION])
        assert hashlib.sha256(told.encode()).hexdigest()[:16] == "593db5e6dfb96009"

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 100), st.integers(1, 2))
    def test_thinning_keeps_the_last_and_the_budget(self, sizes: list[int], budget: int, least: int):
        all_of_them = list(enumerate(sizes))
        kept = thinned(all_of_them, budget, least)
        assert kept == [each for each in all_of_them if each in kept]
        assert kept[-1] == all_of_them[-1]
        assert len(kept) <= least or sum(size for _, size in kept) <= budget
        if sum(sizes) <= budget:
            assert kept == all_of_them


class TestTrouble:
    def test_a_full_disk_is_told_and_what_was_missed_is_written_later(self, keeping: Engine):
        run = keeping.start("heat-1d", epochs=100_000)
        wait_for_epoch(run, 50)
        recorder_of(keeping).write()
        connection = recorder_of(keeping).store._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        deadline = time.monotonic() + PATIENCE
        while recorder_of(keeping).problem is None:
            wait_for_epoch(run, run.epoch + 20)
            recorder_of(keeping).write()
            assert time.monotonic() < deadline
        assert "full" in str(recorder_of(keeping).problem)
        assert run.state == "running"
        connection.execute("PRAGMA max_page_count = 1000000")
        run.stop()
        wait_for_state(run, "stopped")
        recorder_of(keeping).write()
        assert recorder_of(keeping).problem is None
        assert recorder_of(keeping).store.log(run.id).read().tobytes() == run.log.read().tobytes()

    def test_a_newer_version_is_refused_and_left_alone(self, place: Path):
        Store(place).close()
        connection = sqlite3.connect(place)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
        before = place.read_bytes()
        with pytest.raises(StoreError, match=r"written by a newer version of prdp_explorer \(format 3"):
            Store(place)
        assert place.read_bytes() == before

    def test_another_programs_database_is_refused_and_left_alone(self, place: Path):
        connection = sqlite3.connect(place)
        connection.execute("CREATE TABLE recipes (name)")
        connection.close()
        before = place.read_bytes()
        with pytest.raises(StoreError, match="database of another program"):
            Store(place)
        assert place.read_bytes() == before

    @pytest.mark.parametrize("addition", ["CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
                                          "CREATE VIEW v AS SELECT 1", "CREATE INDEX i ON runs (label)"])  # fmt: skip
    def test_more_than_the_tables_is_refused(self, place: Path, addition: str):
        store = Store(place)
        store._connection.execute(addition)
        store.close()
        with pytest.raises(StoreError, match="does not have the tables"):
            Store(place)

    @pytest.mark.parametrize("beside", [False, True], ids=["nobody writing", "somebody writing"])
    def test_what_cannot_be_written_is_read(self, place: Path, monkeypatch: pytest.MonkeyPatch, beside: bool):
        writer = Store(place)
        writer.add("a-1", "PRDP", "a-1", SETTINGS)
        writer.write("a-1", status="stopped", message="", rows=rows_of(3), first=0)
        if not beside:
            writer.close()
        assert Path(f"{place}-wal").exists() == beside
        before = place.read_bytes()
        monkeypatch.setattr(os, "access", lambda *_: False)
        with contextlib.closing(Store(place)) as store:
            assert [run.id for run in store.runs()] == ["a-1"]
            assert len(store.rows("a-1")) == 3
            for change in (lambda: store.rename("a-1", "mine"), lambda: store.delete("a-1")):
                with pytest.raises(StoreError, match="cannot be used: attempt to write a readonly database"):
                    change()
        assert place.read_bytes() == before

    def test_a_place_that_cannot_be(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot be used"):
            Store(tmp_path / "file" / "runs.sqlite")
        with pytest.raises(StoreError, match="cannot be used"):
            Store(tmp_path)
        with pytest.raises(StoreError, match="There is no store of runs"):
            Store(tmp_path / "none.sqlite", must_exist=True)

    def test_two_hundred_damaged_files(self, tmp_path: Path):
        """Cut, overwritten, and with other contents: refused in words or read as what they are, and nothing is run."""
        whole = tmp_path / "whole.sqlite"
        engine = Engine(Store(whole))
        finished(engine.start("heat-1d", epochs=30))
        engine.close()
        recorder_of(engine).store.close()
        damages = random.Random(0)
        refused = 0
        for number in range(200):
            place = tmp_path / f"{number}.sqlite"
            shutil.copy(whole, place)
            DAMAGES[number % len(DAMAGES)](place, damages, tmp_path / "executed")
            try:
                with contextlib.closing(Store(place)) as store:
                    for run in store.runs():
                        store.log(run.id)
                        store.checkpoint(run.id)
                        assert main(["show", run.id, "--store", str(place)]) == 0
                assert main(["runs", "--store", str(place)]) == 0
            except StoreError as error:
                refused += 1
                assert main(["resume", "heat-1d-0", "--store", str(place)]) == 2
                assert str(place) in str(error)
                assert len(str(error)) < 500
            assert not (tmp_path / "executed").exists()
        assert refused > 100
        assert Store(whole).runs()[0].status == "finished"


class Exploit:
    """Makes a file where it is unpickled."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def cut(place: Path, damages: random.Random, _executed: Path) -> None:
    contents = place.read_bytes()
    place.write_bytes(contents[: damages.randrange(1, len(contents))])


def overwrite(place: Path, damages: random.Random, _executed: Path) -> None:
    contents = bytearray(place.read_bytes())
    for _ in range(200):
        contents[damages.randrange(len(contents))] = damages.randrange(256)
    place.write_bytes(contents)


def replace(place: Path, damages: random.Random, _executed: Path) -> None:
    place.write_bytes(damages.randbytes(damages.randrange(1, 5000)))


def edit(place: Path, damages: random.Random, executed: Path) -> None:
    objects = io.BytesIO()
    np.savez(objects, fields=np.array([Exploit(executed)], dtype=object))
    squeezed = io.BytesIO()
    np.savez_compressed(squeezed, fields=np.zeros(10**6))
    table, column, value = damages.choice(
        [
            ("records", "rows", damages.randbytes(100)),
            ("records", "rows", "text"),
            ("records", "first", 7),
            ("snapshots", "fields", pickle.dumps(Exploit(executed))),
            ("snapshots", "fields", objects.getvalue()),
            ("snapshots", "fields", squeezed.getvalue()),
            ("checkpoints", "leaves", objects.getvalue()),
            ("checkpoints", "leaves", damages.randbytes(300)),
            ("checkpoints", "totals", "["),
            ("events", "changes", "{" * 10_000),
            ("runs", "settings", "]"),
            ("runs", "summary", 3.5),
            ("runs", "summary", '{"validation": "small"}'),
            ("runs", "settings", "[]"),
            ("runs", "created", "soon"),
            ("runs", "label", b"\xff"),
            ("events", "epoch", "x"),
            ("events", "changes", "[]"),
        ]
    )
    connection = sqlite3.connect(place)
    connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.commit()
    connection.close()


DAMAGES = (cut, overwrite, replace, edit)


class TestGoingOn:
    @pytest.mark.parametrize("seconds", [0.3, 1.8])
    def test_after_a_kill_it_is_as_if_nothing_had_been(self, place: Path, seconds: float):
        command = [sys.executable, "-c", WORKER, str(place)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            lines = [worker.stdout.readline()]
            time.sleep(seconds)
            os.kill(worker.pid, signal.SIGKILL)
            killed = time.monotonic()
            lines += worker.stdout.readlines()
        reached = [tuple(map(float, line.split())) for line in lines if line.endswith("\n")]
        store = Store(place)
        runs = {run.label: run for run in store.runs()}
        assert set(runs) == {"PRDP", "full physics"}
        assert {run.status for run in runs.values()} <= {"interrupted", "finished"}
        before = {label: store.log(run.id).read() for label, run in runs.items()}
        expected = max([int(epoch) for at, epoch in reached if at < killed - 1], default=-1)
        assert all(len(rows) - 1 >= expected for rows in before.values())

        interrupted = [run.id for run in runs.values() if run.status == "interrupted"]
        if not interrupted:
            return
        engine = Engine(store)
        race = engine.resume(interrupted[0])
        for run in race.runs.values():
            finished(run)
        engine.close()
        for label, run in race.runs.items():
            rows = store.log(run.id).read()
            assert rows[: len(before[label])].tobytes() == before[label].tobytes()
            assert (np.diff(rows["cumulative_seconds"]) >= 0).all()
            assert store.run(run.id).status == "finished"
            assert_same(run, store)

    def test_a_stopped_run_goes_on_with_its_edits_and_modes(self, keeping: Engine):
        run = keeping.start("heat-1d", Constant(4), epochs=400, seed=2, pace=10.0)
        wait_for_epoch(run, 5)
        run.adjust(differentiation="unrolled")
        wait_for_adjustment(run, "differentiation")
        run.adjust(learning_rate=2e-3)
        wait_for_epoch(run, run.epoch + 4)
        run.stop()
        wait_for_state(run, "stopped")
        recorder_of(keeping).write()
        (again,) = keeping.resume(run.id).runs.values()
        assert again.settings == run.settings
        finished(again)
        assert [event.name for event in again.log.events][-4:] == ["resumed", "queued", "running", "finished"]
        recorder_of(keeping).write()
        assert_same(again, recorder_of(keeping).store)

    def test_contenders_that_were_cut_at_different_epochs_meet(self, keeping: Engine):
        race = keeping.race("heat-1d", {"a": Constant(1), "b": Constant(2)}, epochs=100_000)
        for run in race.runs.values():
            wait_for_epoch(run, 50)
        race.runs["a"].stop()
        wait_for_state(race.runs["a"], "stopped")
        wait_for_epoch(race.runs["b"], race.runs["b"].epoch + 100)
        race.stop()
        for run in race.runs.values():
            wait_for_state(run, "stopped")
        recorder_of(keeping).write()
        again = keeping.resume(race.runs["a"].id)
        a, b = again.runs["a"], again.runs["b"]
        assert a.epoch + 100 <= b.epoch
        wait_for_epoch(a, b.epoch + 50)
        again.pause()
        for run in (a, b):
            wait_for_state(run, "paused")
        assert a.epoch == b.epoch

    def test_what_cannot_go_on_is_refused_in_words(self, keeping: Engine):
        run = finished(keeping.start("heat-1d", epochs=5))
        recorder_of(keeping).write()
        with pytest.raises(ValueError, match=f"The run '{run.id}' is finished; what can be resumed is"):
            keeping.resume(run.id)
        with pytest.raises(ValueError, match="There is no run 'heat-1d-0'"):
            keeping.resume("heat-1d-0")
        with pytest.raises(ValueError, match="This engine keeps no runs"):
            Engine().resume(run.id)

    def test_a_checkpoint_of_something_else_fails_the_run_in_words(self, keeping: Engine):
        run = keeping.start("heat-1d", epochs=100_000)
        wait_for_epoch(run, 5)
        run.stop()
        wait_for_state(run, "stopped")
        store = recorder_of(keeping).store
        recorder_of(keeping).write()
        settings = json.dumps({**run.started_with.to_json(), "scenario": "poisson-1"})
        store._connection.execute("UPDATE runs SET settings = ?", (settings,))
        (again,) = keeping.resume(run.id).runs.values()
        wait_for_state(again, "failed")
        assert "The checkpoint does not fit" in again.message


def test_events_keep_their_values(place: Path):
    store = Store(place)
    store.add("a-1", "PRDP", "a-1", SETTINGS)
    events = [Event(1, "adjust", {"tau_step": 0.9, "differentiation": "unrolled"}, "words ≤ τ", 12.5)]
    store.write("a-1", status="running", message="", rows=rows_of(3), first=0, events=events)
    store.write("a-1", status="stopped", message="Stopped.", rows=rows_of(5)[3:], first=3)
    assert store.log("a-1").events == events
    assert store.log("a-1").read()["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert store.checkpoint("a-1") is None


def test_a_run_that_stands_still_is_not_written_again_and_again(keeping: Engine):
    run = keeping.start("heat-1d", epochs=100_000)
    wait_for_epoch(run, 5)
    run.pause()
    wait_for_state(run, "paused")
    recorder = recorder_of(keeping)
    recorder.write()
    changes = recorder.store._connection.total_changes
    for _ in range(5):
        recorder.write()
    assert recorder.store._connection.total_changes == changes
    run.resume()
    wait_for_state(run, "running")
    recorder.write()
    assert recorder.store._connection.total_changes > changes
    assert recorder.store.run(run.id).status == "running"
