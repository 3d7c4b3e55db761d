"""An int8 graph (QDQ) as an int8 LiteRT file: onnx2tf converts the graph in fp32, AI Edge Quantizer quantizes the file.

The weights and the ranges of the activations stay the graph's own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import ai_edge_litert.interpreter as _interpreter  # pyright: ignore[reportMissingImports]  it is LiteRT's environment
import ai_edge_quantizer as _library  # pyright: ignore[reportMissingImports]
import numpy as np
import onnx as _onnx

onnx: Any = _onnx  # their types are partial
library: Any = _library
interpreter: Any = _interpreter

CHANNELS_LAST = re.compile("(_output|__to)_nhwc$")
"""What onnx2tf appends to the name of a node's output with channels last."""

MOVING = {"EXPAND_DIMS", "GATHER", "PAD", "RESHAPE", "SLICE", "SPLIT", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"}
"""Operators that compute nothing: their outputs have the range of their input."""


def unquantize(path: Path) -> dict[str, tuple[float, float]]:
    """Rewrite the graph without quantization of activations; return the range of each activation that had one.

    Where a range without negative numbers had replaced a ReLU, the new graph has none: its range stands for it again.
    Each node is named after its first output, as onnx2tf names tensors after nodes.
    """
    model = onnx.load(path)
    graph, helper = model.graph, onnx.numpy_helper
    constants = {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    constants |= {tensor.name: tensor for tensor in graph.initializer}
    ranges: dict[str, tuple[float, float]] = {}
    names: dict[str, Any] = {}
    nodes: list[Any] = []
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.name = node.output[0]
        if node.op_type == "QuantizeLinear":
            scale, zero_point = (helper.to_array(constants[name]) for name in node.input[1:])
            limits = np.iinfo(zero_point.dtype)
            low, high = (float((limit - float(zero_point)) * scale) for limit in (limits.min, limits.max))
            names[node.name], ranges[node.input[0]] = node.input[0], (low, high)
        elif node.op_type == "DequantizeLinear" and node.input[0] not in constants:
            names[node.name] = node.input[0]
        else:
            nodes.append(node)
    outputs = {names[value.name]: value.name for value in graph.output if value.name in names}
    for node in nodes:
        node.input[:] = [outputs.get(name, name) for name in node.input]
        node.output[:] = [outputs.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)
    return {outputs.get(name, name): limits for name, limits in ranges.items()}


def quantize(path: Path, ranges: dict[str, tuple[float, float]], inputs: dict[str, Any], report: Path) -> bytes:
    """Quantize a LiteRT file of fp32 to int8, except what reads or writes an activation for which there is no range.

    The report is onnx2tf's: which tensor of the file holds which activation of the graph.
    """
    plain = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    net = interpreter.Interpreter(str(path), experimental_op_resolver_type=plain)
    records = json.loads(report.read_bytes())["records"]
    activations = {record["resolved_tflite_tensor_name"]: record["onnx_output_name"] for record in records}
    tensors = {entry["index"]: entry["name"] for entry in net.get_tensor_details()}
    names = {index: activations.get(tensor) or CHANNELS_LAST.sub("", tensor) for index, tensor in tensors.items()}
    recipe = [*library.recipe.static_wi8_ai8(), _in_float("INPUT"), _in_float("OUTPUT")]
    known = {entry["index"]: entry["name"] in ranges for entry in net.get_input_details()}
    """By activation, whether there is a range; constants are not in it."""
    for operator in net._get_ops_details():  # noqa: SLF001  LiteRT has no public way
        kind, outputs = operator["op_name"], operator["outputs"]
        sources = [known[index] for index in operator["inputs"] if index in known]
        known |= {index: all(sources) if kind in MOVING else names[index] in ranges for index in outputs}
        if not all([*sources, *(known[index] for index in outputs)]):
            recipe.append(_in_float(kind, f"^{re.escape(tensors[outputs[0]])}(;|$)"))
    quantizer = library.quantizer.Quantizer(str(path), recipe)
    measured = quantizer.calibrate({next(iter(net.get_signature_list())): [inputs]})
    for index, tensor in tensors.items():
        for key, value in zip(("min", "max"), ranges.get(names[index], ()) if tensor in measured else ()):
            measured[tensor][key] = np.full_like(measured[tensor][key], value)
    return bytes(quantizer.quantize(measured, enable_progress_report=False).quantized_model)


def _in_float(operator: str, pattern: str = "") -> dict[str, str]:
    """Return the rule that leaves operators in float whose first output matches the pattern."""
    return {"regex": pattern, "operation": operator, "algorithm_key": "no_quantize"}
