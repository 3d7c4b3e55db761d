"""ncnn on the CPU; pnnx converts ONNX. It takes one image at a time."""

from __future__ import annotations

import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ncnn as _ncnn
import numpy as np

from . import (
    Refused,
    SessionSettings,
    Unavailable,
    as_file,
    join_parts,
    require_provider,
    run_converter,
    split_parts,
)

ncnn: Any = _ncnn  # it has no types

LIBRARY = "ncnn.cpython"
READS_ONNX = False
PROVIDER_LIBRARIES = {"CPU": ""}
SETTING_PREFIXES = ("use_",)


class Session:
    """One converted model; it reads inputs in place."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("ncnn", settings, "CPU")
        self._net = ncnn.Net()
        self._net.opt.use_vulkan_compute = False
        self._net.opt.num_threads = settings.threads
        for name, value in settings.options.items():
            if not hasattr(self._net.opt, name):
                raise Refused(f"ncnn has no option {name!r}")
            setattr(self._net.opt, name, type(getattr(self._net.opt, name))(int(value)))
        with as_file(model) as path:
            text = split_parts(path.read_bytes())[1].decode()
            # ncnn reads the weights in the text's order, and ignores the rest of the file.
            for kind, name, *_ in map(str.split, text.splitlines()[2:]):
                if ncnn.layer_to_index(kind) < 0:
                    raise Refused(f"ncnn has no layer {kind}, which pnnx makes of node `{name}`")
            if self._net.load_param_mem(text) or self._net.load_model(str(path)):
                raise Refused("ncnn cannot load the converted model")
        self._arrays = [np.ascontiguousarray(array[0], np.float32) for array in settings.inputs.values()]
        self._inputs = [(f"in{at}", ncnn.Mat(array)) for at, array in enumerate(self._arrays)]
        self._names = sorted(self._net.output_names(), key=lambda name: int(name.removeprefix("out")))
        self._outputs: list[Any] = []

    def run(self) -> None:
        extractor = self._net.create_extractor()
        for name, mat in self._inputs:
            extractor.input(name, mat)
        self._outputs = [extractor.extract(name)[1] for name in self._names]

    def outputs(self) -> list[Any]:
        """Return the last inference's outputs with a batch axis, which ncnn does not have."""
        return [np.array(mat)[np.newaxis] for mat in self._outputs]

    def placement(self) -> dict[str, list[str]]:
        """Return all layers: without Vulkan there is only the CPU."""
        return {"CPU": [layer.name for layer in self._net.layers() if layer.type != "Input"]}


def convert(model: bytes | str, inputs: dict[str, Any]) -> bytes:
    """Convert the ONNX model to ncnn's weights and text in one file, in fp32."""
    if any(array.ndim == 0 or array.shape[0] != 1 for array in inputs.values()):
        raise Refused("ncnn takes one image at a time: --batch 1")
    module_spec = find_spec("pnnx")
    if module_spec is None or not module_spec.submodule_search_locations:
        raise Unavailable("pnnx, which converts models for ncnn, is not installed", missing="runtime")
    (program,) = (path for path in Path(module_spec.submodule_search_locations[0]).glob("pnnx*") if path.stem == "pnnx")
    shapes = ",".join(f"[{','.join(map(str, array.shape))}]" for array in inputs.values())
    with as_file(model) as source, tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        # pnnx writes beside the file that it reads.
        source_copy = Path(folder) / "model.onnx"
        source_copy.write_bytes(source.read_bytes())
        weights = run_converter(
            [str(program), str(source_copy), "fp16=0", f"inputshape={shapes}"], source_copy.with_suffix(".ncnn.bin")
        )
        text = source_copy.with_suffix(".ncnn.param").read_bytes()
    return join_parts(weights, text)


def version() -> str:
    return ncnn.__version__


def build() -> str:
    try:
        return f"pnnx {metadata.version('pnnx')}"
    except metadata.PackageNotFoundError:
        return "no pnnx"
