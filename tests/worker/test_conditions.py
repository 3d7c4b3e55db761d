"""Conditions of hosts: load, heat and swapping, from what several machines write; no file breaks them."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import sys

import execnet
import pytest
from hosts import PI_FILES, PRESSURE, STAT, V2, XEON_FILES, Recorded, subset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.worker.host import conditions as conditions_module
from mnbench.worker.host.conditions import conditions
from mnbench.worker.host.facts import host_facts
from mnbench.worker.host.procfs import parse_cpu_list, parse_decimal, parse_integer


def test_conditions_of_a_server(machine, monkeypatch):
    """Processor time, pressure, frequency, heat and swapping, from what the kernel writes."""
    machine("x86_64", [0, 1, 2, 3])
    monkeypatch.setattr("os.sysconf", {"SC_CLK_TCK": 100, "SC_PAGE_SIZE": 4096}.__getitem__)
    files = {
        "proc/stat": STAT,
        "proc/pressure/cpu": PRESSURE,
        "proc/vmstat": "nr_free_pages 49\npswpin 3\npswpout 5\n",
    }
    now = conditions(Recorded(XEON_FILES | files))
    expected = {
        "user_s": 10.5,
        "system_s": 3.5,
        "idle_s": 51,
        "steal_s": 0.4,
        "cpu_pressure_10s": 0.125,
        "cpu_pressure_s": 1524.085422,
        "memory_pressure_10s": None,
        "memory_pressure_s": None,
        "frequency_hz": 2.5e9,
        "temperature_c": 52,
        "heat_throttles": 0 + 1 + 2 + 3 + 10,
        "firmware_limits": None,
        "free_memory_bytes": 8192000 * 1024,
        "swap_used_bytes": 1024 * 1024,
        "swap_in_bytes": 3 * 4096,
        "swap_out_bytes": 5 * 4096,
    }

    assert expected == subset(now, expected)


def test_conditions_of_a_raspberry_pi(machine):
    """The firmware's bits say what holds it back now, and not what did once."""
    machine("aarch64", [0, 1, 2, 3])
    now = conditions(Recorded(PI_FILES))

    assert ["under-voltage", "throttled"] == now["firmware_limits"]
    assert 81.298 == now["temperature_c"]


@pytest.mark.parametrize(("cpus", "most"), [(1, 1), (16, 16), (17, 16), (64, 16), (1000, 16)])
def test_few_of_many_cpus_are_read(cpus, most):
    """On large machines the conditions stay cheap: a few CPUs, evenly chosen, the first among them."""
    chosen = conditions_module._sample_cpus(list(range(cpus)))

    assert 1 <= len(chosen) <= most
    assert 0 == chosen[0]
    assert chosen[-1] >= cpus - 1 - cpus / len(chosen)


def test_own_time_and_switches_are_counted():
    """What this process does between two looks shows as its own."""
    before = conditions()
    while conditions()["process_cpu_s"] < before["process_cpu_s"] + 0.02:
        pass
    after = conditions()

    assert os.getpid() == before["process_id"] == after["process_id"]
    assert after["at_ns"] > before["at_ns"]
    if sys.platform == "linux":
        assert after["user_s"] + after["system_s"] >= before["user_s"] + before["system_s"]
        assert after["involuntary_switches"] >= before["involuntary_switches"] >= 0


def test_a_host_that_tells_nothing(machine):
    """Where there is neither /proc nor /sys, as on macOS, facts are None and none fails."""
    machine("arm64", [0])
    files = Recorded({})
    facts, now = host_facts(files), conditions(files)
    reported = {key for key, value in facts.items() if value not in (None, [], {})}
    always = {"cpu", "machine", "cores", "allowed_cpus", "logical_cpus", "system", "kernel", "python"}

    assert always <= reported <= always | {"libc", "memory_bytes"}
    assert 1 == facts["cores"]
    assert {"at_ns", "process_id", "process_cpu_s"} <= {key for key, value in now.items() if value is not None}
    assert now["temperature_c"] is now["cpu_pressure_s"] is now["steal_s"] is None


def test_windows_without_its_missing_functions(machine, monkeypatch):
    """Without load averages, system settings and resource usage, facts and conditions still come."""
    machine("AMD64", [0])
    monkeypatch.delattr("os.getloadavg")
    monkeypatch.delattr("os.sysconf")
    monkeypatch.setitem(sys.modules, "resource", None)
    facts, now = host_facts(Recorded({})), conditions(Recorded({}))

    assert facts["memory_bytes"] is None
    assert (None, None, None) == (now["load_1min"], now["voluntary_switches"], now["involuntary_switches"])


def known_paths():
    """Every file that some test records, with what it holds."""
    groups = {
        "proc/self/cgroup": "0::/a",
        "proc/self/mountinfo": V2,
        "sys/fs/cgroup/a/cpu.max": "1 2",
        "sys/fs/cgroup/a/cpu.stat": "nr_throttled 1",
        "sys/fs/cgroup/a/memory.max": "1",
    }
    proc = {"proc/stat": STAT, "proc/pressure/cpu": PRESSURE, "proc/vmstat": "pswpin 1\npswpout 2"}
    return XEON_FILES | PI_FILES | groups | proc


GARBAGE = st.text(max_size=60) | st.integers().map(str) | st.sampled_from(sorted(set(known_paths().values())))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(known_paths())), GARBAGE))
def test_no_file_can_break_it(changes):
    """Whatever the files hold, facts and conditions come, and travel as JSON and over a channel."""
    files = Recorded(known_paths() | changes)
    reported = {"facts": host_facts(files), "conditions": conditions(files)}

    assert reported == json.loads(json.dumps(reported))
    assert reported == execnet.loads(execnet.dumps(reported))
    assert reported["facts"]["cores"] >= 1


@given(GARBAGE)
def test_parsers_take_anything(text):
    """Numbers are numbers or None."""
    assert parse_integer(text) is None or isinstance(parse_integer(text), int)
    assert parse_decimal(text) is None or isinstance(parse_decimal(text), float)
    assert all(isinstance(cpu, int) for cpu in parse_cpu_list(text))
