"""A model: an ONNX graph with its weights, as the bytes that a device runs."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

OPSET = 17
"""Reads everywhere that matters: onnxruntime, OpenVINO, ncnn's and MNN's converters."""

MIN_OPSET = 14
"""The first with HardSwish."""

IR_VERSION = 8
"""The format's version that belongs to OPSET; later opsets take a later one."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """`proto` is not to be changed once a Model holds it."""

    name: str
    proto: "onnx.ModelProto"

    @cached_property
    def data(self) -> bytes:
        """The file's bytes."""
        return self.proto.SerializeToString(deterministic=True)

    @cached_property
    def sha256(self) -> str:
        """What identifies the model: graph and weights."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def nodes(self) -> int:
        """How many nodes the graph has."""
        return len(self.proto.graph.node)

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return next((entry.version for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
