"""Profiles on disk: each beside the raw samples of the run that it belongs to."""

from pathlib import Path

import msgspec

from mnbench import atomic_files
from mnbench.bench.profiling import LayerProfile
from mnbench.errors import ResultsError
from mnbench.results.store import RunFolder

PROFILE_SUFFIX = ".profile.json"


def save_profile(run: RunFolder, profile: LayerProfile) -> None:
    """Write a cell's profile.

    Raises:
        FileError: no space, no permission.
    """
    atomic_files.write_atomically(run.path / f"{profile.variant}{PROFILE_SUFFIX}", msgspec.json.encode(profile))


def newest_profiles(results: Path) -> list[LayerProfile]:
    """The newest profile of each variant, on each device and thread count; by name.

    Raises:
        ResultsError: one cannot be read.
    """
    entries: dict[tuple[str, str, int], LayerProfile] = {}
    # A run's folder is named after the time when it started.
    for path in sorted(results.glob(f"raw/*/*{PROFILE_SUFFIX}")):
        try:
            profile = msgspec.json.decode(path.read_bytes(), type=LayerProfile)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as failure:
            raise ResultsError(f"{path}: is no profile: {failure}", hint="delete it, and profile again") from failure
        entries[profile.variant, profile.device, profile.threads] = profile
    return [entries[key] for key in sorted(entries)]
