"""Facts of an installed runtime, read without importing it."""

from __future__ import annotations

import base64
from contextlib import suppress
from importlib import metadata

from ..runtimes import read_literals


def find_distribution(runtime: str) -> metadata.Distribution | None:
    """Return the installed distribution of the runtime, whichever build it is."""
    for name in read_literals(runtime).get("DISTRIBUTIONS", (runtime,)):
        with suppress(metadata.PackageNotFoundError):
            return metadata.distribution(name)
    return None


def library_sha256(runtime: str, library: str) -> str | None:
    """Return the hash of the library whose name starts like this, from the RECORD of its wheel."""
    distribution = find_distribution(runtime)
    for file in (distribution.files if distribution else None) or []:
        if file.hash and file.name.startswith(library):
            return base64.urlsafe_b64decode(f"{file.hash.value}==").hex()
    return None
