"""How good the gradient of a coarse solve is: each differentiation mode and each K against the converged gradient."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..problems import InnerSolve, Problem, built_in_name
from ..refinement import Constant
from ..solvers import AbstractDifferentiation, ExactAdjoint, Implicit, Unrolled, converge, differentiation_named
from ._conformance import CONVERGED
from ._epoch import Trainer
from ._executables import Program, use_persistent_cache
from ._log import Log
from ._loop import LoopSettings
from ._programs import data_of
from ._rollouts import Parameters
from ._settings import RunSettings, unsuited_combination

COUNTS = 8
"""Values of K that are compared, about, if a person names none."""

DIVERGED = (
    "What there is after epoch {epoch} is not finite, so that no gradient can be compared: the run diverged. Look at "
    "an earlier epoch, or start a run with a smaller learning rate."
)

_MEASURED = ("norm", "error", "turned")


@dataclass(frozen=True)
class GradientLab:
    """Gradients of the training loss with respect to the model's parameters, compared with the converged one.

    All of the same parameters and the same batch, the first of the training data.

    **Attributes:** (arrays of shape `(modes, counts)`, non-dimensional; NaN where a gradient is no number)

    - `epoch`: of training, after which the parameters are taken; 0 for before training.
    - `iterations`: K of now, of the epoch that follows; where a tolerance is refined, what the last epoch used on
      average.
    - `modes`, `counts`: the differentiation modes by name, and the values of K, rising.
    - `one_minus_cosine`: 1 minus the cosine of the angle to the converged gradient g*, 0 for the same direction;
      computed as half the square of the distance of the unit vectors, so that it is exact where the cosine itself would
      be rounded to 1. NaN for a gradient that is zero.
    - `relative_error`: ‖g - g*‖ / ‖g*‖.
    - `norm`: ‖g‖. `converged_norm`: ‖g*‖.
    - `seconds`: of computing all this, without compiling; training waited meanwhile.
    - `parameters`: those that it is of.
    """

    epoch: int
    iterations: int
    modes: tuple[str, ...]
    counts: tuple[int, ...]
    one_minus_cosine: np.ndarray
    relative_error: np.ndarray
    norm: np.ndarray
    converged_norm: float
    seconds: float
    parameters: Parameters = field(repr=False)

    def with_modes_of(self, other: "GradientLab") -> "GradientLab":
        """This comparison and one that was made beside it, as one."""
        columns = ("one_minus_cosine", "relative_error", "norm")
        rows = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns}
        return replace(self, modes=(*self.modes, *other.modes), seconds=self.seconds + other.seconds, **rows)

    @property
    def cosine(self) -> np.ndarray:
        """The cosine of the angle to the converged gradient, of shape `(modes, counts)`."""
        return 1 - self.one_minus_cosine


class Converged(ExactAdjoint):
    """Primal and adjoint both solved to rounding, whatever K is. NaN where the solver does not converge."""

    def forward(self, solver, operator, b, x0, budget):
        u = converge(solver, operator, b)
        wrong = jnp.linalg.norm(jnp.ravel(b - operator.matvec(u)))
        # The last iterate of a solver that diverges is a number, too.
        close = wrong <= jnp.sqrt(jnp.finfo(b.dtype).eps) * jnp.linalg.norm(jnp.ravel(b))
        u = jnp.where(close, u, jnp.nan)
        return u, jnp.zeros((), jnp.int32), u

    def backward(self, solver, operator, b, x0, budget, kept, g):
        cotangents = super().backward(solver, operator, b, x0, budget, kept, g)
        # `converge` takes a right side that is no number for zero.
        return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(g).all(), leaf, jnp.nan), cotangents)


def suited_modes(settings: RunSettings) -> tuple[str, ...]:
    """The modes that the problem offers for the solver, that of the training first."""
    problem = settings.problem
    offered = dict.fromkeys((settings.differentiation, *problem.differentiations))
    return tuple(mode for mode in offered if unsuited_combination(problem, settings.solver, mode) is None)


def checked_modes(settings: RunSettings, modes: Sequence[str] | None) -> tuple[str, ...]:
    """The modes to compare; None for all that suit.

    **Raises:** `ValueError` in words.
    """
    if isinstance(settings, LoopSettings):
        raise ValueError(
            "A loop of one's own has its gradients to itself: what is not trained by the engine cannot be compared."
        )
    if modes is None:
        return suited_modes(settings)
    if isinstance(modes, str) or not modes:
        raise ValueError(f"`modes` must be names of differentiation modes, at least one; got {modes!r}.")
    for mode in modes:
        settings.changed({"differentiation": mode})
    return tuple(dict.fromkeys(modes))


def checked_counts(settings: RunSettings, counts: Sequence[int] | None) -> tuple[int, ...]:
    """The values of K to compare; None for some from 1 to K_full, each about as many times the one before.

    **Raises:** `ValueError` in words.
    """
    if counts is None:
        full = settings.problem.full_iterations
        return tuple(dict.fromkeys(int(count) for count in np.rint(np.geomspace(1, full, COUNTS))))
    if not isinstance(counts, Sequence):
        raise ValueError(f"`counts` must be values of K, such as [1, 2, 5]; got {counts!r}.")
    return tuple(int(Constant.limits["iterations"].number("counts", count)) for count in counts)


def iterations_now(log: Log, epoch: int) -> int:
    """K of the epoch that follows one in a log; where a tolerance is refined, what that epoch itself used."""
    row = log.read(epoch)[0]
    used = 0 if np.isnan(row["next_rtol"]) else int(row["iterations"])
    return used or int(row["next_iterations"])


class GradientProbe:
    """What comparing gradients needs compiled: one program a mode, with K as data, and one of the converged gradient.

    That is the gradient with primal and adjoint solved to rounding by the run's own solver (`Converged`). Of a solver
    that cannot be taken one iteration at a time it is the implicit one at `CONVERGED` times K_full, and of a problem
    that offers no adjoint the unrolled one there.

    **Arguments:**

    - `settings`: of the run. `modes`: by name.
    - `most`: the largest K that will be asked for.
    """

    def __init__(self, settings: RunSettings, modes: Sequence[str], most: int):
        problem, solver = settings.problem, settings.build_solver()
        precision = jnp.result_type(float)

        def program(differentiation: AbstractDifferentiation, reference: bool) -> _Gradient:
            return _gradient_for(Trainer(problem, solver, differentiation, "validation"), reference, precision)

        room = max(most, problem.full_iterations)
        self._many = np.int32(CONVERGED * problem.full_iterations)
        self._converged = program(_reference(settings, int(self._many)), True)
        self._by_mode = {mode: program(differentiation_named(mode, room), False) for mode in modes}

    def measure(self, parameters: Parameters, counts: Sequence[int], iterations: int) -> GradientLab:
        """Compare the gradients at these parameters.

        **Arguments:**

        - `counts`: the values of K. `iterations`: K of now, which is added to them.

        **Raises:** `ValueError` in words for parameters or a converged gradient that are no numbers, or where there is
        no gradient at all.
        """
        leaves = self._converged.fitting(parameters.leaves)
        if not all(np.isfinite(leaf).all() for leaf in leaves):
            raise ValueError(DIVERGED.format(epoch=parameters.epoch))
        began = time.perf_counter()
        placed = self._converged.place(leaves)
        reference, length = self._converged(placed, self._many)
        converged_norm = float(length)
        if not np.isfinite(converged_norm) or converged_norm == 0:
            raise ValueError(
                "The converged gradient is zero: nothing is left to compare with."
                if converged_norm == 0
                else "The converged gradient is not finite: the solver does not converge on this system. Choose "
                "another solver."
            )
        counts = tuple(sorted({*counts, iterations}))
        measured = np.array(
            [
                [jax.device_get(gradient(placed, np.int32(count), reference)) for count in counts]
                for gradient in self._by_mode.values()
            ],
            float,
        )
        norm, error, turned = np.where(np.isfinite(measured), measured, np.nan).transpose(2, 0, 1)
        return GradientLab(
            epoch=parameters.epoch,
            iterations=iterations,
            modes=tuple(self._by_mode),
            counts=counts,
            one_minus_cosine=turned**2 / 2,
            relative_error=error / converged_norm,
            norm=norm,
            converged_norm=converged_norm,
            seconds=time.perf_counter() - began,
            parameters=parameters,
        )


class _Gradient:
    """The gradient of one mode on the first batch, compiled: as it is, or measured against another on the device."""

    def __init__(self, trainer: Trainer, reference: bool):
        use_persistent_cache()
        problem = trainer.problem
        name = built_in_name(problem)
        self._batch = _first_batch(problem, jnp.result_type(float))
        self._parameters = jax.eval_shape(trainer.parameters, jax.ShapeDtypeStruct((), jnp.uint32))

        def gradient(parameters: Any, batch: Any, iterations: Any) -> Any:
            # The solve of a training step, but for a tolerance that is refined.
            solve = InnerSolve(trainer.solver, trainer.differentiation, iterations, problem.rtol)
            return jax.grad(lambda each: problem.loss(trainer.model(each), batch, solve))(parameters)

        def converged(*arguments: Any) -> Any:
            found = gradient(*arguments)
            return found, optax.tree.norm(found)

        def measured(parameters: Any, batch: Any, iterations: Any, other: Any) -> Any:
            found = gradient(parameters, batch, iterations)
            lengths = optax.tree.norm(found), optax.tree.norm(other)
            turned = jax.tree.map(lambda mine, its: mine / lengths[0] - its / lengths[1], found, other)
            return lengths[0], optax.tree.norm(jax.tree.map(jnp.subtract, found, other)), optax.tree.norm(turned)

        shapes = (self._parameters, self._batch, jax.ShapeDtypeStruct((), jnp.int32))
        identity = None if name is None else (name, trainer.words)
        if reference:
            self._program = Program(identity and ("converged gradient", *identity)).compiled(
                converged, shapes, jax.tree.structure((self._parameters, 0.0))
            )
        else:
            self._program = Program(identity and ("gradient", *identity)).compiled(
                measured, (*shapes, self._parameters), jax.tree.structure(_MEASURED)
            )

    def fitting(self, leaves: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The leaves of the parameters among those of a checkpoint, which begins with them.

        **Raises:** `ValueError` if they are of another model.
        """
        expected = jax.tree.leaves(self._parameters)
        leaves = leaves[: len(expected)]
        if [(leaf.shape, leaf.dtype) for leaf in expected] != [(leaf.shape, leaf.dtype) for leaf in leaves]:
            raise ValueError("The checkpoint does not fit this scenario: its arrays have other shapes.")
        return leaves

    def place(self, leaves: Sequence[np.ndarray]) -> Any:
        """Parameters on the device."""
        return jax.device_put(jax.tree.unflatten(jax.tree.structure(self._parameters), leaves))

    def __call__(self, parameters: Any, iterations: np.int32, *reference: Any) -> Any:
        """The gradient and its norm; or, given another, its norm, that of the difference, and that of unit vectors."""
        return self._program(parameters, self._batch, iterations, *reference)


def _reference(settings: RunSettings, many: int) -> AbstractDifferentiation:
    """How the converged gradient is made."""
    offered = settings.problem.differentiations
    if "unrolled" in offered and not {"implicit", "exact-adjoint"} & set(offered):
        return Unrolled(many)
    return Converged() if settings.build_solver().steps else Implicit()


@functools.lru_cache(32)
def _gradient_for(trainer: Trainer, reference: bool, _precision: object) -> _Gradient:
    return _Gradient(trainer, reference)


@functools.lru_cache(8)
def _first_batch(problem: Problem, _precision: object) -> Any:
    training, _ = data_of(problem)
    return jax.tree.map(lambda leaf: leaf[: problem.batch_size], training)
