"""What the files of a folder make mnbench start, install, set and load: its device files, and the tables of `gate`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mnbench.comparison.compare import read_gated_records, table_demand
from mnbench.errors import DeviceFileError, MnbenchError
from mnbench.tables.table import Column, Table
from mnbench.targets.device import Device, read_device
from mnbench.trust import Demand
from mnbench.worker.runtimes import find_distribution
from mnbench.workspace import CURRENT_FOLDER


def folder_demands(folder: Path) -> tuple[list[Demand], list[str]]:
    """Return what the device files and tables of a folder demand, and notes on those that cannot be read.

    In place of the folder, a file stands for itself.
    """
    demands: list[Demand] = []
    notes: list[str] = []
    if folder.is_dir():
        root, paths = folder, [*sorted(folder.glob("devices/*.toml")), *sorted(folder.glob("results/*.jsonl"))]
    else:
        root, paths = CURRENT_FOLDER, [folder]
    for path in paths:
        try:
            demand = _demand(path, root)
        except MnbenchError as error:
            notes.append(f"not trusted: {error.message}")
        else:
            demands += [demand] if demand and demand.actions else []
    return demands, notes


def _demand(path: Path, root: Path) -> Demand | None:
    """Return what a file demands; `mnbench gate` measures a table on the device that it is named after, or on `cpu`."""
    if path.suffix == ".toml":
        return read_device(str(path), root).demand
    try:
        device = read_device(path.stem, root)
    except DeviceFileError:
        device = read_device("cpu", root)
    demand = table_demand(path, read_gated_records(path), device, version=_installed_version(device))
    return replace(demand, folder=root)


def _installed_version(device: Device) -> str:
    distribution = None if device.requires else find_distribution(device.runtime)
    return distribution.version if distribution else ""


def demand_table(demands: Sequence[Demand]) -> Table[tuple[Path, str]]:
    """Return a table with a row for each action."""
    columns = [
        Column[tuple[Path, str]](name="file", value=lambda row: str(row[0]), left=True),
        Column[tuple[Path, str]](name="action", value=lambda row: row[1], left=True),
    ]
    return Table(columns=columns, rows=[(demand.file, action) for demand in demands for action in demand.actions])
