"""The lines of Python and of the command line that a run leaves: run, they give its records again."""

import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from training_helpers import PATIENCE, TOY, recorder_of, timeless, wait_for_adjustment, wait_for_epoch

from prdp_explorer import PRDP, Constant, Engine, Run, train
from prdp_explorer.__main__ import _parser, _settings
from prdp_explorer.engine import IN_MEMORY, RECORD, Event, Store, command_line, python_lines, race_lines, settings_for
from prdp_explorer.refinement import Scheduled, TolerancePRDP


def executed(engine: Engine, run: Run) -> tuple[str, list[str]]:
    """The lines of a run that is over, and the records that they give, the one before training left out."""
    assert run.wait(timeout=PATIENCE)
    recorder_of(engine).write()
    lines = python_lines(engine.store.run(run.id), engine.store.log(run.id))
    result: dict[str, Any] = {"print": lambda *values: None}
    collected = lines.replace("records = train(", "records = recorded(")
    kept: list[Any] = []

    def recorded(*arguments: Any, **choices: Any) -> Iterator[Any]:
        for record in train(*arguments, **choices):
            kept.append(record)
            yield record

    exec(compile(collected, "lines", "exec"), result | {"recorded": recorded})
    return lines, timeless(kept)


@pytest.mark.parametrize(
    "controller",
    [None, PRDP(tau_step=0.9, window=2), Constant(), Constant(3), Scheduled.linear(every=3), TolerancePRDP(maximum=9)],
    ids=lambda controller: "preset's" if controller is None else type(controller).__name__,
)
def test_they_give_the_records_again(keeping: Engine, controller: Any):
    run = keeping.start("heat-1d", controller, epochs=12, seed=3, solver="cg", learning_rate=2e-3, metric="training")
    lines, records = executed(keeping, run)
    assert records == timeless(run.log.records[1:])
    assert "edits" not in lines


def test_with_the_edits_that_were_made_on_the_way(keeping: Engine):
    run = keeping.start("heat-1d", epochs=400, pace=10.0)
    for changes in ({"tau_step": 0.9}, {"differentiation": "unrolled"}, {"learning_rate": 3e-3, "iterations": 7}):
        wait_for_epoch(run, run.epoch + 2)
        run.adjust(**changes)
        wait_for_adjustment(run, next(iter(changes)))
    run.race.set_pace(None)
    lines, records = executed(keeping, run)
    assert records == timeless(run.log.records[1:])
    assert lines.count("\n        (") == 3


def test_of_a_fork(keeping: Engine):
    run = keeping.start("heat-1d", epochs=40)
    assert run.wait(timeout=PATIENCE)
    (fork,) = keeping.fork(run.id, 25, tau_step=0.5, solver="cg", epochs=50).runs.values()
    _, records = executed(keeping, fork)
    assert records == timeless(fork.log.records[1:])
    assert len(records) == 50


def test_a_problem_of_ones_own_is_its_authors(keeping: Engine):
    run = keeping.start(TOY, epochs=2)
    with pytest.raises(ValueError, match="Toy is a problem of one's own"):
        executed(keeping, run)


def test_what_a_hostile_file_says_does_not_become_code():
    store = Store(IN_MEMORY)
    settings = settings_for("heat-1d").to_json()
    evil = 'x\nimport os\nos._exit(7)\n"""'
    store.add(evil, evil, evil, settings)
    no_rows = np.empty(0, RECORD)
    store.write(evil, status=evil, message=evil, rows=no_rows, first=0, events=[Event(3, "adjust", {evil: evil})])
    lines = python_lines(store.run(evil), store.log(evil))
    assert [line for line in lines.splitlines() if "os" in line and not line.lstrip().startswith(("#", "(3, {"))] == []
    store.add("a-1", "", "", {**settings, "seed=0); import os; (": 1})
    assert "import os" not in python_lines(store.run("a-1"), store.log("a-1"))
    store.add("a-2", "", "", {**settings, "solver": "x'); import os; ('"})
    with pytest.raises(ValueError, match="`solver` must be one of"):
        python_lines(store.run("a-2"), store.log("a-2"))


class TestOfARace:
    def test_each_contender_is_trained_with_its_edits(self):
        edits = [(3, {"tau_step": 0.7}), (5, {"learning_rate": 2e-3})]
        contenders: dict[str, Any] = {
            "PRDP": (settings_for("heat-1d", epochs=6, seed=2), edits),
            "full physics": (settings_for("heat-1d", Constant(), epochs=6, seed=2), []),
            'it\'s "K\\n" = 4': (settings_for("heat-1d", Constant(4), epochs=6, seed=2, solver="cg"), []),
        }
        told: list[Any] = []
        exec(race_lines(contenders), {"print": lambda *values: told.append(values)})
        assert list(dict.fromkeys(label for label, *_ in told)) == list(contenders)
        for label, (settings, changes) in contenders.items():
            records = train("heat-1d", settings.refinement, epochs=6, seed=2, solver=settings.solver, edits=changes)
            expected = [(label, record.epoch, record.iterations, record.validation) for record in records]
            assert [values for values in told if values[0] == label] == expected

    def test_a_problem_of_ones_own_is_its_authors(self):
        with pytest.raises(ValueError, match="Toy is a problem of one's own"):
            race_lines({"PRDP": (settings_for(TOY), [])})


class TestCommandLine:
    @pytest.mark.parametrize(
        ("controller", "choices"),
        [
            (None, {}),
            (PRDP(tau_step=1 / 3, tau_stop=0.5, window=7, ema_window=1, step=3, maximum=9), {"seed": 2**32 - 1}),
            (Constant(), {"learning_rate": 1e-05, "epochs": 100_000}),
            (TolerancePRDP(rtol_floor=1e-7), {"solver": "gmres", "differentiation": "one-step", "metric": "training"}),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("scenario", ["heat-1d", "heat-2d", "navier-stokes-2d"])
    def test_the_real_parser_reads_the_same_settings(self, scenario: str, controller: Any, choices: Any):
        settings = settings_for(scenario, controller, preset="paper", **choices)
        line = command_line(settings)
        assert line.startswith(f"python -m prdp_explorer run {scenario} --preset paper ")
        assert _settings(_parser().parse_args(shlex.split(line)[3:])) == settings
        # Nothing is left to defaults, which later versions may change.
        assert all(f"--{name.replace('_', '-')} " in line for name in ("metric", "seed", "solver", *settings.values))

    def test_what_it_cannot_train_is_said(self):
        with pytest.raises(ValueError, match="knows no schedule"):
            command_line(settings_for("heat-1d", Scheduled.linear()))
        with pytest.raises(ValueError, match="Toy is a problem of one's own"):
            command_line(settings_for(TOY))


class TestEdits:
    def test_two_of_the_same_epoch_act_one_after_the_other(self):
        edits = [(5, {"maximum": 2}), (5, {"maximum": 25}), (3, {"iterations": 9})]
        records = list(train("heat-1d", epochs=5, edits=edits))
        assert [records[index].iterations for index in (0, 2, 4)] == [1, 9, 2]

    def test_more_epochs_than_at_first(self):
        assert len(list(train("heat-1d", epochs=3, edits=[(4, {"epochs": 6})]))) == 6

    @pytest.mark.parametrize(
        ("edits", "words"),
        [
            ([(0, {"tau_step": 0.5})], "`edits` must name epochs from 1 on; got 0"),
            ([(3, {"tau_step": 7})], "`tau_step`"),
            ([(3, {"seed": 1})], "`seed` cannot be changed"),
        ],
    )
    def test_bad_ones_are_refused_before_anything_is_trained(self, edits: Any, words: str):
        with pytest.raises(ValueError, match=words):
            train("heat-1d", edits=edits)
