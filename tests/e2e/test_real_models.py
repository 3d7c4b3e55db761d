"""The models of `benchmarks/real_models.tsv` that packages of ours bring along: counted and measured, or refused."""

import csv
import hashlib
import json
import shlex
from pathlib import Path

import onnx
import pytest
from common import ONCE

ROOT = Path(__file__).parents[2]
PACKAGES = Path(onnx.__file__).parents[1]
with (ROOT / "benchmarks/real_models.tsv").open(encoding="utf-8", newline="") as table:
    ROWS = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
MODELS = {row["file"]: row for row in ROWS if row["package"].startswith(("onnx==", "onnxruntime=="))}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_is_counted_and_measured(invoke, name):
    """Mult-Adds are those of the kernels that onnxruntime runs; a model that it refuses has an error and a hint."""
    row = MODELS[name]
    path = PACKAGES / row["member"]
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        pytest.skip(f"{row['package']} is not the version that is installed")
    options = [] if row["options"] == "-" else shlex.split(row["options"])
    result = invoke("run", f"{name}={path}", *options, *ONCE, "--format", "json")

    if row["kind"] == "refused":
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {path}: onnxruntime")
        assert "\nHint: " in result.stderr
        return
    assert result.exit_code == 0, result.stderr
    (record,) = json.loads(result.stdout)["records"]
    assert record["latency_ns"]["median"] > 0
    assert record["mult_adds"] == (None if row["mult_adds"] == "-" else int(row["mult_adds"]))
