"""Sessions as a worker makes them, in this process."""

from dataclasses import replace
from pathlib import Path

from mnbench.model.read_onnx import read_onnx
from mnbench.network.variant import InputOptions
from mnbench.targets.device import read_device
from mnbench.worker.runtimes import SessionSettings
from mnbench.worker.runtimes.onnxruntime import Session


def session_of(path: Path, input_options: InputOptions | None = None) -> Session:
    """A model's session on the device `cpu`, fed what is given."""
    model = replace(read_onnx(path), input_options=input_options or InputOptions())
    device = read_device("cpu")
    assert device.threads != "all"
    settings = SessionSettings(
        inputs=model.make_inputs(0),
        provider=device.provider,
        provider_options=device.provider_options,
        threads=device.threads,
        options=device.options,
    )
    return Session(str(path), settings)
