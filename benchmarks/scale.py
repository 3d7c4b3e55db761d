"""How long commands take on 100,000 records and on 20,000 nodes, and how much memory: whole processes.

.venv/bin/python -m benchmarks.scale [--records N]
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec
import onnx
from onnx import helper

from benchmarks.interleaved import MNBENCH, ROOT
from benchmarks.report import LOGS, versions
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile

RECORDS, ROWS, NODES = 100_000, 100, 20_000
GOAL_S, COST_GOAL_S, GOAL_MB = 10, 5, 1000

COMMANDS = (
    *(("table",), ("table", "--format", "csv"), ("table", "--format", "md"), ("table", "--format", "json")),
    *(("table", "--history"), ("pick", "--budget", "5ms"), ("predict",), ("plot", "mult-adds")),
    ("report",),
)
SHAPE = [1, 4, 8, 8]


def rows_of(records: Sequence[Record], count: int, rows: int) -> Iterator[bytes]:
    """Yield the lines of many records, made of measured ones, of so many different rows."""
    for index in range(count):
        record, row = records[index % len(records)], index % rows
        alpha, side = round(0.1 + row % 997 / 500, 3), 32 + 8 * (row // 997)
        variant = f"{record.architecture}-a{alpha:g}-r{side}-x{row}"
        changes = {"variant": variant, "alpha": alpha, "resolution": (side, side), "id": f"{index}/{variant}"}
        yield msgspec.json.encode(msgspec.structs.replace(record, **changes)) + b"\n"


def write_chain(path: Path) -> None:
    """Write a residual chain."""
    nodes = [helper.make_node("Relu", ["x"], ["t0"], name="relu")]
    for index in range(1, NODES):
        inputs = [f"t{index - 1}", f"t{index // 2}"]
        nodes.append(helper.make_node("Add", inputs, [f"t{index}"], name=f"block{index}/add"))
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE) for name in ("x", f"t{NODES - 1}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_wide(path: Path) -> None:
    """Write branches that meet in one node."""
    names = [f"b{index}" for index in range(NODES - 1)]
    nodes = [helper.make_node("Relu", ["x"], [name], name=f"{name}/relu") for name in names]
    nodes.append(helper.make_node("Concat", names, ["y"], name="concat", axis=1))
    ends = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE),
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4 * len(names), 8, 8]),
    ]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def line(name: str, words: Sequence[str], goal_s: float) -> str:
    """Run a command; return its name, its seconds of time and of CPU, and its peak memory."""
    started = perf_counter()
    process = subprocess.Popen([MNBENCH, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    time_s, cpu_s, memory_mb = perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000
    verdict = "failed" if process.returncode else "met" if time_s < goal_s and memory_mb < GOAL_MB else "missed"
    return f"{name:45} {time_s:6.1f} {cpu_s:6.1f} {memory_mb:6.0f}  {verdict}"


def main() -> None:
    """Time, print and log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    count = parser.parse_args().records
    lines = [f"{count:,} records, {NODES:,} nodes: seconds, seconds of CPU, peak memory in MB; one process each"]
    with tempfile.TemporaryDirectory() as built:
        measured = [record for record in ResultsFile(ROOT / "results", "cpu").read_records() if record.architecture]
        for rows in (min(ROWS, count), count):
            folder = Path(built) / f"{rows}"
            folder.mkdir()
            with (folder / "cpu.jsonl").open("wb") as file:
                file.writelines(rows_of(measured, count, rows))
            for words in COMMANDS:
                output = ["-o", f"{built}/report.html"] if words == ("report",) else []
                name = f"{' '.join(words)}, {rows:,} rows"
                lines.append(line(name, [*words, *output, "--results", str(folder)], GOAL_S))
                print(lines[-1])
            (folder / "cpu.jsonl").unlink()
        for write in (write_chain, write_wide):
            model = Path(built) / f"{write.__name__.removeprefix('write_')}.onnx"
            write(model)
            for words in (("cost",), ("cost", "--layers")):
                lines.append(line(f"{' '.join(words)} {model.name}", [*words, str(model)], COST_GOAL_S))
                print(lines[-1])
    lines.append(versions("mnbench", "msgspec", "rich", "onnx"))
    date = datetime.now(UTC).isoformat(timespec="seconds")
    (LOGS / "scale.txt").write_text("\n".join([f"date: {date}", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
