"""Whether a reported latency is that of a plain loop (`plain.py`): V1 at α = 1 and 224, and at α = 0.25 and 128.

In one process, over one session and binding: the worker's timed loop against the plain loop, in blocks of a few runs.
In fresh processes: what `mnbench run --processes 1` reports against the plain loop over a session of its own. Placement
in memory differs from process to process, and with it the latency, so this is the looser figure and has no goal.

.venv/bin/python -m benchmarks.overhead [--runs N]
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from statistics import median

from benchmarks.interleaved import MNBENCH, Arm, Rounds, interleaved, output
from benchmarks.plain import plain_loop
from benchmarks.report import Comparison, Goal, parse_rounds, report, versions
from benchmarks.sessions import session_of
from mnbench.units import NS_PER_S
from mnbench.worker.timing import time_sequence

PLAIN, LOOP, REPORTED = "plain loop", "mnbench's timed loop", "mnbench run"
BLOCK_RUNS = 2
BLOCKS = 24
"""Of each loop in a round."""

DURATION_S = 1.0
"""That a fresh process is timed for: longer than in a table, so that both medians are of many runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One variant of V1, and how far the medians may lie apart."""

    alpha: str
    resolution: str
    tolerance: float

    @property
    def selection(self) -> tuple[str, ...]:
        """What names it to mnbench."""
        return "v1", "--alpha", self.alpha, "--res", self.resolution


CASES = (Case(alpha="1", resolution="224", tolerance=0.01), Case(alpha="0.25", resolution="128", tolerance=0.03))


def main() -> None:
    """Build, time, print and log."""
    runs = parse_rounds(__doc__, 30)
    with tempfile.TemporaryDirectory() as folder:
        comparisons = list(chain.from_iterable(compared(case, Path(folder), runs) for case in CASES))
    report("overhead", comparisons, notes=[versions("mnbench", "onnxruntime", "numpy", "execnet")])


def compared(case: Case, folder: Path, rounds: int) -> Iterator[Comparison]:
    """Both comparisons of a case."""
    model = folder / f"{case.alpha}-{case.resolution}.onnx"
    output(MNBENCH, "build", *case.selection, "-o", model)
    name = f"V1 α = {case.alpha} at {case.resolution}"
    goal = Goal(text=f"goal: within {case.tolerance:.0%}", arm=LOOP, low=1 - case.tolerance, high=1 + case.tolerance)
    within = Comparison(title=f"{name}, one process", rounds=one_process(model, rounds), goals=[goal])
    yield within
    process_runs = round(DURATION_S / median(within.medians(PLAIN)))
    arms = {PLAIN: plain_process(model, process_runs), REPORTED: reported(case, model, folder / "results")}
    yield Comparison(title=f"{name}, fresh processes", rounds=interleaved(arms, rounds=rounds))


def one_process(model: Path, rounds: int) -> Rounds:
    """Both loops over one session; a round is several blocks of each, after one to warm up."""
    session = session_of(model)
    raw, binding = session._session, session._binding  # noqa: SLF001  the plain loop runs the very same session
    loops = {
        PLAIN: seconds(lambda: plain_loop(raw, binding, BLOCK_RUNS)),
        LOOP: seconds(lambda: time_sequence([session.run] * BLOCK_RUNS).latencies_ns),
    }
    roundses = [interleaved(loops, rounds=BLOCKS, seed=number) for number in range(rounds)]
    return {arm: [list(chain.from_iterable(blocks[arm])) for blocks in roundses] for arm in loops}


def plain_process(model: Path, runs: int) -> Arm:
    """The median that a fresh process of `plain.py` prints."""
    return seconds(lambda: [float(output(sys.executable, "-m", "benchmarks.plain", model, str(runs)))])


def reported(case: Case, model: Path, results: Path) -> Arm:
    """The median that `mnbench run` reports of one process, for the very same model."""
    protocol = ("--processes", "1", "--budget", "1ms", "--duration", str(DURATION_S), "--fresh", "--no-roofline")
    command = (MNBENCH, "run", *case.selection, *protocol, "--results", results, "--format", "json")

    def latency() -> list[float]:
        (record,) = json.loads(output(*command))["records"]
        assert record["model_sha256"] == sha256(model.read_bytes()).hexdigest()
        return [record["latency_ns"]["median"]]

    return seconds(latency)


def seconds(latencies_ns: Callable[[], Iterable[float]]) -> Arm:
    """An arm from what returns nanoseconds."""
    return lambda: [latency / NS_PER_S for latency in latencies_ns()]


if __name__ == "__main__":
    main()
