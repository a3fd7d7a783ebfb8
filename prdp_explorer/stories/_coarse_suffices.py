"""The story: Why coarse physics suffices."""

from ..engine import Engine, Run
from ..refinement import Constant
from ._library import FULL, PRDP, race
from ._story import Recorded, Step, Story, number, percent


def _train(engine: Engine) -> list[Run]:
    return race(engine, "heat-1d", {PRDP: None, FULL: Constant()})


def _tell(runs: Recorded) -> list[Step]:
    prdp, full = runs[PRDP], runs[FULL]
    both = (PRDP, FULL)
    early, last = 25, prdp.refined()[-1]
    stalled, stalled_next = prdp.refined()[3:5]
    whole = full.iterations()
    return [
        Step(
            "Two networks, one question",
            (
                "Two networks learn one time step of the heat equation. Each prediction goes through a solver of the "
                "next time step before it is compared with the data, so that each gradient comes through the solver.",
                f"Full physics lets the solver do {whole} Jacobi iterations, which is converged. PRDP began with "
                f"K = {prdp.iterations(1)}. After {early} epochs it has done {prdp.spent(early)} iterations instead of "
                f"{full.spent(early)}.",
            ),
            "The two error curves, and K of both in “How much physics?”.",
            both,
            epoch=early,
        ),
        Step(
            "What a coarse gradient is worth",
            (
                "A network does not need the solution, it needs a direction. Before training, the gradient through one "
                f"single iteration is {number(prdp.angle(1, 'implicit', 0))}° off the converged one; through four, "
                f"{number(prdp.angle(4, 'implicit', 0))}°; through {whole}, "
                f"{number(prdp.angle(whole, 'implicit', 0))}°.",
                f"{number(prdp.angle(1, 'implicit', 0))}° off is still downhill: that is why coarse physics suffices "
                "to begin with.",
            ),
            "The gradient lab, “Same direction?”: at K = 1 it is small already, and falls with every iteration.",
            both,
            tab="Labs",
            epoch=0,
        ),
        Step(
            "When it is time for more",
            (
                "PRDP watches the validation error. While it falls, K stays. When it no longer falls, the ratio r of "
                "the error now to the error a few epochs ago comes above τ_step: a plateau.",
                f"That happened after epoch {stalled}, for instance: K became {prdp.iterations(stalled + 1)}, and the "
                f"error, {number(prdp.error(stalled))} by then, was {number(prdp.error(stalled_next))} when the next "
                f"plateau came, after epoch {stalled_next}.",
            ),
            "The ratio r where it comes above τ_step, and the steps of K: a triangle marks each refinement.",
            both,
            tab="Why",
            epoch=stalled,
        ),
        Step(
            "Near the end, direction needs precision",
            (
                "Close to the optimum the gradient is small, and the solver's own error is no longer small beside it. "
                f"After training, four iterations give a gradient {number(prdp.angle(4, 'implicit'))}° off: no "
                f"direction at all. With K = {prdp.iterations()}, where PRDP ended, it is "
                f"{number(prdp.angle(prdp.iterations(), 'implicit'))}°.",
                "What suffices grows while the network improves. No K that is fixed in advance is right throughout.",
            ),
            "The same figure: left of K = 6 all lines are near 1 now, a gradient that points anywhere.",
            both,
            tab="Labs",
        ),
        Step(
            "What it comes to",
            (
                f"After {prdp.epochs} epochs PRDP has done {prdp.spent():,} inner iterations, "
                f"{percent(prdp.spent(), full.spent())} of the {full.spent():,} of full physics. Its error is "
                f"{number(prdp.error())}; that of full physics {number(full.error())}.",
                f"Two savings: it refined late (the area below its steps is small), and it ended at K = "
                f"{prdp.iterations()} instead of {whole}, since more than that would not have helped. The last "
                f"refinement came after epoch {last}.",
            ),
            "The two shaded areas of “How much physics?”, and the bars.",
            both,
        ),
    ]


STORY = Story(
    "coarse-suffices",
    "Why coarse physics suffices",
    "How can a network learn from a solver that has hardly begun?",
    6,
    _train,
    _tell,
    labs=((PRDP, 0), (PRDP, None)),
)
