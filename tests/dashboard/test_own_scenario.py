"""A problem of one's own goes wherever a built-in scenario goes: race, what-if, fork, page, files, command line."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dashboard_helpers import click, tick_until
from training_helpers import PATIENCE, recorder_of, timeless, undisturbed

from prdp_explorer import Constant, Engine, Race, register, train
from prdp_explorer.__main__ import main
from prdp_explorer.dashboard import Explorer, report
from prdp_explorer.dashboard._address import address_query, setting_in
from prdp_explorer.dashboard._figure import make_race_figure
from prdp_explorer.dashboard._shown import Shown
from prdp_explorer.dashboard._theme import FULL_LABEL, PRDP_LABEL
from prdp_explorer.engine import EXPORTS, Store, import_runs, race_lines, settings_for
from prdp_explorer.problems import problem_at, unregister

ROD = f"{Path(__file__).parents[1] / 'uneven_rod.py'}:UnevenRod"


@pytest.fixture(autouse=True)
def known() -> None:
    register(problem_at(ROD), place=ROD)


@pytest.fixture
def race(keeping: Engine) -> Race:
    """PRDP and full physics of the rod, trained and kept."""
    race = keeping.race("uneven-rod", {PRDP_LABEL: None, FULL_LABEL: Constant()}, seed=1)
    for run in race.runs.values():
        assert run.wait(timeout=PATIENCE)
        assert run.state == "finished", run.message
    recorder_of(keeping).write()
    return race


def test_it_is_raced_and_saves(race: Race):
    prdp, full = race.runs.values()
    assert prdp.compilations + full.compilations <= 1
    spent, whole = (run.log.records[-1].cumulative_iterations for run in (prdp, full))
    assert spent < 0.25 * whole == 0.25 * 30 * 16
    assert timeless(prdp.log.records[1:]) == timeless(train(problem_at(ROD), seed=1))


def test_what_if_and_rollout_answer(keeping: Engine, race: Race):
    prdp = race.runs[PRDP_LABEL]
    same = keeping.what_if(prdp, {}).result(PATIENCE)
    assert same.first_difference(prdp.log.read()) is None
    assert keeping.what_if(prdp, {"tau_step": 0.5}).result(PATIENCE).next_iterations[-1] == 16
    rollout = keeping.rollout(prdp, sample=1).result(PATIENCE)
    assert list(rollout.fields) == ["trained network", "true solver"]
    truth = problem_at(ROD).data()[1][1]
    np.testing.assert_allclose(rollout.fields["true solver"][1], truth[1], rtol=1e-5, atol=1e-6)


def test_it_is_forked_and_replayed_to_the_last_bit(keeping: Engine, race: Race):
    prdp = race.runs[PRDP_LABEL]
    fork = keeping.fork(prdp.id, 12, tau_step=0.5, differentiation="unrolled").runs[PRDP_LABEL]
    assert fork.wait(timeout=PATIENCE)
    _, rows = undisturbed(fork)
    for name in ("iterations", "validation", "train_loss"):
        np.testing.assert_array_equal(fork.log.read()[name], rows[name])
    replay = keeping.replay(prdp.id)
    assert {label: run.log.read().tobytes() for label, run in replay.runs.items()} == {
        label: run.log.read().tobytes() for label, run in race.runs.items()
    }


def test_full_physics_is_trained_again_since_its_code_may_have_changed(keeping: Engine, race: Race):
    again = keeping.race("uneven-rod", {FULL_LABEL: Constant()}, seed=1, reuse=True)
    assert not again.runs[FULL_LABEL].played


def test_it_is_shown_and_steered_on_the_page(keeping: Engine, told: list[str]):
    explorer = Explorer(engine=keeping)
    explorer.controls.scenario.value = "uneven-rod"
    assert explorer.controls.solver.options == ["damped-jacobi"]
    assert explorer.controls.differentiation.options == ["implicit", "unrolled"]
    explorer.bar.speed.value = "as fast as possible"
    click(explorer.bar.start)
    tick_until(explorer, lambda: not explorer.shown.active)
    for tab in range(len(explorer.tabs)):
        explorer.tabs.active = tab
        explorer.tick()
    assert set(explorer.views["Fields"]._told) == {PRDP_LABEL, FULL_LABEL}
    assert explorer.shown.movable
    first = explorer.shown.first
    explorer.fork(first.id, 12, {"tau_step": 0.5})
    tick_until(explorer, lambda: not explorer.shown.active)
    assert explorer.shown.first.parent == (first.id, 12)
    assert len(explorer.shown.runs) == 3
    setting = explorer.setting()
    assert setting_in(address_query(setting)) == setting
    explorer.close()


def test_a_run_of_one_that_a_page_does_not_know_yet_is_shown(keeping: Engine, race: Race):
    unregister("uneven-rod")
    explorer = Explorer(engine=keeping)
    assert "uneven-rod" not in explorer.controls.scenario.param.value.objects
    register(problem_at(ROD), place=ROD)
    explorer.open_run(race.runs[PRDP_LABEL].id)
    assert explorer.controls.scenario.value == "uneven-rod"
    assert explorer.controls.scenario.cards[-1]["title"] == "Uneven Rod"
    explorer.close()


def test_it_is_taken_away(keeping: Engine, race: Race, tmp_path: Path):
    run_id = race.runs[PRDP_LABEL].id
    for ending, write in EXPORTS.items():
        write(keeping.store, run_id, str(tmp_path / f"run{ending}"))
    script = (tmp_path / "run.py").read_text()
    assert f"problem_at({ROD!r})" in script
    namespace: dict = {}
    exec(script.replace("    print(", "    all_of_it.append(").replace("for record", "all_of_it = []\nfor record")
         .replace("(record.epoch, record.iterations, record.validation)", "(record)"), namespace)  # fmt: skip
    assert timeless(namespace["all_of_it"]) == timeless(race.runs[PRDP_LABEL].log.records[1:])
    lines = race_lines({label: (run.started_with, []) for label, run in race.runs.items()})
    compile(lines, "race", "exec")
    assert "Uneven Rod" in report(keeping.store, run_id)
    assert make_race_figure(Shown(race, kept=True).contenders).get_suptitle().startswith("Uneven Rod")
    unregister("uneven-rod")  # on another machine
    with contextlib.closing(Store(tmp_path / "other.sqlite")) as other:
        assert import_runs(other, str(tmp_path / "run.prdp")) == [run_id]
        with contextlib.closing(Engine(other)) as engine, pytest.raises(ValueError, match=r"--problem"):
            engine.fork(run_id, 3, tau_step=0.5)


def test_the_command_line_trains_stops_resumes_and_exports_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    unregister("uneven-rod")
    store = str(tmp_path / "runs.sqlite")

    def command(*arguments: str) -> dict:
        assert main([*arguments, "--store", store, "--json", "-"]) == 0
        return json.loads(capsys.readouterr().out)

    result = command("run", "--problem", ROD, "--seed", "1")
    assert (result["scenario"], result["preset"], result["full_iterations"]) == ("uneven-rod", "own", 16)
    with contextlib.closing(Store(store)) as kept:
        kept.write(result["id"], status="stopped", message="", rows=kept.rows(result["id"])[:0], first=31)
    resumed = command("resume", result["id"], "--problem", ROD)
    assert resumed["validation"] == result["validation"]
    unregister("uneven-rod")
    assert main(["resume", result["id"], "--store", store]) == 2
    file = str(tmp_path / "run.py")
    assert main(["export", result["id"], file, "--store", store]) == 2
    assert capsys.readouterr().err.count("--problem FILE.py:NAME") == 1
    command("export", result["id"], file, "--problem", ROD)
    assert "problem_at(" in Path(file).read_text()


def test_the_variable_makes_it_known_to_every_command(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "prdp_explorer", "list", "--json", "-"],
        env={"PRDP_EXPLORER_PROBLEMS": ROD, "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {each["id"]: each for each in json.loads(done.stdout)}
    assert listed["uneven-rod"]["full_iterations"] == {"own": 16}
    assert settings_for("uneven-rod").to_json()["solver"] in listed["uneven-rod"]["solvers"]
