"""What `mnbench doctor` found: facts by groups, disturbances with how to mend them, and noise."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from mnbench.bench.plan import HostDrift
from mnbench.bench.self_comparison import SelfComparison, noise_sentence
from mnbench.hosts.noise_sources import NoiseSource
from mnbench.tables.quantities import quantity
from mnbench.tables.rich_text import PIPE_WIDTH
from mnbench.tables.table import Column, Table
from mnbench.targets.device import Device
from mnbench.units import format_binary_bytes, format_ghz, format_ms, format_percent_1

Facts = Mapping[str, Any]

INSTRUCTION_FAMILIES = ("avx512", "amx", "asimd", "sve", "sme")
"""Instructions whose names begin alike are told in one go."""


def make_console() -> Console:
    """The terminal; as wide as other tables when piped."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def print_facts(device: Device, facts: Facts, now: Facts, gpu: Facts | None, version: str | None) -> None:
    """A line or two for each group."""
    rows = {
        "CPU": _cpu(facts),
        "instructions": _instructions(facts["cpu_flags"]),
        "cores": _cores(facts),
        "caches": ", ".join(map(_cache, facts["caches"])),
        "frequency": _frequency(facts, now),
        "memory": _memory(facts, now),
        "machine": _machine(facts),
        "system": _joined(f"{facts['system']} {facts['kernel']}", facts["libc"], f"Python {facts['python']}"),
        "now": _now(now),
        "GPU": _gpu(gpu or {}),
        "runtime": _runtime(device, version),
    }
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for name, text in rows.items():
        if text:
            grid.add_row(name, Text(text))
    make_console().print(f"{device.name}: {device.summary}\n", style="bold", markup=False)
    make_console().print(grid)


def print_noise_sources(sources: Sequence[NoiseSource], title: str) -> None:
    """Each with how to mend it below; a command stays on one line, for the terminal to wrap and a mouse to copy."""
    out = make_console()
    out.print()
    out.print(title, style="bold", markup=False)
    for severity, style in (("disturbs", "red"), ("good to know", "yellow")):
        several = [source for source in sources if source.severity == severity]
        if several:
            out.print(f"\n{severity}", style=style)
        for source in several:
            out.print(Padding(Text.assemble((source.name, "bold"), f": {source.evidence}"), (0, 0, 0, 2), expand=False))
            out.print(f"    {source.fix}", style="dim", markup=False, soft_wrap=True)


def self_comparison_table(noises: Sequence[SelfComparison]) -> Table[SelfComparison]:
    """One row a model, and below what it means."""
    columns = [
        quantity("variant"),
        quantity("latency_ns"),
        Column[SelfComparison](name="ratio", title="B/A", format="{:.3f}".format),
        Column[SelfComparison](
            name="interval", value=lambda comparison: f"{comparison.low:.3f}–{comparison.high:.3f}", drop_priority=2
        ),
        Column[SelfComparison](name="p90", title="p90\nabove", format=format_percent_1, drop_priority=3),
        Column[SelfComparison](name="spread", title="process\nspread", format=format_percent_1),
        Column[SelfComparison](name="typical_difference", title="two runs\ndiffer", format=format_percent_1),
        Column[SelfComparison](name="p95_difference", title="19 of 20\nbelow", format=format_percent_1),
    ]
    coverage, half = min(comparison.coverage for comparison in noises), noises[0].processes // 2
    notes = [
        "p90 above: the median of its own process; process spread: from the fastest process' median to the slowest's",
        f"A and B are the same model, {half} processes each, side by side; the interval holds B/A with {coverage:.1%}",
        noise_sentence(noises),
        "That is the noise of these seconds. Another hour can differ by more: compare within one run.",
    ]
    return Table(columns=columns, rows=noises, notes=notes, title="noise: A against A")


def _cpu(facts: Facts) -> str:
    numbers = [f"{name} {facts[f'cpu_{name}']}" for name in ("family", "model", "stepping")]
    known = [text for text in numbers if not text.endswith("None")]
    kinds = [f"{name}: {cpus}" for name, cpus in facts["core_kinds"].items()]
    return _joined(facts["cpu"], " ".join([facts["cpu_vendor"] or "", *known]).strip(), *kinds, facts["machine"])


def _instructions(flags: Sequence[str]) -> str:
    words: list[str] = []
    for family in INSTRUCTION_FAMILIES:
        members = [flag.removeprefix(family).strip("_") for flag in flags if flag.startswith(family) and flag != family]
        if members:
            words.append(f"{family} ({' '.join(members)})")
        elif family in flags:
            words.append(family)
    return " ".join([flag for flag in flags if not flag.startswith(INSTRUCTION_FAMILIES)] + words)


def _cores(facts: Facts) -> str:
    quota, threads, nodes = facts["cores_quota"], facts["threads_per_core"], facts["numa_nodes"]
    return _joined(
        f"{facts['cores']} to use",
        f"allowed {facts['allowed_cpus']} of {facts['logical_cpus'] or 'unknown'} logical",
        threads and f"{threads} {'thread' if threads == 1 else 'threads'} a core",
        f"quota {quota:g}" if quota is not None else "no quota",
        nodes and f"{nodes} NUMA {'node' if nodes == 1 else 'nodes'}",
    )


def _cache(cache: Facts) -> str:
    kind = "" if cache["type"] == "unified" else f" {cache['type']}"
    shared = f" for {cache['shared_by']}" if (cache["shared_by"] or 1) > 1 else ""
    return f"L{cache['level']}{kind} {format_binary_bytes(cache['size_bytes'])}{shared}"


def _frequency(facts: Facts, now: Facts) -> str:
    low, high, current = facts["frequency_min_hz"], facts["frequency_max_hz"], now["frequency_hz"]
    message = _joined(
        facts["governor"] and f"governor {facts['governor']}",
        facts["frequency_driver"],
        low and high and f"{format_ghz(low)} to {format_ghz(high)}",
        current and f"now {format_ghz(current)}",
        {True: "turbo on", False: "turbo off"}.get(facts["turbo"]),
    )
    return message or "not shown here"


def _memory(facts: Facts, now: Facts) -> str:
    total, free, limit, swap = (
        facts["memory_bytes"],
        now["free_memory_bytes"],
        facts["memory_limit_bytes"],
        facts["swap_bytes"],
    )
    return _joined(
        total and format_binary_bytes(total),
        free and f"{format_binary_bytes(free)} free",
        limit and f"the control group allows {format_binary_bytes(limit)}",
        swap is not None and (f"swap {format_binary_bytes(swap)}" if swap else "no swap"),
    )


def _machine(facts: Facts) -> str:
    virtual = {True: "virtual machine", False: "no virtual machine"}.get(facts["virtual"])
    counters = {True: "counters", False: "no counters"}.get(facts["perf_counters"])
    return _joined(
        facts["product"],
        "emulated" if facts["emulated"] else None,
        virtual and f"{virtual}{' of ' + facts['hypervisor'] if facts['hypervisor'] else ''}",
        facts["container"] and f"in {facts['container']}",
        counters and f"{counters} of the processor",
    )


def _now(now: Facts) -> str:
    loads = [f"{now[f'load_{minutes}min']}" for minutes in (1, 5, 15) if now[f"load_{minutes}min"] is not None]
    pressure, hot = now["cpu_pressure_10s"], now["temperature_c"]
    return _joined(
        loads and f"load {' '.join(loads)}",
        pressure is not None and f"tasks wait for a core {format_percent_1(pressure)} of the time",
        hot is not None and f"{hot:.0f} °C",
    )


def _gpu(gpu: Facts) -> str:
    clock, most, hot, power = (
        gpu.get(key) for key in ("sm_clock_hz", "sm_clock_max_hz", "temperature_c", "power_limit_w")
    )
    return _joined(
        gpu.get("name"),
        gpu.get("driver_version") and f"driver {gpu['driver_version']}",
        clock and most and f"{format_ghz(clock)} of {format_ghz(most)}",
        power and f"{power:g} W",
        hot is not None and f"{hot:g} °C",
    )


def _runtime(device: Device, version: str | None) -> str:
    threads = f"{device.threads} {'thread' if device.threads == 1 else 'threads'}"
    return _joined(f"{device.runtime} {version or 'not installed'}", device.provider, threads)


def _joined(*parts: Any) -> str:
    """The parts that there are, with commas between."""
    return ", ".join(part for part in parts if part)


def drift_table(drift: HostDrift, runs: int) -> Table[int]:
    """How far runs lay apart, a row for each calibrated model."""
    columns = [
        Column[int](name="latency", unit="ms", value=lambda item: item, format=format_ms),
        Column[int](name="slowest", value=lambda item: exp(max(drift.deviations[item])) - 1, format="{:+.1%}".format),
        Column[int](name="fastest", value=lambda item: exp(min(drift.deviations[item])) - 1, format="{:+.1%}".format),
        Column[int](name="95 % above", value=lambda item: drift.factors_near(item)[0] - 1, format="{:+.1%}".format),
        Column[int](name="95 % below", value=lambda item: drift.factors_near(item)[1] - 1, format="{:+.1%}".format),
    ]
    notes = [f"{runs} runs are kept; the intervals of later runs in this setting include what they show"]
    return Table(columns=columns, rows=sorted(drift.deviations), title="how far runs lie apart", notes=notes)
