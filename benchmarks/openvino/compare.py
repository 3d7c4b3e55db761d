"""Whether another runtime takes our graphs as they are: every graph at α = 1, fp32 and int8, read and run by OpenVINO.

.venv/bin/python -m benchmarks.openvino.compare

OpenVINO is installed into `.venv-openvino` the first time. The difference to onnxruntime is relative to the spread of
onnxruntime's output.
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.environment import environment
from benchmarks.interleaved import MNBENCH, output
from benchmarks.report import report, versions
from mnbench.model.reference import reference_outputs
from mnbench.network.layer import INPUT
from mnbench.workspace import table_paths

HERE = Path(__file__).parent
TOLERANCE = {"fp32": 1e-3, "int8": 1.0}


def python() -> Path:
    """The other environment's Python."""
    return environment("openvino", "openvino==2026.4.1")


def main() -> None:
    """Install, build, run in both, print and log."""
    lines = [f"{'graph':32}difference to onnxruntime"]
    with tempfile.TemporaryDirectory() as folder:
        for precision, tolerance in TOLERANCE.items():
            for name in table_paths("graphs"):
                value = difference(name, precision, Path(folder))
                lines.append(f"  {name + ' ' + precision:30}{value:8.1e}{'' if value <= tolerance else '   too large'}")
    versions_line = f"mnbench: {versions('mnbench', 'onnxruntime')} · OpenVINO: {versions('openvino', python=python())}"
    report("openvino", [], notes=["\n".join(lines), versions_line])


def difference(name: str, precision: str, folder: Path) -> float:
    """The largest difference between both runtimes' outputs on a seeded image."""
    model, image, result = folder / f"{name}.onnx", folder / "image.npy", folder / "output.npy"
    output(MNBENCH, "build", name, "--precision", precision, "-o", model)
    np.save(image, np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32))
    output(python(), HERE / "openvino_run.py", model, image, result)
    (expected,) = reference_outputs(model.read_bytes(), {INPUT: np.load(image)}, name=name)
    return float(np.abs(np.load(result) - expected).max() / expected.std())


if __name__ == "__main__":
    main()
