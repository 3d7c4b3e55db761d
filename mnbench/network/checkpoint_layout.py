"""The tensor names of one library's checkpoints of a family, as data.

A network's own names are scopes, as `bottleneck3/expand`. A layout gives for each scope what stands before `.weight` in
a checkpoint. Fields in braces: `n` and `m` the number of the block from 1 and from 0; `stage` and `index` in the stage,
from 0; `at` the number of the part in its block, and `next` the following one; `last` the block after the last one,
`stages` the stage after the last one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

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
    library has. `stage_sizes` are the blocks of each stage, by the number of all blocks.
    """

    name: str
    epsilon: float = TORCH_EPSILON
    same_padding_epsilon: float = TENSORFLOW_EPSILON
    options: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    top_level: TensorNames
    block_prefix: str
    block_parts: TensorNames
    unexpanded: TensorNames = field(default_factory=dict[str, tuple[str, ...]])
    stage_sizes: Mapping[int, Sequence[int]] = field(default_factory=dict[int, Sequence[int]])
