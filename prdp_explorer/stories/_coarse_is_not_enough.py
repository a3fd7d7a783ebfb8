"""The story: When coarse physics does not suffice."""

from ..engine import Engine, Run
from ..refinement import Constant
from ._library import FULL, PRDP, race
from ._story import Recorded, Step, Story, number


def _train(engine: Engine) -> list[Run]:
    return race(
        engine,
        "heat-1d",
        {PRDP: None, FULL: Constant(), "K = 1": Constant(1), "K = 2": Constant(2), "K = 4": Constant(4)},
    )


def _tell(runs: Recorded) -> list[Step]:
    prdp, full, one, two, four = (runs[label] for label in (PRDP, FULL, "K = 1", "K = 2", "K = 4"))
    everyone = (PRDP, FULL, "K = 1", "K = 2", "K = 4")
    early = 5
    return [
        Step(
            "Why not always coarse?",
            (
                "If one iteration gives a usable direction, why ever do more? Five networks, the same data: full "
                "physics, PRDP, and three that keep K = 1, 2 and 4 for ever.",
                f"After {early} epochs nothing tells against it: with K = 1 the error is {number(one.error(early))}, "
                f"with full physics {number(full.error(early))}.",
            ),
            "The error curves, which still run together, and the bars: what each has cost so far.",
            everyone,
            epoch=early,
        ),
        Step(
            "They stall, each at its own height",
            (
                f"After {one.epochs} epochs: K = 4 stands at {number(four.error())}, K = 2 at {number(two.error())}, "
                f"K = 1 at {number(one.error())}. An untrained network has {number(one.error(0))}: with K = 1 training "
                "has made it worse.",
                f"Full physics is at {number(full.error())}. More epochs do not help the others; their curves are "
                "flat.",
            ),
            "The heights at which the curves become flat.",
            everyone,
        ),
        Step(
            "They have learned the wrong thing well",
            (
                "A network that learns through a coarse solver learns to make up for it: it predicts whatever the "
                "coarse solver turns into the right answer. The better it does so, the further it is from the physics.",
                "This is the network of K = 2. Its training loss is small; its prediction is not the solution.",
            ),
            "The prediction beside the reference: too large in amplitude, since the coarse solver damps it.",
            ("K = 2", FULL),
            tab="Fields",
        ),
        Step(
            "A gradient that misleads",
            (
                "At the end the network of K = 2 sits where its own gradient says there is nothing left to gain. The "
                f"converged gradient at the same place points {number(two.angle(2, 'implicit'))}° away from it.",
            ),
            "The gradient lab: “Same direction?” at K = 2, and how many iterations it takes until it is.",
            ("K = 2", FULL),
            tab="Labs",
        ),
        Step(
            "PRDP leaves in time",
            (
                f"PRDP began at K = {prdp.iterations(1)} as well, and raised K {len(prdp.refined())} times, each time "
                f"when training had stalled. It ended at K = {prdp.iterations()} with an error of "
                f"{number(prdp.error())}, for {prdp.spent():,} iterations. K = 4 throughout cost {four.spent():,} and "
                f"ended at {number(four.error())}.",
            ),
            "Where the blue steps rise, and what the blue error curve does next.",
            everyone,
        ),
    ]


STORY = Story(
    "coarse-is-not-enough",
    "When coarse physics does not suffice",
    "If one iteration gives a direction, why ever do more?",
    6,
    _train,
    _tell,
    labs=(("K = 2", None),),
)
