"""TVM on the CPU: it compiles ONNX with its default schedules, untuned, for the processor that it runs on."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import tvm as _tvm  # pyright: ignore[reportMissingImports]  it is in its own environment
from tvm import relax as _relax  # pyright: ignore[reportMissingImports]

from . import SessionSettings, as_file, require_options, require_provider, run_converter

tvm: Any = _tvm  # its types need it
relax: Any = _relax

DISTRIBUTIONS = ("apache-tvm",)
LIBRARY = "libtvm_runtime"
READS_ONNX = False
PROVIDER_LIBRARIES = {"CPU": ""}

BIG_CORES = 1
"""TVM's number of the threads that may use all cores."""

COMPILER = """
import subprocess, sys
import onnx, tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

def link(output, objects, options=None):
    subprocess.run([sys.executable, "-m", "ziglang", "ld.lld", "-shared", "-o", output, *objects], check=True)

link.object_format = "o"
cpu = tvm.get_global_func("target.llvm_get_system_cpu")()
net = from_onnx(onnx.load(sys.argv[1]), sanitize_input_names=False)
compiled = relax.build(net, target=tvm.target.Target({"kind": "llvm", "mcpu": cpu}))
compiled.export_library(sys.argv[2], fcompile=link)
"""
"""Compiles a file in a process of its own. ziglang's wheel brings the linker, so that no compiler must be installed."""


class Session:
    """One compiled model; its inputs are copied into TVM's memory once."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("TVM", settings, "CPU")
        require_options("TVM", settings)
        tvm.get_global_func("runtime.config_threadpool")(BIG_CORES, settings.threads)
        with as_file(model) as path, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
            library = Path(folder) / "model.so"  # TVM knows a library by the end of its name
            library.write_bytes(path.read_bytes())
            loaded = tvm.runtime.load_module(str(library))
        self._main = relax.VirtualMachine(loaded, tvm.cpu())["main"]
        self._inputs = [tvm.runtime.tensor(array) for array in settings.inputs.values()]
        self._result: Any = None

    def run(self) -> None:
        self._result = self._main(*self._inputs)

    def outputs(self) -> list[Any]:
        return [result.numpy() for result in ([self._result] if hasattr(self._result, "numpy") else self._result)]

    def placement(self) -> dict[str, list[str]]:
        """Return the function that the model was compiled to: its code is for the CPU alone."""
        return {"CPU": ["main"]}


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:  # noqa: ARG001  shapes stay the model's
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        library = Path(folder) / "model.so"
        return run_converter([sys.executable, "-c", COMPILER, str(source), str(library)], library)


def version() -> str:
    return tvm.__version__


def build() -> str:
    return "default schedules, untuned"
