"""The columns that the plots share."""

import numpy as np
import pytest
from dashboard_helpers import columns, made_up_race, made_up_rows

from prdp_explorer import Run
from prdp_explorer.dashboard._controls import PRDP_LABEL
from prdp_explorer.dashboard._source import DECISIONS, MOST_POINTS, RunSource
from prdp_explorer.engine import Log
from prdp_explorer.refinement import Reason


@pytest.fixture
def run() -> Run:
    return made_up_race().runs[PRDP_LABEL]


@pytest.fixture
def source(run: Run) -> RunSource:
    source = RunSource()
    source.follow(run)
    return source


def lengths(source: RunSource) -> set[int]:
    return {len(column) for column in columns(source.source).values()}


def epochs(source: RunSource) -> list[float]:
    return list(columns(source.source)["epoch"])


def test_every_decision_has_words():
    assert set(DECISIONS) == set(Reason)


def test_it_never_has_no_rows_at_all(source: RunSource, run: Run):
    assert lengths(RunSource()) == {1}
    assert lengths(source) == {1}
    assert not source.update()
    assert lengths(source) == {1}
    assert np.isnan(columns(source.source)["epoch"]).all()
    run.log.append(made_up_rows(0, 5))
    source.update()
    source.follow(None)
    assert lengths(source) == {1}
    assert (source.last, source.largest) == (None, 0.0)
    assert not source.update()


@pytest.mark.parametrize("calls", [[1], [1, 1, 1], [1, 7, 30], [101], [1, 0, 4]])
def test_it_streams_exactly_the_rows_of_the_log(source: RunSource, run: Run, calls: list[int]):
    done = 0
    for count in calls:
        if count:
            run.log.append(made_up_rows(done, count))
        assert source.update() == bool(count)
        done += count
    rows, data = run.log.read(), columns(source.source)
    assert lengths(source) == {len(rows)}
    for name in ("epoch", "validation", "train_loss", "plateau_ratio", "checkpoint_ratio", "tau_step", "tau_stop"):
        np.testing.assert_array_equal(data[name], rows[name])
    assert data["iterations"][0] == rows["next_iterations"][0]
    np.testing.assert_array_equal(data["iterations"][1:], rows["iterations"][1:])
    np.testing.assert_array_equal(np.isfinite(data["refined_ratio"]), rows["refined"])
    assert list(data["decision"]) == [DECISIONS[Reason(reason)] for reason in rows["reason"]]
    assert source.last.tolist()[:2] == rows[-1].tolist()[:2]
    assert (source.smallest, source.largest) == (rows["validation"].min(), rows["validation"].max())


def test_extremes_are_of_finite_positive_errors_only(source: RunSource, run: Run):
    rows = made_up_rows(0, 5)
    rows["validation"] = [0.5, 0.0, np.nan, np.inf, 0.25]
    run.log.append(rows)
    source.update()
    assert (source.smallest, source.largest) == (0.25, 0.5)


def shown_errors(source: RunSource) -> np.ndarray:
    return np.asarray(columns(source.source)["validation"])


@pytest.mark.parametrize("refine_every", [10, 1])
def test_it_thins_what_is_too_much_for_a_browser(source: RunSource, run: Run, refine_every: int):
    done = 0
    while done < 10 * MOST_POINTS:
        rows = made_up_rows(done, 97, refine_every=refine_every)
        rows["next_iterations"] += rows["refined"]
        run.log.append(rows)
        done += 97
        source.update()
        (length,) = lengths(source)
        assert MOST_POINTS // 8 <= length <= MOST_POINTS or length == done
        strides = np.diff(epochs(source))
        assert epochs(source)[0] == 0
        assert (strides > 0).all()
        assert strides.max(initial=1) <= 128
        assert epochs(source)[-1] == done - 1


@pytest.mark.parametrize("count", [20_000, 100_000])
@pytest.mark.parametrize("chunk", [1000, 100_000])
def test_spikes_survive_thinning(source: RunSource, run: Run, count: int, chunk: int):
    spikes = {1: 7.0, 1500: 3.0, 1501: 1e-9, 3077: 5.0, 12_345: 9.0, 12_351: 1e-8, count - 1000: 8.0}
    for start in range(0, count + 1, chunk):
        rows = made_up_rows(start, min(chunk, count + 1 - start))
        rows["validation"] = 0.5
        for epoch, error in spikes.items():
            rows["validation"][rows["epoch"] == epoch] = error
        run.log.append(rows)
        source.update()
    assert lengths(source).pop() <= MOST_POINTS
    shown = dict(zip(epochs(source), shown_errors(source), strict=True))
    assert spikes.items() <= shown.items()


def test_what_is_no_number_hides_no_spike(source: RunSource, run: Run):
    rows = made_up_rows(0, 10 * MOST_POINTS + 1)
    rows["validation"][1::2] = np.nan
    rows["validation"][5000], rows["validation"][5001] = 7.0, np.inf
    run.log.append(rows)
    source.update()
    assert {5000, 5001} & set(epochs(source)) == {5001}
    rows["validation"][5001] = np.nan
    run.log = Log()
    run.log.append(rows)
    source.follow(run)
    source.update()
    assert 5000 in epochs(source)
    assert lengths(source).pop() <= MOST_POINTS


def test_a_log_that_is_long_already_is_thinned_at_once(source: RunSource, run: Run):
    run.log.append(made_up_rows(0, 20_001))
    source.update()
    (length,) = lengths(source)
    assert length <= MOST_POINTS
    assert not source.update()


def test_a_thinned_run_still_shows_every_refinement(source: RunSource, run: Run):
    rows = made_up_rows(0, 3 * MOST_POINTS + 1, refine_every=501)
    rows["next_iterations"] += rows["refined"]
    run.log.append(rows)
    source.update()
    refined = run.log.read()["epoch"][run.log.read()["refined"]]
    shown = np.asarray(columns(source.source)["epoch"])[np.isfinite(columns(source.source)["refined_ratio"])]
    assert list(shown) == list(refined)


def test_rows_that_arrive_while_it_reads_are_streamed_once(source: RunSource, run: Run):
    class Busy(Log):
        """The engine appends between any two reads."""

        def read(self, cursor: int = 0) -> np.ndarray:
            rows = super().read(cursor)
            self.append(made_up_rows(len(self), 3))
            return rows

    run.log = Busy()
    run.log.append(made_up_rows(0, 2))
    for _ in range(4):
        source.update()
    assert epochs(source) == list(range(len(epochs(source))))
