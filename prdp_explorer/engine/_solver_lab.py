"""The solver lab: what solvers make of the linear system that a run solves now, iteration by iteration."""

import functools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Array, Float

from ..problems import InnerSolve
from ..solvers import GMRES, AbstractOperator, AbstractSolver, Detached, converge, unsuited_solver
from ._epoch import Trainer
from ._loop import LoopSettings
from ._programs import RUN_ONCE, data_of
from ._rollouts import Parameters, fitted
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

_LOST = 100
"""Times the machine precision: where rounding is a hundredth of what is seen, a rate means nothing any more."""

_GEOMETRIC = 0.05
"""How far a curve may be off a straight line, relative to its fall, to count as geometric decay."""


@dataclass(frozen=True)
class Convergence:
    """What one solver makes of a system, by iterations; all numbers relative to the start, non-dimensional.

    **Attributes:** (arrays of shape `(points,)`)

    - `solver`: its name.
    - `iterations`: how many, from 0; one after another, but of a solver that is called once a solve a few of them.
    - `residuals`: ‖b - A x_k‖ / ‖b - A x_0‖. NaN or infinite where a solver diverged beyond all numbers.
    - `errors`: ‖x_k - x*‖ / ‖x_0 - x*‖; NaN throughout where x* could not be found.
    - `rate`: the factor on the error (on the residual without x*) per iteration; 1 or above where it does not converge.
    - `geometric`: whether the rate is that of a geometric decay, fitted to the last quarter of the iterations before
      rounding takes over; else it is the mean factor up to there, as for Krylov methods, whose decay is no constant
      factor.
    - `rounded`: the index in the arrays from which on residuals are rounding, or their length if none are.
    """

    solver: str
    iterations: np.ndarray
    residuals: np.ndarray
    errors: np.ndarray
    rate: float
    geometric: bool
    rounded: int

    def at(self, iterations: int) -> tuple[float, float]:
        """Residual and error after so many iterations, or the last before where not all are tried; NaN beyond."""
        if not 0 <= iterations <= self.iterations[-1]:
            return math.nan, math.nan
        index = int(np.searchsorted(self.iterations, iterations, side="right")) - 1
        return float(self.residuals[index]), float(self.errors[index])

    def predicted_iterations(self, tolerance: float) -> int | None:
        """The K with which the residual falls to `tolerance` times that of the start, above 0.

        Read from the curve as far as it goes, and beyond it continued with `rate`. None where it never does: the solver
        does not converge, or rounding ends it before.

        **Raises:** `ValueError` in words for a tolerance that is none.
        """
        if not (isinstance(tolerance, int | float) and tolerance > 0 and math.isfinite(tolerance)):
            raise ValueError(f"`tolerance` must be a number above 0; got {tolerance!r}.")
        reached = np.flatnonzero(self.residuals <= tolerance)
        if len(reached):
            return int(self.iterations[reached[0]])
        if self.rounded < len(self.residuals) or not 0 < self.rate < 1:
            return None
        further = math.log(tolerance / self.residuals[-1]) / math.log(self.rate)
        return int(self.iterations[-1]) + math.ceil(further)


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


@dataclass(frozen=True)
class _System:
    """A x = b with the start x_0; the leaves of A are NumPy's, in the working precision."""

    operator: AbstractOperator
    b: np.ndarray
    start: np.ndarray


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
    system = _capturing(trainer, jnp.result_type(float)).system(parameters, sample)
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


class _Recorder:
    """Keeps the systems of the inner solves of a function of JAX while it runs.

    **Attributes:**

    - `operators`: of each call of `solve` in the order of tracing, the parts of its operator that are no arrays.
    - `seen`: what ran, in that order: the number of the call, and the arrays of the operator, b and x0.
    """

    def __init__(self):
        self.operators: list[Any] = []
        self.seen: list[tuple[int, Any]] = []

    def keep(self, operator: AbstractOperator, b: Array, x0: Array | None) -> Array:
        """b, kept along with the rest whenever this runs."""
        arrays, static = eqx.partition(operator, eqx.is_array)
        call = len(self.operators)
        self.operators.append(static)

        def see(arrays: Any, b: Any, x0: Any) -> np.ndarray:
            self.seen.append((call, jax.tree.map(np.array, (arrays, b, x0))))
            return np.asarray(b)

        # No gradient passes a callback; a loss that differentiates its solve is still to run.
        given = jax.lax.stop_gradient((arrays, b, jnp.zeros_like(b) if x0 is None else x0))
        return io_callback(see, jax.ShapeDtypeStruct(b.shape, b.dtype), *given)


class _Recorded(InnerSolve):
    """What keeps a system where it would be solved, and gives its right side: what follows is not looked at."""

    recorder: _Recorder = eqx.field(static=True, kw_only=True)

    def __call__(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"] | None = None
    ) -> Float[Array, "*grid"]:
        return self.recorder.keep(operator, b, x0)


class _Capturing:
    """Runs a problem's loss on one sample, compiled up to its solves, and takes out the first system."""

    def __init__(self, trainer: Trainer):
        self._recorder = _Recorder()
        self._lock = threading.Lock()
        self._training = data_of(trainer.problem)[0]
        self._parameters = jax.eval_shape(trainer.parameters, jax.ShapeDtypeStruct((), jnp.uint32))
        solve = _Recorded(trainer.solver, Detached(), jnp.asarray(1), recorder=self._recorder)

        def record(parameters: Any, training: Any, sample: Any) -> None:
            batch = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, sample, 1), training)
            trainer.problem.loss(trainer.model(parameters), batch, solve)  # of which XLA drops what no system needs

        self._record = jax.jit(record, compiler_options=RUN_ONCE)

    def system(self, parameters: Parameters, sample: int) -> _System:
        count = len(jax.tree.leaves(self._training)[0])
        if not isinstance(sample, int) or not 0 <= sample < count:
            raise ValueError(f"`sample` must be a whole number from 0 to {count - 1}; got {sample!r}.")
        with self._lock:
            self._recorder.seen.clear()
            self._record(fitted(self._parameters, parameters.leaves), self._training, sample)
            jax.effects_barrier()
            seen = list(self._recorder.seen)
        if not seen:
            raise ValueError(
                "The loss of this problem makes no inner solve through the `solve(operator, b)` that it is given, so "
                "there is no system to look at."
            )
        call, (arrays, b, start) = min(seen, key=lambda each: each[0])
        if not all(np.isfinite(leaf).all() for leaf in (*jax.tree.leaves(arrays), b, start) if leaf.dtype.kind == "f"):
            raise ValueError(
                "The system is not finite: its matrix, right side or start has NaN or infinity in it, as after a "
                "training that diverged."
            )
        return _System(eqx.combine(arrays, self._recorder.operators[call]), b, start)


@functools.lru_cache(8)
def _capturing(trainer: Trainer, _precision: object) -> _Capturing:
    return _Capturing(trainer)


def _look(
    system: _System, solvers: Mapping[str, AbstractSolver], count: int, now: int, precision: np.dtype
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


def convergence(
    solver: str, iterations: np.ndarray, residuals: np.ndarray, errors: np.ndarray, eps: float, *, constant: bool = True
) -> Convergence:
    """The rate of measured curves.

    **Arguments:**

    - `iterations`, `residuals`, `errors`: as of `Convergence`.
    - `eps`: the machine precision of what was computed.
    - `constant`: whether each iteration may come to take off the same factor; else the mean one counts.
    """
    seen = errors if np.isfinite(errors[0]) else residuals
    end = _rounded(iterations, seen, eps)
    rate, geometric = _rate(iterations[:end], seen[:end], constant) if end > 1 else (1.0, False)
    return Convergence(solver, iterations, residuals, errors, rate, geometric, _rounded(iterations, residuals, eps))


def _rounded(iterations: np.ndarray, values: np.ndarray, eps: float) -> int:
    """How many values of a curve come before it is lost in rounding, or in infinity; 2 at least, if there are."""
    finite = np.isfinite(values)
    values = values[: len(values) if finite.all() else int(np.argmin(finite))]
    smallest = values.min(initial=math.inf)
    if not smallest < math.sqrt(eps):
        return len(values)
    first = max(int(np.argmax(values <= max(3 * smallest, _LOST * eps))), 1)
    if values[first] > _LOST * eps:
        # Rounding, if from here on it takes far longer than it should by the iterations before.
        before = max(first - max(first // 4, 1), 0)
        logarithm = np.log(values[first] / values[before])
        needed = -math.log(3) * (iterations[first] - iterations[before]) / logarithm if logarithm < 0 else 0
        if iterations[len(values) - 1] - iterations[first] <= 3 * needed + 3:
            return len(values)
    return max(first, 2)  # what is reached at once is all that is known


def _rate(iterations: np.ndarray, values: np.ndarray, constant: bool) -> tuple[float, bool]:
    """The factor per iteration, and whether the decay is geometric."""
    logarithms = np.log(np.maximum(values, np.finfo(float).tiny))
    last = len(values) // 4
    if constant and last >= 3:
        slope, height = np.polyfit(iterations[-last:], logarithms[-last:], 1)
        off = np.abs(logarithms[-last:] - slope * iterations[-last:] - height).max()
        if off <= _GEOMETRIC * abs(slope) * (iterations[-1] - iterations[-last]):
            return float(np.exp(slope)), True
    return float(np.exp((logarithms[-1] - logarithms[0]) / (iterations[-1] - iterations[0]))), False
