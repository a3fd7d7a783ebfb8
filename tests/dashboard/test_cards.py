"""The scenario cards have a picture and words for each scenario."""

import base64

import pytest

from prdp_explorer.dashboard._cards import ScenarioCards, picture
from prdp_explorer.problems import SCENARIOS

MOST_BYTES = 6 * 1024
BEGINNINGS = {"image/png": b"\x89PNG", "image/svg+xml": b"<svg"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_a_small_picture_that_asks_no_server(scenario: str):
    head, data = picture(scenario).split(";base64,")
    content = base64.b64decode(data)
    assert content.startswith(BEGINNINGS[head.removeprefix("data:")])
    assert len(content) < MOST_BYTES


def test_the_cards_are_the_scenarios_in_their_own_words():
    cards = ScenarioCards()
    assert [card["id"] for card in cards.cards] == list(SCENARIOS)
    for card, scenario in zip(cards.cards, SCENARIOS.values(), strict=True):
        assert (card["title"], card["summary"], card["teaches"]) == (scenario.title, scenario.summary, scenario.teaches)
        assert card["picture"] == picture(scenario.id)


def test_a_scenario_that_there_is_not_is_refused():
    cards = ScenarioCards()
    with pytest.raises(ValueError, match="heat-1d"):
        cards.value = "heat-4d"
    assert cards.value == "heat-1d"
    assert picture("heat-4d") == ""
