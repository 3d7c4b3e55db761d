"""Facts and conditions of hosts, from what several machines write under /proc and /sys."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import stat
import sys

import execnet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.worker import conditions as conditions_module
from mnbench.worker import gpu
from mnbench.worker.cgroup import memory_limit_bytes, quota_cores, throttled
from mnbench.worker.conditions import conditions
from mnbench.worker.examine import answer
from mnbench.worker.files import Files, cpu_list, cpus_in, integer, number, size_bytes
from mnbench.worker.host import host_facts, usable_cores


class Recorded(Files):
    """Files from a dictionary."""

    def __init__(self, files):
        super().__init__("/nowhere")
        self.files = files

    def text(self, path):
        """What was recorded."""
        return self.files.get(path, "").strip("\0\n ")

    def names(self, folder):
        """The names below a folder."""
        below = [path.removeprefix(f"{folder}/") for path in self.files if path.startswith(f"{folder}/")]
        return sorted({path.partition("/")[0] for path in below})


def processors(block, count):
    """A /proc/cpuinfo of so many equal processors."""
    return "\n\n".join(f"processor\t: {index}\n{block}" for index in range(count)) + "\n\n"


XEON = """vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz
stepping\t: 4
microcode\t: 0x2006e05
cpu MHz\t\t: 1000.000
flags\t\t: fpu vme sse sse2 ss ht ssse3 fma cx16 sse4_1 sse4_2 avx f16c rdrand smep bmi1 avx2 smap avx512f avx512dq"""

EPYC_VM = """vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse sse2 ssse3 fma f16c hypervisor avx2 avx512f avx512_bf16 avx512_vnni"""

PI_4 = """BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3"""

PI_4_END = "Revision\t: c03111\nSerial\t\t: 100000001234abcd\nModel\t\t: Raspberry Pi 4 Model B Rev 1.1\n"

ROCK = """Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: 0"""

XEON_FILES = {
    "proc/cpuinfo": processors(XEON, 4),
    "proc/meminfo": "MemTotal:  16384000 kB\nMemAvailable:   8192000 kB\nSwapTotal:  2048 kB\nSwapFree:   1024 kB\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
    "sys/class/dmi/id/product_name": "PowerEdge R640\n",
    "sys/devices/system/cpu/modalias": "cpu:type:x86,ven0000fam0006mod0055:feature:,0000,0001\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0\n",
    "sys/devices/system/node/online": "0-1\n",
    "sys/bus/event_source/devices/cpu/type": "4\n",
    "sys/bus/event_source/devices/software/type": "1\n",
    "proc/sys/kernel/perf_event_paranoid": "4\n",
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "99000\n",
    "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone1/temp": "51000\n",
    "sys/class/hwmon/hwmon0/name": "nvme\n",
    "sys/class/hwmon/hwmon0/temp1_input": "74850\n",
    "sys/class/hwmon/hwmon1/name": "coretemp\n",
    "sys/class/hwmon/hwmon1/temp1_input": "52000\n",
    "sys/class/hwmon/hwmon1/temp2_input": "-274000\n",
}
for index, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
    here = f"sys/devices/system/cpu/cpu{index}"
    XEON_FILES |= {
        f"{here}/topology/thread_siblings_list": f"{siblings}\n",
        f"{here}/cpufreq/scaling_governor": "powersave\n",
        f"{here}/cpufreq/scaling_driver": "intel_pstate\n",
        f"{here}/cpufreq/scaling_min_freq": "1000000\n",
        f"{here}/cpufreq/scaling_max_freq": "3700000\n",
        f"{here}/cpufreq/scaling_cur_freq": f"{1000000 + 1000000 * index}\n",
        f"{here}/cache/index0/level": "1\n",
        f"{here}/cache/index0/type": "Data\n",
        f"{here}/cache/index0/size": "32K\n",
        f"{here}/cache/index0/shared_cpu_list": f"{siblings}\n",
        f"{here}/cache/index3/level": "3\n",
        f"{here}/cache/index3/type": "Unified\n",
        f"{here}/cache/index3/size": "28160K\n",
        f"{here}/cache/index3/shared_cpu_list": "0-3\n",
        f"{here}/thermal_throttle/core_throttle_count": f"{index}\n",
        f"{here}/thermal_throttle/package_throttle_count": "10\n",
    }

PI_FILES = {
    "proc/cpuinfo": processors(PI_4, 4) + PI_4_END,
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.1\0",
    "sys/devices/system/cpu/modalias": "cpu:type:aarch64:feature:,0000,0001,0002\n",
    "sys/devices/system/cpu/cpufreq/boost": "0\n",
    "sys/bus/event_source/devices/armv8_cortex_a72/type": "8\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "81298\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


@pytest.fixture
def machine(monkeypatch):
    """Let the process see these CPUs on such a machine."""

    def set_up(name, cpus):
        monkeypatch.setattr("platform.machine", lambda: name)
        monkeypatch.setattr("mnbench.worker.host.allowed_cpus", lambda: cpus)
        monkeypatch.setattr("mnbench.worker.conditions.allowed_cpus", lambda: cpus)
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    return set_up


def dmi(vendor, product):
    """The files in which firmware names the machine."""
    return {"sys/class/dmi/id/sys_vendor": vendor, "sys/class/dmi/id/product_name": product}


def old_quota(group, quota, period):
    """The files of a version 1 control group."""
    folder = f"sys/fs/cgroup/cpu,cpuacct{group}"
    return {f"{folder}/cpu.cfs_quota_us": str(quota), f"{folder}/cpu.cfs_period_us": str(period)}


def subset(facts, expected):
    """The facts that are expected, as they were found."""
    return {key: facts[key] for key in expected}


# Files


def test_files_that_cannot_be_read_are_empty(tmp_path):
    """A file that is missing, a folder, or not text gives no error."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\0")
    files = Files(str(tmp_path))

    assert "" == files.text("none") == files.text("folder")
    assert [] == files.names("none") == files.names("bytes")
    assert ["bytes", "folder"] == files.names("")
    assert files.number("bytes") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12\n", 12), ("-1", -1), ("max 100000", None), ("", None), ("0x1f", 31), ("9" * 5000, None), ("１２", None)],
)
def test_numbers(text, expected):
    """Whole numbers are read as such; anything else is no number."""
    assert expected == Recorded({"file": text}).number("file")


@pytest.mark.parametrize(
    ("text", "expected"), [("32K", 2**15), ("1024 KB", 2**20), ("33M", 33 * 2**20), ("8", 8), ("K", None), ("", None)]
)
def test_sizes(text, expected):
    """Sizes carry their unit, and it is 1024."""
    assert expected == size_bytes(text)


@given(st.lists(st.integers(0, 2000), max_size=40))
def test_lists_of_cpus_return(cpus):
    """A list of CPUs survives being written and read."""
    assert sorted(set(cpus)) == cpus_in(cpu_list(cpus))


def test_lists_of_cpus_are_as_the_kernel_writes_them():
    """Neighbours are a range, and those alone a number."""
    assert "0-2,5,7-8" == cpu_list([0, 1, 2, 5, 7, 8])
    assert [0, 1, 2, 5] == cpus_in("0-2,5\n")
    assert [] == cpus_in("(null)")


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


# Control groups

V2 = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "33 32 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "34 32 0:30 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


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

    assert (3, 1.5) == throttled(Recorded({"proc/self/cgroup": "0::/a", "proc/self/mountinfo": V2, **new}))
    v1 = {"proc/self/cgroup": "4:cpu,cpuacct:/a", "proc/self/mountinfo": V1_CPU.format(root="/")}
    assert (3, 1.5) == throttled(Recorded(v1 | old))
    assert (None, None) == throttled(Recorded({}))


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


# Conditions

STAT = "cpu  1000 50 300 5000 100 20 30 40 900 0\ncpu0 500 25 150 2500 50 10 15 20 0 0\n"
PRESSURE = "some avg10=12.50 avg60=0.82 avg300=2.25 total=1524085422\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


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
    chosen = conditions_module._some(list(range(cpus)))

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
    told = {key for key, value in facts.items() if value not in (None, [], {})}
    always = {"cpu", "machine", "cores", "allowed_cpus", "logical_cpus", "system", "kernel", "python"}

    assert always <= told <= always | {"libc", "memory_bytes"}
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
    told = {"facts": host_facts(files), "conditions": conditions(files)}

    assert told == json.loads(json.dumps(told))
    assert told == execnet.loads(execnet.dumps(told))
    assert told["facts"]["cores"] >= 1


@given(GARBAGE)
def test_parsers_take_anything(text):
    """Numbers are numbers or None."""
    assert integer(text) is None or isinstance(integer(text), int)
    assert number(text) is None or isinstance(number(text), float)
    assert all(isinstance(cpu, int) for cpu in cpus_in(text))


# The GPU

H100 = "NVIDIA H100 80GB HBM3, 580.159.04, 405, 2619, 1980, 2619, 113.48, 700.00, 39, 0, 0x0000000000000001, Disabled\n"


def test_what_a_gpu_tells():
    """What nvidia-smi printed for an H100, in base units."""
    expected = {
        "name": "NVIDIA H100 80GB HBM3",
        "driver_version": "580.159.04",
        "sm_clock_hz": 405e6,
        "memory_clock_hz": 2619e6,
        "sm_clock_max_hz": 1980e6,
        "memory_clock_max_hz": 2619e6,
        "power_w": 113.48,
        "power_limit_w": 700,
        "temperature_c": 39,
        "utilization": 0,
        "clock_limits": ["idle"],
        "mig": False,
    }

    assert expected == gpu.parsed(H100)


def test_a_gpu_that_tells_little():
    """What a GPU does not support is None; several reasons are all named; the first of several GPUs is told."""
    line = "Tesla T4, 450.1, 300, 405, 1590, 5001, [N/A], [Not Supported], 80, 97, 0x0000000000000064, [N/A]\n"
    told = gpu.parsed(line + H100)

    assert "Tesla T4" == told["name"]
    assert told["power_w"] is told["power_limit_w"] is told["mig"] is None
    assert 0.97 == told["utilization"]
    assert ["power limit", "temperature, by software", "temperature, by hardware"] == told["clock_limits"]


@given(st.text(max_size=200))
def test_no_answer_of_a_gpu_can_break_it(text):
    """Whatever the tool prints is parsed or None."""
    assert gpu.parsed(text) is None or "name" in gpu.parsed(text)


@pytest.fixture
def fake_tool(tmp_path, monkeypatch):
    """A nvidia-smi of the test's own, and nothing else, on PATH."""

    def make(script):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path))

    return make


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_the_gpu_is_asked_once(fake_tool, monkeypatch, tmp_path):
    """One call, for the GPU that CUDA is to use, of every field."""
    log = tmp_path / "calls"
    fake_tool(f'echo "$@" >> {log}\nprintf "%s" "{H100.strip()}"')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")

    assert gpu.parsed(H100) == gpu.gpu_conditions()
    (call,) = log.read_text().splitlines()
    assert call.startswith("--id=2 --query-gpu=name,driver_version,clocks.sm,")
    assert "--format=csv,noheader,nounits" in call


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
@pytest.mark.parametrize("script", ["echo broken >&2; exit 9", "echo", "printf '\\377\\376'"])
def test_a_gpu_whose_tool_fails_is_none(fake_tool, script):
    """A driver that does not answer means no GPU, and no exception."""
    fake_tool(script)

    assert gpu.gpu_conditions() is None


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_a_gpu_whose_tool_hangs_is_none(fake_tool, monkeypatch):
    """A driver that hangs costs a moment, and not the run."""
    fake_tool("exec /bin/sleep 30")
    monkeypatch.setattr("mnbench.worker.gpu.TIMEOUT_S", 0.2)

    assert gpu.gpu_conditions() is None


def test_no_tool_no_gpu(tmp_path, monkeypatch):
    """Where there is no nvidia-smi there is no GPU to tell of."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert gpu.gpu_conditions() is None


# This machine


def test_this_machine():
    """On the machine that runs the test facts are plain and small, and conditions follow each other."""
    found = answer({"rest_s": 0, "gpu": False, "runtime": "onnxruntime"}, None)

    assert found == json.loads(json.dumps(found))
    assert len(json.dumps(found["facts"])) < 5000
    assert 1 <= found["facts"]["cores"] <= os.cpu_count()
    assert found["conditions"]["at_ns"] >= found["before"]["at_ns"]
    assert found["runtime_version"]
    assert found["gpu"] is None


def test_a_runtime_that_is_missing_has_no_version():
    """Asking for a runtime that is not installed is no error."""
    assert answer({"rest_s": 0, "gpu": False, "runtime": "no-such-runtime"}, None)["runtime_version"] is None
