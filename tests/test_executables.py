"""What is kept on disk for a second process: right, refused where it must be, and never in the way."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from prdp_explorer.engine._executables import CACHE_VARIABLE, Program, cache_folder

_TRAIN = """
from prdp_explorer import train
print([record.validation for record in train("poisson-1", preset="paper", epochs=3, seed=1)])
"""


def trained_in_a_fresh_process(folder: Path) -> str:
    environment = {**os.environ, CACHE_VARIABLE: str(folder)}
    return subprocess.run(
        [sys.executable, "-c", _TRAIN], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_loaded_executables_give_what_compiled_ones_gave_and_damaged_ones_are_compiled_anew(tmp_path):
    expected = trained_in_a_fresh_process(tmp_path)
    stored = sorted(tmp_path.glob("*.executable"))
    assert stored
    written = [path.stat().st_mtime_ns for path in stored]
    assert trained_in_a_fresh_process(tmp_path) == expected
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*.executable"))] == written
    for index, path in enumerate(stored):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if index else b"")
    assert trained_in_a_fresh_process(tmp_path) == expected


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_a_folder_that_others_may_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    tmp_path.chmod(0o777)
    assert cache_folder() is None


def test_an_empty_name_keeps_nothing(monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert cache_folder() is None


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "folder"))
    assert cache_folder() is None


def test_a_full_disk_costs_time_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))

    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.parent != tmp_path:  # JAX's own cache, which warns of a full disk by itself
            return write(path, content)
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    double = Program(("full disk",)).compiled(lambda x: 2 * x, (np.float32(1),), jax.tree.structure(0))
    assert double(np.float32(3)) == 6
    assert not list(tmp_path.iterdir())
