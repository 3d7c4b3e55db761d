"""From a variant or a file to the model that is saved or measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mnbench import atomic_files
from mnbench.model.model import OPSET, Model
from mnbench.model.onnx_layers import detect_precision, onnx_layers
from mnbench.model.precision import convert_precision
from mnbench.model.read_onnx import input_resolution, read_onnx
from mnbench.model.simplify import check_equivalence, simplify
from mnbench.model.to_onnx import PretrainedWeights, check_model, to_onnx
from mnbench.network.cost import Cost, total_cost
from mnbench.network.layer import Layer
from mnbench.network.network import build_network
from mnbench.network.variant import ELEMENT_BYTES, ModelSource, OnnxFile, Precision, Variant

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A checked model and where it came from.

    `reference` computes by definition what `model` should: the plain graph in fp32, or a user's file as it was read.
    `layers` are those of the table, or of the file: what is counted. `difference` is the largest that simplification
    made to the outputs, as a share of their spread; None where nothing was simplified.
    """

    model: Model
    reference: Model
    layers: Sequence[Layer]
    plain_nodes: int
    precision: Precision
    difference: float | None = None
    architecture: str | None = None
    alpha: float | None = None
    resolution: tuple[int, int] | None
    variant: Variant | None = None

    @property
    def name(self) -> str:
        """The name of the variant or the file."""
        return self.model.name

    @property
    def proto(self) -> "onnx.ModelProto":
        """The ONNX model. Do not change it."""
        return self.model.proto

    @property
    def sha256(self) -> str:
        """The digest of the model's bytes."""
        return self.model.sha256

    @property
    def opset(self) -> int:
        """The version of the ONNX operator set."""
        return self.model.opset

    @property
    def cost(self) -> Cost:
        """The costs of all layers."""
        return total_cost(self.layers, self.element_bytes)

    def to_bytes(self) -> bytes:
        """Return the bytes of the file; `onnxruntime.InferenceSession` takes them."""
        return self.model.data

    def save(self, path: "str | PathLike[str]") -> Path:
        """Write the model to a file and return its path.

        Raises:
            FileError: the file cannot be written.
        """
        atomic_files.write_atomically(Path(path), self.model.data, durable=False)
        return Path(path)

    def _repr_html_(self) -> str:
        from mnbench.model.build_table import SavedModel, build_table  # noqa: PLC0415  it imports this module

        return build_table([SavedModel(path=Path(f"{self.name}.onnx"), built=self)]).to("html")

    @property
    def element_bytes(self) -> int:
        """How many bytes a weight or an activation takes."""
        return ELEMENT_BYTES[self.precision]


def build_model(
    source: ModelSource,
    *,
    seed: int = 0,
    opset: int = OPSET,
    simplified: bool = True,
    keep_bn: bool = False,
    pretrained: PretrainedWeights | None = None,
) -> BuiltModel:
    """Build a variant's graph, or read a user's file; simplify it and prove that it computes the same, if asked to.

    A variant's weights are those `given`, or seeded random numbers.

    Raises:
        FileError, BuildError: the file cannot be read, or the checker refuses the model.
        SimplifyError: simplification failed, or changed what the graph computes.
    """
    built = _built(source, seed, opset, pretrained) if isinstance(source, Variant) else _read(source)
    if simplified:
        # Our own graphs hold no constant expressions.
        model = simplify(built.model, thorough=isinstance(source, OnnxFile), keep_bn=keep_bn)
        built = replace(built, model=model, difference=check_equivalence(built.model, model))
    if isinstance(source, Variant):
        built = replace(built, model=convert_precision(built.model, source.precision, seed=seed))
    check_model(built.model)
    return built


def _built(variant: Variant, seed: int, opset: int, pretrained_weights: PretrainedWeights | None) -> BuiltModel:
    built = build_network(variant)
    model = to_onnx(built, seed=seed, opset=opset, pretrained=pretrained_weights)
    return BuiltModel(
        model=model,
        reference=model,
        layers=built.layers,
        plain_nodes=model.nodes,
        precision=variant.precision,
        architecture=variant.architecture.name,
        variant=variant,
        alpha=variant.alpha,
        resolution=variant.resolution,
    )


def _read(file: OnnxFile) -> BuiltModel:
    model = replace(read_onnx(file.path, resolution=file.resolution), name=file.name)
    return BuiltModel(
        model=model,
        reference=model,
        layers=onnx_layers(model),
        plain_nodes=model.nodes,
        precision=detect_precision(model),
        resolution=input_resolution(model),
    )
