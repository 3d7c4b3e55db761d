"""A table's rows become layers with shapes, at any α and resolution."""

from dataclasses import dataclass

from mnbench.errors import BuildError
from mnbench.families.generic import Blocks
from mnbench.families.generic_layers import blocks, input_channels
from mnbench.families.mobilenet_layers import mobilenet_v1, mobilenet_v2, mobilenet_v3
from mnbench.families.mobilenet_v1 import MobileNetV1
from mnbench.families.mobilenet_v2 import MobileNetV2
from mnbench.families.mobilenet_v3 import MobileNetV3
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.families.shufflenet_layers import shufflenet_v1, shufflenet_v2
from mnbench.network.architecture import IMAGE_CHANNELS
from mnbench.network.layer import Layer
from mnbench.network.layer_builder import Stack
from mnbench.network.toml_struct import Table
from mnbench.network.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A variant's layers, in the order in which they run, each with the table's row it comes from, and its number."""

    variant: Variant
    layers: tuple[Layer, ...]
    rows: tuple[tuple[str, Table], ...]


def network(variant: Variant) -> Network:
    """Every layer of the variant, from its input (N, 3, H, W) to its logits (N, classes) or features (N, C).

    Stacked blocks go from a map of their own channels to one like it. Maps shrink as ceil(side / stride). An open batch
    is counted as 1.

    Raises:
        BuildError: the rows stand in an order that cannot be built.
    """
    architecture = variant.architecture
    stack = Stack(
        variant, input_channels(architecture, variant) if isinstance(architecture, Blocks) else IMAGE_CHANNELS
    )
    match architecture:
        case MobileNetV1() as table:
            mobilenet_v1(table, stack)
        case MobileNetV2() as table:
            mobilenet_v2(table, stack)
        case MobileNetV3() as table:
            mobilenet_v3(table, stack)
        case ShuffleNetV1() as table:
            shufflenet_v1(table, stack)
        case ShuffleNetV2() as table:
            shufflenet_v2(table, stack)
        case Blocks() as table:
            blocks(table, stack)
        case _:
            raise AssertionError
    if not stack.layers:
        raise BuildError(f"{variant.architecture.name}: its table has no layer", hint="begin with a convolution")
    return Network(variant=variant, layers=tuple(stack.layers), rows=tuple(stack.rows))
