"""Layer profiles: the time of each layer, stored with the raw results of its run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from mnbench import atomic_files
from mnbench.json_files import read_json
from mnbench.network.cost import sum_known
from mnbench.network.cost_tables import fraction, fraction_column
from mnbench.network.row import Row, row_labels
from mnbench.results.facts import Count, Nanoseconds, Text
from mnbench.results.host_identity import HostIdentity
from mnbench.results.store import RunFolder
from mnbench.tables.table import Column, Table
from mnbench.units import format_giga, format_ms, format_percent, format_us, rate_per_s

PROFILE_SUFFIX = ".profile.json"


class KernelTime(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the runtime's graph, with the time of its kernel per run."""

    name: Text
    op: Text
    provider: Text
    tensors: Count
    duration_ns: Count


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """A layer with the nodes that compute it, or a node that the runtime `added`.

    A layer that the runtime computes within another layer, or not at all, has no nodes and no time.
    """

    scope: Text
    type: Text
    added: bool = False
    nodes: tuple[KernelTime, ...] = ()
    params: Count = 0
    mult_adds: Count | None = 0
    memory_access_bytes: Count | None = 0

    @property
    def duration_ns(self) -> int | None:
        return sum(node.duration_ns for node in self.nodes) if self.nodes else None

    @property
    def mult_adds_per_s(self) -> float | None:
        return rate_per_s(self.mult_adds, self.duration_ns) if self.mult_adds and self.duration_ns else None

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(node.provider for node in self.nodes))


class LayerProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of a case in the order in which they run, measured over `runs` runs in a separate process.

    `host_identity` is that of the case's record; None for a profile without a record.
    """

    variant: Text
    row: Row
    host_identity: HostIdentity | None
    device: Text
    provider: Text
    runtime: Text
    threads: Count
    measured_at: Text
    runs: Count
    latency_ns: Nanoseconds | None
    """The latency of the case, measured in other processes without profiling."""
    parts: tuple[LayerTime, ...]

    @property
    def times_by_type(self) -> tuple[LayerTime, ...]:
        """The time of each layer type and of each added operator, the longest first."""
        groups: dict[tuple[bool, str], list[LayerTime]] = {}
        for part in self.parts:
            groups.setdefault((part.added, part.type), []).append(part)
        summed = (
            LayerTime(
                scope=kind,
                type=kind,
                added=added,
                nodes=tuple(node for part in parts for node in part.nodes),
                params=sum(part.params for part in parts),
                mult_adds=sum_known(part.mult_adds for part in parts),
                memory_access_bytes=sum_known(part.memory_access_bytes for part in parts),
            )
            for (added, kind), parts in groups.items()
        )
        return tuple(sorted(summed, key=lambda part: -(part.duration_ns or 0)))

    @property
    def kernels_ns(self) -> int:
        return sum(part.duration_ns or 0 for part in self.parts)

    @property
    def assigned_share(self) -> float:
        """The share of the kernels' time that is assigned to layers."""
        assigned_ns = sum(part.duration_ns or 0 for part in self.parts if not part.added)
        return fraction(assigned_ns, self.kernels_ns)

    @property
    def coverage(self) -> float | None:
        """The kernels' time as a share of the latency."""
        return self.kernels_ns / self.latency_ns if self.latency_ns else None

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON: each type and each layer with its share of the time."""
        names = ("type", "added", "duration_ns", "params", "mult_adds", "memory_access_bytes", "providers")

        def values(part: LayerTime) -> dict[str, Any]:
            share = fraction(part.duration_ns or 0, self.kernels_ns)
            return {"time_share": share, **{name: getattr(part, name) for name in names}}

        facts = msgspec.structs.asdict(self)
        del facts["parts"], facts["row"], facts["host_identity"]
        return {
            **facts,
            "host": str(self.host_identity) if self.host_identity else None,
            "kernels_ns": self.kernels_ns,
            "assigned_share": self.assigned_share,
            "coverage": self.coverage,
            "types": [values(part) for part in self.times_by_type],
            "layers": [values(part) | {"scope": part.scope, "nodes": part.nodes} for part in self.parts],
        }

    def table(self, by: Literal["type", "layer"]) -> Table[LayerTime]:
        """Return a table with a row for each layer type, the longest first, or for each layer in order."""

        def label(part: LayerTime) -> str:
            return f"+ {part.type}" if part.added else part.scope

        def time_share(part: LayerTime) -> float | None:
            return None if part.duration_ns is None else fraction(part.duration_ns, self.kernels_ns)

        def share_column(name: str, title: str) -> Column[LayerTime]:
            whole = sum_known(getattr(part, name) for part in self.parts)

            def share(part: LayerTime) -> float | None:
                value = getattr(part, name)
                return None if part.added or value is None or whole is None else fraction(value, whole)

            return fraction_column(name, title, share)

        def providers(part: LayerTime) -> str | None:
            return ", ".join(name.removesuffix("ExecutionProvider") for name in part.providers) or None

        columns: list[Column[LayerTime]] = [
            Column(name="duration_ns", title="time", unit="µs", format=format_us),
            fraction_column("time", "time", time_share),
            share_column("mult_adds", "Mult-Adds"),
            share_column("memory_access_bytes", "memory\naccess"),
            share_column("params", "params"),
            Column(name="mult_adds_per_s", title="Mult-Adds\nper s", unit="10⁹", format=format_giga, drop_priority=1),
            Column(name="provider", value=providers, left=True, drop_priority=1),
        ]
        if by == "type":
            parts, grouping = self.times_by_type, "by layer type"
            columns.insert(0, Column(name="type", value=label, left=True))
        else:
            parts, grouping = self.parts, "layer by layer"
            columns.insert(0, Column(name="scope", value=label, left=True))
            columns.insert(1, Column(name="type", left=True, drop_priority=2))
        return Table(
            columns=columns,
            rows=[part for part in parts if part.nodes or part.mult_adds or part.memory_access_bytes],
            title=f"{self.variant} on {self.device}, {grouping}: {self._setting}",
            notes=self._notes(),
        )

    @property
    def _setting(self) -> str:
        host = f", {self.host_identity}" if self.host_identity else ""
        return f"{self.runtime}, threads: {self.threads}{host}"

    def _notes(self) -> list[str]:
        kernels = f"time: of the kernels, {format_ms(self.kernels_ns)} ms a run"
        if self.coverage is not None and self.latency_ns is not None:
            kernels += f", {format_percent(self.coverage)} of the latency of {format_ms(self.latency_ns)} ms"
        within = [part.type for part in self.times_by_type if not part.nodes and not part.added]
        notes = [f"{kernels}; measured in a separate process, because profiling slows a model down"]
        if self.assigned_share < 1:
            added = format_percent(1 - self.assigned_share)
            notes.append(f"+ nodes that the runtime adds to convert tensors: {added} of the time")
        if within:
            notes.append(f"computed within other layers, or not at all: {', '.join(within)}")
        return notes


def save_profile(run: RunFolder, profile: LayerProfile) -> None:
    """Store the profile of a case.

    Raises:
        FileError: no space, no permission.
    """
    atomic_files.write_atomically(
        run.path / f"{atomic_files.file_name(profile.row.id)}{PROFILE_SUFFIX}", msgspec.json.encode(profile)
    )


def label_profiles(profiles: Sequence[LayerProfile]) -> list[LayerProfile]:
    """Return the profiles, each named by the label of its row among these."""
    labels = row_labels(profile.row for profile in profiles)
    return [msgspec.structs.replace(profile, variant=labels[profile.row]) for profile in profiles]


def newest_profiles(results: Path) -> list[LayerProfile]:
    """Return the newest profile of each row on each device and host with each thread count, sorted by name.

    Raises:
        FileError, ResultsError: a profile cannot be read.
    """
    newest: dict[tuple[Row, str, int, HostIdentity | None], LayerProfile] = {}
    # A run's folder is named after the time when it started.
    for path in sorted(results.glob(f"raw/*/*{PROFILE_SUFFIX}")):
        profile = read_json(path, LayerProfile)
        newest[profile.row, profile.device, profile.threads, profile.host_identity] = profile
    return sorted(newest.values(), key=lambda profile: (profile.variant, profile.device, profile.threads))
