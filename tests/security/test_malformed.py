"""Files that are right at first sight: attributes, tensors, archives and series that lie about themselves."""

# ruff: noqa: SIM300  expected == actual

import io
import json
import lzma
import os
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from limits import model_with_input, using_less_than, within
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from mnbench.comparison.exports import otava
from mnbench.errors import BuildError, MnbenchError, ResultsError
from mnbench.model.reference import reference_outputs
from mnbench.model.weightless import EMPTIED_KEY, refill_weights
from mnbench.results.store import ResultsFile

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
WEIGHT = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")


def model(*nodes, kind=TensorProto.FLOAT, shape=(1, 3, 8, 8), outputs=("y",), functions=()):
    """A model from x to its outputs, with a weight w."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [WEIGHT],
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8, functions=functions)


def node(operator, *inputs, outputs=("y",), domain="", **attributes):
    """A node with attributes of any type."""
    return helper.make_node(operator, inputs, outputs, domain=domain, **attributes)


def reference_to_an_attribute():
    """An attribute that refers to one of a function, where there is no function."""
    relu = node("Relu", "x")
    relu.attribute.append(AttributeProto(name="z", ref_attr_name="q", type=AttributeProto.INT))
    return relu


def recursive(*names):
    """Functions that call each other in a circle."""
    callees = (*names[1:], names[0])
    return [
        helper.make_function("my", name, ["a"], ["b"], [node(callee, "a", outputs=("b",), domain="my")], OPSETS)
        for name, callee in zip(names, callees, strict=True)
    ]


NODES = {
    "a constant without an output": [node("Constant", outputs=(), value=WEIGHT), node("Relu", "x")],
    "a constant that is a number": [node("Constant", outputs=("c",), value=5), node("Add", "x", "c")],
    "a constant that is a text": [node("Constant", outputs=("c",), value="abc"), node("Add", "x", "c")],
    "a reference outside a function": [reference_to_an_attribute()],
    "strides of one number": [node("Conv", "x", "w", strides=5)],
    "pads that are a tensor": [node("Conv", "x", "w", pads=WEIGHT)],
    "a kernel that is a number": [node("MaxPool", "x", kernel_shape=float("nan"))],
    "a permutation of text": [node("Einsum", "x", "x", equation=[1.5])],
}


@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_a_node_of_other_attributes_is_one_line(invoke, workspace, nodes):
    """The file and the node are named, or the figures are not known."""
    (workspace / "x.onnx").write_bytes(model(*nodes).SerializeToString())

    with within():
        result = invoke("cost", "x.onnx", "--layers")
    assert "Traceback" not in result.output
    assert 0 == result.exit_code or result.stderr.startswith("Error: x.onnx: cannot be counted: ")


MODELS = {
    "a function that calls itself": model(node("F", "x", domain="my"), functions=recursive("F")),
    "functions that call each other": model(node("F", "x", domain="my"), functions=recursive("F", "G")),
    "an input without a type": model(node("Relu", "x"), kind=0),
    "an input of type 999": model(node("Relu", "x"), kind=999),
    "an input of 100 axes": model(node("Relu", "x"), shape=[1] * 100),
    "an input of 100,000 axes": model(node("Relu", "x"), shape=[1] * 100_000),
    "2 to the 28 texts": model(node("Identity", "x"), kind=TensorProto.STRING, shape=[2**28]),
    "100,000 outputs": model(node("Relu", "x"), outputs=["y"] * 100_000),
    "a node without an output": model(node("Relu", "x", outputs=()), node("Relu", "x")),
}


COMMANDS = {
    "a function that calls itself": ["build"],
    "functions that call each other": ["build"],
    "a node without an output": ["build"],
    "100,000 outputs": ["verify"],
}


@pytest.mark.parametrize(
    ("name", "command"), [(name, command) for name in MODELS for command in COMMANDS.get(name, ["build", "verify"])]
)
def test_a_model_that_no_runtime_takes_is_one_line(invoke, workspace, name, command):
    """Nothing is drawn, and what native code raises is no traceback."""
    (workspace / "x.onnx").write_bytes(MODELS[name].SerializeToString())

    with within(20):
        result = invoke(command, "x.onnx", *(("-o", "y.onnx") if command == "build" else ()))
    assert 1 == result.exit_code
    assert result.stderr.startswith(("Error: x.onnx: ", "Error: x: "))
    assert len(result.stderr) < 2000


@pytest.fixture
def graph_of():
    """A graph without its weights, which claims that it has so many."""

    def write(numbers):
        proto = model(node("Relu", "x"))
        proto.graph.initializer[0].ClearField("raw_data")
        proto.graph.initializer[0].dims[:] = [numbers]
        emptied = {"tensors": {"0": [[0, 1, -5, 5]]}, "sha256": "0" * 64}
        proto.metadata_props.add(key=EMPTIED_KEY, value=json.dumps(emptied))
        return lzma.compress(proto.SerializeToString(), preset=0)

    return write


def test_outputs_that_no_memory_holds_are_one_line():
    """A file of 300 bytes asks for 192,000,000 numbers, which took 15 GB to compare."""
    proto = model(node("Expand", "x", "s"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([4 * 10**5, 3, 8, 8]), "s"))

    with pytest.raises(BuildError, match="its outputs hold more than"):
        reference_outputs(proto.SerializeToString(), {"x": np.ones((1, 3, 8, 8), np.float32)}, "x")


def test_texts_are_as_long_as_the_longest():
    """An array of 1,000 texts of 100,000 letters takes 400 MB, though the model returns one of them 1,000 times."""
    proto = model(node("Expand", "x", "s"), kind=TensorProto.STRING, shape=[1])
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1000]), "s"))

    with pytest.raises(BuildError, match="its outputs hold more than"):
        reference_outputs(proto.SerializeToString(), {"x": np.array(["a" * 100_000], object)}, "x")


def test_numbers_of_a_stored_graph_are_drawn_in_blocks(graph_of):
    """A stored graph of 1 kB that claims 32 MB of weights took six times as much to fill."""
    with using_less_than(150 * 2**20), pytest.raises(ResultsError, match="the hash of the graph"):
        refill_weights(graph_of(2**23), "x")


def test_an_archive_of_100_000_arrays_is_not_read(invoke, workspace):
    """To open each takes longer than a user waits."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index in range(20_000):
            archive.writestr(f"{index}.npy", b"")
    (workspace / "x.npz").write_bytes(packed.getvalue())
    (workspace / "x.onnx").write_bytes(model_with_input(["n"]).SerializeToString())

    result = invoke("build", "x.onnx", "--input", "x.npz", "-o", "y.onnx")

    assert 1 == result.exit_code
    assert result.stderr.startswith("Error: x.npz: holds no plain arrays: 20,000 arrays")


@pytest.mark.parametrize(("peak", "bandwidth"), [(1e100, 5e-324), (5e-324, 5e-324), (0, 0)])
def test_a_roof_of_nothing_is_no_record(invoke, workspace, make_record, peak, bandwidth):
    """No plot divides by it."""
    line = make_record(1.0)
    ResultsFile(workspace / "results", "cpu").append(line)
    path = workspace / "results" / "cpu.jsonl"
    roofline = f'{{"peak_mult_adds_per_s":{peak},"bandwidth_bytes_per_s":{bandwidth},"moved_bytes":1,"bound_ns":1}}'
    text = path.read_text("utf-8")
    path.write_text(text.replace('"roofline":null', f'"roofline":{roofline}'), "utf-8")
    assert text != path.read_text("utf-8")

    result = invoke("plot", "roofline", "-o", "p.json")

    assert 1 == result.exit_code
    assert "line 1 is not a record" in result.stderr or "line 2 is not a record" in result.stderr


SERIES = {
    "no text": b"\xff\xfe\0",
    "a cell of a megabyte": b"time,commit,ratio\n1,2," + b"9" * 2**20,
}


@pytest.mark.parametrize("data", SERIES.values(), ids=SERIES)
@pytest.mark.parametrize("name", ["cpu/v1", "cpu/other"])
def test_a_hostile_series_is_one_line(workspace, data, name):
    """Such as a clone has in the folder that is named; a file of another row counts as well."""
    (workspace / "cpu").mkdir()
    (workspace / f"{name}.csv").write_bytes(data)

    with within(), suppress(MnbenchError):
        otava.extend_series(workspace, {"cpu/v1": [{"time": "1", "commit": "a", "ratio": 1.0}]})


@pytest.mark.parametrize("name", ["cpu/v1", "cpu/other"])
def test_a_pipe_is_no_series(workspace, name):
    """Nobody would ever write to it."""
    (workspace / "cpu").mkdir()
    os.mkfifo(workspace / f"{name}.csv")

    with within(), pytest.raises(MnbenchError, match="is not a regular file"):
        otava.extend_series(workspace, {"cpu/v1": [{"time": "1", "commit": "a", "ratio": 1.0}]})
