"""What a benchmark prints, and the log that it leaves in `benchmarks/logs/`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median

from benchmarks.interleaved import ROOT, Rounds, output
from mnbench.stats import median_interval
from mnbench.worker.host.conditions import conditions
from mnbench.worker.host.facts import host_facts

LOGS = ROOT / "benchmarks" / "logs"
FACTS = ("cpu", "cores", "virtual", "governor", "system", "kernel", "load_1min")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The ratio of `arm` to the first arm is to lie between `low` and `high`."""

    text: str
    arm: str
    low: float = 0
    high: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Arms that took turns; each is compared with the first."""

    title: str
    rounds: Rounds
    goals: Sequence[Goal] = ()

    def medians(self, arm: str) -> list[float]:
        """The median of the arm's runs in each round."""
        return [median(turn) for turn in self.rounds[arm]]

    def ratio(self, arm: str) -> tuple[float, float, float, float]:
        """The median over rounds of the ratio within a round; an interval for it, and the interval's coverage."""
        first = self.medians(next(iter(self.rounds)))
        ratios = [mine / theirs for mine, theirs in zip(self.medians(arm), first, strict=True)]
        return median(ratios), *median_interval(ratios)

    def summary(self) -> str:
        """A line for each arm, and one for each goal."""
        lines = [f"{self.title:44} median s     ratio    interval"]
        for arm, turns in self.rounds.items():
            middle, low, high, coverage = self.ratio(arm)
            runs = sum(len(turn) for turn in turns)
            figure = f"{middle:9.3f}    {low:.3f} to {high:.3f} ({coverage:.1%}, {len(turns)} rounds, {runs} runs)"
            first = arm == next(iter(self.rounds))
            lines.append(f"  {arm:42}{median(self.medians(arm)):#9.4g} {'' if first else figure}".rstrip())
        return "\n".join([*lines, *map(self._verdict, self.goals)])

    def raw(self) -> str:
        """Every time; a line holds a round, or all rounds where each has one run."""
        lines: list[str] = []
        for arm, turns in self.rounds.items():
            apart = "\n" if any(len(turn) > 1 for turn in turns) else " "
            texts = (" ".join(f"{seconds:.7f}" for seconds in turn) for turn in turns)
            lines.append(f"{self.title} · {arm}\n{apart.join(texts)}")
        return "\n".join(lines)

    def _verdict(self, goal: Goal) -> str:
        middle, low, high, _ = self.ratio(goal.arm)
        met = goal.low <= middle <= goal.high
        sure = goal.low <= low <= high <= goal.high if met else high < goal.low or low > goal.high
        return f"  {goal.text}: {'met' if met else 'missed'}{'' if sure else ', though not by the whole interval'}"


def report(name: str, comparisons: Sequence[Comparison], *, notes: Sequence[str] = ()) -> None:
    """Print the summaries and notes; write them with the facts of the host and every time to the log."""
    text = "\n\n".join([*(comparison.summary() for comparison in comparisons), *notes])
    print(text)
    host = host_facts() | conditions()
    facts = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **{fact: host[fact] for fact in FACTS}}
    log = LOGS / f"{name}.txt"
    log.parent.mkdir(exist_ok=True)
    sections = [
        "\n".join(f"{fact}: {value}" for fact, value in facts.items()),
        text,
        "Every time in seconds, in order\n" + "\n".join(comparison.raw() for comparison in comparisons),
    ]
    log.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    print(f"\nwritten to {log.relative_to(ROOT)}")


def parse_rounds(description: str | None, default: int) -> int:
    """The number of rounds from the command line: `--runs N`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=default, help="rounds, each with one turn of every arm")
    return parser.parse_args().runs


def versions(*packages: str, python: str | Path = sys.executable) -> str:
    """A line with the versions of Python and of packages, in this environment or another."""
    tell = (
        "import platform, sys; from importlib.metadata import version;"
        "print('Python', platform.python_version(), *(f'· {name} {version(name)}' for name in sys.argv[1:]))"
    )
    return output(python, "-c", tell, *packages).strip()
