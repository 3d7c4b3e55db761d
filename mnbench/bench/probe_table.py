"""What a device's probe showed."""

from typing import Any

from mnbench.results.trial_result import TrialResult
from mnbench.stats import median
from mnbench.tables.table import ABSENT, Table
from mnbench.targets.device import Device
from mnbench.targets.listing import key_value_table
from mnbench.units import format_ms


def probe_to_dict(device: Device, variant: str, sample: TrialResult) -> dict[str, Any]:
    """For programs."""
    placement, emulated = sample.placement, bool(sample.host.get("emulated"))
    return {
        "device": device.name,
        "variant": variant,
        "runtime": sample.runtime,
        "provider": device.provider,
        "placement": None if placement is None else {name: len(nodes) for name, nodes in placement.items()},
        "difference": sample.difference,
        "latency_ns": None if emulated else round(median(sample.latencies_ns.tolist())),
        "session_ns": None if emulated else sample.session_ns,
        "conversion_ns": sample.conversion_ns,
        "threads": sample.threads,
        "host": sample.host,
    }


def probe_table(device: Device, variant: str, sample: TrialResult) -> Table[tuple[str, str]]:
    """What the run showed."""
    entries = probe_to_dict(device, variant, sample)
    runtime: dict[str, str | None] = entries["runtime"]
    placement: dict[str, int] | None = entries["placement"]
    total = sum((placement or {}).values())
    rows = [
        ("device", f"{device.name} works"),
        ("runtime", f"{runtime['name']} {runtime['version']}"),
        ("build", runtime["build"] or ABSENT),
        ("host", f"{sample.host.get('cpu')}, {sample.host.get('cores')} cores, {sample.host.get('system')}"),
        (
            "placement",
            ", ".join(f"{count} of {total} nodes on {name}" for name, count in placement.items())
            if placement
            else "this version does not tell",
        ),
        ("outputs", f"differ from the reference by {sample.difference:.1e} of their spread"),
        ("conversion", ABSENT if sample.conversion_ns is None else f"{format_ms(sample.conversion_ns)} ms"),
    ]
    if entries["latency_ns"] is None:
        return key_value_table("what", [*rows, ("a run", f"{variant}; emulated, so times tell nothing")])
    rows += [
        ("session", f"{format_ms(sample.session_ns)} ms"),
        ("a run", f"{format_ms(entries['latency_ns'])} ms, {variant}; from one process, so it is no measurement"),
    ]
    return key_value_table("what", rows)
