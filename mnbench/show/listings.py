"""Architectures and devices as lists."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from mnbench.columns import Column, Table
from mnbench.network.variant import resolution_text
from mnbench.spec.architecture import Architecture
from mnbench.spec.device import Device


def graph_table(architectures: Sequence[Architecture]) -> Table[Architecture]:
    """One row an architecture."""
    columns = [
        Column[Any](name="graph", value=lambda a: a.name, left=True),
        Column[Any](name="short", value=lambda a: a.short, left=True),
        Column[Any](name="title", value=lambda a: a.title, left=True),
        Column[Any](name="resolution", value=lambda a: resolution_text(a.resolution), left=True),
        Column[Any](name="table", value=lambda a: a.table, left=True),
    ]
    return Table(columns=columns, rows=architectures)


def graph_payload(architecture: Architecture) -> dict[str, Any]:
    """For programs."""
    return {"name": architecture.name, "resolution": architecture.resolution} | {
        key: getattr(architecture, key) for key in ("short", "title", "paper", "table")
    }


def device_table(devices: Sequence[Device]) -> Table[Device]:
    """One row a device."""
    columns = [
        Column[Any](name="device", value=lambda d: d.name, left=True),
        Column[Any](name="what", value=lambda d: d.summary, left=True),
        Column[Any](name="provider", value=lambda d: d.provider, left=True),
        Column[Any](name="threads", value=lambda d: str(d.threads), left=True),
    ]
    return Table(columns=columns, rows=devices)


def device_payload(device: Device) -> dict[str, Any]:
    """For programs."""
    return msgspec.to_builtins(device)


def profile_table(device: Device) -> Table[tuple[str, str]]:
    """One row a key of the profile that says anything."""
    facts = device_payload(device)
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            rows += [(f"{key}: {name}", text) for name, text in cast("dict[str, str]", value).items()]
        elif value:
            rows.append((key, str(value)))
    columns = [
        Column[Any](name="key", value=lambda pair: pair[0], left=True),
        Column[Any](name="value", value=lambda pair: pair[1], left=True),
    ]
    return Table(columns=columns, rows=rows)
