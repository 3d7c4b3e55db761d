"""Counts of the cases that ONNX tests its backends with, against the kernels that onnxruntime runs for them."""

import json
import warnings
from math import prod
from pathlib import Path
from random import Random

import onnxruntime
import pytest
from onnx.backend.test.case.node import collect_testcases

from mnbench.model.counting import count_graph
from mnbench.network.cost_tables import Costs

SAMPLE = 600
"""Cases of the some 1,900; all of them take three times as long."""

PRODUCTS = {
    "Conv": lambda inputs, output: prod(output) * prod(inputs[1][1:]),
    "ConvInteger": lambda inputs, output: prod(output) * prod(inputs[1][1:]),
    "ConvTranspose": lambda inputs, _: prod(inputs[0]) * prod(inputs[1][1:]),
    "Gemm": lambda inputs, output: prod(inputs[0]) * output[-1],
    "MatMul": lambda inputs, output: prod(output) * inputs[0][-1],
    "MatMulInteger": lambda inputs, output: prod(output) * inputs[0][-1],
}
"""The Mult-Adds of kernels, by the shapes that they read and write."""


def _kernel_mult_adds(model, feed, folder):
    """Return the Mult-Adds of the kernels of one run; None if this onnxruntime does not run the model."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling, options.log_severity_level = True, 4
    options.profile_file_prefix = str(folder / "profile")
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(None, feed)
    except Exception:  # noqa: BLE001  it raises what it likes
        return None
    total = 0
    for event in json.loads(Path(session.end_profiling()).read_text()):
        facts = event["args"]
        if event["name"].endswith("_kernel_time") and facts.get("op_name") in PRODUCTS:
            inputs = [tuple(*entry.values()) for entry in facts["input_type_shape"]]
            outputs = [tuple(*entry.values()) for entry in facts["output_type_shape"]]
            total += PRODUCTS[facts["op_name"]](inputs, outputs[0])
    return total


@pytest.mark.slow
def test_no_case_of_onnx_is_counted_too_small(tmp_path):
    """Every case is counted or unknown, never an exception, and no count is smaller than its kernels' products."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its expected outputs overflow on purpose
        cases = [case for case in collect_testcases(None) if case.data_sets]
    known = 0
    for case in Random(0).sample(cases, SAMPLE):
        names = [value.name for value in case.model.graph.input]
        feed = dict(zip(names, case.data_sets[0][0], strict=False))
        if any(isinstance(value, list) for value in feed.values()):
            continue  # inputs that are sequences cannot be given
        counted = count_graph(case.model, lambda feed=feed: feed)
        costs = Costs(name=case.name, resolution=None, layers=counted.layers, notes=counted.notes)
        least = _kernel_mult_adds(case.model, feed, tmp_path)
        known += costs.mult_adds is not None

        assert str(costs), case.name
        assert None not in (costs.mult_adds, costs.memory_access) or counted.notes, case.name
        assert costs.mult_adds is None or costs.mult_adds >= (least or 0), case.name
    assert known > 0.8 * SAMPLE
