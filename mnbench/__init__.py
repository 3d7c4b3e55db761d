"""Measured latency beside Mult-Adds and memory access cost, for MobileNets and ShuffleNets."""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m mnbench` puts the current folder first, whose modules are not ours. See `python -P`.
    sys.path.pop(0)

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnbench.api import build, compare, cost, diagnose, gate, plot, run, variants, verify
    from mnbench.bench.plan import SamplingConfig
    from mnbench.comparison.comparison import Comparison
    from mnbench.comparison.decide import DecisionRules
    from mnbench.errors import MnbenchError
    from mnbench.model.model import Model
    from mnbench.model.sources import onnx_file
    from mnbench.results.results import Results, load_results

# onnxruntime reports its use to its maker unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "DecisionRules",
    "MnbenchError",
    "Model",
    "Results",
    "SamplingConfig",
    "build",
    "compare",
    "cost",
    "diagnose",
    "gate",
    "load_results",
    "onnx_file",
    "plot",
    "run",
    "variants",
    "verify",
]

_MODULES = {
    "Comparison": "mnbench.comparison.comparison",
    "DecisionRules": "mnbench.comparison.decide",
    "MnbenchError": "mnbench.errors",
    "Model": "mnbench.model.model",
    "Results": "mnbench.results.results",
    "SamplingConfig": "mnbench.bench.plan",
    "load_results": "mnbench.results.results",
    "onnx_file": "mnbench.model.sources",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = getattr(import_module(_MODULES.get(name, "mnbench.api")), name)
    return globals()[name]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
