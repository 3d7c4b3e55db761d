"""What a worker of its own does with onnxruntime."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from trial_requests import SESSION, trial_request

from mnbench.targets import transport
from mnbench.targets.answers import TrialAnswer
from mnbench.worker.host.facts import peak_rss_bytes
from mnbench.worker.runtimes.onnxruntime import expand_folders

SOURCES = transport._worker_sources()


def small_model(kind=TensorProto.FLOAT):
    """A model with two nodes and an input of that kind."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input"], ["cast"], name="cast", to=TensorProto.FLOAT),
            helper.make_node("Exp", ["cast"], ["output"], name="exp"),
        ],
        "small",
        [helper.make_tensor_value_info("input", kind, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 3, 4, 4))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


FEED = {"input": ("float32", (1, 3, 4, 4), bytes(4 * 48))}

IMPORTED = """

def build():
    import json, sys
    return json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))
"""

ALLOWED = "import sys, json, numpy.random, onnxruntime, execnet.gateway_base; print(json.dumps(sorted(sys.modules)))"


def call(device, changes):
    """The answer of a real worker to a trial of one session."""
    heartbeats = transport.Heartbeats(limit=2)
    return transport.call_worker(
        device, trial_request(SESSION | changes), TrialAnswer, timeout_s=30, heartbeats=heartbeats
    )


def test_the_worker_imports_the_standard_library_numpy_and_its_runtime_alone(make_device, monkeypatch):
    """In a worker there is nothing of mnbench, and no package that numpy and onnxruntime do not bring themselves."""
    name = f"{transport.WORKER_PACKAGE}.runtimes.onnxruntime"
    monkeypatch.setattr(transport, "_worker_sources", lambda: SOURCES | {name: (False, SOURCES[name][1] + IMPORTED)})
    answer = call(make_device(), {"model": small_model(), "inputs": FEED})
    there = set(json.loads(answer.runtime.build))
    bare = subprocess.run([sys.executable, "-c", ALLOWED], capture_output=True, text=True, check=True).stdout
    allowed = {name.partition(".")[0] for name in json.loads(bare)} | set(sys.stdlib_module_names)

    assert {transport.WORKER_PACKAGE} == there - allowed
    assert {"numpy", "onnxruntime"} <= there
    assert "mnbench" not in there


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64, np.int64, np.uint8])
def test_onnxruntime_runs_models_with_inputs_of_many_kinds(make_device, kind):
    """Inputs of floats and of integers are fed as they were sent; every node is placed."""
    image = np.arange(48).reshape(1, 3, 4, 4).astype(kind) / kind(50)
    image = image.astype(kind)
    feed = {"inputs": {"input": (str(image.dtype), image.shape, image.tobytes())}}
    model = small_model(helper.np_dtype_to_tensor_dtype(image.dtype))
    answer = call(make_device(), feed | {"model": model})
    (session,) = answer.sessions
    (output,) = session.outputs

    assert np.allclose(np.exp(image.astype(np.float32)), output, rtol=1e-4)
    assert ["CPUExecutionProvider"] == list(session.placement)
    assert "exp" in session.placement["CPUExecutionProvider"]
    assert [3] * 4 == [values.size for values in answer.runs.values()]


# Memory


def test_peak_memory_is_this_processes_own():
    """A small process started by a large one tells its own memory, not its parent's."""
    ballast = bytearray(300_000_000)
    code = "from mnbench.worker.host.facts import peak_rss_bytes; print(peak_rss_bytes())"
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert 1_000_000 < int(message) < len(ballast)
    assert peak_rss_bytes() > len(ballast)


# onnxruntime's sessions


def test_folders_at_home_are_made_on_the_device(tmp_path, monkeypatch):
    """Options that name one below `~/` get its full path; others stay."""
    monkeypatch.setenv("HOME", str(tmp_path))
    supplied = {"trt_engine_cache_path": "~/.cache/engines", "trt_engine_cache_enable": "1", "file": "/~/not/home"}

    assert supplied | {"trt_engine_cache_path": str(tmp_path / ".cache/engines")} == expand_folders(supplied)
    assert (tmp_path / ".cache/engines").is_dir()


def test_bound_memory_lives_as_long_as_its_session(tmp_path, monkeypatch):
    """Onnxruntime reads arrays that it does not own: none of them is freed while the session may run."""
    import gc
    import weakref

    import onnx
    import onnxruntime

    from mnbench.worker.runtimes import SessionSettings
    from mnbench.worker.runtimes.onnxruntime import Session

    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "relu",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "relu.onnx")
    arrays = []
    real = onnxruntime.OrtValue.ortvalue_from_numpy

    def watched(array, *where):
        arrays.append(weakref.ref(array))
        return real(array, *where)

    def bound(binding, name, value):
        """As onnxruntime 1.26 does it, which keeps nothing."""
        binding._iobinding.bind_ortvalue_input(name, value._ortvalue)

    monkeypatch.setattr("onnxruntime.OrtValue.ortvalue_from_numpy", watched)
    monkeypatch.setattr("onnxruntime.IOBinding.bind_ortvalue_input", bound)
    inputs = {"x": np.array([-1, 2], np.float32)}
    session = Session(str(tmp_path / "relu.onnx"), SessionSettings(inputs, "CPUExecutionProvider", {}, 1, {}))
    del inputs
    gc.collect()
    session.run()

    assert [True] == [array() is not None for array in arrays]
    assert [0, 2] == session.outputs()[0].tolist()
