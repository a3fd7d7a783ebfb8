"""The setting in the address: it comes back to the last digit, and what is no setting is refused in words."""

import random
import string
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prdp_explorer.dashboard._address import (
    AXES_IN_LINKS,
    FAIRNESS,
    LONGEST_LABEL,
    LONGEST_QUERY,
    Setting,
    address_query,
    setting_in,
)
from prdp_explorer.dashboard._overview import FAIR_BY
from prdp_explorer.dashboard._source import AXES
from prdp_explorer.dashboard._theme import FULL_LABEL, LOOKS, PRDP_LABEL
from prdp_explorer.engine import LIMITS, RunSettings, settings_for, unsuited_combination
from prdp_explorer.problems import SCENARIOS
from prdp_explorer.refinement import KINDS, Limits


def default_setting(scenario: str = "heat-1d", **choices: Any) -> Setting:
    controllers = ((PRDP_LABEL, None), (FULL_LABEL, {"kind": "constant"}))
    return Setting({label: settings_for(scenario, controller, **choices) for label, controller in controllers})


def numbers(limits: Limits) -> st.SearchStrategy[int | float]:
    if limits.kind is int:
        return st.integers(int(limits.minimum), int(limits.maximum))
    return st.floats(limits.minimum, limits.maximum, exclude_min=limits.above)


@st.composite
def controllers(draw: st.DrawFn, kinds: tuple[str, ...]) -> dict[str, Any]:
    """A controller as plain data with all its values, in the order that limits have."""
    kind = draw(st.sampled_from(kinds))
    values = {name: draw(numbers(limits)) for name, limits in KINDS[kind].limits.items()}
    for low, high in (("initial", "maximum"), ("rtol_floor", "rtol_initial")):
        if low in values and high in values:
            values[low], values[high] = sorted((values[low], values[high]))
    return {"kind": kind, **values}


@st.composite
def valid_settings(draw: st.DrawFn) -> Setting:
    scenario = draw(st.sampled_from(list(SCENARIOS)))
    preset = draw(st.sampled_from(list(SCENARIOS[scenario].presets)))
    problem = SCENARIOS[scenario].presets[preset]
    common: dict[str, Any] = {"preset": preset, **{name: draw(numbers(limits)) for name, limits in LIMITS.items()}}
    modes: list[dict[str, Any]] = [
        {"solver": solver, "differentiation": mode}
        for solver in problem.solvers
        for mode in problem.differentiations
        if unsuited_combination(problem, solver, mode) is None
    ]
    first = draw(st.sampled_from(modes))
    contenders: dict[str, RunSettings] = {
        PRDP_LABEL: settings_for(scenario, draw(controllers(("prdp", "prdp-tolerance"))), **common, **first),
        FULL_LABEL: settings_for(scenario, draw(controllers(("constant",))), **common, **first),
    }
    visible = st.text(min_size=1, max_size=LONGEST_LABEL).filter(
        lambda text: text.isprintable() and text.strip() == text
    )
    for _ in range(draw(st.integers(0, len(LOOKS) - 2))):
        label = draw(visible.filter(lambda text: text not in contenders))
        mode = draw(st.sampled_from(modes))
        contenders[label] = settings_for(scenario, draw(controllers(tuple(KINDS))), **common, **mode)
    return Setting(contenders, draw(st.sampled_from(FAIRNESS)), draw(st.sampled_from(list(AXES))))


class TestRoundTrip:
    @settings(max_examples=60, deadline=None)
    @given(valid_settings())
    def test_every_setting_comes_back_exactly(self, setting: Setting):
        query = address_query(setting)
        assert len(query) <= LONGEST_QUERY
        found = setting_in(query)
        assert found is not None and found == setting
        assert list(found.contenders) == list(setting.contenders)
        assert address_query(found) == query
        again = setting_in(address_query(setting, {"race": "heat-1d-0123abcd"}) + "&bokeh-session-id=x&theme=dark")
        assert again == setting

    def test_it_holds_also_what_the_preset_says_so_that_it_means_the_same_for_ever(self):
        assert address_query(default_setting(), {"race": "heat-1d-ab"}) == (
            "?scenario=heat-1d&preset=live&solver=jacobi&differentiation=implicit&seed=0&epochs=100&learning_rate=0.001"
            "&refinement=prdp&tau_step=0.98&tau_stop=0.9&window=3&ema_window=8&initial=1&step=1&maximum=25"
            "&compare_with_start=0&full=25&fairness=epochs&axis=epoch&race=heat-1d-ab"
        )

    def test_a_further_contender_can_be_read(self):
        setting = default_setting()
        setting = Setting(
            {
                **setting.contenders,
                "K = 4, label:": settings_for("heat-1d", {"kind": "constant", "iterations": 4}, solver="cg"),
            }
        )
        query = address_query(setting)
        assert "&contender=constant,solver:cg,differentiation:implicit,iterations:4,label:K+%3D+4,+label:&" in query
        assert setting_in(query) == setting

    def test_the_page_has_what_links_name(self):
        assert list(AXES_IN_LINKS.values()) == list(AXES)
        assert list(FAIRNESS) == list(FAIR_BY.values())


class TestShortLinks:
    @pytest.mark.parametrize("query", ["", "?", "?race=heat-1d-1", "?run=x&bokeh-session-id=y&theme=dark"])
    def test_what_says_nothing_of_a_setting(self, query: str):
        assert setting_in(query) is None

    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_a_scenario_alone_means_its_defaults(self, scenario: str):
        assert setting_in(f"?scenario={scenario}") == default_setting(scenario)

    def test_what_is_left_out_is_the_presets(self):
        found = setting_in(
            "scenario=heat-2d&tau_step=0.9&solver=cg&contender=constant,iterations:4&contender=prdp,label:b"
        )
        assert found is not None
        prdp, full, third, fourth = found.contenders.values()
        assert list(found.contenders)[2:] == ["contender 3", "b"]
        assert prdp == settings_for("heat-2d", {"tau_step": 0.9}, solver="cg")
        assert full == settings_for("heat-2d", {"kind": "constant"}, solver="cg")
        assert third == settings_for("heat-2d", {"kind": "constant", "iterations": 4}, solver="cg")
        assert fourth == settings_for("heat-2d", solver="cg")

    def test_without_a_scenario_it_is_the_first(self):
        assert setting_in("?seed=3&learning_rate=1") == default_setting(
            next(iter(SCENARIOS)), seed=3, learning_rate=1.0
        )


BRACKETS = "[" * 3000

REFUSED = {
    "k=true": "'k' is no setting",
    "tau_step=true": "`tau_step` must be a number above 0 and at most 1; got 'true'",
    "tau_step=": "`tau_step` must be a number",
    "tau_step=nan": "`tau_step` must be a number",
    "tau_step=NaN": "`tau_step` must be a number",
    "learning_rate=Infinity": "`learning_rate` must be a number",
    "learning_rate=1e400": "`learning_rate` must be a number",
    "learning_rate=1e999": "`learning_rate` must be",
    "epochs=1_000": "`epochs` must be a number",
    "epochs=%EF%BC%95": "`epochs` must be a number",
    "epochs=1.5": "`epochs` must be a whole number",
    "epochs=0": "`epochs` must be a whole number from 1 to 100,000; got 0",
    "epochs=99999999999999999999": "`epochs` must be a whole number",
    "seed=" + "9" * 5000: "`seed` must have at most 60 characters; got 5,000",
    "seed=4294967296": "`seed` must be",
    "full=10001": "`full` must be a whole number",
    "maximum=3&initial=4": "`initial` must not exceed `maximum`",
    "scenario=heat-1e": "Did you mean heat-1d?",
    "scenario=" + BRACKETS: "`scenario` must have at most 60 characters",
    BRACKETS: "is no setting",
    "a" * 8999: "at most 8,192 characters; got 9,000",
    "preset=huge": "`preset` must be one of live, paper; got 'huge'",
    "solver=magic": "`solver` must be one of",
    "scenario=burgers-1d&solver=cg": "`solver` must be one of",
    "solver=gmres&differentiation=exact": "`differentiation` must be one of",
    "solver=cg&differentiation=truncated": "does not go with the solver 'cg'",
    "refinement=constant": "`refinement` must be one of prdp, prdp-tolerance",
    "rtol_floor=0.1": "`rtol_floor` is no setting of PRDP",
    "refinement=prdp-tolerance&step=1": "`step` is no setting of TolerancePRDP",
    "seed=1&seed=1": "`seed` must be there once",
    "fairness=luck": "`fairness` must be one of epochs, time",
    "axis=x": "`axis` must be one of epoch, iterations, seconds",
    "metric=training": "'metric' is no setting",
    "contender=": "A `contender` must begin with one of",
    "contender=" + BRACKETS: "A `contender` must begin with one of",
    "contender=constant,iterations": "must consist of name:value",
    "contender=constant,tau_step:0.5": "must consist of name:value",
    "contender=constant,kind:prdp": "must consist of name:value",
    "contender=constant,iterations:4,iterations:5": "must be there once",
    "contender=constant,iterations:0": "`iterations` must be",
    "contender=constant,label:PRDP": "The labels of contenders must differ",
    "contender=constant,label:" + "x" * 161: "The label of a contender must be 1 to 160 characters",
    "contender=constant,label:%0A": "The label of a contender must be",
    "contender=constant,label:%E2%80%AE": "The label of a contender must be",
    "contender=constant,label:a&contender=constant,label:a": "The labels of contenders must differ",
    "&".join(f"contender=constant,label:{name}" for name in "abcd"): "at most 5 contenders; got 6",
    "%00=1": "is no setting",
    "%ff%fe=%ff": "is no setting",
    "scenario[]=heat-1d": "'scenario[]' is no setting",
    "<script>alert(1)</script>=1": "is no setting",
}  # fmt: skip


class TestHostileLinks:
    @pytest.mark.parametrize(("query", "words"), REFUSED.items())
    def test_is_refused_in_one_line_of_words(self, query: str, words: str):
        with pytest.raises(ValueError) as refused:
            setting_in("?" + query)
        message = str(refused.value)
        assert words in message
        assert type(refused.value) is ValueError
        assert message.isprintable() and len(message) <= 500

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=200) | st.lists(st.tuples(st.sampled_from([
        "scenario", "preset", "solver", "differentiation", "seed", "epochs", "learning_rate", "refinement", "tau_step",
        "window", "maximum", "rtol_floor", "full", "contender", "fairness", "axis", "race",
    ]), st.text(max_size=80) | st.integers().map(str) | st.floats().map(repr) | st.sampled_from(
        ["true", "null", "1e9999", "-0", "heat-1d", "burgers-1d", "cg", "prdp", "constant,label:x", "constant,,"]
    )), max_size=8).map(lambda pairs: "&".join(f"{name}={quote_plus(value)}" for name, value in pairs)))  # fmt: skip
    @example("learning_rate=1e-400")
    def test_nothing_but_a_setting_or_words(self, query: str):
        try:
            found = setting_in(query)
        except ValueError as error:
            assert type(error) is ValueError
            assert str(error).isprintable() and len(str(error)) <= 500
        else:
            assert found is None or setting_in(address_query(found)) == found

    def test_a_true_link_with_some_of_it_changed(self):
        chance = random.Random(0)
        query = address_query(default_setting())
        for _ in range(200):
            text = list(query)
            for _ in range(chance.randint(1, 4)):
                text[chance.randrange(len(text))] = chance.choice(string.printable)
            try:
                found = setting_in("".join(text))
            except ValueError as error:
                assert str(error).isprintable() and len(str(error)) <= 500
            else:
                assert found is None or setting_in(address_query(found)) == found


class TestWhatASettingIs:
    def test_contenders_race_on_the_same_data(self):
        setting = default_setting()
        with pytest.raises(ValueError, match="the same `seed`"):
            Setting({**setting.contenders, "other": settings_for("heat-1d", seed=1)})
        with pytest.raises(ValueError, match="the same `solver`"):
            Setting({**setting.contenders, PRDP_LABEL: settings_for("heat-1d", solver="cg")})

    def test_the_first_two_have_their_places(self):
        setting = default_setting()
        with pytest.raises(ValueError, match="The first contenders must be 'PRDP' and 'full physics'"):
            Setting(dict(list(setting.contenders.items())[::-1]))
        with pytest.raises(ValueError, match="`refinement` of PRDP must be prdp or prdp-tolerance; got 'constant'"):
            Setting({**setting.contenders, PRDP_LABEL: settings_for("heat-1d", {"kind": "constant"})})
        training = {
            label: settings_for("heat-1d", each.refinement, metric="training")
            for label, each in setting.contenders.items()
        }
        with pytest.raises(ValueError, match="`metric` must be validation"):
            Setting(training)
