"""How much of the time that `mnbench run` takes is inside the runtime: sessions created, first runs, warm-ups, runs.

The sixteen networks of the MobileNet paper, by the default protocol; the first minute is left out.

.venv/bin/python -m benchmarks.inside
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interleaved import MNBENCH, output
from benchmarks.report import LOGS, versions
from mnbench.units import NS_PER_S

TABLE = ("v1", "--alpha", "1,0.75,0.5,0.25", "--res", "224,192,160,128")
FIRST_S = 60.0


def main() -> None:
    """Run, add up, print and log."""
    with tempfile.TemporaryDirectory() as folder:
        output(MNBENCH, "run", *TABLE, "--results", folder, "--no-roofline")
        visits = [_visit(path) for path in Path(folder).glob("raw/*/*.npz")]
    start_ns = min(begin for begin, _, _ in visits)
    later = [visit for visit in visits if visit[0] >= start_ns + FIRST_S * NS_PER_S]
    wall_ns = max(end for _, end, _ in later) - min(begin for begin, _, _ in later)
    share = sum(inside for _, _, inside in later) / wall_ns
    text = (
        f"{versions('mnbench', 'onnxruntime', 'numpy', 'execnet')}\n"
        f"{len(visits)} visits; of the {wall_ns / NS_PER_S:.0f} s after the first minute "
        f"{share:.1%} were inside the runtime (goal: at least 85 %)\n"
    )
    print(text, end="")
    (LOGS / "inside.txt").write_text(text, encoding="utf-8")


def _visit(path: Path) -> tuple[int, int, int]:
    """When a visit began and ended, by the device's clock, and the nanoseconds inside the runtime."""
    with np.load(path) as arrays:
        facts: dict[str, Any] = json.loads(str(arrays["facts"]))
        runs_ns = int(arrays["warmup_ns"].sum() + arrays["latencies_ns"].sum())
    before, after = facts["conditions"]
    return before["at_ns"], after["at_ns"], facts["session_ns"] + facts["first_run_ns"] + runs_ns


if __name__ == "__main__":
    main()
