"""The command line, mostly called in this process."""

import contextlib
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from prdp_explorer.__main__ import main
from prdp_explorer.engine import Store, settings_for
from prdp_explorer.problems import SCENARIOS
from prdp_explorer.solvers import DIFFERENTIATIONS, SOLVERS


def run_main(*arguments: str) -> int:
    """The exit status, however the command line ends."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prdp_explorer", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def result(capsys: pytest.CaptureFixture[str]):
    """Runs the command line with its JSON on standard output, and reads that."""

    def run(*arguments: str) -> Any:
        assert run_main(*arguments, "--json", "-") == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return json.loads(captured.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


class TestList:
    def test_json(self, result):
        listed = result("list")
        assert [scenario["id"] for scenario in listed] == list(SCENARIOS)
        for scenario in listed:
            assert set(scenario) >= {
                "id",
                "title",
                "presets",
                "solvers",
                "differentiations",
                "full_iterations",
                "chosen",
                "summary",
                "teaches",
                "deterministic",
                "not_offered",
            }
            assert set(scenario["presets"]) == {"live", "paper"} == set(scenario["full_iterations"])
            assert set(scenario["solvers"]) <= set(SOLVERS)
            assert set(scenario["differentiations"]) <= set(DIFFERENTIATIONS)
            assert all(isinstance(count, int) for count in scenario["full_iterations"].values())
            assert all(isinstance(sentence, str) for sentence in scenario["chosen"])
            known = SCENARIOS[scenario["id"]]
            assert (scenario["title"], scenario["summary"], scenario["teaches"]) == (
                known.title,
                known.summary,
                known.teaches,
            )
            assert scenario["deterministic"] is scenario["id"].startswith("poisson")

    def test_all_solvers_with_all_modes_are_offered_or_not_with_a_reason(self, result):
        for scenario in result("list"):
            for entry in scenario["not_offered"]:
                assert set(entry) == {"names", "reason"}
                assert len(entry["reason"]) > 20
            refused = [tuple(entry["names"]) for entry in scenario["not_offered"]]
            assert len(set(refused)) == len(refused)
            for solver in SOLVERS:
                assert (solver in scenario["solvers"]) is ((solver,) not in refused)
                for mode in DIFFERENTIATIONS:
                    offered = not {(solver,), (solver, mode)} & set(refused)
                    with contextlib.nullcontext() if offered else pytest.raises(ValueError):
                        settings_for(scenario["id"], solver=solver, differentiation=mode)

    def test_what_is_not_offered_for_navier_stokes(self, result):
        (flow,) = (scenario for scenario in result("list") if scenario["id"] == "navier-stokes-2d")
        assert flow["solvers"] == ["gmres"]
        reasons = {tuple(entry["names"]): entry["reason"] for entry in flow["not_offered"]}
        assert set(reasons) == {(solver,) for solver in SOLVERS if solver != "gmres"}
        assert reasons["cg",] == (
            "CG needs symmetry with positive eigenvalues, which NavierStokesOperator does not promise"
        )

    def test_heat_1d(self, result):
        heat = next(scenario for scenario in result("list") if scenario["id"] == "heat-1d")
        assert heat["full_iterations"]["paper"] == 25
        assert heat["chosen"]

    def test_for_people(self, capsys):
        assert run_main("list") == 0
        out = capsys.readouterr().out
        for scenario in SCENARIOS.values():
            assert f"{scenario.id}: {scenario.title}" in out
            assert all(f"chosen, not published: {sentence}" in out for sentence in scenario.chosen)
        assert out.count("  deterministic: the seed is not used\n") == 2
        assert "  not offered: cg with one-step: CG takes in b at its start only" in out
        assert "  not offered: jacobi: Jacobi needs a diagonal that dominates its rows, which Navier" in out

    def test_json_to_a_file(self, tmp_path: Path, capsys, result):
        assert run_main("list", "--json", str(tmp_path / "list.json")) == 0
        assert "heat-1d" in capsys.readouterr().out
        assert json.loads((tmp_path / "list.json").read_text()) == result("list")


class TestRun:
    def test_the_published_run(self, result):
        found = result("run", "heat-1d", "--preset", "paper", "--seed", "1")
        assert sum(found["iterations"]) == found["cumulative_iterations"] == 546
        assert {
            "scenario": "heat-1d",
            "preset": "paper",
            "seed": 1,
            "solver": "jacobi",
            "differentiation": "implicit",
            "full_iterations": 25,
            "status": "finished",
        }.items() <= found.items()
        assert len(found["iterations"]) == len(found["train_loss"]) == len(found["validation"]) - 1 == 100
        assert set(found["seconds"]) == {"setup", "compile", "train"}
        assert all(seconds >= 0 for seconds in found["seconds"].values())
        assert found["refinement"] == {
            "kind": "prdp",
            "tau_step": 0.98,
            "tau_stop": 0.9,
            "window": 3,
            "ema_window": 8,
            "initial": 1,
            "step": 1,
            "maximum": 25,
            "compare_with_start": 0,
        }
        assert not found["deterministic"]
        assert "rtol" not in found

    def test_live_is_the_default_preset(self, result):
        assert result("run", "poisson-1", "--epochs", "2")["preset"] == "live"

    def test_every_flag_arrives(self, result):
        flags = {
            "tau_step": 0.5,
            "tau_stop": 0.25,
            "window": 2,
            "ema_window": 1,
            "initial": 3,
            "step": 2,
            "maximum": 9,
            "compare_with_start": 1,
        }
        arguments = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        found = result(
            "run", "poisson-1", *arguments, "--learning-rate", "20", "--epochs", "12", "--metric", "training"
        )
        assert found["refinement"] == {"kind": "prdp", **flags}
        assert (found["learning_rate"], found["epochs"], found["metric"]) == (20, 12, "training")
        assert found["iterations"][0] == 3
        assert max(found["iterations"]) <= 9
        assert len(found["iterations"]) == 12

    def test_the_mode_arrives(self, result):
        found = result("run", "poisson-1", "--preset", "paper", "--epochs", "3", "--differentiation", "unrolled")
        assert found["differentiation"] == "unrolled"

    def test_the_solver_arrives(self, result):
        found = result("run", "poisson-1", "--solver", "steepest-descent", "--epochs", "3")
        assert found["solver"] == "steepest-descent"
        assert found["validation"][-1] < 0.95 * result("run", "poisson-1", "--epochs", "3")["validation"][-1]

    def test_every_flag_of_a_tolerance_arrives(self, result):
        flags = {
            "tau_step": 0.75,
            "tau_stop": 1.0,
            "window": 2,
            "ema_window": 3,
            "rtol_initial": 0.5,
            "rtol_factor": 0.25,
            "rtol_floor": 0.02,
            "maximum": 300,
        }
        arguments = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        found = result("run", "poisson-1", *arguments, "--epochs", "30")
        assert found["refinement"] == {"kind": "prdp-tolerance", **flags}
        assert len(found["rtol"]) == len(found["iterations"]) == 30
        assert found["rtol"][0] == 0.5
        assert list(dict.fromkeys(found["rtol"])) == pytest.approx([0.5, 0.125, 0.03125, 0.02])
        # A looser tolerance uses fewer iterations, of which the cost is the sum.
        spent = [found["iterations"][found["rtol"].index(rtol)] for rtol in dict.fromkeys(found["rtol"])]
        assert spent == sorted(set(spent))
        assert 0 < spent[0] < spent[-1] <= 300
        assert found["cumulative_iterations"] == sum(found["iterations"])

    @pytest.mark.parametrize("flag", ["--rtol-initial", "--rtol-factor", "--rtol-floor"])
    def test_one_flag_of_a_tolerance_is_enough(self, result, flag):
        found = result("run", "poisson-1", flag, "0.2", "--epochs", "1")
        assert found["refinement"] == {
            "kind": "prdp-tolerance",
            "tau_step": 0.92,
            "tau_stop": 0.9,
            "window": 2,
            "ema_window": 1,
            "rtol_initial": 0.3,
            "rtol_factor": 0.5,
            "rtol_floor": 1e-5,
            "maximum": 600,
            flag.removeprefix("--").replace("-", "_"): 0.2,
        }
        assert found["rtol"] == [pytest.approx(found["refinement"]["rtol_initial"])]

    def test_a_deterministic_scenario_says_that_the_seed_is_not_used(self, result, capsys):
        first, second = (result("run", "poisson-1", "--epochs", "3", "--seed", seed) for seed in ("1", "2"))
        assert first["deterministic"] is second["deterministic"] is True
        assert first["validation"] == second["validation"]
        assert run_main("run", "poisson-1", "--epochs", "3", "--seed", "1") == 0
        out = capsys.readouterr().out
        assert out.startswith("poisson-1 (live), deterministic, the seed is not used: finished after 3 epochs\n")
        assert "seed 1" not in out

    @pytest.mark.parametrize(("flags", "iterations"), [([], 25), (["--iterations", "4"], 4)])
    def test_constant(self, result, flags, iterations):
        found = result("run", "heat-1d", "--preset", "paper", "--refinement", "constant", *flags, "--epochs", "3")
        assert found["iterations"] == [iterations] * 3
        assert found["refinement"] == {"kind": "constant", "iterations": iterations}
        assert found["full_iterations"] == 25

    def test_equal_seeds_give_equal_results(self, result):
        first, second, other = (
            result("run", "heat-1d", "--preset", "paper", "--epochs", "5", "--seed", seed) for seed in ("7", "7", "8")
        )
        assert first["validation"] == second["validation"] != other["validation"]
        assert second["compilations"] == other["compilations"] == 0

    def test_for_people(self, capsys):
        assert run_main("run", "heat-1d", "--preset", "paper", "--seed", "1") == 0
        captured = capsys.readouterr()
        assert "546 of 2,500" in captured.out
        assert captured.out.startswith("heat-1d (paper), seed 1: finished after 100 epochs\n")
        assert captured.err == ""

    def test_a_diverged_run_exits_with_0_and_nulls(self, result):
        found = result("run", "heat-1d", "--preset", "paper", "--learning-rate", "1e6")
        assert found["status"] == "diverged"
        assert None in (found["validation"][-1], found["train_loss"][-1])
        assert 0 < len(found["iterations"]) < 100
        assert len(found["validation"]) == len(found["iterations"]) + 1

    def test_json_to_a_file(self, tmp_path: Path, capsys):
        file = tmp_path / "run.json"
        assert run_main("run", "heat-1d", "--preset", "paper", "--epochs", "2", "--json", str(file)) == 0
        assert len(json.loads(file.read_text())["iterations"]) == 2
        assert "finished after 2 epochs" in capsys.readouterr().out


BAD = {
    "no command": [],
    "unknown command": ["walk"],
    "no scenario": ["run"],
    "unknown scenario": ["run", "heat-9d"],
    "unknown flag": ["run", "heat-1d", "--colour", "red"],
    "unknown preset": ["run", "heat-1d", "--preset", "dead"],
    "unknown refinement": ["run", "heat-1d", "--refinement", "magic"],
    "unknown solver": ["run", "heat-1d", "--solver", "jacoby"],
    "unknown mode": ["run", "heat-1d", "--differentiation", "adjoint"],
    "unknown metric": ["run", "heat-1d", "--metric", "test"],
    "tau-step above 1": ["run", "heat-1d", "--tau-step", "1.01"],
    "tau-step 0": ["run", "heat-1d", "--tau-step", "0"],
    "tau-step not a number": ["run", "heat-1d", "--tau-step", "nan"],
    "tau-stop in words": ["run", "heat-1d", "--tau-stop", "high"],
    "window of 1": ["run", "heat-1d", "--window", "1"],
    "window of 65": ["run", "heat-1d", "--window", "65"],
    "fraction of a window": ["run", "heat-1d", "--window", "2.5"],
    "ema-window 0": ["run", "heat-1d", "--ema-window", "0"],
    "initial above maximum": ["run", "heat-1d", "--initial", "26"],
    "step 0": ["run", "heat-1d", "--step", "0"],
    "maximum beyond reason": ["run", "heat-1d", "--maximum", "10001"],
    "learning rate 0": ["run", "heat-1d", "--learning-rate", "0"],
    "infinite learning rate": ["run", "heat-1d", "--learning-rate", "inf"],
    "no epochs": ["run", "heat-1d", "--epochs", "0"],
    "too many epochs": ["run", "heat-1d", "--epochs", "1000000"],
    "negative seed": ["run", "heat-1d", "--seed", "-1"],
    "huge seed": ["run", "heat-1d", "--seed", "4294967296"],
    "endless seed": ["run", "heat-1d", "--seed", "9" * 5_000],
    "iterations with prdp": ["run", "heat-1d", "--iterations", "4"],
    "threshold with constant": ["run", "heat-1d", "--refinement", "constant", "--tau-step", "0.5"],
    "a tolerance with a first K": ["run", "heat-1d", "--rtol-initial", "0.1", "--initial", "2"],
    "a tolerance with a step of K": ["run", "heat-1d", "--rtol-factor", "0.1", "--step", "2"],
    "a tolerance compared with the start": ["run", "heat-1d", "--rtol-floor", "0.1", "--compare-with-start", "1"],
    "a tolerance with constant": ["run", "heat-1d", "--refinement", "constant", "--rtol-initial", "0.1"],
    "a floor above the first tolerance": ["run", "heat-1d", "--rtol-initial", "0.1", "--rtol-floor", "0.2"],
    "tolerance 0": ["run", "heat-1d", "--rtol-floor", "0"],
    "tolerance above 1": ["run", "heat-1d", "--rtol-initial", "1.5"],
    "tolerance that is no number": ["run", "heat-1d", "--rtol-factor", "nan"],
    "tolerance in words": ["run", "heat-1d", "--rtol-initial", "small"],
    "compare with start 2": ["run", "heat-1d", "--compare-with-start", "2"],
    "a solver that does not suit": ["run", "navier-stokes-2d", "--solver", "jacobi"],
    "a mode that does not suit": ["run", "heat-1d", "--solver", "cg", "--differentiation", "truncated"],
    "constant 0": ["run", "heat-1d", "--refinement", "constant", "--iterations", "0"],
    "a flag without its value": ["run", "heat-1d", "--seed"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_bad_input_exits_with_2_and_one_line(arguments, capsys):
    assert run_main(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("prdp_explorer")
    assert captured.err.count("\n") == 1
    assert captured.err.endswith((".\n", "?\n"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            BAD["a tolerance with a first K"],
            "--initial refine K, and --rtol-initial, --rtol-factor, --rtol-floor the tolerance; give the ones or the "
            "others. With a tolerance K is bounded by --maximum.",
        ),
        (BAD["a tolerance with constant"], "--rtol-initial belong to --refinement prdp; with constant give"),
        (BAD["a floor above the first tolerance"], "`rtol_floor` must not exceed `rtol_initial`; got rtol_floor 0.2"),
        (BAD["a solver that does not suit"], "got 'jacobi'. Jacobi needs a diagonal that dominates its rows, which Na"),
        (BAD["a mode that does not suit"], "'truncated' does not go with the solver 'cg': CG takes in b at its start"),
    ],
)
def test_bad_combinations_are_explained(arguments, message, capsys):
    assert run_main(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_typing_error_gets_a_suggestion(capsys):
    assert run_main("run", "haet-1d") == 2
    assert "Did you mean heat-1d?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["folder", "missing folder", "below a file", "empty", "too long"])
def test_an_impossible_file_is_refused_before_training(kind, tmp_path: Path, capsys, monkeypatch):
    def start(*_arguments: Any, **_choices: Any) -> None:
        pytest.fail("the training was started")

    (tmp_path / "file").touch()
    file = {
        "folder": tmp_path,
        "missing folder": tmp_path / "missing" / "run.json",
        "below a file": tmp_path / "file" / "run.json",
        "empty": "",
        "too long": tmp_path / ("x" * 300),
    }[kind]
    monkeypatch.setattr("prdp_explorer.__main__.Engine", start)
    assert run_main("run", "heat-1d", "--json", str(file)) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "`--json`" in captured.err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "--help"]], ids=str)
def test_help(arguments, capsys):
    assert run_main(*arguments) == 0
    assert "usage: prdp_explorer" in capsys.readouterr().out


class TestKept:
    """What is done with runs that are kept."""

    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.delenv("PRDP_EXPLORER_STORE")
        return str(tmp_path / "runs.sqlite")

    def test_a_run_is_kept_listed_shown_exported_deleted_and_brought_back(self, store: str, tmp_path, result, capsys):
        trained = result("run", "heat-1d", "--epochs", "7", "--seed", "3", "--store", store)
        (listed,) = result("runs", "--store", store)
        assert {name: listed[name] for name in ("id", "scenario", "status", "epochs", "epochs_requested", "seed")} == {
            "id": trained["id"],
            "scenario": "heat-1d",
            "status": "finished",
            "epochs": 7,
            "epochs_requested": 7,
            "seed": 3,
        }
        assert listed["validation"] == trained["validation"][-1]
        shown = result("show", trained["id"], "--store", store)
        assert shown["settings"]["refinement"] == trained["refinement"]
        assert shown["events"][-1]["message"] == "Finished all 7 epochs."
        file = tmp_path / "records.csv"
        assert run_main("export", trained["id"], str(file), "--store", store) == 0
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert [float(row["validation"]) for row in rows] == trained["validation"]
        assert [int(row["iterations"]) for row in rows[1:]] == trained["iterations"]
        capsys.readouterr()
        assert run_main("delete", trained["id"], "--store", store) == 0
        assert "--undo` brings it back" in capsys.readouterr().out
        assert result("runs", "--store", store) == []
        undone = result("delete", trained["id"], "--undo", "--store", store)
        assert undone == {"id": trained["id"], "deleted": False}
        capsys.readouterr()
        assert run_main("runs", "--store", store) == 0
        assert run_main("show", trained["id"], "--store", store) == 0
        words = capsys.readouterr().out
        assert words.startswith(f"{trained['id']}  20")
        assert "heat-1d (live), PRDP: finished after 7 of 7 epochs, error " in words
        assert "  epoch 8: Finished all 7 epochs." in words

    def test_a_run_is_taken_away_in_every_form_and_comes_in_elsewhere(self, store: str, tmp_path, result, capsys):
        trained = result("run", "heat-1d", "--epochs", "7", "--store", store)
        run_id = trained["id"]
        beginnings = {
            "csv": b"epoch,iterations,",
            "nc": b"CDF\2",
            "png": b"\x89PNG\r\n",
            "svg": b"<?xml",
            "prdp": b"SQLite format 3\0",
            "py": b"# The run ",
        }
        for kind, beginning in beginnings.items():
            file = str(tmp_path / f"run.{kind.upper()}")
            told = result("export", run_id, file, "--store", store)
            assert told == {"id": run_id, "file": file, "format": kind}
            assert Path(file).read_bytes().startswith(beginning)
        assert run_main("export", run_id, "-", "--store", store) == 0
        assert capsys.readouterr().out == (tmp_path / "run.CSV").read_text()
        report = str(tmp_path / "run.html")
        told = result("report", run_id, report, "--store", store)
        assert told == {"id": run_id, "file": report, "format": "html"}
        assert f", {run_id}</title>" in Path(report).read_text()
        assert "inner iterations of full physics" not in Path(report).read_text()
        result("run", "heat-1d", "--epochs", "7", "--refinement", "constant", "--store", store)
        result("report", run_id, report, "--store", store)
        assert "inner iterations of full physics" in Path(report).read_text()
        elsewhere, portable = str(tmp_path / "elsewhere.sqlite"), str(tmp_path / "run.PRDP")
        assert result("import", portable, "--store", elsewhere) == {"ids": [run_id], "file": portable}
        (listed,) = result("runs", "--store", elsewhere)
        assert listed == result("runs", "--store", store)[1]
        assert result("delete", run_id, "--store", elsewhere) == {"id": run_id, "deleted": True}
        assert run_main("export", run_id, str(tmp_path / "again.prdp"), "--store", store) == 0
        assert capsys.readouterr().out == f"{run_id} is in {tmp_path / 'again.prdp'} as prdp.\n"
        assert run_main("import", portable, "--store", str(tmp_path / "third.sqlite")) == 0
        assert capsys.readouterr().out == f"{run_id} came from {portable}.\n"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (
                ["export", "ID", "run.txt"],
                "FILE must end in one of .csv, .nc, .prdp, .py, .png, .svg, or be - for CSV; got",
            ),
            (["export", "ID", "run"], "FILE must end in one of"),
            (["export", "ID", "-", "--json", "-"], "cannot both be standard output"),
            (["export", "ID", "missing/run.csv"], "FILE must be a file in an existing folder"),
            (["export", "ID", "run.csv", "--json", "missing/x"], "`--json` must be a file in an existing folder"),
            (["export", "ID", "folder.png"], "FILE must be a file in an existing folder"),
            (["export", "ID", "runs.prdp"], "is the store itself"),
            (["export", "ID", "x" * 300 + ".nc"], "FILE must be a file in an existing folder"),
            (["report", "ID", "run.txt"], "FILE must end in .html"),
            (["report", "ID", "missing/run.html"], "FILE must be a file in an existing folder"),
            (["report", "none", "run.html"], "There is no run 'none'"),
            (["import", "notes.txt"], "'notes.txt' is no store of runs, or is damaged"),
            (["import", "missing.prdp"], "'missing.prdp' is no file"),
            (["import", "runs.prdp"], "already."),
            (["import", "runs.prdp", "--json", "missing/x"], "`--json` must be a file in an existing folder"),
            (["delete", "ID", "--json", "missing/x"], "`--json` must be a file in an existing folder"),
        ],
    )
    def test_what_cannot_be_taken_away_or_in_is_told_in_a_line(self, arguments, words, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder.png").mkdir()
        (tmp_path / "notes.txt").write_text("nothing " * 1000)
        store = Store("runs.prdp")
        store.add("a-1", "run", "a-1", settings_for("heat-1d").to_json())
        store.close()
        before = sorted(tmp_path.iterdir())
        assert run_main(*(word.replace("ID", "a-1") for word in arguments), "--store", "runs.prdp") == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert words in captured.err
        assert captured.err.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before
        assert [run.id for run in Store("runs.prdp").runs()] == ["a-1"]

    def test_a_run_that_was_killed_is_listed_so_and_resumed(self, store: str, result):
        command = [sys.executable, "-m", "prdp_explorer", "run", "heat-1d", "--epochs", "4000", "--store", store]
        with subprocess.Popen(command) as killed:
            deadline = time.monotonic() + 120
            while not (kept := Path(store).exists() and Store(store).runs()) or kept[0].epochs < 30:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            killed.kill()
        (run,) = result("runs", "--store", store)
        assert (run["status"], run["epochs_requested"]) == ("interrupted", 4_000)
        assert 30 <= run["epochs"] < 4_000
        resumed = result("resume", run["id"], "--store", store)
        assert (resumed["id"], resumed["status"], len(resumed["iterations"])) == (run["id"], "finished", 4_000)
        assert result("runs", "--store", store)[0]["status"] == "finished"

    @pytest.mark.parametrize("command", ["show", "resume", "delete", "export", "report"])
    def test_an_unknown_run_and_a_missing_store_are_told_in_a_line(self, store: str, command: str, capsys):
        files = {"export": ["-"], "report": [f"{store}.html"]}
        arguments = [command, "heat-1d-0", *files.get(command, []), "--store", store]
        assert run_main(*arguments) == 2
        assert "There is no store of runs" in capsys.readouterr().err
        Store(store).close()
        assert run_main(*arguments) == 2
        told = capsys.readouterr().err
        assert "There is no run 'heat-1d-0'" in told
        assert told.count("\n") == 1

    def test_without_a_store_that_can_be_used_a_run_trains_all_the_same(self, tmp_path: Path, capsys):
        (tmp_path / "notes.txt").write_text("no database " * 100)
        assert run_main("run", "heat-1d", "--epochs", "3", "--store", str(tmp_path / "notes.txt")) == 0
        captured = capsys.readouterr()
        assert "finished after 3 epochs" in captured.out
        assert "is no store of runs, or is damaged" in captured.err
        assert captured.err.endswith("This run is not kept.\n")
        assert (tmp_path / "notes.txt").read_text() == "no database " * 100


class TestProcesses:
    def test_one_compilation_in_a_fresh_process_also_when_the_cache_answers(self, tmp_path: Path):
        for _ in range(2):
            completed = in_a_process(
                *("run", "heat-1d", "--preset", "paper", "--seed", "1", "--json", "-"),
                PRDP_EXPLORER_CACHE=str(tmp_path / "cache"),
            )
            assert completed.returncode == 0, completed.stderr
            assert completed.stderr == ""
            found = json.loads(completed.stdout)
            assert found["compilations"] == 1
            assert found["cumulative_iterations"] == 546
            assert list((tmp_path / "cache").iterdir())

    def test_bad_input(self):
        completed = in_a_process("run", "heat-1d", "--tau-step", "2")
        assert (completed.returncode, completed.stdout) == (2, "")
        assert completed.stderr == ("prdp_explorer: `tau_step` must be a number above 0 and at most 1; got 2.0.\n")
