"""Problems of one's own: found in files and modules, checked and trained from the command line."""

import json
import re
from pathlib import Path

import pytest

from prdp_explorer.__main__ import main
from prdp_explorer.problems import problem_at

PROBLEM = '''
"""A linear map learns one heat step through the inner solve of the next."""
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from prdp_explorer import PRDP, Problem
from prdp_explorer.physics import HeatOperator, interior_points
from prdp_explorer.solvers import FunctionSolver


def sweep(operator, b, x0, iterations):
    step = lambda _, x: x + (b - operator.matvec(x)) / operator.diagonal()
    return jax.lax.fori_loop(0, iterations, step, x0)


class Mine(Problem):
    full_iterations, epochs, batch_size, learning_rate = 12, 5, 4, 0.02
    controller = PRDP(tau_step=0.95, tau_stop=0.95, window=2, ema_window=2, initial=1, maximum=12)
    solvers, own_solvers = ("sweep",), {"sweep": FunctionSolver(sweep)}
    operator = HeatOperator(0.02, 6)

    def data(self):
        start = np.random.default_rng(0).normal(size=(21, 6))
        first = self.operator.solve_exactly(start)
        both = np.stack([start, first, self.operator.solve_exactly(first)], axis=1)
        return both[:16], both[16:]

    def model(self, key):
        return eqx.nn.Linear(6, 6, key=key)

    def loss(self, model, batch, solve):
        after = jax.vmap(lambda u: solve(self.operator, model(u)))(batch[:, 0])
        return jnp.mean((after - batch[:, 2]) ** 2)

    def metric(self, model, validation, solve):
        return jnp.mean((jax.vmap(model)(validation[:, 0]) - validation[:, 1]) ** 2)

    def fields(self, model, validation, solve):
        return {"output": jax.vmap(model)(validation[:, 0]), "target": validation[:, 1]}

    def points(self):
        return interior_points(6)


class Unfinished(Problem):
    pass


class WithoutNumbers(Mine):
    def __getattribute__(self, name):
        if name == "epochs":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Deaf(Mine):
    def loss(self, model, batch, solve):
        return jnp.mean((jax.vmap(model)(batch[:, 0]) - batch[:, 1]) ** 2)


mine = Mine()
something = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(PROBLEM)
    return file


class TestPlaces:
    def test_a_class_or_an_object_of_a_file_is_the_same_each_time(self, file: Path):
        assert problem_at(f"{file}:Mine") is problem_at(f"{file}:Mine")
        assert type(problem_at(f"{file}:mine")).__name__ == "Mine"

    def test_what_lies_beside_it_is_found_and_modules_of_equinox_may_be_annotated_late(self, tmp_path: Path):
        (tmp_path / "beside_mine.py").write_text(PROBLEM)
        (tmp_path / "late.py").write_text(
            "from __future__ import annotations\nimport equinox as eqx\nfrom typing import ClassVar\n"
            "class Part(eqx.Module):\n    name: ClassVar[str] = 'part'\n    size: int = 3\n"
            "def mine():\n    pass\nfrom beside_mine import Mine as Other\nclass Mine(Other):\n    part = Part()\n"
        )
        assert problem_at(f"{tmp_path / 'late.py'}:Mine").epochs == 5

    def test_a_module_is_imported(self, file: Path, monkeypatch: pytest.MonkeyPatch):
        file.rename(file.with_name("a_module_of_mine.py"))
        monkeypatch.syspath_prepend(str(file.parent))
        assert problem_at("a_module_of_mine:Mine").epochs == 5

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("Other", "has no Other. It has Mine, Unfinished, WithoutNumbers, Deaf, mine."),
            ("something", "must be a Problem; got int. It has Mine"),
            ("Unfinished", "could not be made: TypeError: Can't instantiate abstract class"),
            ("WithoutNumbers", "must set epochs"),
            ("not a name", "must be FILE.py:NAME or package.module:NAME"),
        ],
    )
    def test_what_is_none_is_told(self, file: Path, name: str, words: str):
        with pytest.raises(ValueError, match=re.escape(words)):
            problem_at(f"{file}:{name}")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("1 +", "SyntaxError in line 1"),
            ("a = 1\nb = 1 / 0", "ZeroDivisionError in line 2: division by zero"),
            ("import nothing_of_this_name", "ModuleNotFoundError in line 1"),
        ],
    )
    def test_a_broken_file_is_told_with_its_line(self, tmp_path: Path, text: str, words: str):
        file = tmp_path / "broken.py"
        file.write_text(text)
        with pytest.raises(ValueError, match=re.escape(words)):
            problem_at(f"{file}:Mine")

    @pytest.mark.parametrize("place", ["there_is_none.py:Mine", "no.such.module:Mine", "Mine", ":Mine", ""])
    def test_nowhere_is_told(self, place: str):
        with pytest.raises(ValueError, match=r"There is no file|could not be read|must be FILE"):
            problem_at(place)


class TestCommandLine:
    def test_it_is_checked_and_trained(self, file: Path, capsys: pytest.CaptureFixture[str]):
        assert main(["check", "--problem", f"{file}:Mine"]) == 0
        told = capsys.readouterr().out.splitlines()
        assert len(told) == 9 and all(line.startswith("ok ") for line in told)
        assert main(["run", "--problem", f"{file}:Mine", "--store", ":memory:", "--json", "-"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["scenario"], result["preset"], result["solver"]) == ("mine", "own", "sweep")
        assert len(result["iterations"]) == 5 and result["status"] == "finished"

    def test_a_broken_one_is_named_with_exit_status_1(self, file: Path, capsys: pytest.CaptureFixture[str]):
        assert main(["check", "--problem", f"{file}:Deaf", "--json", "-"]) == 1
        findings = {finding["about"]: finding for finding in json.loads(capsys.readouterr().out)}
        assert not findings["K"]["passed"] and "K is ignored" in findings["K"]["sentence"]

    def test_a_built_in_one_can_be_looked_at(self, capsys: pytest.CaptureFixture[str]):
        assert main(["check", "poisson-1", "--solver", "cg"]) == 0
        assert "BROKEN" not in capsys.readouterr().out

    @pytest.mark.parametrize("arguments", [["run"], ["check"], ["check", "heat-1d", "--problem", "a.py:B"]])
    def test_one_of_both_has_to_be_given(self, arguments: list[str], capsys: pytest.CaptureFixture[str]):
        assert main(arguments) == 2
        assert "Give SCENARIO" in capsys.readouterr().err

    def test_a_file_that_is_not_there_is_one_line_and_exit_status_2(self, capsys: pytest.CaptureFixture[str]):
        assert main(["run", "--problem", "nowhere.py:Mine"]) == 2
        assert capsys.readouterr().err == "prdp_explorer: There is no file nowhere.py.\n"
