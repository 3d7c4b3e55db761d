"""Profiles as tables: by layer type, and layer by layer."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from mnbench.bench.profiling import Part, Profile
from mnbench.network.cost_tables import share, share_column
from mnbench.tables.table import Column, Table
from mnbench.units import in_giga, in_ms, in_percent, in_us, per_s

By: TypeAlias = Literal["type", "layer"]


def profile_table(profile: Profile, by: By) -> Table[Part]:
    """One row a layer type, those that take longest first, or one a layer, in the order in which they run."""
    parts = profile.types if by == "type" else profile.parts
    rows = [part for part in parts if part.nodes or part.mult_adds or part.memory_access_bytes]
    label = Column[Part](name=by if by == "type" else "scope", value=_label, left=True)
    kind = [] if by == "type" else [Column[Part](name="type", value=lambda part: part.type, left=True, rank=2)]
    what = "by layer type" if by == "type" else "layer by layer"
    return Table(
        columns=[label, *kind, *_columns(profile)],
        rows=rows,
        title=f"{profile.variant} on {profile.device}, {what}: {profile.runtime}, threads: {profile.threads}",
        notes=[*_notes(profile)],
    )


def profile_payload(profile: Profile) -> dict[str, Any]:
    """For programs."""
    facts = {name: getattr(profile, name) for name in profile.__struct_fields__ if name != "parts"}
    return {
        **facts,
        "kernels_ns": profile.kernels_ns,
        "joined": profile.joined,
        "coverage": profile.coverage,
        "types": [_payload(part, profile) for part in profile.types],
        "layers": [
            _payload(part, profile) | {"scope": part.scope, "nodes": msgspec.to_builtins(part.nodes)}
            for part in profile.parts
        ],
    }


def _payload(part: Part, profile: Profile) -> dict[str, Any]:
    names = ("type", "added", "duration_ns", "params", "mult_adds", "memory_access_bytes", "providers")
    return {
        "time_share": share(part.duration_ns or 0, profile.kernels_ns),
        **{name: getattr(part, name) for name in names},
    }


def _columns(profile: Profile) -> list[Column[Any]]:
    def of(name: str) -> Column[Any]:
        whole = sum(getattr(part, name) for part in profile.parts)
        title = {"mult_adds": "Mult-Adds", "memory_access_bytes": "memory\naccess", "params": "params"}[name]
        return share_column(name, title, lambda part: None if part.added else share(getattr(part, name), whole))

    def rate(part: Part) -> float | None:
        return per_s(part.mult_adds, part.duration_ns) if part.mult_adds and part.duration_ns else None

    def time_share(part: Part) -> float | None:
        return None if part.duration_ns is None else share(part.duration_ns, profile.kernels_ns)

    return [
        Column[Part](name="duration_ns", title="time", unit="µs", value=lambda part: part.duration_ns, show=in_us),
        share_column("time", "time", time_share),
        of("mult_adds"),
        of("memory_access_bytes"),
        of("params"),
        Column[Part](name="mult_adds_per_s", title="Mult-Adds\nper s", unit="10⁹", value=rate, show=in_giga, rank=1),
        Column[Part](name="provider", value=_providers, left=True, rank=1),
    ]


def _label(part: Part) -> str:
    return f"+ {part.type}" if part.added else part.scope


def _providers(part: Part) -> str | None:
    return ", ".join(one.removesuffix("ExecutionProvider") for one in part.providers) or None


def _notes(profile: Profile) -> Sequence[str]:
    kernels = f"time: of the kernels, {in_ms(profile.kernels_ns)} ms a run"
    if profile.coverage is not None and profile.latency_ns is not None:
        kernels += f", {in_percent(profile.coverage)} of the latency of {in_ms(profile.latency_ns)} ms"
    within = [part.type for part in profile.types if not part.nodes and not part.added]
    notes = [f"{kernels}; from a process of its own, because profiling slows a model down"]
    if profile.joined < 1:
        added = in_percent(1 - profile.joined)
        notes.append(
            f"+ what the runtime does beside the layers, to bring tensors into other forms: {added} of the time"
        )
    if within:
        notes.append(f"computed within other layers, or not at all: {', '.join(within)}")
    return notes
