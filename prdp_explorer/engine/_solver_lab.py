"""The solver lab: what solvers make of the linear system that a run solves now, iteration by iteration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..solvers import GMRES, AbstractOperator, AbstractSolver, Detached, converge, unsuited_solver
from ._convergence import Convergence, convergence
from ._epoch import Trainer
from ._first_system import System, capturing
from ._loop import LoopSettings
from ._rollouts import Parameters
from ._run import Run
from ._settings import RunSettings

MOST_ITERATIONS = 2000

USUAL_ITERATIONS = 400
"""At most so many by default, unless K asks for more."""

CALLS = 24
"""Of a solver that is called once a solve: about so many numbers of iterations are tried."""

DENSE = 1024
"""Unknowns up to which the solution is found with an assembled matrix."""

_RESTART = 60
"""Of the GMRES that finds it otherwise: the larger the surer, at the price of so many fields."""


@dataclass(frozen=True)
class SolverLab:
    """What solvers make of the current linear system of a run: that of the first inner solve of its training loss.

    **Attributes:**

    - `epoch`: of training, after which the parameters are taken; 0 for before training.
    - `sample`: the number of the training sample, from 0.
    - `iterations`: K of the epoch after that; where a tolerance is refined, what the last epoch used on average.
    - `unknowns`: the size of the system.
    - `reference`: in words, how x* was found, or why it was not.
    - `double`: whether all was computed in double precision; else in the working precision.
    - `convergences`: by the name of the solver, in the order asked for.
    """

    epoch: int
    sample: int
    iterations: int
    unknowns: int
    reference: str
    double: bool
    convergences: Mapping[str, Convergence]


def checked_request(settings: RunSettings, solvers: Sequence[str] | None, iterations: int | None) -> tuple[str, ...]:
    """The names of the solvers to look at.

    **Raises:** `ValueError` in words for a run without a system, and for what cannot be asked for.
    """
    if isinstance(settings, LoopSettings):
        raise ValueError("A loop of one's own has no system here: only its author's code makes it and solves it.")
    if iterations is not None and (not isinstance(iterations, int) or not 1 <= iterations <= MOST_ITERATIONS):
        raise ValueError(f"`iterations` must be a whole number from 1 to {MOST_ITERATIONS}; got {iterations!r}.")
    names = (settings.solver,) if solvers is None else tuple(dict.fromkeys(solvers))
    offered = settings.problem.solvers
    unknown = [name for name in names if name not in offered]
    if unknown or not names:
        got = ", ".join(map(repr, unknown)) or "none"
        raise ValueError(f"`solvers` must be some of {', '.join(offered)} for {settings.scenario}; got {got}.")
    return names


def look_at_system(
    run: Run, parameters: Parameters, solvers: Sequence[str], iterations: int | None, sample: int
) -> SolverLab:
    """What `Engine.solver_lab` answers. Compiles the first time.

    **Raises:** `ValueError` in words for a sample or a system that there is not.
    """
    settings = run.settings
    trainer = Trainer(settings.problem, settings.build_solver(), Detached(), "validation")
    system = capturing(trainer, jnp.result_type(float)).system(parameters, sample)
    now = _iterations_now(run, parameters.epoch)
    if iterations is None:
        full = settings.problem.full_iterations
        iterations = min(max(min(2 * full, USUAL_ITERATIONS), math.ceil(1.2 * full), now), MOST_ITERATIONS)
    built = {name: settings.problem.solver(name) for name in solvers}
    for solver in built.values():
        if (unsuited := unsuited_solver(type(solver), type(system.operator))) is not None:
            raise ValueError(f"`solvers` do not all suit this system: {unsuited}.")
    try:
        with jax.enable_x64(True):
            found = _look(system, built, iterations, now, np.dtype(np.float64))
    except TypeError:  # something in this problem or solver is written for one precision
        found = _look(system, built, iterations, now, np.dtype(jnp.result_type(float)))
    return SolverLab(epoch=parameters.epoch, sample=sample, iterations=now, unknowns=system.b.size, **found)


def _iterations_now(run: Run, epoch: int) -> int:
    rows = run.log.read()
    if not len(rows):
        return run.next_iterations
    row = rows[min(epoch, len(rows) - 1)]
    used = math.isfinite(row["next_rtol"]) and row["iterations"] > 0
    return int(row["iterations"] if used else row["next_iterations"])


def _look(
    system: System, solvers: Mapping[str, AbstractSolver], count: int, now: int, precision: np.dtype
) -> dict[str, Any]:
    """What a lab holds of these solvers, in this precision.

    **Raises:** `TypeError` where the problem's own code does not go along with it.
    """

    def cast(tree: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jnp.asarray(leaf, precision if leaf.dtype.kind == "f" else None) if _is_array(leaf) else leaf,
            tree,
        )

    operator, b, start = cast((system.operator, system.b, system.start))
    if eqx.filter_eval_shape(operator.matvec, b).dtype != precision:
        raise TypeError("the operator is of another precision")
    reference, words = _reference(operator, b, start)
    convergences = {}
    for name, each in solvers.items():
        solver = cast(each)
        if solver.steps:
            iterations = np.arange(count + 1)
            curves = _by_step(solver, operator, b, start, reference, count)
        else:
            iterations = np.unique(np.round(np.append(np.linspace(0, count, CALLS), [1, min(now, count)])).astype(int))
            each_call = [_by_call(solver, operator, b, start, reference, jnp.asarray(k)) for k in iterations]
            curves = np.array(each_call).T
        residuals, errors = (np.asarray(curve, float) for curve in curves)
        if residuals[0] == 0:
            raise ValueError("The start of this inner solve is its solution already: there is nothing to look at.")
        # What diverges beyond all numbers is infinite on the way, which is no reason to warn.
        with np.errstate(all="ignore"):
            convergences[name] = convergence(
                name,
                iterations,
                residuals / residuals[0],
                errors / errors[0],
                float(np.finfo(precision).eps),
                constant=solver.restarts,
            )
    return {"reference": words, "double": precision == np.float64, "convergences": convergences}


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array)


@eqx.filter_jit
def _by_step(solver: Any, operator: Any, b: Array, start: Array, reference: Array, count: int) -> tuple[Array, Array]:
    def body(state: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
        after = solver.step(operator, b, state)
        return after, _norms(operator, b, reference, solver.solution(after))

    _, norms = jax.lax.scan(body, solver.init(operator, b, start), None, length=count)
    first = _norms(operator, b, reference, start)
    residuals, errors = (jnp.concatenate([one[None], rest]) for one, rest in zip(first, norms, strict=True))
    return residuals, errors


@eqx.filter_jit
def _by_call(
    solver: Any, operator: Any, b: Array, start: Array, reference: Array, iterations: Array
) -> tuple[Array, Array]:
    state = solver.run(operator, b, solver.init(operator, b, start), iterations)
    return _norms(operator, b, reference, solver.solution(state))


def _norms(operator: AbstractOperator, b: Array, reference: Array, x: Array) -> tuple[Array, Array]:
    return _norm(b - operator.matvec(x)), _norm(x - reference)


def _norm(u: Array) -> Array:
    return jnp.linalg.norm(u.ravel())


@eqx.filter_jit
def _solved_densely(operator: AbstractOperator, b: Array, start: Array) -> tuple[Array, Array, Array]:
    unknowns = jnp.eye(b.size, dtype=b.dtype).reshape(b.size, *b.shape)
    matrix = jax.vmap(operator.matvec)(unknowns).reshape(b.size, b.size).T
    factors = jax.scipy.linalg.lu_factor(matrix)
    pivots = jnp.abs(jnp.diagonal(factors[0]))
    regular = jnp.min(pivots) > b.size * jnp.finfo(b.dtype).eps * jnp.max(pivots)

    def correct(r: Array) -> Array:
        return jax.scipy.linalg.lu_solve(factors, r.ravel()).reshape(r.shape)

    return *_corrected_twice(operator, b, start, correct), regular


@eqx.filter_jit
def _solved_by_iteration(operator: AbstractOperator, b: Array, start: Array) -> tuple[Array, Array]:
    solver = GMRES(min(_RESTART, b.size))
    return _corrected_twice(operator, b, start, lambda r: converge(solver, operator, r))


def _corrected_twice(operator: AbstractOperator, b: Array, start: Array, correct: Any) -> tuple[Array, Array]:
    """The solution, and the size of its second correction, which tells how exact it is, relative to the first.

    From the start, so that of a singular matrix it is the solution that Krylov methods find from there.
    """
    first = correct(b - operator.matvec(start))
    second = correct(b - operator.matvec(start + first))
    solution = start + first + second
    left = _norm(b - operator.matvec(solution)) / _norm(b - operator.matvec(start))
    return solution, jnp.maximum(_norm(second) / _norm(first), left)


def _reference(operator: AbstractOperator, b: Array, start: Array) -> tuple[Array, str]:
    """x* as exact as the precision allows, or NaN, and how it was found, in words."""
    enough = math.sqrt(jnp.finfo(b.dtype).eps)
    if b.size <= DENSE:
        solution, off, regular = _solved_densely(operator, b, start)
        if regular and off < enough:
            return solution, f"a dense solve for all {b.size} unknowns"
    solution, off = _solved_by_iteration(operator, b, start)
    if off < enough:
        return solution, f"GMRES with restart {min(_RESTART, b.size)}, converged to rounding"
    return jnp.full_like(b, jnp.nan), "not found: neither a dense solve nor GMRES converged to rounding"
