"""The tensor names of one library's checkpoints of a family, as data.

A network's own names are scopes, as `bottleneck3/expand`. A layout gives for each scope what stands before `.weight` in
a checkpoint. Fields in braces: `n` and `m` the number of the block from 1 and from 0; `stage` and `index` in the stage,
from 0; `at` the number of the part in its block, and `next` the following one; `last` the block after the last one,
`stages` the stage after the last one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, TypeAlias

import msgspec

from mnbench.network.toml_struct import TomlStruct

TensorNames: TypeAlias = Mapping[str, tuple[str, ...]]
"""The layer with weights, and the batch normalization behind it if it has one."""

TORCH_EPSILON = 1e-5
TENSORFLOW_EPSILON = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointLayout:
    """One library's names for one family.

    `top_level` are layers outside of blocks; `block_prefix` stands before the `block_parts` of each; `unexpanded` are
    the parts of a block without expansion where they differ. `epsilon` is that of its batch normalizations,
    `same_padding_epsilon` that of networks with TensorFlow's padding. `options` are those of the variants that the
    library has. `stage_sizes` are the blocks of each stage, by the number of all blocks. In place of all these,
    `in_order` names every layer with weights. Tensors whose names begin with one of `ignored` belong to training alone.
    """

    name: str
    epsilon: float = TORCH_EPSILON
    same_padding_epsilon: float = TENSORFLOW_EPSILON
    options: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    top_level: TensorNames = field(default_factory=dict[str, tuple[str, ...]])
    block_prefix: str = ""
    block_parts: TensorNames = field(default_factory=dict[str, tuple[str, ...]])
    unexpanded: TensorNames = field(default_factory=dict[str, tuple[str, ...]])
    stage_sizes: Mapping[int, Sequence[int]] = field(default_factory=dict[int, Sequence[int]])
    in_order: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class CheckpointNames(TomlStruct, frozen=True, kw_only=True):
    """The layout of a library's checkpoints of one network: `layers` are those with weights, in order.

    Braces stand for several names, as in a shell: `layer1.{0..2}.{conv1,bn1}`.
    """

    name: str
    epsilon: Annotated[float, msgspec.Meta(gt=0, lt=1)] = TORCH_EPSILON
    options: dict[str, int | str] = msgspec.field(default_factory=dict[str, "int | str"])
    layers: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    ignored: tuple[str, ...] = ()

    def layout(self) -> CheckpointLayout:
        return CheckpointLayout(
            name=self.name,
            epsilon=self.epsilon,
            options=self.options,
            in_order=tuple(name for names in self.layers for name in expand_braces(names)),
            ignored=self.ignored,
        )


def expand_braces(text: str) -> list[str]:
    """Return every text that braces stand for, the last varying first: `{a,b}` for a and b, `{0..2}` for 0, 1 and 2."""
    parts: list[list[str]] = []
    for plain, inside in re.findall(r"([^{}]*)(?:\{([^{}]*)\})?", text):
        span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
        several = map(str, range(int(span[1]), int(span[2]) + 1)) if span else inside.split(",")
        parts += [[plain], list(several)]
    return ["".join(choice) for choice in product(*parts)]
