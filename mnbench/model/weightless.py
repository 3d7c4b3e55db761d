"""A graph without its weights: a few kilobytes for git, from which a model of the same latency can be built again.

Of each large weight, only the shape, the type and the distribution of its numbers are stored. Refilling draws numbers
of that distribution with a generator seeded by the weight's name. Latency depends on the layout of the numbers and on
which of them are denormal, but not on their values. What decides how a network runs is stored as it is: small tensors,
indices, shapes, masks, scales and zero points.
"""

import hashlib
import lzma
import zlib
from copy import deepcopy
from math import prod
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from msgspec import Meta
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from mnbench import atomic_files
from mnbench.errors import ResultsError
from mnbench.json_files import BROKEN_DATA
from mnbench.model.model import Model
from mnbench.model.onnx_weights import INT32_BIAS_OPERATORS
from mnbench.model.read_onnx import parse_proto
from mnbench.model.stored_tensors import DENORMAL_TYPES, all_nodes, denormal_places, stored_tensors

MAX_EXACT_SIZE = 64
"""Tensors of at most this many numbers are stored as they are: scales, zero points, shapes."""

MIN_COMPRESSION = 50
"""A tensor that is compressed to this fraction is stored as it is: a mask or a constant."""

COMPRESSION_SAMPLE_BYTES = 2**16

FLOAT_TYPES = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    | {TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ}
)
QUANTIZED_TYPES = frozenset({TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4})

MAX_GRAPH_BYTES = 2**24
"""A graph that stays larger without its weights, such as a forest of trees, is not for git."""

MAX_UNPACKED_BYTES = 2**26
MAX_LZMA_BYTES = 2**27
"""Memory of the decompressor: the highest preset takes 65 MB."""

MAX_DRAWN_NUMBERS = 2**29
"""In fp32 they take the 2 GB that a model has at most."""

DRAWN_BLOCK = 2**20

DRAWN_TYPES = FLOAT_TYPES | QUANTIZED_TYPES | {TensorProto.INT32}

SUFFIX = ".onnx.xz"

EMPTIED_KEY = "mnbench.emptied"
"""Names the last of the model's metadata. Earlier entries are the user's, whatever they are called."""

Finite: TypeAlias = Annotated[float, Meta(ge=-1e100, le=1e100)]


class Distribution(msgspec.Struct, frozen=True, array_like=True):
    """What numbers are drawn from: nearly normal ones, cut off at both ends."""

    mean: Finite
    deviation: Finite
    least: Finite
    most: Finite

    @classmethod
    def of(cls, numbers: NDArray[np.float64]) -> "Distribution":
        """Describe numbers, in six digits; all zeros if there are none."""
        if not numbers.size:
            return cls(0.0, 0.0, 0.0, 0.0)
        return cls(*(float(f"{x:.6g}") for x in (numbers.mean(), numbers.std(), numbers.min(), numbers.max())))

    def draw(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn standard normal numbers into numbers of this distribution."""
        return np.clip(self.mean + self.deviation * normal, self.least, self.most)


class EmptiedTensor(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a large weight. `denormal_bits` say where its denormal numbers are, eight places a byte."""

    numbers: Distribution
    denormals: Distribution | None = None
    denormal_bits: bytes = b""


class EmptiedTensors(msgspec.Struct, frozen=True):
    """The emptied tensors of a model by their position in `stored_tensors`, and the digest of the refilled model."""

    tensors: dict[int, EmptiedTensor]
    sha256: str


def strip_weights(model: Model) -> bytes:
    """Return the model without its large weights, compressed.

    Raises:
        BuildError: the model is larger than 2 GB.
    """
    model.require_bytes()
    proto = deepcopy(model.proto)
    drawn_biases, exact_names = _biases_and_scales(proto)
    emptied: dict[int, EmptiedTensor] = {}
    for position, (name, tensor) in enumerate(stored_tensors(proto)):
        is_weight = tensor.data_type in FLOAT_TYPES | QUANTIZED_TYPES or name in drawn_biases
        if is_weight and name not in exact_names and np.prod(tensor.dims) > MAX_EXACT_SIZE:
            values = numpy_helper.to_array(tensor)
            if not _is_exact(values, tensor.data_type):
                emptied[position] = _describe(values, tensor.data_type)
                _replace_data(tensor, b"")
    filled = deepcopy(proto)
    _fill(filled, emptied)
    text = msgspec.json.encode(EmptiedTensors(tensors=emptied, sha256=_sha256(filled))).decode()
    proto.metadata_props.add(key=EMPTIED_KEY, value=text)
    return lzma.compress(proto.SerializeToString(deterministic=True), preset=9)


def refill_weights(data: bytes, name: str) -> Model:
    """Build the model of a graph without weights, with random weights.

    Raises:
        ResultsError: the data cannot be read, would take more than 2 GB, or the model has another hash than when it was
            stored.
    """
    try:
        proto = parse_proto(_unpack(data))
        emptied = msgspec.json.decode(proto.metadata_props.pop().value, type=EmptiedTensors)
        _require_drawable(proto, emptied.tensors)
        with np.errstate(all="ignore"):
            _fill(proto, emptied.tensors)
        digest = _sha256(proto)
    except (lzma.LZMAError, EOFError, DecodeError, EncodeError, LookupError, TypeError, *BROKEN_DATA) as failure:
        raise ResultsError(f"{name}: the graph that is kept cannot be read", hint="restore it from git") from failure
    if digest != emptied.sha256:
        raise ResultsError(
            f"{name}: the hash of the graph that is kept is {digest[:12]}, and not {emptied.sha256[:12]}",
            hint="restore it from git, or keep the graph again",
        )
    return Model(name=name, proto=proto)


def _unpack(data: bytes) -> bytes:
    """Return the content of an .xz file, which is checked while it is unpacked.

    Raises:
        LZMAError, ValueError: it is cut short, is none, or has more than MAX_UNPACKED_BYTES.
    """
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_LZMA_BYTES)
    unpacked = decompressor.decompress(data, max_length=MAX_UNPACKED_BYTES)
    if not decompressor.eof or decompressor.unused_data:
        raise ValueError(f"is cut short, or has more than {MAX_UNPACKED_BYTES:,} bytes")
    return unpacked


def _require_drawable(proto: onnx.ModelProto, emptied: dict[int, EmptiedTensor]) -> None:
    """Check what an emptied tensor claims before memory is taken for it.

    Raises:
        ValueError: it has no numbers that are drawn, or all would take more than a model may have.
    """
    numbers = 0
    for position, (name, tensor) in enumerate(stored_tensors(proto)):
        if position in emptied:
            if tensor.data_type not in DRAWN_TYPES or min(tensor.dims, default=0) < 0:
                raise ValueError(f"{name} has no numbers that are drawn")
            numbers += prod(tensor.dims)
    if numbers > MAX_DRAWN_NUMBERS:
        raise ValueError(f"more than {MAX_DRAWN_NUMBERS:,} numbers would be drawn")


def weightless_path(folder: Path, sha256: str) -> Path:
    return folder / "graphs" / f"{sha256[:12]}{SUFFIX}"


def save_weightless(folder: Path, model: Path, sha256: str) -> None:
    """Store the graph of a model file in a folder, unless it is there already, or too large for git.

    Raises:
        FileError: no space, no permission.
    """
    path = weightless_path(folder, sha256)
    if not path.exists():
        proto = onnx.ModelProto.FromString(model.read_bytes())
        if proto.ByteSize() - sum(tensor.ByteSize() for _, tensor in stored_tensors(proto)) <= MAX_GRAPH_BYTES:
            atomic_files.write_atomically(path, strip_weights(Model(name=model.stem, proto=proto)))


def copy_weightless(folder: Path, results: Path, sha256: str) -> None:
    """Store with the results the graph that `folder` has, if any.

    Raises:
        FileError: no space, no permission.
    """
    source, path = (weightless_path(place, sha256) for place in (folder, results))
    if source.exists() and not path.exists():
        atomic_files.write_atomically(path, source.read_bytes())


def _biases_and_scales(proto: onnx.ModelProto) -> tuple[set[str], set[str]]:
    """Return the names of tensors that are weights if they are int32, and of tensors that must be exact.

    A runtime fuses quantized operators only where scales and zero points fit each other.
    """
    biases, scales = set[str](), set[str]()
    for node in all_nodes(proto):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scales.update(node.input[1:])
        if node.op_type == "DequantizeLinear" or node.op_type in INT32_BIAS_OPERATORS:
            biases.update(node.input)
    return biases, scales


def _is_exact(values: NDArray[Any], data_type: int) -> bool:
    """Return whether a large tensor is stored as it is: it holds infinities or NaN, or takes no space, as a mask."""
    if data_type not in FLOAT_TYPES:
        return False
    if not np.isfinite(values).all():
        return True
    data = values.tobytes()
    parts = (data[:COMPRESSION_SAMPLE_BYTES], data)
    return all(len(zlib.compress(part, level=1)) * MIN_COMPRESSION < len(part) for part in parts)


def _describe(values: NDArray[Any], data_type: int) -> EmptiedTensor:
    """Return the distribution of a weight's numbers, and apart from that, of its denormal ones' magnitudes."""
    numbers = values.astype(np.float64).ravel()
    denormal = denormal_places(values).ravel() if data_type in DENORMAL_TYPES else np.zeros(0, np.bool_)
    if not denormal.any():
        return EmptiedTensor(Distribution.of(numbers))
    return EmptiedTensor(
        Distribution.of(numbers[~denormal]), Distribution.of(np.abs(numbers[denormal])), np.packbits(denormal).tobytes()
    )


def _fill(proto: onnx.ModelProto, emptied: dict[int, EmptiedTensor]) -> None:
    """Draw every emptied tensor."""
    for position, (name, tensor) in enumerate(stored_tensors(proto)):
        if position in emptied:
            values = _draw(emptied[position], name, tensor)
            _replace_data(tensor, numpy_helper.from_array(values).raw_data)


def _draw(emptied: EmptiedTensor, name: str, tensor: TensorProto) -> NDArray[Any]:
    """Draw the numbers of a tensor in blocks: in fp64, only one of them is in memory."""
    count = prod(tensor.dims)
    values = np.empty(count, onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    denormal = np.unpackbits(np.frombuffer(emptied.denormal_bits, np.uint8), count=count if emptied.denormals else 0)
    bits = np.random.PCG64(crc32(name.encode()))
    for start in range(0, count, DRAWN_BLOCK):
        block = slice(start, min(start + DRAWN_BLOCK, count))
        normal = _normal(bits, block.stop - start)
        numbers = emptied.numbers.draw(normal)
        if emptied.denormals is not None:
            numbers = np.where(denormal[block] == 1, emptied.denormals.draw(normal), numbers)
        values[block] = numbers if tensor.data_type in FLOAT_TYPES else np.rint(numbers)
    return values


def _normal(bits: np.random.PCG64, count: int) -> NDArray[np.float64]:
    """Draw nearly normal numbers, the same on every machine: sums of four uniform numbers from PCG64's raw stream."""
    parts = bits.random_raw(count).view(np.uint16).reshape(count, 4)
    return (parts.sum(axis=1, dtype=np.int64) - 2 * 65535) / (65536 / np.sqrt(3.0))


def _replace_data(tensor: TensorProto, raw_data: bytes) -> None:
    """Replace a tensor's numbers by these bytes; its shape, its type and its names stay."""
    for field in ("float_data", "int32_data", "double_data", "raw_data"):
        tensor.ClearField(field)
    if raw_data:
        tensor.raw_data = raw_data


def _sha256(proto: onnx.ModelProto) -> str:
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
