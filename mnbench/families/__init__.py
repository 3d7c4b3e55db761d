"""The families, and how a file becomes one of their architectures."""

from pathlib import Path
from typing import Any, TypeAlias, cast

from mnbench.errors import GraphFileError
from mnbench.families.generic import StackedBlocks
from mnbench.families.mobilenet_v1 import MobileNetV1
from mnbench.families.mobilenet_v2 import MobileNetV2
from mnbench.families.mobilenet_v3 import MobileNetV3
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.network.architecture import Architecture
from mnbench.network.toml_struct import read_toml
from mnbench.workspace import check_name, find_table, table_paths

Family: TypeAlias = MobileNetV1 | MobileNetV2 | MobileNetV3 | ShuffleNetV1 | ShuffleNetV2 | StackedBlocks


def read_architecture(path: Path) -> Architecture:
    """Read and check one table.

    Raises:
        GraphFileError: unknown or missing key, a value out of range, or a row that contradicts the table.
    """
    architecture = cast("Architecture", read_toml(path, cast("type[Any]", Family), GraphFileError))
    architecture.check(path)
    return architecture


def architecture(name: str) -> Architecture:
    """The architecture of that name or path.

    Raises:
        GraphFileError: there is none, or its table is wrong.
    """
    known = table_paths("graphs")
    if name not in known and not name.endswith(".toml"):
        every = map(read_architecture, known.values())
        name = next((item.name for item in every if item.short == name and item.name in known), name)
    path = graph_paths().get(name) or find_table(name, "graphs", GraphFileError)
    result = read_architecture(path)
    check_name(result.name, path, GraphFileError)
    return result


def graph_paths() -> dict[str, Path]:
    """Every graph by name, those of studies too, which no list shows and no run measures unasked."""
    return table_paths("graphs/study_networks") | table_paths("graphs")
