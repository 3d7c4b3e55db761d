"""What a worker is asked with."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.bench.plan import BenchmarkCase
from mnbench.targets.device import Device
from mnbench.targets.transport import provide_file


def session_request(device: Device, case: BenchmarkCase, model: Path) -> dict[str, Any]:
    """What a worker needs to create the cell's session: the model, the inputs, and how the device runs them.

    A worker that sees our files, or has the model by now, reads it by itself.
    """
    inputs = load_arrays(case, "in.")
    return {
        **setting_request(device),
        "model": provide_file(device, model),
        "inputs": {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in inputs.items()},
    }


def setting_request(device: Device) -> dict[str, Any]:
    """How the device runs a model."""
    return {
        "runtime": device.runtime,
        "provider": device.provider,
        "provider_options": dict(device.provider_options),
        "threads": 0 if device.threads == "all" else device.threads,
        "cores": list(device.cores),
        "options": dict(device.options),
        "gpu": device.nvidia,
    }


def load_arrays(case: BenchmarkCase, prefix: str) -> dict[str, NDArray[Any]]:
    """What the cell is fed, or what it is to answer, by names without the prefix."""
    with np.load(case.inputs_path) as feed:
        return {name.removeprefix(prefix): feed[name] for name in feed.files if name.startswith(prefix)}
