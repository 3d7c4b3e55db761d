"""Every runtime that makes an environment of its own, for real: measured, placed, compared, and refused in one line."""

# ruff: noqa: SIM300  expected == actual

import json
import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
from common import ONCE
from sshd import SSHD, Board

from mnbench.targets import ssh
from mnbench.targets.build_once import is_built
from mnbench.targets.device import read_device
from mnbench.targets.environments import environment_path
from mnbench.workspace import built_in, cache_folder

pytestmark = pytest.mark.slow

SMALL = ("--alpha", "0.25", "--res", "64")
CACHE = cache_folder()
RUNTIMES = {path.stem: read_device(path.stem).runtime for path in built_in("devices").glob("*.toml")}
DEVICES = sorted(name for name, runtime in RUNTIMES.items() if runtime != "onnxruntime")
CONVERTING = {"executorch", "iree", "litert", "mnn", "ncnn", "tvm"}

ROOT = Path(__file__).parents[2]

SCALES = """
import json, sys
from pathlib import Path
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from mnbench.worker.runtimes.litert import convert
image = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
details = Interpreter(model_content=convert(Path(sys.argv[1]).read_bytes(), {"input": image})).get_tensor_details()
scales = [entry["quantization_parameters"]["scales"] for entry in details if np.int8 == entry["dtype"]]
print(json.dumps(sorted({float(scale[0]) for scale in scales if 1 == len(scale)})))
"""
"""Prints the scales of the int8 tensors of a converted model that have one."""


@pytest.fixture(autouse=True)
def real_cache(monkeypatch):
    """The environments that were made for this user are there."""
    monkeypatch.setenv("MNBENCH_CACHE", str(CACHE))


def environment_of(device):
    """The folder of a device's environment; the test is skipped if it was not made."""
    path = environment_path(read_device(device))
    if not is_built(path):
        pytest.skip(f"no environment for {device} here: mnbench devices setup")
    return path


@pytest.fixture
def on_device(invoke, monkeypatch):
    """Run a command on a device whose environment `make runtimes` has made."""
    monkeypatch.setenv("MNBENCH_TRUST", "1")

    def run(device, *words):
        if read_device(device).requires:
            environment_of(device)
        if read_device(device).options.get("program") == "chromium" and not shutil.which("chromium"):
            pytest.skip("no Chromium here: .ci/browser installs it")
        return invoke(*words, "--device", device, "--format", "json")

    return run


def extend(workspace, base, *, name="mine", text=""):
    """Write a device file that extends another."""
    (workspace / "devices").mkdir(exist_ok=True)
    path = workspace / "devices" / f"{name}.toml"
    path.write_text(f'extends = "{base}"\nname = "{name}"\nsummary = ""\n{text}\n', encoding="utf-8")
    return name


def record_of(result):
    """The one record of a run that has succeeded."""
    assert 0 == result.exit_code, result.stderr
    (record,) = json.loads(result.stdout)["records"]
    return record


@pytest.mark.parametrize("device", DEVICES)
def test_a_runtime_measures_a_network_and_agrees(on_device, device):
    """Latency, equal outputs, every node where the device says, the conversion's time, version, build and library."""
    record = record_of(on_device(device, "run", "v1", *SMALL, *ONCE, "--no-roofline"))

    assert 0 < record["latency_ns"]["median"]
    assert record["difference"] < (read_device(device).tolerance or 1e-4)
    assert (None if device == "ort-webgpu" else 1) == record["placement"]["nodes"]
    assert (device in CONVERTING) == (record["conversion_ns"] is not None)
    assert all(record["runtime"][key] for key in ("version", "build", "library_sha256"))
    assert 1 == record["threads"]
    assert ("µs" in record["runtime"]["build"]) == device.startswith("ort-")


@pytest.mark.parametrize("device", sorted({*DEVICES} - {"ort-webgpu", "tract"}))
def test_threads_are_those_of_the_device_file(on_device, workspace, device):
    """Two threads compute the same."""
    name = extend(workspace, device, text="threads = 2")
    record = record_of(on_device(name, "run", "v1", *SMALL, *ONCE, "--no-roofline"))

    assert 2 == record["threads"]
    assert record["difference"] < 0.005


@pytest.mark.parametrize(
    ("device", "text", "reason"),
    [
        ("tract", "threads = 2", "tract's Python package runs on 1 thread, not on 2"),
        ("opencv", '[options]\nengine = "old"', "OpenCV has no engine OLD: AUTO, NEW, CLASSIC"),
        ("opencv", '[options]\nx = "1"', "OpenCV has no option 'x': engine"),
        ("iree", '[options]\nx = "1"', "IREE has no option 'x'"),
        ("tvm", 'provider = "GPU"', "mnbench runs TVM only on the provider CPU, not on GPU"),
        ("litert", 'provider = "GPU"', "mnbench runs LiteRT only on the provider XNNPACK or CPU, not on GPU"),
        ("ort-web", '[options]\nprogram = "deno"', "onnxruntime-web runs in node or chromium, not in deno"),
    ],
)
def test_what_means_nothing_to_a_runtime_is_refused(on_device, workspace, device, text, reason):
    """One line says what the runtime takes."""
    result = on_device(extend(workspace, device, text=text), "run", "v1", *SMALL, *ONCE, "--no-roofline")

    assert 1 == result.exit_code
    assert reason in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("device", "precision", "reason"),
    [
        ("tract", "fp16", '"fc"'),
        ("iree", "fp16", "OnnxImportError: Unhandled ONNX TensorProto data"),
        ("ncnn", "fp16", "ncnn has no layer Tensor.to, which pnnx makes of node `Tensor.to_0`"),
        ("ncnn", "int8", "ncnn has no layer pnnx.Expression"),
        (
            "executorch",
            "int8",
            "NotImplementedError: node '_v_226_DequantizeLinear': Converter is not implemented (OperationDescription(",
        ),
    ],
)
def test_a_graph_that_a_runtime_refuses_has_the_runtimes_reason(on_device, device, precision, reason):
    """It is one line of the record, and names the node where the runtime does."""
    result = on_device(device, "run", "v1", *SMALL, "--precision", precision, *ONCE, "--no-roofline")
    (record,) = json.loads(result.stdout)["records"]

    assert 1 == result.exit_code
    assert reason in record["error"]
    assert "\n" not in record["error"]


def test_openvino_computes_in_the_precision_that_is_asked_for(on_device, workspace):
    """A processor without bfloat16 would compute in fp32 and say nothing."""
    name = extend(workspace, "openvino", text='tolerance = 0.1\n[options]\nINFERENCE_PRECISION_HINT = "bf16"')
    result = on_device(name, "run", "v1", *SMALL, *ONCE, "--no-roofline")
    (record,) = json.loads(result.stdout)["records"]
    has_bfloat16 = any(
        flag in Path("/proc/cpuinfo").read_text(encoding="utf-8") for flag in ("avx512_bf16", "amx_bf16")
    )

    assert (0 if has_bfloat16 else 1) == result.exit_code
    assert has_bfloat16 or "computes in f32 on this processor, and bf16 was asked for" in record["error"]


def test_a_compilers_error_names_the_node(on_device):
    """IREE's compiler refuses V1's last maps of 1 × 1."""
    result = on_device("iree", "run", "v1", "--alpha", "0.25", "--res", "32", *ONCE, "--no-roofline")
    (record,) = json.loads(result.stdout)["records"]

    assert "node `separable12/depthwise/conv`: cannot be converted (exit code 1): model.mlir:" in record["error"]
    assert "inferred input/output operand" in record["error"]


def test_nodes_that_the_delegate_left_are_named(on_device):
    """XNNPACK has no hard sigmoid, so LiteRT's own kernels compute it: an error unless it is allowed."""
    words = ("run", "v3-small", "--alpha", "0.5", "--res", "32", *ONCE, "--no-roofline")
    refused = on_device("litert", *words)
    record = record_of(on_device("litert", *words, "--allow-fallback"))

    assert 1 == refused.exit_code
    assert "on CPU" in json.loads(refused.stdout)["records"][0]["error"]
    assert 0.9 < record["placement"]["nodes"] < 1


def test_executorch_lowers_squeeze_and_excitation_to_xnnpack(on_device):
    """V3 is one graph of it; a channel shuffle is not."""
    whole, split = (
        record_of(on_device("executorch", "run", graph, *SMALL, *ONCE, "--no-roofline", "--allow-fallback"))
        for graph in ("v3-small", "shufflenet-v2")
    )
    assert 1 == whole["placement"]["nodes"]
    assert 0 < split["placement"]["nodes"] < 1


@pytest.mark.parametrize("graph", ["v1", "v3-small", "shufflenet-v1"])
def test_litert_computes_in_int8(on_device, graph):
    """It is near the graph's own definition, or the run would fail; what the graph does not quantize stays float."""
    words = ("run", graph, "--alpha", "0.25", "--res", "96", "--precision", "int8", *ONCE, "--no-roofline")
    record = record_of(on_device("litert", *words, "--allow-fallback"))

    assert 1e-4 < record["difference"] < 0.5
    assert ("v1" == graph) == (1 == record["placement"]["nodes"])


def test_litert_has_the_ranges_of_the_quantized_graph(invoke, tmp_path):
    """Each scale of the graph's activations is one of the file's int8 tensors, and no other."""
    path = tmp_path / "model.onnx"
    assert 0 == invoke("build", "v2", *SMALL, "--precision", "int8", "-o", str(path)).exit_code
    graph = onnx.load(path).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scales = {float(values[node.input[1]]) for node in graph.node if "QuantizeLinear" == node.op_type}
    python = environment_of("litert") / "bin/python"
    done = subprocess.run([python, "-c", SCALES, path], env={"PYTHONPATH": ROOT}, check=True, capture_output=True)

    assert pytest.approx(sorted(scales)) == json.loads(done.stdout)


def test_litert_computes_without_its_delegate(on_device, workspace):
    """The provider CPU means LiteRT's own kernels, and every node is there."""
    name = extend(workspace, "litert", text='provider = "CPU"')
    record = record_of(on_device(name, "run", "v3-small", "--alpha", "0.5", "--res", "32", *ONCE, "--no-roofline"))

    assert 1 == record["placement"]["nodes"]


@pytest.mark.skipif(SSHD is None, reason="there is no sshd: .ci/sshd installs it")
@pytest.mark.parametrize("device", ["litert", "ort-web"])
def test_a_runtime_is_measured_over_ssh(on_device, workspace, tmp_path, device):
    """A board needs the packages and nothing of mnbench; nothing of its worker is left there."""
    folder = environment_path(read_device(device))
    if not is_built(folder):
        pytest.skip(f"no environment for {device} here: mnbench devices setup")
    (tmp_path / "board").mkdir()
    board = Board(tmp_path / "board")
    try:
        gateway = board.gateway(python=folder / "bin/python")
        text = f'gateway = "{gateway}"\nrequires = []\nrequires_no_deps = []\nrequires_npm = []'
        record = record_of(on_device(extend(workspace, device, text=text), "run", "v1", *SMALL, *ONCE, "--no-roofline"))
        ssh.close_all()
    finally:
        board.stop()

    assert 0 < record["latency_ns"]["median"]
    assert record["difference"] < 1e-4
