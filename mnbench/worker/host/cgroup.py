"""Limits of this process's control group and all groups above it: a container's limits."""

from __future__ import annotations

import posixpath

from .procfs import ProcFiles, not_none, parse_integer


class Cgroup:
    """The folders of one controller, from this process's own group up to the highest visible one.

    In version 2, all controllers share one tree; in version 1, each has its own; some hosts mix the two.
    """

    def __init__(self, files: ProcFiles, controller: str) -> None:
        self.files = files
        groups = _own_groups(files.read_text("proc/self/cgroup"))
        folders: list[str] = []
        for root, mount, kind in _mounts(files.read_text("proc/self/mountinfo")):
            group = groups.get("" if kind is None else controller)
            if group is not None and (kind is None or controller in kind):
                folders += _upwards(group, root, mount)
        self.folders = list(dict.fromkeys(folders))  # a container may see one tree at several places

    def smallest(self, *names: str) -> int | None:
        """Return the smallest number in these files of all folders: the limit that applies."""
        result = (self.files.read_integer(f"{folder}/{name}") for folder in self.folders for name in names)
        return min(not_none(result), default=None)


def quota_cores(files: ProcFiles) -> float | None:
    """Return the number of cores that the groups' quotas allow; None without a quota."""
    group = Cgroup(files, "cpu")
    result: list[float] = []
    for folder in group.folders:
        words = files.read_text(f"{folder}/cpu.max").split() or [
            files.read_text(f"{folder}/cpu.cfs_quota_us"),
            files.read_text(f"{folder}/cpu.cfs_period_us"),
        ]
        quota, period = (parse_integer(word) for word in (*words, "", "")[:2])
        if quota and period and quota > 0 and period > 0:  # version 1 writes -1 for no limit, version 2 `max`
            result.append(quota / period)
    return round(min(result), 3) if result else None


def memory_limit_bytes(files: ProcFiles) -> int | None:
    """Return the memory that the groups allow; None without a limit."""
    limit = Cgroup(files, "memory").smallest("memory.max", "memory.limit_in_bytes")
    return limit if limit is not None and 0 < limit < 2**60 else None  # version 1 writes nearly 2⁶³ for no limit


def count_throttling(files: ProcFiles) -> tuple[int | None, float | None]:
    """Return how often the quota has stopped these groups, and for how many seconds."""
    times: list[int | None] = []
    seconds: list[float | None] = []
    for folder in Cgroup(files, "cpu").folders:
        lines = (line.split() for line in files.read_text(f"{folder}/cpu.stat").splitlines())
        reported = {words[0]: parse_integer(words[1]) for words in lines if len(words) == 2}
        times.append(reported.get("nr_throttled"))
        seconds += [_scaled(reported.get("throttled_usec"), 1e6), _scaled(reported.get("throttled_time"), 1e9)]
    counted, stood = not_none(times), not_none(seconds)
    return sum(counted) if counted else None, sum(stood) if stood else None


def _scaled(value: int | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _own_groups(text: str) -> dict[str, str]:
    """Return this process's group by controller; the controller of version 2 is the empty string."""
    entries: dict[str, str] = {}
    for line in text.splitlines():
        _, colon, remainder = line.partition(":")
        controllers, colon, group = remainder.partition(":")
        if colon:
            entries.update(dict.fromkeys(controllers.split(","), group))
    return entries


def _mounts(text: str) -> list[tuple[str, str, list[str] | None]]:
    """Return the root group, the mount and the controllers (None in version 2) of each tree."""
    result: list[tuple[str, str, list[str] | None]] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        place, system = before.split(), after.split()
        if dash and len(place) >= 5 and len(system) >= 3 and system[0] in {"cgroup", "cgroup2"}:
            controllers = None if system[0] == "cgroup2" else system[2].split(",")
            result.append((place[3], place[4].lstrip("/"), controllers))
    return result


def _upwards(group: str, root: str, mount: str) -> list[str]:
    """Return the group's folder and those above it, up to the mount of the tree.

    A container may see its own group as the root of the tree, with the name that the group has outside. A group that is
    not below the tree's root starts at the mount itself.
    """
    below = posixpath.relpath(posixpath.normpath(f"/{group}"), posixpath.normpath(f"/{root}"))
    folders = [mount]
    if not below.startswith(".."):
        for part in below.split("/"):
            if part != ".":
                folders.append(f"{folders[-1]}/{part}")
    return folders[::-1]
