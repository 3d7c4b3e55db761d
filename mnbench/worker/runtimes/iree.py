"""IREE on the CPU: its compiler turns ONNX into code for the processor that it runs on."""

from __future__ import annotations

import re
import sys
import tempfile
from importlib import import_module, metadata
from itertools import islice
from pathlib import Path
from typing import Any

import iree.runtime as _runtime  # pyright: ignore[reportMissingImports]  it is in its own environment

from . import Refused, SessionSettings, as_file, require_options, require_provider, run_converter

runtime: Any = _runtime  # it has no types

DISTRIBUTIONS = ("iree-base-runtime",)
MODULE = "iree.runtime"
LIBRARY = "_runtime."
READS_ONNX = False
PROVIDER_LIBRARIES = {"CPU": ""}

OPSET = "17"
"""The importer's graphs are of this opset or newer; it upgrades older ones."""

FLAGS = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
)

NODE, CONSTANT = 'torch.operator "onnx.', 'torch.operator "onnx.Constant"'
"""How the importer writes nodes, and weights."""

ASYNCHRONOUS = "$async"
"""The end of the name of the function that returns before its outputs are complete."""


class Session:
    """One compiled model: its calling thread computes, or a pool of threads of IREE's."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("IREE", settings, "CPU")
        require_options("IREE", settings)
        driver = "local-sync" if settings.threads == 1 else "local-task"
        runtime.flags.parse_flags(f"--task_topology_group_count={settings.threads}")
        config = runtime.Config(driver)
        with as_file(model) as path:
            compiled = runtime.VmModule.copy_buffer(config.vm_instance, path.read_bytes())
        names = [name for name in compiled.function_names if not name.startswith("__")]
        (self._name,) = [name for name in names if not name.endswith(ASYNCHRONOUS)]
        self._function = runtime.load_vm_module(compiled, config)[self._name]
        self._inputs = [runtime.asdevicearray(config.device, array) for array in settings.inputs.values()]
        self._result: Any = None

    def run(self) -> None:
        self._result = self._function(*self._inputs)

    def outputs(self) -> list[Any]:
        return [result.to_host() for result in ([self._result] if hasattr(self._result, "to_host") else self._result)]

    def placement(self) -> dict[str, list[str]]:
        """Return the function that the model was compiled to: its code is for the CPU alone."""
        return {"CPU": [self._name]}


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:  # noqa: ARG001  shapes stay the model's
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        imported, compiled = Path(folder) / "model.mlir", Path(folder) / "model.vmfb"
        importer = [sys.executable, "-m", "iree.compiler.tools.import_onnx", str(source), "-o", str(imported)]
        run_converter([*importer, "--opset-version", OPSET], imported)
        program = Path(sys.executable).parent / "iree-compile"
        try:
            return run_converter([str(program), str(imported), "-o", str(compiled), *FLAGS], compiled)
        except Refused as failure:
            raise Refused(f"{_node_at(str(failure), imported, source)}{failure}") from failure


def _node_at(message: str, imported: Path, source: Path) -> str:
    """Return the name of the node that a line of the compiler's belongs to: the importer keeps nodes in order."""
    place = re.search(r"model\.mlir:(\d+):", message)
    if not place:
        return ""
    onnx: Any = import_module("onnx")  # the importer needs it, and a session does not

    with imported.open(encoding="utf-8", errors="replace") as lines:
        count = sum(NODE in line and CONSTANT not in line for line in islice(lines, int(place[1])))
    graph = onnx.load(str(source), load_external_data=False).graph
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    return f"node `{nodes[count - 1].name}`: " if 0 < count <= len(nodes) else ""


def version() -> str:
    return metadata.version("iree-base-runtime")


def build() -> str:
    try:
        return f"iree-compile {metadata.version('iree-base-compiler')}, {' '.join(FLAGS[1:])}"
    except metadata.PackageNotFoundError:
        return "no iree-compile"
