"""Graphs without weights: what is left out, what is kept, and what refilling returns."""

# ruff: noqa: SIM300  expected == actual

import lzma

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16, int4
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench.errors import ResultsError
from mnbench.families import parse_variant
from mnbench.model import weightless
from mnbench.model.build import build_model
from mnbench.model.reference import reference_outputs
from mnbench.model.stored_tensors import denormal_places, denormal_share, stored_tensors
from mnbench.model.weightless import MAX_EXACT_SIZE, refill_weights, strip_weights

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model():
    """A small network, built once."""
    return build_model(parse_variant("v1-a0.25-r64"))


def weights(proto):
    """Every stored tensor by name."""
    return {name: numpy_helper.to_array(tensor) for name, tensor in stored_tensors(proto)}


def stored(tensors, *nodes, **fields):
    """A model that stores these arrays."""
    model = model_of(nodes or [helper.make_node("Identity", ["x"], ["y"])], {"x": (1,)}, {"y": (1,)})
    model.proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tensors.items())
    model.proto.MergeFrom(onnx.ModelProto(**fields))
    return model


def refilled(model):
    """The same model with other weights."""
    return refill_weights(strip_weights(model), model.name)


def test_a_stored_graph_is_small_and_refills_to_the_same_graph(model):
    """Nodes, names, shapes and types are the model's own; numbers are others, as large and as scattered."""
    data = strip_weights(model)
    assert len(data) < 6_000 < len(model.to_bytes()) / 100
    result = refill_weights(data, model.name)
    assert list(model.proto.graph.node) == list(result.proto.graph.node)
    onnx.checker.check_model(result.proto, full_check=True)
    old, new = weights(model.proto), weights(result.proto)
    assert set(old) == set(new)
    for name, item in old.items():
        other = new[name]
        assert (item.shape, item.dtype) == (other.shape, other.dtype)
        if item.size <= MAX_EXACT_SIZE:
            assert (item == other).all()
        else:
            assert not (item == other).all()
            assert item.min() - 1e-5 <= other.min() <= other.max() <= item.max() + 1e-5
            if item.size > 5_000:
                assert other.std() == pytest.approx(item.std(), rel=0.15)


def test_refilling_always_gives_the_same(model):
    """On every machine: the hash is known."""
    assert refilled(model).sha256 == refilled(model).sha256
    assert strip_weights(model) == strip_weights(build_model(parse_variant("v1-a0.25-r64")))


@pytest.mark.parametrize("name", ["v1-a0.25-r32", "v3-small-a0.25-r32", "shufflenet-v1-g8-a0.5-r32-fp16"])
def test_a_refilled_graph_computes_finite_numbers(name):
    """Neither zeros nor overflow: a network of those would be measured as something that it is not."""
    result = refilled(build_model(parse_variant(name)))
    for output in reference_outputs(result.to_bytes(), result.make_inputs(0), name=name):
        assert np.isfinite(output).all()
        assert 0.01 < output.astype(np.float64).std() < 10_000


def test_scales_of_a_quantized_graph_are_kept():
    """A runtime must find them to fuse operators; the weights and the int32 biases are drawn."""
    model = build_model(parse_variant("v1-a0.25-r32-int8"))
    old, new = weights(model.proto), weights(refilled(model).proto)
    scaled = {name for node in model.proto.graph.node if "quantizeLinear" in node.op_type for name in node.input[1:]}
    scaled |= {name for node in model.proto.graph.node if node.op_type == "QuantizeLinear" for name in node.input[1:]}
    assert any(old[name].size > MAX_EXACT_SIZE for name in scaled)
    assert all((old[name] == new[name]).all() for name in scaled)
    drawn = {old[name].dtype.name for name in old if (old[name] != new[name]).any()}
    assert {"int8", "int32"} == drawn


@pytest.mark.slow
def test_a_broken_graph_is_refused(model):
    """Cut short, no stored graph at all, or with another hash than it says."""
    data = strip_weights(model)
    described = stored({}, metadata_props=[onnx.StringStringEntryProto(key="author", value="somebody")])
    for broken in (b"", b"no graph", data[:-9], *(lzma.compress(item.to_bytes()) for item in (model, described))):
        with pytest.raises(ResultsError, match="cannot be read"):
            refill_weights(broken, "row")
    plain = lzma.decompress(data)
    with pytest.raises(ResultsError, match="the hash of the graph that is kept is"):
        refill_weights(lzma.compress(plain.replace(b"conv1/conv", b"conv1/conw")), "row")


@given(
    st.lists(st.text(max_size=9) | st.just("[0.0, 1.0, -1.0, 1.0]"), min_size=2, max_size=2),
    st.dictionaries(st.sampled_from(["mnbench.emptied", "mnbench.refilled", "author"]), st.text(max_size=9)),
)
@settings(max_examples=20)
def test_no_text_of_the_users_is_an_instruction(descriptions, properties):
    """Descriptions and metadata come back as they were, whatever they say; so do all numbers that are kept."""
    entries = [onnx.StringStringEntryProto(key=key, value=value) for key, value in properties.items()]
    model = stored({"small": np.ones(3, np.float32), "large": np.arange(99.0)}, metadata_props=entries)
    for tensor, text in zip(model.proto.graph.initializer, descriptions, strict=True):
        tensor.doc_string = text
    result = refilled(model).proto
    assert list(model.proto.metadata_props) == list(result.metadata_props)
    assert descriptions == [tensor.doc_string for tensor in result.graph.initializer]
    assert model.proto.graph.initializer[0] == result.graph.initializer[0]
    assert model.proto.graph.initializer[1] != result.graph.initializer[1]


EXACT = {
    "mask": np.triu(np.full((99, 99), -np.inf, np.float32), 1),
    "finite mask": np.triu(np.full((99, 99), np.finfo(np.float32).min, np.float32), 1),
    "not a number": np.append(RANDOM.standard_normal(999), np.nan).astype(np.float32),
    "indices": RANDOM.integers(0, 9**6, 999),
    "short indices": RANDOM.integers(0, 9**6, 999).astype(np.int32),
    "conditions": RANDOM.integers(0, 2, 999).astype(np.bool_),
    "words": np.array([f"word {number}" for number in range(99)], object),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_decides_how_a_network_runs_is_kept(name):
    """Infinities and masks, without which outputs are NaN; numbers that are places, sizes or words."""
    model = stored({"table": EXACT[name]})
    assert model.sha256 == refilled(model).sha256


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, bfloat16, np.int8, np.uint8, int4])
def test_weights_of_each_type_are_drawn(kind):
    """Each takes a few hundred bytes, and comes back in its own type and range."""
    array = (RANDOM.standard_normal((64, 999)) * 2).clip(0 if kind is np.uint8 else -7, 7).astype(kind)
    model = stored({"w": array})
    data = strip_weights(model)
    assert len(data) < 500
    result = weights(refill_weights(data, "x").proto)["w"].astype(np.float64)
    assert array.astype(np.float64).std() == pytest.approx(result.std(), rel=0.3)
    assert array.shape == result.shape


def test_weights_in_constants_subgraphs_and_functions_are_drawn():
    """They are weights like others, and a model that has none but these is stored as small."""

    def constant(name):
        value = numpy_helper.from_array(RANDOM.standard_normal((64, 99)).astype(np.float32))
        return helper.make_node("Constant", [], [name], value=value)

    branches = [
        helper.make_graph(
            [constant(name)], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, (64, 99))]
        )
        for name in ("then", "else")
    ]
    branches[0].initializer.append(constant("w").attribute[0].t)
    branches[0].initializer[0].name = "inner"
    choice = helper.make_node("If", ["x"], ["y"], then_branch=branches[0], else_branch=branches[1])
    function = helper.make_function("own", "F", [], ["f"], [constant("f")], [helper.make_opsetid("", 17)])
    model = stored({}, constant("top"), choice, functions=[function])
    data = strip_weights(model)
    assert len(data) < 1_000 < len(model.to_bytes()) / 100
    old, new = weights(model.proto), weights(refill_weights(data, "x").proto)
    assert ["else", "f", "inner", "then", "top"] == sorted(old)
    assert all((new[name] != old[name]).any() for name in old)


@pytest.mark.slow
@given(st.sampled_from([np.float32, np.float64, bfloat16]), st.integers(1, 4), st.booleans())
@settings(max_examples=20)
def test_denormal_numbers_stay_where_they_are(kind, quarters, scattered):
    """Latency depends on which vectors of numbers hold one; but their digits are not stored."""
    array = RANDOM.standard_normal((64, 900))
    places = RANDOM.random(array.shape) < quarters / 4 if scattered else np.s_[: 16 * quarters]
    array[places] *= 1e-310 if kind is np.float64 else 1e-39
    model = stored({"w": array.astype(kind)})
    data = strip_weights(model)
    assert len(data) < len(model.to_bytes()) / 10
    result = refill_weights(data, "x")
    old, new = (denormal_places(weights(item.proto)["w"]) for item in (model, result))
    assert (old == new).all()
    assert 0 < denormal_share(model.proto) == denormal_share(result.proto)


def test_denormal_half_precision_numbers_do_not_count():
    """CPUs compute them in fp32, where they are normal numbers; nor do integers count."""
    model = stored({"w": np.full(99, 1e-7, np.float16), "i": np.ones(99, np.int8)})
    assert 0 == denormal_share(model.proto)
    assert 0.5 == denormal_share(stored({"a": np.float32([1e-39, -1e-39, 0, 1])}).proto)


def test_a_graph_that_stays_large_is_not_stored(tmp_path, monkeypatch):
    """A model that is large without its weights stays out of the results; one with large weights is stored."""
    model = build_model(parse_variant("v1-a0.25-r64"))
    path = model.save(tmp_path / "model.onnx")
    for limit, stored in ((1000, False), (2**20, True)):
        monkeypatch.setattr(weightless, "MAX_GRAPH_BYTES", limit)
        weightless.save_weightless(tmp_path, path, model.sha256)
        assert weightless.weightless_path(tmp_path, model.sha256).exists() is stored
