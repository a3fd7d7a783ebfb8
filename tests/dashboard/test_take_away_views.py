"""What a kept run becomes on paper and on a page that leaves the house."""

import functools
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dashboard_helpers import made_up_rows

from prdp_explorer import Constant
from prdp_explorer.dashboard import report
from prdp_explorer.dashboard._figure import make_paper_figure, write_paper_figure
from prdp_explorer.dashboard._kept import KeptRun
from prdp_explorer.dashboard._theme import FULL_COLOR, IC_SAVING_COLOR, PR_SAVING_COLOR, PRDP_COLOR
from prdp_explorer.engine import IN_MEMORY, Event, Store, settings_for

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\" ${x} $nonce {x} \\"


def keep(store: Store, run_id: str, rows: np.ndarray, controller: Any = None, **choices: Any) -> str:
    settings = settings_for("heat-1d", controller, **choices).to_json()
    store.add(run_id, run_id, "raced" if run_id in ("prdp", "full") else run_id, settings)
    store.write(run_id, status="finished", message="Finished.", rows=rows, first=0)
    return run_id


def every_kind() -> Store:
    """Runs of all kinds, by id."""
    store = Store(IN_MEMORY)
    keep(store, "prdp", made_up_rows(0, 41, iterations=3))
    keep(store, "full", made_up_rows(0, 41, iterations=25), Constant())
    keep(store, "few", made_up_rows(0, 41, iterations=4), Constant(iterations=4))
    keep(store, "nothing", made_up_rows(0, 0))
    keep(store, "before", made_up_rows(0, 1))
    diverged = made_up_rows(0, 3)
    diverged["validation"][1:] = np.nan
    keep(store, "diverged", diverged)
    tolerance = made_up_rows(0, 41)
    tolerance["rtol"], tolerance["next_rtol"], tolerance["next_iterations"] = 0.5, 0.5, 25
    keep(store, "tolerance", tolerance, {"kind": "prdp-tolerance"})
    own = {**settings_for("heat-1d").to_json(), "scenario": "Toy", "preset": "own"}
    store.add("own", "run", "own", own)
    store.write("own", status="stopped", message="", rows=made_up_rows(0, 5), first=0)
    return store


@pytest.fixture
def store() -> Store:
    return every_kind()


@pytest.fixture(scope="module")
def reported() -> Callable[..., str]:
    """The reports of a store that nobody changes: each takes half a second, and several tests read the same."""
    store = every_kind()
    return functools.cache(lambda run_id, full_id=None: report(store, run_id, full_id))


EVERY = ("prdp", "full", "few", "nothing", "before", "diverged", "tolerance", "own")


def words(page: str) -> str:
    """What a person reads of a page."""
    body = page[page.index("<main>") : page.index("</main>")]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


class TestFigure:
    @pytest.mark.parametrize("run_id", EVERY)
    @pytest.mark.parametrize("full_id", [None, "full"])
    def test_no_word_is_cut_off(self, store: Store, run_id: str, full_id: str | None):
        figure = make_paper_figure(KeptRun.read(store, run_id), (full_id and KeptRun.read(store, full_id)) or None)
        figure.draw_without_rendering()
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert drawn.x0 >= 0 and drawn.y0 >= 0
        assert drawn.x1 <= width and drawn.y1 <= height

    def test_colours_mean_what_they_mean_on_the_page(self, store: Store, tmp_path: Path):
        prdp, full = (KeptRun.read(store, run_id) for run_id in ("prdp", "full"))
        colors = {}
        for name, runs in {"both": (prdp, full), "alone": (prdp,), "full": (full,)}.items():
            write_paper_figure(tmp_path / f"{name}.svg", *runs)
            svg = (tmp_path / f"{name}.svg").read_text()
            every = (PRDP_COLOR, FULL_COLOR, PR_SAVING_COLOR, IC_SAVING_COLOR)
            colors[name] = {color for color in every if color.lower() in svg}
        assert colors == {
            "both": {PRDP_COLOR, FULL_COLOR, PR_SAVING_COLOR, IC_SAVING_COLOR},
            "alone": {PRDP_COLOR, PR_SAVING_COLOR, IC_SAVING_COLOR},
            "full": {FULL_COLOR},
        }

    def test_a_scenario_of_ones_own_is_no_formula(self, store: Store, tmp_path: Path):
        settings = {**settings_for("heat-1d").to_json(), "scenario": r"$\frac{", "preset": "own"}
        store.add("formula", "run", "formula", settings)
        write_paper_figure(tmp_path / "formula.PNG", KeptRun.read(store, "formula"))
        assert (tmp_path / "formula.PNG").read_bytes().startswith(b"\x89PNG")


class TestReport:
    @pytest.mark.parametrize(
        ("run_id", "full_id", "told"),
        [
            ("prdp", "full", "After 40 epochs PRDP has spent 12% of the inner iterations and 100% of the seconds of "
                             "full physics, and its error is 1.00 × that of full physics."),
            ("prdp", None, "After 40 epochs PRDP has spent 120 inner iterations, 12% of what K = 25 throughout takes, "
                           "and its validation error went from 0.5 to 0.225."),
            ("full", None, "After 40 epochs this run has spent 1,000 inner iterations, and its validation error went"),
            ("few", "full", "After 40 epochs this run has spent 16% of the inner iterations of full physics, and its "
                            "error is 1.00 × that of full physics. Their seconds were measured on different"),
            ("few", None, "After 40 epochs this run has spent 160 inner iterations, 16% of what K = 25 throughout"),
            ("nothing", None, "No epoch of training was recorded."),
            ("nothing", "full", "No epoch of training was recorded."),
            ("before", None, "No epoch of training was recorded."),
            ("diverged", None, "After 2 epochs PRDP has spent 6 inner iterations, 12% of what K = 25 throughout takes, "
                               "and its validation error is no longer a number."),
            ("diverged", "full", "After 2 epochs the errors are no longer numbers that can be compared."),
            ("tolerance", None, "After 40 epochs PRDP has spent 120 inner iterations"),
            ("own", None, "After 4 epochs PRDP has spent 12 inner iterations"),
        ],
    )  # fmt: skip
    def test_the_headline_is_true(self, reported: Callable[..., str], run_id: str, full_id: str | None, told: str):
        page = reported(run_id, *filter(None, [full_id]))
        assert told in words(page)
        assert "nan" not in words(page)

    def test_costs_settings_and_versions_are_told(self, store: Store):
        store.rename("prdp", "Monday's")
        store.annotate("prdp", "for the talk")
        store.write("prdp", status="finished", message="Done.", rows=made_up_rows(0, 0), first=41,
                    events=[Event(11, "adjust", {"tau_step": 0.5}, "τ_step is 0.5.")])  # fmt: skip
        told = words(report(store, "prdp", "full"))
        for row in (
            "PRDP full physics K = 25 throughout epochs 40 40 40 inner iterations 120 1,000 1,000",
            "saved by refining late (PR) 0 – – saved by never converging fully (IC) 880 – –",
            "refinement: tau_step 0.98",
            "tau_step, as edited last 0.5",
            "10 τ_step is 0.5.",
            "for the talk",
            "Monday's, prdp",
            f"jax {store.run('prdp').made_with['jax']}",
        ):
            assert row in told
        assert told.count("Plateau") == 4  # every refinement, with its reason

    def test_what_is_not_drawn_is_not_in_a_legend(self, reported: Callable[..., str]):
        legends = {run_id: words(reported(run_id)) for run_id in ("prdp", "full", "few")}
        assert "K of PRDP" in legends["prdp"] and "K of full physics" not in legends["prdp"]
        assert "K of full physics" in legends["full"] and "saved by" not in legends["full"]
        assert "K of K = 4 throughout" in legends["few"]

    def test_words_of_others_stay_words(self, store: Store):
        store.add("hostile-1", HOSTILE, "hostile-1", {**settings_for("heat-1d").to_json(), HOSTILE: HOSTILE})
        store.write("hostile-1", status="failed", message=HOSTILE, rows=made_up_rows(0, 5), first=0,
                    events=[Event(1, HOSTILE, {HOSTILE: 1}, HOSTILE)])  # fmt: skip
        store.annotate("hostile-1", HOSTILE)
        store.rename("hostile-1", HOSTILE)
        page = report(store, "hostile-1")
        assert words(page).count(HOSTILE) == 6
        assert "alert(1)</script>" not in page
        assert "<img" not in page[page.index("<main>") :]
        (nonce,) = set(re.findall(r'<script nonce="([^"]+)">', page))
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
        assert policy is not None
        assert f"default-src 'none'; script-src 'nonce-{nonce}'" in policy[1]
        assert nonce not in report(store, "hostile-1")

    def test_it_names_nothing_elsewhere(self, reported: Callable[..., str]):
        page = reported("prdp", "full")
        markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
        assert not re.search(r"""(src|href)=|url\(|@import|https?://""", markup)

    def test_a_long_run_makes_no_long_page(self, store: Store):
        keep(store, "long", made_up_rows(0, 20_001, refine_every=10), epochs=20_000)
        page = report(store, "long")
        assert "The newest 500 of 2000 lines." in words(page)
        assert len(page) < 3.5e6
