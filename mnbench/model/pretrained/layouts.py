"""The tensors that a checkpoint must have, by the names that a layout gives them."""

import re
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.layer import Layer, Shape

WEIGHT_SUFFIXES = {"weight": "weight", "bias": "bias"}
BATCH_NORM_SUFFIXES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
BATCH_COUNTER = "num_batches_tracked"
"""Of batch normalization, by training alone."""

BLOCK = re.compile(r"(?P<head>[a-z]+(?P<first>\d+)(?:\.(?P<second>\d+))?)/(?P<part>.+)")
"""`bottleneck3/expand`, `stage2.1/left/depthwise`; `conv1` and `head` have no part."""


class ExpectedTensor(NamedTuple):
    """A tensor of a checkpoint: its name there, our name, and the shape that it must have."""

    name: str
    tensor: str
    shape: Shape


def expected_tensors(layout: CheckpointLayout, layers: Sequence[Layer]) -> list[ExpectedTensor]:
    """Return every tensor that the layers need, by its name in a checkpoint; none if the layout lacks a name."""
    weighted = [layer for layer in layers if layer.weights]
    try:
        prefixes = layout.in_order or list(_prefixes(layout, weighted))
    except (KeyError, IndexError):
        return []
    return list(_wanted(prefixes, weighted)) if len(prefixes) == len(weighted) else []


def _prefixes(layout: CheckpointLayout, layers: Sequence[Layer]) -> Iterator[str]:
    """Return what stands before `.weight` for each layer."""
    owners = {layer.scope: re.sub("/(conv|bn|fc)$", "", layer.scope) for layer in layers}
    blocks: dict[str, list[str]] = {}
    for owner in owners.values():
        if owner not in layout.top_level:
            match = _block(owner)
            parts = blocks.setdefault(match["head"], [])
            part = match["part"].partition("/")[0]
            parts += [] if part in parts else [part]
    for layer in layers:
        yield _prefix(layout, owners[layer.scope], blocks, normalizes=layer.kind == "batch_norm")


def _wanted(prefixes: Sequence[str], layers: Sequence[Layer]) -> Iterator[ExpectedTensor]:
    for prefix, layer in zip(prefixes, layers, strict=True):
        suffixes = BATCH_NORM_SUFFIXES if layer.kind == "batch_norm" else WEIGHT_SUFFIXES
        # Mean and variance have the shape of gamma and beta.
        shapes = [weight.shape for weight in layer.weights] * (2 if layer.kind == "batch_norm" else 1)
        for (ours, theirs), shape in zip(suffixes.items(), shapes, strict=False):
            yield ExpectedTensor(f"{prefix}.{theirs}", f"{layer.scope}.{ours}", shape)


def _prefix(layout: CheckpointLayout, owner: str, blocks: Mapping[str, list[str]], *, normalizes: bool) -> str:
    sizes = layout.stage_sizes[len(blocks)] if layout.stage_sizes else ()
    known = {"last": len(blocks) + 1, "stages": len(sizes)}
    if owner in layout.top_level:
        return layout.top_level[owner][normalizes].format(**known)
    match = _block(owner)
    number, parts = list(blocks).index(match["head"]), blocks[match["head"]]
    at = parts.index(match["part"].partition("/")[0])
    stage, index = int(match["first"]), int(match["second"] or 1) - 1
    if sizes:
        ends = list(accumulate(sizes))
        stage = bisect(ends, number)
        index = number - ends[stage] + sizes[stage]
    names = layout.block_parts if "expand" in parts else {**layout.block_parts, **layout.unexpanded}
    return (layout.block_prefix + names[match["part"]][normalizes]).format(
        n=number + 1, m=number, stage=stage, index=index, at=at, next=at + 1, **known
    )


def _block(owner: str) -> re.Match[str]:
    match = BLOCK.fullmatch(owner)
    if not match:
        raise KeyError(owner)
    return match
