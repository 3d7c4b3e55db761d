"""The plain graph: bytes, names, metadata, and that it runs."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mnbench
from mnbench.errors import BuildError
from mnbench.families import read_architecture
from mnbench.model.model import Model
from mnbench.model.to_onnx import check_model, first_line, to_onnx
from mnbench.network.cost import total_cost
from mnbench.network.layer import Layer, Tensor
from mnbench.network.network import Network, build_network
from mnbench.network.variant import Variant
from mnbench.workspace import built_in

V1_PATH = built_in("graphs") / "v1.toml"
V1 = read_architecture(V1_PATH)
SIDES = st.integers(32, 1000)

PRINT_SHA256 = """
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.families import architecture

variant = Variant(architecture=architecture("v1"), alpha=0.25, resolution=(96, 128))
print(to_onnx(build_network(variant), seed=7).sha256)
"""


def _network(alpha=0.25, resolution=(64, 64), architecture=V1):
    return build_network(Variant(architecture=architecture, alpha=alpha, resolution=resolution))


def _run(model, image):
    return onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"]).run(
        None, {"input": image}
    )[0]


def _image(height, width):
    return np.random.default_rng(0).standard_normal((1, 3, height, width)).astype(np.float32)


def _with_relu(path):
    path.write_text(V1_PATH.read_text(encoding="utf-8").replace('"relu6"', '"relu"'), encoding="utf-8")
    return read_architecture(path)


@pytest.mark.slow
@given(st.floats(0, 1, exclude_min=True), SIDES, SIDES, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_same_input_same_bytes(alpha, height, width, seed):
    """A variant and a seed fix every byte."""
    model, other = (to_onnx(_network(alpha, (height, width)), seed=seed) for _ in range(2))

    assert model.to_bytes() == other.to_bytes()


@pytest.mark.slow
def test_same_bytes_in_every_process():
    """Fresh processes with other hash seeds write the same bytes as this one."""
    expected = to_onnx(_network(resolution=(96, 128)), seed=7).sha256
    result = [
        subprocess.run(
            [sys.executable, "-c", PRINT_SHA256],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]

    assert [expected, expected] == result


@pytest.mark.parametrize("change", [{"alpha": 0.251}, {"resolution": (64, 65)}])
def test_other_variant_other_bytes(change):
    """Another alpha or resolution is another model, even where every channel is the same."""
    assert to_onnx(_network()).sha256 != to_onnx(_network(**change)).sha256


def test_other_seed_other_bytes():
    """Another seed is another model."""
    assert to_onnx(_network(), seed=0).sha256 != to_onnx(_network(), seed=1).sha256


def test_sha256_is_that_of_the_file():
    """The hash can be checked with any tool."""
    model = to_onnx(_network())

    assert hashlib.sha256(model.to_bytes()).hexdigest() == model.sha256


def test_nodes_are_named_by_their_scopes():
    """A profile of the graph joins back to the layers by name."""
    built = _network()

    assert [layer.scope for layer in built.layers] == [node.name for node in to_onnx(built).proto.graph.node]


def test_operators():
    """The graph is made of plain ONNX operators alone."""
    model = to_onnx(_network())
    expected = [*["Conv", "BatchNormalization", "Clip"] * 27, "GlobalAveragePool", "Flatten", "Gemm"]

    assert expected == [node.op_type for node in model.proto.graph.node]
    assert len(expected) == model.nodes


def test_operator_set():
    """The graph is of the operator set that every runtime reads."""
    expected = (17, 8)
    model = to_onnx(_network())

    assert expected == (model.opset, model.proto.ir_version)


@pytest.mark.parametrize(
    ("alpha", "resolution", "format_alpha", "format_resolution"),
    [(0.25, (64, 64), "0.25", "64"), (1 / 3, (32, 40), "0.3333333333333333", "32x40"), (1, (64, 64), "1", "64")],
)
def test_metadata(alpha, resolution, format_alpha, format_resolution):
    """The file says what it is, what made it, and what it costs."""
    built = _network(alpha, resolution)
    total = total_cost(built.layers)
    expected = {
        "architecture": "v1",
        "alpha": format_alpha,
        "resolution": format_resolution,
        "seed": "3",
        "mnbench_version": mnbench.__version__,
        "params": str(total.params),
        "mult_adds": str(total.mult_adds),
        "memory_access": str(total.memory_access),
    }
    proto = to_onnx(built, seed=3).proto

    assert expected == {entry.key: entry.value for entry in proto.metadata_props}
    assert ("mnbench", mnbench.__version__) == (proto.producer_name, proto.producer_version)


def test_params_in_the_file_are_those_counted():
    """The trainable numbers in the file are as many as the cost says."""
    built = _network()
    statistics = (".mean", ".variance", "relu6.min", "relu6.max")
    trainable = [tensor for tensor in to_onnx(built).proto.graph.initializer if not tensor.name.endswith(statistics)]

    assert total_cost(built.layers).params == sum(onnx.numpy_helper.to_array(tensor).size for tensor in trainable)


@pytest.mark.slow
@given(st.floats(0, 1, exclude_min=True), SIDES, SIDES)
@settings(deadline=None, max_examples=15)
def test_checker_passes(alpha, height, width):
    """ONNX's full checker, with strict shape inference, takes any variant."""
    model = to_onnx(_network(alpha, (height, width)))
    check_model(model)

    onnx.shape_inference.infer_shapes(model.proto, check_type=True, strict_mode=True)


def test_checker_refuses_a_broken_model():
    """A graph that reads a tensor nobody writes is refused in one line."""
    proto = onnx.ModelProto()
    proto.CopyFrom(to_onnx(_network()).proto)
    del proto.graph.node[3]

    with pytest.raises(BuildError, match=r"^broken: ONNX's checker refuses it: ") as caught:
        check_model(Model(name="broken", proto=proto))

    assert "\n" not in caught.value.message


@pytest.mark.slow
@given(st.floats(0, 1.5, exclude_min=True), SIDES, SIDES)
@example(1.0, 224, 224)
@example(2.0, 33, 8192)
@settings(deadline=None, max_examples=20)
def test_layers_of_the_graph_are_those_of_the_table(alpha, height, width):
    """Reading the graph back gives every layer exactly: scope, kind, shapes, kernel, stride, padding and groups."""
    built = _network(alpha, (height, width))

    assert built.layers == to_onnx(built).node_layers


@pytest.mark.parametrize("kernel", [1, 5, 7])
def test_layers_of_other_kernels(tmp_path, kernel):
    """Kernels of other odd sizes keep the shapes of the table."""
    path = tmp_path / "x.toml"
    text = V1_PATH.read_text(encoding="utf-8")
    path.write_text(text.replace("filter = [3, 3, 3, 32]", f"filter = [{kernel}, {kernel}, 3, 32]"), encoding="utf-8")
    built = _network(resolution=(65, 64), architecture=read_architecture(path))

    assert built.layers == to_onnx(built).node_layers


@pytest.mark.parametrize(("alpha", "resolution"), [(0.25, (128, 128)), (0.01, (32, 33)), (0.333, (240, 320))])
def test_onnxruntime_runs_it(alpha, resolution):
    """The graph runs, and its logits are finite and differ."""
    logits = _run(to_onnx(_network(alpha, resolution)), _image(*resolution))
    expected = (1, 1000)

    assert expected == logits.shape
    assert np.isfinite(logits).all()
    assert len(np.unique(logits)) > 900


def test_logits_depend_on_the_image():
    """Another image gives other logits."""
    model = to_onnx(_network())
    image = _image(64, 64)

    assert np.abs(_run(model, image) - _run(model, image[..., ::-1].copy())).max() > 0.1


def test_relu(tmp_path):
    """A table with plain ReLU gives Relu nodes and no bounds, and runs."""
    built = _network(architecture=_with_relu(tmp_path / "x.toml"))
    model = to_onnx(built)
    check_model(model)
    operators = [node.op_type for node in model.proto.graph.node]
    names = {tensor.name for tensor in model.proto.graph.initializer}
    expected = (27, 0)

    assert expected == (operators.count("Relu"), operators.count("Clip"))
    assert not {"relu6.min", "relu6.max"} & names
    assert built.layers == model.node_layers
    assert np.isfinite(_run(model, _image(64, 64))).all()


def test_relu_and_relu6_differ_above_six(tmp_path):
    """On an image of large numbers ReLU6 cuts what ReLU lets through."""
    image = 100 * _image(64, 64)
    six, plain = to_onnx(_network()), to_onnx(_network(architecture=_with_relu(tmp_path / "x.toml")))

    assert np.abs(_run(six, image)).max() < np.abs(_run(plain, image)).max() / 2


def test_layer_without_a_node_is_refused():
    """A layer that no node is known for is refused by its scope."""
    built = _network()
    odd = Layer(scope="odd", kind="swish", inputs=(Tensor("input", (1, 3)),), outputs=(Tensor("y", (1, 3)),))

    with pytest.raises(BuildError, match=r"(?m)^odd: no \w+ for a layer of kind swish$"):
        to_onnx(Network(variant=built.variant, layers=(odd,), rows=("1",), outputs=odd.outputs))


@pytest.mark.parametrize(
    ("text", "expected"), [("one\ntwo", "one"), ("\n  \n two \nthree", "two"), ("", "ValueError"), ("\n", "ValueError")]
)
def test_first_line(text, expected):
    """Of a message of many lines the first that says something is shown, or the kind of failure."""
    assert expected == first_line(ValueError(text))
