"""How long mnbench takes to start: whole processes, against a bare Click program with the same commands (`hello.py`).

.venv/bin/python -m benchmarks.startup [--runs N]
"""

import sys

from benchmarks.interleaved import MNBENCH, interleaved, process
from benchmarks.report import Comparison, Goal, parse_rounds, report, versions
from mnbench.cli import COMMANDS

HELLO = f"from benchmarks.hello import program; program{tuple(COMMANDS)}()"
"""As mnbench's own script starts it: a module that Python has compiled before."""


def main() -> None:
    """Time, print and log."""
    runs = parse_rounds(__doc__, 40)
    arms = {
        "hello.py --help": process(sys.executable, "-c", HELLO, "--help"),
        "mnbench --help": process(MNBENCH, "--help"),
        "mnbench cost v1": process(MNBENCH, "cost", "v1"),
        "mnbench cost v1 --format json": process(MNBENCH, "cost", "v1", "--format", "json"),
    }
    goal = Goal(text="goal: mnbench --help takes at most 1.5 × hello.py", arm="mnbench --help", high=1.5)
    comparison = Comparison(title="whole process", rounds=interleaved(arms, rounds=runs), goals=[goal])
    report("startup", [comparison], notes=[versions("mnbench", "click", "rich", "msgspec")])


if __name__ == "__main__":
    main()
