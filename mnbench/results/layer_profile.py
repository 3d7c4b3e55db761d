"""Profiles on disk: each beside the raw samples of the run that it belongs to."""

from pathlib import Path

import msgspec

from mnbench import atomic_files
from mnbench.bench.profiling import Profile
from mnbench.errors import RecordError
from mnbench.results.store import Run

SUFFIX = ".profile.json"


def keep(run: Run, profile: Profile) -> None:
    """Write a cell's profile.

    Raises:
        FileError: no space, no permission.
    """
    atomic_files.write(run.folder / f"{profile.variant}{SUFFIX}", msgspec.json.encode(profile))


def newest(results: Path) -> list[Profile]:
    """The newest profile of each variant, on each device and thread count; by name.

    Raises:
        RecordError: one cannot be read.
    """
    found: dict[tuple[str, str, int], Profile] = {}
    # A run's folder is named after the time when it started.
    for path in sorted(results.glob(f"raw/*/*{SUFFIX}")):
        try:
            profile = msgspec.json.decode(path.read_bytes(), type=Profile)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as failure:
            raise RecordError(f"{path}: is no profile: {failure}", hint="delete it, and profile again") from failure
        found[profile.variant, profile.device, profile.threads] = profile
    return [found[key] for key in sorted(found)]
