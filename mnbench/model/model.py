"""A model: an ONNX graph with its weights, as the bytes that a device runs, and what it was built from."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import onnx
from google.protobuf.message import EncodeError
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.errors import BuildError, MnbenchError, first_line, read_error
from mnbench.model.counting import Counted, count_graph
from mnbench.model.input_sizes import image_size
from mnbench.model.inputs import MadeInput, make_inputs
from mnbench.model.isolated import HELPER, Step
from mnbench.model.onnx_layers import MALFORMED, MalformedNodeError
from mnbench.model.onnx_weights import detect_precision
from mnbench.network.cost import Cost, peak_activation_bytes, total_cost
from mnbench.network.cost_tables import cost_to_dict
from mnbench.network.layer import Layer
from mnbench.network.network import build_network
from mnbench.network.variant import InputOptions, Precision, Variant
from mnbench.regular_files import open_regular

T = TypeVar("T")

OPSET = 17
"""Reads everywhere that matters: onnxruntime, OpenVINO, ncnn's and MNN's converters."""

MIN_OPSET = 14
"""The first with HardSwish."""

IR_VERSION = 8
"""The format's version that belongs to OPSET; later opsets take a later one."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """An ONNX model. Do not change its `proto`.

    `variant` is the variant that it was built from; None for a file. `difference` is the largest that simplification
    made to the outputs, as a share of their largest number; None where nothing was simplified, or nothing could be
    compared. `not_proven` says which outputs prove little or nothing about that. `plain` is the graph before
    simplification and conversion to another precision; None where there was neither. `keeps_batch_norm` says that
    simplification was to fold none into a convolution. `input_options` are what the user says of the inputs of a file.

    `file` is what the model was read from; the path of a model that was `in_memory` means nothing to the user. `data`
    are the file's bytes, until the graph is changed. `data_files` hold the weights of a model that is larger than 2 GB;
    they stay where they are, and `proto` is without them.
    `changes` say in which other ways than its nodes the model differs from the file.
    """

    name: str
    proto: onnx.ModelProto
    variant: Variant | None = None
    input_options: InputOptions = field(default_factory=InputOptions)
    plain: "Model | None" = None
    difference: float | None = None
    keeps_batch_norm: bool = False
    not_proven: tuple[str, ...] = ()
    file: Path | None = None
    in_memory: bool = False
    data: bytes | None = field(default=None, repr=False)
    data_files: tuple[Path, ...] = ()
    changes: tuple[str, ...] = ()

    def with_proto(self, proto: onnx.ModelProto) -> "Model":
        """Return the model with another graph, which is not that of the file any more."""
        return replace(self, proto=proto, data=None, data_files=())

    @property
    def origin(self) -> str:
        """What errors name: the file as it was named, or the name of what was built or was in memory."""
        return self.name if self.in_memory or not self.file else str(self.file)

    @property
    def reference(self) -> "Model":
        """The model that defines the right outputs: the plain graph in fp32, or a file as it was read."""
        return self.plain or self

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that costs are those of: of the graph's table, or of the file as it was read."""
        return build_network(self.variant).layers if self.variant else self.reference.node_layers

    @cached_property
    def counted(self) -> Counted:
        """The layers of this very graph, how they were counted, and why figures are not known.

        Raises:
            BuildError: a node is not what its operator takes.
        """
        data_folder = self.file.parent if self.data_files and self.file else None
        try:
            return count_graph(self.proto, lambda: self.make_inputs(0), self.run_native, data_folder)
        except (MalformedNodeError, *MALFORMED) as failure:
            raise BuildError(
                f"{self.origin}: cannot be counted: {first_line(failure)}", hint="export the model again"
            ) from failure

    @property
    def node_layers(self) -> tuple[Layer, ...]:
        """A layer for each node of this very graph that computes."""
        return self.counted.layers

    @property
    def cost(self) -> Cost:
        """The costs of all layers; what is not known of a file is None."""
        return total_cost(self.layers)

    @property
    def peak_activation_bytes(self) -> int | None:
        """The largest number of bytes that activations take at once; None if it is not known."""
        return peak_activation_bytes(self.layers)

    @property
    def precision(self) -> Precision:
        """The precision of most weights."""
        return self.variant.precision if self.variant else detect_precision(self.reference.proto)

    @property
    def alpha(self) -> float | None:
        """The width multiplier; None for a file."""
        return self.variant.alpha if self.variant else None

    @property
    def resolution(self) -> tuple[int, int] | None:
        """Height and width of the first input that is an image; None if there is none, or a size is open."""
        if self.variant:
            return self.variant.resolution
        try:
            shapes = [array.shape for array in self.make_inputs(0).values()]
        except MnbenchError:
            return None
        return next(filter(None, map(image_size, shapes)), None)

    def make_inputs(self, seed: int) -> dict[str, NDArray[Any]]:
        """Return an array for each input: what the user gave, and seeded random numbers.

        Raises:
            InputError: a size or a value is not given that cannot be chosen, or what is given does not fit.
            FileError: a file of values cannot be read.
        """
        return {name: entry.array for name, entry in self.describe_inputs(seed).items()}

    def describe_inputs(self, seed: int) -> dict[str, MadeInput]:
        """Return the arrays of `make_inputs`, with how each was made."""
        return make_inputs(
            self.proto, self.input_options, seed=seed, name=self.name.removesuffix(str(self.input_options))
        )

    def run_native(self, step: Step, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns that hands the model to native code.

        A model that was read from a file may be anyone's: the function runs in the helper process. A graph of our own
        builder is handled here, which is 0.3 s faster.

        Raises:
            BuildError: the native code crashed, or took too long.
            Exception: what the function raises.
        """
        if self.file is None:
            return function(*arguments)
        return HELPER.call(self.origin, step, function, *arguments)

    @property
    def opset(self) -> int:
        """The version of the ONNX operator set."""
        return next((entry.version for entry in self.proto.opset_import if entry.domain in ("", "ai.onnx")), 0)

    @property
    def nodes(self) -> int:
        """The number of nodes of the graph."""
        return len(self.proto.graph.node)

    @cached_property
    def _bytes(self) -> bytes:
        try:
            return self.data or self.proto.SerializeToString(deterministic=True)
        except EncodeError as failure:
            raise self._too_large() from failure

    @cached_property
    def sha256(self) -> str:
        """The digest of the model's bytes: graph and weights.

        Raises:
            FileError: a data file cannot be read.
        """
        digest = hashlib.sha256(self._bytes)
        for path in self.data_files:
            try:
                with open_regular(path) as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as failure:
                raise read_error(path, failure) from failure
        return digest.hexdigest()

    @property
    def data_bytes(self) -> int:
        """The size of the data files."""
        return sum(path.stat().st_size for path in self.data_files)

    @property
    def size_bytes(self) -> int:
        """The size of the model's file, and of its data files."""
        return len(self._bytes) + self.data_bytes

    def to_bytes(self) -> bytes:
        """Return the bytes of the file; `onnxruntime.InferenceSession` takes them.

        Raises:
            BuildError: the model is larger than 2 GB.
        """
        self.require_bytes()
        return self._bytes

    def require_bytes(self) -> None:
        """Raise an error if the model is not in memory.

        Raises:
            BuildError: the model is larger than 2 GB.
        """
        if self.data_files:
            raise self._too_large()

    def _too_large(self) -> BuildError:
        return BuildError(
            f"{self.origin}: is larger than 2 GB, so it cannot be copied or changed",
            hint="measure its file as it is, with a runtime on this machine that reads ONNX",
        )

    def session_source(self) -> bytes | str:
        """Return what `onnxruntime.InferenceSession` takes: the bytes, or the path of a model larger than 2 GB."""
        return str(self.file) if self.data_files else self._bytes

    def file_in(self, folder: Path) -> Path:
        """Return a file of the model: written into the folder, or its own if it is larger than 2 GB.

        Raises:
            FileError: the file cannot be written.
        """
        if self.data_files and self.file:
            return self.file
        return self.save(folder / f"{self.sha256}.onnx")

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the model to a file and return its path.

        Raises:
            BuildError: the model is larger than 2 GB.
            FileError: the file cannot be written.
        """
        atomic_files.write_atomically(Path(path), self.to_bytes(), durable=False)
        return Path(path)

    def to_dict(self, path: Path) -> dict[str, Any]:
        """Return the facts of the model in base units; `path` is the file that it was saved to."""
        return {
            "variant": self.name,
            "alpha": self.alpha,
            "resolution": self.resolution,
            **cost_to_dict(self.cost),
            "peak_activation_bytes": self.peak_activation_bytes,
            "path": str(path),
            "size_bytes": self.size_bytes,
            "size_bytes_before": self.reference.size_bytes if self.file else None,
            "sha256": self.sha256,
            "nodes": self.nodes,
            "nodes_before": self.reference.nodes,
            "opset": self.opset,
            "simplified": self.difference is not None or bool(self.not_proven),
            "difference": self.difference,
            "not_proven": self.not_proven,
            "changes": self.changes,
        }

    def __repr__(self) -> str:
        return f"<Model: {self.name}, {self.nodes} nodes>"

    def _repr_html_(self) -> str:
        from mnbench.model.model_table import model_table  # noqa: PLC0415  it imports this module

        return model_table({Path(f"{self.name}.onnx"): self}).to("html")
