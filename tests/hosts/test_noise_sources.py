"""What disturbs measurements on a host, from its facts and two snapshots of it."""

# ruff: noqa: SIM300  expected == actual

import pytest
from hosts import QUIET, QUIET_GPU, REST, after
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.hosts.noise_sources import noise_sources


def names(facts=None, snapshots=None, gpu=None):
    """Return names and severities of the noise sources, in order."""
    sources = noise_sources(QUIET | (facts or {}), *(snapshots or (REST, after())), gpu=gpu)
    return [(source.name, source.severity) for source in sources]


def test_nothing_disturbs_a_quiet_machine():
    """A machine of metal with fixed frequency, whole cores and no other load has nothing to mend."""
    assert [] == names()
    assert [] == names(gpu=QUIET_GPU)


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
    assert [] == names(facts)


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
def test_changes_between_two_snapshots(grown, name, says):
    """Each counter that has grown is named, with how much."""
    (source,) = noise_sources(QUIET, REST, after(**grown))

    assert (name, "disturbs") == (source.name, source.severity)
    assert says in source.evidence


def test_own_work_is_no_other_load():
    """What the watching process used itself is taken off; between two processes nothing can be said."""
    assert [] == names(snapshots=(REST, after(user_s=1.0, process_cpu_s=0.95)))
    assert [] == names(snapshots=(REST, after(user_s=1.0) | {"process_id": 8}))


def test_small_changes_disturb_nothing():
    """A kernel's own work, a little stolen time and a short wait are everywhere."""
    assert [] == names(snapshots=(REST, after(user_s=0.1, steal_s=0.01, cpu_pressure_s=0.03, memory_pressure_s=0.001)))


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
def test_one_snapshot(now, name, severity):
    """One snapshot alone shows the conditions of that moment."""
    assert [(name, severity)] == names(snapshots=[REST | now])


def test_the_load_of_the_last_minute_may_be_our_own():
    """With two snapshots at hand it is not believed."""
    assert [] == names(snapshots=(REST | {"load_1min": 3.2}, after() | {"load_1min": 3.2}))


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
    assert expected == names(gpu=QUIET_GPU | changes)


def test_the_command_for_a_gpus_clocks_names_what_it_can_hold():
    """Clocks are locked below their maximum."""
    (source,) = noise_sources(QUIET, REST, after(), gpu=QUIET_GPU | {"clock_limits": []})

    assert "sudo nvidia-smi --lock-gpu-clocks=1485 " in source.fix


def test_what_disturbs_comes_first_and_once():
    """One name appears once, however many snapshots show it; the worse come first."""
    hot = {"temperature_c": 95.0}
    result = names(
        {"virtual": True, "governor": "ondemand"}, (REST | hot, after() | hot, after(heat_throttles=5) | hot)
    )

    assert [("governor", "disturbs"), ("heat", "disturbs"), ("virtual machine", "good to know")] == result


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sets(st.sampled_from(sorted(QUIET))),
    st.sets(st.sampled_from(sorted(REST.keys() - {"at_ns"}))),
    st.lists(st.floats(0, 100), max_size=3),
)
def test_what_is_missing_breaks_nothing(facts, conditions, grown):
    """Facts and conditions that a host does not show, or an older worker did not send, are no error."""
    known = {key: value for key, value in QUIET.items() if key not in facts}
    snapshots = [REST | {"at_ns": 10**9 * index, "user_s": value} for index, value in enumerate(grown)]
    recorded = [{key: value for key, value in snapshot.items() if key not in conditions} for snapshot in snapshots]

    assert all(source.evidence and source.fix and source.severity for source in noise_sources(known, *recorded))
    assert noise_sources(dict.fromkeys(known), *recorded, gpu={}) is not None
