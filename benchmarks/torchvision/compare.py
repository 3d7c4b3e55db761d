"""Latency of our graphs against torchvision's own: the same networks, exported and simplified, on onnxruntime's CPU.

Sessions have one thread and are made by mnbench's worker. Where a session's memory happens to lie moves its latency by
up to a percent: so each round makes both anew, in random order, and lets them take turns.

.venv/bin/python -m benchmarks.torchvision.compare [--runs N]

PyTorch and torchvision are installed into `.venv-torchvision` the first time (5 GB).
"""

import json
import random
import sys
import tempfile
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.interleaved import MNBENCH, Arm, Rounds, interleaved, output
from benchmarks.report import Comparison, Goal, parse_rounds, report, versions
from benchmarks.sessions import session_of
from mnbench.units import NS_PER_S
from mnbench.worker.timing import time_runs

HERE = Path(__file__).parent
NETWORKS = {
    "v2": ("mobilenet_v2",),
    "v3-large": ("mobilenet_v3_large",),
    "v3-small": ("mobilenet_v3_small",),
    "shufflenet-v2": ("shufflenet_v2_x1_0", "--unit", "torchvision"),
}
TURNS = 60
"""Of each session, in a round."""

RUNS_A_TURN = 3
"""The first of a turn finds another model's weights in the cache; medians pass over it."""


def python() -> Path:
    """The other environment's Python."""
    return environment("torchvision", "--requirement", HERE / "requirements.txt")


def main() -> None:
    """Install, export, time, print and log."""
    rounds = parse_rounds(__doc__, 20)
    with tempfile.TemporaryDirectory() as folder:
        comparisons = [compared(name, Path(folder), rounds) for name in NETWORKS]
    notes = [f"mnbench: {versions('mnbench', 'onnxruntime')}"]
    notes.append(f"torchvision: {versions('torch', 'torchvision', 'onnxscript', 'onnxsim', python=python())}")
    report("torchvision", comparisons, notes=notes)


def compared(name: str, folder: Path, rounds: int) -> Comparison:
    """Both graphs of a network, whose counts must be equal: a convolution without bias would be faster."""
    model, *options = NETWORKS[name]
    theirs, ours = folder / f"{model}.onnx", folder / f"{name}.onnx"
    output(python(), HERE / "torchvision_export.py", model, theirs)
    output(MNBENCH, "build", name, *options, "-o", ours)
    costs = [json.loads(output(MNBENCH, "cost", file, "--layers", "--format", "json")) for file in (theirs, ours)]
    for figure in ("mult_adds", "params"):
        if costs[0][figure] != costs[1][figure]:
            sys.exit(f"{name}: {figure} {[cost[figure] for cost in costs]}: these are not the same network")
    labels = [
        f"{who}, {len(cost['layers'])} nodes" for who, cost in zip(("torchvision", "mnbench"), costs, strict=True)
    ]
    files = dict(zip(labels, (theirs, ours), strict=True))
    goal = Goal(text="goal: mnbench's graph takes at most 1.00 × torchvision's", arm=labels[1], high=1.0)
    return Comparison(title=name, rounds=fresh_sessions(files, rounds), goals=[goal])


def fresh_sessions(files: Mapping[str, Path], rounds: int) -> Rounds:
    """Every round with sessions of its own."""
    entries: Rounds = {label: [] for label in files}
    for number in range(rounds):
        order = random.Random(number).sample(list(files), len(files))  # noqa: S311  an order, not a secret
        arms = {label: arm(files[label]) for label in order}
        for label, turns in interleaved(arms, rounds=TURNS, seed=number).items():
            entries[label].append(list(chain.from_iterable(turns)))
    return entries


def arm(file: Path) -> Arm:
    """A session of the file, as the device `cpu` makes it."""
    session = session_of(file)

    def turn() -> list[float]:
        latencies_ns = time_runs(session.run, min_runs=RUNS_A_TURN, min_duration_ns=0).latencies_ns
        return [latency_ns / NS_PER_S for latency_ns in latencies_ns]

    return turn


if __name__ == "__main__":
    main()
