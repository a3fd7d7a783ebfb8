"""The chooser of the contender that a view looks at."""

from typing import Any

from dashboard_helpers import made_up_race

from prdp_explorer import Race
from prdp_explorer.dashboard._chooser import ContenderChooser
from prdp_explorer.dashboard._shown import Shown


def test_the_browser_is_told_the_name_of_who_is_looked_at_in_another_race():
    chooser = ContenderChooser(lambda _: None)
    model: Any = chooser.widget.get_root()
    first = made_up_race()
    chooser.offer(Shown(first, kept=False))
    assert model.data.value == "PRDP"
    (settings, *_) = (run.settings for run in first.runs.values())
    other = Race({"eager": settings, "shy": settings}, None, lambda: None)
    chooser.offer(Shown(other, kept=False))
    assert model.data.value == "eager"
    chooser.offer(Shown(None, kept=False))
    assert chooser.widget.value is None
