"""Multiply-adds of operators by their rules, against counts by hand and ONNX's own definitions of functions."""

from math import prod

import onnxsim
import pytest
from common import run_here
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, defs, helper, inliner

from mnbench.model.counting import count_graph
from mnbench.model.operators import MICROSOFT, RULES, UNCOUNTED_OPERATORS, Operation, count_mult_adds
from mnbench.network.cost import total_cost

SIDES = st.integers(2, 6)

UNKNOWN = {
    "AffineGrid", "CausalConvWithState", "DFT", "Det", "If", "ImageDecoder", "LinearAttention", "Loop",
    "NegativeLogLikelihoodLoss", "STFT", "Scan", "SequenceMap", "SoftmaxCrossEntropyLoss", "SwiGLU",
}  # fmt: skip
"""ONNX's operators that no rule knows: their models have no Mult-Adds."""


def _count(operator, inputs, output, *, domain="", **attributes):
    encoded = {name: value.encode() if isinstance(value, str) else value for name, value in attributes.items()}
    return count_mult_adds(
        Operation(domain=domain, operator=operator, attributes=encoded, inputs=inputs, outputs=[output])
    )


def test_every_operator_of_onnx_is_counted_or_unknown():
    """An operator that a new ONNX adds is unknown until somebody decides."""
    names = {schema.name for schema in defs.get_all_schemas() if schema.domain == ""}
    counted = {name for domain, name in RULES if domain == ""}

    assert not counted & UNCOUNTED_OPERATORS[""]
    assert names - UNKNOWN <= counted | UNCOUNTED_OPERATORS[""]
    assert not UNKNOWN & (counted | UNCOUNTED_OPERATORS[""])


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "attributes", "expected"),
    [
        ("ConvTranspose", [(1, 32, 16, 16), (32, 16, 4, 4)], (1, 16, 32, 32), {}, 32 * 16 * 16 * 16 * 16),
        ("QLinearConv", [(1, 3, 8, 8), (), (), (4, 3, 3, 3)], (1, 4, 8, 8), {}, 4 * 64 * 27),
        ("LSTM", [(5, 2, 7), (1, 12, 7), (1, 12, 3)], (5, 1, 2, 3), {}, 5 * 2 * (12 * 7 + 12 * 3)),
        ("LSTM", [(5, 2, 7), (2, 12, 7), (2, 12, 3)], (5, 2, 2, 3), {}, 2 * 5 * 2 * (12 * 7 + 12 * 3)),
        ("GRU", [(50, 1, 40), (1, 192, 40), (1, 192, 64)], (50, 1, 1, 64), {}, 50 * (192 * 40 + 192 * 64)),
        ("RNN", [(5, 2, 7), (1, 3, 7), (1, 3, 3)], (5, 1, 2, 3), {}, 5 * 2 * (3 * 7 + 3 * 3)),
        ("Gemm", [(20, 4), (20, 7)], (4, 7), {"transA": 1}, 4 * 7 * 20),
        ("Einsum", [(1, 49, 64), (64, 128)], (1, 49, 128), {"equation": "bnd,de->bne"}, 49 * 64 * 128),
        ("Einsum", [(3, 4), (3, 4)], (3, 4), {"equation": "ij,ij->ij"}, 0),
        ("Einsum", [(3, 4), (4, 5)], (3, 5), {"equation": "ij,jk"}, 3 * 4 * 5),
        ("Einsum", [(3, 4), (4, 5), (5, 6)], (3, 6), {"equation": "ij,jk,kl->il"}, 3 * 4 * 5 + 3 * 5 * 6),
        ("Einsum", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {"equation": "...ij,...jk->...ik"}, None),
        ("Relu", [(1, 8)], (1, 8), {}, 0),
        ("DFT", [(1, 8, 1)], (1, 8, 2), {}, None),
    ],
)
def test_counts_by_hand(operator, inputs, output, attributes, expected):
    """The sums that each output element is, without biases and gates."""
    assert expected == _count(operator, inputs, output, **attributes)


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "attributes", "expected"),
    [
        ("FusedConv", [(1, 8, 32, 32), (16, 8, 3, 3)], (1, 16, 32, 32), {}, 16 * 32 * 32 * 72),
        ("FusedMatMul", [(9, 4), (9, 5)], (4, 5), {"transA": 1}, 4 * 5 * 9),
        ("DynamicQuantizeLSTM", [(5, 2, 7), (1, 7, 12), (1, 3, 12)], (5, 1, 2, 3), {}, 5 * 2 * (12 * 7 + 12 * 3)),
        ("Attention", [(2, 10, 16), (16, 48), (48,)], (2, 10, 16), {"num_heads": 4},
         2 * (10 * 16 * 48 + 2 * 10 * 10 * 16)),
        ("Attention", [(2, 10, 16), (16, 48), (48,), None, (2, 2, 4, 3, 4)], (2, 10, 16), {}, None),
        ("MultiHeadAttention", [(2, 10, 16), (2, 7, 16), (2, 7, 24)], (2, 10, 24), {}, 2 * 10 * 7 * (16 + 24)),
        ("Gelu", [(1, 8)], (1, 8), {}, 0),
        ("GroupQueryAttention", [(1, 8, 8)] * 3, (1, 8, 8), {}, None),
    ],
)  # fmt: skip
def test_counts_of_fused_operators(operator, inputs, output, attributes, expected):
    """Operators that onnxruntime's own tools write."""
    assert expected == _count(operator, inputs, output, domain=MICROSOFT, **attributes)


def test_other_domains_are_unknown():
    """Trees multiply nothing that is a matrix, and an operator of a user's own can do anything."""
    assert _count("TreeEnsembleClassifier", [(1, 8)], (1,), domain="ai.onnx.ml") is None
    assert _count("Relu", [(1, 8)], (1, 8), domain="my.own") is None


@settings(max_examples=20)
@given(SIDES, SIDES, SIDES, SIDES, SIDES, SIDES, st.booleans())
def test_attention_is_its_definition(batch, key_heads, length, keys, size, value_size, flat):
    """ONNX defines Attention as a function of other operators: their counts are its count."""
    heads = 2 * key_heads if flat else key_heads
    wide = [(batch, heads, length, size), (batch, key_heads, keys, size), (batch, key_heads, keys, value_size)]
    shapes = [(b, n, h * s) for b, h, n, s in wide] if flat else wide
    output = (batch, length, heads * value_size) if flat else (batch, heads, length, value_size)
    attributes = {"q_num_heads": heads, "kv_num_heads": key_heads} if flat else {}
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info(*pair) for pair in zip("qkv", [TensorProto.FLOAT] * 3, shapes, strict=True)]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    inlined = inliner.inline_selected_functions(model, [("", "Attention")], inline_schema_functions=True)
    simplified, _ = onnxsim.simplify(inlined)
    expected = batch * heads * length * keys * (size + value_size)

    assert "Attention" not in {inner.op_type for inner in inlined.graph.node}
    assert expected == total_cost(count_graph(model, dict, run_here).layers).mult_adds
    assert expected == total_cost(count_graph(simplified, dict, run_here).layers).mult_adds


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["Einsum", "MatMul"]))
def test_one_product_has_one_count(batch, rows, summed, columns, operator):
    """A matrix product costs the same, whichever operator computes it."""
    inputs, output = [(batch, rows, summed), (batch, summed, columns)], (batch, rows, columns)

    assert prod(output) * summed == _count(operator, inputs, output, equation="bij,bjk->bik")
