"""Networks from fields to fields of the same shape, made of equinox's and pdequinox's."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pdequinox.arch import ClassicResNet


class FieldMLP(eqx.Module):
    """A multilayer perceptron (relu) on all points of a scalar field at once.

    **Arguments:**

    - `num_points`: of the field, in all. `width`, `depth`: of the hidden layers, as of `equinox.nn.MLP`.
    """

    mlp: eqx.nn.MLP

    def __init__(self, num_points: int, width: int, depth: int, *, key: Array):
        self.mlp = eqx.nn.MLP(num_points, num_points, width_size=width, depth=depth, key=key)

    def __call__(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return self.mlp(u.ravel()).reshape(u.shape)


class CoarseFieldMLP(eqx.Module):
    """A `FieldMLP` on a coarser grid, whose output is interpolated back by cubic polynomials.

    **Arguments:**

    - `num_spatial_dims`, `num_points`: of the field, and its points a side.
    - `stride`: every so many points a side there is one of the coarser grid, from the middle of the first few on.
    - `width`, `depth`: of the hidden layers.
    """

    network: FieldMLP
    stride: int = eqx.field(static=True)

    def __init__(self, num_spatial_dims: int, num_points: int, stride: int, width: int, depth: int, *, key: Array):
        if num_points % stride:
            raise ValueError(f"`stride` must divide `num_points`, which is {num_points}; got {stride}.")
        self.network = FieldMLP((num_points // stride) ** num_spatial_dims, width, depth, key=key)
        self.stride = stride

    def __call__(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        v = self.network(u[(slice(self.stride // 2, None, self.stride),) * u.ndim])
        weights = jax.image.resize(jnp.eye(len(v)), (len(u), len(v)), "cubic")
        for _ in range(u.ndim):  # each takes the first axis away and adds an interpolated one behind
            v = jnp.tensordot(v, weights, (0, 1))
        return v


class FieldResNet(eqx.Module):
    """A convolutional residual network, pdequinox's `ClassicResNet` without normalisation, on a scalar field.

    **Arguments:**

    - `num_spatial_dims`: of the field. `channels`, `blocks`: of the network.
    - `boundary`: what its convolutions see beyond the edge: zero ("dirichlet") or the other side ("periodic").
    """

    resnet: ClassicResNet

    def __init__(
        self,
        num_spatial_dims: int,
        channels: int,
        blocks: int,
        boundary: Literal["dirichlet", "periodic"],
        *,
        key: Array,
    ):
        self.resnet = ClassicResNet(
            num_spatial_dims, 1, 1, hidden_channels=channels, num_blocks=blocks, boundary_mode=boundary, key=key
        )

    def __call__(self, u: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        return self.resnet(u[None])[0]
