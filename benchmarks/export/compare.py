"""How long it takes to make V1 at α = 1 and 224 × 224 as a simplified ONNX file: whole processes, mnbench and PyTorch.

`mnbench build v1` against `torch_export.py`, which exports with PyTorch's default exporter (dynamo) or its older one
(torchscript), simplifies, checks and saves. mnbench also proves that simplifying changed nothing.

.venv/bin/python -m benchmarks.export.compare [--runs N]

PyTorch is installed into `.venv-torch` the first time.
"""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.interleaved import MNBENCH, interleaved, output, process
from benchmarks.report import Comparison, Goal, parse_rounds, report, versions

HERE = Path(__file__).parent
OURS, DYNAMO, TORCHSCRIPT = "mnbench build v1", "PyTorch, dynamo (its default)", "PyTorch, torchscript (its older one)"
GOALS = (
    Goal(text="goal: PyTorch's default takes at least 6 × mnbench", arm=DYNAMO, low=6),
    Goal(text="hope: PyTorch's default takes at least 10 × mnbench", arm=DYNAMO, low=10),
)


def python() -> Path:
    """The other environment's Python."""
    return environment("torch", "--requirement", HERE / "requirements.txt")


def main() -> None:
    """Install, time, count, print and log."""
    runs = parse_rounds(__doc__, 12)
    with tempfile.TemporaryDirectory() as folder:
        files = {arm: Path(folder, f"{index}.onnx") for index, arm in enumerate((OURS, DYNAMO, TORCHSCRIPT))}
        export = (python(), HERE / "torch_export.py")
        arms = {
            OURS: process(MNBENCH, "build", "v1", "-o", files[OURS]),
            DYNAMO: process(*export, files[DYNAMO], "--exporter", "dynamo"),
            TORCHSCRIPT: process(*export, files[TORCHSCRIPT], "--exporter", "torchscript"),
        }
        comparison = Comparison(title="whole process", rounds=interleaved(arms, rounds=runs), goals=GOALS)
        built = contents(files)
    packages = ("onnx", "onnxsim", "onnxruntime", "numpy")
    here, there = versions("mnbench", *packages), versions("torch", "onnxscript", *packages, python=python())
    report("export", [comparison], notes=[built, f"mnbench: {here}\nPyTorch: {there}"])


def contents(files: dict[str, Path]) -> str:
    """What each file holds, as mnbench counts it: a line for each. Mult-Adds that differ end the benchmark."""
    lines = [f"{'what the files hold':44} Mult-Adds  nodes"]
    mult_adds: set[int] = set()
    for arm, file in files.items():
        cost = json.loads(output(MNBENCH, "cost", file, "--layers", "--format", "json"))
        mult_adds.add(cost["mult_adds"])
        lines.append(f"  {arm:40}{cost['mult_adds']:12,}  {len(cost['layers']):5}")
    if len(mult_adds) > 1:
        sys.exit("\n".join([*lines, "these are not the same network"]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
