"""The raw samples behind a record: every timed nanosecond of each of its processes."""

from contextlib import suppress
from glob import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnbench.records.record import Record


def latencies(results: Path, record: Record) -> list[NDArray[np.int64]]:
    """One array a process, in nanoseconds; none where the samples are not kept here."""
    found: list[NDArray[np.int64]] = []
    for path in sorted((results / "raw" / record.run).glob(f"{escape(record.variant)}.*.npz")):
        with suppress(Exception), np.load(path) as arrays:  # spoiled archives raise whatever zipfile and numpy raise
            found.append(arrays["latencies_ns"])
    return found
