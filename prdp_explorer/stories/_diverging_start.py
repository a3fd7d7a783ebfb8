"""The story: A start that diverges, and its rescue."""

from ..engine import Engine, Run
from ..refinement import Constant, Reason
from ._library import FULL, PRDP, finished, race
from ._story import Recorded, Step, Story, number

_TOO_LARGE, _RESCUED = "rate 20,000", "rescued: rate 2,000"


def _train(engine: Engine) -> list[Run]:
    heat = race(engine, "heat-1d", {PRDP: None, FULL: Constant(), "K = 1": Constant(1)})
    (diverged,) = race(engine, "poisson-1", {_TOO_LARGE: Constant()}, learning_rate=20_000.0)
    fork = engine.fork(diverged.id, 4, learning_rate=2_000.0)
    (rescued,) = fork.runs.values()
    rescued.label = _RESCUED
    return [*heat, diverged, *finished(rescued)]


def _tell(runs: Recorded) -> list[Step]:
    prdp, one = runs[PRDP], runs["K = 1"]
    diverged, rescued = runs[_TOO_LARGE], runs[_RESCUED]
    grows = prdp.first(lambda row: row["reason"] == Reason.DIVERGING)
    return [
        Step(
            "An error that grows",
            (
                f"One Jacobi iteration is too coarse for this network for long. Before training its error is "
                f"{number(one.error(0))}; with K = 1 kept it is {number(one.error(grows))} after epoch {grows} and "
                f"{number(one.error(2 * grows))} after {2 * grows}.",
                f"PRDP, which was at K = {prdp.iterations(grows)} by then, got worse as well: "
                f"{number(prdp.error(grows - 1))}, then {number(prdp.error(grows))}.",
            ),
            "The error of K = 1, and the peak of PRDP's.",
            (PRDP, FULL, "K = 1"),
            epoch=2 * grows,
        ),
        Step(
            "PRDP does not wait for a plateau to be worth it",
            (
                "When the error now is larger than at the last refinement, the ratio r_c is above 1. Then τ_stop is "
                "not asked: the physics is too coarse, and K is raised at once.",
                f"That is what happened after epoch {grows}: K went from {prdp.iterations(grows)} to "
                f"{prdp.iterations(grows + 1)}.",
            ),
            "The words on top, and r_c above 1 in the figure of checkpoints.",
            (PRDP, FULL),
            tab="Why",
            epoch=grows,
        ),
        Step(
            "Rescued by physics",
            (
                f"{number(prdp.error(grows))} became {number(prdp.error(3 * grows))} by epoch {3 * grows}, and "
                f"{number(prdp.error())} in the end. K = 1 throughout ended at {number(one.error())}.",
            ),
            "The blue curve after its peak, beside that of K = 1.",
            (PRDP, FULL, "K = 1"),
        ),
        Step(
            "What refinement cannot rescue",
            (
                "Here the learning rate is too large: full physics, a Poisson equation with one unknown number, and a "
                "step that overshoots further each time. The error grew from "
                f"{number(diverged.error(0))} to {number(diverged.error(10))} in ten epochs.",
                f"After epoch {diverged.epochs} it was {number(diverged.error())}, and the loss, its square, more than "
                "single precision can hold. The run was stopped there, with everything before it kept.",
            ),
            "A straight line upwards on a logarithmic axis: growth by the same factor each epoch.",
            (_TOO_LARGE,),
        ),
        Step(
            "Back to before it went wrong",
            (
                f"A run that is kept can be forked from any of its epochs. This one goes on from epoch 4 with a rate "
                f"ten times smaller, and ends at {number(rescued.error())}.",
                "On the page: move the scrubber to the epoch, change the learning rate in the drawer, press Fork.",
            ),
            "Where the two curves part.",
            (_RESCUED, _TOO_LARGE),
        ),
    ]


STORY = Story(
    "diverging-start",
    "A diverging start, and its rescue",
    "The error grows instead of falling. What helps, and what does not?",
    6,
    _train,
    _tell,
)
