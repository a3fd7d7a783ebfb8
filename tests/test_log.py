"""The log: cursors, growth, readers beside a writer, and the budget of snapshots."""

import math
import threading
from typing import Any

import numpy as np
import pytest
from training_helpers import PATIENCE

from prdp_explorer.engine import RECORD, Event, Log, Record, Snapshot, as_records
from prdp_explorer.refinement import Reason


def rows_of(start: int, count: int) -> np.ndarray:
    """Records whose every number follows from the epoch, so that a torn one shows."""
    rows = np.zeros(count, RECORD)
    for name in RECORD.names or ():
        rows[name] = np.arange(start, start + count)
    rows["refined"] = rows["epoch"] % 2 == 1
    return rows


def record_of(epoch: int, **values: Any) -> Record:
    """A record of K = 4, of which a refinement makes 5, at a plateau that is worth it; no tolerance plays a role."""
    row = rows_of(epoch, 1)
    plain = {"iterations": 4, "next_iterations": 5, "plateau_ratio": 0.99, "checkpoint_ratio": 0.5, "refined": False}
    thresholds = {"tau_step": 0.98, "tau_stop": 0.9, "rtol": math.nan, "next_rtol": math.nan}
    for name, value in (plain | thresholds | values).items():
        row[name] = value
    (record,) = as_records(row)
    return record


def snapshot_of(epoch: int, num_bytes: int = 800) -> Snapshot:
    return Snapshot(epoch, 1, {"input": np.zeros(num_bytes // 16), "output": np.zeros(num_bytes // 16)})


class TestCursors:
    def test_a_reader_gets_what_is_new(self):
        log, cursor, seen = Log(), 0, []
        for start, count in ((0, 1), (1, 4), (5, 0), (5, 300)):
            log.append(rows_of(start, count))
            new = log.read(cursor)
            assert len(new) == count
            cursor += len(new)
            seen.extend(new["epoch"].tolist())
        assert seen == list(range(305))
        assert len(log.read(cursor)) == 0

    def test_readers_do_not_disturb_each_other(self):
        log = Log()
        log.append(rows_of(0, 10))
        assert log.read(7)["epoch"].tolist() == [7, 8, 9]
        assert log.read()["epoch"].tolist() == list(range(10))
        assert log.read(7)["epoch"].tolist() == [7, 8, 9]

    def test_an_empty_log(self):
        log = Log()
        assert len(log) == len(log.read()) == len(log.records) == len(log.snapshots) == 0

    @pytest.mark.parametrize("chunk", [1, 100, 256, 257, 1_000])
    def test_grows_without_losing_anything(self, chunk):
        log = Log()
        for start in range(0, 5_000, chunk):
            log.append(rows_of(start, chunk))
        assert log.read().tolist() == rows_of(0, len(log)).tolist()
        assert len(log) >= 5_000

    def test_what_was_read_stays_as_it_was_while_the_log_grows(self):
        log = Log()
        log.append(rows_of(0, 200))
        early = log.read()
        log.append(rows_of(200, 2_000))
        assert early.tolist() == rows_of(0, 200).tolist()

    def test_what_was_read_cannot_be_written(self):
        log = Log()
        log.append(rows_of(0, 3))
        with pytest.raises(ValueError, match="read-only"):
            log.read()["validation"][0] = 7
        log.append(rows_of(3, 1))
        assert log.read().tolist() == rows_of(0, 4).tolist()

    def test_the_log_keeps_a_copy_of_what_is_appended(self):
        log, rows = Log(), rows_of(0, 3)
        log.append(rows)
        rows["validation"] = -1
        assert log.read().tolist() == rows_of(0, 3).tolist()


class TestConcurrentReaders:
    def test_no_record_is_torn_missing_or_seen_twice(self):
        log, total, torn, seen = Log(), 60_000, [], {number: [] for number in range(3)}

        def read(number: int) -> None:
            cursor = 0
            while cursor < total and not torn:
                new = log.read(cursor)
                if new.tolist() != rows_of(cursor, len(new)).tolist():
                    torn.append(cursor)
                cursor += len(new)
                seen[number].extend(new["epoch"].tolist())
                log.wait(lambda: len(log) > cursor, 0.05)  # noqa: B023

        readers = [threading.Thread(target=read, args=(number,)) for number in seen]
        for reader in readers:
            reader.start()
        written, random = 0, np.random.default_rng(0)
        while written < total:
            count = min(int(random.integers(1, 400)), total - written)
            log.append(rows_of(written, count))
            written += count
        for reader in readers:
            reader.join(PATIENCE)
        assert not torn
        assert all(epochs == list(range(total)) for epochs in seen.values())

    def test_waiting_ends_with_the_condition(self):
        log = Log()
        writer = threading.Thread(target=lambda: [log.append(rows_of(number, 1)) for number in range(5)])
        writer.start()
        assert log.wait(lambda: len(log) == 5, PATIENCE)
        writer.join()

    def test_waiting_in_vain_says_so(self):
        assert Log().wait(lambda: False, 0.01) is False

    def test_an_event_ends_waiting_too(self):
        log = Log()
        writer = threading.Thread(target=lambda: log.add_event(Event(1, "paused")))
        writer.start()
        assert log.wait(lambda: bool(log.events), PATIENCE)
        writer.join()


class TestRecord:
    def test_rows_become_records_with_the_same_values(self):
        log = Log()
        log.append(rows_of(0, 3))
        assert log.records[2] == Record(
            *(2, 2, 2.0, 2.0, 2.0, 2.0, 2.0), False, *(2, 2, 2.0, 2.0, 2.0, 2.0, 2.0, 2, 2.0)
        )
        assert [type(value) for value in vars(log.records[0]).values()] == [
            {"i": int, "f": float, "b": bool}[RECORD[name].kind] for name in RECORD.names or ()
        ]

    @pytest.mark.parametrize(
        ("refined", "reason", "decision", "words"),
        [
            (True, Reason.WORTHWHILE, "refine", "K rises from 4 to 5."),
            (False, Reason.SUPERFLUOUS, "keep", "superfluous"),
            (False, Reason.COLLECTING, "keep", "Collecting"),
        ],
    )
    def test_says_what_was_decided_and_why(self, refined, reason, decision, words):
        record = record_of(9, refined=refined, reason=int(reason))
        assert record.decision == decision
        assert words in record.explanation

    def test_says_what_was_decided_about_a_tolerance(self):
        """Where a tolerance is refined, K is what the solves used, and no decision."""
        record = record_of(9, refined=True, reason=int(Reason.WORTHWHILE), rtol=0.3, next_rtol=0.15)
        assert "The tolerance falls from 0.3 to 0.15." in record.explanation
        assert "K" not in record.explanation
        record = record_of(9, reason=int(Reason.IMPROVING), rtol=0.3, next_rtol=0.3)
        assert record.explanation.endswith("so the tolerance stays.")

    def test_what_does_not_apply_is_not_a_number(self):
        rows = rows_of(0, 1)
        rows["plateau_ratio"] = np.nan
        log = Log()
        log.append(rows)
        assert math.isnan(log.records[0].plateau_ratio)


class TestSnapshots:
    def test_one_an_epoch(self):
        log = Log()
        for epoch in (0, 0, 1, 1, 1, 5):
            log.add_snapshot(snapshot_of(epoch))
        assert [snapshot.epoch for snapshot in log.snapshots] == [0, 1, 5]

    def test_bytes_of_all_fields_count(self):
        assert snapshot_of(0, 800).num_bytes == 800

    @pytest.mark.parametrize("count", [2, 3, 10, 11, 12, 57, 400])
    def test_the_budget_holds_and_keeps_the_first_and_the_last(self, count):
        log = Log(snapshot_bytes=8_000)
        for epoch in range(count):
            log.add_snapshot(snapshot_of(epoch))
            epochs = [snapshot.epoch for snapshot in log.snapshots]
            assert epochs[0] == 0
            assert epochs[-1] == epoch
            assert epochs == sorted(set(epochs))
            assert sum(snapshot.num_bytes for snapshot in log.snapshots) <= 8_000
        assert len(log.snapshots) >= min(count, 5)

    def test_what_is_kept_stays_spread_over_the_whole_run(self):
        log = Log(snapshot_bytes=8_000)
        for epoch in range(400):
            log.add_snapshot(snapshot_of(epoch))
        gaps = np.diff([snapshot.epoch for snapshot in log.snapshots])
        assert gaps.max() <= 400 / 3

    def test_within_the_budget_nothing_is_dropped(self):
        log = Log(snapshot_bytes=8_000)
        for epoch in range(10):
            log.add_snapshot(snapshot_of(epoch))
        assert len(log.snapshots) == 10

    def test_two_are_kept_even_where_one_exceeds_the_budget(self):
        log = Log(snapshot_bytes=1)
        for epoch in range(4):
            log.add_snapshot(snapshot_of(epoch))
        assert [snapshot.epoch for snapshot in log.snapshots] == [0, 3]

    def test_records_are_never_dropped(self):
        log = Log(snapshot_bytes=1)
        log.append(rows_of(0, 5_000))
        log.add_snapshot(snapshot_of(3))
        assert len(log.records) == 5_000
