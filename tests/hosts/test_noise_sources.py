"""What disturbs measurements on a host, from its facts and two looks at it."""

# ruff: noqa: SIM300  expected == actual

import pytest
from hosts import QUIET, QUIET_GPU, REST, after
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.hosts.noise_sources import noise_sources


def found(facts=None, looks=None, gpu=None):
    """Names and severities of what disturbs, in order."""
    every = noise_sources(QUIET | (facts or {}), *(looks or (REST, after())), gpu=gpu)
    return [(source.name, source.severity) for source in every]


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
    (source,) = noise_sources(QUIET | facts, REST, after())

    assert (name, severity) == (source.name, source.severity)
    assert mend in source.fix


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
    (source,) = noise_sources(QUIET, REST, after(**grown))

    assert (name, "disturbs") == (source.name, source.severity)
    assert says in source.evidence


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
    (source,) = noise_sources(QUIET, REST, after(), gpu=QUIET_GPU | {"clock_limits": []})

    assert "sudo nvidia-smi --lock-gpu-clocks=1485 " in source.fix


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
    recorded = [{key: value for key, value in look.items() if key not in conditions} for look in looks]

    assert all(source.evidence and source.fix and source.severity for source in noise_sources(known, *recorded))
    assert noise_sources(dict.fromkeys(known), *recorded, gpu={}) is not None
