"""What concerns the session: no more is sent to a browser than it can show."""

import pytest

from prdp_explorer.dashboard import _session
from prdp_explorer.dashboard._session import MOST_UNDER_WAY, PATIENCE_SECONDS, Beat


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(_session.time, "monotonic", lambda: now[0])
    return now


def test_nothing_is_waited_for_where_nobody_answers():
    beat = Beat()
    for _ in range(2 * MOST_UNDER_WAY):
        assert beat.ready
        beat.ask()
    assert beat.ready


def test_few_updates_are_under_way_at_a_time(now: list[float]):
    beat = Beat()
    beat._handle_msg(0)
    for _ in range(MOST_UNDER_WAY):
        assert beat.ready
        beat.ask()
    now[0] += 0.9 * PATIENCE_SECONDS
    assert not beat.ready
    beat._handle_msg(1)
    assert beat.ready
    beat.ask()
    assert not beat.ready
    beat._handle_msg(MOST_UNDER_WAY + 1)  # also if the answers between were lost
    for _ in range(MOST_UNDER_WAY):
        assert beat.ready
        beat.ask()
    assert not beat.ready


def test_a_browser_that_says_nothing_is_sent_something_now_and_then(now: list[float]):
    beat = Beat()
    beat._handle_msg(0)
    for _ in range(MOST_UNDER_WAY):
        beat.ask()
    now[0] += 1.01 * PATIENCE_SECONDS
    assert beat.ready
    beat.ask()
    assert not beat.ready
