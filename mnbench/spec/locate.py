"""Where tables are: the workspace's own folder first, then the built-in one; or a path to a `.toml`."""

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec

import mnbench
from mnbench.errors import ArchitectureError, DeviceError, TableError
from mnbench.spec.architecture import Architecture
from mnbench.spec.decode import fit, load
from mnbench.spec.device import Device
from mnbench.spec.families import read_architecture

Folder = Literal["graphs", "graphs/studies", "graphs/claims", "devices"]

OPTIONS = ("options", "provider_options", "environment")
"""Sub-tables of a profile, to which one that extends it adds."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""How a gateway names a variable of the environment."""

OWN = ("name", "tried")
"""Keys of a profile that say nothing of one that extends it."""


def architecture(name: str) -> Architecture:
    """The architecture of that name or path.

    Raises:
        ArchitectureError: there is none, or its table is wrong.
    """
    known = tables("graphs")
    if name not in known and not name.endswith(".toml"):
        every = map(read_architecture, known.values())
        name = next((one.name for one in every if one.short == name and one.name in known), name)
    path = graphs().get(name) or find(name, "graphs", ArchitectureError)
    found = read_architecture(path)
    _check_name(found.name, path, ArchitectureError)
    return found


def graphs() -> dict[str, Path]:
    """Every graph by name, those of studies too, which no list shows and no run measures unasked."""
    return tables("graphs/studies") | tables("graphs")


def device(name: str) -> Device:
    """The device of that name or path, with what it `extends`.

    Raises:
        DeviceError: there is none, or its profile is wrong.
    """
    path = find(name, "devices", DeviceError)
    found = fit(_extended(path), path, Device, DeviceError)
    _check_name(found.name, path, DeviceError)
    if found.runtime not in runtimes():
        raise DeviceError(
            path,
            "key `runtime`",
            f"there is no runtime named {found.runtime!r}",
            hint=f"allowed values: {', '.join(runtimes())}",
        )
    return found


def addressed(device: Device) -> Device:
    """The device with the environment's values for the variables in its `gateway`: `ssh=${MNBENCH_PI}`.

    Raises:
        DeviceError: one of them is not set.
    """
    try:
        gateway = VARIABLE.sub(lambda found: os.environ[found[1]], device.gateway)
    except KeyError as failure:
        name = failure.args[0]
        raise DeviceError(
            f"device {device.name}",
            "key `gateway`",
            f"the environment variable {name} is not set",
            hint=f"export {name}=…",
        ) from failure
    return msgspec.structs.replace(device, gateway=gateway)


def _check_name(name: str, path: Path, error: type[TableError]) -> None:
    """Results go by names: two tables of one name would mix theirs."""
    if name != path.stem:
        raise error(
            path,
            "key `name`",
            f"{name!r} is not the name of the file",
            hint=f"results go by it: name the table {path.stem}, or the file {name}.toml",
        )


def runtimes() -> list[str]:
    """The runtimes that a worker knows: a file each."""
    folder = Path(mnbench.__file__).parent / "worker" / "runtimes"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def _extended(path: Path, *below: Path) -> dict[str, Any]:
    """The profile's keys over those of the profile it extends; sub-tables are merged, the name is its own."""
    table = load(path, DeviceError)
    if "extends" not in table:
        return table
    name = str(table.pop("extends"))
    # A workspace's `cpu` may extend the built-in one.
    known = tables("devices") | ({name: built_in("devices") / f"{name}.toml"} if name == path.stem else {})
    base = known.get(name)
    if base is None or base in (path, *below):
        raise DeviceError(
            path, "key `extends`", f"there is nothing to extend named {name!r}", hint=f"known: {', '.join(known)}"
        )
    found = _extended(base, path, *below)
    for own in OWN:
        found.pop(own, None)
    merged = {key: found[key] | table[key] for key in OPTIONS if key in found and key in table}
    return found | table | merged


def tables(folder: Folder) -> dict[str, Path]:
    """Every table by name; the workspace's own hide built-in ones of the same name."""
    found: dict[str, Path] = {}
    for place in (built_in(folder), Path(folder)):
        found.update((path.stem, path) for path in sorted(place.glob("*.toml")))
    return dict(sorted(found.items()))


def built_in(folder: Folder) -> Path:
    """The folder inside the installed package, or beside it in a checkout."""
    package = Path(mnbench.__file__).parent
    inside = package / folder
    if not inside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return package.parent / folder
    return inside


def find(name: str, folder: Folder, error: type[TableError]) -> Path:
    """The file of that name or path.

    Raises:
        TableError: as `error`, where there is none of that name.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = tables(folder)
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1)
    guess = f"did you mean `{close[0]}`? " if close else ""
    thing = {"graphs/claims": "study"}.get(folder, folder.removesuffix("s"))
    raise error(
        name,
        "",
        f"there is no {thing} of that name",
        hint=f"{guess}known: {', '.join(known)}; a path to a .toml works too"
        + (", and so does a path to an .onnx" if folder == "graphs" else ""),
    )
