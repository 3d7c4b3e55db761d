"""The newest record of every cell in a folder of results."""

from collections.abc import Sequence
from pathlib import Path

from mnbench.errors import RecordError
from mnbench.records.record import Record
from mnbench.records.store import Store
from mnbench.records.table import latest


def newest(results: Path, devices: Sequence[str] = ()) -> list[Record]:
    """Those of the devices named, or of all.

    Raises:
        RecordError: there are none, or the results cannot be read.
    """
    known = sorted(path.stem for path in results.glob("*.jsonl"))
    for device in devices:
        if device not in known:
            raise RecordError(
                f"{results}: holds no results of device {device}", hint=f"known: {', '.join(known) or 'none yet'}"
            )
    records = latest(record for device in devices or known for record in Store(results, device).records())
    if not records:
        raise RecordError(f"{results}: holds no results yet", hint="measure some: mnbench run v1")
    return records
