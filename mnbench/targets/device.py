"""A device: where a worker runs, with which runtime and provider."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from mnbench.errors import DeviceFileError, suggest
from mnbench.network.toml_struct import TomlStruct, convert_toml, load_toml
from mnbench.targets.runtimes import runtime_facts, runtime_names
from mnbench.workspace import CURRENT_FOLDER, built_in, check_name, find_table, table_paths

OPTIONS = ("options", "provider_options", "environment")
"""Sub-tables that a device file merges with those of the file that it extends."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""An environment variable in a gateway."""

NOT_INHERITED = ("name", "tested")
"""Keys that a device file does not take from the file that it extends."""

Threads: TypeAlias = Annotated[int, msgspec.Meta(ge=1)] | Literal["all"]
"""Threads of one inference; `all`: as many as the worker's affinity and quota allow."""

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Core: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Variable: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


DASK_PREFIX = "dask="
"""The beginning of a gateway whose boards belong to a Dask scheduler; its address follows."""


class Device(TomlStruct, frozen=True, kw_only=True):
    """One file of `devices/`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    gateway: str
    """An execnet gateway specification: `popen` is this Python on this machine."""
    runtime: str
    """A file of `mnbench/worker/runtimes/`."""
    provider: str
    threads: Threads
    cores: tuple[Core, ...] = ()
    """Cores that the worker is bound to; none: not bound."""
    options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Session configuration entries of the runtime."""
    provider_options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    environment: dict[Variable, str] = msgspec.field(default_factory=dict[str, str])
    """Environment variables that the worker gets in addition."""
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Largest accepted difference of outputs from the reference, if the device computes less precisely."""
    requires: tuple[Text, ...] = ()
    """Packages of the device's own environment; none: this Python is used."""
    requires_no_deps: tuple[Text, ...] = ()
    """Packages installed there without their dependencies."""
    machine: Literal["", "arm64"] = ""
    """The processor that the device means, if it is not this machine's: see `mnbench/targets/resolve.py`."""
    systems: tuple[Literal["Linux", "Darwin", "Windows"], ...] = ()
    """Operating systems that can run it; none: all."""
    install_hint: str = ""
    """How to install the runtime, if mnbench cannot install it."""
    tested: str = ""
    """What has been tested, and what has not."""

    @property
    def is_fleet(self) -> bool:
        """Whether boards of a Dask scheduler measure."""
        return self.gateway.startswith(DASK_PREFIX)

    @property
    def nvidia(self) -> bool:
        return self.provider in runtime_facts(self.runtime).nvidia_providers

    @property
    def emulated(self) -> bool:
        """Whether QEMU starts its Python. The host's facts show other emulators."""
        return "//python=" in self.gateway and "qemu-" in self.gateway.partition("//python=")[2].split(" -")[0]


def read_device(name: str, root: Path = CURRENT_FOLDER) -> Device:
    """Read the device of that name or path, and merge it over the device that it `extends`.

    Raises:
        DeviceFileError: there is no such device, or its file is wrong.
    """
    path = find_table(name, "devices", DeviceFileError, root)
    device = convert_toml(_extended(path, root), path, Device, DeviceFileError)
    check_name(device.name, path, DeviceFileError)
    if device.runtime not in runtime_names():
        raise DeviceFileError(
            path,
            "key `runtime`",
            f"unknown runtime {device.runtime!r}",
            hint=f"allowed values: {', '.join(runtime_names())}",
        )
    return device


def expand_variables(device: Device) -> Device:
    """Replace environment variables in the device's `gateway`: `ssh=${MNBENCH_PI}`."""
    try:
        gateway = VARIABLE.sub(lambda match: os.environ[match[1]], device.gateway)
    except KeyError as failure:
        name = failure.args[0]
        raise DeviceFileError(
            f"device {device.name}",
            "key `gateway`",
            f"the environment variable {name} is not set",
            hint=f"export {name}=…",
        ) from failure
    return msgspec.structs.replace(device, gateway=gateway)


def _extended(path: Path, root: Path, *below: Path) -> dict[str, Any]:
    """Read a device file, and merge its keys and sub-tables over those of the file that it extends."""
    table = load_toml(path, DeviceFileError)
    if "extends" not in table:
        return table
    name = str(table.pop("extends"))
    # A workspace's `cpu` may extend the built-in one.
    known = table_paths("devices", root) | ({name: built_in("devices") / f"{name}.toml"} if name == path.stem else {})
    base = known.get(name)
    if base is None or base in (path, *below):
        hint = f"{suggest(name, known)}known: {', '.join(known)}"
        raise DeviceFileError(path, "key `extends`", f"unknown device {name!r}", hint=hint)
    entries = _extended(base, root, path, *below)
    for key in NOT_INHERITED:
        entries.pop(key, None)
    merged = {key: entries[key] | table[key] for key in OPTIONS if key in entries and key in table}
    return entries | table | merged
