"""What leaves a store: whole, readable elsewhere, and taken in again only where nothing is wrong with it."""

import csv
import gzip
import io
import json
import os
import pickle
import random
import shutil
import sqlite3
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from test_store import Exploit, cut, overwrite, replace
from training_helpers import PATIENCE, TOY, timeless, wait_for_adjustment, wait_for_epoch, wait_for_state

from prdp_explorer import Constant, Engine
from prdp_explorer.engine import (
    IN_MEMORY,
    RECORD,
    Log,
    Snapshot,
    Store,
    StoredRun,
    StoreError,
    export_run,
    fields_dataset,
    import_runs,
    records_csv,
    settings_for,
    write_fields,
    written_whole,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an edited race, and a run that was stopped."""
    place = tmp_path_factory.mktemp("whole") / "runs.sqlite"
    store = Store(place)
    engine = Engine(store)
    race = engine.race("heat-1d", {"PRDP": None, "full physics": Constant()}, epochs=300)
    wait_for_epoch(race.runs["PRDP"], 5)
    race.runs["PRDP"].adjust(tau_step=0.9)
    wait_for_adjustment(race.runs["PRDP"], "tau_step")
    short = engine.start("heat-1d", epochs=2000, seed=5)
    wait_for_epoch(short, 5)
    short.stop()
    for run in (*race.runs.values(), short):
        assert run.wait(timeout=PATIENCE)
    wait_for_state(short, "stopped")
    engine.close()
    store.annotate(short.id, "for Monday\nand Tuesday")
    store.close()
    return place


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    """A copy of it."""
    return Store(shutil.copy(whole, tmp_path / "runs.sqlite"))


def raced(store: Store) -> StoredRun:
    return next(run for run in store.runs() if run.edits)


def stopped(store: Store) -> StoredRun:
    return next(run for run in store.runs() if run.status == "stopped")


def everything(place: Path) -> dict[str, list[Any]]:
    """All that a file of SQLite holds."""
    connection = sqlite3.connect(place)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    held = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    connection.close()
    return held


def made_up(store: Store, settings: dict[str, Any], fields: dict[str, np.ndarray], epochs: int = 2) -> StoredRun:
    """A kept run with a snapshot of these fields at epochs 0 and 1, the second twice the first."""
    rows = np.zeros(epochs, RECORD)
    rows["epoch"] = np.arange(epochs)
    store.add("made-up-1", "PRDP", "made-up-1", settings)
    snapshots = [Snapshot(e, e + 1, {name: (e + 1) * values for name, values in fields.items()}) for e in (0, 1)]
    store.write("made-up-1", status="finished", message="", rows=rows, first=0, snapshots=snapshots if fields else ())
    return store.run("made-up-1")


class TestPortable:
    def test_what_comes_in_elsewhere_is_what_was_taken_away(self, store: Store, tmp_path: Path):
        elsewhere = Store(tmp_path / "elsewhere.sqlite")
        for run in store.runs():
            file = tmp_path / f"{run.id}.prdp"
            export_run(store, run.id, file)
            assert file.read_bytes()[18:20] == b"\1\1"  # no journal beside it, ever
            before = file.read_bytes()
            assert import_runs(elsewhere, file) == [run.id]
            assert file.read_bytes() == before
            assert elsewhere.run(run.id) == run
            assert elsewhere.contents(run.id) == {
                table: [{**row, "run": number} if "run" in row else {**row, "number": number} for row in rows]
                for number in [elsewhere.contents(run.id)["runs"][0]["number"]]
                for table, rows in store.contents(run.id).items()
            }
            log, other = store.log(run.id), elsewhere.log(run.id)
            assert (log.read().tobytes(), log.events) == (other.read().tobytes(), other.events)
            assert len(log.snapshots) == len(other.snapshots) > 0
        assert stopped(elsewhere).note == "for Monday\nand Tuesday"
        assert raced(elsewhere).edits == {"tau_step": 0.9}
        assert sorted(path.suffix for path in tmp_path.iterdir() if path.name.count("-") > 1) == [".prdp"] * 3

    def test_it_goes_on_elsewhere_as_it_would_have_here(self, store: Store, tmp_path: Path):
        run = stopped(store)
        export_run(store, run.id, tmp_path / "run.prdp")
        elsewhere = Store(IN_MEMORY)
        import_runs(elsewhere, tmp_path / "run.prdp")
        ends = []
        for place in (store, elsewhere):
            engine = Engine(place)
            (resumed,) = engine.resume(run.id).runs.values()
            assert resumed.wait(timeout=PATIENCE)
            engine.close()
            ends.append(timeless(place.log(run.id).records))
        assert ends[0] == ends[1]
        assert len(ends[0]) == 2001

    def test_a_run_under_way_is_interrupted_in_the_copy_which_names_no_machine(self, tmp_path: Path):
        store, elsewhere = Store(IN_MEMORY), Store(IN_MEMORY)
        store.add("a-1", "PRDP", "a-1", settings_for("heat-1d").to_json())
        export_run(store, "a-1", tmp_path / "a.prdp")
        import_runs(elsewhere, tmp_path / "a.prdp")
        assert store.run("a-1").status == "compiling"
        assert elsewhere.run("a-1").status == "interrupted"
        assert "copied while it trained" in elsewhere.run("a-1").message
        assert os.uname().nodename.encode() not in (tmp_path / "a.prdp").read_bytes()

    def test_a_whole_store_comes_in_or_nothing_of_it(self, store: Store, tmp_path: Path):
        wanted = [run.id for run in store.runs()]
        elsewhere = Store(tmp_path / "elsewhere.sqlite")
        store.close()
        assert import_runs(elsewhere, store.place) == wanted[::-1]
        assert [run.id for run in elsewhere.runs()] == wanted
        third = Store(tmp_path / "third.sqlite")
        export_run(elsewhere, wanted[0], tmp_path / "newest.prdp")
        import_runs(third, tmp_path / "newest.prdp")
        with pytest.raises(StoreError, match=rf"The run '{wanted[0]}' is in '.*third.sqlite' already\."):
            import_runs(third, store.place)
        assert [run.id for run in third.runs()] == wanted[:1]

    def test_what_is_here_already_is_refused_also_if_it_was_deleted(self, store: Store, tmp_path: Path):
        run = stopped(store)
        export_run(store, run.id, tmp_path / "run.prdp")
        with pytest.raises(StoreError, match=r"already\.$"):
            import_runs(store, tmp_path / "run.prdp")
        store.delete(run.id)
        with pytest.raises(StoreError, match=f"`delete {run.id} --undo` brings it back"):
            import_runs(store, tmp_path / "run.prdp")
        assert len(store.runs()) == 2

    def test_a_run_that_claims_the_place_of_another_in_its_race_is_refused(self, store: Store, tmp_path: Path):
        run, forged = stopped(store), Store(IN_MEMORY)
        forged.add("forged-1", run.label, run.race, run.settings)
        export_run(forged, "forged-1", tmp_path / "forged.prdp")
        with pytest.raises(StoreError, match=f"The run '{run.id}' is in .* already as '{run.label}' of the same race"):
            import_runs(store, tmp_path / "forged.prdp")

    def test_a_file_that_cannot_be_written_leaves_nothing(self, store: Store, tmp_path: Path):
        (run_id, *_) = [run.id for run in store.runs()]
        place, folder = Path(store.place), tmp_path / "folder"
        folder.mkdir()
        for file, words in (
            (folder, "is no file that could be replaced"),
            (folder / "missing" / "a.prdp", "could not be written"),
            (place, "is the store itself"),
        ):
            with pytest.raises(ValueError, match=words):
                export_run(store, run_id, file)
        file = folder / "a.prdp"
        file.write_text("what was there")
        with pytest.raises(RuntimeError), written_whole(file) as part:
            part.write_text("half")
            raise RuntimeError
        assert file.read_text() == "what was there"
        with pytest.raises(StoreError, match="There is no run"):
            export_run(store, "none", file)
        assert list(folder.iterdir()) == [file]
        assert len(store.runs()) == 3

    @pytest.mark.parametrize(("name", "words"), [
        ("missing.prdp", "no file"), (".", "no file"), ("empty", "empty"), ("fifo", "no file"), ("a\0b", "no file"),
        ("x" * 300, "File name too long"),
    ])  # fmt: skip
    def test_what_is_no_file(self, tmp_path: Path, name: str, words: str):
        (tmp_path / "empty").touch()
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(StoreError, match=words):
            import_runs(Store(IN_MEMORY), tmp_path / name)


def array_file(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, **arrays)
    return file.getvalue()


def huge() -> bytes:
    """An archive of an array that says that it is large."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("input.npy", header.getvalue())
    return file.getvalue()


def squeezed() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, input=np.zeros(10**6))
    return file.getvalue()


def locked() -> bytes:
    """An archive that says that it is encrypted."""
    blob = bytearray(array_file(input=np.zeros(3)))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", blob, blob.index(mark) + offset, 1)
    return bytes(blob)


def without_reason() -> bytes:
    rows = np.zeros(1, RECORD)
    rows["reason"] = 99
    return rows.tobytes()


def edits(executed: Path) -> list[tuple[str, str, Any]]:
    """Contents that a store never has: table, column, value."""
    settings = settings_for("heat-1d").to_json()
    objects = array_file(input=np.array([Exploit(executed)], dtype=object))
    exploit = pickle.dumps(Exploit(executed))
    return [
        *(("runs", "id", value) for value in ("../../escaped", "/etc/passwd", "A b", "", "x" * 65, "a\n", "ä-1", b"a")),
        ("runs", "race", "../race"),
        ("runs", "parent", "'; DROP TABLE runs; --"),
        ("runs", "parent_epoch", "x"),
        ("runs", "status", "dancing"),
        ("runs", "epochs", 10**6),
        *(("runs", "created", value) for value in ("soon", 1e300, float("inf"), -1.0)),
        *(("runs", column, "\x1b[2J") for column in ("label", "note", "message", "name")),
        ("runs", "label", b"\xff"),
        *(("runs", "summary", value) for value in ("3.5", '{"validation": "small"}', '{"seconds": 1e999}',
                                                   f'{{"seconds": {"9" * 400}}}', f'{{"seconds": {"9" * 5000}}}')),
        *(("runs", "made_with", value) for value in ('{"jax": {"deep": []}}', "[" * 5000, '{"jax": "\\ud800"}', "]")),
        *(("runs", "settings", json.dumps({**settings, **change})) for change in (
            {"scenario": "heat-9d"}, {"scenario": ["heat-1d"]}, {"preset": None}, {"refinement": "prdp"},
            {"epochs": 10**9}, {"seed": -1}, {"refinement": {"kind": "__import__"}},
            {"refinement": {"kind": "prdp", "tau_step": [1]}},
            {"preset": "own", "epochs": "many"}, {"more": {"nested": {}}}, {"x=1)\nimport os": 1},
            {"learning_rate": 1e999},
        )),
        ("runs", "settings", "[]"),
        ("records", "first", 7),
        *(("records", "rows", value) for value in (b"x" * 100, "text", without_reason(), exploit)),
        *(("events", "time", value) for value in (1e200, "x")),
        ("events", "name", "\x1b]0;title\x07"),
        ("events", "epoch", 2.5),
        *(("events", "changes", value) for value in ("[]", "{" * 10_000, '{"tau_step": []}')),
        *(("snapshots", "epoch", value) for value in ("x", float("-inf"), float("inf"))),
        *(("snapshots", "fields", value) for value in (exploit, objects, squeezed(), huge(), locked(), b"", "text",
          array_file(input=np.array(["text"])), array_file(input=np.zeros(0)), array_file(input=np.array(1.0)))),
        *(("checkpoints", "epoch", value) for value in ("x", float("-inf"), 1e300)),
        ("checkpoints", "totals", "["),
        *(("checkpoints", "leaves", value) for value in (exploit, objects, huge(), squeezed(), b"\0" * 300)),
    ]  # fmt: skip


def edited(table: str, column: str, value: Any) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        with sqlite3.connect(place) as connection:
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})", (value,)
            )
        connection.close()

    return damage


def executing(*statements: str) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        with sqlite3.connect(place) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    return damage


def forms(executed: Path) -> list[Callable[[Path], Any]]:
    """Files of another kind, and databases with more or less in them than there should be."""
    exploit = pickle.dumps(Exploit(executed))
    return [
        executing("CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END"),
        executing("CREATE TABLE more (x)"),
        executing("CREATE VIEW v AS SELECT load_extension('x')"),
        executing("CREATE INDEX i ON runs (label)"),
        executing("DROP TABLE checkpoints"),
        executing("ALTER TABLE runs ADD COLUMN more TEXT"),
        executing("DELETE FROM runs"),
        executing("UPDATE runs SET deleted = 1.0"),
        executing("PRAGMA user_version = 99"),
        executing("PRAGMA user_version = -1"),
        executing("PRAGMA application_id = 7"),
        executing("PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = 'CREATE TABLE runs (x)' "
                  "WHERE name = 'runs'"),
        lambda place: place.write_bytes(exploit),
        lambda place: place.write_bytes(gzip.compress(bytes(10**6))),
        lambda place: place.write_bytes(squeezed()),
        lambda place: place.write_text('{"id": "a-1"}'),
        lambda place: place.write_text("<script>alert(1)</script>"),
        lambda place: place.write_bytes(b"SQLite format 3\0"),
        lambda place: place.write_bytes(b"SQLite format 3\0" + bytes(4080)),
        lambda place: place.write_bytes(place.read_bytes()[::-1]),
    ]  # fmt: skip


def test_two_hundred_damaged_and_hostile_files(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Each is refused in words; none runs code, writes elsewhere, is changed itself, or changes the store."""
    away, temporary, executed = (tmp_path / name for name in ("away", "temporary", "executed"))
    away.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    whole = away / "whole.prdp"
    export_run(store, raced(store).id, whole)
    import_runs(Store(IN_MEMORY), whole)  # by itself it is fine
    target = Store(tmp_path / "target.sqlite")
    made_up(target, settings_for("heat-1d").to_json(), {})
    held = everything(tmp_path / "target.sqlite")
    outside = sorted(path.name for path in tmp_path.iterdir())
    dice = random.Random(0)
    damages = [*(edited(*each) for each in edits(executed)), *forms(executed)]
    while len(damages) < 200:
        damage = (cut, overwrite, replace)[len(damages) % 3]
        damages.append(lambda place, damage=damage: damage(place, dice, executed))
    for number, damage in enumerate(damages):
        file = away / "damaged.prdp"
        shutil.copy(whole, file)
        damage(file)
        before = file.read_bytes()
        with pytest.raises(StoreError) as refused:
            pytest.fail(f"number {number} was taken in as {import_runs(target, file)}")
        words = str(refused.value)
        assert str(file) in words, words
        assert len(words) < 700, words
        assert words.isprintable(), words
        assert file.read_bytes() == before, number
        assert everything(tmp_path / "target.sqlite") == held, number
        assert not executed.exists(), number
        assert sorted(path.name for path in away.iterdir()) == ["damaged.prdp", "whole.prdp"], number
        assert list(temporary.iterdir()) == [], number
        assert sorted(path.name for path in tmp_path.iterdir()) == outside, number
    assert len(damages) == 200
    assert len(import_runs(target, whole)) == 1
    assert capsys.readouterr() == ("", "")


class TestRecords:
    def test_every_column_of_every_record(self, store: Store):
        log = store.log(raced(store).id)
        rows = list(csv.DictReader(records_csv(log).splitlines()))
        assert len(rows) == len(log) == 301
        for name in RECORD.names or ():
            told = [row[name] == "True" if name == "refined" else float(row[name]) for row in rows]
            np.testing.assert_array_equal(told, log.read()[name])


class TestFields:
    def opened(self, run: StoredRun, log: Log, tmp_path: Path) -> xarray.Dataset:
        write_fields(run, log, tmp_path / "fields.nc")
        with xarray.open_dataset(tmp_path / "fields.nc") as dataset:
            return dataset.load()

    def test_they_read_back_as_they_were(self, store: Store, tmp_path: Path):
        run = raced(store)
        log = store.log(run.id)
        dataset = self.opened(run, log, tmp_path)
        assert dataset["epoch"].values.tolist() == [snapshot.epoch for snapshot in log.snapshots]
        assert dataset["iterations"].values.tolist() == [snapshot.iterations for snapshot in log.snapshots]
        problem = settings_for("heat-1d").problem
        np.testing.assert_array_equal(dataset["x"], problem.points())
        assert dataset["network_output"].dims == ("epoch", "sample", "x")
        for name, spelled in (("input", "input"), ("after the physics", "after_the_physics")):
            assert dataset[spelled].attrs == {"long_name": name, "units": "1"}
            for number, snapshot in enumerate(log.snapshots):
                np.testing.assert_array_equal(dataset[spelled][number], snapshot.fields[name])
        assert json.loads(dataset.attrs["settings"]) == run.settings
        assert json.loads(dataset.attrs["made_with"]) == run.made_with
        assert (dataset.attrs["id"], dataset.attrs["title"]) == (run.id, "Heat 1D emulator: fields during training")
        assert dataset.attrs["units"] == "non-dimensional"

    @pytest.mark.parametrize(("scenario", "shape", "dims"), [
        ("heat-2d", (5, 20, 20), ("y", "x")),
        ("heat-3d", (2, 30, 30, 30), ("z", "y", "x")),
        ("navier-stokes-2d", (5, 4, 24, 24), ("component", "y", "x")),
    ])  # fmt: skip
    def test_the_axes_of_a_grid(self, tmp_path: Path, scenario: str, shape: tuple[int, ...], dims: tuple[str, ...]):
        settings, values = settings_for(scenario), np.random.default_rng(0).normal(size=shape)
        store = Store(IN_MEMORY)
        run = made_up(store, settings.to_json(), {"target": values})
        dataset = self.opened(run, store.log(run.id), tmp_path)
        assert dataset["target"].dims == ("epoch", "sample", *dims)
        np.testing.assert_array_equal(dataset["target"][1], 2 * values)
        np.testing.assert_array_equal(dataset["y"], settings.problem.points())
        components = settings.problem.components
        assert ("component" in dataset.coords) is bool(components)
        if components:
            assert dataset["component"].values.tolist() == list(components)

    def test_parameters_are_named_in_letters_that_the_format_has(self, tmp_path: Path):
        store = Store(IN_MEMORY)
        fields = {"solution for θ": np.zeros((1, 30)), "θ_1": np.array([2.5])}
        run = made_up(store, settings_for("poisson-3").to_json(), fields)
        dataset = self.opened(run, store.log(run.id), tmp_path)
        assert dataset["theta_1"].values.tolist() == [[2.5], [5.0]]
        assert dataset["theta_1"].attrs["long_name"] == "θ_1"
        assert dataset["solution_for_theta"].dims == ("epoch", "sample", "x")

    def test_a_problem_of_ones_own_is_counted(self, tmp_path: Path):
        store = Store(IN_MEMORY)
        run = made_up(store, settings_for(TOY).to_json(), {"output": np.zeros((5, 6))})
        dataset = self.opened(run, store.log(run.id), tmp_path)
        assert dataset["output"].dims == ("epoch", "sample", "axis_1")

    @pytest.mark.parametrize(("fields", "words"), [
        ({}, "has no snapshot of its fields"),
        ({"a b": np.zeros((2, 30)), "a_b": np.zeros((2, 30))}, "two would be named a_b"),
        ({"a": np.zeros((2, 30)), "b": np.zeros((2, 31))}, "do not fit together"),
        ({"a": np.zeros((2, 1, 1, 1, 1))}, "do not fit together"),
    ])  # fmt: skip
    def test_what_is_no_data_set_is_said(self, fields: dict[str, np.ndarray], words: str):
        store = Store(IN_MEMORY)
        run = made_up(store, settings_for("heat-1d").to_json(), fields)
        with pytest.raises(ValueError, match=words):
            fields_dataset(run, store.log(run.id))

    def test_without_xarray(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "xarray", None)
        run = raced(store)
        with pytest.raises(ValueError, match=r"needs xarray, .* pip install 'prdp_explorer\[export\]'"):
            write_fields(run, store.log(run.id), tmp_path / "fields.nc")
        assert not (tmp_path / "fields.nc").exists()
