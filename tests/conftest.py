"""What all tests share."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from prdp_explorer import Engine
from prdp_explorer.engine import Store
from prdp_explorer.problems import SCENARIOS, scenarios, unregister

pytest_plugins = ["environment"]


@pytest.fixture(autouse=True)
def forget_registered() -> Iterator[None]:
    """A test may register problems, also by a command that it runs; the next test knows nothing of them."""
    yield
    for id in set(scenarios()) - set(SCENARIOS):
        unregister(id)


@pytest.fixture
def float64() -> Iterator[None]:
    """Double precision in this thread, for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quickly() -> Iterator[None]:
    """What runs for a millisecond need not be optimised for a second. For tests that compare within tolerances."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()  # they do not know of the setting, and other tests compare with other processes to the last bit


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that is closed, and whose threads are waited for, after the test."""
    engine = Engine()
    yield engine
    engine.close()
    deadline = time.monotonic() + 60
    while any(thread.name.startswith("prdp-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread of the engine outlived it"
        time.sleep(0.01)


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Engine]:
    """An engine that keeps its runs, in `runs.sqlite` in the test's folder."""
    engine = Engine(Store(tmp_path / "runs.sqlite"))
    yield engine
    engine.close()
