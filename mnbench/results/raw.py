"""The raw samples behind a record: every timed nanosecond of each of its processes."""

from contextlib import suppress
from glob import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnbench.results.record import Record


def raw_latencies(results: Path, record: Record) -> list[NDArray[np.int64]]:
    """One array a process, in nanoseconds; none where the samples are not kept here."""
    result: list[NDArray[np.int64]] = []
    folder = results / "raw" / record.run
    # Most tables come without samples, and a pattern costs more than a look.
    for path in sorted(folder.glob(f"{escape(record.variant)}.*.npz")) if folder.is_dir() else ():
        with suppress(Exception), np.load(path) as arrays:  # spoiled archives raise whatever zipfile and numpy raise
            result.append(arrays["latencies_ns"])
    return result
