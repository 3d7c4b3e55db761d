"""Benchmark cases from built models: what a record says of how a graph was built."""

import numpy as np
import pytest

from mnbench.bench.prepare import prepare_case
from mnbench.families import parse_variant
from mnbench.model.build import build_model


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["v1-a0.25-r32", "nasnet-mobile-a1-r96", "condensenet-c8-a1-r96"])
@pytest.mark.parametrize(
    ("form", "simplified", "folded"),
    [({}, True, True), ({"keep_bn": True}, True, False), ({"simplified": False}, False, True)],
)
def test_a_case_says_whether_batch_normalization_was_folded(variant, form, simplified, folded, tmp_path):
    """NASNet and CondenseNet keep the ones that read a concatenation, which is no wish of the user."""
    case = prepare_case(build_model(parse_variant(variant), **form), tmp_path, variant=variant, seed=0)
    assert (simplified, folded) == (case.simplified, case.fold_batch_norm)


def test_a_plain_graph_in_int8_has_its_reference(tmp_path):
    """The quantizer moves the weights of the graph that it is passed out of it, so it gets a copy."""
    variant = "v1-a0.25-r32-int8"
    case = prepare_case(build_model(parse_variant(variant), simplified=False), tmp_path, variant=variant, seed=0)
    assert not case.simplified


def test_a_quantized_graph_has_outputs_for_inputs_that_moved(tmp_path):
    """They differ from its own, which rounding alone does to a right runtime."""
    variant = "v1-a0.25-r32-int8"
    case = prepare_case(build_model(parse_variant(variant)), tmp_path, variant=variant, seed=0)
    arrays = np.load(case.inputs_path)

    assert arrays["own.0"].shape == arrays["moved.0"].shape
    assert np.abs(arrays["own.0"] - arrays["moved.0"]).max() > 0
