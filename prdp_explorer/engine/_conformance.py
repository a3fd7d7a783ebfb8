"""Whether a problem is what training needs it to be, in words, before it is trained."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..problems import InnerSolve, Problem
from ..solvers import Detached, differentiation_named
from ._programs import data_of
from ._settings import unsuited_combination

EXACT_MODES = ("implicit", "unrolled", "exact-adjoint")
"""Whose gradients are that of the loss once the solve has converged; the others approximate it on purpose."""

CONVERGED = 8
"""Times K_full at which a solve is taken for converged."""

FURTHER_OFF = 0.1
"""Relative difference of the loss at K_full from that of the converged solve above which K_full is told to be small."""

GRADIENT_TOLERANCE = 0.02
"""Relative error of a gradient along itself, against finite differences."""

STEP = 1e-4
"""Of these differences, relative to the length of the parameters; in double precision."""

TIMED = 7
"""Gradients of which the median time counts."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    **Attributes:**

    - `about`: what was looked at, in few words.
    - `passed`: whether training can rely on it.
    - `sentence`: what was found and, if need be, what to do.
    """

    about: str
    passed: bool
    sentence: str


class _Broken(Exception):
    """A check that makes the rest pointless; its text is the sentence."""


def check_problem(problem: Problem, solver: str | None = None) -> list[Finding]:
    """Look at a problem as training will, on its first batch and a few values of K.

    Whether data, loss and metric are finite and have the shapes asked for; whether loss and metric are traced to the
    same program every time, with K as data; whether the loss uses K and converges in it; whether the metric looks at
    the model; whether the gradients of the differentiation modes are those of the loss, against finite differences at
    convergence; and what a batch costs.

    **Arguments:**

    - `solver`: by name; the problem's first if left out.

    **Returns:** the findings in that order. What cannot be looked at because something before it is broken is left out,
    the cost of what is broken too.

    **Raises:** `ValueError` for an unknown solver.
    """
    solver = problem.solvers[0] if solver is None else solver
    findings: list[Finding] = []
    with jax.enable_x64(True):  # so that rounding is no question
        look = _Look(problem, solver)
        for about, check in (
            ("data", look.data),
            ("loss", look.loss),
            ("K", look.uses_iterations),
            ("convergence", look.converges),
            ("metric", look.metric),
            ("fields", look.fields),
        ):
            try:
                findings.append(Finding(about, True, check()))
            except _Broken as broken:
                findings.append(Finding(about, False, str(broken)))
                if about in ("data", "loss"):
                    return findings
        findings += look.gradients()
    if not all(finding.passed for finding in findings):
        return findings
    return [*findings, _cost(problem, solver)]


class _Look:
    """A problem, its data and a fresh model."""

    def __init__(self, problem: Problem, solver: str):
        self._problem, self._name, self._solver = problem, solver, problem.solver(solver)
        self._batch: Any = None
        self._validation: Any = None
        self._many = CONVERGED * problem.full_iterations

    def data(self) -> str:
        """Reads the data, for all that follows."""
        try:
            training, self._validation = data_of(self._problem)
        except Exception as error:
            told = str(error) if isinstance(error, ValueError) else f"`data` failed: {_first_line(error)}"
            raise _Broken(told) from error
        for name, part in (("Training", training), ("Validation", self._validation)):
            leaves = jax.tree.leaves(part)
            counts = {leaf.shape[:1] for leaf in leaves}
            if len(counts) != 1 or () in counts:
                raise _Broken(
                    f"{name} data must be arrays with the samples along their first axes; got shapes "
                    f"{', '.join(str(leaf.shape) for leaf in leaves)}."
                )
            if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves if leaf.dtype.kind == "f"):
                raise _Broken(f"{name} data are not finite: look for NaN or infinity in what `data` returns.")
        self._batch = jax.tree.map(lambda leaf: leaf[: self._problem.batch_size], training)
        samples = len(jax.tree.leaves(training)[0])
        return f"{samples} training samples in batches of {self._problem.batch_size}, all finite."

    def loss(self) -> str:
        """Makes the compiled loss, for all that follows."""
        try:
            self._model = self._problem.model(jax.random.PRNGKey(0))
        except Exception as error:
            raise _Broken(f"`model` failed: {_first_line(error)}") from error
        self._parameters, self._static = _parted(self._model)

        def loss(parameters: Any, iterations: Any) -> Any:
            return self._problem.loss(eqx.combine(parameters, self._static), self._batch, self._solve(iterations))

        shape = _traced("loss", loss, self._parameters, jnp.asarray(1))
        if shape != ():
            raise _Broken(f"`loss` must return one number; got shape {shape}. Take the mean over the batch.")
        self._loss = _compiled(loss, self._parameters, jnp.asarray(1))
        self._losses = {k: self._loss_at(k) for k in (1, self._problem.full_iterations)}
        for k, value in self._losses.items():
            if not np.isfinite(value):
                raise _Broken(f"The loss is not finite at K = {k} before training: {value}.")
        return f"One finite number, traced once for every K: {self._losses[1]:.4g} before training at K = 1."

    def uses_iterations(self) -> str:
        if self._problem.full_iterations == 1:
            raise _Broken("`full_iterations` is 1: there is nothing to refine.")
        one, full = self._losses.values()
        if one == full:
            raise _Broken(
                f"The loss at K = 1 and at K = {self._problem.full_iterations} is the same number: K is ignored. "
                "Solve through the `solve` that `loss` is given, or use `solve.iterations`."
            )
        return f"The loss depends on K: {one:.4g} at K = 1, {full:.4g} at K = {self._problem.full_iterations}."

    def converges(self) -> str:
        full = self._problem.full_iterations
        values = {k: self._loss_at(k) for k in (self._many // 2, self._many)}
        for k, value in values.items():
            if not np.isfinite(value):
                raise _Broken(f"The loss is not finite at K = {k}: the solver diverges on this system.")
        before, last = values.values()
        if abs(before - last) > 0.01 * abs(last):
            raise _Broken(
                f"The loss does not settle as K grows: {before:.4g} at K = {self._many // 2}, {last:.4g} at "
                f"K = {self._many}. Does the solver converge on this system?"
            )
        off = abs(self._losses[full] - last) / max(abs(last), 1e-300)
        if off > FURTHER_OFF:
            raise _Broken(
                f"At K = {full}, which counts as full physics, the loss is {off:.0%} off the converged one, "
                f"{last:.4g}: `full_iterations` is too small."
            )
        return f"The loss converges in K; at K = {full} it is {off:.1%} off the converged {last:.4g}."

    def metric(self) -> str:
        def metric(parameters: Any, iterations: Any) -> Any:
            model = eqx.combine(parameters, self._static)
            return self._problem.metric(model, self._validation, self._solve(iterations))

        full = jnp.asarray(self._problem.full_iterations)
        shape = _traced("metric", metric, self._parameters, full)
        if shape != ():
            raise _Broken(f"`metric` must return one number; got shape {shape}.")
        other, _ = _parted(self._problem.model(jax.random.PRNGKey(1)))
        moved = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sign(leaf) + 0.01, self._parameters)
        compiled = _compiled(metric, self._parameters, full)
        values = [float(compiled(each, full)) for each in (self._parameters, other, moved)]
        if not np.isfinite(values[0]):
            raise _Broken(f"The metric is not finite before training: {values[0]}.")
        if values[0] == values[1] == values[2]:
            raise _Broken(
                f"The metric is {values[0]:.4g} whatever the model is: it does not look at it, and nothing would ever "
                "be refined for a reason."
            )
        return f"One finite number that depends on the model: {values[0]:.4g} before training."

    def fields(self) -> str:
        full = jnp.asarray(self._problem.full_iterations)
        try:
            fields = _compiled(lambda: self._problem.fields(self._model, self._validation, self._solve(full)))()
            points = np.asarray(self._problem.points())
        except Exception as error:
            raise _Broken(f"`fields` or `points` failed: {_first_line(error)}") from error
        known = {*self._problem.reference_parameters}
        for name, values in fields.items():
            if name not in known and (np.ndim(values) < 2 or np.shape(values)[-1] != len(points)):
                raise _Broken(
                    f"The field {name!r} must have shape (samples, …, {len(points)}), its last axis as long as "
                    f"`points`; got {np.shape(values)}."
                )
        return f"To be seen: {', '.join(fields)}." if fields else "Nothing to be seen of fields."

    def gradients(self) -> Iterator[Finding]:
        """Of each mode that promises it, the gradient along itself against finite differences at convergence."""
        agree: dict[str, bool] = {}
        # That of "unrolled" first: it needs no transpose, and so tells what is wrong with the others.
        for mode in sorted(self._problem.differentiations, key=lambda mode: mode != "unrolled"):
            if mode not in EXACT_MODES or unsuited_combination(self._problem, self._name, mode) is not None:
                continue
            about = f"gradient, {mode}"
            try:
                error = self._gradient_error(mode)
            except Exception as trouble:  # whatever the problem's own code may raise
                yield Finding(about, False, f"Cannot be made: {_first_line(trouble)}")
                continue
            agree[mode] = error is not None and error < GRADIENT_TOLERANCE
            if agree[mode]:
                yield Finding(about, True, f"That of the loss at convergence, within {error:.1g}.")
            elif error is None:
                yield Finding(about, False, "Not finite, or zero: the loss does not reach the model through this mode.")
            else:
                others = [other for other, right in agree.items() if right]
                cause = (
                    "The solver's iterations may not be differentiable."
                    if mode == "unrolled"
                    else "The operator's `transpose` is probably not that of its `matvec`."
                )
                beside = f", where {' and '.join(others)} agrees" if others else ""
                yield Finding(
                    about,
                    False,
                    f"Not that of the loss: {error:.0%} off finite differences at convergence{beside}. {cause}",
                )

    def _gradient_error(self, mode: str) -> float | None:
        many = jnp.asarray(self._many)
        differentiation = differentiation_named(mode, self._many)

        def loss(parameters: Any) -> Any:
            solve = InnerSolve(self._solver, differentiation, many)
            return self._problem.loss(eqx.combine(parameters, self._static), self._batch, solve)

        gradient = _compiled(jax.grad(loss), self._parameters)(self._parameters)
        length, size = (float(optax.tree.norm(tree)) for tree in (gradient, self._parameters))
        if not np.isfinite(length) or length == 0:
            return None
        step = STEP * max(size, 1.0) / length

        def at(sign: int) -> float:
            moved = jax.tree.map(lambda leaf, by: leaf + sign * step * by, self._parameters, gradient)
            return float(self._loss(moved, many))

        slope = (at(1) - at(-1)) / (2 * step)
        return abs(slope - length**2) / length**2

    def _loss_at(self, iterations: int) -> float:
        return float(self._loss(self._parameters, jnp.asarray(iterations)))

    def _solve(self, iterations: Any) -> InnerSolve:
        return InnerSolve(self._solver, Detached(), jnp.asarray(iterations))


def _traced(name: str, function: Callable[..., Any], *arguments: Any) -> tuple[int, ...]:
    """The shape of a function's result, which must trace to the same program twice with K as data."""
    try:
        # Of two functions, since JAX traces the same one once.
        first, second = (jax.make_jaxpr(lambda *each: function(*each))(*arguments) for _ in range(2))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise _Broken(
            f"`{name}` asks for a value while it is compiled, as `int(K)`, `if` or NumPy do; K and all arrays are "
            f"traced there, so that one compilation serves every K. {_first_line(error)}"
        ) from error
    except Exception as error:
        raise _Broken(f"`{name}` failed: {_first_line(error)}") from error
    same = len(first.consts) == len(second.consts) and all(map(np.array_equal, first.consts, second.consts))
    if not same or str(first) != str(second):
        raise _Broken(
            f"`{name}` is another program each time it is traced, so that what was compiled is not what was meant: it "
            "must be pure. Look for random numbers of NumPy, counters, and values changed on the way."
        )
    return tuple(first.out_avals[0].shape)


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """For arguments of these shapes; without optimisation, since compiling takes longer than the few calls."""
    return jax.jit(function).lower(*arguments).compile(compiler_options={"xla_backend_optimization_level": "0"})


def _cost(problem: Problem, solver: str) -> Finding:
    """The seconds of a batch's gradient as a + b·K, in the working precision."""
    training, _ = data_of(problem)
    batch = jax.tree.map(lambda leaf: leaf[: problem.batch_size], training)
    parameters, static = _parted(problem.model(jax.random.PRNGKey(0)))
    suited = [mode for mode in problem.differentiations if unsuited_combination(problem, solver, mode) is None]
    mode, inner = differentiation_named(suited[0], problem.full_iterations), problem.solver(solver)

    @jax.jit
    def gradient(parameters: Any, iterations: Any) -> Any:
        return jax.grad(
            lambda each: problem.loss(eqx.combine(each, static), batch, InnerSolve(inner, mode, iterations))
        )(parameters)

    def seconds(iterations: int) -> float:
        measured = []
        for _ in range(TIMED + 1):
            began = time.perf_counter()
            jax.block_until_ready(gradient(parameters, jnp.asarray(iterations)))
            measured.append(time.perf_counter() - began)
        return statistics.median(measured[1:])

    counts = sorted({1, max(problem.full_iterations // 2, 1), problem.full_iterations})
    times = [seconds(count) for count in counts]
    slope, start = (float(value) for value in np.polyfit(counts, times, 1)) if len(counts) > 1 else (0.0, times[0])
    slope, start = max(slope, 0.0), max(start, 0.0)
    whole = start + slope * problem.full_iterations
    share = slope * problem.full_iterations / whole if whole else 0.0
    return Finding(
        "cost",
        True,
        f"The gradient of a batch takes {1000 * start:.3g} ms + {1000 * slope:.3g} ms · K on this machine; at "
        f"K = {problem.full_iterations} the physics is {share:.0%} of it, which is the most that PRDP can save.",
    )


def _parted(model: Any) -> tuple[Any, Any]:
    """What is trained of a model, in the working precision, and the rest."""
    parameters, static = eqx.partition(model, eqx.is_array)
    working = jnp.result_type(float)
    return jax.tree.map(lambda leaf: leaf.astype(working) if leaf.dtype.kind == "f" else leaf, parameters), static


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
