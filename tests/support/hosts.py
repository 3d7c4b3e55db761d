"""What several machines write under /proc and /sys."""

from mnbench.worker.host.procfs import ProcFiles


class Recorded(ProcFiles):
    """Files from a dictionary."""

    def __init__(self, files):
        super().__init__("/nowhere")
        self.files = files

    def read_text(self, path):
        """What was recorded."""
        return self.files.get(path, "").strip("\0\n ")

    def list_names(self, folder):
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


V2 = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_CPU = "33 32 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "34 32 0:30 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"

STAT = "cpu  1000 50 300 5000 100 20 30 40 900 0\ncpu0 500 25 150 2500 50 10 15 20 0 0\n"
PRESSURE = "some avg10=12.50 avg60=0.82 avg300=2.25 total=1524085422\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"

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
