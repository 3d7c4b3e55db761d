"""Models for runtimes that do not read ONNX, and the runtimes themselves in environments of their own."""

# ruff: noqa: SIM300  expected == actual

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from common import SMALL

from mnbench.bench.request import convert_model
from mnbench.errors import TrialError
from mnbench.targets.runtimes import runtime_facts
from mnbench.worker.requests.convert import handle
from mnbench.worker.runtimes import Refused, as_file, run_converter
from mnbench.worker.serve import serve


class Converter:
    """Stands in for a worker that converts."""

    def __init__(self):
        self.requests = []

    def __call__(self, device, request, answer, *, timeout_s):
        self.requests.append((device.gateway, request["kind"], request["runtime"], timeout_s))
        return answer(model=b"converted " + Path(request["model"]).read_bytes(), duration_ns=12_345)


@pytest.fixture
def converter(monkeypatch):
    """Conversions without a process."""
    stand_in = Converter()
    monkeypatch.setattr("mnbench.bench.request.call_worker", stand_in)
    return stand_in


def test_runtimes_that_read_onnx_convert_nothing(make_device, make_cell, converter):
    """The model's own file is what they read, and no conversion is told."""
    cell = make_cell()

    assert (cell.path, None) == convert_model(make_device(runtime="openvino"), cell)
    assert [] == converter.requests
    assert {"mnn": False, "ncnn": False, "onnxruntime": True, "openvino": True} == {
        name: runtime_facts(name).reads_onnx for name in ("mnn", "ncnn", "onnxruntime", "openvino")
    }


def test_a_model_is_converted_once(make_device, make_cell, converter):
    """Every process of an environment reads the one conversion; another environment makes its own."""
    cell, device = make_cell(data=b"graph"), make_device(runtime="ncnn")
    converted_models = [convert_model(device, cell) for _ in range(3)]
    other = convert_model(make_device(runtime="ncnn", gateway=f"popen//python={sys.executable}"), cell)

    assert 2 == len(converter.requests)
    assert ("popen", "convert", "ncnn") == converter.requests[0][:3]
    assert [12_345] * 3 == [converted_model.conversion_ns for converted_model in converted_models]
    assert b"converted graph" == converted_models[0].path.read_bytes()
    assert b"graph" == cell.path.read_bytes()
    assert other.path != converted_models[0].path


def test_a_conversion_that_fails_says_for_which_runtime(make_device, make_cell, monkeypatch):
    """Nothing is kept of it."""

    def fail(*_, **__):
        raise TrialError("the worker was killed by SIGSEGV", hint="look")

    monkeypatch.setattr("mnbench.bench.request.call_worker", fail)
    cell = make_cell()
    with pytest.raises(TrialError, match="not converted for mnn: the worker was killed by SIGSEGV"):
        convert_model(make_device(runtime="mnn"), cell)
    assert {cell.path, cell.inputs_path} == set(cell.path.parent.glob(f"{cell.path.stem}*"))


def test_the_worker_converts_with_the_model_and_its_inputs(monkeypatch):
    """The runtime's `convert` gets both; what it makes comes back with its time."""

    class Runtime:
        @staticmethod
        def convert(model, inputs):
            return model + str(inputs["x"].shape).encode()

    monkeypatch.setattr("mnbench.worker.requests.convert.load_runtime", lambda _: Runtime)
    entries = handle({"model": b"m", "inputs": {"x": ("float32", (1, 2), bytes(8))}}, None)

    assert b"m(1, 2)" == entries["model"]
    assert entries["duration_ns"] >= 0


# Converters' programs


def program(code):
    """A command that runs Python."""
    return [sys.executable, "-c", code]


def test_a_converter_that_works_gives_its_file(tmp_path):
    """What it prints is of no interest."""
    built = tmp_path / "made"

    assert b"x" == run_converter(program(f"print('hello'); open({str(built)!r}, 'w').write('x')"), built)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('fine')", r"cannot be converted \(exit code 0\): fine"),
        ("print('Error: no such operator\\nbye'); raise SystemExit(3)", r"\(exit code 3\): Error: no such operator"),
        ("", "no output"),
        ("import os; os.abort()", r"\(exit code -6\)"),
    ],
    ids=["makes nothing", "fails", "silent", "crashes"],
)
def test_a_converter_that_fails_has_one_line(tmp_path, code, message):
    """A converter that makes no file, fails or crashes costs the model, with what it said."""
    with pytest.raises(Refused, match=message):
        run_converter(program(code), tmp_path / "made")


def test_a_converter_that_hangs_is_ended(tmp_path, monkeypatch):
    """It has its time, and no more."""
    monkeypatch.setattr("mnbench.worker.runtimes.CONVERTER_S", 0.2)

    with pytest.raises(Refused, match="did not finish within"):
        run_converter(program("import time; time.sleep(60)"), tmp_path / "made")


def test_a_model_in_memory_is_a_file_for_a_while(tmp_path):
    """A model's own file is used as it is; bytes get one that is gone afterwards."""
    model_path = tmp_path / "model"
    model_path.write_bytes(b"own")
    with as_file(str(model_path)) as same, as_file(b"bytes") as other:
        assert (model_path, b"bytes") == (same, other.read_bytes())

    assert model_path.exists()
    assert not other.exists()


class Channel:
    """The worker's end of a channel."""

    def __init__(self, request):
        self.request = request
        self.sent = []

    def receive(self):
        return self.request

    def send(self, message):
        self.sent.append(message)


def test_what_a_runtime_refuses_is_told_in_its_own_words(monkeypatch):
    """No name of a class stands before it, and it is no missing runtime."""

    def refuse(*_):
        raise Refused("one image at a time")

    monkeypatch.setattr("mnbench.worker.requests.convert.load_runtime", refuse)
    channel = Channel({"kind": "convert"})
    serve(channel)

    assert [{"error": "one image at a time", "unavailable": None}] == channel.sent


def test_a_runtime_that_tells_no_layers_refuses_a_profile(monkeypatch):
    """The line names the runtime."""

    class Runtime:
        class Session:
            pass

    monkeypatch.setattr("mnbench.worker.requests.layer_profile.load_runtime", lambda _: Runtime)
    channel = Channel({"kind": "layer_profile", "runtime": "ncnn", "cores": []})
    serve(channel)

    assert ["ncnn cannot be profiled"] == [message["error"] for message in channel.sent]


# The runtimes themselves


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Environments, made once for this file."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def real(invoke, cache):
    """A command whose environments are real ones."""
    return lambda *words: invoke(*words, env={"MNBENCH_CACHE": str(cache)})


@pytest.mark.slow
def test_other_runtimes_measure_the_same_graphs(real):
    """From nothing: environments, conversions, rounds; outputs, placement and versions are proved in every record."""
    devices = ("cpu", "openvino", "ncnn", "mnn")
    graphs = ("v1", "v3-small", "shufflenet-v1")
    quick = ("--processes", "2", "--duration", "0.02", "--precision-target", "99%", "--profile", "--format", "json")
    result = real("run", *graphs, *SMALL, *quick, "--device", ",".join(devices))
    payload = json.loads(result.stdout)
    records, profiles = payload["records"], payload["profiles"]

    assert 0 == result.exit_code, result.stderr
    assert {(name, device) for name in graphs for device in devices} == {
        (record["architecture"], record["device"]) for record in records
    }
    for record in records:
        converted = record["device"] in {"ncnn", "mnn"}
        assert (1.0, 1.0) == tuple(record["placement"].values())
        assert record["difference"] < 1e-3
        assert record["runtime"]["version"][0].isdigit()
        assert 64 == len(record["runtime"]["library_sha256"])
        assert converted is (record["conversion_ns"] is not None)
    assert {"cpu", "openvino", "mnn"} == {profile["device"] for profile in profiles}
    assert "ncnn cannot be profiled" in result.stderr
    for profile in profiles:
        timed = [layer for layer in profile["layers"] if layer["duration_ns"] is not None and layer["mult_adds"]]
        assert len(timed) > 0.9 * sum(bool(layer["mult_adds"]) for layer in profile["layers"]), profile["device"]
    _refusals(real)


def _refusals(real):
    """What these runtimes do not take has its line, in the environments that are there."""
    batch = real("run", "v1", *SMALL, "--batch", "2", "--processes", "1", "--device", "ncnn", "--format", "json")
    (record,) = json.loads(batch.stdout)["records"]
    probe = json.loads(real("devices", "probe", "ncnn", "--format", "json").stdout)

    assert 1 == batch.exit_code
    assert "not converted for ncnn: ncnn takes one image at a time: --batch 1" == record["error"]
    assert ["CPU"] == list(probe["placement"])
    assert np.isfinite(probe["difference"])
    assert "ready" in next(line for line in real("devices").stdout.splitlines() if line.startswith("mnn "))
