"""The story: Navier-Stokes, where it pays."""

from ..engine import Engine, Run
from ..refinement import Constant
from ._library import FULL, PRDP, race
from ._story import Recorded, Step, Story, number, percent


def _train(engine: Engine) -> list[Run]:
    return race(engine, "navier-stokes-2d", {PRDP: None, FULL: Constant()})


def _tell(runs: Recorded) -> list[Step]:
    prdp, full = runs[PRDP], runs[FULL]
    both = (PRDP, FULL)
    fast, slow = (run.seconds() / run.epochs for run in (prdp, full))
    per_iteration = (slow - fast) * prdp.epochs / (full.spent() - prdp.spent())
    fixed = slow - per_iteration * full.iterations()
    (refined,) = prdp.refined()[:1]
    return [
        Step(
            "A flow, and a network that corrects it",
            (
                "A coarse solver of the Navier-Stokes equations makes one step after another; a network corrects each "
                "of them, and learns from a finer simulation. In every step a saddle-point system is solved by GMRES: "
                f"with {full.iterations()} restarts for full physics, while PRDP begins with {prdp.iterations(1)}.",
            ),
            "A validation sample: “after the correction” beside “target”, and that PRDP's errors are no larger.",
            both,
            tab="Fields",
            epoch=prdp.epochs,
        ),
        Step(
            "After as many epochs, the same error",
            (
                f"After 10 epochs: PRDP {number(prdp.error(10))}, full physics {number(full.error(10))}. PRDP has done "
                f"{percent(prdp.spent(10), full.spent(10))} of the inner iterations.",
            ),
            "The two error curves, which lie close together.",
            both,
            epoch=10,
        ),
        Step(
            "Its one refinement" if len(prdp.refined()) == 1 else "Its refinements",
            (
                f"K = {prdp.iterations(refined)} was enough for {refined} epochs. Then the error stopped falling, and "
                f"K became {prdp.iterations(refined + 1)}. It ended at K = {prdp.iterations()}, far from the "
                f"{full.iterations()} of full physics.",
            ),
            "The plateau ratio where it crosses τ_step.",
            both,
            tab="Why",
            epoch=refined,
        ),
        Step(
            "Where the seconds go",
            (
                f"In this recording an epoch cost {number(fixed)} s plus {number(per_iteration)} s for each inner "
                f"iteration. With full physics {percent(per_iteration * full.iterations(), slow)} of the time "
                "was physics: where that is so, iterations saved are seconds saved.",
                "On heat in 1D the network and everything around it cost more than the solver, and little time can "
                "be saved. The Labs tab measures it for any scenario before a training starts.",
            ),
            "The curves over seconds: the same curve as before, but one of them is much shorter.",
            both,
            axis="seconds",
        ),
        Step(
            "What it comes to",
            (
                f"PRDP: {prdp.spent():,} inner iterations, {number(prdp.seconds())} s, an error of "
                f"{number(prdp.error())}. Full physics: {full.spent():,}, {number(full.seconds())} s, "
                f"{number(full.error())}.",
                f"That is {percent(prdp.seconds(), full.seconds())} of the seconds.",
            ),
            "The bars, and the two shaded areas.",
            both,
        ),
    ]


STORY = Story(
    "navier-stokes",
    "Navier-Stokes, where it pays",
    "When do saved iterations become saved seconds?",
    6,
    _train,
    _tell,
)
