"""Seeded random weights that keep activations at unit scale, at every depth.

Training gives batch normalization the mean and variance of what its convolution really puts out. Here both are
predicted from the convolution's own weights and the moments of the activations that it reads, with every number drawn
independently. So activations neither vanish nor explode, whatever α, resolution and depth, and nothing has to be run:
the same seed gives the same bytes on every machine.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mnbench.errors import BuildError
from mnbench.network.layer import INPUT, Layer

Weights: TypeAlias = dict[str, NDArray[np.float32]]

GAMMA_SPREAD = 0.25
BETA_SPREAD = 0.25


class Moments(NamedTuple):
    """Mean and variance of an activation's numbers."""

    mean: float
    variance: float

    @property
    def square(self) -> float:
        """The mean square."""
        return self.mean**2 + self.variance


IMAGE = Moments(0.0, 1.0)
"""A normalized image."""

NORMALIZED = Moments(0.0, 1 + GAMMA_SPREAD**2 / 3 + BETA_SPREAD**2 / 3)
"""Behind batch normalization with gamma in 1 ± 0.25 and beta in 0 ± 0.25."""

ACTIVATED = {"relu": Moments(0.403, 0.358), "relu6": Moments(0.403, 0.358)}
"""Behind an activation of NORMALIZED, by quadrature (`tests/test_weights.py` does it again)."""


def seeded_weights(layers: Iterable[Layer], *, batch_norm_epsilon: float, seed: int) -> Weights:
    """The trainable tensors of every layer and the statistics of its batch normalizations, by tensor name.

    Names are the layer's scope and `.weight`, `.bias`, `.gamma`, `.beta`, `.mean` or `.variance`.
    """
    weights: Weights = {}
    moments = {INPUT: IMAGE}
    conv: Layer | None = None
    for layer in layers:
        read = moments[layer.inputs[0].name]
        made = read
        match layer.kind:
            case "conv":
                conv = layer
                fan_in = math.prod(layer.weights[0][1:])
                weights[f"{layer.scope}.weight"] = _uniform(layer, "weight", seed, math.sqrt(3 / fan_in))
            case "batch_norm" if conv and layer.inputs[0] == conv.output:
                weight = weights[f"{conv.scope}.weight"].astype(np.float64) * np.sqrt(_share_inside(conv))
                source = moments[conv.inputs[0].name]
                variance = source.variance * np.square(weight).sum(axis=(1, 2, 3))
                mean = source.mean * (weight * np.sqrt(_share_inside(conv))).sum(axis=(1, 2, 3))
                weights |= {
                    f"{layer.scope}.gamma": 1 + _uniform(layer, "gamma", seed, GAMMA_SPREAD),
                    f"{layer.scope}.beta": _uniform(layer, "beta", seed, BETA_SPREAD),
                    f"{layer.scope}.mean": mean.astype(np.float32),
                    f"{layer.scope}.variance": np.maximum(variance - batch_norm_epsilon, 0).astype(np.float32),
                }
                made = NORMALIZED
            case "relu" | "relu6":
                made = ACTIVATED[layer.kind]
            case "global_average_pool":
                made = Moments(read.mean, read.variance / math.prod(layer.kernel))
            case "flatten":
                pass
            case "fully_connected":
                reach = math.sqrt(3 / (layer.weights[0][1] * read.square))
                weights[f"{layer.scope}.weight"] = _uniform(layer, "weight", seed, reach)
                weights[f"{layer.scope}.bias"] = _uniform(layer, "bias", seed, BETA_SPREAD, tensor=1)
                made = Moments(0.0, 1 + BETA_SPREAD**2 / 3)
            case kind:
                raise BuildError(
                    f"{layer.scope}: no weights for a layer of kind {kind}", hint="report this as a defect"
                )
        moments[layer.output.name] = made
    return weights


def _uniform(layer: Layer, name: str, seed: int, reach: float, *, tensor: int = 0) -> NDArray[np.float32]:
    """Numbers in ± reach, the same on every machine: PCG64's raw stream is fixed by numpy's compatibility policy."""
    shape = layer.weights[tensor]
    count = math.prod(shape)
    bits = np.random.PCG64([seed, crc32(f"{layer.scope}.{name}".encode())]).random_raw((count + 1) // 2)
    numbers = (bits.view(np.uint32)[:count] >> 8).astype(np.float32)
    numbers *= np.float32(reach * 2**-23)
    numbers -= np.float32(reach)
    return numbers.reshape(shape)


def _share_inside(conv: Layer) -> NDArray[np.float64]:
    """Of each tap of the kernel, the share of output positions at which it reads the image and not the padding.

    At 1 × 1 a 3 × 3 kernel has one tap left.
    """
    shares: list[NDArray[np.float64]] = []
    for axis in (0, 1):
        size, positions = conv.inputs[0].shape[2 + axis], np.arange(conv.output.shape[2 + axis])
        taps = np.arange(conv.kernel[axis])[:, None] + positions * conv.stride[axis] - conv.padding[axis]
        shares.append(((taps >= 0) & (taps < size)).mean(axis=1))
    return np.outer(*shares)
