"""Layer profiles as tables: by layer type, and layer by layer."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from mnbench.network.cost_tables import fraction, fraction_column
from mnbench.results.layer_profile import LayerProfile, LayerTime
from mnbench.tables.table import Column, Table
from mnbench.units import format_giga, format_ms, format_percent, format_us, rate_per_s

Grouping: TypeAlias = Literal["type", "layer"]


def layer_profile_table(profile: LayerProfile, by: Grouping) -> Table[LayerTime]:
    """Return a table with a row for each layer type, the longest first, or for each layer in order."""
    parts = profile.times_by_type if by == "type" else profile.parts
    rows = [part for part in parts if part.nodes or part.mult_adds or part.memory_access_bytes]
    label = Column[LayerTime](name=by if by == "type" else "scope", value=_label, left=True)
    kind = [] if by == "type" else [Column[LayerTime](name="type", left=True, drop_priority=2)]
    grouping = "by layer type" if by == "type" else "layer by layer"
    return Table(
        columns=[label, *kind, *_columns(profile)],
        rows=rows,
        title=f"{profile.variant} on {profile.device}, {grouping}: {profile.runtime}, threads: {profile.threads}",
        notes=[*_notes(profile)],
    )


def layer_profile_to_dict(profile: LayerProfile) -> dict[str, Any]:
    """Return the values for JSON."""
    facts = {name: getattr(profile, name) for name in profile.__struct_fields__ if name != "parts"}
    return {
        **facts,
        "kernels_ns": profile.kernels_ns,
        "assigned_share": profile.assigned_share,
        "coverage": profile.coverage,
        "types": [_payload(part, profile) for part in profile.times_by_type],
        "layers": [
            _payload(part, profile) | {"scope": part.scope, "nodes": msgspec.to_builtins(part.nodes)}
            for part in profile.parts
        ],
    }


def _payload(part: LayerTime, profile: LayerProfile) -> dict[str, Any]:
    names = ("type", "added", "duration_ns", "params", "mult_adds", "memory_access_bytes", "providers")
    return {
        "time_share": fraction(part.duration_ns or 0, profile.kernels_ns),
        **{name: getattr(part, name) for name in names},
    }


def _columns(profile: LayerProfile) -> list[Column[Any]]:
    def of(name: str) -> Column[Any]:
        whole = sum(getattr(part, name) for part in profile.parts)
        title = {"mult_adds": "Mult-Adds", "memory_access_bytes": "memory\naccess", "params": "params"}[name]
        return fraction_column(name, title, lambda part: None if part.added else fraction(getattr(part, name), whole))

    def rate(part: LayerTime) -> float | None:
        return rate_per_s(part.mult_adds, part.duration_ns) if part.mult_adds and part.duration_ns else None

    def time_share(part: LayerTime) -> float | None:
        return None if part.duration_ns is None else fraction(part.duration_ns, profile.kernels_ns)

    return [
        Column[LayerTime](name="duration_ns", title="time", unit="µs", format=format_us),
        fraction_column("time", "time", time_share),
        of("mult_adds"),
        of("memory_access_bytes"),
        of("params"),
        Column[LayerTime](
            name="mult_adds_per_s",
            title="Mult-Adds\nper s",
            unit="10⁹",
            value=rate,
            format=format_giga,
            drop_priority=1,
        ),
        Column[LayerTime](name="provider", value=_providers, left=True, drop_priority=1),
    ]


def _label(part: LayerTime) -> str:
    return f"+ {part.type}" if part.added else part.scope


def _providers(part: LayerTime) -> str | None:
    return ", ".join(provider.removesuffix("ExecutionProvider") for provider in part.providers) or None


def _notes(profile: LayerProfile) -> Sequence[str]:
    kernels = f"time: of the kernels, {format_ms(profile.kernels_ns)} ms a run"
    if profile.coverage is not None and profile.latency_ns is not None:
        kernels += f", {format_percent(profile.coverage)} of the latency of {format_ms(profile.latency_ns)} ms"
    within = [part.type for part in profile.times_by_type if not part.nodes and not part.added]
    notes = [f"{kernels}; measured in a separate process, because profiling slows a model down"]
    if profile.assigned_share < 1:
        added = format_percent(1 - profile.assigned_share)
        notes.append(f"+ nodes that the runtime adds to convert tensors: {added} of the time")
    if within:
        notes.append(f"computed within other layers, or not at all: {', '.join(within)}")
    return notes
