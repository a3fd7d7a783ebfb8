"""The conformance check passes what trains and names what is wrong with what does not."""

import itertools
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_helpers import Toy

from prdp_explorer.engine import Finding, check_problem
from prdp_explorer.solvers import AbstractOperator, FunctionSolver


class Advection(AbstractOperator):
    """Upwind advection and decay, not symmetric."""

    properties = frozenset({"diagonal"})

    speed: float = 0.4
    honest: bool = eqx.field(static=True, default=True)
    backwards: bool = eqx.field(static=True, default=False)

    def matvec(self, u):
        return (1 + self.speed) * u - self.speed * jnp.roll(u, -1 if self.backwards else 1)

    def diagonal(self):
        return jnp.asarray(1 + self.speed)

    def transpose(self):
        return Advection(self.speed, self.honest, self.backwards != self.honest)


class Transport(Toy):
    full_iterations = 20

    def __init__(self, *, honest: bool = True):
        super().__init__()
        self.flow = Advection(honest=honest)

    def loss(self, model, batch, solve):
        after = jax.vmap(lambda b: solve(self.flow, b))(jax.vmap(model)(batch["start"]))
        return jnp.mean((after - batch["second"]) ** 2)


class NotFinite(Toy):
    def loss(self, model, batch, solve):
        return super().loss(model, batch, solve) + jnp.log(-jnp.ones(()))


class IgnoresIterations(Toy):
    def loss(self, model, batch, solve):
        return jnp.mean((jax.vmap(model)(batch["start"]) - batch["first"]) ** 2)


class SameMetric(Toy):
    def metric(self, model, validation, solve):
        return jnp.mean(validation["first"] ** 2)


class NeedsAPythonNumber(Toy):
    def loss(self, model, batch, solve):
        return super().loss(model, batch, solve) * int(solve.iterations)


class Impure(Toy):
    def __init__(self):
        super().__init__()
        self.counter = itertools.count()

    def loss(self, model, batch, solve):
        return super().loss(model, batch, solve) * (1 + 0.1 * next(self.counter))


class RandomWeights(Toy):
    def loss(self, model, batch, solve):
        return super().loss(model, batch, solve) * jnp.mean(jnp.asarray(np.random.default_rng().normal(size=3) ** 2))


class TooFewIterations(Transport):
    full_iterations = 2

    def __init__(self):
        super().__init__()
        self.flow = Advection(1.0)


class Diverges(Transport):
    def __init__(self):
        super().__init__()
        self.flow = Advection(-3.0)


class NotFiniteData(Toy):
    def data(self):
        training, validation = super().data()
        training["start"][3, 2] = np.nan
        return training, validation


class OddBatch(Toy):
    batch_size = 5


class ManyLosses(Toy):
    def loss(self, model, batch, solve):
        return jnp.ones(3) * super().loss(model, batch, solve)


class WrongFields(Toy):
    def points(self):
        return np.linspace(0, 1, 7)


class NoModel(Toy):
    def model(self, key):
        raise RuntimeError("no weights here")


def until_converged(operator, b, x0, iterations):
    step = lambda carry: (carry[0] + 1, carry[1] + (b - operator.matvec(carry[1])) / operator.diagonal())  # noqa: E731
    return jax.lax.while_loop(lambda carry: carry[0] < iterations, step, (0, x0))[1]


class NotReversible(Toy):
    solvers, own_solvers = ("mine",), MappingProxyType({"mine": FunctionSolver(until_converged)})


class Raises(Toy):
    def loss(self, model, batch, solve):
        return batch["missing"]


def failures(problem: Any) -> dict[str, str]:
    return {finding.about: finding.sentence for finding in check_problem(problem) if not finding.passed}


@pytest.mark.parametrize("make", [Toy, Transport])
def test_what_trains_passes(make: Any):
    problem = make()
    findings = check_problem(problem)
    assert all(isinstance(finding, Finding) and finding.passed for finding in findings), findings
    about = [finding.about for finding in findings]
    exact = [mode for mode in ("unrolled", "implicit", "exact-adjoint") if mode in problem.differentiations]
    assert about[:6] == ["data", "loss", "K", "convergence", "metric", "fields"]
    assert about[6:-1] == [f"gradient, {mode}" for mode in exact]
    assert "ms · K on this machine" in findings[-1].sentence


@pytest.mark.parametrize(
    ("make", "about", "words"),
    [
        (lambda: Transport(honest=False), "gradient, implicit", "where unrolled agrees. The operator's `transpose` is"),
        (NotFinite, "loss", "The loss is not finite at K = 1"),
        (IgnoresIterations, "K", "K is ignored"),
        (SameMetric, "metric", "whatever the model is"),
        (NeedsAPythonNumber, "loss", "asks for a value while it is compiled"),
        (Impure, "loss", "another program each time it is traced"),
        (RandomWeights, "loss", "another program each time it is traced"),
        (TooFewIterations, "convergence", "`full_iterations` is too small"),
        (Diverges, "convergence", "the solver"),
        (NotFiniteData, "data", "Training data are not finite"),
        (OddBatch, "data", "`batch_size` must divide"),
        (ManyLosses, "loss", r"must return one number; got shape (3,)"),
        (WrongFields, "fields", "as long as `points`"),
        (Raises, "loss", "`loss` failed: KeyError: 'missing'"),
        (NoModel, "loss", "`model` failed: RuntimeError: no weights here"),
        (NotReversible, "gradient, unrolled", "Cannot be made: ValueError: Reverse-mode differentiation does not work"),
    ],
)
def test_what_is_broken_is_named(make: Any, about: str, words: str):
    failed = failures(make())
    assert words in failed[about], failed
    assert set(failed) <= {about, "gradient, implicit", "gradient, unrolled"}


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="`solver` must be one of"):
        check_problem(Toy(), "newton")
