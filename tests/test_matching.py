"""Which kept runs belong together."""

from typing import Any

import pytest

from prdp_explorer import PRDP, Constant
from prdp_explorer.engine import IN_MEMORY, Event, Store, full_physics_by_run, is_full_physics, settings_for
from prdp_explorer.engine._matching import kept_twin
from prdp_explorer.engine._store import StoredRun

NO_ROWS: Any = ()


def kept(store: Store, name: str, controller: Any = None, status: str = "finished", edits: Any = None, **choices: Any):
    store.add(name, name, name, settings_for("heat-1d", controller, **choices).to_json())
    events = [] if edits is None else [Event(3, "adjust", edits)]
    store.write(name, status=status, message="", rows=NO_ROWS, first=0, events=events)


@pytest.fixture
def store() -> Store:
    return Store(IN_MEMORY)


def matches(store: Store) -> dict[str, str]:
    return {run: full.id for run, full in full_physics_by_run(store.runs()).items()}


def test_full_physics_is_k_full_throughout(store: Store):
    kept(store, "full", Constant())
    kept(store, "less", Constant(24))
    kept(store, "edited", Constant(), edits={"learning_rate": 0.1})
    kept(store, "prdp")
    assert {run.id for run in store.runs() if is_full_physics(run)} == {"full"}
    store.add("odd", "", "", {"scenario": ["heat-1d"], "preset": {}})
    assert not is_full_physics(store.run("odd"))


def test_what_is_otherwise_the_same_is_matched_with_the_newest(store: Store):
    for name in ("older", "newer"):
        kept(store, name, Constant())
    kept(store, "unfinished", Constant(), status="stopped")
    kept(store, "prdp", PRDP(tau_step=0.9), metric="training")
    kept(store, "steered", edits={"tau_step": 0.9, "maximum": 20})
    kept(store, "other lesson", edits={"learning_rate": 0.1})
    kept(store, "other seed", seed=1)
    kept(store, "other mode", differentiation="unrolled")
    assert matches(store) == dict.fromkeys(("older", "newer", "unfinished", "prdp", "steered"), "newer")
    store.delete("newer")
    assert set(matches(store).values()) == {"older"}


def test_a_twin_has_these_very_settings_and_versions(store: Store):
    settings = settings_for("heat-1d", Constant())

    def twin() -> str | None:
        found: StoredRun | None = kept_twin(settings, store.runs())
        return None if found is None else found.id

    kept(store, "prdp")
    kept(store, "less", Constant(24))
    kept(store, "stopped", Constant(), status="stopped")
    kept(store, "edited", Constant(), edits={"iterations": 3})
    assert twin() is None
    kept(store, "same", Constant())
    assert twin() == "same"
    store._connection.execute("UPDATE runs SET made_with = '{}'")
    assert twin() is None
