"""What is installed of a runtime, without importing it."""

from __future__ import annotations

import base64
from contextlib import suppress
from importlib import metadata

KINDS = ("", "-gpu", "-directml", "-openvino", "-qnn", "-webgpu", "-migraphx")
"""Builds of one runtime come as distributions of their own."""


def find_distribution(runtime: str) -> metadata.Distribution | None:
    """The runtime's distribution, whichever of its builds is installed."""
    for kind in KINDS:
        with suppress(metadata.PackageNotFoundError):
            return metadata.distribution(f"{runtime}{kind}")
    return None


def library_sha256(runtime: str, library: str) -> str | None:
    """The hash of the library whose name starts so, by the record of the wheel that it came in."""
    distribution = find_distribution(runtime)
    for file in (distribution.files if distribution else None) or []:
        if file.hash and file.name.startswith(library):
            return base64.urlsafe_b64decode(f"{file.hash.value}==").hex()
    return None
