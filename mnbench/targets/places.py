"""Where things are kept that took long to make."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`MNBENCH_CACHE`, or a folder in the user's own for caches."""
    named = os.environ.get("MNBENCH_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else home / "mnbench"
