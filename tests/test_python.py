"""The lines of Python that a run leaves: run, they give its records again."""

from collections.abc import Iterator
from typing import Any

import pytest
from training_helpers import PATIENCE, TOY, recorder_of, timeless, wait_for_adjustment, wait_for_epoch

from prdp_explorer import PRDP, Constant, Engine, Run, train
from prdp_explorer.engine import IN_MEMORY, Event, Store, python_lines, settings_for
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
    run = keeping.start("heat-1d", controller, epochs=12, seed=3, solver="gmres", learning_rate=2e-3, metric="training")
    lines, records = executed(keeping, run)
    assert records == timeless(run.log.records[1:])
    assert "edits" not in lines


def test_with_the_edits_that_were_made_on_the_way(keeping: Engine):
    run = keeping.start("heat-1d", epochs=3000, pace=50.0)
    for changes in ({"tau_step": 0.9}, {"differentiation": "unrolled"}, {"learning_rate": 3e-3, "iterations": 7}):
        wait_for_epoch(run, run.epoch + 5)
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
    store.write(evil, status=evil, message=evil, rows=(), first=0, events=[Event(3, "adjust", {evil: evil})])  # type: ignore
    lines = python_lines(store.run(evil), store.log(evil))
    assert [line for line in lines.splitlines() if "os" in line and not line.lstrip().startswith(("#", "(3, {"))] == []
    store.add("a-1", "", "", {**settings, "seed=0); import os; (": 1})
    assert "import os" not in python_lines(store.run("a-1"), store.log("a-1"))
    store.add("a-2", "", "", {**settings, "solver": "x'); import os; ('"})
    with pytest.raises(ValueError, match="`solver` must be one of"):
        python_lines(store.run("a-2"), store.log("a-2"))


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
