"""`mnbench doctor`: what it makes of facts, what A against A shows, and what it prints."""

# ruff: noqa: SIM300  expected == actual

import json
import re
from math import log

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.errors import MeasureError
from mnbench.measure import noise
from mnbench.measure.doctor import disturbances
from mnbench.spec import locate
from mnbench.worker.examine import answer as examine

QUIET = {
    "cpu": "Intel(R) Xeon(R) Gold 6148",
    "cpu_vendor": "GenuineIntel",
    "cpu_family": 6,
    "cpu_model": 85,
    "cpu_stepping": 4,
    "cpu_flags": ["avx2", "avx512_vnni", "avx512f", "fma"],
    "core_kinds": {},
    "machine": "x86_64",
    "cores": 4,
    "cores_quota": None,
    "allowed_cpus": "0-3",
    "logical_cpus": 4,
    "threads_per_core": 1,
    "distinct_cpus": "0-3",
    "numa_nodes": 1,
    "caches": [{"level": 1, "type": "data", "size_bytes": 32768, "shared_by": 1}],
    "governor": "performance",
    "frequency_driver": "intel_pstate",
    "frequency_min_hz": 1_000_000_000,
    "frequency_max_hz": 2_400_000_000,
    "turbo": False,
    "memory_bytes": 16 * 2**30,
    "memory_limit_bytes": None,
    "swap_bytes": 0,
    "huge_pages": "madvise",
    "system": "Linux",
    "kernel": "6.1.0",
    "libc": "glibc 2.36",
    "python": "3.11.7",
    "product": "Dell Inc. PowerEdge R640",
    "virtual": False,
    "hypervisor": None,
    "emulated": False,
    "container": None,
    "perf_counters": True,
    "perf_event_paranoid": 2,
}

REST = {
    "at_ns": 10**12,
    "load_1min": 0.1,
    "load_5min": 0.1,
    "load_15min": 0.1,
    "cpu_pressure_10s": 0.0,
    "cpu_pressure_s": 100.0,
    "memory_pressure_10s": 0.0,
    "memory_pressure_s": 5.0,
    "user_s": 1000.0,
    "system_s": 100.0,
    "idle_s": 9000.0,
    "steal_s": 10.0,
    "process_id": 7,
    "process_cpu_s": 0.5,
    "voluntary_switches": 1,
    "involuntary_switches": 1,
    "frequency_hz": 2.4e9,
    "temperature_c": 45.0,
    "heat_throttles": 3,
    "firmware_limits": None,
    "quota_stops": 2,
    "quota_stopped_s": 0.5,
    "free_memory_bytes": 8 * 2**30,
    "swap_used_bytes": 0,
    "swap_in_bytes": 0,
    "swap_out_bytes": 0,
}
QUIET_GPU = {
    "name": "NVIDIA H100",
    "driver_version": "580.1",
    "sm_clock_hz": 1.4e9,
    "sm_clock_max_hz": 1.98e9,
    "power_limit_w": 700.0,
    "temperature_c": 39.0,
    "utilization": 0.0,
    "clock_limits": ["clocks set by a user"],
    "mig": False,
}
SECOND = {"at_ns": 10**12 + 10**9, "idle_s": 9004.0}


def after(**grown):
    """A second later, when these counters have grown."""
    return REST | SECOND | {key: REST[key] + value for key, value in grown.items()}


def found(facts=None, looks=None, gpu=None):
    """Names and severities of what disturbs, in order."""
    every = disturbances(QUIET | (facts or {}), *(looks or (REST, after())), gpu=gpu)
    return [(one.name, one.severity) for one in every]


# Disturbances


def test_nothing_disturbs_a_quiet_machine():
    """A machine of metal with fixed frequency, whole cores and no other load has nothing to mend."""
    assert [] == found()
    assert [] == found(gpu=QUIET_GPU)


@pytest.mark.parametrize(
    ("facts", "name", "severity", "mend"),
    [
        (
            {"governor": "powersave"},
            "governor",
            "disturbs",
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
        (
            {"turbo": True},
            "turbo",
            "disturbs",
            "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
        ),
        (
            {"turbo": True, "frequency_driver": "acpi-cpufreq"},
            "turbo",
            "disturbs",
            "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
        ),
        ({"virtual": True}, "virtual machine", "good to know", "compare within one run"),
        ({"emulated": True}, "emulated", "disturbs", "measure on the real machine"),
        ({"threads_per_core": 2, "distinct_cpus": "0-1"}, "shared cores", "disturbs", "taskset -c 0-1 mnbench run"),
        (
            {"threads_per_core": 2},
            "shared cores",
            "good to know",
            "echo off | sudo tee /sys/devices/system/cpu/smt/control",
        ),
        (
            {"core_kinds": {"performance": "0-1", "efficient": "2-3"}},
            "kinds of core",
            "disturbs",
            "taskset -c 0-1 mnbench run",
        ),
        (
            {"core_kinds": {"Cortex-A55": "0-3", "Cortex-A76": "4-7"}},
            "kinds of core",
            "disturbs",
            "taskset -c 4-7 mnbench run",
        ),
        ({"huge_pages": "never"}, "small pages", "good to know", "echo madvise | sudo tee /sys/kernel/mm/"),
        ({"cores_quota": 1.5}, "quota", "good to know", "--cpuset-cpus"),
        ({"cores_quota": 0.5}, "quota", "disturbs", "--cpuset-cpus"),
        ({"perf_counters": False, "virtual": False}, "no counters", "good to know", "where they are"),
        ({"perf_event_paranoid": 4}, "no counters", "good to know", "sudo sysctl kernel.perf_event_paranoid=2"),
    ],
)
def test_facts_that_disturb(facts, name, severity, mend):
    """Each fact that disturbs is named alone, with the command that mends it."""
    (one,) = disturbances(QUIET | facts, REST, after())

    assert (name, severity) == (one.name, one.severity)
    assert mend in one.mend


@pytest.mark.parametrize(
    "facts",
    [
        {"governor": "userspace", "frequency_min_hz": 2_400_000_000},
        {"governor": None, "turbo": None, "virtual": None, "emulated": None, "perf_counters": None},
        {"cores_quota": 4.0},
        {"cores_quota": 6.5},
        {"perf_event_paranoid": None},
        {"huge_pages": None},
    ],
    ids=[
        "one frequency",
        "nothing shown",
        "a quota of all cores",
        "a quota of more",
        "paranoia not shown",
        "pages not shown",
    ],
)
def test_facts_that_do_not_disturb(facts):
    """What is fixed, whole or unknown disturbs nothing."""
    assert [] == found(facts)


@pytest.mark.parametrize(
    ("grown", "name", "says"),
    [
        ({"user_s": 1.0}, "other load", "1.0 cores"),
        ({"user_s": 0.2, "system_s": 0.3}, "other load", "0.5 cores"),
        ({"steal_s": 0.2}, "steal", "4.8%"),
        ({"cpu_pressure_s": 0.3}, "CPU pressure", "30% of the time"),
        ({"memory_pressure_s": 0.02}, "memory pressure", "2% of the time"),
        ({"quota_stops": 1200}, "stopped by quota", "1,200 times"),
        ({"heat_throttles": 1}, "heat", "slowed"),
        ({"swap_in_bytes": 4096 * 1000}, "swapping", "4 MB"),
    ],
)
def test_what_happens_between_two_looks(grown, name, says):
    """Each counter that has grown is named, with how much."""
    (one,) = disturbances(QUIET, REST, after(**grown))

    assert (name, "disturbs") == (one.name, one.severity)
    assert says in one.found


def test_own_work_is_no_other_load():
    """What the watching process used itself is taken off; between two processes nothing can be said."""
    assert [] == found(looks=(REST, after(user_s=1.0, process_cpu_s=0.95)))
    assert [] == found(looks=(REST, after(user_s=1.0) | {"process_id": 8}))


def test_small_changes_disturb_nothing():
    """A kernel's own work, a little stolen time and a short wait are everywhere."""
    assert [] == found(looks=(REST, after(user_s=0.1, steal_s=0.01, cpu_pressure_s=0.03, memory_pressure_s=0.001)))


@pytest.mark.parametrize(
    ("now", "name", "severity"),
    [
        ({"load_1min": 3.2}, "load", "good to know"),
        ({"cpu_pressure_10s": 0.4}, "CPU pressure", "disturbs"),
        ({"memory_pressure_10s": 0.4}, "memory pressure", "disturbs"),
        ({"temperature_c": 93.0}, "heat", "disturbs"),
        ({"firmware_limits": ["under-voltage"]}, "firmware limits", "disturbs"),
        ({"swap_used_bytes": 10**8}, "swap", "good to know"),
        ({"cpu_pressure_s": None}, "no pressure", "good to know"),
    ],
)
def test_what_one_look_shows(now, name, severity):
    """One look alone shows what holds at that moment."""
    assert [(name, severity)] == found(looks=[REST | now])


def test_the_load_of_the_last_minute_may_be_our_own():
    """With two looks at hand it is not believed."""
    assert [] == found(looks=(REST | {"load_1min": 3.2}, after() | {"load_1min": 3.2}))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clock_limits": ["idle"]}, [("GPU clocks", "good to know")]),
        ({"clock_limits": ["temperature, by hardware"]}, [("GPU clocks", "disturbs")]),
        ({"utilization": 0.5}, [("GPU load", "disturbs")]),
        ({"mig": True}, [("GPU shared", "good to know")]),
        (dict.fromkeys(QUIET_GPU), []),
    ],
    ids=["free clocks", "hot", "busy", "parts", "tells nothing"],
)
def test_what_holds_a_gpu_back(changes, expected):
    """Clocks, load and sharing of a GPU."""
    assert expected == found(gpu=QUIET_GPU | changes)


def test_the_command_for_a_gpus_clocks_names_what_it_can_hold():
    """Clocks are locked below their maximum."""
    (one,) = disturbances(QUIET, REST, after(), gpu=QUIET_GPU | {"clock_limits": []})

    assert "sudo nvidia-smi --lock-gpu-clocks=1485 " in one.mend


def test_what_disturbs_comes_first_and_once():
    """One name appears once, however many looks show it; the worse come first."""
    hot = {"temperature_c": 95.0}
    names = found({"virtual": True, "governor": "ondemand"}, (REST | hot, after() | hot, after(heat_throttles=5) | hot))

    assert [("governor", "disturbs"), ("heat", "disturbs"), ("virtual machine", "good to know")] == names


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sets(st.sampled_from(sorted(QUIET))),
    st.sets(st.sampled_from(sorted(REST.keys() - {"at_ns"}))),
    st.lists(st.floats(0, 100), max_size=3),
)
def test_what_is_missing_breaks_nothing(facts, conditions, grown):
    """Facts and conditions that a host does not show, or an older worker did not send, are no error."""
    known = {key: value for key, value in QUIET.items() if key not in facts}
    looks = [REST | {"at_ns": 10**9 * index, "user_s": value} for index, value in enumerate(grown)]
    seen = [{key: value for key, value in look.items() if key not in conditions} for look in looks]

    assert all(one.found and one.mend and one.severity for one in disturbances(known, *seen))
    assert disturbances(dict.fromkeys(known), *seen, gpu={}) is not None


# Noise


def two_arms(make_sample, *medians):
    """Samples of two arms, whose every run of a process takes the same; A and B take turns."""
    samples = [make_sample([median] * 20) for median in medians]
    return samples[::2], samples[1::2]


def test_without_noise_both_arms_agree(make_sample):
    """Where every process finds the same, the ratio is one and nothing differs."""
    one = noise.noise("v1", *two_arms(make_sample, *[1000] * 12))

    assert (1000, 1.0, 1.0, 1.0) == (one.latency_ns, one.ratio, one.low, one.high)
    assert (0, 0, 0, 0) == (one.spread, one.p90, one.typical, one.limit)
    assert 12 == one.processes


def test_the_ratio_is_that_of_neighbours(make_sample):
    """Drift that hits both arms of a round alike leaves the ratio as it is, and shows as spread."""
    drift = [1000, 2000, 4000, 8000]
    one = noise.noise("v1", *two_arms(make_sample, *(value for base in drift for value in (base, base * 1.1))))

    assert 1.1 == pytest.approx(one.ratio, rel=1e-3) == pytest.approx(one.low, rel=1e-3)
    assert 7.8 == pytest.approx(one.spread, rel=1e-3)


def test_two_tables_are_all_ways_to_halve_the_processes(make_sample):
    """By hand: of 1, 2, 4 and 8, the pairs 1·2 and 4·8 lie a factor of 4 apart, 1·4 and 2·8 of 2, 1·8 and 2·4 of 1."""
    one = noise.noise("v1", *two_arms(make_sample, 1000, 2000, 4000, 8000))

    assert 2 - 1 == pytest.approx(one.typical)
    assert 4 - 1 == pytest.approx(one.limit)


def test_tails_are_within_processes(make_sample):
    """The 90th percentile is set against the median of the same process."""
    slow, fast = make_sample([2000] * 80 + [3000] * 20), make_sample([1000] * 80 + [1500] * 20)

    assert 0.5 == pytest.approx(noise.noise("v1", [slow] * 2, [fast] * 2).p90)


@given(st.lists(st.integers(1000, 10**7), min_size=4, max_size=12).filter(lambda values: len(values) % 2 == 0))
@settings(deadline=None)
def test_noise_is_in_order(values):
    """The interval holds the ratio, and what is seldom exceeds what is common."""
    from types import SimpleNamespace

    import numpy as np

    samples = [SimpleNamespace(latencies_ns=np.array([value] * 3)) for value in values]
    one = noise.noise("v1", samples[::2], samples[1::2])

    assert one.low <= one.ratio * (1 + 1e-12)
    assert one.ratio <= one.high * (1 + 1e-12)
    assert 0 <= one.typical <= one.limit <= max(values) / min(values) - 1 + 1e-9
    assert log(one.spread + 1) == pytest.approx(log(max(values) / min(values)))


def test_arms_are_visited_side_by_side(make_plan, scripted_visit):
    """In each round both arms of a cell follow each other, and the order of cells changes."""
    plan = make_plan("v1-a1-r224", "v2-a1-r224", processes=8)
    order = []
    visit = scripted_visit(lambda _plan, cell, _asked: order.append(cell.variant))
    steps = []
    found_noise = noise.measure(plan, seen=lambda: steps.append(1), visit=visit)
    pairs = list(zip(order[::2], order[1::2], strict=True))
    rounds = list(zip(pairs[::2], pairs[1::2], strict=True))

    assert noise.visits(plan) == len(order) == len(steps) == 32
    assert {("v1-a1-r224",) * 2, ("v2-a1-r224",) * 2} == set(pairs)
    assert all(first != second for first, second in rounds)
    assert 2 == len(set(rounds))
    assert [("v1-a1-r224", 16), ("v2-a1-r224", 16)] == [(one.variant, one.processes) for one in found_noise]


def test_the_sentence_is_about_the_noisiest(make_sample):
    """What two tables mean is said for the worst of the models."""
    quiet = noise.noise("v1", *two_arms(make_sample, *[1000] * 4))
    loud = noise.noise("v2", *two_arms(make_sample, 1000, 2000, 4000, 8000))
    text = noise.sentence([quiet, loud])

    assert "differ here by about 100.0%" in text
    assert "differences below 300.0% between two tables mean nothing" in text


# The command


@pytest.fixture
def watched(monkeypatch):
    """Workers' looks at a machine without starting any: this process looks, with what the test changes."""
    requests = []

    def ask(device, request, *, timeout_s):
        requests.append((device.name, request, timeout_s))
        told = examine(request | {"rest_s": 0}, None)
        return told | {
            "facts": QUIET | ask.facts,
            "before": REST,
            "conditions": after() | {"at_ns": REST["at_ns"] + 10**9 * len(requests)},
            "gpu": ask.gpu,
        }

    ask.facts, ask.gpu, ask.requests = {}, None, requests
    monkeypatch.setattr("mnbench.measure.gateway.ask", ask)
    return ask


SHAPE = {"device", "runtime", "facts", "conditions", "gpu", "disturbances", "noise", "noise_missing"}


def test_a_quick_look_measures_nothing(invoke, watched, fake_worker):
    """`--quick` asks for facts alone, and says that there is no noise."""
    result = invoke("doctor", "--quick", "--format", "json")
    told = json.loads(result.stdout)

    assert (0, "") == (result.exit_code, result.stderr)
    assert set(told) == SHAPE
    assert QUIET == told["facts"]
    assert [] == told["disturbances"]
    assert (None, "skipped with --quick") == (told["noise"], told["noise_missing"])
    assert [] == fake_worker.requests
    assert ["examine"] == [request["do"] for _, request, _ in watched.requests]


def test_disturbances_are_told_with_what_mends_them(invoke, watched):
    """A person sees the severity, the name, what was found and the command on a line of its own."""
    watched.facts = {"governor": "powersave", "virtual": True, "hypervisor": "QEMU"}
    lines = invoke("doctor", "--quick").stdout.splitlines()

    assert "    echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor" in lines
    assert lines.index("disturbs") < lines.index("good to know")
    assert any("virtual machine of QEMU" in line for line in lines)


def test_a_quiet_machine_is_told_so(invoke, watched):  # noqa: ARG001  what it would ask
    """Where nothing disturbs, that is said."""
    assert "nothing disturbs measurements here" in invoke("doctor", "--quick").stdout


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_facts_fit_the_terminal(invoke, watched, columns):
    """On a terminal no line of facts is longer than it, and instructions take five lines at most."""
    many = [f"avx512_{index}feature" for index in range(12)] + ["amx_bf16", "amx_int8", "amx_tile", "avx2"]
    watched.facts = {"cpu_flags": many, "product": "A Very Long Vendor Incorporated " * 5}
    env = {"COLUMNS": str(columns), "TTY_COMPATIBLE": "1", "TERM": "dumb"}
    text = re.sub(r"\x1b\[[0-9;]*m", "", invoke("doctor", "--quick", env=env).stdout)
    facts = text.partition("nothing disturbs")[0].splitlines()
    first = next(index for index, line in enumerate(facts) if line.startswith("instructions"))
    then = next(index for index, line in enumerate(facts) if line.startswith("cores"))

    assert max(map(len, facts)) <= columns
    assert then - first <= 5
    assert "amx (bf16 int8 tile)" in " ".join(text.split())


@pytest.mark.parametrize("key", sorted(QUIET.keys() - {"cpu", "system", "kernel", "python", "machine"}))
def test_facts_that_are_missing_are_left_out(invoke, watched, key):
    """What a host does not tell is not printed as None."""
    empty = {"caches": [], "cpu_flags": [], "core_kinds": {}, "cores": 1, "allowed_cpus": "0"}
    watched.facts = {key: empty.get(key)}
    result = invoke("doctor", "--quick")

    assert 0 == result.exit_code
    assert "None" not in result.stdout


def test_noise_is_measured_on_both_models(invoke, watched, fake_worker):
    """Without `--quick` both models are visited twelve times, and the host is looked at once more afterwards."""
    result = invoke("doctor", "--format", "json")
    told = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert 24 == len(fake_worker.requests)
    assert ["v1-a0.25-r96", "v1-a0.5-r224"] == [one["variant"] for one in told["noise"]["models"]]
    assert {1.0} == {one["ratio"] for one in told["noise"]["models"]}
    assert "mean nothing" in told["noise"]["sentence"]
    assert told["noise_missing"] is None
    assert [1.0, 0] == [request["rest_s"] for _, request, _ in watched.requests]
    assert REST["at_ns"] + 2 * 10**9 == told["conditions"]["at_ns"]


def test_noise_is_told_in_a_sentence(invoke, watched, fake_worker):  # noqa: ARG001  no real worker
    """A person reads the table of noise and what it means for two tables."""
    result = invoke("doctor", env={"COLUMNS": "80", "TTY_COMPATIBLE": "1", "TERM": "dumb"})

    assert "noise: A against A" in result.stdout
    assert "no room" not in result.stdout
    assert "v1-a0.5-r224" in result.stdout
    assert "Two runs of the same model differ here by about 0.0%" in result.stdout


def test_noise_that_cannot_be_measured_is_no_error(invoke, watched, fake_worker):
    """A worker that fails costs the noise; facts are told, with the reason."""

    def fail():
        raise MeasureError("the worker was killed by SIGKILL", hint="run the cell alone")

    fake_worker.changes["first_run_ns"] = fail
    told = json.loads(invoke("doctor", "--format", "json").stdout)

    assert told["noise"] is None
    assert "the worker was killed by SIGKILL (run the cell alone)" == told["noise_missing"]
    assert QUIET == told["facts"]
    assert "no noise: the worker was killed by SIGKILL" in invoke("doctor").stdout
    assert {request["rest_s"] for _, request, _ in watched.requests} == {1.0}


def test_a_gpu_is_looked_at_where_it_is_used(invoke, watched, workspace):
    """Only the profile of a GPU asks for it; what it tells is shown."""
    profile = locate.built_in("devices").joinpath("cpu.toml").read_text().replace("CPUExec", "CUDAExec")
    (workspace / "devices").mkdir()
    (workspace / "devices" / "gpu.toml").write_text(profile.replace('"cpu"', '"gpu"'))
    watched.gpu = QUIET_GPU
    text = invoke("doctor", "--device", "gpu", "--quick").stdout
    invoke("doctor", "--quick")

    assert [True, False] == [request["gpu"] for _, request, _ in watched.requests]
    assert "NVIDIA H100, driver 580.1, 1.4 GHz of 1.98 GHz, 700 W, 39 °C" in text


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
    text = locate.built_in("devices").joinpath("cpu.toml").read_text().replace('"popen"', '"popen//python=/no/python"')
    (workspace / "devices" / "cpu.toml").write_text(text)
    result = invoke("doctor", "--quick")

    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("Error: device cpu: ")


def test_this_machine_is_looked_at_by_a_real_worker(invoke):
    """Facts and conditions come through the gateway, from a process of the device."""
    result = invoke("doctor", "--quick", "--format", "json")
    told = json.loads(result.stdout)

    assert (0, "") == (result.exit_code, result.stderr)
    assert told["facts"]["cpu"]
    assert told["runtime"]["version"]
    assert told["conditions"]["process_cpu_s"] > 0
    assert all(set(one) == {"name", "severity", "found", "mend"} for one in told["disturbances"])
    assert {one["severity"] for one in told["disturbances"]} <= {"disturbs", "good to know"}


@pytest.mark.slow
def test_noise_of_this_machine_is_measured_by_real_workers(invoke, monkeypatch):
    """A against A through real processes, cut short."""
    monkeypatch.setattr("mnbench.cli.doctor.PROCESSES", 2)
    monkeypatch.setattr("mnbench.cli.doctor.DURATION_S", 0.02)
    monkeypatch.setattr("mnbench.cli.doctor.REST_S", 0.1)
    models = json.loads(invoke("doctor", "--format", "json").stdout)["noise"]["models"]

    assert [4, 4] == [one["processes"] for one in models]
    assert all(one["low"] <= one["ratio"] <= one["high"] for one in models)
    assert models[0]["latency_ns"] < models[1]["latency_ns"]


@pytest.mark.slow
def test_a_provider_that_is_missing_costs_the_noise_alone(invoke, workspace):
    """Where the runtime lacks the provider, facts are told all the same, with what to install."""
    (workspace / "devices").mkdir()
    text = locate.built_in("devices").joinpath("cpu.toml").read_text().replace("CPUExec", "CoreMLExec")
    (workspace / "devices" / "cpu.toml").write_text(text)
    result = invoke("doctor", "--format", "json")
    told = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert told["facts"]["cpu"]
    assert told["noise"] is None
    assert "CoreMLExecutionProvider" in told["noise_missing"]
    assert "install" in told["noise_missing"]
