"""The benchmarks: each script can be imported, so it names what exists in mnbench; reports of small logs are right."""

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHER_ENVIRONMENTS = ("torch_export", "torchvision_export", "openvino_run")
"""Scripts that run in an environment of a peer, with its packages."""


def test_each_script_can_be_imported():
    """The scripts' names of mnbench exist; the timings themselves take minutes and are no tests."""
    paths = sorted((ROOT / "benchmarks").rglob("*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    modules = [module for module in modules if module.rpartition(".")[2] not in OTHER_ENVIRONMENTS]
    code = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(modules) > 10


def run_module(*arguments):
    """Run a script of the benchmarks as a module and return what it prints."""
    command = [sys.executable, "-m", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def table_line(protocol, duration_s, *medians):
    """A line of the log of `benchmarks/protocols.py`: one row, ± 1 %, and a row that failed."""
    median = medians[0]
    latency = {
        "median": median,
        "low": median - 9_900,
        "high": median + 9_900,
        "p10": 1,
        "p90": 2,
        "min": 1,
        "coverage": 0.96,
    }
    return {
        "protocol": protocol,
        "busy_cores": 1.1,
        "rows": "v1",
        "threads": 1,
        "duration_s": duration_s,
        "records": {"v1-a1-r224": {"latency_ns": latency}, "v1-a1-r192": {"latency_ns": None}},
        "variants": {"v1-a1-r224": [{"median": value} for value in medians]},
    }


def write_lines(path, lines):
    """Write a log and return its path."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_protocols_are_compared(tmp_path):
    """The report compares seconds, precision, scatter, coverage and medians; a failed row is not precise."""
    lines = [table_line("new", 50 + n, 1_010_000) for n in range(3)]
    lines += [table_line("old", 300 + n, median) for n, median in enumerate((1_000_000, 1_000_000, 1_100_000))]
    printed = run_module("benchmarks.protocols", "report", write_lines(tmp_path / "log.jsonl", lines))

    old, new, difference = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("| v1")
    )
    assert old[2:10] == ["old", "3", "301 (302)", "1.10", "1 (1) of 2", "1 (1) of 2", "±1.0%", "5.50%, 5.50%, 5.50%"]
    assert old[10:] == ["0%", "–", "96%"]
    assert new[4:9] == ["51 (52)", "1.10", "1 (1) of 2", "1 (1) of 2", "±1.0%"]
    assert new[9:] == ["0.00%, 0.00%, 0.00%", "100%", "–", "96%"]
    assert difference == ["v1", "1", "1.00%, 1.00%, 1.00%"]


def test_calibrated_drift_widens_the_intervals_of_protocols(tmp_path):
    """From eleven tables on, ten others calibrate the drift; their range holds the median that one table misses."""
    lines = [table_line("new", 50, 1_000_000 + 12_000 * number) for number in range(11)]
    (row,) = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in run_module(
            "benchmarks.protocols", "report", write_lines(tmp_path / "log.jsonl", lines)
        ).splitlines()
        if line.startswith("| v1")
    )
    assert row[10:] == ["9%", "82%", "96%"]


def test_stopping_at_a_narrow_interval_costs_coverage(tmp_path):
    """An interval that is looked at once keeps its 95 %; one that stops at the first narrow interval does not."""
    normal = statistics.NormalDist(0, 0.02)
    medians = [1e6 * math.exp(normal.inv_cdf((n + 0.5) / 400)) for n in range(400)]
    log = write_lines(tmp_path / "log.jsonl", [table_line("new", 50, *medians)])
    printed = run_module("benchmarks.coverage", log, "--minimum", "5,16", "--target", "0.02", "--most", "16")

    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
        if line.startswith("| new")
    ]
    coverage = {(method, minimum): float(share.rstrip("%")) for _, method, _, _, minimum, share, *_ in lines}
    assert coverage["order statistics", "16"] > 97
    assert 91 < coverage["order statistics", "5"] < 94
    assert 93.5 < coverage["Student t", "16"] < 96
    assert 94 < coverage["signed rank", "16"] < 96.5


def test_a_gate_is_simulated_from_its_log():
    """With a tenth of the logged scatter, nothing is inconclusive and all slower rows are found."""
    log = ROOT / "benchmarks" / "logs" / "gate-1.jsonl"
    printed = run_module("benchmarks.gate.simulate", "1 %", log, "--tables", "2", "--scatter", "0.1")

    _, inconclusive, false_tables, _, slower, _ = (
        cell.strip() for cell in printed.splitlines()[2].strip("|").split("|")
    )
    assert (inconclusive, false_tables, slower) == ("0.0%", "0 / 4", "100%")
