"""Problems of one's own as scenarios: registered in a process, named by a variable, offered by a package."""

import importlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_helpers import Toy

from prdp_explorer import Problem, register, train
from prdp_explorer.engine import settings_for, settings_from_json
from prdp_explorer.problems import (
    OWN,
    PROBLEMS_VARIABLE,
    SCENARIOS,
    _registry,
    built_in_name,
    name_of,
    problem_at,
    scenario_named,
    scenarios,
    title_of,
    troubles,
)

ROD = f"{Path(__file__).parent / 'uneven_rod.py'}:UnevenRod"


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has registered and read nothing yet."""
    monkeypatch.setattr(_registry, "_own", {})
    monkeypatch.setattr(_registry, "_troubles", None)
    yield


class TestRegister:
    def test_it_is_a_scenario_from_then_on(self):
        scenario = register(problem_at(ROD))
        assert (scenario.id, scenario.title, list(scenario.presets)) == ("uneven-rod", "Uneven Rod", [OWN])
        assert scenario.summary == "A linear map learns one step of diffusion through the solver of the next."
        assert scenario.teaches.endswith("on one side and badly on the other.")
        assert list(scenarios()) == [*SCENARIOS, "uneven-rod"]
        assert scenario_named("uneven-rod") is scenario
        settings = settings_for("uneven-rod", seed=3)
        assert settings == settings_for(problem_at(ROD), seed=3)
        assert (settings.scenario, settings.preset, settings.solver) == ("uneven-rod", OWN, "damped-jacobi")
        assert settings_from_json(settings.to_json()) == settings
        assert name_of(settings.problem) == ("uneven-rod", OWN)
        assert built_in_name(settings.problem) is None  # its code may change: nothing compiled is kept by this name

    def test_built_in_names_mean_the_same_in_every_process(self):
        assert built_in_name(SCENARIOS["heat-1d"].presets["paper"]) == "heat-1d/paper"

    def test_it_is_trained_by_its_id(self):
        register(problem_at(ROD), "My rod")
        records = list(train("my-rod", epochs=3))
        assert len(records) == 3
        assert title_of("my-rod") == "My rod"
        assert title_of("another") == "another"

    def test_a_class_is_made_once(self):
        kind = type(problem_at(ROD))
        assert register(kind).presets[OWN] is register(kind).presets[OWN]

    def test_a_cell_that_is_run_again_takes_the_place_of_itself(self):
        def cell() -> Problem:
            class Again(Toy):
                pass

            return Again()

        first, second = cell(), cell()
        assert register(first).id == register(second).id == "again"
        assert name_of(first) is None
        assert settings_for("again").problem is second

    def test_a_name_that_something_else_has_is_refused(self):
        register(problem_at(ROD), "mine")
        for name in ("mine", "heat-1d", "Heat 1D"):
            with pytest.raises(ValueError, match="is taken by another scenario; give this one another name"):
                register(Toy(), name)
        with pytest.raises(ValueError, match="must have 1 to 48 letters or digits; got '…'"):
            register(Toy(), "…")
        assert list(scenarios()) == [*SCENARIOS, "mine"]

    def test_what_is_no_complete_problem_is_refused(self):
        class Incomplete(Problem):
            pass

        class Silent(Toy):
            def __getattribute__(self, name):
                if name == "epochs":
                    raise AttributeError(name)
                return super().__getattribute__(name)

        for problem, words in (
            (Incomplete, "could not be made: TypeError: Can't instantiate abstract class"),
            (Silent, "must set epochs"),
            ("heat-1d", "must be a Problem, or a class of them; got str"),
        ):
            with pytest.raises(ValueError, match=words):
                register(problem)  # pyrefly: ignore[bad-argument-type]

    def test_without_a_docstring_it_says_so(self):
        class Mute(Toy):
            __doc__ = None

        scenario = register(Mute())
        assert scenario.summary == "A problem of one's own."
        assert "no docstring" in scenario.teaches


class TestReadOnce:
    def test_those_of_the_variable_are_known(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv(PROBLEMS_VARIABLE, f" {ROD}, ,")
        assert scenario_named("uneven-rod").place == ROD
        assert settings_for("uneven-rod").problem is problem_at(ROD)
        assert not troubles()

    def test_one_that_is_broken_is_told_and_the_others_are_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        broken = tmp_path / "broken.py"
        broken.write_text("1 / 0")
        monkeypatch.setenv(PROBLEMS_VARIABLE, f"{broken}:Mine,nowhere,{ROD}")
        with caplog.at_level(logging.WARNING):
            assert "uneven-rod" in scenarios()
        assert [re.sub(r"'\S*/", "'", each) for each in troubles()] == [
            f"The problem 'broken.py:Mine' cannot be had. {broken} could not be read: ZeroDivisionError in line 1: "
            "division by zero",
            "The problem 'nowhere' cannot be had. `problem` must be FILE.py:NAME or package.module:NAME; got "
            "'nowhere'.",
        ]
        assert caplog.messages == list(troubles())

    def test_a_file_that_itself_asks_for_scenarios_does_no_harm(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        file = tmp_path / "asking.py"
        file.write_text(
            f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from prdp_explorer.engine import settings_for\nsettings_for('heat-1d')\n"
            "from uneven_rod import UnevenRod as Asking\n"
        )
        monkeypatch.setenv(PROBLEMS_VARIABLE, f"{file}:Asking")
        assert "uneven-rod" in scenarios()
        assert not troubles()

    def test_packages_offer_theirs_by_an_entry_point(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """As an installed package does: its metadata lie on the path."""
        information = tmp_path / "offering-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(
            "[prdp_explorer.problems]\nrod of a package = offering:Rod\nbroken = offering:Nothing\n"
        )
        (tmp_path / "offering.py").write_text(Path(ROD.rpartition(":")[0]).read_text().replace("UnevenRod", "Rod"))
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        scenario = scenario_named("rod-of-a-package")
        assert (scenario.title, scenario.place) == ("rod of a package", "offering:Rod")
        assert settings_for("rod-of-a-package").scenario == "rod-of-a-package"
        (trouble,) = troubles()
        assert trouble.startswith("The problem 'broken = offering:Nothing' cannot be had. ")


class TestNotKnownHere:
    def test_settings_say_what_to_do(self):
        settings = settings_for("heat-1d").to_json() | {"scenario": "uneven-rod", "preset": OWN}
        with pytest.raises(ValueError, match=r"uneven-rod is a problem of one's own.*--problem"):
            settings_from_json(settings)
