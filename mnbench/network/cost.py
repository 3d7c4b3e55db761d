"""The cost of layers: the only counter, for layers of a table and of any ONNX file."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mnbench.network.layer import CONTROL_FLOW_KINDS, FUSED_KINDS, VIEW_KINDS, Layer, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of layers, in exact integers; None is unknown.

    `params` are trainable: weights, biases, gamma and beta; `weights` leaves out biases, gamma and beta. `mult_adds`
    are multiply-adds counted once: convolutions and fully connected layers, without bias, batch normalization and
    activation (MobileNet paper, Section 3.1). `memory_access` is ShuffleNet V2's MAC in elements: those that each layer
    reads and writes, weights included (its Section 2, G1). Batch normalization, activations and biases belong to the
    preceding layer and cost nothing.
    """

    params: int = 0
    weights: int = 0
    mult_adds: int | None = 0
    memory_access: int | None = 0
    memory_access_bytes: int | None = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            params=self.params + other.params,
            weights=self.weights + other.weights,
            mult_adds=sum_known((self.mult_adds, other.mult_adds)),
            memory_access=sum_known((self.memory_access, other.memory_access)),
            memory_access_bytes=sum_known((self.memory_access_bytes, other.memory_access_bytes)),
        )


def sum_known(counts: Iterable[int | None]) -> int | None:
    """Return the sum; None if a count is not known, because the sum of the others would be too small."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def layer_cost(layer: Layer) -> Cost:
    """Return the cost of one layer, in all its runs."""
    matrices = matrices_read(layer)
    cost = Cost(
        params=sum(weight.elements for weight in layer.weights) - layer.shared_params,
        weights=sum(weight.elements for weight in matrices),
        mult_adds=layer.mult_adds,
    )
    if layer.kind in FUSED_KINDS or layer.kind in VIEW_KINDS:
        return cost
    if layer.partial:
        return replace(cost, memory_access=None, memory_access_bytes=None)
    tensors = (*layer.inputs, *layer.outputs, *matrices)
    size_bytes = sum_known(tensor.size_bytes for tensor in tensors)
    return replace(
        cost,
        memory_access=layer.runs * sum(tensor.elements for tensor in tensors),
        memory_access_bytes=None if size_bytes is None else layer.runs * size_bytes,
    )


def matrices_read(layer: Layer) -> list[Tensor]:
    """Return the weights that a layer reads whole: no biases, which belong to the preceding layer, and no tables."""
    if layer.kind in FUSED_KINDS or layer.kind in VIEW_KINDS or layer.mult_adds == 0:
        return []
    return [weight for weight in layer.weights if len(weight.shape) > 1]


def total_cost(layers: Iterable[Layer]) -> Cost:
    return sum(map(layer_cost, layers), Cost())


def cost_by_type(layers: Iterable[Layer]) -> dict[str, Cost]:
    """Return the cost of the layers of each type, most Mult-Adds first."""
    types: dict[str, Cost] = {}
    for layer in layers:
        types[layer.type] = types.get(layer.type, Cost()) + layer_cost(layer)
    return dict(sorted(types.items(), key=lambda item: (-(item[1].mult_adds or 0), -item[1].params)))


def peak_activation_bytes(layers: Sequence[Layer]) -> int | None:
    """Return the peak memory of all live activations if the layers run in this order; None if it is not known.

    A tensor is live from the layer that writes it to the last one that reads it; the network's outputs stay live. A
    fused layer or a view reuses the memory of an input that no later layer reads. With control flow it is not
    known: the tensors of a branch or a loop live for one turn.
    """
    tensors = [tensor for layer in layers for tensor in (*layer.inputs, *layer.outputs)]
    sizes = {tensor.name: tensor.size_bytes for tensor in tensors}
    known = {name: size for name, size in sizes.items() if size is not None}
    if len(known) < len(sizes) or any(layer.partial or layer.kind in CONTROL_FLOW_KINDS for layer in layers):
        return None
    readers = Counter(tensor.name for layer in layers for tensor in layer.inputs)
    written = {tensor.name for layer in layers for tensor in layer.outputs}
    living = {name: known[name] for name in readers if name not in written}
    peak = now = sum(living.values())
    for layer in layers:
        freed = 0
        for tensor in layer.inputs:
            readers[tensor.name] -= 1
            if not readers[tensor.name]:
                freed += living.pop(tensor.name, 0)
        built = {tensor.name: known[tensor.name] for tensor in layer.outputs}
        living |= built
        in_place = layer.kind in FUSED_KINDS or layer.kind in VIEW_KINDS
        peak = max(peak, now + sum(built.values()) - (freed if in_place else 0))
        now += sum(built.values()) - freed
    return peak
