"""What the operators share: the two colours of a grid, and solves in the eigenvectors of its Laplacian."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

Boundary = Literal["zero", "periodic"]
"""u = 0 at both ends, on interior points with spacing 1 / (n + 1), or n points around with spacing 1 / n."""


def checkerboard(shape: tuple[int, ...], boundary: Boundary) -> Bool[Array, "..."]:
    """The points whose indices have an even sum.

    **Raises:** `ValueError` for an odd number of points around, where the first point and the last, which are
    neighbours, would have the same colour.
    """
    odd = [size for size in shape if size % 2]
    if boundary == "periodic" and odd:
        raise ValueError(
            f"A red-black ordering of a periodic grid needs an even number of points a side; got {odd[0]}. "
            "Choose an even number, or a solver that needs no ordering."
        )
    return jnp.asarray(np.indices(shape).sum(axis=0) % 2 == 0)


def laplacian_eigenvalues(num_points: int, num_spatial_dims: int, boundary: Boundary) -> Float[np.ndarray, "..."]:
    """Of -Δ by second-order central differences, times dx², in the order that `divide_in_eigenvectors` takes."""
    angles = {
        "zero": np.pi / (num_points + 1) * np.arange(1, num_points + 1),
        "periodic": 2 * np.pi / num_points * np.arange(num_points),
    }
    rate = 4 * np.sin(angles[boundary] / 2) ** 2
    return sum(np.meshgrid(*[rate] * num_spatial_dims, indexing="ij"), np.zeros(()))


def divide_in_eigenvectors(
    b: Float[np.ndarray, "*batch_and_grid"], eigenvalues: Float[np.ndarray, "..."], boundary: Boundary
) -> Float[np.ndarray, "*batch_and_grid"]:
    """u with A u = b to rounding, for a function A of the Laplacian with these eigenvalues, in float64.

    The grid is as many of b's last axes as the eigenvalues have.
    """
    b = np.asarray(b, np.float64)
    axes = tuple(range(-eigenvalues.ndim, 0))
    if boundary == "periodic":
        return np.fft.ifftn(np.fft.fftn(b, axes=axes) / eigenvalues, axes=axes).real
    num_points = len(eigenvalues)
    modes = np.arange(1, num_points + 1)
    sines = np.sqrt(2 / (num_points + 1)) * np.sin(np.pi / (num_points + 1) * np.outer(modes, modes))  # its own inverse

    def transform(u: np.ndarray) -> np.ndarray:
        for axis in axes:
            u = np.moveaxis(np.moveaxis(u, axis, -1) @ sines, -1, axis)
        return u

    return transform(transform(b) / eigenvalues)
