"""Windows that move over a map: how many fit into a side, and how it is padded. Pure functions of sizes in pixels."""

from itertools import pairwise
from typing import NamedTuple, TypeAlias

Sides: TypeAlias = tuple[int, int, int, int]
"""Padding at the top, left, bottom and right."""


class Stride(NamedTuple):
    """How many pixels of the input lie between two of a map, and how far apart the pixels are that a window reads.

    A network whose maps must not shrink further loses strides: from there on, windows are `dilation` times as wide, and
    `pixels` is what it would be with all strides.
    """

    pixels: int
    dilation: int


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def torch_padding(reach: int) -> tuple[int, int]:
    """Return PyTorch's usual padding before and after a side: half a window each."""
    return reach // 2, reach // 2


def same_padding(size: int, reach: int, stride: int) -> tuple[int, int]:
    """Return TensorFlow's SAME padding, which makes ceil(size / stride) windows fit; the larger half is behind."""
    lacking = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return lacking // 2, lacking - lacking // 2


def ceil_padding(size: int, reach: int, stride: int, before: int, after: int) -> int:
    """Return the padding behind a side that makes room for a last window which reaches beyond it.

    As in PyTorch, that window must begin in the map or in the padding before it.
    """
    excess = (size + before + after - reach) % stride
    begins = size + before + after - reach - excess + stride
    return after + stride - excess if excess and begins < size + before else after


def even_windows(size: int, count: int) -> tuple[int, int] | None:
    """Return the size and stride of `count` windows over a side; None where PyTorch's adaptive ones are not alike."""
    if size < count:
        return None
    starts = [index * size // count for index in range(count)]
    sizes = {-(-(index + 1) * size // count) - start for index, start in enumerate(starts)}
    strides = {after - before for before, after in pairwise(starts)} or {1}
    return (sizes.pop(), strides.pop()) if len(sizes) == len(strides) == 1 else None
