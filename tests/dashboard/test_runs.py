"""The view of kept runs: what it tells of them, and that what a person does reaches the store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dashboard_helpers import columns, extent, made_up_rows

from prdp_explorer import Constant
from prdp_explorer.dashboard import _compare, _runs, _runs_table
from prdp_explorer.dashboard._compare import MOST_LINES, MOST_POINTS, MOST_POINTS_IN_ALL, Compare
from prdp_explorer.dashboard._family import Family
from prdp_explorer.dashboard._run_words import fork_words, settings_words
from prdp_explorer.dashboard._runs import Runs
from prdp_explorer.dashboard._runs_table import COLUMNS, PAGE_SIZE
from prdp_explorer.engine import IN_MEMORY, Event, Store, StoreError, settings_for

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def store() -> Store:
    return Store(IN_MEMORY)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that the view goes by."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(_runs, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def view(store: Store, told: list[str], clock: SimpleNamespace) -> Iterator[Runs]:
    asked: list[tuple[str, str]] = []
    view: Any = Runs(store, lambda run: asked.append(("open", run)), lambda run: asked.append(("resume", run)))
    view.asked = asked
    yield view


def keep(
    store: Store,
    name: str,
    controller: Any = None,
    *,
    epochs: int = 40,
    iterations: int = 3,
    status: str = "finished",
    edits: tuple[Event, ...] = (),
    rows: np.ndarray | None = None,
    parent: tuple[str, int] | None = None,
    **choices: Any,
) -> None:
    """Keep a run with a made-up log."""
    settings = settings_for("heat-1d", controller, epochs=40, **choices).to_json()
    forked_from, forked_at = (None, None) if parent is None else parent
    store.add(name, name, name, settings, parent=forked_from, parent_epoch=forked_at)
    rows = made_up_rows(0, epochs + 1, iterations) if rows is None else rows
    store.write(name, status=status, message="", rows=rows, first=0, events=edits)


def table_of(store: Store) -> Any:
    """What the table shows of all runs."""
    return _runs_table.table_of(store.runs())


def select(view: Runs, *runs: str) -> None:
    view.table.selection = [view.table.value.index.get_loc(run) for run in runs]


def refreshed(view: Runs, clock: SimpleNamespace) -> Runs:
    clock.now += 2
    view.update()
    return view


def edit(view: Runs, run: str, column: str, value: str) -> None:
    """What Panel does when a person edits a cell."""
    row = view.table.value.index.get_loc(run)
    view.table.value.loc[run, column] = value
    view._edit(column, row, value)


class TestTable:
    def test_it_tells_of_each_run(self, store: Store):
        keep(store, "prdp", epochs=20, status="stopped")
        store.rename("prdp", "the lecture's")
        store.annotate("prdp", "slide 4")
        frame = table_of(store)
        assert list(frame.columns) == list(COLUMNS)
        row = frame.loc["prdp"]
        assert (row["name"], row["note"], row["status"]) == ("the lecture's", "slide 4", "stopped")
        assert (row["scenario"], row["epochs"]) == ("heat-1d, live", "20 of 40")
        assert row["error"] == pytest.approx(0.5 * np.exp(-20 / 50))
        assert (row["iterations"], row["seconds"]) == (60, pytest.approx(0.21))
        assert abs(row["started"].timestamp() - store.run("prdp").created) < 24 * 3600

    def test_without_a_name_there_is_the_id_and_without_a_number_nothing(self, store: Store):
        store.add("new", "new", "new", settings_for("heat-1d").to_json())
        row = table_of(store).loc["new"]
        assert row["name"] == "new"
        assert row[["error", "saved", "iterations", "seconds"]].isna().all()

    def test_saved_is_against_as_many_epochs_of_full_physics(self, store: Store):
        keep(store, "full", Constant(), iterations=25)
        keep(store, "finished", iterations=5)
        keep(store, "stopped", iterations=10, epochs=20, status="stopped")
        keep(store, "diverged", status="diverged")
        keep(store, "other seed", seed=1)
        saved = table_of(store)["saved"]
        assert saved["finished"] == pytest.approx(0.8)
        assert saved["stopped"] == pytest.approx(0.6)
        assert saved[["full", "diverged", "other seed"]].isna().all()

    def test_epochs_sort_as_numbers(self, store: Store):
        for name, epochs in (("a", 100), ("b", 9), ("c", 20)):
            keep(store, name, epochs=epochs)
        assert list(table_of(store).sort_values("epochs").index) == ["b", "c", "a"]

    def test_whatever_a_file_says_is_shown(self, store: Store):
        store.add("odd", "odd", "odd", {"scenario": [HOSTILE], "refinement": 3, "epochs": {}, "seed": None})
        store.add("odder", "odder", "odder", {"refinement": {"kind": [], "tau_step": "x" * 1000}})
        store._connection.execute("UPDATE runs SET created = 1e300, summary = ?", (f'{{"iterations": {10**400}}}',))
        frame = table_of(store)
        assert frame["started"].isna().all() and frame["iterations"].isna().all()
        assert frame["settings"].str.len().max() < 200


class TestSettingsWords:
    def words(self, store: Store, name: str = "run") -> str:
        return settings_words(store.run(name))

    def test_the_presets_own_values_are_not_told(self, store: Store):
        keep(store, "run")
        assert self.words(store) == "PRDP τ_step 0.98, τ_stop 0.9 · jacobi · implicit · seed 0"

    def test_other_values_are(self, store: Store):
        keep(store, "run", {"kind": "prdp", "maximum": 20}, learning_rate=0.1, metric="training")
        assert self.words(store) == (
            "PRDP τ_step 0.98, τ_stop 0.9, largest K 20, learning rate 0.1 · jacobi · implicit · seed 0 · "
            "fed the training loss"
        )

    def test_edits_are_told_from_what_to_what(self, store: Store):
        edits = (
            Event(3, "adjust", {"tau_step": 0.8, "iterations": 7}),
            Event(9, "adjust", {"tau_step": 0.9, "differentiation": "unrolled", "solver": "gmres"}),
        )
        keep(store, "run", edits=edits)
        assert self.words(store) == "PRDP τ_step 0.98→0.9, τ_stop 0.9, K→7 · jacobi→gmres · implicit→unrolled · seed 0"

    def test_full_physics_is_called_so(self, store: Store):
        keep(store, "run", Constant())
        keep(store, "less", Constant(10))
        assert self.words(store).startswith("full physics K 25 ·")
        assert self.words(store, "less").startswith("constant K 10 ·")


class TestRuns:
    def test_nothing_is_read_before_it_is_shown(self, store: Store, view: Runs, clock):
        keep(store, "a")
        assert not len(view.table.value)
        assert list(refreshed(view, clock).table.value.index) == ["a"]

    def test_an_empty_store_says_so(self, view: Runs, clock):
        assert "No run is kept yet" in refreshed(view, clock)._count.object

    def test_what_is_selected_decides_what_can_be_done(self, store: Store, view: Any, clock):
        keep(store, "done")
        keep(store, "halted", status="interrupted")
        refreshed(view, clock)

        def enabled() -> list[bool]:
            return [not button.disabled for button in (view.open, view.resume, view.delete)]

        assert enabled() == [False, False, False]
        select(view, "done")
        assert enabled() == [True, False, True]
        select(view, "halted")
        assert enabled() == [True, True, True]
        view.open.clicks += 1
        view.resume.clicks += 1
        assert view.asked == [("open", "halted"), ("resume", "halted")]
        select(view, "done", "halted")
        assert enabled() == [False, False, True]

    def test_a_name_and_a_note_reach_the_store(self, store: Store, view: Runs, clock):
        keep(store, "a")
        refreshed(view, clock)
        edit(view, "a", "name", f" {HOSTILE} ")
        edit(view, "a", "note", "slide 4")
        assert (store.run("a").name, store.run("a").note) == (HOSTILE, "slide 4")
        assert list(view.table.value.loc["a", ["name", "note"]]) == [HOSTILE, "slide 4"]

    @pytest.mark.parametrize("typed", ["", "a"])
    def test_no_name_and_the_id_are_no_name(self, store: Store, view: Runs, clock, typed: str):
        keep(store, "a")
        store.rename("a", "before")
        edit(refreshed(view, clock), "a", "name", typed)
        assert store.run("a").name == ""
        assert view.table.value.loc["a", "name"] == "a"

    def test_deleting_can_be_undone(self, store: Store, view: Runs, clock):
        for name in "abc":
            keep(store, name)
        refreshed(view, clock)
        assert not view.undo.visible
        select(view, "a", "c")
        view.delete.clicks += 1
        assert [run.id for run in store.runs()] == ["b"] == list(view.table.value.index)
        assert "Deleted 2 runs." in view._told.object and view.undo.visible
        view.undo.clicks += 1
        assert {run.id for run in store.runs()} == {"a", "b", "c"} == set(view.table.value.index)
        assert not view.undo.visible

    def test_what_is_under_way_is_not_deleted(self, store: Store, view: Runs, told: list[str], clock):
        keep(store, "a", status="running")
        select(refreshed(view, clock), "a")
        view.delete.clicks += 1
        assert len(store.runs()) == 1
        assert "Still under way: a" in told[0]

    def test_a_search_finds_words_of_any_column(self, store: Store, view: Runs, clock):
        keep(store, "first", Constant())
        keep(store, "second", status="stopped")
        store.annotate("second", "Slide 4")
        refreshed(view, clock)
        for text, found in (
            ("SLIDE prdp", ["second"]),
            ("full", ["first"]),
            ("nowhere", []),
            ("", ["second", "first"]),
        ):
            view.search.value_input = text
            assert list(view.table.value.index) == found, text

    def test_what_a_search_hides_is_not_selected_and_its_page_exists(self, store: Store, view: Runs, clock):
        for number in range(2 * PAGE_SIZE + 1):
            keep(store, f"run {number}")
        refreshed(view, clock)
        view.table.page = 3
        select(view, "run 1", "run 20")
        view.search.value_input = "20"
        assert view.selected == ["run 20"] and view.table.page == 1

    def test_a_refresh_keeps_the_selection_and_the_page(self, store: Store, view: Runs, clock):
        for number in range(PAGE_SIZE + 2):
            keep(store, f"run {number}")
        refreshed(view, clock)
        view.table.page = 2
        select(view, "run 3", "run 7")
        colors = view.compare._legend.object
        store.delete("run 1")
        keep(store, "new")
        refreshed(view, clock)
        assert view.selected == ["run 7", "run 3"] and view.table.page == 2
        assert "new" in view.table.value.index and "run 1" not in view.table.value.index
        assert view.compare._legend.object == colors

    def test_it_reads_only_what_changed_and_at_most_once_a_second(self, store: Store, view: Runs, clock, monkeypatch):
        reads: list[None] = []
        runs = store.runs
        monkeypatch.setattr(store, "runs", lambda: reads.append(None) or runs())
        refreshed(view, clock)
        refreshed(view, clock)
        assert len(reads) == 1
        keep(store, "a")
        clock.now += 0.1
        view.update()
        assert len(reads) == 1
        refreshed(view, clock)
        assert len(reads) == 2

    def test_a_run_that_fell_silent_is_noticed(self, store: Store, view: Runs, clock, monkeypatch):
        keep(store, "a", status="running")
        refreshed(view, clock)
        store._connection.execute("UPDATE runs SET owner = 'elsewhere 1', seen = 0")
        monkeypatch.setattr(store, "signs", lambda: view._signs)
        refreshed(view, clock)
        assert view.table.value.loc["a", "status"] == "running"
        clock.now += 10
        assert refreshed(view, clock).table.value.loc["a", "status"] == "interrupted"

    def test_the_table_stands_still_while_somebody_types_in_it(self, store: Store, view: Runs, clock):
        keep(store, "a")
        refreshed(view, clock)
        view._click("note", 0)
        keep(store, "b")
        assert list(refreshed(view, clock).table.value.index) == ["a"]
        view._click("status", 0)
        assert list(refreshed(view, clock).table.value.index) == ["b", "a"]

    def test_a_click_in_a_row_selects_it_or_no_longer(self, store: Store, view: Runs, clock):
        keep(store, "a")
        keep(store, "b")
        refreshed(view, clock)
        view._click("status", 0)
        view._click("epochs", 1)
        assert view.selected == ["b", "a"]
        view._click("status", 0)
        assert view.selected == ["a"]

    def test_a_store_that_fails_is_told_of_and_the_view_stays(self, store: Store, view: Runs, told, clock, monkeypatch):
        keep(store, "a")
        refreshed(view, clock)

        def fail(*_: Any) -> Any:
            raise StoreError("The disk is gone.")

        for name in ("signs", "rename", "delete", "rows"):
            monkeypatch.setattr(store, name, fail)
        refreshed(view, clock)
        refreshed(view, clock)
        assert told == ["The disk is gone."]  # the timer tells it once
        attempts: tuple[Callable[[], None], ...] = (
            lambda: edit(view, "a", "name", "x"),
            lambda: select(view, "a"),
            lambda: view._delete(),
        )
        for number, attempt in enumerate(attempts, 2):
            attempt()
            assert told == ["The disk is gone."] * number
        assert list(view.table.value.index) == ["a"]

    def test_cells_are_shown_as_text(self, store: Store, view: Runs, clock):
        """Tabulator's own formatters for text escape; those of Bokeh that the numbers have get numbers only."""
        formatters = refreshed(view, clock).table.formatters
        text = {name for name, formatter in formatters.items() if formatter in ("textarea", "plaintext")}
        assert text == {"name", "scenario", "settings", "status", "epochs", "note"}
        assert set(view.table.value.select_dtypes("object").columns) == text
        assert formatters.keys() == COLUMNS.keys()


class TestCompare:
    def drawn(self, compare: Compare) -> dict[str, dict[str, Any]]:
        """What the browser has of each run that is shown."""
        sources = [columns(source) for source, line, _ in compare._lines if line.visible]
        return {source["run"][0].partition(", ")[2]: source for source in sources}  # after the label

    def show(self, compare: Compare, store: Store, *names: str) -> None:
        compare.look_at([store.run(name) for name in names])

    def test_without_a_selection_it_says_what_to_do(self, store: Store):
        compare = Compare(store)
        compare.look_at([])
        assert "Select runs" in compare._note.object and compare._note.visible
        assert not compare._plots.visible

    def test_the_columns_are_those_of_the_log_over_each_axis(self, store: Store):
        keep(store, "a", iterations=4)
        keep(store, "b", Constant(), iterations=25)
        compare = Compare(store)
        self.show(compare, store, "a", "b")
        rows = store.rows("b")
        drawn = self.drawn(compare)["b"]
        for column, of_the_log in (
            ("epoch", "epoch"),
            ("iterations", "cumulative_iterations"),
            ("seconds", "cumulative_seconds"),
            ("error", "validation"),
        ):
            np.testing.assert_array_equal(drawn[column], rows[of_the_log])
        np.testing.assert_array_equal(drawn["K"], [25.0] * 41)  # at epoch 0 that of the first epoch
        ends = {"epoch": 40, "inner iterations": 40 * 25, "seconds": 0.41}
        for axis, end in ends.items():
            compare.axis.value = axis
            assert {line.glyph.x for _, *both in compare._lines for line in both} == {_compare.AXES[axis]}
            assert extent(compare._along) == (0, pytest.approx(end))
        assert extent(compare._iterations)[1] > 25

    def test_runs_keep_their_looks_and_new_ones_take_what_is_free(self, store: Store):
        for name in "abc":
            keep(store, name)
        compare = Compare(store)
        self.show(compare, store, "a", "b")
        self.show(compare, store, "b")
        self.show(compare, store, "b", "c")
        assert {name: line.look for name, line in compare._shown.items()} == {"b": 1, "c": 0}
        assert set(self.drawn(compare)) == {"b", "c"}
        compare.look_at([])
        assert not self.drawn(compare) and not compare._plots.visible

    def test_what_the_plots_show_is_told_of_each_run_or_of_the_best(self, store: Store):
        compare = Compare(store)
        for number in range(6):
            rows = made_up_rows(0, 41, iterations=number + 1)
            rows["validation"] /= number + 1
            keep(store, f"{number}", rows=rows)
        self.show(compare, store, "0", "1")
        told = compare._summary._pane.object
        assert "error of 0, 0: from 0.5 to 0.225; 1, 1: from 0.25 to 0.112." in told
        assert "K of 0, 0: 1 throughout; 1, 1: 2 throughout." in told
        self.show(compare, store, *"012345")
        told = compare._summary._pane.object
        assert "6 runs. The least error at the end has 5, 5, 0.0374; the fewest" in told
        assert "inner iterations 0, 0, 40." in told

    def test_every_look_is_another(self, store: Store):
        for number in range(MOST_LINES + 2):
            keep(store, f"run {number:02}")
        compare = Compare(store)
        self.show(compare, store, *(f"run {number:02}" for number in range(MOST_LINES + 2)))
        looks = {(line.glyph.line_color, str(line.glyph.line_dash)) for _, line, _ in compare._lines}
        assert len(looks) == len(compare._lines) == MOST_LINES
        assert f"first {MOST_LINES} of the {MOST_LINES + 2}" in compare._note.object

    def test_long_runs_are_thinned_and_end_where_they_end(self, store: Store):
        keep(store, "long", rows=made_up_rows(0, 30_001))
        compare = Compare(store)
        self.show(compare, store, "long")
        epochs = self.drawn(compare)["long"]["epoch"]
        assert len(epochs) == MOST_POINTS and (epochs[0], epochs[-1]) == (0, 30_000)
        for number in range(19):
            keep(store, f"other {number}", rows=made_up_rows(0, 3001))
        self.show(compare, store, "long", *(f"other {number}" for number in range(19)))
        points = [len(each["epoch"]) for each in self.drawn(compare).values()]
        assert len(points) == 20 and sum(points) <= MOST_POINTS_IN_ALL

    def test_what_is_not_finite_breaks_neither_axes_nor_lines(self, store: Store):
        rows = made_up_rows(0, 6)
        rows["validation"] = [0.5, np.inf, np.nan, -1.0, 0.0, 0.02]
        keep(store, "a", rows=rows)
        keep(store, "b", rows=made_up_rows(0, 1), status="diverged")
        store.add("empty", "empty", "empty", settings_for("heat-1d").to_json())
        compare = Compare(store)
        self.show(compare, store, "a", "b", "empty")
        np.testing.assert_array_equal(self.drawn(compare)["a"]["error"], [0.5, *[np.nan] * 4, 0.02])
        assert extent(compare._errors) == (pytest.approx(0.01), pytest.approx(1))
        assert "b (diverged)" in compare._legend.object

    def test_runs_under_way_grow_by_cursor(self, store: Store, monkeypatch):
        keep(store, "a", rows=made_up_rows(0, 11), status="running")
        compare = Compare(store)
        self.show(compare, store, "a")
        reads: list[int] = []
        rows = store.rows
        monkeypatch.setattr(store, "rows", lambda run, first=0: reads.append(first) or rows(run, first))
        self.show(compare, store, "a")
        assert reads == []
        store.write("a", status="running", message="", rows=made_up_rows(11, 5), first=11)
        self.show(compare, store, "a")
        assert reads == [11]
        np.testing.assert_array_equal(self.drawn(compare)["a"]["epoch"], np.arange(16))
        assert extent(compare._along) == (0, 15)

    def test_a_zoom_stays_while_a_run_grows_and_ends_with_another_axis(self, store: Store):
        keep(store, "a", rows=made_up_rows(0, 11), status="running")
        compare = Compare(store)
        self.show(compare, store, "a")
        compare._along.update(start=2, end=4)
        store.write("a", status="running", message="", rows=made_up_rows(11, 5), first=11)
        self.show(compare, store, "a")
        assert extent(compare._along) == (2, 4) and compare._along.reset_end == 15
        compare.axis.value = "inner iterations"
        assert extent(compare._along) == (0, 45)

    def test_forks_coincide_up_to_the_fork(self, store: Store):
        rows = made_up_rows(0, 41)
        keep(store, "parent", rows=rows)
        rows = rows.copy()
        rows["validation"][21:] *= 0.5
        keep(store, "fork", rows=rows, parent=("parent", 20))
        compare = Compare(store)
        self.show(compare, store, "parent", "fork")
        parent, fork = (self.drawn(compare)[name]["error"] for name in ("parent", "fork"))
        assert np.flatnonzero(parent != fork)[0] == 21

    def test_names_cannot_bring_markup(self, store: Store):
        keep(store, "a")
        store.rename("a", HOSTILE)
        compare = Compare(store)
        self.show(compare, store, "a")
        assert "<img" not in compare._legend.object and "&lt;img" in compare._legend.object
        assert all("safe" not in told for _, told in _compare.TOLD)


class TestFamily:
    @pytest.fixture
    def chosen(self) -> list[str]:
        return []

    @pytest.fixture
    def family(self, store: Store, chosen: list[str]) -> Family:
        keep(store, "eldest")
        past = Event(5, "adjust", {"tau_step": 0.95})
        keep(store, "fork", parent=("eldest", 20), edits=(past, Event(21, "adjust", {"tau_step": 0.9})))
        keep(store, "grandchild", parent=("fork", 30), status="stopped", edits=(Event(31, "adjust", {"window": 5}),))
        keep(store, "sibling", parent=("eldest", 10))
        return Family(store, chosen.append)

    def show(self, family: Family, store: Store, run: str | None) -> None:
        family.look_at(None if run is None else store.run(run), {each.id: each for each in store.runs()})

    def test_the_whole_tree_is_shown_with_the_run_marked(self, store: Store, family: Family):
        for run, path in (("eldest", (0,)), ("fork", (0, 0)), ("grandchild", (0, 0, 0)), ("sibling", (0, 1))):
            self.show(family, store, run)
            assert family._layout.visible and family._tree.active == [path]
            (eldest,) = family._tree.items
            assert [item["label"] for item in eldest["items"]] == ["fork", "sibling"]
            assert eldest["items"][0]["items"][0]["label"] == "grandchild"
        assert eldest["secondary"] == "finished after epoch 40, error 2.25e-01"
        assert eldest["items"][0]["secondary"] == (
            "after epoch 20: τ_step 0.95→0.9 · finished after epoch 40, error 2.25e-01"
        )
        assert eldest["items"][1]["secondary"].startswith("after epoch 10: nothing changed ·")

    def test_what_changed_at_the_fork_is_that_of_its_epoch_only(self, store: Store):
        edits = (
            Event(3, "adjust", {"window": 4}),
            Event(11, "adjust", {"window": 5}),
            Event(12, "adjust", {"step": 2}),
        )
        keep(store, "fork", parent=("x", 10), edits=edits)
        assert fork_words(store.run("fork"), store.events("fork")) == "after epoch 10: δ 4→5"

    def test_a_run_without_relatives_has_none_shown(self, store: Store, family: Family):
        keep(store, "lonely")
        self.show(family, store, "fork")
        for run in ("lonely", None):
            self.show(family, store, run)
            assert not family._layout.visible

    def test_a_parent_that_is_not_here_is_told_of(self, store: Store, family: Family):
        store.delete("fork")
        self.show(family, store, "grandchild")
        assert "parent fork is not in this store" in family._lost.object and family._lost.visible
        assert [item["label"] for item in family._tree.items] == ["grandchild"]

    def test_a_click_chooses_a_run_even_one_that_a_search_hid(self, store: Store, family: Family, view: Runs, clock):
        refreshed(view, clock)
        view.search.value_input = "sibling"
        select(view, "sibling")
        view.family._tree.active = [(0, 0)]
        assert view.selected == ["fork"] and view.search.value_input == ""
        assert view.family._tree.active == [(0, 0)]

    def test_what_claims_to_be_its_own_ancestor_ends(self, store: Store):
        keep(store, "a", parent=("b", 1))
        keep(store, "b", parent=("a", 1))
        keep(store, "self", parent=("self", 1))
        family = Family(store, lambda _: None)
        for run in ("a", "b", "self"):
            self.show(family, store, run)
            assert family._chosen == run


def test_events_of_a_kept_run_are_those_of_its_log(tmp_path: Path):
    store = Store(tmp_path / "runs.sqlite")
    keep(store, "a", edits=(Event(3, "adjust", {"tau_step": 0.8}, "edited"), Event(41, "finished")))
    assert store.events("a") == store.log("a").events
    assert [event.name for event in store.events("a")] == ["adjust", "finished"]
    with pytest.raises(StoreError, match="no run 'b'"):
        store.events("b")
