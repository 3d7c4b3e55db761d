"""Arms that take turns, so that the host's drift hits all alike; an arm may be a whole process."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parent.parent
MNBENCH = Path(sys.executable).with_name("mnbench")

Arm = Callable[[], list[float]]
"""One turn; returns the seconds of each run in it."""

Rounds = Mapping[str, list[list[float]]]
"""Of each arm, what its turns returned, round by round."""


def interleaved(arms: Mapping[str, Arm], *, rounds: int, seed: int = 0) -> Rounds:
    """Give every arm one turn a round, in an order drawn anew each round. A first round warms up and is dropped."""
    draw = random.Random(seed)  # noqa: S311  an order, not a secret
    entries: Rounds = {name: [] for name in arms}
    for _ in range(rounds + 1):
        for name in draw.sample(list(arms), len(arms)):
            entries[name].append(arms[name]())
    return {name: turns[1:] for name, turns in entries.items()}


def process(*command: str | Path) -> Arm:
    """An arm that times a whole process, from before it starts until it has ended."""

    def turn() -> list[float]:
        begin = perf_counter()
        output(*command)
        return [perf_counter() - begin]

    return turn


def output(*command: str | Path) -> str:
    """What a process prints; one that fails ends the benchmark. Python keeps compiled modules, as it does for users."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with exit code {done.returncode}\n{done.stderr}")
    return done.stdout
