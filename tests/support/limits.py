"""Limits of time and memory for tests of hostile files, and a model with an input of any shape."""

import signal
import tracemalloc
from contextlib import contextmanager

import pytest
from onnx import TensorProto, helper

DEPTH = 100_000
MEGABYTE = 2**20

SECONDS = 10


@contextmanager
def within(seconds=SECONDS):
    """Fail if the block takes longer, such as by waiting for a pipe."""

    def stop(*_):
        pytest.fail(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def using_less_than(size_bytes):
    """Fail if the block takes more memory at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size_bytes
    finally:
        tracemalloc.stop()


def model_with_input(shape, *, name="x", kind=TensorProto.FLOAT):
    """A model of one node."""
    node = helper.make_node("Identity", [name], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def require_error(result, text):
    """The command ended with one line about this, a hint, and nothing else."""
    assert (result.exit_code, result.stdout) == (1, "")
    first, hint, *others = result.stderr.splitlines()
    assert first.startswith("Error: ")
    assert text in first
    assert hint.startswith("Hint: ")
    assert others == []
