"""How far sessions of one model lie apart in one process, on pages of 4 KiB and on huge pages.

Sessions are created in random order and then run in turns, an inference each, in random order: what differs between
them is where their memory lies.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime

from mnbench.comparison.paired_trial import HUGE_PAGES_ENVIRONMENT
from mnbench.stats import trimmed_mean

GRID = ("v1", "--alpha", "1,0.5", "--res", "128")
MNBENCH = (sys.executable, "-m", "mnbench")


@click.command()
@click.option("--sessions", default=6)
@click.option("--processes", default=5, help="Of each kind, in random order.")
@click.option("--duration", "duration_s", default=3.0, help="Seconds a model, in each process.")
@click.argument("variants", nargs=-1, type=click.UNPROCESSED)
def main(sessions: int, processes: int, duration_s: float, variants: tuple[str, ...]) -> None:
    """Print by how much sessions of VARIANTS differ (as `mnbench build` takes them): sd in per cent, a process each."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*MNBENCH, "build", *(variants or GRID)], cwd=folder, check=True, capture_output=True)
        paths = sorted(Path(folder).glob("*.onnx"))
        entries: dict[str, list[list[float]]] = {"small": [], "huge": []}
        for kind in random.sample([*entries] * processes, 2 * processes):
            environment = os.environ | {"GLIBC_TUNABLES": ""} | (HUGE_PAGES_ENVIRONMENT if kind == "huge" else {})
            call = f"spreads({[*map(str, paths)]}, {sessions}, {duration_s})"
            code = f"from benchmarks.gate.pages import spreads; print(*{call})"
            said = subprocess.run(
                [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
            )
            entries[kind].append([float(word) for word in said.stdout.split()])
    for kind, item in entries.items():
        for path, of_model in zip(paths, zip(*item, strict=True), strict=True):
            print(f"{kind:5}  {path.stem:14}", *(f"{100 * item:.2f}" for item in of_model))


def spreads(paths: list[str], sessions: int, duration_s: float) -> list[float]:
    """Of each model, the standard deviation of its sessions' mean log latencies."""
    runs: dict[tuple[str, int], Any] = {}
    for path, number in random.sample(
        [(path, number) for path in paths for number in range(sessions)], len(paths) * sessions
    ):
        runs[path, number] = opened(path)
    return [spread([runs[path, number] for number in range(sessions)], duration_s) for path in paths]


def opened(path: str) -> Any:
    """A session that is ready to run on memory of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    (wanted,), (supplied,) = session.get_inputs(), session.get_outputs()
    feed = np.random.default_rng(0).random(wanted.shape, np.float32)
    binding.bind_ortvalue_input(wanted.name, onnxruntime.OrtValue.ortvalue_from_numpy(feed))
    binding.bind_ortvalue_output(
        supplied.name, onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(supplied.shape, np.float32))
    )
    return lambda: session.run_with_iobinding(binding)


def spread(runs: list[Any], duration_s: float) -> float:
    """The standard deviation over sessions of the mean of log latency, each less its round's mean."""
    for run in runs * 3:
        run()
    rounds: list[list[float]] = []
    end = time.perf_counter() + duration_s
    while time.perf_counter() < end:
        taken = [0.0] * len(runs)
        for at in random.sample(range(len(runs)), len(runs)):
            begin = time.perf_counter_ns()
            runs[at]()
            taken[at] = np.log(time.perf_counter_ns() - begin)
        rounds.append(taken)
    logs = np.array(rounds)
    logs -= np.median(logs, axis=1, keepdims=True)
    return float(np.std([trimmed_mean(item) for item in logs.T], ddof=1))


if __name__ == "__main__":
    main()
