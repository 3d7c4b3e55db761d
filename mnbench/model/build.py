"""From a variant or a file to the model that is saved or measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnbench.model.model import OPSET, Model
from mnbench.model.onnx_layers import layers_of, precision
from mnbench.model.precision import converted
from mnbench.model.read_onnx import input_resolution, read_model
from mnbench.model.simplify import prove, simplify
from mnbench.model.to_onnx import Given, build, check
from mnbench.network.layer import Layer
from mnbench.network.network import network
from mnbench.network.variant import ELEMENT_BYTES, OnnxFile, Precision, Source, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A checked model and where it came from.

    `reference` computes by definition what `model` should: the plain graph in fp32, or a user's file as it was read.
    `layers` are those of the table, or of the file: what is counted. `difference` is the largest that simplification
    made to the outputs, as a share of their spread; None where nothing was simplified.
    """

    model: Model
    reference: Model
    layers: Sequence[Layer]
    nodes_before: int
    precision: Precision
    difference: float | None = None
    architecture: str | None = None
    alpha: float | None = None
    resolution: tuple[int, int] | None

    @property
    def element_bytes(self) -> int:
        """How many bytes a weight or an activation takes."""
        return ELEMENT_BYTES[self.precision]


def make(
    source: Source,
    *,
    seed: int = 0,
    opset: int = OPSET,
    simplified: bool = True,
    keep_bn: bool = False,
    given: Given | None = None,
) -> Made:
    """Build a variant's graph, or read a user's file; simplify it and prove that it computes the same, if asked to.

    A variant's weights are those `given`, or seeded random numbers.

    Raises:
        FileError, BuildError: the file cannot be read, or the checker refuses the model.
        SimplifyError: simplification failed, or changed what the graph computes.
    """
    made = _built(source, seed, opset, given) if isinstance(source, Variant) else _read(source)
    if simplified:
        # Our own graphs hold no constant expressions.
        model = simplify(made.model, thorough=isinstance(source, OnnxFile), keep_bn=keep_bn)
        made = replace(made, model=model, difference=prove(made.model, model))
    if isinstance(source, Variant):
        made = replace(made, model=converted(made.model, source.precision, seed=seed))
    check(made.model)
    return made


def _built(variant: Variant, seed: int, opset: int, given: Given | None) -> Made:
    built = network(variant)
    model = build(built, seed=seed, opset=opset, given=given)
    return Made(
        model=model,
        reference=model,
        layers=built.layers,
        nodes_before=model.nodes,
        precision=variant.precision,
        architecture=variant.architecture.name,
        alpha=variant.alpha,
        resolution=variant.resolution,
    )


def _read(file: OnnxFile) -> Made:
    model = replace(read_model(file.path, resolution=file.resolution), name=file.name)
    return Made(
        model=model,
        reference=model,
        layers=layers_of(model),
        nodes_before=model.nodes,
        precision=precision(model),
        resolution=input_resolution(model),
    )
