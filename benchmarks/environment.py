"""Virtual environments of their own, for peers whose packages do not go with ours."""

import sys
from pathlib import Path

from benchmarks.interleaved import ROOT, output


def environment(name: str, *packages: str | Path) -> Path:
    """The Python of `.venv-<name>` in the checkout, made with pip's arguments `packages` unless it is there whole."""
    folder = ROOT / f".venv-{name}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        print(f"installing {folder.name}", file=sys.stderr)
        output(sys.executable, "-m", "venv", "--clear", folder)
        output(python, "-m", "pip", "install", *packages)
        ready.touch()
    return python
