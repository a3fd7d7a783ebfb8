"""The stories, in the order in which they are best told."""

from collections.abc import Mapping
from typing import Any

from ..engine import Engine, Run, settings_for
from ..refinement import Constant, Reason
from ._library import finished
from ._story import Recorded, Step, Story, number, percent

PRDP, FULL = "PRDP", "full physics"


def _race(engine: Engine, scenario: str, contenders: Mapping[str, Any], **choices: Any) -> list[Run]:
    """Runs that advanced together, over. A contender is a controller, or settings of its own with one."""
    settings = {}
    for label, contender in contenders.items():
        own = dict(contender) if isinstance(contender, dict) else {"controller": contender}
        settings[label] = settings_for(scenario, own.pop("controller"), **{"seed": 0, **choices, **own})
    return finished(*engine.race_with(settings).runs.values())


def _train_coarse(engine: Engine) -> list[Run]:
    return _race(engine, "heat-1d", {PRDP: None, FULL: Constant()})


def _tell_coarse(runs: Recorded) -> list[Step]:
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


def _train_not_enough(engine: Engine) -> list[Run]:
    return _race(
        engine,
        "heat-1d",
        {PRDP: None, FULL: Constant(), "K = 1": Constant(1), "K = 2": Constant(2), "K = 4": Constant(4)},
    )


def _tell_not_enough(runs: Recorded) -> list[Step]:
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


_EXACT, _SD_UNROLLED, _SD_IMPLICIT = "exact adjoint", "unrolled, steepest descent", "implicit, steepest descent"


def _train_modes(engine: Engine) -> list[Run]:
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
    return [*_race(engine, "heat-1d", jacobi), *_race(engine, "heat-1d", descent)]


def _tell_modes(runs: Recorded) -> list[Step]:
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


_EAGER, _SHY, _STOPS = "eager: τ_step = 0.5", "shy: τ_step = 0.999", "gives up: τ_stop = 0.5"


def _train_thresholds(engine: Engine) -> list[Run]:
    return _race(
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


def _tell_thresholds(runs: Recorded) -> list[Step]:
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


_TOO_LARGE, _RESCUED = "rate 20,000", "rescued: rate 2,000"


def _train_diverging(engine: Engine) -> list[Run]:
    heat = _race(engine, "heat-1d", {PRDP: None, FULL: Constant(), "K = 1": Constant(1)})
    (diverged,) = _race(engine, "poisson-1", {_TOO_LARGE: Constant()}, learning_rate=20_000.0)
    fork = engine.fork(diverged.id, 4, learning_rate=2_000.0)
    (rescued,) = fork.runs.values()
    rescued.label = _RESCUED
    return [*heat, diverged, *finished(rescued)]


def _tell_diverging(runs: Recorded) -> list[Step]:
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


def _train_navier_stokes(engine: Engine) -> list[Run]:
    return _race(engine, "navier-stokes-2d", {PRDP: None, FULL: Constant()})


def _tell_navier_stokes(runs: Recorded) -> list[Step]:
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


_ALL = (
    Story(
        "coarse-suffices",
        "Why coarse physics suffices",
        "How can a network learn from a solver that has hardly begun?",
        6,
        _train_coarse,
        _tell_coarse,
        gradients=((PRDP, 0), (PRDP, None)),
    ),
    Story(
        "coarse-is-not-enough",
        "When coarse physics does not suffice",
        "If one iteration gives a direction, why ever do more?",
        6,
        _train_not_enough,
        _tell_not_enough,
        gradients=(("K = 2", None),),
    ),
    Story(
        "unrolled-or-implicit",
        "Unrolled or implicit?",
        "Two ways to differentiate through a solver: when are they the same, and when not?",
        8,
        _train_modes,
        _tell_modes,
        gradients=(("implicit", 0), (_SD_IMPLICIT, 0)),
    ),
    Story(
        "thresholds",
        "Thresholds: too eager, too shy",
        "What do τ_step and τ_stop do, and how does one see that they are wrong?",
        7,
        _train_thresholds,
        _tell_thresholds,
    ),
    Story(
        "diverging-start",
        "A diverging start, and its rescue",
        "The error grows instead of falling. What helps, and what does not?",
        6,
        _train_diverging,
        _tell_diverging,
    ),
    Story(
        "navier-stokes",
        "Navier-Stokes, where it pays",
        "When do saved iterations become saved seconds?",
        6,
        _train_navier_stokes,
        _tell_navier_stokes,
    ),
)

STORIES: Mapping[str, Story] = {story.id: story for story in _ALL}
"""All stories by id."""


def story_named(id: str) -> Story:
    """The story with this id.

    **Raises:** `ValueError` in words for one that there is not.
    """
    if id not in STORIES:
        raise ValueError(f"There is no story {id[:60]!r}; stories are {', '.join(STORIES)}.")
    return STORIES[id]
