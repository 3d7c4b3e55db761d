"""What several files of tests compare with, and how they read what commands print."""

import csv
import errno
import os
import time
from io import StringIO
from pathlib import Path

import msgspec
import onnx
from onnx import TensorProto, helper

from mnbench.bench.case_sampling import DeviceRun
from mnbench.bench.case_trials import measure_cases
from mnbench.bench.schedule import run_all
from mnbench.network.layer import Layer, Tensor
from mnbench.workspace import built_in


def run_here(_step, function, *arguments):
    """Call what runs native code in this process."""
    return function(*arguments)


NUMBER = (int, float)
SIZE = [int, int]
COST = {
    "variant": str,
    "alpha": NUMBER,
    "resolution": SIZE,
    "params": int,
    "mult_adds": int,
    "memory_access": int,
    "memory_access_bytes": int,
    "peak_activation_bytes": int,
}
BUILD = COST | {"path": str, "sha256": str, "nodes": int, "nodes_before": int, "opset": int, "simplified": bool}
RECORD = {
    "variant": str,
    "alpha": NUMBER,
    "resolution": SIZE,
    "device": str,
    "provider": str,
    "runtime": {"name": str, "version": str},
    "threads": int,
    "latency_ns": {"median": int, "low": int, "high": int, "undisturbed": int, "p10": int, "p90": int, "min": int},
    "precision": str,
    "batch": int,
    "first_run_ns": int,
    "session_ns": int,
    "cpu_ns": int,
    "copies_ns": dict,
    "difference": NUMBER,
    "effective_runs": int,
    "peak_rss_bytes": int,
    "processes": int,
    "runs": int,
    "mult_adds": int,
    "memory_access_bytes": int,
    "params": int,
    "placement": {"nodes": NUMBER, "mult_adds": NUMBER},
    "issues": list,
    "model_sha256": str,
    "host": dict,
}
SMALL = ("--alpha", "0.25", "--res", "32")
ONCE = ("--processes", "1", "--duration", "1ms", "--budget", "1ms")
"""A process spends more than that budget: each case is measured in one."""
TWICE = ("--processes", "2", "--duration", "0.05", "--precision-target", "99%")
QUICK = (*SMALL, *TWICE)
DEVICES = sorted(path.stem for path in built_in("devices").glob("*.toml"))
BUILT_IN = sorted(path.stem for path in built_in("graphs").glob("*.toml"))

CELLS = ("v1-a1-r224", "v1-a0.5-r160")
PROCESSES = 3
VISITS = len(CELLS) * PROCESSES
PROVIDER = "CPUExecutionProvider"
EMULATED = {"cpu": "Cortex-A72", "cores": 2, "emulated": True}
"""A host that QEMU imitates."""

PATIENCE_S = 30


def misfits(value, shape, path="$"):
    """Where a JSON value lacks a key of `shape`, or holds something of another type."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [path]
        missing = [f"{path}.{key}" for key in shape if key not in value]
        return missing + [
            misfit for key in shape if key in value for misfit in misfits(value[key], shape[key], f"{path}.{key}")
        ]
    if isinstance(shape, list):
        if not isinstance(value, list) or len(value) != len(shape):
            return [path]
        pairs = enumerate(zip(value, shape, strict=True))
        return [misfit for index, (item, kind) in pairs for misfit in misfits(item, kind, f"{path}[{index}]")]
    right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
    return [] if right else [path]


def csv_rows(text):
    """Each row of a csv table, by its columns' names."""
    return list(csv.DictReader(StringIO(text)))


def pipe_rows(text):
    """The cells of each line of a markdown table, its header and rule included."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def line_of(record):
    """A record as it stands in the file."""
    return msgspec.json.encode(record) + b"\n"


def full(*_, **__):
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_at(number, error=KeyboardInterrupt):
    """A script for trials: those before `number` succeed, and that one raises."""

    def script(_plan, _cell, before):
        if before == number:
            raise error

    return script


def processes(*, group=None, parent=None):
    """The living processes of a group, or the children of a process, by their ids; Linux alone tells."""
    result = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, above, its_group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if state != "Z" and (int(its_group) == group or int(above) == parent):
            result.add(int(folder.name))
    return result


def until(reached):
    """Wait until something has come about; its last value."""
    end = time.monotonic() + PATIENCE_S
    while not (value := reached()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


def own_model(*, data_at=None):
    """A 1 × 1 convolution; with `data_at`, its weights are said to be in that file."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (4, 3, 1, 1), [0.5] * 12)
    if data_at:
        weight = onnx.TensorProto(
            name="weight", dims=(4, 3, 1, 1), data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
        )
        weight.external_data.add(key="location", value=data_at)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight"], ["output"], name="conv")],
        "own",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 4, 8, 8))],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def layer_by_hand(kind, inputs, outputs):
    """A layer by hand, from the names and sizes of what it reads and writes."""
    return Layer(
        scope="+".join(outputs),
        kind=kind,
        inputs=tuple(Tensor(name, (1, size)) for name, size in inputs.items()),
        outputs=tuple(Tensor(name, (1, size)) for name, size in outputs.items()),
    )


RUNTIME = """
import numpy as np


class Session:
    def __init__(self, model, settings):
        self.scope = {"outputs": [np.arange(3.0)]}
        self.code = compile(open(model).read() if isinstance(model, str) else model.decode(), "model", "exec")

    def run(self):
        exec(self.code, self.scope)

    def outputs(self):
        return self.scope["outputs"]

    def placement(self):
        return None


LIBRARY = "none"


def version():
    return "0"


def build():
    return "none"
"""
"""A runtime whose models are Python code that each run executes."""


def collect(plan, store, run, *, measure=measure_cases, on_process=lambda *_: None):
    """Measure every case of a plan on one device, and return its records."""
    device_run = DeviceRun(plan=plan, results_file=store, folder=run)
    for failure in run_all([device_run], on_process=on_process, measure=measure).values():
        raise failure
    return device_run.read_records()
