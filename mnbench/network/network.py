"""A variant becomes layers with shapes, at any α and resolution."""

from dataclasses import dataclass

from mnbench.errors import BuildError
from mnbench.network.heads import add_head
from mnbench.network.layer import Layer, Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A variant's layers, in the order in which they run, each with the number and the row that it comes from."""

    variant: Variant
    layers: tuple[Layer, ...]
    rows: tuple[tuple[str, TomlStruct], ...]
    outputs: tuple[Tensor, ...]


def build_network(variant: Variant) -> Network:
    """Return every layer of the variant: from its input to logits (N, classes), features (N, C) or a head's outputs.

    Maps shrink as ceil(side / stride). An open batch counts as 1.

    Raises:
        BuildError: the rows stand in an order that cannot be built.
    """
    builder = LayerBuilder(variant)
    variant.architecture.add_layers(builder)
    add_head(builder)
    if not builder.layers:
        raise BuildError(f"{variant.architecture.name}: its table has no layer", hint="begin with a convolution")
    outputs = builder.outputs or (builder.layers[-1].output,)
    return Network(variant=variant, layers=tuple(builder.layers), rows=tuple(builder.rows), outputs=outputs)
