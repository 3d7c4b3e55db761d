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
class Naming:
    """One library's names for one family.

    `whole` are layers outside of blocks; `block` stands before the `parts` of each; `bare` are the parts of a block
    without expansion where they are others. `epsilon` is that of its batch normalizations, `same_epsilon` that of
    networks with TensorFlow's padding. `sizes` are the blocks of each stage, by how many there are in all.
    """

    name: str
    family: type[Architecture]
    epsilon: float = TORCH_EPSILON
    same_epsilon: float = TENSORFLOW_EPSILON
    unit: str | None = None
    whole: Names
    block: str
    parts: Names
    bare: Names = field(default_factory=dict[str, tuple[str, ...]])
    sizes: Mapping[int, Sequence[int]] = field(default_factory=dict[int, Sequence[int]])


NAMINGS = (
    Naming(
        name="timm",
        family=MobileNetV1,
        whole={"conv1": ("conv_stem", "bn1"), "fc": ("classifier",)},
        block="blocks.{stage}.{index}.",
        parts={"depthwise": ("conv_dw", "bn1"), "pointwise": ("conv_pw", "bn2")},
        sizes={13: (1, 2, 2, 6, 2)},
    ),
    Naming(
        name="torchvision",
        family=MobileNetV2,
        whole={
            "conv1": ("features.0.0", "features.0.1"),
            "conv2": ("features.{last}.0", "features.{last}.1"),
            "fc": ("classifier.1",),
        },
        block="features.{n}.conv.",
        parts={"expand": ("0.0", "0.1"), "depthwise": ("{at}.0", "{at}.1"), "project": ("{at}", "{next}")},
    ),
    Naming(
        name="timm",
        family=MobileNetV2,
        whole={"conv1": ("conv_stem", "bn1"), "conv2": ("conv_head", "bn2"), "fc": ("classifier",)},
        block="blocks.{stage}.{index}.",
        parts={"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")},
        bare={"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
        sizes={17: (1, 2, 3, 4, 3, 3, 1)},
    ),
    Naming(
        name="torchvision",
        family=MobileNetV3,
        epsilon=1e-3,
        whole={
            "conv1": ("features.0.0", "features.0.1"),
            "conv2": ("features.{last}.0", "features.{last}.1"),
            "head": ("classifier.0",),
            "fc": ("classifier.3",),
        },
        block="features.{n}.block.{at}.",
        parts={
            "expand": ("0", "1"),
            "depthwise": ("0", "1"),
            "squeeze_excite/reduce": ("fc1",),
            "squeeze_excite/expand": ("fc2",),
            "project": ("0", "1"),
        },
    ),
    Naming(
        name="timm",
        family=MobileNetV3,
        whole={
            "conv1": ("conv_stem", "bn1"),
            "conv2": ("blocks.{stages}.0.conv", "blocks.{stages}.0.bn1"),
            "head": ("conv_head",),
            "fc": ("classifier",),
        },
        block="blocks.{stage}.{index}.",
        parts={
            "expand": ("conv_pw", "bn1"),
            "depthwise": ("conv_dw", "bn2"),
            "squeeze_excite/reduce": ("se.conv_reduce",),
            "squeeze_excite/expand": ("se.conv_expand",),
            "project": ("conv_pwl", "bn3"),
        },
        bare={"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")},
        sizes={15: (1, 2, 3, 4, 2, 3), 11: (1, 2, 3, 2, 3)},
    ),
    Naming(
        name="Megvii",
        family=ShuffleNetV1,
        unit="megvii",
        whole={"conv1": ("first_conv.0", "first_conv.1"), "fc": ("classifier.0",)},
        block="features.{m}.",
        parts={
            "reduce": ("branch_main_1.0", "branch_main_1.1"),
            "depthwise": ("branch_main_1.3", "branch_main_1.4"),
            "expand": ("branch_main_2.0", "branch_main_2.1"),
        },
    ),
    Naming(
        name="Megvii",
        family=ShuffleNetV2,
        unit="megvii",
        whole={
            "conv1": ("first_conv.0", "first_conv.1"),
            "conv5": ("conv_last.0", "conv_last.1"),
            "fc": ("classifier.0",),
        },
        block="features.{m}.",
        parts={
            "left/depthwise": ("branch_proj.0", "branch_proj.1"),
            "left/pointwise": ("branch_proj.2", "branch_proj.3"),
            "right/reduce": ("branch_main.0", "branch_main.1"),
            "right/depthwise": ("branch_main.3", "branch_main.4"),
            "right/pointwise": ("branch_main.5", "branch_main.6"),
        },
    ),
    Naming(
        name="torchvision",
        family=ShuffleNetV2,
        unit="torchvision",
        whole={"conv1": ("conv1.0", "conv1.1"), "conv5": ("conv5.0", "conv5.1"), "fc": ("fc",)},
        block="stage{stage}.{index}.",
        parts={
            "left/depthwise": ("branch1.0", "branch1.1"),
            "left/pointwise": ("branch1.2", "branch1.3"),
            "right/reduce": ("branch2.0", "branch2.1"),
            "right/depthwise": ("branch2.3", "branch2.4"),
            "right/pointwise": ("branch2.5", "branch2.6"),
        },
    ),
)

NUMBERS = {"weight": "weight", "bias": "bias"}
STATISTICS = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
COUNTER = "num_batches_tracked"
"""Of batch normalization, by training alone."""

BLOCK = re.compile(r"(?P<head>[a-z]+(?P<first>\d+)(?:\.(?P<second>\d+))?)/(?P<part>.+)")
"""`bottleneck3/expand`, `stage2.1/left/depthwise`; `conv1` and `head` have no part."""


class Wanted(NamedTuple):
    """A tensor of a checkpoint: its name there, our name, and the shape that it must have."""

    name: str
    tensor: str
    shape: Shape


def namings(architecture: Architecture) -> list[Naming]:
    """Those of the architecture's family."""
    return [naming for naming in NAMINGS if isinstance(architecture, naming.family)]


def wanted(naming: Naming, layers: Sequence[Layer]) -> list[Wanted]:
    """Every tensor that the layers need, by its name in a checkpoint; none if the naming has no name for one."""
    try:
        return list(_wanted(naming, [layer for layer in layers if layer.weights]))
    except (KeyError, IndexError):
        return []


def _wanted(naming: Naming, layers: Sequence[Layer]) -> Iterator[Wanted]:
    owners = {layer.scope: re.sub("/(conv|bn|fc)$", "", layer.scope) for layer in layers}
    blocks: dict[str, list[str]] = {}
    for owner in owners.values():
        if owner not in naming.whole:
            found = _block(owner)
            parts = blocks.setdefault(found["head"], [])
            part = found["part"].partition("/")[0]
            parts += [] if part in parts else [part]
    for layer in layers:
        prefix = _prefix(naming, owners[layer.scope], blocks, normalizes=layer.kind == "batch_norm")
        suffixes = STATISTICS if layer.kind == "batch_norm" else NUMBERS
        # Mean and variance have the shape of gamma and beta.
        shapes = layer.weights * (2 if layer.kind == "batch_norm" else 1)
        for (ours, theirs), shape in zip(suffixes.items(), shapes, strict=False):
            yield Wanted(f"{prefix}.{theirs}", f"{layer.scope}.{ours}", shape)


def _prefix(naming: Naming, owner: str, blocks: Mapping[str, list[str]], *, normalizes: bool) -> str:
    """What stands before `.weight`."""
    sizes = naming.sizes[len(blocks)] if naming.sizes else ()
    known = {"last": len(blocks) + 1, "stages": len(sizes)}
    if owner in naming.whole:
        return naming.whole[owner][normalizes].format(**known)
    found = _block(owner)
    number, parts = list(blocks).index(found["head"]), blocks[found["head"]]
    at = parts.index(found["part"].partition("/")[0])
    stage, index = _place(number, sizes) if sizes else (int(found["first"]), int(found["second"] or 1) - 1)
    names = naming.parts if "expand" in parts else {**naming.parts, **naming.bare}
    return (naming.block + names[found["part"]][normalizes]).format(
        n=number + 1, m=number, stage=stage, index=index, at=at, next=at + 1, **known
    )


def _place(number: int, sizes: Sequence[int]) -> tuple[int, int]:
    """The stage that a block is in, and its index there."""
    stage, *rest = sizes
    if number < stage:
        return 0, number
    below, index = _place(number - stage, rest)
    return below + 1, index


def _block(owner: str) -> re.Match[str]:
    found = BLOCK.fullmatch(owner)
    if not found:
        raise KeyError(owner)
    return found
