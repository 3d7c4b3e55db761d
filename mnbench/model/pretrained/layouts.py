"""What others call our layers: of each library that publishes weights, the names of its tensors, as data.

A network's own names are scopes, as `bottleneck3/expand`. A naming says for each what stands before `.weight` in a
checkpoint. Fields in braces are `n` the number of the block, from 1, and `m` from 0; `stage` and `index` in the stage,
from 0; `at` the number of the part in its block, and `next` the one behind; `last` the block behind the last, `stages`
the stage behind the last.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from mnbench.families.mobilenet_v1 import MobileNetV1
from mnbench.families.mobilenet_v2 import MobileNetV2
from mnbench.families.mobilenet_v3 import MobileNetV3
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.network.architecture import Architecture
from mnbench.network.layer import Layer, Shape

Names: TypeAlias = Mapping[str, tuple[str, ...]]
"""The layer with weights, and the batch normalization behind it if it has one."""

TORCH_EPSILON = 1e-5
TENSORFLOW_EPSILON = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointLayout:
    """One library's names for one family.

    `whole` are layers outside of blocks; `block` stands before the `parts` of each; `bare` are the parts of a block
    without expansion where they differ. `epsilon` is that of its batch normalizations, `same_padding_epsilon` that of
    networks with TensorFlow's padding. `sizes` are the blocks of each stage, by how many there are in all.
    """

    name: str
    family: type[Architecture]
    epsilon: float = TORCH_EPSILON
    same_padding_epsilon: float = TENSORFLOW_EPSILON
    unit: str | None = None
    top_level: Names
    block_prefix: str
    block_parts: Names
    unexpanded: Names = field(default_factory=dict[str, tuple[str, ...]])
    stage_sizes: Mapping[int, Sequence[int]] = field(default_factory=dict[int, Sequence[int]])


CHECKPOINT_LAYOUTS = (
    CheckpointLayout(
        name="timm",
        family=MobileNetV1,
        top_level={"conv1": ("conv_stem", "bn1"), "fc": ("classifier",)},
        block_prefix="blocks.{stage}.{index}.",
        block_parts={"depthwise": ("conv_dw", "bn1"), "pointwise": ("conv_pw", "bn2")},
        stage_sizes={13: (1, 2, 2, 6, 2)},
    ),
    CheckpointLayout(
        name="torchvision",
        family=MobileNetV2,
        top_level={
            "conv1": ("features.0.0", "features.0.1"),
            "conv2": ("features.{last}.0", "features.{last}.1"),
            "fc": ("classifier.1",),
        },
        block_prefix="features.{n}.conv.",
        block_parts={"expand": ("0.0", "0.1"), "depthwise": ("{at}.0", "{at}.1"), "project": ("{at}", "{next}")},
    ),
    CheckpointLayout(
        name="timm",
        family=MobileNetV2,
        top_level={"conv1": ("conv_stem", "bn1"), "conv2": ("conv_head", "bn2"), "fc": ("classifier",)},
        block_prefix="blocks.{stage}.{index}.",
        block_parts={"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")},
        unexpanded={"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
        stage_sizes={17: (1, 2, 3, 4, 3, 3, 1)},
    ),
    CheckpointLayout(
        name="torchvision",
        family=MobileNetV3,
        epsilon=1e-3,
        top_level={
            "conv1": ("features.0.0", "features.0.1"),
            "conv2": ("features.{last}.0", "features.{last}.1"),
            "head": ("classifier.0",),
            "fc": ("classifier.3",),
        },
        block_prefix="features.{n}.block.{at}.",
        block_parts={
            "expand": ("0", "1"),
            "depthwise": ("0", "1"),
            "squeeze_excite/reduce": ("fc1",),
            "squeeze_excite/expand": ("fc2",),
            "project": ("0", "1"),
        },
    ),
    CheckpointLayout(
        name="timm",
        family=MobileNetV3,
        top_level={
            "conv1": ("conv_stem", "bn1"),
            "conv2": ("blocks.{stages}.0.conv", "blocks.{stages}.0.bn1"),
            "head": ("conv_head",),
            "fc": ("classifier",),
        },
        block_prefix="blocks.{stage}.{index}.",
        block_parts={
            "expand": ("conv_pw", "bn1"),
            "depthwise": ("conv_dw", "bn2"),
            "squeeze_excite/reduce": ("se.conv_reduce",),
            "squeeze_excite/expand": ("se.conv_expand",),
            "project": ("conv_pwl", "bn3"),
        },
        unexpanded={"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
        stage_sizes={15: (1, 2, 3, 4, 2, 3), 11: (1, 2, 3, 2, 3)},
    ),
    CheckpointLayout(
        name="Megvii",
        family=ShuffleNetV1,
        unit="megvii",
        top_level={"conv1": ("first_conv.0", "first_conv.1"), "fc": ("classifier.0",)},
        block_prefix="features.{m}.",
        block_parts={
            "reduce": ("branch_main_1.0", "branch_main_1.1"),
            "depthwise": ("branch_main_1.3", "branch_main_1.4"),
            "expand": ("branch_main_2.0", "branch_main_2.1"),
        },
    ),
    CheckpointLayout(
        name="Megvii",
        family=ShuffleNetV2,
        unit="megvii",
        top_level={
            "conv1": ("first_conv.0", "first_conv.1"),
            "conv5": ("conv_last.0", "conv_last.1"),
            "fc": ("classifier.0",),
        },
        block_prefix="features.{m}.",
        block_parts={
            "left/depthwise": ("branch_proj.0", "branch_proj.1"),
            "left/pointwise": ("branch_proj.2", "branch_proj.3"),
            "right/reduce": ("branch_main.0", "branch_main.1"),
            "right/depthwise": ("branch_main.3", "branch_main.4"),
            "right/pointwise": ("branch_main.5", "branch_main.6"),
        },
    ),
    CheckpointLayout(
        name="torchvision",
        family=ShuffleNetV2,
        unit="torchvision",
        top_level={"conv1": ("conv1.0", "conv1.1"), "conv5": ("conv5.0", "conv5.1"), "fc": ("fc",)},
        block_prefix="stage{stage}.{index}.",
        block_parts={
            "left/depthwise": ("branch1.0", "branch1.1"),
            "left/pointwise": ("branch1.2", "branch1.3"),
            "right/reduce": ("branch2.0", "branch2.1"),
            "right/depthwise": ("branch2.3", "branch2.4"),
            "right/pointwise": ("branch2.5", "branch2.6"),
        },
    ),
)

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


def find_layouts(architecture: Architecture) -> list[CheckpointLayout]:
    """Those of the architecture's family."""
    return [naming for naming in CHECKPOINT_LAYOUTS if isinstance(architecture, naming.family)]


def expected_tensors(naming: CheckpointLayout, layers: Sequence[Layer]) -> list[ExpectedTensor]:
    """Every tensor that the layers need, by its name in a checkpoint; none if the naming has no name for one."""
    try:
        return list(_wanted(naming, [layer for layer in layers if layer.weights]))
    except (KeyError, IndexError):
        return []


def _wanted(naming: CheckpointLayout, layers: Sequence[Layer]) -> Iterator[ExpectedTensor]:
    owners = {layer.scope: re.sub("/(conv|bn|fc)$", "", layer.scope) for layer in layers}
    blocks: dict[str, list[str]] = {}
    for owner in owners.values():
        if owner not in naming.top_level:
            match = _block(owner)
            parts = blocks.setdefault(match["head"], [])
            part = match["part"].partition("/")[0]
            parts += [] if part in parts else [part]
    for layer in layers:
        prefix = _prefix(naming, owners[layer.scope], blocks, normalizes=layer.kind == "batch_norm")
        suffixes = BATCH_NORM_SUFFIXES if layer.kind == "batch_norm" else WEIGHT_SUFFIXES
        # Mean and variance have the shape of gamma and beta.
        shapes = layer.weights * (2 if layer.kind == "batch_norm" else 1)
        for (ours, theirs), shape in zip(suffixes.items(), shapes, strict=False):
            yield ExpectedTensor(f"{prefix}.{theirs}", f"{layer.scope}.{ours}", shape)


def _prefix(naming: CheckpointLayout, owner: str, blocks: Mapping[str, list[str]], *, normalizes: bool) -> str:
    """What stands before `.weight`."""
    sizes = naming.stage_sizes[len(blocks)] if naming.stage_sizes else ()
    known = {"last": len(blocks) + 1, "stages": len(sizes)}
    if owner in naming.top_level:
        return naming.top_level[owner][normalizes].format(**known)
    match = _block(owner)
    number, parts = list(blocks).index(match["head"]), blocks[match["head"]]
    at = parts.index(match["part"].partition("/")[0])
    stage, index = _place(number, sizes) if sizes else (int(match["first"]), int(match["second"] or 1) - 1)
    names = naming.block_parts if "expand" in parts else {**naming.block_parts, **naming.unexpanded}
    return (naming.block_prefix + names[match["part"]][normalizes]).format(
        n=number + 1, m=number, stage=stage, index=index, at=at, next=at + 1, **known
    )


def _place(number: int, sizes: Sequence[int]) -> tuple[int, int]:
    """The stage that a block is in, and its index there."""
    stage, *remainder = sizes
    if number < stage:
        return 0, number
    below, index = _place(number - stage, remainder)
    return below + 1, index


def _block(owner: str) -> re.Match[str]:
    match = BLOCK.fullmatch(owner)
    if not match:
        raise KeyError(owner)
    return match
