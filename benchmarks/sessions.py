"""Sessions as a worker makes them, in this process."""

from pathlib import Path

import onnx

from mnbench.model.inputs import seeded_feed
from mnbench.targets.device import read_device
from mnbench.worker.runtimes.onnxruntime import Session


def session_of(path: Path) -> Session:
    """A model's session on the device `cpu`."""
    device = read_device("cpu")
    assert device.threads != "all"
    return Session(
        str(path),
        inputs=seeded_feed(onnx.load(path), seed=0),  # pyright: ignore[reportUnknownMemberType]
        provider=device.provider,
        provider_options=device.provider_options,
        threads=device.threads,
        options=device.options,
    )
