"""The story: Unrolled or implicit differentiation."""

from ..engine import Engine, Run
from ..refinement import Constant
from ._library import FULL, race
from ._story import Recorded, Step, Story, number

_EXACT, _SD_UNROLLED, _SD_IMPLICIT = "exact adjoint", "unrolled, steepest descent", "implicit, steepest descent"


def _train(engine: Engine) -> list[Run]:
    jacobi = {
        "implicit": {"controller": Constant(5), "differentiation": "implicit"},
        FULL: Constant(),
        "unrolled": {"controller": Constant(5), "differentiation": "unrolled"},
        _EXACT: {"controller": Constant(5), "differentiation": "exact-adjoint"},
    }
    descent = {
        _SD_IMPLICIT: {"controller": Constant(2), "solver": "steepest-descent", "differentiation": "implicit"},
        _SD_UNROLLED: {"controller": Constant(2), "solver": "steepest-descent", "differentiation": "unrolled"},
    }
    return [*race(engine, "heat-1d", jacobi), *race(engine, "heat-1d", descent)]


def _tell(runs: Recorded) -> list[Step]:
    implicit, unrolled, exact, full = (runs[label] for label in ("implicit", "unrolled", _EXACT, FULL))
    sd_implicit, sd_unrolled = runs[_SD_IMPLICIT], runs[_SD_UNROLLED]
    jacobi, descent = ("implicit", FULL, "unrolled", _EXACT), (_SD_IMPLICIT, _SD_UNROLLED)
    return [
        Step(
            "Two ways back through a solver",
            (
                "Unrolled differentiation goes back through all K iterations, one by one. Implicit differentiation "
                "forgets them and solves one more linear system, with the transposed matrix, again for K iterations.",
                f"Both train here with K = 5 Jacobi iterations. After {implicit.epochs} epochs: implicit "
                f"{number(implicit.error())}, unrolled {number(unrolled.error())}.",
            ),
            "The curves of implicit and unrolled: they lie on each other.",
            jacobi,
        ),
        Step(
            "For Jacobi they are the same number",
            (
                "Jacobi from zero is a fixed polynomial of the matrix, applied to the right side. Its derivative is "
                "the same polynomial of the transposed matrix: K iterations of Jacobi on the transposed system, which "
                "is what implicit differentiation does.",
                f"At K = 4 both are {number(implicit.angle(4, 'implicit', 0))}° off the converged gradient before "
                f"training; one-step, which differentiates the last iteration only, is "
                f"{number(implicit.angle(4, 'one-step', 0))}° off.",
            ),
            "The gradient lab: the marks of implicit and unrolled coincide at every K; one-step stays behind.",
            jacobi,
            tab="Labs",
            epoch=0,
        ),
        Step(
            "A coarse solution with an exact adjoint",
            (
                "Would it help to solve only the adjoint system exactly? The exact adjoint does, and ends at "
                f"{number(exact.error())}; implicit, which cuts it off at K = 5 as well, at "
                f"{number(implicit.error())}. Full physics: {number(full.error())}.",
                "The coarse solution decides where training ends here; a better derivative of it changes little.",
            ),
            "Three curves that end together, and the one below them: full physics.",
            jacobi,
        ),
        Step(
            "With steepest descent they part",
            (
                "Steepest descent chooses its step size from the residual, so that its iterations depend on the right "
                "side in a nonlinear way. Unrolled sees that; implicit does not.",
                f"With K = 2: unrolled ends at {number(sd_unrolled.error())}, implicit at "
                f"{number(sd_implicit.error())}.",
            ),
            "Two curves that no longer coincide.",
            descent,
        ),
        Step(
            "Two different derivatives",
            (
                "Neither of the two is wrong. Unrolled is the exact derivative of what was computed; implicit "
                "approximates the derivative of the exact solution. With enough iterations they meet.",
                f"Before training, at K = 2, unrolled is {number(sd_implicit.angle(2, 'unrolled', 0))}° and implicit "
                f"{number(sd_implicit.angle(2, 'implicit', 0))}° off the converged gradient.",
            ),
            "The gradient lab: unrolled and implicit at small K, and that both fall to the right.",
            descent,
            tab="Labs",
            epoch=0,
        ),
        Step(
            "What they cost",
            (
                "Unrolled keeps the state of every iteration until the way back: memory grows with K. Implicit keeps "
                "the last one only. On this small problem both fit easily, and the recording took "
                f"{number(unrolled.seconds())} s unrolled and {number(implicit.seconds())} s implicit.",
                "Rule of thumb: implicit, unless the solver is nonlinear in the right side and K is small.",
            ),
            "The bars: equal iterations, and the seconds.",
            jacobi,
        ),
    ]


STORY = Story(
    "unrolled-or-implicit",
    "Unrolled or implicit?",
    "Two ways to differentiate through a solver: when are they the same, and when not?",
    8,
    _train,
    _tell,
    labs=(("implicit", 0), (_SD_IMPLICIT, 0)),
)
