"""Seeded random weights, with batch normalization that fits its convolution's output.

Training gives batch normalization the mean and variance of its convolution's output. Here both are predicted from the
convolution's weights and the moments of its input, as if all numbers were independent. Where they are not,
`rescale.py` corrects the scale.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mnbench.network.layer import INPUT, Layer

Weights: TypeAlias = dict[str, NDArray[np.float32]]

GAMMA_SPREAD = 0.25
BETA_SPREAD = 0.25


class Moments(NamedTuple):
    """Mean and variance of an activation."""

    mean: float
    variance: float

    @property
    def square(self) -> float:
        return self.mean**2 + self.variance


IMAGE = Moments(0.0, 1.0)
"""A normalized image."""

NORMALIZED = Moments(0.0, 1 + GAMMA_SPREAD**2 / 3 + BETA_SPREAD**2 / 3)
"""After batch normalization with gamma in 1 ± 0.25 and beta in 0 ± 0.25."""

PROJECTED = Moments(0.0, 1 + BETA_SPREAD**2 / 3)
"""After a layer with bias and without batch normalization."""

POOLED = Moments(1.485 * math.sqrt(NORMALIZED.variance), 0.357 * NORMALIZED.variance)
"""The maximum of nine numbers after NORMALIZED and ReLU, where all networks here have their max pooling."""


def random_weights(layers: Iterable[Layer], *, seed: int, beta: float = 0.0) -> Weights:
    """Draw the trainable tensors of every layer and the statistics of batch normalization, by tensor name.

    A name is the layer's scope and `.weight`, `.bias`, `.gamma`, `.beta`, `.mean` or `.variance`. `beta` is the centre
    of the betas; if it is large, ReLU passes nearly all values.
    """
    weights: Weights = {}
    moments = {INPUT: IMAGE}
    convs: dict[str, Layer] = {}
    for layer in layers:
        read = [moments[tensor.name] for tensor in layer.inputs]
        if layer.kind in ("conv", "fully_connected"):
            convs[layer.output.name] = layer
            kernel = layer.weights[0].shape
            # Batch normalization takes any scale; a layer without it needs outputs at unit scale by itself.
            square = read[0].square if len(layer.weights) > 1 or layer.kind == "fully_connected" else 1.0
            fan_in = math.prod(kernel[1:])
            weights[f"{layer.scope}.weight"] = _uniform(layer, "weight", seed, math.sqrt(3 / (fan_in * square)))
            if len(layer.weights) > 1:
                weights[f"{layer.scope}.bias"] = _uniform(layer, "bias", seed, BETA_SPREAD, tensor=1)
        elif layer.kind == "batch_norm":
            mean, variance = (np.full(layer.output.shape[1], moment) for moment in read[0])
            if conv := convs.get(layer.inputs[0].name):
                mean, variance = _predicted(conv, weights[f"{conv.scope}.weight"], moments[conv.inputs[0].name])
            weights |= {
                f"{layer.scope}.gamma": 1 + _uniform(layer, "gamma", seed, GAMMA_SPREAD),
                f"{layer.scope}.beta": np.float32(beta) + _uniform(layer, "beta", seed, BETA_SPREAD),
                f"{layer.scope}.mean": mean.astype(np.float32),
                f"{layer.scope}.variance": np.maximum(variance - layer.attributes["epsilon"], 0).astype(np.float32),
            }
        built = _output_moments(layer, read)
        if layer.kind == "batch_norm":
            built = Moments(beta, built.variance)
        moments.update((tensor.name, built) for tensor in layer.outputs)
    return weights


def _output_moments(layer: Layer, read: Sequence[Moments]) -> Moments:  # noqa: PLR0911  one return a kind
    first = read[0]
    match layer.kind:
        case "conv" | "fully_connected":
            return PROJECTED
        case "batch_norm":
            return NORMALIZED
        case "relu" | "relu6" | "hard_swish" | "hard_sigmoid" | "sigmoid":
            return activation_moments(layer.kind, first)
        case "max_pool":
            return POOLED
        case "add":
            return Moments(sum(moments.mean for moments in read), sum(moments.variance for moments in read))
        case "mul":
            mean = math.prod(moments.mean for moments in read)
            return Moments(mean, math.prod(moments.square for moments in read) - mean**2)
        case "concat":
            shares = [tensor.shape[1] / layer.output.shape[1] for tensor in layer.inputs]
            mean = sum(moments.mean * share for moments, share in zip(read, shares, strict=True))
            square = sum(moments.square * share for moments, share in zip(read, shares, strict=True))
            return Moments(mean, square - mean**2)
        case _:
            return first


@cache
def activation_moments(kind: str, moments: Moments) -> Moments:
    """Return the moments of an activation of normally distributed numbers, by a sum over ± 6 standard deviations."""
    deviations = [step / 20 for step in range(-120, 121)]
    densities = [math.exp(-z * z / 2) for z in deviations]
    values = [apply_activation(kind, moments.mean + z * math.sqrt(moments.variance)) for z in deviations]
    total = sum(densities)
    mean = sum(map(float.__mul__, densities, values)) / total
    square = sum(density * value**2 for density, value in zip(densities, values, strict=True)) / total
    # Rounded, so that the last bit of some machine's exp changes no weight.
    return Moments(round(mean, 4), round(square - mean**2, 4))


def apply_activation(kind: str, value: float) -> float:
    gate = min(max(value + 3, 0.0), 6.0) / 6
    return {
        "relu": max(value, 0.0),
        "relu6": min(max(value, 0.0), 6.0),
        "hard_sigmoid": gate,
        "hard_swish": value * gate,
        "sigmoid": 1 / (1 + math.exp(-value)),
    }[kind]


def _predicted(
    conv: Layer, weight: NDArray[np.float32], source: Moments
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predict the mean and variance of each output channel of a convolution."""
    inside = _share_inside(conv)
    exact = weight.astype(np.float64)
    axes = (1, 2, 3)
    return source.mean * (exact * inside).sum(axis=axes), source.variance * (exact**2 * inside).sum(axis=axes)


def _uniform(layer: Layer, name: str, seed: int, reach: float, *, tensor: int = 0) -> NDArray[np.float32]:
    """Draw numbers in ± reach, the same on every machine: numpy's compatibility policy fixes PCG64's raw stream."""
    shape = layer.weights[tensor].shape
    count = math.prod(shape)
    bits = np.random.PCG64([seed, crc32(f"{layer.scope}.{name}".encode())]).random_raw((count + 1) // 2)
    numbers = (bits.view(np.uint32)[:count] >> 8).astype(np.float32)
    numbers *= np.float32(reach * 2**-23)
    numbers -= np.float32(reach)
    return numbers.reshape(shape)


def _share_inside(conv: Layer) -> NDArray[np.float64]:
    """Return the share of output positions at which each tap of the kernel reads the image and not the padding.

    At 1 × 1, only one tap of a 3 × 3 kernel ever reads the image.
    """
    shares: list[NDArray[np.float64]] = []
    dilations = conv.attributes.get("dilations", (1, 1))
    for axis in (0, 1):
        size, begins = conv.inputs[0].shape[2 + axis], np.arange(conv.output.shape[2 + axis]) * conv.stride[axis]
        taps = begins - conv.padding[axis] + dilations[axis] * np.arange(conv.kernel[axis])[:, None]
        shares.append(((taps >= 0) & (taps < size)).mean(axis=1))
    return np.outer(*shares)
