"""The families, and how a file becomes one of their architectures."""

from pathlib import Path
from typing import Any, TypeAlias, cast

from mnbench.errors import ArchitectureError
from mnbench.spec.architecture import Architecture
from mnbench.spec.blocks import Blocks
from mnbench.spec.decode import decode
from mnbench.spec.mobilenet_v1 import MobileNetV1
from mnbench.spec.mobilenet_v2 import MobileNetV2
from mnbench.spec.mobilenet_v3 import MobileNetV3
from mnbench.spec.shufflenet import ShuffleNetV1, ShuffleNetV2

Family: TypeAlias = MobileNetV1 | MobileNetV2 | MobileNetV3 | ShuffleNetV1 | ShuffleNetV2 | Blocks


def read_architecture(path: Path) -> Architecture:
    """Read and check one table.

    Raises:
        ArchitectureError: unknown or missing key, a value out of range, or a row that contradicts the table.
    """
    architecture = cast("Architecture", decode(path, cast("type[Any]", Family), ArchitectureError))
    architecture.check(path)
    return architecture
