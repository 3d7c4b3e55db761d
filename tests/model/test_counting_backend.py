"""The cases that ONNX tests its backends with: counts against onnxruntime's kernels, and runs of a worker's session."""

import json
import warnings
from math import prod
from pathlib import Path
from random import Random

import onnxruntime
import pytest
from common import run_here
from onnx.backend.test.case.node import collect_testcases

from mnbench.model.counting import count_graph
from mnbench.network.cost_tables import Costs
from mnbench.worker.runtimes import onnxruntime as runtime
from mnbench.worker.session import open_session, pack_value
from mnbench.worker.timing import time_runs

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


def _run_plainly(model, feed, folder):
    """Return the Mult-Adds of the kernels of one run, and the outputs; None if onnxruntime does not run the model."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling, options.log_severity_level = True, 4
    options.profile_file_prefix = str(folder / "profile")
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, feed)
    except Exception:  # noqa: BLE001  it raises what it likes
        return None
    total = 0
    for event in json.loads(Path(session.end_profiling()).read_text()):
        facts = event["args"]
        if event["name"].endswith("_kernel_time") and facts.get("op_name") in PRODUCTS:
            inputs = [tuple(*entry.values()) for entry in facts["input_type_shape"]]
            shapes = [tuple(*entry.values()) for entry in facts["output_type_shape"]]
            total += PRODUCTS[facts["op_name"]](inputs, shapes[0])
    return total, outputs


def _measure(model, feed):
    """Return the latencies of two runs of a worker's session, and its outputs as its message holds them."""
    request = {
        "model": model.SerializeToString(),
        "inputs": {name: pack_value(array) for name, array in feed.items()},
        "provider": "CPUExecutionProvider",
        "provider_options": {},
        "threads": 1,
        "options": {},
    }
    session = open_session(runtime, request, cores=1).session
    timings = time_runs(session.run, min_runs=2, min_duration_ns=0)
    return timings.latencies_ns, [pack_value(value) for value in session.outputs()]


def _describe(packed):
    """Return an output's type and shape; None if it is not an array."""
    return packed and packed[:2]


@pytest.mark.slow
def test_the_cases_of_onnx(tmp_path):
    """Every case is counted or unknown, and measured wherever onnxruntime runs it, never an exception.

    No count is smaller than the kernels' products, and a session's outputs have the types and shapes of a plain run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its expected outputs overflow on purpose
        cases = [case for case in collect_testcases(None) if case.data_sets]
    known = measured = 0
    for case in Random(0).sample(cases, SAMPLE):
        names = [value.name for value in case.model.graph.input]
        feed = dict(zip(names, case.data_sets[0][0], strict=False))
        if any(isinstance(value, list) for value in feed.values()):
            continue  # inputs that are sequences cannot be given
        counted = count_graph(case.model, lambda feed=feed: feed, run_here)
        costs = Costs(name=case.name, resolution=None, layers=counted.layers, notes=counted.notes)
        plain = _run_plainly(case.model, feed, tmp_path)
        known += costs.mult_adds is not None

        assert str(costs), case.name
        assert None not in (costs.mult_adds, costs.memory_access) or counted.notes, case.name
        if plain is None:
            continue
        least, outputs = plain
        latencies_ns, packed = _measure(case.model, feed)
        measured += min(latencies_ns) > 0

        assert costs.mult_adds is None or costs.mult_adds >= least, case.name
        assert [*map(_describe, packed)] == [_describe(pack_value(value)) for value in outputs], case.name
    assert known > 0.8 * SAMPLE
    assert measured > 0.7 * SAMPLE
