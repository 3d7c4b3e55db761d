"""The plainest timed loop a person would write over onnxruntime; `overhead.py` compares mnbench with it.

.venv/bin/python -m benchmarks.plain MODEL RUNS

Prints the median of a new session's runs, in nanoseconds, after as many runs to warm up.
"""

import sys
from collections.abc import Mapping
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnxruntime


def plain_loop(session: Any, binding: Any, runs: int) -> list[int]:
    """The nanoseconds of each run."""
    latencies_ns: list[int] = []
    for _ in range(runs):
        begin = perf_counter_ns()
        session.run_with_iobinding(binding)
        end = perf_counter_ns()
        latencies_ns.append(end - begin)
    return latencies_ns


def plain_session(path: str, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
    """A session with one thread that does not spin, as `devices/cpu.toml` has it, and its binding."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return session, binding


def main() -> None:
    """Of a model that takes one image."""
    path, runs = sys.argv[1], int(sys.argv[2])
    (entry,) = onnxruntime.InferenceSession(path).get_inputs()
    image = np.random.default_rng(0).standard_normal(entry.shape).astype(np.float32)
    session, binding = plain_session(path, {entry.name: image})
    plain_loop(session, binding, runs)
    print(median(plain_loop(session, binding, runs)))


if __name__ == "__main__":
    main()
