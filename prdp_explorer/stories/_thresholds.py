"""The story: Thresholds that are too eager and too shy."""

from ..engine import Engine, Run
from ..refinement import Constant
from ._library import FULL, PRDP, race
from ._story import Recorded, Step, Story, number, percent

_EAGER, _SHY, _STOPS = "eager: τ_step = 0.5", "shy: τ_step = 0.999", "gives up: τ_stop = 0.5"


def _train(engine: Engine) -> list[Run]:
    return race(
        engine,
        "heat-1d",
        {
            PRDP: None,
            FULL: Constant(),
            _EAGER: {"controller": {"kind": "prdp", "tau_step": 0.5}},
            _SHY: {"controller": {"kind": "prdp", "tau_step": 0.999}},
            _STOPS: {"controller": {"kind": "prdp", "tau_stop": 0.5}},
        },
    )


def _tell(runs: Recorded) -> list[Step]:
    prdp, full, eager, shy, stops = (runs[label] for label in (PRDP, FULL, _EAGER, _SHY, _STOPS))
    everyone = (PRDP, FULL, _EAGER, _SHY, _STOPS)
    return [
        Step(
            "Two thresholds, three questions",
            (
                "PRDP has two thresholds. τ_step says what counts as a plateau, τ_stop whether the last refinement "
                "was worth it. Beside the usual values (0.98 and 0.9) three runs have one of them set wrongly.",
                f"After 20 epochs the usual one is at K = {prdp.iterations(20)}, the eager one at "
                f"{eager.iterations(20)}, the shy one at {shy.iterations(20)}.",
            ),
            "The steps of K in “How much physics?”.",
            everyone,
            epoch=20,
        ),
        Step(
            "Too eager",
            (
                "With τ_step = 0.5 anything less than halving the error within three epochs counts as a plateau, so "
                f"that K rises nearly every epoch and reaches full physics after {eager.refined()[-1]} epochs.",
                f"It spends {percent(eager.spent(), full.spent())} of the iterations of full physics; the usual one "
                f"{percent(prdp.spent(), full.spent())}. Their errors: {number(eager.error())} and "
                f"{number(prdp.error())}.",
            ),
            "The ratio r: it lies above the dashed τ_step from the first epochs on.",
            (_EAGER, FULL),
            tab="Why",
            epoch=eager.refined()[3],
        ),
        Step(
            "Too shy",
            (
                "With τ_step = 0.999 only a standstill counts as a plateau. Training crawls at a K that is too small "
                f"before it is raised: K = {shy.iterations(shy.refined()[3])} from epoch {shy.refined()[2] + 1} to "
                f"{shy.refined()[3]}.",
                f"It saves most, {percent(full.spent() - shy.spent(), full.spent())} of the iterations, and ends at "
                f"{number(shy.error())} instead of {number(prdp.error())}: it ran out of epochs.",
            ),
            "The long flat stretches of the error, and r just below τ_step.",
            (_SHY, FULL),
            tab="Why",
            epoch=shy.refined()[3],
        ),
        Step(
            "Giving up too early",
            (
                "With τ_stop = 0.5 a refinement counts as worth it only if it halved the error. After epoch "
                f"{stops.refined()[-1]} none did, so that K stayed at {stops.iterations()} for good.",
                f"It ends at {number(stops.error())}, with {stops.spent()} iterations; the usual one went on to K = "
                f"{prdp.iterations()} and {number(prdp.error())}.",
            ),
            "The ratio r_c of the error now to that at the last refinement: above τ_stop there is no refinement.",
            (_STOPS, FULL),
            tab="Why",
        ),
        Step(
            "All of them over what they cost",
            (
                "Drawn over inner iterations, what matters is how low a curve is where it ends. The eager one goes "
                "as low as full physics and pays nearly as much; the shy one stops short.",
                "To find values for a problem of your own, begin with the usual ones, and lower τ_step if the error "
                "shows long flat stretches. The Why tab answers what-ifs on any recorded run.",
            ),
            "The end of each curve.",
            everyone,
            axis="inner iterations",
        ),
    ]


STORY = Story(
    "thresholds",
    "Thresholds: too eager, too shy",
    "What do τ_step and τ_stop do, and how does one see that they are wrong?",
    7,
    _train,
    _tell,
)
