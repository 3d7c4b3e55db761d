"""What the settings of a device would make mnbench start, load, install, set or connect to."""

import re
from collections.abc import Iterable, Mapping, Sequence

MAX_THREADS = 1024
"""Threads that a file can ask for: no machine that measures one inference has more cores."""

PLAIN_VALUE = re.compile(r"[\w:,=+ -]*|[+-]?\d*\.\d+")
"""Values of options that are words or numbers: they name no file, except under a key that says so."""

REFERRING_KEY = re.compile(
    r"path|file|folder|dir|lib|cache|dump|load|save|context|config|plugin|package|url|host|external|stream|alloc",
    re.IGNORECASE,
)
"""What keys of options contain whose values name files, libraries, machines or addresses in memory, or make the runtime
write."""


def gateway_actions(gateway: str) -> list[str]:
    """Return what it takes to reach a worker: nothing for a Python like this one."""
    kind, _, address = gateway.partition("=")
    if gateway == "popen":
        return []
    if kind == "dask":
        return [f"connects to the Dask scheduler {address}, which can run code here"]
    return [f"connects by ssh {address}" if kind == "ssh" else f"starts {gateway.removeprefix('popen//python=')}"]


def environment_actions(environment: Mapping[str, str]) -> list[str]:
    return [f"sets {name}={value}" for name, value in environment.items()]


def install_actions(requirements: Sequence[str]) -> list[str]:
    return [f"installs {requirement}" for requirement in requirements]


def thread_actions(threads: Iterable[int | str]) -> list[str]:
    """Return the numbers of threads that no device file may ask for."""
    return [f"starts {count} threads" for count in threads if isinstance(count, int) and count > MAX_THREADS]


def option_actions(options: Mapping[str, str]) -> list[str]:
    """Return what the options of a runtime or provider make it load or write: options that are no mere switches."""
    return [
        f"loads or writes what {key}={value} names"
        for key, value in options.items()
        if REFERRING_KEY.search(key) or not PLAIN_VALUE.fullmatch(value)
    ]
