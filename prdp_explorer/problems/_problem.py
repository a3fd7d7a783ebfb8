"""What a learning problem is."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ..refinement import PRDP
from ..solvers import AbstractDifferentiation, AbstractOperator, AbstractSolver, solve, solver_named

PyTree = Any


class InnerSolve(eqx.Module):
    """The inner solve of the current epoch: `solve(operator, b)` with everything else decided.

    **Arguments:**

    - `solver`, `differentiation`: as in `prdp_explorer.solvers.solve`.
    - `iterations`: K of the epoch, a traced scalar. A problem with a solver of its own may use just this.
    - `rtol`: the relative tolerance at which a solve ends before K; None for none.
    - `meter`: as in `solve`; the engine reads from it what the solves of a batch used.
    """

    solver: AbstractSolver
    differentiation: AbstractDifferentiation
    iterations: Int[Array, ""]
    rtol: Float[Array, ""] | float | None = None
    meter: Float[Array, "2"] | None = None

    def __call__(
        self, operator: AbstractOperator, b: Float[Array, "*grid"], x0: Float[Array, "*grid"] | None = None
    ) -> Float[Array, "*grid"]:
        """The solution of A u = b after K iterations, from `x0` or zero."""
        return solve(
            operator, b, self.solver, self.iterations, self.differentiation, x0=x0, rtol=self.rtol, meter=self.meter
        )


class Problem(abc.ABC):
    """Training a model through an inner solve: data, model, loss, validation metric, and the fields worth seeing.

    The engine traces the methods and compiles them once; they must be pure. The built-in scenarios use this interface
    and nothing else. A problem is identified by the object: make one and reuse it, and its compilation is reused too.

    **Attributes to set:**

    - `full_iterations`: K_full, at which the inner solve counts as full physics.
    - `epochs`, `batch_size`, `learning_rate`: the preset's own. The number of training samples must be a multiple of
      the batch size.
    - `controller`: the preset's own refinement.
    - `solvers`, `differentiations`: names that suit the problem, the default first.
    - `own_solvers`: solvers beside the built-in ones by name, such as `{"multigrid": FunctionSolver(cycle)}`; `solvers`
      says which of them are offered.
    - `operator_type`: the class of the inner system's matrix, for saying why a solver does not suit; None if unknown.
    - `rtol`: the relative tolerance at which an inner solve ends before K; None never looks.
    - `components`: names of the components that each field has along its second axis; empty for scalars.
    - `reference_parameters`: of an inverse problem, the true values by name; `fields` then has an entry of each.
    - `quantity`: what the fields are, for axes, such as "temperature u".
    - `rollout_steps`: time steps of a rollout worth seeing; 0 if there is none.
    - `deterministic`: whether nothing is random, so that the seed is not used.
    - `optimizer`: turns gradients into directions (optax, without the learning rate, which stays editable).
    """

    full_iterations: int
    epochs: int
    batch_size: int
    learning_rate: float
    controller: PRDP
    solvers: tuple[str, ...] = ("jacobi",)
    differentiations: tuple[str, ...] = ("implicit", "unrolled")
    own_solvers: Mapping[str, AbstractSolver] = MappingProxyType({})
    operator_type: type[AbstractOperator] | None = None
    rtol: float | None = None
    components: tuple[str, ...] = ()
    reference_parameters: Mapping[str, float] = MappingProxyType({})
    quantity: str = "u"
    rollout_steps: int = 0
    deterministic: bool = False
    optimizer: ClassVar[optax.GradientTransformation] = optax.scale_by_adam()

    @abc.abstractmethod
    def data(self) -> tuple[PyTree, PyTree]:
        """Training and validation data: two pytrees of arrays, each with the samples along its first axis."""

    @abc.abstractmethod
    def model(self, key: Array) -> PyTree:
        """A freshly initialised model, a pytree whose array leaves are trained."""

    @abc.abstractmethod
    def loss(self, model: PyTree, batch: PyTree, solve: InnerSolve) -> Float[Array, ""]:
        """The training loss of one batch, through the inner solve of the epoch."""

    @abc.abstractmethod
    def metric(self, model: PyTree, validation: PyTree, solve: InnerSolve) -> Float[Array, ""]:
        """The validation metric, lower is better, non-dimensional; `solve` is at full physics here."""

    @abc.abstractmethod
    def fields(self, model: PyTree, validation: PyTree, solve: InnerSolve) -> Mapping[str, Float[Array, "samples ..."]]:
        """What a person looks at, by name and in the order of drawing, for the validation samples or the first few.

        Fields have shape `(samples, *grid)`, or `(samples, components, *grid)` where the problem names components; the
        last axis is x, the one before y, then z. Parameters of an inverse problem have shape `(samples,)`.
        """

    @abc.abstractmethod
    def points(self) -> Float[np.ndarray, " points"]:
        """The coordinates of the grid along one side, in units of the domain's length."""

    def rollout(
        self, model: PyTree, validation: PyTree, sample: Int[Array, ""], solve: InnerSolve, steps: int
    ) -> Mapping[str, Float[Array, "steps_and_start ..."]]:
        """What becomes of a validation sample when the model makes one time step after another, beside the truth.

        For problems with `rollout_steps`. By name and in the order of drawing, each with the state before the first
        step in front; a state is like a sample of a field. The last is the truth, solved as exactly as can be; the one
        before it is the model's, which is compared with the truth; others come before. Only the model's may depend on
        the model. `solve` is at full physics.
        """
        return {}

    def solver(self, name: str) -> AbstractSolver:
        """The solver of that name: one of the problem's own, or a built-in one.

        **Raises:** `ValueError` for an unknown name.
        """
        return self.own_solvers[name] if name in self.own_solvers else solver_named(name)

    def decay(self, step: Int[Array, ""]) -> Float[Array, ""] | float:
        """The factor on the learning rate after `step` updates; 1 keeps it constant."""
        return 1.0


@dataclass(frozen=True)
class Scenario:
    """A learning problem with its presets, as people find it.

    **Arguments:**

    - `id`, `title`, `summary`: the name for code, the name for people, one or two sentences on what it is about.
    - `teaches`: a paragraph on what it teaches.
    - `presets`: problems by preset name.
    - `chosen`: what is this project's choice rather than published, a sentence each.
    - `shares`: by preset, the share of full physics' inner iterations that its own refinement usually spends, as
      measured before (docs/results.md).
    - `place`: where a problem of one's own is written, "FILE.py:NAME" or "package.module:NAME", if that is known.
    """

    id: str
    title: str
    summary: str
    teaches: str
    presets: Mapping[str, Problem]
    chosen: tuple[str, ...]
    shares: Mapping[str, float] = field(default_factory=dict)
    place: str | None = None
