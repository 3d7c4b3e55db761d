"""Small models that keep native code busy for years, and what it costs to wait for them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]


def _model(nodes, weights=(), functions=()):
    """A model from x to y, which are four numbers each."""
    ends = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])] for name in "xy")
    initializers = [numpy_helper.from_array(np.array(value), name) for name, value in dict(weights).items()]
    graph = helper.make_graph(nodes, "g", *ends, initializers)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8, functions=functions)


def good():
    """Add one number."""
    return _model([helper.make_node("Add", ["x", "n"], ["y"])], {"n": np.float32(2)})


def endless_loop():
    """Run a body 2⁶² times: only running it takes long."""
    scalars = [("i", TensorProto.INT64), ("go", TensorProto.BOOL), ("go_on", TensorProto.BOOL)]
    index, go, go_on = (helper.make_tensor_value_info(name, kind, []) for name, kind in scalars)
    state, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("s", "t"))
    nodes = [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["s", "s"], ["t"])]
    body = helper.make_graph(nodes, "body", [index, go, state], [go_on, result])
    return _model([helper.make_node("Loop", ["n", "yes", "x"], ["y"], body=body)], {"n": 2**62, "yes": True})


def endless_range():
    """Hold all whole numbers to 2⁶²: shape inference counts them, with Python's lock in its hands."""
    nodes = [
        helper.make_node("Range", ["from", "to", "step"], ["r"]),
        helper.make_node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return _model(nodes, {"from": 0, "to": 2**62, "step": 1})


def exponential():
    """Call functions that call functions: 2³⁰ nodes in 2 kB."""
    functions = [
        helper.make_function(
            "my",
            f"F{depth}",
            ["a"],
            ["c"],
            [
                helper.make_node(f"F{depth + 1}", ["a"], ["b"], domain="my"),
                helper.make_node(f"F{depth + 1}", ["b"], ["c"], domain="my"),
            ]
            if depth < 29
            else [helper.make_node("Relu", ["a"], ["c"])],
            OPSETS,
        )
        for depth in range(30)
    ]
    return _model([helper.make_node("F0", ["x"], ["y"], domain="my")], functions=functions)


def zero_divisor():
    """Divide whole numbers by zero, which onnxruntime refuses."""
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        helper.make_node("Div", ["i", "zero"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=TensorProto.FLOAT),
    ]
    return _model(nodes, {"zero": np.zeros(1, np.int32)})


def save(folder, **protos):
    """Write models as NAME.onnx."""
    for name, proto in protos.items():
        onnx.save(proto, folder / f"{name}.onnx")
