"""The plainest timed loop a person would write over onnxruntime; `overhead.py` compares mnbench with it.

.venv/bin/python -m benchmarks.plain MODEL RUNS

Prints the median of a new session's runs, in nanoseconds, after as many runs to warm up.
"""

import sys
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


def main() -> None:
    """One thread that does not spin, as `devices/cpu.toml` has it."""
    path, runs = sys.argv[1], int(sys.argv[2])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    image = np.random.default_rng(0).standard_normal(entry.shape).astype(np.float32)
    binding = session.io_binding()
    binding.bind_cpu_input(entry.name, image)
    binding.bind_output(session.get_outputs()[0].name)
    plain_loop(session, binding, runs)
    print(median(plain_loop(session, binding, runs)))


if __name__ == "__main__":
    main()
