"""The runtimes that a worker knows."""

from pathlib import Path

import mnbench


def runtime_names() -> list[str]:
    """The runtimes that a worker knows: a file each."""
    folder = Path(mnbench.__file__).parent / "worker" / "runtimes"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
