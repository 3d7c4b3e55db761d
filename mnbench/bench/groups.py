"""Groups: the rows that share a process."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from mnbench.bench.trial import PlannedSession

T = TypeVar("T")

MAX_ROWS, MAX_BYTES = 32, 4 * 2**30
"""Limits of one process; larger tables use several processes instead."""


def usable_bytes(host: Mapping[str, Any]) -> int:
    """Return the memory of one process on a host: half of what it has or allows, if that is less than the limit."""
    known = [size for name in ("memory_bytes", "memory_limit_bytes") if (size := host.get(name))]
    return min([MAX_BYTES, *(size // 2 for size in known)])


def group_rows(
    rows: Sequence[T],
    sessions_of: Callable[[T], Sequence[PlannedSession]],
    *,
    seed: str,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
) -> list[list[T]]:
    """Draw rows into as few groups as fit into one process each, or into two alternating processes."""
    groups: list[list[int]] = []
    open_groups: dict[tuple[object, ...], tuple[list[int], int]] = {}
    for index in Random(seed).sample(range(len(rows)), len(rows)):  # noqa: S311  an order, not a secret
        sessions = sessions_of(rows[index])
        key = tuple(session.process_key for session in sessions)
        size_bytes = sum(session.size_bytes for session in sessions)
        group, group_bytes = open_groups.get(key, (list[int](), 0))
        if not group or len(group) >= max_rows or group_bytes + size_bytes > max_bytes:
            group, group_bytes = list[int](), 0
            groups.append(group)
        group.append(index)
        open_groups[key] = group, group_bytes + size_bytes
    return [[rows[index] for index in sorted(group)] for group in groups]
