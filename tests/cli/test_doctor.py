"""`mnbench doctor`: what it prints, and of a real machine."""

# ruff: noqa: SIM300  expected == actual

import json
import re

import pytest
from hosts import QUIET, QUIET_GPU, REST, after

from mnbench.bench.plan import SamplingConfig
from mnbench.errors import TrialError
from mnbench.targets.answers import decode_answer
from mnbench.worker.requests.host_facts import handle as examine
from mnbench.workspace import built_in

# The command


@pytest.fixture
def watched(monkeypatch):
    """Workers' looks at a machine without starting any: this process looks, with what the test changes."""
    requests = []

    def ask(device, request, answer, *, timeout_s):
        requests.append((device.name, request, timeout_s))
        reported = examine(request | {"rest_s": 0}, None)
        changes = {
            "facts": QUIET | ask.facts,
            "before": REST,
            "conditions": after() | {"at_ns": REST["at_ns"] + 10**9 * len(requests)},
            "gpu": ask.gpu,
        }
        return decode_answer(f"device {device.name}", reported | changes, answer)

    ask.facts, ask.gpu, ask.requests = {}, None, requests
    monkeypatch.setattr("mnbench.hosts.host_facts.call_worker", ask)
    return ask


SHAPE = {"device", "runtime", "facts", "conditions", "gpu", "noise_sources", "noise", "noise_missing"}


def test_a_quick_look_measures_nothing(invoke, watched, fake_worker):
    """`--quick` asks for facts alone, and says that there is no noise."""
    result = invoke("doctor", "--quick", "--format", "json")
    reported = json.loads(result.stdout)

    assert (0, "") == (result.exit_code, result.stderr)
    assert set(reported) == SHAPE
    assert QUIET == reported["facts"]
    assert [] == reported["noise_sources"]
    assert (None, "it was not requested") == (reported["noise"], reported["noise_missing"])
    assert [] == fake_worker.requests
    assert ["host_facts"] == [request["kind"] for _, request, _ in watched.requests]


def test_disturbances_are_told_with_what_mends_them(invoke, watched):
    """A person sees the severity, the name, what was found and the command on a line of its own."""
    watched.facts = {"governor": "powersave", "virtual": True, "hypervisor": "QEMU"}
    lines = invoke("doctor", "--quick").stdout.splitlines()

    assert "    echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor" in lines
    severities = [line.split()[0] for line in lines if line.startswith(("disturbs", "good to know"))]
    assert ["disturbs", "good"] == severities
    assert any("a virtual machine (QEMU)" in line for line in lines)


def test_a_quiet_machine_is_told_so(invoke, watched):  # noqa: ARG001  what it would ask
    """Where nothing disturbs, that is said."""
    assert "no noise source was found" in invoke("doctor", "--quick").stdout


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_facts_fit_the_terminal(invoke, watched, columns):
    """On a terminal no line of facts is longer than it; long values are wrapped."""
    many = [f"avx512_{index}feature" for index in range(12)] + ["amx_bf16", "amx_int8", "amx_tile", "avx2"]
    watched.facts = {"cpu_flags": many, "product": "A Very Long Vendor Incorporated " * 5}
    env = {"COLUMNS": str(columns), "TTY_COMPATIBLE": "1", "TERM": "dumb"}
    text = re.sub(r"\x1b\[[0-9;]*m", "", invoke("doctor", "--quick", env=env).stdout)
    assert max(map(len, text.splitlines())) <= columns
    assert "avx512_11feature, amx_bf16, amx_int8, amx_tile, avx2" in " ".join(text.split())


@pytest.mark.parametrize("key", sorted(QUIET.keys() - {"cpu", "system", "kernel", "python", "machine"}))
def test_facts_that_are_missing_are_left_out(invoke, watched, key):
    """What a host does not tell is not printed as None."""
    empty = {"caches": [], "cpu_flags": [], "core_kinds": {}, "cores": 1, "allowed_cpus": "0"}
    watched.facts = {key: empty.get(key)}
    result = invoke("doctor", "--quick")

    assert 0 == result.exit_code
    assert "None" not in result.stdout


@pytest.mark.slow
def test_noise_is_measured_on_both_models(invoke, watched, fake_worker):
    """Without `--quick` twelve processes measure both models, and the host is looked at once more afterwards."""
    result = invoke("doctor", "--format", "json")
    reported = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert [2] * 12 == [len(request["sessions"]) for _, request, _ in fake_worker.requests]
    assert ["v1-a0.25-r96", "v1-a0.5-r224"] == [item["variant"] for item in reported["noise"]["models"]]
    assert {1.0} == {item["ratio"] for item in reported["noise"]["models"]}
    assert "mean nothing" in reported["noise"]["sentence"]
    assert reported["noise_missing"] is None
    assert [1.0, 0] == [request["rest_s"] for _, request, _ in watched.requests]
    assert REST["at_ns"] + 2 * 10**9 == reported["conditions"]["at_ns"]


def test_noise_is_told_in_a_sentence(invoke, watched, fake_worker):  # noqa: ARG001  no real worker
    """A person reads the table of noise and what it means for two tables."""
    result = invoke("doctor", env={"COLUMNS": "80", "TTY_COMPATIBLE": "1", "TERM": "dumb"})

    assert "noise: A against A" in result.stdout
    assert "no room" not in result.stdout
    assert "v1-a0.5-r224" in result.stdout
    assert "Two runs of the same model differ here by about 0.0%" in result.stdout


@pytest.mark.slow
def test_noise_that_cannot_be_measured_is_no_error(invoke, watched, fake_worker):
    """A worker that fails costs the noise; facts are told, with the reason."""

    def fail():
        raise TrialError("the worker was killed by SIGKILL", hint="run the cell alone")

    fake_worker.changes["first_run_ns"] = fail
    reported = json.loads(invoke("doctor", "--format", "json").stdout)

    assert reported["noise"] is None
    assert "the worker was killed by SIGKILL (run the cell alone)" == reported["noise_missing"]
    assert QUIET == reported["facts"]
    assert "noise was not measured: the worker was killed by SIGKILL" in invoke("doctor").stdout
    assert {request["rest_s"] for _, request, _ in watched.requests} == {1.0}


def test_a_gpu_is_looked_at_where_it_is_used(invoke, watched, workspace):
    """Only the profile of a GPU asks for it; what it tells is shown."""
    profile = built_in("devices").joinpath("cpu.toml").read_text().replace("CPUExec", "CUDAExec")
    (workspace / "devices").mkdir()
    (workspace / "devices" / "gpu.toml").write_text(profile.replace('"cpu"', '"gpu"'))
    watched.gpu = QUIET_GPU
    text = invoke("doctor", "--device", "gpu", "--quick").stdout
    invoke("doctor", "--quick")

    assert [True, False] == [request["gpu"] for _, request, _ in watched.requests]
    shown = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in text.splitlines() if line.startswith("GPU "))
    assert {
        "GPU name": "NVIDIA H100",
        "GPU SM clock max": "1.98 GHz",
        "GPU power limit": "700 W",
    }.items() <= shown.items()
    assert "39 °C" == shown["GPU temperature"]


def test_an_unknown_device_is_an_error(invoke):
    """The name is refused, with those that are known."""
    result = invoke("doctor", "--device", "nonsense")

    assert 1 == result.exit_code
    assert "Error: " in result.stderr
    assert "Hint: " in result.stderr


# For real


def test_a_device_that_cannot_be_reached_is_an_error(invoke, workspace):
    """Without a worker there are no facts: an error, and a hint."""
    (workspace / "devices").mkdir()
    text = built_in("devices").joinpath("cpu.toml").read_text().replace('"popen"', '"popen//python=/no/python"')
    (workspace / "devices" / "cpu.toml").write_text(text)
    result = invoke("doctor", "--quick", "--trust")

    assert (1, "") == (result.exit_code, result.stdout)
    assert "\nError: device cpu: " in result.stderr


@pytest.mark.slow
def test_this_machine_is_looked_at_by_a_real_worker(invoke):
    """Facts and conditions come through the gateway, from a process of the device."""
    result = invoke("doctor", "--quick", "--format", "json")
    reported = json.loads(result.stdout)

    assert (0, "") == (result.exit_code, result.stderr)
    assert reported["facts"]["cpu"]
    assert reported["runtime"]["version"]
    assert reported["conditions"]["process_cpu_s"] > 0
    assert all(set(item) == {"name", "severity", "evidence", "fix"} for item in reported["noise_sources"])
    assert {item["severity"] for item in reported["noise_sources"]} <= {"disturbs", "good to know"}


@pytest.mark.slow
def test_noise_of_this_machine_is_measured_by_real_workers(invoke, monkeypatch):
    """A against A through real processes, cut short."""
    monkeypatch.setattr("mnbench.bench.diagnose.SAMPLING", SamplingConfig(processes=2, duration_s=0.02))
    monkeypatch.setattr("mnbench.bench.diagnose.REST_S", 0.1)
    models = json.loads(invoke("doctor", "--format", "json").stdout)["noise"]["models"]

    assert [4, 4] == [model["processes"] for model in models]
    assert all(model["low"] <= model["ratio"] <= model["high"] for model in models)
    assert models[0]["latency_ns"] < models[1]["latency_ns"]


@pytest.mark.slow
def test_a_provider_that_is_missing_costs_the_noise_alone(invoke, workspace):
    """Where the runtime lacks the provider, facts are told all the same, with what to install."""
    (workspace / "devices").mkdir()
    text = built_in("devices").joinpath("cpu.toml").read_text().replace("CPUExec", "CoreMLExec")
    (workspace / "devices" / "cpu.toml").write_text(text)
    result = invoke("doctor", "--format", "json")
    reported = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert reported["facts"]["cpu"]
    assert reported["noise"] is None
    assert "CoreMLExecutionProvider" in reported["noise_missing"]
    assert "install" in reported["noise_missing"]
