"""What is carried to a device: every module of the worker, for an old Python that has nothing but numpy."""

# ruff: noqa: SIM300  expected == actual

import ast
import sys
from importlib import resources

import pytest

import mnbench.worker
from mnbench.targets import transport
from mnbench.targets.runtimes import runtime_facts, runtime_names

SOURCES = transport._worker_sources()


def modules():
    """Every module of the worker: its name and its source."""
    return [
        pytest.param(source, id=name.removeprefix(transport.WORKER_PACKAGE) or "package")
        for name, (_, source) in SOURCES.items()
    ]


def test_every_module_is_carried():
    """What is carried to a device is every module in `mnbench/worker`."""
    folder = resources.files(mnbench.worker)
    files = sorted(path.name for path in folder.rglob("*.py"))

    assert files == sorted(
        "__init__.py" if package else f"{name.rpartition('.')[2]}.py" for name, (package, _) in SOURCES.items()
    )


def evaluated(tree):
    """The nodes that Python evaluates when it runs a module: all but annotations, which stay text."""
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
        for inner in ast.walk(annotation)
    }
    return [node for node in ast.walk(tree) if id(node) not in annotations]


@pytest.mark.parametrize("source", modules())
def test_the_worker_compiles_on_python_3_9(source):
    """Every module has the grammar of Python 3.9, and uses nothing newer where it runs."""
    tree = ast.parse(source, feature_version=(3, 9))
    nodes = evaluated(tree)
    calls = [node for node in nodes if isinstance(node, ast.Call)]

    assert [] == [node.lineno for node in nodes if isinstance(node, ast.Match)]
    assert [] == [node.lineno for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)]
    assert [] == [call.lineno for call in calls if {"slots", "kw_only", "strict"} & {key.arg for key in call.keywords}]
    if any(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in ast.walk(tree)):
        assert "from __future__ import annotations" in source


@pytest.mark.parametrize("source", modules())
def test_the_worker_names_only_the_standard_library_numpy_and_its_runtime(source):
    """The imports of every module are within the worker, the standard library, numpy, or the runtime it is for."""
    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case (
                ast.ImportFrom(module=str(name), level=0)
                | ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name))])
            ):
                names.add(name)
            case _:
                pass
    names = {name.partition(".")[0] for name in names}

    runtimes = {(runtime_facts(name).module or name).partition(".")[0] for name in runtime_names()}
    beside = {"executorch": {"torch"}, "iree": {"onnx"}, "ai_edge_quantizer": {"ai_edge_quantizer", "onnx"}}
    """What a runtime takes and returns, and what a converter reads and writes."""
    others = {name for runtime in names & {*beside} for name in beside[runtime]}
    assert names <= {*sys.stdlib_module_names, "numpy", *runtimes, *others}
