"""Other precisions than fp32, by onnxruntime's own converters."""

import contextlib
import logging
from collections.abc import Generator
from copy import deepcopy
from typing import Any

import onnx
from numpy.typing import NDArray

from mnbench.errors import BuildError, RuntimeUnavailable, first_line
from mnbench.model.model import Model
from mnbench.network.variant import Precision
from mnbench.temporary import temporary_folder

CALIBRATION_IMAGES = 8

PRECISION_NOTES = {
    "fp16": "weights and arithmetic are fp16; input and output stay fp32 and are cast",
    "int8": "weights and activations are int8 between QuantizeLinear and DequantizeLinear; input and output stay fp32",
}


def convert_precision(model: Model, precision: Precision, *, seed: int = 0) -> Model:
    """Return the model in that precision, its input and output still fp32.

    int8 is QDQ, each channel of a weight with a scale of its own, calibrated on seeded standard normal images.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
        BuildError: the converter fails.
    """
    if precision == "fp32":
        return model
    try:
        with _without_warnings():
            proto = _half(model.proto) if precision == "fp16" else _quantized(model, seed)
    except ImportError as failure:
        raise RuntimeUnavailable("onnxruntime is not installed", hint="pip install onnxruntime") from failure
    except Exception as failure:  # the converters raise what they like
        raise BuildError(
            f"{model.name}: onnxruntime cannot make it {precision}: {first_line(failure)}", hint="keep fp32"
        ) from failure
    properties = {entry.key: entry.value for entry in model.proto.metadata_props}
    onnx.helper.set_model_props(proto, properties | {"precision": f"{precision}: {PRECISION_NOTES[precision]}"})
    return model.with_proto(proto)


def _half(proto: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers import float16  # noqa: PLC0415  only here

    library: Any = float16
    half: onnx.ModelProto = library.convert_float_to_float16(deepcopy(proto), keep_io_types=True)
    # It puts the casts of the inputs behind the nodes that read them.
    nodes = sorted(half.graph.node, key=lambda node: not node.name.startswith("graph_input_cast"))
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


def _quantized(model: Model, seed: int) -> onnx.ModelProto:
    from onnxruntime import quantization  # noqa: PLC0415  0.2 s, only here

    library: Any = quantization

    class Images(library.CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = (model.make_inputs(seed + number) for number in range(CALIBRATION_IMAGES))

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(self.feeds, None)

    with temporary_folder() as folder:
        path = folder / "int8.onnx"
        # It moves the weights of the model that it is passed into a file.
        proto = deepcopy(model.proto)
        library.quantize_static(proto, str(path), Images(), quant_format=library.QuantFormat.QDQ, per_channel=True)
        return onnx.load(path)  # pyright: ignore[reportUnknownMemberType]


@contextlib.contextmanager
def _without_warnings() -> Generator[None]:
    """Keep the quantizer from logging advice for models of unknown origin."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
