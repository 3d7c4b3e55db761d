"""Tables of graphs and of devices."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from mnbench.network.architecture import Architecture
from mnbench.network.variant import OnnxFile, format_resolution
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.targets.device import Device
from mnbench.targets.readiness import Readiness

SENTENCE_KEYS = {"install_hint": "to get it", "tested": "tested"}
"""Keys of a device file that hold sentences, and how a note introduces them."""


def graph_table(architectures: Sequence[Architecture]) -> Table[Architecture]:
    columns = [
        Column[Any](name="graph", value=lambda a: a.name, left=True),
        Column[Any](name="short", left=True),
        Column[Any](name="title", left=True),
        Column[Any](name="resolution", value=lambda a: format_resolution(a.resolution), left=True),
        Column[Any](name="table", left=True),
    ]
    return Table(columns=columns, rows=architectures)


def model_file_table(files: Sequence[OnnxFile]) -> Table[OnnxFile]:
    columns = [
        Column[Any](name="model", value=lambda file: file.name, left=True),
        Column[Any](name="file", value=lambda file: file.row.file, left=True),
        Column[Any](name="inputs", value=lambda file: str(file.preset).strip("[]"), left=True),
    ]
    return Table(columns=columns, rows=files)


def graph_to_dict(architecture: Architecture) -> dict[str, Any]:
    return {"name": architecture.name, "resolution": architecture.resolution} | {
        key: getattr(architecture, key) for key in ("short", "title", "paper", "table")
    }


def device_table(devices: Sequence[tuple[Device, Readiness]]) -> Table[tuple[Device, Readiness]]:
    """One row per device. Long hints are notes below the table."""
    longer: dict[str, list[str]] = {}
    for device, state in devices:
        if not state.ready and state.command and not state.command.startswith("mnbench "):
            longer.setdefault(state.command, []).append(device.name)
    columns = [
        quantity("device", lambda row: row[0].name),
        Column[Any](name="what", value=lambda row: row[0].summary, left=True, drop_priority=1),
        Column[Any](name="provider", value=lambda row: row[0].provider, left=True, drop_priority=2),
        quantity("threads", lambda row: str(row[0].threads), drop_priority=2, left=True),
        Column[Any](
            name="state", value=lambda row: "see below" if row[1].command in longer else row[1].text, left=True
        ),
    ]
    notes = [f"{', '.join(names)}: {command}" for command, names in longer.items()]
    notes += [f"device {device.name} is {device.demand.file}" for device, _ in devices if device.demand]
    return Table(columns=columns, rows=devices, notes=notes)


def device_to_dict(device: Device, state: Readiness) -> dict[str, Any]:
    return device.settings | _origin(device) | asdict(state)


def _origin(device: Device) -> dict[str, Any]:
    """Return the file of a device that is not built in, and what it demands."""
    demand = device.demand
    return {"file": str(demand.file) if demand else None, "demands": list(demand.actions) if demand else []}


def device_file_table(device: Device, state: Readiness) -> Table[tuple[str, str]]:
    """One row per key of the device file that is not empty."""
    rows: list[tuple[str, str]] = []
    facts = device.settings | _origin(device)
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += [(f"{key}: {name}", text) for name, text in cast("dict[str, str]", value).items()]
        elif isinstance(value, list | tuple):
            rows += [(key, ", ".join(map(str, cast("list[Any]", value))))] if value else []
        elif value and key not in SENTENCE_KEYS:
            rows.append((key, str(value)))
    notes = [f"{says}: {facts[key]}" for key, says in SENTENCE_KEYS.items() if facts[key]]
    return key_value_table("key", [*rows, ("state", state.text)], notes)


def key_value_table(key: str, rows: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> Table[tuple[str, str]]:
    columns = [
        Column[Any](name=key, value=lambda pair: pair[0], left=True),
        Column[Any](name="value" if key == "key" else "found", value=lambda pair: pair[1], left=True),
    ]
    return Table(columns=columns, rows=rows, notes=notes)
