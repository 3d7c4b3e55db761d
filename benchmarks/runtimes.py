"""Whether a reported latency is that of a plain loop in each runtime's own API (`plain_runtimes.py`): V1 α 0.5 at 160.

In fresh processes of the runtime's environment, one thread: sessions of ours and of the plain loop take turns. ncnn's
and MNN's wheels bring no benchmark program, so these two are compared with a loop in their Python API too.

.venv/bin/python -m benchmarks.runtimes [--runs N]
"""

import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.interleaved import MNBENCH, Rounds, output
from benchmarks.plain_runtimes import SHAPE
from benchmarks.report import Comparison, Goal, parse_rounds, report, versions
from mnbench.bench.request import convert
from mnbench.targets.device import Device, read_device
from mnbench.targets.environments import prepare_device
from mnbench.targets.runtimes import runtime_facts
from mnbench.units import NS_PER_S

DEVICES = ("openvino", "ncnn", "mnn", "opencv", "tract", "iree", "tvm", "litert", "executorch", "ort-web")
BLOCK_RUNS, BLOCKS = 6, 10
SLOW = {"tvm": 4}
"""Blocks of runtimes whose runs are long."""


def main() -> None:
    """Build, convert, time, print and log."""
    rounds = parse_rounds(__doc__, 24)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        output(MNBENCH, "build", "v1-a0.5-r160", "-o", model)
        report("runtimes", list(comparisons(model, rounds)), notes=[versions("mnbench", "numpy")])


def comparisons(model: Path, rounds: int) -> Iterator[Comparison]:
    """One a runtime."""
    goal = Goal(text="goal: within 1%", arm="mnbench", low=0.99, high=1.01)
    for name in DEVICES:
        device = prepare_device(read_device(name))
        path = readable(device, model)
        entries = [measured(device, path) for _ in range(rounds)]
        yield Comparison(title=name, rounds=seconds(entries), goals=[goal])


def readable(device: Device, model: Path) -> Path:
    """The file that the device's runtime reads, with the end of its name that TVM knows."""
    if runtime_facts(device.runtime).reads_onnx:
        return model
    path = model.with_name(f"{device.name}.so")
    path.write_bytes(convert(device, model, {"input": np.zeros(SHAPE, np.float32)}).model)
    return path


def measured(device: Device, path: Path) -> dict[str, list[int]]:
    """What a fresh process of the device's Python measures."""
    request = {
        "runtime": device.runtime,
        "model": str(path),
        "provider": device.provider,
        "options": device.options,
        "block_runs": BLOCK_RUNS,
        "blocks": SLOW.get(device.name, BLOCKS),
    }
    (python,) = shlex.split(device.gateway.partition("//python=")[2])
    printed = output(python, "-m", "benchmarks.plain_runtimes", json.dumps(request))
    return json.loads(printed.splitlines()[-1])  # runtimes print lines of their own


def seconds(entries: list[dict[str, list[int]]]) -> Rounds:
    """Each process is a round."""
    return {loop: [[ns / NS_PER_S for ns in entry[loop]] for entry in entries] for loop in ("plain", "mnbench")}


if __name__ == "__main__":
    main()
