"""Requests to a worker: how to run a case, and its model in the format that the runtime reads."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.bench.plan import BenchmarkCase
from mnbench.errors import TrialError
from mnbench.model.input_sizes import write_sizes
from mnbench.targets.answers import ConvertedAnswer
from mnbench.targets.device import Device
from mnbench.targets.runtimes import runtime_facts
from mnbench.targets.transport import call_worker, provide_file
from mnbench.worker.session import pack_value

CONVERT_TIMEOUT_S = 300.0


def session_request(device: Device, case: BenchmarkCase, model: Path) -> dict[str, Any]:
    """Return what a worker needs to create a case's session: model, inputs, and the device's settings.

    The model is a path if the worker can read it, else its content.

    Raises:
        TrialError: the model is larger than 2 GB, and the device is another machine.
    """
    return _request(device, model, load_arrays(case, "in."), data_bytes=case.data_bytes)


def _request(device: Device, model: Path, inputs: Mapping[str, NDArray[Any]], *, data_bytes: int) -> dict[str, Any]:
    return {
        **setting_request(device),
        "model": provide_file(device, model, data_bytes=data_bytes),
        "inputs": {name: pack_value(array) for name, array in inputs.items()},
    }


def setting_request(device: Device) -> dict[str, Any]:
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
    """Return a case's inputs or expected outputs, by their names without the prefix."""
    with np.load(case.inputs_path) as archive:
        return {name.removeprefix(prefix): archive[name] for name in archive.files if name.startswith(prefix)}


class ConvertedModel(NamedTuple):
    """A model's file for a runtime, and the conversion's duration; None if the runtime reads ONNX."""

    path: Path
    conversion_ns: int | None


def convert_model(device: Device, case: BenchmarkCase) -> ConvertedModel:
    """Convert a case's model for the device's runtime, once per environment.

    Raises:
        TrialError: it cannot be converted.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    if runtime_facts(device.runtime).reads_onnx:
        return ConvertedModel(case.path, None)
    key = hashlib.sha256(f"{device.runtime} {device.gateway}".encode()).hexdigest()[:8]
    path, duration = (case.inputs_path.with_suffix(f".{key}{suffix}") for suffix in ("", ".ns"))
    if not duration.exists():
        model = _write_sized(case) if case.inputs and not case.source else case.path
        answer = convert(device, model, load_arrays(case, "in."), data_bytes=case.data_bytes)
        atomic_files.write_atomically(path, answer.model, durable=False)
        atomic_files.write_atomically(duration, str(answer.duration_ns).encode(), durable=False)
    return ConvertedModel(path, int(duration.read_bytes()))


def convert(device: Device, model: Path, inputs: Mapping[str, NDArray[Any]], *, data_bytes: int = 0) -> ConvertedAnswer:
    """Convert a model file, whose inputs have the shapes of `inputs`, for the device's runtime.

    Raises:
        TrialError: it cannot be converted.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    if data_bytes:
        raise TrialError(
            f"not converted for {device.runtime}: larger than 2 GB", hint="choose a device whose runtime reads ONNX"
        )
    request = {"kind": "convert", **_request(device, model, inputs, data_bytes=data_bytes)}
    try:
        return call_worker(device, request, ConvertedAnswer, timeout_s=CONVERT_TIMEOUT_S)
    except TrialError as failure:
        raise TrialError(f"not converted for {device.runtime}: {failure.message}", hint=failure.hint) from failure


def _write_sized(case: BenchmarkCase) -> Path:
    """Write the sizes of the inputs into a copy of a user's model: converters do not take open ones."""
    path = case.inputs_path.with_suffix(".onnx")
    if not path.exists():
        proto = onnx.load_from_string(case.path.read_bytes())
        proto = write_sizes(proto, {fed.name: fed.shape for fed in case.inputs})
        atomic_files.write_atomically(path, proto.SerializeToString(), durable=False)
    return path
