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
