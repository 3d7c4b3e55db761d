"""ONNX models as other tools export them: open sizes, bytes, states, computed and quantized weights, branches."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

CONV = {"kernel_shape": [3, 3], "pads": [1] * 4}
FLOAT, INT64, INT32, UINT8, STRING = (
    TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.STRING
)  # fmt: skip


def node(operator, inputs, outputs, name="", **attributes):
    """A node; inputs and outputs are words, `_` stands for one that is left out."""
    inputs, outputs = ([word.strip("_") for word in words.split()] for words in (inputs, outputs))
    return helper.make_node(operator, inputs, outputs, name or None, **attributes)


def graph(
    nodes, inputs, outputs, weights=None, *, opset=17, ir_version=8, element_type=FLOAT, domain=None, as_inputs=False
):
    """A model; an input or an output is a shape, or a type and a shape, and a weight is an array or its shape."""
    draw = np.random.default_rng(0).standard_normal
    arrays = {
        name: (draw(shape) / max(shape) ** 0.5).astype(np.float32) if isinstance(shape, tuple) else shape
        for name, shape in (weights or {}).items()
    }
    ends = [
        [
            helper.make_tensor_value_info(name, *(shape if isinstance(shape, tuple) else (element_type, shape)))
            for name, shape in ends.items()
        ]
        for ends in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    ends[0] += [helper.make_tensor_value_info(item.name, item.data_type, item.dims) for item in stored if as_inputs]
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(
        helper.make_graph(nodes, "g", *ends, stored), opset_imports=opsets, ir_version=ir_version
    )  # fmt: skip


def conv_net(*shape, **options):
    """A convolution, pooling and a classifier of ten."""
    nodes = [
        node("Conv", "x w", "c", strides=[2, 2], **CONV),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f v", "y"),
    ]
    return graph(
        nodes,
        {"x": list(shape) or ["batch_size", 3, 64, 64]},
        {"y": None},
        {"w": (16, 3, 3, 3), "v": (16, 10)},
        **options,
    )


def bytes_image(*shape):
    """Rows, columns and channels of bytes, which are scaled and transposed inside."""
    nodes = [
        node("Cast", "image", "f", to=FLOAT),
        node("Mul", "f s", "m"),
        node("Transpose", "m", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "y", strides=[2, 2], **CONV),
    ]
    weights = {"s": np.float32(1 / 255), "w": (8, 3, 3, 3)}
    return graph(nodes, {"image": (UINT8, shape)}, {"y": None}, weights)


def encoder():
    """Tokens and their mask, an embedding and one attention."""
    nodes = [
        node("Gather", "table ids", "e"),
        node("MatMul", "e w", "q"),
        node("Transpose", "e", "k", perm=[0, 2, 1]),
        node("MatMul", "q k", "s"),
        node("Unsqueeze", "mask axis", "u"),
        node("Cast", "u", "m", to=FLOAT),
        node("Mul", "s m", "p"),
        node("MatMul", "p e", "y"),
    ]
    inputs = dict.fromkeys(("ids", "mask"), (INT64, ["batch", "sequence"]))
    return graph(nodes, inputs, {"y": None}, {"table": (100, 32), "w": (32, 32), "axis": np.array([1])})


def voice_detector():
    """An LSTM with a state whose batch is in the middle, and a rate without axes."""
    nodes = [
        node("Unsqueeze", "sound zero", "x"),
        node("LSTM", "x w r _ _ state cell", "_ h c", hidden_size=16),
        node("Squeeze", "h zero", "s"),
        node("Gemm", "s v", "l", transB=1),
        node("Cast", "rate", "f", to=FLOAT),
        node("Mul", "l f", "m"),
        node("Sigmoid", "m", "y"),
    ]
    state = [1, "batch", 16]
    inputs = {"sound": ["batch", 512], "state": state, "cell": state, "rate": (INT64, [])}
    weights = {"w": (1, 64, 512), "r": (1, 64, 16), "v": (1, 16), "zero": np.array([0])}
    return graph(nodes, inputs, {"y": None, "h": None, "c": None}, weights)


def computed_kernel(groups):
    """A convolution whose weights the network computes from the input."""
    inputs = 8 // groups
    nodes = [
        node("GlobalAveragePool", "x", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f w", "k"),
        node("Reshape", "k shape", "kernel"),
        node("Conv", "x kernel", "y", group=groups, **CONV),
    ]
    weights = {"w": (8, 16 * inputs * 9), "shape": np.array([16, inputs, 3, 3])}
    return graph(nodes, {"x": [1, 8, 28, 28]}, {"y": None}, weights)


def quantized_operators():
    """Convolutions of bytes."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("QLinearConv", "q s z w s zw s z b", "c", strides=[2, 2], **CONV),
        node("QLinearConv", "c s z v s zw s z", "d"),
        node("DequantizeLinear", "d s z", "y"),
    ]
    weights = {"s": np.float32(0.05), "z": np.uint8(128), "zw": np.int8(0), "b": np.ones(32, np.int32)}
    weights |= {"w": np.ones((32, 3, 3, 3), np.int8), "v": np.ones((64, 32, 1, 1), np.int8)}
    return graph(nodes, {"x": [1, 3, 64, 64]}, {"y": None}, weights)


def dynamically_quantized():
    """A product of bytes whose scale comes from the input."""
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z", "i"),
        node("Cast", "i", "f", to=FLOAT),
        node("Mul", "f s", "y"),
    ]
    return graph(nodes, {"x": [1, 256]}, {"y": None}, {"w": np.ones((256, 512), np.int8)})


def shared_head():
    """One head's weights for maps of three sizes."""
    nodes = [node("Conv", f"x{side} w b", f"y{side}", **CONV) for side in (32, 16, 8)]
    inputs = {f"x{side}": [1, 32, side, side] for side in (32, 16, 8)}
    return graph(nodes, inputs, {f"y{side}": None for side in (32, 16, 8)}, {"w": (24, 32, 3, 3), "b": (24,)})


def detector():
    """Boxes and scores of a convolution, of which a number remains that only a run knows."""
    nodes = [
        node("Conv", "x w", "c", strides=[8, 8]),
        node("Sigmoid", "c", "g"),
        node("Reshape", "g shape", "r"),
        node("Split", "r parts", "b scores", axis=1),
        node("Transpose", "b", "boxes", perm=[0, 2, 1]),
        node("NonMaxSuppression", "boxes scores most overlap least", "y"),
    ]
    weights = {"w": (5, 3, 8, 8), "shape": np.array([1, 5, -1]), "parts": np.array([4, 1]), "most": np.array([20])}
    weights |= {"overlap": np.float32([0.5]), "least": np.float32([0.4])}
    return graph(nodes, {"x": [1, 3, 128, 128]}, {"y": (INT64, ["n", 3])}, weights)


def branches():
    """A product with weights that the rate decides on."""
    bodies = {
        f"{name}_branch": helper.make_graph(
            [node("MatMul", f"x {name}", f"{name}_y")], name, [], [helper.make_empty_tensor_value_info(f"{name}_y")]
        )
        for name in ("then", "else")
    }
    nodes = [node("Equal", "rate fast", "is_fast"), node("If", "is_fast", "y", **bodies)]
    weights = {"then": (64, 32), "else": (64, 32), "fast": np.array(16000)}
    return graph(nodes, {"x": [1, 64], "rate": (INT64, [])}, {"y": [1, 32]}, weights)


def recurrent_with_lengths():
    """A GRU that skips what lies behind the length of a sequence."""
    weights = {"w": (1, 192, 40), "r": (1, 192, 64), "b": (1, 384)}
    inputs = {"x": [50, 1, 40], "lengths": (INT32, [1])}
    return graph([node("GRU", "x w r b lengths", "y", hidden_size=64)], inputs, {"y": None}, weights)


def scalar_output():
    """A probability of one number."""
    nodes = [
        node("Conv", "x w", "c", strides=[2, 2], **CONV),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f v", "l"),
        node("Sigmoid", "l", "y"),
    ]
    return graph(nodes, {"x": [1, 3, 32, 32]}, {"y": [1, 1]}, {"w": (16, 3, 3, 3), "v": (16, 1)})


def noise_inside():
    """Draws numbers of its own in each run."""
    nodes = [node("MatMul", "x w", "m"), node("RandomNormalLike", "m", "e", "noise"), node("Add", "m e", "y")]
    return graph(nodes, {"x": [1, 64]}, {"y": None}, {"w": (64, 64)})


def constant_beside():
    """A second output that is always the same."""
    nodes = [node("MatMul", "x w", "y"), node("Identity", "version", "v")]
    return graph(nodes, {"x": [1, 32]}, {"y": None, "v": [1]}, {"w": (32, 64), "version": np.float32([3])})


def causal_mask(last="Identity"):
    """An attention with a mask of minus infinity."""
    nodes = [
        node("Transpose", "x", "k", perm=[0, 2, 1]),
        node("MatMul", "x k", "s"),
        node("Add", "s mask", "m"),
        node("Softmax", "m", "p"),
        node("MatMul", "p x", "o"),
        node(last, "o", "y"),
    ]
    mask = np.triu(np.full((16, 16), -np.inf, np.float32), 1)
    return graph(nodes, {"x": [1, 16, 8]}, {"y": None}, {"mask": mask})


def open_image():
    """A convolution of an image of any size."""
    return graph(
        [node("Conv", "x w", "y", **CONV)], {"x": ["batch", 3, "height", "width"]}, {"y": None}, {"w": (32, 3, 3, 3)}
    )


def relu6(form):
    """A convolution and a ReLU6, as exporters have written it."""
    bounds = {"lo": np.zeros((), np.float32), "hi": np.full((), 6, np.float32)}
    nodes = [node("Clip", "c lo hi", "y")]
    if form == "arrays":
        bounds = {name: bound.reshape(1) for name, bound in bounds.items()}
    elif form == "constants":
        constants = [node("Constant", "", name, value=numpy_helper.from_array(bounds[name])) for name in bounds]
        nodes, bounds = [*constants, *nodes], {}
    elif form == "attributes":
        nodes, bounds = [node("Clip", "c", "y", min=0.0, max=6.0)], {}
    opset = 9 if form == "attributes" else 17
    weights = {"w": (8, 3, 3, 3), **bounds}
    return graph([node("Conv", "x w", "c", **CONV), *nodes], {"x": [1, 3, 16, 16]}, {"y": None}, weights, opset=opset)


def layer_of(operator, inputs, outputs, weights, shape, **options):
    """A single node over an input `x` of that shape."""
    attributes = options.pop("attributes", {})
    return graph([node(operator, inputs, outputs, **attributes)], {"x": shape}, {"y": None}, weights, **options)


def line_break():
    """Names outside of ASCII, with a bar and a line break."""
    nodes = [node("Conv", "вход w", "c", "畳み込み|1\n", **CONV), node("Relu", "c", "y", "свёртка")]
    return graph(nodes, {"вход": [1, 3, 8, 8]}, {"y": None}, {"w": (4, 3, 3, 3)})


def texts():
    """A word, which a table turns into a number."""
    nodes = [
        node("LabelEncoder", "word", "i", domain="ai.onnx.ml", classes_strings=["cat", "dog"]),
        node("Cast", "i", "f", to=FLOAT),
        node("MatMul", "f w", "y"),
    ]
    return graph(nodes, {"word": (STRING, [1, 1])}, {"y": None}, {"w": (1, 8)}, domain="ai.onnx.ml")
