"""Every operator against its assembled matrix, and what it says of itself."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from prdp_explorer.physics import BurgersOperator, HeatOperator, NavierStokesOperator, PoissonOperator
from prdp_explorer.solvers import AbstractOperator

pytestmark = pytest.mark.usefixtures("quickly")

DIFFUSION, DT, VISCOSITY = 0.013, 0.07, 0.004


def laplacian(num_points: int, dimensions: int, boundary: str = "zero") -> np.ndarray:
    """Entry by entry: -2 times the dimension over dx² on the diagonal, 1 / dx² for each neighbour."""
    cells = list(itertools.product(range(num_points), repeat=dimensions))
    entries = np.zeros((len(cells), len(cells)))
    for row, here in enumerate(cells):
        entries[row, row] = -2 * dimensions
        for axis, step in itertools.product(range(dimensions), (-1, 1)):
            there = list(here)
            there[axis] += step
            if boundary == "periodic":
                there[axis] %= num_points
            if tuple(there) in cells:
                entries[row, cells.index(tuple(there))] += 1
    return entries * (num_points + (boundary == "zero")) ** 2


def heat_matrix(num_points: int, dimensions: int, boundary: str = "zero", diffusion: float = DIFFUSION) -> np.ndarray:
    return np.eye(num_points**dimensions) - diffusion * laplacian(num_points, dimensions, boundary)


def differences(num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """D⁺ and D⁻ on a periodic grid."""
    forward = num_points * (np.roll(np.eye(num_points), 1, axis=1) - np.eye(num_points))
    return forward, -forward.T


def burgers_matrix(wind: np.ndarray) -> np.ndarray:
    forward, backward = differences(len(wind))
    forth = np.diag([max((wind[i] + wind[i - 1]) / 2, 0) for i in range(len(wind))])
    back = np.diag([min((wind[i - 1] + wind[i]) / 2, 0) for i in [*range(1, len(wind)), 0]])
    return np.eye(len(wind)) + DT * (forth @ backward + back @ forward - VISCOSITY * forward @ backward)


def winds_across(velocity: np.ndarray, averages: str) -> tuple[np.ndarray, np.ndarray]:
    """vx on the points of vy and vy on the points of vx, in the index notation of the papers."""
    (vx, vy), n = velocity, velocity.shape[-1]
    x, y = np.empty_like(vx), np.empty_like(vy)
    for j, i in np.ndindex(n, n):
        down, up, left, right = (j - 1) % n, (j + 1) % n, (i - 1) % n, (i + 1) % n
        if averages == "published":
            x[j, i] = (vx[j, i] + vx[j, right] + vx[down, i] + vx[down, right]) / 4
            y[j, i] = (vy[j, i] + vy[j, left] + vy[up, i] + vy[up, left]) / 4
        else:
            x[j, i] = (vx[j, i] + vx[j, left] + vx[up, i] + vx[up, left]) / 4
            y[j, i] = (vy[j, i] + vy[j, right] + vy[down, i] + vy[down, right]) / 4
    return x, y


def navier_stokes_matrix(velocity: np.ndarray, averages: str) -> np.ndarray:
    n = velocity.shape[-1]
    forward, backward = differences(n)
    one, zero = np.eye(n), np.zeros((n * n, n * n))
    forward_x, backward_x = np.kron(one, forward), np.kron(one, backward)
    forward_y, backward_y = np.kron(forward, one), np.kron(backward, one)
    x_across, y_across = winds_across(velocity, averages)

    def momentum(x_wind: np.ndarray, y_wind: np.ndarray) -> np.ndarray:
        (east, west), (north, south) = ([np.maximum(w, 0), np.minimum(w, 0)] for w in (x_wind.ravel(), y_wind.ravel()))
        return (
            np.eye(n * n) / DT
            + east[:, None] * backward_x
            + west[:, None] * forward_x
            + north[:, None] * backward_y
            + south[:, None] * forward_y
            - VISCOSITY * (forward_x @ backward_x + forward_y @ backward_y)
        )

    vx, vy = velocity
    return np.block(
        [
            [momentum(vx, y_across), zero, forward_x],
            [zero, momentum(x_across, vy), forward_y],
            [backward_x, backward_y, zero],
        ]
    )


def fields(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape)


class Case(NamedTuple):
    """An operator to be made under float64, its assembled matrix, the shape of its fields."""

    operator: Callable[[], AbstractOperator]
    matrix: np.ndarray
    shape: tuple[int, ...]


def heat_case(num_points: int, dimensions: int, boundary) -> Case:
    return Case(
        lambda: HeatOperator(DIFFUSION, num_points, dimensions, boundary),
        heat_matrix(num_points, dimensions, boundary),
        (num_points,) * dimensions,
    )


def poisson_case(num_points: int) -> Case:
    return Case(lambda: PoissonOperator(num_points), -laplacian(num_points, 1), (num_points,))


def burgers_case(num_points: int) -> Case:
    wind = fields(num_points)
    return Case(lambda: BurgersOperator(jnp.asarray(wind), DT, VISCOSITY), burgers_matrix(wind), (num_points,))


def navier_stokes_case(num_points: int, averages) -> Case:
    velocity = fields(2, num_points, num_points)
    return Case(
        lambda: NavierStokesOperator(jnp.asarray(velocity), DT, VISCOSITY, averages),
        navier_stokes_matrix(velocity, averages),
        (3, num_points, num_points),
    )


GRIDS = [(1, 1), (2, 1), (9, 1), (4, 2), (1, 2), (3, 3)]
CASES = (
    {f"heat {n} in {d}d": heat_case(n, d, "zero") for n, d in GRIDS}
    | {f"heat {n} in {d}d around": heat_case(n, d, "periodic") for n, d in [*GRIDS, (6, 1)] if n > 1}
    | {f"Poisson {n}": poisson_case(n) for n in (1, 2, 9)}
    | {f"Burgers {n}": burgers_case(n) for n in (2, 7, 8)}
    | {f"Navier-Stokes {n} {a}": navier_stokes_case(n, a) for n in (2, 5) for a in ("published", "proper")}
)
EXACT = {name: case for name, case in CASES.items() if name.startswith(("heat", "Poisson"))}
every_operator = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def claiming(name: str) -> pytest.MarkDecorator:
    with jax.enable_x64(True):
        ids = [key for key, case in CASES.items() if name in case.operator().properties]
    return pytest.mark.parametrize("case", [CASES[key] for key in ids], ids=ids)


def dense(operator: AbstractOperator, shape: tuple[int, ...]) -> np.ndarray:
    units = jnp.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.asarray(jax.jit(jax.vmap(operator.matvec))(units)).reshape(len(units), -1).T


@pytest.mark.usefixtures("float64")
class TestEveryOperator:
    @every_operator
    def test_the_stencil_equals_the_assembled_matrix(self, case):
        operator = case.operator()
        u = jnp.asarray(fields(*case.shape))
        assert operator.matvec(u).shape == u.shape
        assert operator.matvec(u).dtype == u.dtype
        np.testing.assert_allclose(dense(operator, case.shape), case.matrix, rtol=1e-12, atol=1e-11)

    @every_operator
    def test_the_transpose_is_the_transposed_matrix(self, case):
        transposed = case.operator().transpose()
        np.testing.assert_allclose(dense(transposed, case.shape), case.matrix.T, rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(dense(transposed.transpose(), case.shape), case.matrix, rtol=1e-12, atol=1e-11)

    @every_operator
    def test_the_diagonal_is_the_matrix_s(self, case):
        for operator in (case.operator(), case.operator().transpose()):
            diagonal = np.broadcast_to(operator.diagonal(), case.shape).ravel()
            np.testing.assert_allclose(diagonal, case.matrix.diagonal(), rtol=1e-13)

    @pytest.mark.parametrize("case", EXACT.values(), ids=EXACT)
    def test_solve_exactly_equals_a_dense_solve(self, case):
        b = fields(4, *case.shape)
        with jax.enable_x64(False):
            u = case.operator().solve_exactly(b)
            np.testing.assert_allclose(case.operator().solve_exactly(b[0]), u[0], rtol=1e-12, atol=1e-14)
        assert u.dtype == np.float64
        expected = np.linalg.solve(case.matrix, b.reshape(4, -1).T).T.reshape(b.shape)
        np.testing.assert_allclose(u, expected, rtol=1e-10, atol=1e-12)

    @every_operator
    def test_float32_stays_float32(self, case):
        with jax.enable_x64(False):
            operator = case.operator()
            for result in (operator.matvec(jnp.ones(case.shape)), operator.diagonal()):
                assert result.dtype == jnp.float32

    @every_operator
    def test_it_is_positive_definite_if_and_only_if_it_says_so(self, case):
        symmetric = np.allclose(case.matrix, case.matrix.T)
        positive = symmetric and np.linalg.eigvalsh(case.matrix).min() > 0
        if "positive definite" in case.operator().properties:
            assert positive
        elif case.shape[-1] > 2:  # on two points around, left and right are the same
            assert not symmetric

    @claiming("diagonal")
    def test_a_diagonal_that_is_said_to_dominate_does(self, case):
        rest = np.abs(case.matrix).sum(axis=1) - case.matrix.diagonal()
        strict = case.matrix.diagonal() - rest > 1e-12
        assert (case.matrix.diagonal() - rest > -1e-9).all()
        assert strict[[0, -1]].all()

    @claiming("ordering")
    def test_points_of_a_colour_do_not_couple_and_sweeps_go_one_before_the_other(self, case):
        operator, r = case.operator(), jnp.asarray(fields(*case.shape))
        if case.shape[-1] % 2 and (isinstance(operator, BurgersOperator) or "periodic" in vars(operator).values()):
            with pytest.raises(ValueError, match=f"even number of points a side; got {case.shape[-1]}"):
                operator.first_color(r)
            return
        first = np.asarray(operator.first_color(r)).ravel()
        assert first[0]
        for color in (first, ~first):
            within = case.matrix[np.ix_(color, color)]
            np.testing.assert_array_equal(within, np.diag(within.diagonal()))
        order = np.argsort(~first, kind="stable")
        lower = np.tril(case.matrix[np.ix_(order, order)], -1) + np.diag(case.matrix.diagonal()[order] / 1.3)
        expected = np.empty(first.size)
        expected[order] = np.linalg.solve(lower, np.asarray(r).ravel()[order])
        np.testing.assert_allclose(operator.solve_lower(r, 1.3).ravel(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.usefixtures("float64")
class TestGradients:
    """Of a product with A with respect to what A is made of, against finite differences, through A and Aᵀ."""

    @pytest.mark.parametrize("boundary", ["zero", "periodic"])
    def test_heat(self, boundary):
        u, v = jnp.asarray(fields(2, 4, 4))

        def product(diffusion):
            operator = HeatOperator(diffusion, 4, 2, boundary)
            return jnp.vdot(v, operator.matvec(u)) + jnp.vdot(operator.transpose().matvec(v), jnp.sin(u))

        check_grads(jax.jit(product), (jnp.asarray(0.1),), order=1)

    def test_burgers(self):
        u, v, wind = jnp.asarray(fields(3, 8))

        def product(wind, dt, viscosity):
            operator = BurgersOperator(wind, dt, viscosity)
            return jnp.vdot(v, operator.matvec(u)) + jnp.vdot(operator.transpose().matvec(v), jnp.sin(u))

        check_grads(jax.jit(product), (wind, jnp.asarray(0.1), jnp.asarray(0.02)), order=1)

    @pytest.mark.parametrize("averages", ["published", "proper"])
    def test_navier_stokes(self, averages):
        u, v = jnp.asarray(fields(2, 3, 5, 5))

        def product(velocity, dt, viscosity):
            operator = NavierStokesOperator(velocity, dt, viscosity, averages)
            return jnp.vdot(v, operator.matvec(u)) + jnp.vdot(operator.transpose().matvec(v), jnp.sin(u))

        check_grads(jax.jit(product), (jnp.asarray(fields(2, 5, 5)), jnp.asarray(0.1), jnp.asarray(0.02)), order=1)
