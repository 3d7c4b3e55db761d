"""The benchmarks: each script can be imported, so it names modules and symbols of mnbench that exist."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHER_ENVIRONMENTS = ("torch_export", "torchvision_export", "openvino_run")
"""Scripts that run in an environment of a peer, with its packages."""


def test_each_script_can_be_imported():
    """The scripts' names of mnbench exist; the timings themselves take minutes and are no tests."""
    paths = sorted((ROOT / "benchmarks").rglob("*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    modules = [module for module in modules if module.rpartition(".")[2] not in OTHER_ENVIRONMENTS]
    code = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(modules) > 10
