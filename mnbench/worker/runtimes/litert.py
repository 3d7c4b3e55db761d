"""LiteRT (TensorFlow Lite) with its XNNPACK delegate on the CPU; onnx2tf converts ONNX. Images are N, H, W, C there."""

from __future__ import annotations

import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import ai_edge_litert.interpreter as _interpreter  # pyright: ignore[reportMissingImports]  it is in its own environment
import numpy as np

from . import SessionSettings, as_file, find_distribution, require_options, require_provider, run_converter

interpreter: Any = _interpreter  # it has no types

DISTRIBUTIONS = ("ai-edge-litert", "ai-edge-litert-nightly")
MODULE = "ai_edge_litert.interpreter"
LIBRARY = "libpywrap_litert_common"
READS_ONNX = False
PROVIDER_LIBRARIES = {"XNNPACK": "", "CPU": ""}

IMAGE_AXES = 4
TO_CHANNELS_LAST, TO_CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

DELEGATE = "DELEGATE"
"""LiteRT's name of an operator that stands for all nodes which a delegate took."""


class Session:
    """One converted model on the delegate XNNPACK, or, for the provider CPU, on LiteRT's own kernels."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("LiteRT", settings, *PROVIDER_LIBRARIES)
        require_options("LiteRT", settings)
        without = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        resolver = without if settings.provider == "CPU" else interpreter.OpResolverType.AUTO
        with as_file(model) as path:
            self._net = interpreter.Interpreter(
                model_content=path.read_bytes(),
                num_threads=settings.threads,
                experimental_op_resolver_type=resolver,
            )
        self._net.allocate_tensors()
        entries = {entry["name"]: entry for entry in self._net.get_input_details()}
        for name, array in settings.inputs.items():
            self._net.set_tensor(entries[name]["index"], _channels_last(array))
        self.run = self._net.invoke

    def outputs(self) -> list[Any]:
        arrays = [self._net.get_tensor(entry["index"]) for entry in self._net.get_output_details()]
        return [array.transpose(TO_CHANNELS_FIRST) if array.ndim == IMAGE_AXES else array for array in arrays]

    def placement(self) -> dict[str, list[str]]:
        """Return the nodes that XNNPACK took, and those that it left to LiteRT's own kernels.

        LiteRT lists a delegate's operators beside the nodes that they stand for. Only what a delegated operator reads
        and writes leaves it, so a node is in one if an operator writes its output, or if it feeds only such nodes.
        """
        operators = self._net._get_ops_details()  # noqa: SLF001  LiteRT has no public way
        names = {tensor["index"]: tensor["name"] for tensor in self._net.get_tensor_details()}
        delegated = [operator for operator in operators if operator["op_name"] == DELEGATE]
        read = {index for operator in delegated for index in operator["inputs"]}
        written = {index for operator in delegated for index in operator["outputs"]}
        nodes: dict[str, list[str]] = {}
        taken: dict[int, bool] = {}
        """By tensor, whether every node that reads it is in a delegate's operator."""
        for node in reversed([operator for operator in operators if operator["op_name"] != DELEGATE]):
            outputs = set(node["outputs"])
            inside = bool(outputs & written) or (not outputs & read and all(taken.get(at, False) for at in outputs))
            nodes.setdefault("XNNPACK" if inside else "CPU", []).insert(0, names[node["outputs"][0]])
            for index in node["inputs"]:
                taken[index] = taken.get(index, True) and inside
        return nodes


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:
    """Convert the ONNX model to a file in its own precision."""
    precision = "float16" if any(array.dtype == np.float16 for array in inputs.values()) else "float32"
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        copy = Path(folder) / "model.onnx"  # onnx2tf names its files after its source
        copy.write_bytes(source.read_bytes())
        result = copy.with_name(f"model_{precision}.tflite")
        command = [sys.executable, "-m", "onnx2tf", "--non_verbose", "--copy_onnx_input_output_names_to_tflite"]
        command += ["-i", str(copy), "-o", folder]
        if b"DequantizeLinear" not in copy.read_bytes():
            return run_converter(command, result)
        from .. import quantized_tflite  # noqa: PLC0415  what it imports takes a second, and most models are not int8

        ranges = quantized_tflite.unquantize(copy)
        run_converter(command, result)
        report = copy.with_name("model_tensor_correspondence_report.json")
        feed = {name: _channels_last(array) for name, array in inputs.items()}
        return quantized_tflite.quantize(result, ranges, feed, report)


def _channels_last(array: Any) -> Any:
    return np.ascontiguousarray(array.transpose(TO_CHANNELS_LAST)) if array.ndim == IMAGE_AXES else array


def version() -> str:
    distribution = find_distribution("litert")
    return distribution.version if distribution else "unknown"


def build() -> str:
    try:
        return f"onnx2tf {metadata.version('onnx2tf')}"
    except metadata.PackageNotFoundError:
        return "no onnx2tf"
