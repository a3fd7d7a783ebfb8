"""Promises about the package as a whole."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import prdp_explorer
from prdp_explorer.solvers import DIFFERENTIATIONS, differentiation_named

PACKAGE = Path(prdp_explorer.__file__).parent
ROOMS = ["", "engine", "problems", "physics", "solvers"]


def source(folder: Path, module: str) -> Path:
    path = folder.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(init: Path) -> dict[str, Path]:
    """The names that a package offers, with the modules that they are taken from."""
    names = {}
    for node in ast.parse(init.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            folder = init.parents[node.level - 1]
            for alias in node.names:
                names[alias.asname or alias.name] = source(folder, node.module)
    return names


def documented(path: Path, name: str) -> bool:
    """Whether a class or function has a docstring, or a constant a string below it."""
    body = ast.parse(path.read_text()).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return bool(ast.get_docstring(node))
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(node, ast.ImportFrom) and node.level and any(alias.name == name for alias in node.names):
            return documented(source(path.parents[node.level - 1], node.module or ""), name)
    return False


OFFERED = {
    f"{room or 'prdp_explorer'}.{name}": (path, name)
    for room in ROOMS
    for name, path in public_names(PACKAGE / room / "__init__.py").items()
}


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_the_engine_loads_no_user_interface():
    code = "import sys, prdp_explorer.engine; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    completed = run_python(code)
    assert completed.returncode == 0, completed.stderr
    loaded = set(completed.stdout.split())
    assert "prdp_explorer" in loaded
    assert not loaded & {"panel", "bokeh", "holoviews", "panel_material_ui", "tornado"}


def test_leaving_the_interpreter_ends_an_engine_that_trains():
    code = (
        "from prdp_explorer import Engine\n"
        "run = Engine().start('heat-1d', epochs=100_000)\n"
        "assert run.wait(lambda run: run.epoch > 3, 60)\n"
        "print(run.state)"
    )
    completed = run_python(code)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "running\n", "")


def test_there_are_public_names():
    assert len(OFFERED) > 40


@pytest.mark.parametrize("offered", OFFERED)
def test_every_public_name_has_a_docstring(offered):
    path, name = OFFERED[offered]
    assert documented(path, name)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_names_that_others_rely_on():
    assert {"PRDP", "Constant", "Scheduled", "train", "Engine", "Problem", "solve", "__version__"} <= set(
        dir(prdp_explorer)
    )


@pytest.mark.parametrize("mode", DIFFERENTIATIONS)
def test_every_differentiation_mode_says_what_it_is_worth_and_costs(mode):
    words = inspect.getdoc(type(differentiation_named(mode, 1))) or ""
    for wanted in ("Exactness: ", "Memory: ", "Cost: ", "Source: "):
        assert wanted in words
