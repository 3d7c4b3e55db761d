"""Control groups: what a container may use, and whether it was stopped for it."""

# ruff: noqa: SIM300  expected == actual

import os

import pytest
from hosts import V1_CPU, V1_MEMORY, V2, XEON_FILES, Recorded, old_quota

from mnbench.worker.host.cgroup import count_throttling, memory_limit_bytes, quota_cores
from mnbench.worker.host.facts import host_facts, usable_cores


@pytest.mark.parametrize(
    ("group", "mounts", "files", "expected"),
    [
        ("0::/a.slice/b.scope", V2, {"sys/fs/cgroup/a.slice/b.scope/cpu.max": "150000 100000"}, 1.5),
        (
            "0::/a.slice/b.scope",
            V2,
            {"sys/fs/cgroup/a.slice/b.scope/cpu.max": "max 100000", "sys/fs/cgroup/a.slice/cpu.max": "50000 100000"},
            0.5,
        ),
        ("0::/a/b", V2, {"sys/fs/cgroup/a/b/cpu.max": "300000 100000", "sys/fs/cgroup/a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", V2, {"sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        ("0::/a/b", V2, {"sys/fs/cgroup/other/cpu.max": "100000 100000"}, None),
        ("0::/", V2, {"sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5),
        ("0::/../../outside", V2, {"sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5),
        (
            "4:cpu,cpuacct:/docker/3f\n0::/",
            V1_CPU.format(root="/docker/3f"),
            old_quota("", 150000, 100000),
            1.5,
        ),
        (
            "4:cpu,cpuacct:/docker/3f",
            V1_CPU.format(root="/"),
            old_quota("/docker/3f", -1, 100000) | old_quota("/docker", 80000, 20000),
            4,
        ),
        ("", V2, {"sys/fs/cgroup/cpu.max": "250000 100000"}, None),
        ("0::/a", "", {"sys/fs/cgroup/a/cpu.max": "250000 100000"}, None),
        ("0::/a", V2, {"sys/fs/cgroup/a/cpu.max": "100000 0"}, None),
    ],
    ids=[
        "v2",
        "v2 of a parent",
        "v2 the least",
        "v2 none",
        "v2 of another",
        "v2 in a container",
        "v2 outside its namespace",
        "v1 in a container",
        "v1 of a parent",
        "no group",
        "no mount",
        "no period",
    ],
)
def test_quotas(group, mounts, files, expected):
    """The smallest quota from the process' own group upwards binds, in either version."""
    recorded = Recorded({"proc/self/cgroup": group, "proc/self/mountinfo": mounts, **files})

    assert expected == quota_cores(recorded)


@pytest.mark.parametrize(
    ("mounts", "group", "files", "expected"),
    [
        (V2, "0::/a", {"sys/fs/cgroup/a/memory.max": "max", "sys/fs/cgroup/memory.max": "4096"}, 4096),
        (V2, "0::/a", {"sys/fs/cgroup/a/memory.max": "max"}, None),
        (
            V1_MEMORY.format(root="/"),
            "5:memory:/a",
            {
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "1048576",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            },
            1048576,
        ),
        (
            V1_MEMORY.format(root="/"),
            "5:memory:/",
            {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"},
            None,
        ),
    ],
    ids=["v2", "v2 none", "v1", "v1 none"],
)
def test_memory_limits(mounts, group, files, expected):
    """The smallest limit binds, and version 1's huge number is none."""
    recorded = Recorded({"proc/self/mountinfo": mounts, "proc/self/cgroup": group, **files})

    assert expected == memory_limit_bytes(recorded)


def test_stops_by_a_quota():
    """Both versions tell how often the quota stopped the group, in units of their own."""
    new = {"sys/fs/cgroup/a/cpu.stat": "usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 1500000\n"}
    old = {"sys/fs/cgroup/cpu,cpuacct/a/cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_time 1500000000\n"}

    assert (3, 1.5) == count_throttling(Recorded({"proc/self/cgroup": "0::/a", "proc/self/mountinfo": V2, **new}))
    v1 = {"proc/self/cgroup": "4:cpu,cpuacct:/a", "proc/self/mountinfo": V1_CPU.format(root="/")}
    assert (3, 1.5) == count_throttling(Recorded(v1 | old))
    assert (None, None) == count_throttling(Recorded({}))


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"), [(8, None, 8), (8, 1.5, 1), (8, 2.0, 2), (2, 6.0, 2), (8, 0.5, 1), (4, 3.999, 3)]
)
def test_cores_to_use(allowed, quota, expected):
    """Affinity and quota both limit; a quota is rounded down, and one core is the least."""
    assert expected == usable_cores(allowed, quota)


def test_cores_follow_the_quota(machine):
    """`cores` are what a container may use, whatever the machine has."""
    machine("x86_64", [0, 1, 2, 3])
    group = {
        "proc/self/cgroup": "0::/",
        "proc/self/mountinfo": V2,
        "sys/fs/cgroup/cpu.max": "250000 100000",
    }
    facts = host_facts(Recorded(XEON_FILES | group))

    assert (2, 2.5, "0-3") == (facts["cores"], facts["cores_quota"], facts["allowed_cpus"])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system lets no process choose its cores")
def test_cores_follow_the_affinity():
    """A process that is kept on one core has one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        facts = host_facts()
    finally:
        os.sched_setaffinity(0, before)

    assert (1, str(min(before))) == (facts["cores"], facts["allowed_cpus"])
