"""Whether onnxruntime's int8 arithmetic is exact on this CPU: x86 without VNNI adds two products in 16 bits."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper


def _saturates():
    """Return whether a sum of products of 255 and 127 comes out too small."""
    size = 64
    weights = numpy_helper.from_array(np.full((size, size), 127, np.int8), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["input", "weights"], ["output"])],
        "saturation",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, [size, size])],
        [helper.make_tensor_value_info("output", TensorProto.INT32, [size, size])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"input": np.full((size, size), 255, np.uint8)})
    return bool((output != 255 * 127 * size).any())


exact_int8 = pytest.mark.skipif(_saturates(), reason="onnxruntime's int8 arithmetic saturates on this CPU (no VNNI)")
