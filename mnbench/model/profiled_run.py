"""One run of a graph with onnxruntime's profiler: the shapes that each kernel reads and writes, in branches too."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import onnx
from numpy.typing import NDArray

from mnbench.errors import BuildError, first_line
from mnbench.model.reference import import_onnxruntime
from mnbench.network.layer import Shape
from mnbench.temporary import temporary_folder

MAX_EVENTS = 1_000_000
"""onnxruntime drops events beyond this many without an error."""

KERNEL_SUFFIX = "_kernel_time"


class KernelRun(NamedTuple):
    """The tensors that a kernel read and wrote in one run, in the node's order: each its type's name and its shape.

    Operands that are left out, and those that are not tensors, are not there.
    """

    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]


KernelRuns: TypeAlias = Mapping[str, list[KernelRun]]
"""The runs of each node's kernel, by the node's path in `node_paths`."""


def node_paths(graph: onnx.GraphProto, prefix: str = "") -> Iterator[tuple[str, onnx.NodeProto]]:
    """Return each node with a path that no other has: `4`, and `4/then_branch/0` in its branch."""
    for index, node in enumerate(graph.node):
        path = f"{prefix}{index}"
        yield path, node
        for attribute, body in bodies(node):
            yield from node_paths(body, f"{path}/{attribute}/")


def bodies(node: onnx.NodeProto) -> list[tuple[str, onnx.GraphProto]]:
    """Return the graphs that a node of control flow runs, by attribute."""
    return [(entry.name, entry.g) for entry in node.attribute if entry.type == onnx.AttributeProto.GRAPH]


def profile_kernels(
    proto: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]], data_folder: Path | None = None
) -> KernelRuns:
    """Run the graph once on onnxruntime's CPU provider, unchanged by optimizations.

    `data_folder` is where weights are that the graph refers to.

    Raises:
        RuntimeUnavailable: onnxruntime is not installed.
        BuildError: onnxruntime cannot run the graph, or it has more kernels than the profiler stores.
    """
    library, options = import_onnxruntime()
    named = deepcopy(proto)
    for path, node in node_paths(named.graph):
        node.name = path
    options.enable_profiling = True
    # A kernel that packs its weights no longer lists them as inputs.
    options.add_session_config_entry("session.disable_prepacking", "1")
    if data_folder:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(data_folder))
    with temporary_folder() as folder:
        options.profile_file_prefix = str(folder / "kernels")
        try:
            session = library.InferenceSession(named.SerializeToString(), options, providers=["CPUExecutionProvider"])
            session.run(None, dict(inputs))
        except Exception as failure:  # onnxruntime raises what it likes
            raise BuildError(f"onnxruntime cannot run it: {first_line(failure)}", hint="give other inputs") from failure
        events = json.loads(Path(session.end_profiling()).read_bytes())
    if len(events) >= MAX_EVENTS:
        raise BuildError(f"one run has more than {MAX_EVENTS:,} kernels", hint="give smaller inputs")
    runs: dict[str, list[KernelRun]] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(KERNEL_SUFFIX):
            facts = event["args"]
            run = KernelRun(_tensors(facts["input_type_shape"]), _tensors(facts["output_type_shape"]))
            runs.setdefault(event["name"].removesuffix(KERNEL_SUFFIX), []).append(run)
    return runs


def _tensors(entries: list[dict[str, list[int]]]) -> tuple[tuple[str, Shape], ...]:
    return tuple((kind, tuple(shape)) for entry in entries for kind, shape in entry.items())
