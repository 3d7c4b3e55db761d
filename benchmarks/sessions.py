"""Sessions as a worker makes them, in this process."""

from pathlib import Path

import onnx

from mnbench.model.inputs import random_inputs
from mnbench.targets.device import read_device
from mnbench.worker.runtimes import SessionSettings
from mnbench.worker.runtimes.onnxruntime import Session


def session_of(path: Path) -> Session:
    """A model's session on the device `cpu`."""
    device = read_device("cpu")
    assert device.threads != "all"
    settings = SessionSettings(
        inputs=random_inputs(onnx.load(path), seed=0),  # pyright: ignore[reportUnknownMemberType]
        provider=device.provider,
        provider_options=device.provider_options,
        threads=device.threads,
        options=device.options,
    )
    return Session(str(path), settings)
