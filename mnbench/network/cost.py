"""The cost of layers: the only counter, for layers of a table and of any ONNX file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from mnbench.network.layer import FUSED_KINDS, VIEW_KINDS, Layer

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of layers, in exact integers.

    `params` are trainable: weights, biases, gamma and beta; `weights` leaves out biases, gamma and beta. `mult_adds`
    are multiply-adds counted once: convolutions and fully connected layers, without bias, batch normalization and
    activation (MobileNet paper, Section 3.1); None if no rule counts the layers of the types `unknown`. `memory_access`
    is ShuffleNet V2's MAC in elements: those that each layer reads and writes, weights included (its Section 2, G1).
    Batch normalization, activations and biases belong to the preceding layer and cost nothing.
    """

    params: int = 0
    weights: int = 0
    mult_adds: int | None = 0
    unknown: frozenset[str] = frozenset()
    memory_access: int = 0
    element_bytes: int = FLOAT32_BYTES

    @property
    def memory_access_bytes(self) -> int:
        return self.memory_access * self.element_bytes

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            params=self.params + other.params,
            weights=self.weights + other.weights,
            mult_adds=None if self.mult_adds is None or other.mult_adds is None else self.mult_adds + other.mult_adds,
            unknown=self.unknown | other.unknown,
            memory_access=self.memory_access + other.memory_access,
            element_bytes=self.element_bytes,
        )


def layer_cost(layer: Layer, element_bytes: int = FLOAT32_BYTES) -> Cost:
    """Return the cost of one layer, with this many bytes per element."""
    cost = Cost(
        params=sum(map(prod, layer.weights)) - layer.shared_params,
        mult_adds=layer.mult_adds,
        unknown=frozenset([layer.type] if layer.mult_adds is None else []),
        element_bytes=element_bytes,
    )
    if layer.kind in FUSED_KINDS or layer.kind in VIEW_KINDS:
        return cost
    # Biases have one side. A layer that multiplies nothing, such as a table's look-up, reads few of its weights.
    matrices = [weight for weight in layer.weights if len(weight) > 1 and layer.mult_adds != 0]
    weights = sum(map(prod, matrices))
    moved = sum(tensor.elements for tensor in (*layer.inputs, *layer.outputs))
    return replace(cost, weights=weights, memory_access=moved + weights)


def total_cost(layers: Iterable[Layer], element_bytes: int = FLOAT32_BYTES) -> Cost:
    return sum(map(layer_cost, layers), Cost(element_bytes=element_bytes))


def cost_by_type(layers: Iterable[Layer], element_bytes: int = FLOAT32_BYTES) -> dict[str, Cost]:
    """Return the cost of the layers of each type, most Mult-Adds first."""
    types: dict[str, Cost] = {}
    for layer in layers:
        types[layer.type] = types.get(layer.type, Cost(element_bytes=element_bytes)) + layer_cost(layer)
    return dict(sorted(types.items(), key=lambda item: (-(item[1].mult_adds or 0), -item[1].params)))


def peak_activation_bytes(layers: Sequence[Layer], element_bytes: int = FLOAT32_BYTES) -> int:
    """Return the peak memory of all live activations if the layers run in this order.

    A tensor is live from the layer that writes it to the last one that reads it; the network's outputs stay live. A
    fused layer or a view reuses the memory of an input that no later layer reads.
    """
    readers = Counter(tensor.name for layer in layers for tensor in layer.inputs)
    written = {tensor.name for layer in layers for tensor in layer.outputs}
    living = {tensor.name: tensor.elements for layer in layers for tensor in layer.inputs if tensor.name not in written}
    peak = now = sum(living.values())
    for layer in layers:
        freed = 0
        for tensor in layer.inputs:
            readers[tensor.name] -= 1
            if not readers[tensor.name]:
                freed += living.pop(tensor.name, 0)
        built = sum(tensor.elements for tensor in layer.outputs)
        living.update((tensor.name, tensor.elements) for tensor in layer.outputs)
        in_place = layer.kind in FUSED_KINDS or layer.kind in VIEW_KINDS
        peak = max(peak, now + built - (freed if in_place else 0))
        now += built - freed
    return peak * element_bytes
