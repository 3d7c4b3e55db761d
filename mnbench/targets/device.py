"""A device: where a worker runs, with which runtime and provider."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec

from mnbench.errors import DeviceFileError, suggest
from mnbench.network.toml_struct import TomlStruct, convert_toml, load_toml
from mnbench.regular_files import read_regular
from mnbench.targets import demands
from mnbench.targets.requirements import check_requirement
from mnbench.targets.runtimes import runtime_facts, runtime_names
from mnbench.trust import Demand, require_trust
from mnbench.workspace import (
    CURRENT_FOLDER,
    built_in,
    check_name,
    find_table,
    is_built_in,
    table_paths,
    warn_if_shadowing,
)

OPTIONS = ("options", "provider_options", "environment")
"""Sub-tables that a device file merges with those of the file that it extends."""

REQUIREMENTS = ("requires", "requires_no_deps", "requires_npm")
"""Keys of a device file that name packages."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""An environment variable in a gateway."""

NOT_INHERITED = ("name", "tested")
"""Keys that a device file does not take from the file that it extends."""

Threads: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=demands.MAX_THREADS)] | Literal["all"]
"""Threads of one inference; `all`: as many as the worker's affinity and quota allow."""

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Core: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Variable: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]

DASK_PREFIX = "dask="
"""The beginning of a gateway whose boards belong to a Dask scheduler; its address follows."""


class DeviceFile(TomlStruct, frozen=True, kw_only=True):
    """One file of `devices/`, with what it inherits."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*\Z")]
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
    requires_npm: tuple[Text, ...] = ()
    """Packages of npm installed there; `requires` then names a wheel of Node."""
    machine: Literal["", "arm64"] = ""
    """The processor that the device means, if it is not this machine's: see `mnbench/targets/resolve.py`."""
    systems: tuple[Literal["Linux", "Darwin", "Windows"], ...] = ()
    """Operating systems that can run it; none: all."""
    install_hint: str = ""
    """How to install the runtime, if mnbench cannot install it."""
    tested: str = ""
    """What has been tested, and what has not."""


class Device(DeviceFile, frozen=True, kw_only=True):
    """A device as its file describes it. `demand` is what needs the user's trust; None for a built-in device."""

    demand: Demand | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the file says, as JSON."""
        return {key: msgspec.to_builtins(getattr(self, key)) for key in DeviceFile.__struct_fields__}

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
    tables = _read_tables(path, root)
    file = convert_toml(_merge(list(tables.values())), path, DeviceFile, DeviceFileError)
    check_name(file.name, path, DeviceFileError)
    if file.runtime not in runtime_names():
        raise DeviceFileError(
            path,
            "key `runtime`",
            f"unknown runtime {file.runtime!r}",
            hint=f"allowed values: {', '.join(runtime_names())}",
        )
    for key in REQUIREMENTS:
        for text in getattr(file, key):
            try:
                check_requirement(text)
            except ValueError as failure:
                raise DeviceFileError(path, f"key `{key}`", str(failure), hint="name packages of an index") from failure
    _check_folders(file.options | file.provider_options, path)
    local_tables = {path: table for path, table in tables.items() if not is_built_in(path, "devices")}
    demand = _demand(path, root, file, local_tables) if local_tables else None
    return Device(**{key: getattr(file, key) for key in DeviceFile.__struct_fields__}, demand=demand)


def _check_folders(options: Mapping[str, str], path: Path) -> None:
    """Refuse folders below `~/`, which a worker creates, that lie elsewhere."""
    for name, value in options.items():
        if value.startswith("~/") and ".." in PurePath(value).parts:
            hint = "name a folder below ~/ without `..`"
            raise DeviceFileError(path, f"key `{name}`", f"{value} may lie outside of the home folder", hint=hint)


def _demand(path: Path, root: Path, file: DeviceFile, tables: Mapping[Path, Mapping[str, Any]]) -> Demand:
    """Return what the local tables of a device set; what they inherit from a built-in one is trusted."""
    keys = {key for table in tables.values() for key in table}

    def entries(key: str) -> dict[str, str]:
        local = [table[key] for table in tables.values() if isinstance(table.get(key), dict)]
        return {name: text for name, text in getattr(file, key).items() if any(name in entry for entry in local)}

    return Demand(
        file=path,
        folder=root,
        # The bytes and what was read of them: both, so that a file that changes meanwhile is not trusted.
        content=b"\0".join(read_regular(file) + repr(table).encode() for file, table in tables.items()),
        actions=(
            *demands.gateway_actions(file.gateway if "gateway" in keys else "popen"),
            *demands.environment_actions(entries("environment")),
            *demands.install_actions([item for key in REQUIREMENTS if key in keys for item in getattr(file, key)]),
            *demands.option_actions(entries("options") | entries("provider_options")),
        ),
    )


def require_trust_in(device: Device) -> Device:
    """Return the device without its demand, if the user trusts it.

    Raises:
        TrustError: the user does not.
    """
    require_trust([device.demand] if device.demand else [])
    return msgspec.structs.replace(device, demand=None)


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


def _read_tables(path: Path, root: Path) -> dict[Path, dict[str, Any]]:
    """Read a device file, and those that it extends; the nearest is the first."""
    tables: dict[Path, dict[str, Any]] = {}
    all_known = table_paths("devices", root)
    while True:
        table = tables[path] = load_toml(path, DeviceFileError)
        if "extends" not in table:
            return tables
        name = str(table.pop("extends"))
        # A workspace's `cpu` may extend the built-in one, and what is built in extends nothing else.
        is_base_built_in = name == path.stem or is_built_in(path, "devices")
        known = {**all_known, name: built_in("devices") / f"{name}.toml"} if is_base_built_in else all_known
        if name not in known or known[name] in tables:
            hint = f"{suggest(name, known)}known: {', '.join(known)}"
            raise DeviceFileError(path, "key `extends`", f"unknown device {name!r}", hint=hint)
        path = known[name]
        warn_if_shadowing(path, "devices")


def _merge(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge each table's keys and sub-tables over those of the tables behind it."""
    merged: dict[str, Any] = {}
    for table in reversed(tables):
        inherited = {key: value for key, value in merged.items() if key not in NOT_INHERITED}
        merged = inherited | table
        for key in OPTIONS:
            base, changes = inherited.get(key), table.get(key)
            if isinstance(base, dict) and isinstance(changes, dict):
                merged[key] = cast("dict[str, Any]", base | changes)
    return merged
