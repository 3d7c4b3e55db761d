"""ExecuTorch with its XNNPACK backend on the CPU; onnx2torch makes a PyTorch module of ONNX, which PyTorch exports."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch as _torch  # pyright: ignore[reportMissingImports]  it is in its own environment

from . import (
    SessionSettings,
    as_file,
    join_parts,
    require_options,
    require_provider,
    run_converter,
    split_parts,
)

torch: Any = _torch  # its types need it
library: Any = import_module("executorch.extension.pybindings._C")
"""It needs PyTorch's libraries. The public module above it imports the exporter too, which takes nine seconds."""

MODULE = "executorch.runtime"
LIBRARY = "_C."
READS_ONNX = False
PROVIDER_LIBRARIES = {"XNNPACK": ""}

EXPORTER = """
import json, sys
import onnx, torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from onnx2torch import convert
from onnx2torch.node_converters import OnnxReshape

source, inputs, result, placement = sys.argv[1:]
model = onnx.load(source)
try:
    module = convert(model).eval()
except NotImplementedError as failure:
    for node in model.graph.node:
        if f"'{node.op_type}'" in str(failure):
            raise NotImplementedError(f"node {node.name!r}: {failure}") from None
    raise
for node in list(module.graph.nodes):
    if node.op != "call_module" or not isinstance(module.get_submodule(node.target), OnnxReshape):
        continue
    # onnx2torch reads the shape from a tensor, which PyTorch does not export.
    values, shape = node.args
    if shape.op == "get_attr":
        with module.graph.inserting_before(node):
            sizes = module.get_buffer(shape.target).tolist()
            node.replace_all_uses_with(module.graph.call_function(torch.reshape, (values, sizes)))
        module.graph.erase_node(node)
module.recompile()
feed = tuple(torch.zeros(shape, dtype=getattr(torch, kind)) for shape, kind in json.loads(inputs))
lowered = to_edge_transform_and_lower(torch.export.export(module, feed), partitioner=[XnnpackPartitioner()])
program = lowered.exported_program()
nodes = {"XNNPACK": [], "CPU": []}
for node in program.graph.nodes:
    if node.op == "call_function" and "executorch_call_delegate" in str(node.target):
        graph = getattr(program.graph_module, node.args[0].name).original_module.graph
        nodes["XNNPACK"] += [inner.name for inner in graph.nodes if inner.op == "call_function"]
    elif node.op == "call_function" and "getitem" not in str(node.target):
        nodes["CPU"].append(node.name)
with open(placement, "w") as file:
    json.dump({provider: names for provider, names in nodes.items() if names}, file)
with open(result, "wb") as file:
    file.write(lowered.to_executorch().buffer)
"""
"""Converts a model and lowers it, in a process of its own; says which operators XNNPACK took."""


class Session:
    """One program; its inputs are PyTorch's views of the arrays."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("ExecuTorch", settings, "XNNPACK")
        require_options("ExecuTorch", settings)
        library._unsafe_reset_threadpool(settings.threads)  # noqa: SLF001  ExecuTorch has no public way
        with as_file(model) as path:
            self._buffer, placement = split_parts(path.read_bytes())  # the program reads it, without a copy
        self._nodes: dict[str, list[str]] = json.loads(placement)
        self._program = library._load_program_from_buffer(self._buffer)  # noqa: SLF001
        self._method = self._program.load_method("forward")
        self._inputs = [torch.from_numpy(array) for array in settings.inputs.values()]
        self._results: list[Any] = []

    def run(self) -> None:
        self._results = self._method(self._inputs)

    def outputs(self) -> list[Any]:
        return [result.numpy().copy() for result in self._results]

    def placement(self) -> dict[str, list[str]]:
        """Return the operators that XNNPACK took when the model was lowered, and those left to portable kernels."""
        return self._nodes


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:
    kinds = json.dumps([[array.shape, str(array.dtype)] for array in inputs.values()])
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        program, placement = Path(folder) / "model.pte", Path(folder) / "placement.json"
        command = [sys.executable, "-c", EXPORTER, str(source.resolve()), kinds, str(program), str(placement)]
        return join_parts(run_converter(command, program), placement.read_bytes())


def version() -> str:
    return metadata.version("executorch")


def build() -> str:
    return f"torch {torch.__version__}, onnx2torch {metadata.version('onnx2torch')}"
