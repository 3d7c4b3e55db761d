"""stdout and stderr: closed ones write nowhere, and no lost message on stderr ends a measurement."""

import io
import os
import sys
from typing import Any, cast


class _LossyFile(io.FileIO):
    """A file that drops what cannot be written: its disk is full, or its terminal is gone."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Open streams that the caller closed, and let none fail for a character or a lost message."""
    for name in ("stdout", "stderr"):
        # A stream that the caller closed is None; os.devnull takes its place and its number.
        stream = getattr(sys, name) or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        # A terminal that cannot show ≥ or α shows a question mark.
        cast("Any", stream).reconfigure(errors="replace")
        setattr(sys, name, stream)
    if sys.stderr is sys.__stderr__:
        file: Any = _LossyFile(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(file, encoding=sys.stderr.encoding, errors="replace", write_through=True)
