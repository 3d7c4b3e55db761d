"""Small ONNX models, node by node."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mnbench.model.model import Model

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, weights=None, *, input_type=FLOAT, output_type=FLOAT):
    """A model from its nodes and the shapes of its inputs, outputs and weights, which are ones."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, output_type, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (weights or {}).items()],
    )
    return Model(name="g", proto=helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def speech_model():
    """The proto of an LSTM over a sound of any length; a rate of 16000 decides whether it is halved first."""
    gates = np.random.default_rng(0).standard_normal((1, 32, 24)).astype(np.float32) / 5
    weights = {
        "w": gates[:, :, :16],
        "r": gates[:, :, 16:],
        "steps": np.array([-1, 1, 16], np.int64),
        "fast": np.array(16000, np.int64),
        "half": np.array(0.5, np.float32),
        "one": np.array(1, np.float32),
    }
    nodes = [
        helper.make_node("Equal", ["rate", "fast"], ["is_fast"]),
        helper.make_node("Where", ["is_fast", "half", "one"], ["scale"]),
        helper.make_node("Mul", ["sound", "scale"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "steps"], ["frames"]),
        helper.make_node("LSTM", ["frames", "w", "r"], ["", "state"], hidden_size=8),
    ]
    graph = helper.make_graph(
        nodes,
        "speech",
        [
            helper.make_tensor_value_info("sound", FLOAT, ["batch", "samples"]),
            helper.make_tensor_value_info("rate", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("state", FLOAT, [1, 1, 8])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
