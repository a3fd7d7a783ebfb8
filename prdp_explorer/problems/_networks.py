"""Networks from fields to fields of the same shape, made of equinox's and pdequinox's."""

from typing import Literal

import equinox as eqx
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
