"""Facts of hosts, from what several machines write under /proc and /sys."""

# ruff: noqa: SIM300  expected == actual

import json
import os

import pytest
from hosts import EPYC_VM, PI_4, PI_FILES, ROCK, XEON, XEON_FILES, Recorded, dmi, processors, subset
from hypothesis import given
from hypothesis import strategies as st

from mnbench.worker.host.facts import host_facts
from mnbench.worker.host.procfs import ProcFiles, format_cpu_list, parse_cpu_list, parse_size_bytes
from mnbench.worker.requests.host_facts import handle

# Files


def test_files_that_cannot_be_read_are_empty(tmp_path):
    """A file that is missing, a folder, or not text gives no error."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\0")
    files = ProcFiles(str(tmp_path))

    assert "" == files.read_text("none") == files.read_text("folder")
    assert [] == files.list_names("none") == files.list_names("bytes")
    assert ["bytes", "folder"] == files.list_names("")
    assert files.read_integer("bytes") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12\n", 12), ("-1", -1), ("max 100000", None), ("", None), ("0x1f", 31), ("9" * 5000, None), ("１２", None)],
)
def test_numbers(text, expected):
    """Whole numbers are read as such; anything else is no number."""
    assert expected == Recorded({"file": text}).read_integer("file")


@pytest.mark.parametrize(
    ("text", "expected"), [("32K", 2**15), ("1024 KB", 2**20), ("33M", 33 * 2**20), ("8", 8), ("K", None), ("", None)]
)
def test_sizes(text, expected):
    """Sizes carry their unit, and it is 1024."""
    assert expected == parse_size_bytes(text)


@given(st.lists(st.integers(0, 2000), max_size=40))
def test_lists_of_cpus_return(cpus):
    """A list of CPUs survives being written and read."""
    assert sorted(set(cpus)) == parse_cpu_list(format_cpu_list(cpus))


def test_lists_of_cpus_are_as_the_kernel_writes_them():
    """Neighbours are a range, and those alone a number."""
    assert "0-2,5,7-8" == format_cpu_list([0, 1, 2, 5, 7, 8])
    assert [0, 1, 2, 5] == parse_cpu_list("0-2,5\n")
    assert [] == parse_cpu_list("(null)")


# Processors


def test_an_intel_server(machine):
    """Family, model, stepping, flags, siblings, caches, frequency, turbo and product of a machine of metal."""
    machine("x86_64", [0, 1, 2, 3])
    facts = host_facts(Recorded(XEON_FILES))
    expected = {
        "cpu": "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz",
        "cpu_vendor": "GenuineIntel",
        "cpu_family": 6,
        "cpu_model": 85,
        "cpu_stepping": 4,
        "cpu_flags": ["avx", "avx2", "avx512dq", "avx512f", "f16c", "fma", "sse4_1", "sse4_2", "ssse3"],
        "core_kinds": {},
        "cores": 4,
        "threads_per_core": 2,
        "distinct_cpus": "0-1",
        "numa_nodes": 2,
        "caches": [
            {"level": 1, "type": "data", "size_bytes": 32768, "shared_by": 2},
            {"level": 3, "type": "unified", "size_bytes": 28160 * 1024, "shared_by": 4},
        ],
        "governor": "powersave",
        "frequency_driver": "intel_pstate",
        "frequency_min_hz": 1_000_000_000,
        "frequency_max_hz": 3_700_000_000,
        "turbo": True,
        "memory_bytes": 16384000 * 1024,
        "swap_bytes": 2048 * 1024,
        "huge_pages": "madvise",
        "product": "Dell Inc. PowerEdge R640",
        "virtual": False,
        "hypervisor": None,
        "emulated": False,
        "container": None,
        "perf_counters": True,
        "perf_event_paranoid": 4,
    }

    assert expected == subset(facts, expected)


@pytest.mark.parametrize(("allowed", "distinct"), [([0, 2], "0"), ([2, 3], "2-3"), ([0, 1], "0-1"), ([1, 2, 3], "1-2")])
def test_one_cpu_of_each_core(machine, allowed, distinct):
    """Of the CPUs that are allowed, one stands for each core."""
    machine("x86_64", allowed)

    assert distinct == host_facts(Recorded(XEON_FILES))["distinct_cpus"]


def test_a_raspberry_pi(machine):
    """Arm's core is named by its part, the board by the device tree."""
    machine("aarch64", [0, 1, 2, 3])
    facts = host_facts(Recorded(PI_FILES))
    expected = {
        "cpu": "Cortex-A72",
        "cpu_vendor": "Arm",
        "cpu_family": 8,
        "cpu_model": 0xD08,
        "cpu_stepping": 3,
        "cpu_flags": ["asimd"],
        "core_kinds": {},
        "turbo": False,
        "product": "Raspberry Pi 4 Model B Rev 1.1",
        "virtual": False,
        "emulated": False,
        "perf_counters": True,
    }

    assert expected == subset(facts, expected)


def test_two_kinds_of_arm_core(machine):
    """Each kind of core is named with its CPUs, and the first core's numbers stand for the processor's."""
    machine("aarch64", list(range(8)))
    parts = ["0xd05"] * 4 + ["0xd0b"] * 4
    blocks = [f"processor\t: {cpu}\n{ROCK.format(variant='0x4', part=part)}" for cpu, part in enumerate(parts)]
    facts = host_facts(Recorded({"proc/cpuinfo": "\n\n".join(blocks)}))

    assert "4 × Cortex-A55 + 4 × Cortex-A76" == facts["cpu"]
    assert {"Cortex-A55": "0-3", "Cortex-A76": "4-7"} == facts["core_kinds"]
    assert ["asimd", "asimddp", "asimdhp", "asimdrdm", "fphp"] == facts["cpu_flags"]
    assert 0x40 == facts["cpu_stepping"]


def test_two_kinds_of_intel_core(machine):
    """Hybrid Intel processors tell their kinds in folders of their own."""
    machine("x86_64", list(range(4)))
    kinds = {"sys/devices/cpu_core/cpus": "0-1\n", "sys/devices/cpu_atom/cpus": "2-3\n"}
    facts = host_facts(Recorded(XEON_FILES | kinds))

    assert {"performance": "0-1", "efficient": "2-3"} == facts["core_kinds"]
    assert "Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz" == facts["cpu"]


def test_an_unknown_arm_core_is_named_by_its_number(machine):
    """A maker or a part that is not in our list keeps its number."""
    machine("aarch64", [0])
    cpuinfo = processors(PI_4.replace("0xd08", "0xd99"), 1)

    assert "Arm 0xd99" == host_facts(Recorded({"proc/cpuinfo": cpuinfo}))["cpu"]
    assert "0x99 0xd08" == host_facts(Recorded({"proc/cpuinfo": processors(PI_4.replace("0x41", "0x99"), 1)}))["cpu"]


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t: fpu\n", "AMD EPYC 9B14"),
        ("processor\t: 0\nBogoMIPS\t: 108\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4\n", "BCM2835"),
    ],
    ids=["x86", "arm"],
)
def test_the_cpu_is_named(machine, cpuinfo, expected):
    """The CPU's name is what the kernel calls it, where its maker's numbers say nothing."""
    machine("x86_64", [0])

    assert expected == host_facts(Recorded({"proc/cpuinfo": cpuinfo}))["cpu"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/devices/system/cpu/cpufreq/boost": "1"}, True),
        ({"sys/devices/system/cpu/cpu0/cpufreq/boost": "0"}, False),
        ({"sys/devices/system/cpu/intel_pstate/no_turbo": "1"}, False),
        ({}, None),
    ],
    ids=["boost", "boost of one policy", "intel", "not shown"],
)
def test_turbo(machine, files, expected):
    """Turbo is told by one of three files."""
    machine("x86_64", [0])

    assert expected is host_facts(Recorded(files))["turbo"]


# Virtual, emulated, contained


@pytest.mark.parametrize(
    ("cpuinfo", "files", "virtual", "hypervisor"),
    [
        (EPYC_VM, {}, True, None),
        (EPYC_VM, dmi("QEMU", "Standard PC"), True, "QEMU Standard PC"),
        (EPYC_VM, {"sys/hypervisor/type": "xen\n"}, True, "xen"),
        (XEON, dmi("Amazon EC2", "c5.metal"), False, None),
        (PI_4, dmi("Amazon EC2", "c7g.large"), True, "Amazon EC2 c7g.large"),
        (PI_4, {"proc/device-tree/hypervisor/compatible": "xen,xen-4.17\0xen,xen\0"}, True, "xen,xen-4.17 xen,xen"),
        (PI_4, {}, None, None),
    ],
    ids=["unnamed", "qemu", "xen", "metal of a cloud", "arm cloud", "arm xen", "arm that tells nothing"],
)
def test_virtual_machines(machine, cpuinfo, files, virtual, hypervisor):
    """The processor's flag decides on x86, names of products elsewhere."""
    machine("x86_64", [0])
    facts = host_facts(Recorded({"proc/cpuinfo": processors(cpuinfo, 1), **files}))

    assert (virtual, hypervisor) == (facts["virtual"], facts["hypervisor"])


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("aarch64", {"sys/devices/system/cpu/modalias": "cpu:type:x86,ven0002"}, True),
        ("aarch64", {"sys/devices/system/cpu/modalias": "cpu:type:aarch64:feature:"}, False),
        ("armv7l", {"sys/devices/system/cpu/modalias": "cpu:type:aarch64:feature:"}, False),
        ("aarch64", {"proc/cpuinfo": processors(XEON, 1)}, True),
        ("i686", {"proc/cpuinfo": processors(XEON, 1)}, False),
        ("x86_64", {"proc/cpuinfo": "model name\t: QEMU TCG CPU version 2.5+\n"}, True),
        ("aarch64", {}, None),
    ],
    ids=["qemu-user", "arm", "32 bit", "old qemu-user", "32 bit x86", "qemu-system", "not shown"],
)
def test_emulation(machine, name, files, expected):
    """A kernel on another kind of processor than the process' means that instructions are translated."""
    machine(name, [0])

    assert expected is host_facts(Recorded(files))["emulated"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/1/cgroup": "12:cpu,cpuacct:/docker/3f2a\n"}, "docker"),
        ({"proc/1/cgroup": "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n"}, "kubernetes"),
        ({"proc/self/cgroup": "0::/machine.slice/libpod-1.scope\n"}, "podman"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, None),
    ],
)
def test_containers(machine, files, expected):
    """A container shows by its control group, or by a file that its maker leaves."""
    machine("x86_64", [0])

    assert expected == host_facts(Recorded(files))["container"]


# This machine


def test_this_machine():
    """On the machine that runs the test facts are plain and small, and conditions follow each other."""
    entries = handle({"rest_s": 0, "gpu": False, "runtime": "onnxruntime"}, None)

    assert entries == json.loads(json.dumps(entries))
    assert len(json.dumps(entries["facts"])) < 5000
    assert 1 <= entries["facts"]["cores"] <= os.cpu_count()
    assert entries["conditions"]["at_ns"] >= entries["before"]["at_ns"]
    assert entries["runtime_version"]
    assert entries["gpu"] is None


def test_a_runtime_that_is_missing_has_no_version():
    """Asking for a runtime that is not installed is no error."""
    assert handle({"rest_s": 0, "gpu": False, "runtime": "no-such-runtime"}, None)["runtime_version"] is None
