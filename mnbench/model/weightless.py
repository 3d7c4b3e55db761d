"""A graph without its weights: a few kilobytes for git, from which a model of the same latency can be built again.

Of each large weight, only the shape, the type and the distribution of its numbers are stored. Refilling draws numbers
of that distribution with a generator seeded by the weight's name. Latency depends on the layout of the numbers and on
their not being denormal, but not on their values.
"""

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from mnbench import atomic_files
from mnbench.errors import ResultsError
from mnbench.model.model import Model

MAX_EXACT_SIZE = 64
"""Weights of at most this many numbers are stored exactly: scales, zero points, shapes."""

SUFFIX = ".onnx.xz"
HASH_KEY = "mnbench.refilled"


def strip_weights(model: Model) -> bytes:
    """Return the model without its large weights, compressed, with the hash that `refill_weights` must reproduce."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    # A runtime fuses quantized operators only where scales and zero points fit each other.
    scaled = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    exact = {name for node in scaled for name in node.input[1:]}
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        large = values.size > MAX_EXACT_SIZE and values.dtype.kind in "fiu" and values.dtype.itemsize <= 4
        if large and tensor.name not in exact:
            _empty(tensor, values)
    filled = onnx.ModelProto()
    filled.CopyFrom(proto)
    entry = proto.metadata_props.add()
    entry.key, entry.value = HASH_KEY, _fill(filled)
    return lzma.compress(proto.SerializeToString(deterministic=True), preset=9)


def refill_weights(data: bytes, name: str) -> Model:
    """Build the model of a graph without weights, with random weights.

    Raises:
        ResultsError: the data cannot be read, or the model has another hash than when it was stored.
    """
    try:
        proto = onnx.ModelProto.FromString(lzma.decompress(data))
        wanted = next(entry for entry in proto.metadata_props if entry.key == HASH_KEY)
        proto.metadata_props.remove(wanted)
        digest = _fill(proto)
    except (lzma.LZMAError, EOFError, DecodeError, StopIteration, ValueError, KeyError) as failure:
        raise ResultsError(f"{name}: the graph that is kept cannot be read", hint="restore it from git") from failure
    if digest != wanted.value:
        raise ResultsError(
            f"{name}: the hash of the graph that is kept is {digest[:12]}, and not {wanted.value[:12]}",
            hint="restore it from git, or keep the graph again",
        )
    return Model(name=name, proto=proto)


def weightless_path(results: Path, sha256: str) -> Path:
    return results / "graphs" / f"{sha256[:12]}{SUFFIX}"


def save_weightless(results: Path, model: Path, sha256: str) -> None:
    """Store the graph of a model file with the results, unless it is there already.

    Raises:
        FileError: no space, no permission.
    """
    path = weightless_path(results, sha256)
    if not path.exists():
        proto = onnx.ModelProto.FromString(model.read_bytes())
        atomic_files.write_atomically(path, strip_weights(Model(name=model.stem, proto=proto)))


def _empty(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    """Replace a weight by its shape, type and distribution."""
    exact = values.astype(np.float64)
    spread = [float(f"{item:.6g}") for item in (exact.mean(), exact.std(), exact.min(), exact.max())]
    shape, kind, name = list(tensor.dims), tensor.data_type, tensor.name
    tensor.Clear()
    tensor.dims.extend(shape)
    tensor.data_type, tensor.name, tensor.doc_string = kind, name, json.dumps(spread)


def _fill(proto: onnx.ModelProto) -> str:
    """Draw every missing weight and return the hash of the model."""
    for tensor in proto.graph.initializer:
        if tensor.doc_string:
            mean, deviation, least, most = json.loads(tensor.doc_string)
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            numbers = mean + deviation * _normal(tensor.name, int(np.prod(tensor.dims)))
            numbers = np.clip(numbers, least, most)
            values = (np.rint(numbers) if kind.kind in "iu" else numbers).astype(kind)
            tensor.doc_string = ""
            tensor.raw_data = values.tobytes()
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def _normal(name: str, count: int) -> NDArray[np.float64]:
    """Draw nearly normal numbers, the same on every machine: sums of four uniform numbers from PCG64's raw stream."""
    bits = np.random.PCG64(crc32(name.encode())).random_raw(count).view(np.uint16).reshape(count, 4)
    return (bits.sum(axis=1, dtype=np.int64) - 2 * 65535) / (65536 / np.sqrt(3.0))
