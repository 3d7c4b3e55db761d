"""Layers and tensors: what each node of a graph computes, with all shapes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]
"""(N, C, H, W) for images, (N, features) after the pooling."""

INPUT, OUTPUT = "input", "logits"
"""The names of a network's input and output tensors."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named activation or weight; `element_bits` is None if its type has no fixed size, such as a string."""

    name: str
    shape: Shape
    element_bits: int | None = 32

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int | None:
        return None if self.element_bits is None else -(-self.elements * self.element_bits // 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One node: its scope is the node's name in the ONNX graph (`separable3/depthwise/conv`).

    `weights` are its trainable tensors: of a convolution (out, in / groups, height, width) and, if it has one, its bias
    (out,); of batch normalization gamma and beta; of a fully connected layer (out, in) and its bias. An earlier layer
    has counted `shared_params` of them. The layer runs `runs` times in one inference, a loop's body more than once;
    `mult_adds` are those of all runs, None if they are not known. A `partial` layer also reads or writes tensors whose
    sizes are not known. `kernel`, `stride` are (height, width); `padding` is (top, left, bottom, right). `attributes`
    are further ones of its ONNX operator: an epsilon, dilations, a transpose's order.
    """

    scope: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: tuple[Tensor, ...] = ()
    shared_params: int = 0
    runs: int = 1
    mult_adds: int | None = 0
    partial: bool = False
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)

    @property
    def output(self) -> Tensor:
        return self.outputs[0]

    @property
    def type(self) -> str:
        """Return the layer type that shares are summed by, as in Table 2 of the MobileNet paper."""
        height, width = self.kernel
        match self.kind:
            case "conv" if self.outputs and 1 < self.groups == self.output.shape[1]:
                return f"Conv DW {height}×{width}"
            case "conv" if self.groups > 1:
                return f"Conv {height}×{width} grouped"
            case "conv":
                return f"Conv {height}×{width}"
            case "fully_connected":
                return "Fully Connected"
            case kind:
                return kind[0].upper() + kind[1:].replace("_", " ")


FUSED_KINDS = frozenset(
    {"batch_norm", "relu", "relu6", "clip", "leaky_relu", "prelu", "sigmoid", "hard_sigmoid", "hard_swish"}
    | {"cast", "quantize_linear", "dequantize_linear"}
)
"""Layers that a runtime computes in place, with the layer before: they access no memory of their own."""

CONTROL_FLOW_KINDS = frozenset({"if", "loop", "scan"})

VIEW_KINDS = CONTROL_FLOW_KINDS | {"flatten", "reshape", "squeeze", "unsqueeze", "identity", "dropout", "shape"}
"""Layers that only rename a tensor, or run others: they read and write no numbers."""
