"""A device: where a worker runs, with which runtime and provider."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from mnbench.errors import DeviceFileError
from mnbench.network.toml_struct import TomlStruct, convert_toml, load_toml
from mnbench.targets.runtimes import runtime_facts, runtime_names
from mnbench.workspace import built_in, check_name, find_table, table_paths

OPTIONS = ("options", "provider_options", "environment")
"""Sub-tables of a profile, to which one that extends it adds."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""How a gateway names a variable of the environment."""

OWN = ("name", "tested")
"""Keys of a profile that say nothing of one that extends it."""

Threads: TypeAlias = Annotated[int, msgspec.Meta(ge=1)] | Literal["all"]
"""Of one inference; `all` is as many as the device lets the worker use: its affinity and its quota."""

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Core: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Variable: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


DASK_PREFIX = "dask="
"""How the gateway of a device begins that boards of a Dask scheduler are; its address follows."""


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
    """Cores that the worker is bound to; none: those that the system gives it."""
    options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Session configuration entries of the runtime."""
    provider_options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    environment: dict[Variable, str] = msgspec.field(default_factory=dict[str, str])
    """Variables that the worker starts with, beside those that it would have."""
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """How far outputs may lie from the reference's, where its arithmetic is coarser than the precision asked for."""
    requires: tuple[Text, ...] = ()
    """Packages of an environment of its own; none: this Python's."""
    requires_no_deps: tuple[Text, ...] = ()
    """Packages that go there without those that they depend on."""
    machine: Literal["", "arm64"] = ""
    """The processor that it is about, if not this machine's own: see `mnbench/targets/resolve.py`."""
    systems: tuple[Literal["Linux", "Darwin", "Windows"], ...] = ()
    """Where it can run; none: anywhere."""
    install_hint: str = ""
    """How to get it, where an environment of its own is not the way."""
    tested: str = ""
    """What was tried of it, and what was not."""

    @property
    def is_fleet(self) -> bool:
        """Whether boards of a Dask scheduler measure."""
        return self.gateway.startswith(DASK_PREFIX)

    @property
    def nvidia(self) -> bool:
        """Whether an NVIDIA GPU computes."""
        return self.provider in runtime_facts(self.runtime).nvidia_providers

    @property
    def emulated(self) -> bool:
        """Whether its Python is started by QEMU. Where other emulators hide, the facts of its host tell."""
        return "//python=" in self.gateway and "qemu-" in self.gateway.partition("//python=")[2].split(" -")[0]


def read_device(name: str) -> Device:
    """Read the device of this name or path, merged with the one it `extends`.

    Raises:
        DeviceFileError: there is none, or its profile is wrong.
    """
    path = find_table(name, "devices", DeviceFileError)
    device = convert_toml(_extended(path), path, Device, DeviceFileError)
    check_name(device.name, path, DeviceFileError)
    if device.runtime not in runtime_names():
        raise DeviceFileError(
            path,
            "key `runtime`",
            f"there is no runtime named {device.runtime!r}",
            hint=f"allowed values: {', '.join(runtime_names())}",
        )
    return device


def expand_variables(device: Device) -> Device:
    """Replace the environment variables in the device's `gateway`: `ssh=${MNBENCH_PI}`.

    Raises:
        DeviceFileError: one of them is not set.
    """
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


def _extended(path: Path, *below: Path) -> dict[str, Any]:
    """Merge a device file with the one it extends: its keys win, sub-tables are merged, the name is its own."""
    table = load_toml(path, DeviceFileError)
    if "extends" not in table:
        return table
    name = str(table.pop("extends"))
    # A workspace's `cpu` may extend the built-in one.
    known = table_paths("devices") | ({name: built_in("devices") / f"{name}.toml"} if name == path.stem else {})
    base = known.get(name)
    if base is None or base in (path, *below):
        raise DeviceFileError(
            path, "key `extends`", f"there is nothing to extend named {name!r}", hint=f"known: {', '.join(known)}"
        )
    entries = _extended(base, path, *below)
    for own in OWN:
        entries.pop(own, None)
    merged = {key: entries[key] | table[key] for key in OPTIONS if key in entries and key in table}
    return entries | table | merged
