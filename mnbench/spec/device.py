"""A device: where a worker runs, with which runtime and provider."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mnbench.errors import DeviceError
from mnbench.spec.decode import Table, decode


class Device(Table, frozen=True, kw_only=True):
    """One file of `devices/`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    gateway: str
    """An execnet gateway specification: `popen` is this Python on this machine."""
    runtime: Literal["onnxruntime"]
    provider: str
    threads: Annotated[int, msgspec.Meta(ge=1)]
    options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Session configuration entries of the runtime."""


def read_device(path: Path) -> Device:
    """Read one profile.

    Raises:
        DeviceError: unknown or missing key, or a value out of range.
    """
    return decode(path, Device, DeviceError)
