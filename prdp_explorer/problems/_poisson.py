"""Inverse problems of Poisson's equation in 1D: which source made the field that was seen?"""

from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ..physics import PoissonOperator, interior_points
from ..refinement import PRDP
from ..solvers import DIFFERENTIATIONS, solvers_for
from ._problem import InnerSolve, Problem, Scenario


class Source(eqx.Module):
    """The amplitudes θ of the source Σ θ_i sin(2π i x), of shape `(parameters,)`."""

    theta: Float[Array, " parameters"]

    def __call__(self, modes: Float[Array, "parameters points"]) -> Float[Array, " points"]:
        return self.theta @ modes


class PoissonInverse(Problem):
    """min over θ of ‖P_K(Σ θ_i sin(2π i x)) - u_ref‖² / (2 n), by gradient descent; u_ref is the direct solution.

    Solves -u'' = source on n interior points of the unit interval with u = 0 at both ends. The metric is the relative
    error ‖θ - θ_ref‖ / ‖θ_ref‖. Nothing is random.

    **Arguments:**

    - `start`, `reference`: θ before training and the true θ.
    - `learning_rate`, `epochs`, `controller`: the preset's own.
    """

    full_iterations = 600
    batch_size = 1
    solvers = solvers_for(PoissonOperator, "jacobi")
    differentiations = DIFFERENTIATIONS
    operator_type = PoissonOperator
    optimizer = optax.identity()
    deterministic = True
    quantity = "solution u"

    num_points = 30

    def __init__(
        self,
        start: tuple[float, ...],
        reference: tuple[float, ...],
        *,
        learning_rate: float,
        epochs: int = 180,
        controller: PRDP,
    ):
        self.start = start
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.controller = controller
        names = ("θ",) if len(reference) == 1 else tuple(f"θ_{i + 1}" for i in range(len(reference)))
        self.reference_parameters = dict(zip(names, reference, strict=True))
        self.operator = PoissonOperator(self.num_points)
        modes = np.arange(1, len(reference) + 1)[:, None]
        self.modes = np.sin(2 * np.pi * modes * interior_points(self.num_points).astype(np.float64))

    def data(self):
        source = np.asarray(list(self.reference_parameters.values())) @ self.modes
        solution = self.operator.solve_exactly(source)[None]
        return solution, solution

    def model(self, key: Array) -> Source:
        return Source(jnp.asarray(np.asarray(self.start), jnp.result_type(float)))

    def loss(self, model, batch, solve: InnerSolve):
        return jnp.sum((self._solution(model, solve) - batch[0]) ** 2) / (2 * self.num_points)

    def metric(self, model, validation, solve: InnerSolve):
        reference = jnp.asarray(list(self.reference_parameters.values()), model.theta.dtype)
        return jnp.linalg.norm(model.theta - reference) / jnp.linalg.norm(reference)

    def fields(self, model, validation, solve: InnerSolve) -> Mapping[str, Array]:
        solution = self._solution(model, solve)
        thetas = dict(zip(self.reference_parameters, model.theta[:, None], strict=True))
        return {"solution for θ": solution[None], "solution for the true θ": validation, **thetas}

    def points(self) -> Float[np.ndarray, " num_points"]:
        return interior_points(self.num_points)

    def _solution(self, model: Source, solve: InnerSolve) -> Float[Array, " num_points"]:
        return solve(self.operator, model(jnp.asarray(self.modes, model.theta.dtype)))


_published = PRDP(tau_step=0.92, tau_stop=0.9, window=2, ema_window=1, initial=25, step=10, maximum=600)
_one = PoissonInverse((5.0,), (2.0,), learning_rate=275.0, controller=_published)
_three = PoissonInverse((5.0, -4.0, 3.0), (2.0, 1.0, -1.5), learning_rate=2000.0, epochs=1500, controller=_published)

POISSON_1 = Scenario(
    id="poisson-1",
    title="Poisson inverse, 1 parameter",
    summary="Find the strength of a source from the field it makes. Far from the answer a rough field points the way.",
    teaches=(
        "The smallest problem in which refinement pays: one unknown, gradient descent, no network and nothing random. "
        "Jacobi needs hundreds of iterations here, since low frequencies converge slowly, and while θ is far off a "
        "twentieth of them already gives a gradient of the right sign. Watch K follow the error down; unlike with a "
        "network, exactness matters in the end, so K goes all the way."
    ),
    shares={"live": 0.53, "paper": 0.53},
    presets={"live": _one, "paper": _one},
    chosen=(),
)

POISSON_3 = Scenario(
    id="poisson-3",
    title="Poisson inverse, 3 parameters",
    summary="Find three amplitudes of a source at once. Each frequency asks for iterations of its own.",
    teaches=(
        "The gradient of the third amplitude is right after few iterations, that of the first only after many: an "
        "iterative solver is accurate for some directions before others. The trajectories of θ show which amplitude "
        "waits for more physics. The slow one sets the pace of learning, too, since a frequency i enters the field "
        "with 1/i²."
    ),
    shares={"live": 0.80, "paper": 0.80},
    presets={"live": _three, "paper": _three},
    chosen=(
        "θ starts at (5, -4, 3) and the true one is (2, 1, -1.5); 1500 steps, since the third amplitude learns at a "
        "rate of 0.8 % a step.",
    ),
)
