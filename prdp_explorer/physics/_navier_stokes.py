"""The incompressible Navier-Stokes equations on the periodic unit square, on a staggered grid.

N by N cells with dx = 1 / N. Fields have the axes (component, y, x). With forward differences of the pressure and
backward ones in the divergence, vx sits on the right faces of the cells, vy on the top faces, p in the middle.
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..solvers import AbstractOperator
from ._grids import divide_in_eigenvectors, laplacian_eigenvalues
from ._upwind import upwind_weights

Averages = Literal["published", "proper"]
"""How the wind across a component is averaged onto its points: as published, or from the four nearest points."""


class NavierStokesOperator(AbstractOperator):
    """One step of backward Euler and one of Picard for velocity and pressure at once, a saddle point, as a stencil.

    For the unknowns (vx, vy, p), with the previous velocity as the wind w, first-order upwind differences
    w·∇ = w⁺ D⁻ + w⁻ D⁺ along both axes, and central ones in the Laplacian:

    - vx / dt + w·∇vx - ν Δvx + D⁺x p = vx_previous / dt,
    - vy / dt + w·∇vy - ν Δvy + D⁺y p = vy_previous / dt,
    - D⁻x vx + D⁻y vy = 0.

    The rows are scaled as published, since the iterates of GMRES depend on it. The matrix is not symmetric, has zeros
    on its diagonal, and leaves the mean of p undetermined; from zero, a Krylov method ends with mean zero.

    **Arguments:**

    - `velocity`: the previous (vx, vy), of shape `(2, N, N)`; gradients reach it through the weights, which are the
      array leaves.
    - `dt`: the time step, non-dimensional; published: 0.1.
    - `viscosity`: ν, non-dimensional, not negative; published: 1e-4.
    - `averages`: of the wind across a component: "proper", the default, are those of the four points around it;
      "published", as in the reference code, those of four whose middle is one cell off along both axes.

    **Raises:** `ValueError` for unknown averages.

    **Source:** Bhatia, Koehler and Thuerey 2025 (arXiv:2502.19611) and its code, `tum-pbs/PRDP`.
    """

    centre: Float[Array, "2 N N"]
    west: Float[Array, "2 N N"]
    east: Float[Array, "2 N N"]
    south: Float[Array, "2 N N"]
    north: Float[Array, "2 N N"]
    coupling: Float[Array, ""] | float

    def __init__(
        self,
        velocity: Float[Array, "2 N N"],
        dt: Float[Array, ""] | float,
        viscosity: Float[Array, ""] | float,
        averages: Averages = "proper",
    ) -> None:
        if averages not in get_args(Averages):
            raise ValueError(f"`averages` must be one of {', '.join(get_args(Averages))}; got {averages!r}.")
        step = 1 if averages == "proper" else -1
        vx, vy = velocity
        vx_across = _mean_of_four(vx, -step, step)
        vy_across = _mean_of_four(vy, step, -step)
        x_wind, y_wind = jnp.stack([vx, vx_across]), jnp.stack([vy_across, vy])
        self.west, self.east = _upwind(x_wind, viscosity)
        self.south, self.north = _upwind(y_wind, viscosity)
        self.centre = 1 / dt - self.west - self.east - self.south - self.north
        self.coupling = float(velocity.shape[-1])

    def matvec(self, u: Float[Array, "3 N N"]) -> Float[Array, "3 N N"]:
        here, west, east, south, north = _points_and_neighbours(u)
        vx, vy, p = here
        momentum = (
            self.centre.reshape(2, -1) * here[:2]
            + self.west.reshape(2, -1) * west[:2]
            + self.east.reshape(2, -1) * east[:2]
            + self.south.reshape(2, -1) * south[:2]
            + self.north.reshape(2, -1) * north[:2]
            + self.coupling * (jnp.stack([east[2], north[2]]) - p)
        )
        mass = self.coupling * (vx - west[0] + vy - south[1])
        return jnp.concatenate([momentum, mass[None]]).reshape(u.shape)

    def diagonal(self) -> Float[Array, "3 N N"]:
        return jnp.concatenate([self.centre, jnp.zeros_like(self.centre[:1])])

    def transpose(self) -> "NavierStokesOperator":
        """A point's weight of its neighbour becomes the neighbour's of the point; D⁺ᵀ is -D⁻, and D⁻ᵀ is -D⁺."""
        return eqx.tree_at(
            lambda operator: (operator.west, operator.east, operator.south, operator.north, operator.coupling),
            self,
            (
                jnp.roll(self.east, 1, -1),
                jnp.roll(self.west, -1, -1),
                jnp.roll(self.north, 1, -2),
                jnp.roll(self.south, -1, -2),
                -self.coupling,
            ),
        )


def navier_stokes_right_side(velocity: Float[Array, "2 N N"], dt: Float[Array, ""] | float) -> Float[Array, "3 N N"]:
    """b = (vx / dt, vy / dt, 0) of the step from a velocity, for `NavierStokesOperator`."""
    return jnp.concatenate([velocity / dt, jnp.zeros_like(velocity[:1])])


def divergence(velocity: Float[np.ndarray, "*batch 2 N N"]) -> Float[np.ndarray, "*batch N N"]:
    """D⁻x vx + D⁻y vy in the middle of each cell, non-dimensional. In NumPy."""
    vx, vy = velocity[..., 0, :, :], velocity[..., 1, :, :]
    return velocity.shape[-1] * (vx - np.roll(vx, 1, -1) + vy - np.roll(vy, 1, -2))


def vorticity(velocity: Float[Array, "2 N N"]) -> Float[Array, "N N"]:
    """D⁺x vy - D⁺y vx, at the upper right corner of each cell, non-dimensional. In JAX, for views."""
    vx, vy = velocity
    return velocity.shape[-1] * (jnp.roll(vy, -1, -1) - vy - jnp.roll(vx, -1, -2) + vx)


def project_divergence_free(velocity: Float[np.ndarray, "*batch 2 N N"]) -> Float[np.ndarray, "*batch 2 N N"]:
    """The nearest velocity whose divergence vanishes to rounding: less D⁺φ with D⁻·D⁺φ = D⁻·velocity.

    In NumPy and float64 whatever JAX's precision, by Fourier transform. The mean velocity stays.
    """
    velocity = np.asarray(velocity, np.float64)
    num_points = velocity.shape[-1]
    eigenvalues = -(num_points**2) * laplacian_eigenvalues(num_points, 2, "periodic")
    eigenvalues[0, 0] = 1  # of the mean, which a divergence lacks
    potential = divide_in_eigenvectors(divergence(velocity), eigenvalues, "periodic")
    gradient = [num_points * (np.roll(potential, -1, axis) - potential) for axis in (-1, -2)]
    return velocity - np.stack(gradient, axis=-3)


def coarsen(fields: Float[Any, "*batch fine fine"]) -> Float[Any, "*batch coarse coarse"]:
    """Every second point from the second along x and y, as published: 97 by 97 points become 48 by 48.

    In NumPy or JAX, whichever the fields are.
    """
    return fields[..., 1::2, 1::2]


def _mean_of_four(field: Float[Array, "N N"], x_step: int, y_step: int) -> Float[Array, "N N"]:
    """The mean of field[j, i], field[j, i + x_step], field[j + y_step, i] and field[j + y_step, i + x_step]."""
    along_x, along_y = jnp.roll(field, -x_step, -1), jnp.roll(field, -y_step, -2)
    return (field + along_x + along_y + jnp.roll(along_x, -y_step, -2)) / 4


def _upwind(wind: Float[Array, "2 N N"], viscosity: Any) -> tuple[Float[Array, "2 N N"], Float[Array, "2 N N"]]:
    return upwind_weights(jnp.maximum(wind, 0), jnp.minimum(wind, 0), viscosity, wind.shape[-1])


def _points_and_neighbours(u: Float[Array, "3 N N"]) -> tuple[Float[Array, "3 points"], ...]:
    """The points and those to their west, east, south and north, row after row."""
    # With a margin of rows each is one contiguous piece, but for the column at an edge: on a CPU a product with the
    # operator takes about 0.8 of the time that it takes with a margin all round, and 0.3 of that with `jnp.roll`.
    num_points = u.shape[-1]
    rows = jnp.concatenate([u[:, -1:], u, u[:, :1]], axis=1).reshape(3, -1)
    column = np.arange(num_points**2) % num_points

    def shifted(by: int) -> Array:
        return rows[:, num_points + by :][:, : num_points**2]

    west = jnp.where(column == 0, shifted(num_points - 1), shifted(-1))
    east = jnp.where(column == num_points - 1, shifted(1 - num_points), shifted(1))
    return shifted(0), west, east, shifted(-num_points), shifted(num_points)
