"""A table's rows become layers with shapes, at any α and resolution."""

from dataclasses import dataclass

from mnbench.errors import BuildError
from mnbench.families.generic import StackedBlocks
from mnbench.families.generic_layers import add_block_layers, input_channels
from mnbench.families.mobilenet_layers import add_mobilenet_v1_layers, add_mobilenet_v2_layers, add_mobilenet_v3_layers
from mnbench.families.mobilenet_v1 import MobileNetV1
from mnbench.families.mobilenet_v2 import MobileNetV2
from mnbench.families.mobilenet_v3 import MobileNetV3
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.families.shufflenet_layers import add_shufflenet_v1_layers, add_shufflenet_v2_layers
from mnbench.network.architecture import IMAGE_CHANNELS
from mnbench.network.layer import Layer
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A variant's layers, in the order in which they run, each with the table's row it comes from, and its number."""

    variant: Variant
    layers: tuple[Layer, ...]
    rows: tuple[tuple[str, TomlStruct], ...]


def build_network(variant: Variant) -> Network:
    """Every layer of the variant, from its input (N, 3, H, W) to its logits (N, classes) or features (N, C).

    Stacked blocks go from a map of their own channels to one like it. Maps shrink as ceil(side / stride). An open batch
    is counted as 1.

    Raises:
        BuildError: the rows stand in an order that cannot be built.
    """
    architecture = variant.architecture
    stack = LayerBuilder(
        variant, input_channels(architecture, variant) if isinstance(architecture, StackedBlocks) else IMAGE_CHANNELS
    )
    match architecture:
        case MobileNetV1() as table:
            add_mobilenet_v1_layers(table, stack)
        case MobileNetV2() as table:
            add_mobilenet_v2_layers(table, stack)
        case MobileNetV3() as table:
            add_mobilenet_v3_layers(table, stack)
        case ShuffleNetV1() as table:
            add_shufflenet_v1_layers(table, stack)
        case ShuffleNetV2() as table:
            add_shufflenet_v2_layers(table, stack)
        case StackedBlocks() as table:
            add_block_layers(table, stack)
        case _:
            raise AssertionError
    if not stack.layers:
        raise BuildError(f"{variant.architecture.name}: its table has no layer", hint="begin with a convolution")
    return Network(variant=variant, layers=tuple(stack.layers), rows=tuple(stack.rows))
