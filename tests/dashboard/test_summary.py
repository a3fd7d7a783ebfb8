"""Sentences below plots say what the records say, and no oftener than can be read."""

import numpy as np
import pytest
from dashboard_helpers import made_up_rows

from prdp_explorer.dashboard import _summary
from prdp_explorer.dashboard._summary import Summary, errors_in_words, iterations_in_words


def test_errors_and_iterations_are_those_of_the_records():
    prdp, full, empty = made_up_rows(0, 41), made_up_rows(0, 41, iterations=25), made_up_rows(0, 0)
    prdp["iterations"] = [0, *[1] * 10, *[2] * 20, *[4] * 10]
    full["validation"][-1] = np.nan
    runs = [("PRDP", prdp), ("full physics", full), ("to come", empty)]
    assert errors_in_words(runs) == "Validation error of PRDP: from 0.5 to 0.225; full physics: from 0.5 to no number."
    assert iterations_in_words(runs) == "Inner iterations K of PRDP: from 1 to 4; full physics: 25 throughout."
    assert iterations_in_words([("PRDP", prdp[:1])]) == errors_in_words([("to come", empty)]) == ""


def test_it_is_written_at_most_once_a_second_unless_a_person_did_something(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(_summary.time, "monotonic", lambda: now)
    summary = Summary()
    summary.tell("one <b>")
    assert "one &lt;b&gt;" in summary._pane.object
    now += 0.5
    summary.tell("two")
    assert "one" in summary._pane.object
    summary.tell("three", at_once=True)
    assert "three" in summary._pane.object
    now += 1.5
    summary.tell("four")
    assert "four" in summary._pane.object
