"""Whether the latency of somebody's `.onnx` file is that of a plain loop on the same inputs: twenty files of packages.

In one process, in turns: the worker's timed loop over the session that mnbench makes, and the plain loop over a session
that a user would make. A round makes both anew, in random order, because placement in memory changes latency.

.venv/bin/python -m benchmarks.own_models [--runs N]
"""

import random
from collections.abc import Iterator
from itertools import chain, islice
from math import exp, log
from statistics import mean

from benchmarks.interleaved import Arm, interleaved
from benchmarks.overhead import LOOP, PLAIN, seconds
from benchmarks.plain import plain_loop, plain_session
from benchmarks.real_models import NONE, fetch_missing, path_of, read_rows
from benchmarks.report import Comparison, parse_rounds, report, versions
from benchmarks.sessions import session_of
from mnbench.cli.commands.cost import command
from mnbench.cli.options import select_sources
from mnbench.network.variant import OnnxFile
from mnbench.worker.timing import time_runs

FILES = 20
LONGEST_NS = 20_000_000
"""Of a run; files that take longer are left out, because a round has many runs."""

BLOCK_NS = 20_000_000
BLOCKS = 6
"""Of each loop in a round, after one to warm up."""


def main() -> None:
    """Fetch, time, print and log."""
    rounds = parse_rounds(__doc__, 12)
    comparisons = [compared(*entry, rounds) for entry in islice(quick_files(), FILES)]
    ratio = exp(mean(log(comparison.ratio(LOOP)[0]) for comparison in comparisons))
    text = f"{LOOP}: {ratio:.4f} times as long as a {PLAIN}, mean of {len(comparisons)} files; goal: 0.99 to 1.01"
    report("own_models", comparisons, notes=[text, versions("mnbench", "onnxruntime", "numpy")])


def quick_files() -> Iterator[tuple[OnnxFile, int]]:
    """The files that onnxruntime runs quickly enough, with their options and the runs of a block."""
    rows = [row for row in read_rows() if row["kind"] != "refused"]
    fetch_missing(rows)
    for row in rows:
        options = [] if row["options"] == NONE else row["options"].split(" ")
        context = command.make_context("cost", [str(path_of(row)), *options])
        for name in ("layers", "types", "output"):
            del context.params[name]
        (file,) = select_sources(**context.params)
        assert isinstance(file, OnnxFile)
        session = session_of(file.path, file.inputs)
        try:
            plain_loop(*plain_session(str(file.path), session._inputs), 2)  # noqa: SLF001
        except RuntimeError:  # a plain binding fails where an output has another rank than the file declares
            continue
        latency_ns = time_runs(session.run, min_runs=3, min_duration_ns=0).latencies_ns[-1]
        if latency_ns < LONGEST_NS and session._bound:  # noqa: SLF001  strings cannot be bound
            yield file, max(1, BLOCK_NS // latency_ns)


def compared(file: OnnxFile, runs: int, rounds: int) -> Comparison:
    """Both loops over sessions of their own; a round is several blocks of each, after one to warm up."""
    draw = random.Random(0)  # noqa: S311  an order, not a secret
    turns: dict[str, list[list[float]]] = {PLAIN: [], LOOP: []}
    for number in range(rounds):
        arms: dict[str, Arm] = {}
        for name in draw.sample(list(turns), 2):
            arms[name] = (plain_arm if name == PLAIN else mnbench_arm)(file, runs)
        blocks = interleaved(arms, rounds=BLOCKS, seed=number)
        for name, entries in turns.items():
            entries.append(list(chain.from_iterable(blocks[name])))
    return Comparison(title=file.path.stem, rounds=turns)


def plain_arm(file: OnnxFile, runs: int) -> Arm:
    """The plain loop over a user's session and binding."""
    session, binding = plain_session(str(file.path), session_of(file.path, file.inputs)._inputs)  # noqa: SLF001
    return seconds(lambda: plain_loop(session, binding, runs))


def mnbench_arm(file: OnnxFile, runs: int) -> Arm:
    """The worker's loop over its session."""
    session = session_of(file.path, file.inputs)
    return seconds(lambda: time_runs(session.run, min_runs=runs, min_duration_ns=0).latencies_ns)


if __name__ == "__main__":
    main()
