"""Layer profiles: the time of each layer, stored with the raw results of its run."""

from pathlib import Path

import msgspec

from mnbench import atomic_files
from mnbench.errors import ResultsError
from mnbench.results.store import RunFolder

PROFILE_SUFFIX = ".profile.json"


class KernelTime(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the runtime's graph, with the time of its kernel per run."""

    name: str
    op: str
    provider: str
    tensors: int
    duration_ns: int


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """A layer with the nodes that compute it, or a node that the runtime `added`.

    A layer that the runtime computes within another layer, or not at all, has no nodes and no time.
    """

    scope: str
    type: str
    added: bool = False
    nodes: tuple[KernelTime, ...] = ()
    params: int = 0
    mult_adds: int = 0
    memory_access_bytes: int = 0

    @property
    def duration_ns(self) -> int | None:
        """The time of its kernels together."""
        return sum(node.duration_ns for node in self.nodes) if self.nodes else None

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that ran its nodes."""
        return tuple(dict.fromkeys(node.provider for node in self.nodes))


class LayerProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of a case in the order in which they run, measured over `runs` runs in a separate process."""

    variant: str
    device: str
    provider: str
    runtime: str
    threads: int
    measured_at: str
    runs: int
    latency_ns: int | None
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
                mult_adds=sum(part.mult_adds for part in parts),
                memory_access_bytes=sum(part.memory_access_bytes for part in parts),
            )
            for (added, kind), parts in groups.items()
        )
        return tuple(sorted(summed, key=lambda part: -(part.duration_ns or 0)))

    @property
    def kernels_ns(self) -> int:
        """The time of all kernels."""
        return sum(part.duration_ns or 0 for part in self.parts)

    @property
    def assigned_share(self) -> float:
        """The share of the kernels' time that is assigned to layers."""
        assigned_ns = sum(part.duration_ns or 0 for part in self.parts if not part.added)
        return assigned_ns / self.kernels_ns if self.kernels_ns else 0.0

    @property
    def coverage(self) -> float | None:
        """The kernels' time as a share of the latency."""
        return self.kernels_ns / self.latency_ns if self.latency_ns else None


def save_profile(run: RunFolder, profile: LayerProfile) -> None:
    """Store the profile of a case.

    Raises:
        FileError: no space, no permission.
    """
    atomic_files.write_atomically(run.path / f"{profile.variant}{PROFILE_SUFFIX}", msgspec.json.encode(profile))


def newest_profiles(results: Path) -> list[LayerProfile]:
    """Return the newest profile of each variant on each device with each thread count, sorted by name.

    Raises:
        ResultsError: a profile cannot be read.
    """
    newest: dict[tuple[str, str, int], LayerProfile] = {}
    # A run's folder is named after the time when it started.
    for path in sorted(results.glob(f"raw/*/*{PROFILE_SUFFIX}")):
        try:
            profile = msgspec.json.decode(path.read_bytes(), type=LayerProfile)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as failure:
            raise ResultsError(f"{path}: is not a profile: {failure}", hint="delete it, and profile again") from failure
        newest[profile.variant, profile.device, profile.threads] = profile
    return [newest[key] for key in sorted(newest)]
