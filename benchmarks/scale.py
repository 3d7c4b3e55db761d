"""How long commands take on 100,000 records, 20,000 nodes and hostile files, and how much memory: whole processes.

.venv/bin/python -m benchmarks.scale [--records N]
"""

import argparse
import lzma
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import IO

import msgspec
import numpy as np
import onnx
from onnx import helper

from benchmarks.interleaved import MNBENCH, ROOT
from benchmarks.report import LOGS, versions
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile

RECORDS, NODES = 100_000, 20_000
GOAL_S, COST_GOAL_S, GOAL_MB = 10, 5, 1000
HOSTILE_BYTES, HOSTILE_GOAL_S = 100_000, 5
ZIP_RATIO, XZ_RATIO = 1000, 7000
"""How often shorter zeros are compressed."""

COMMANDS = (
    *(("table",), ("table", "--format", "csv"), ("table", "--format", "md"), ("table", "--format", "json")),
    *(("table", "--history"), ("pick", "--budget", "5ms"), ("predict",), ("plot", "mult-adds")),
    ("report",),
)
ANSWERS = (0, 1, 4)
"""Exit codes of a command that read a hostile file and lives: a result, an error, or nothing to compare."""

SHAPE = [1, 4, 8, 8]


def rows_of(records: Sequence[Record], count: int) -> Iterator[bytes]:
    """Yield the lines of many records, made of measured ones, each of another row."""
    for index in range(count):
        record = records[index % len(records)]
        alpha, side = round(0.1 + index % 997 / 500, 3), 32 + 8 * (index // 997)
        variant = f"{record.architecture}-a{alpha:g}-r{side}-x{index}"
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


def write_ifs(path: Path) -> None:
    """Write nodes with two graphs each: 20,000 nodes and more in all."""

    def branch(name: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE)
        return helper.make_graph([helper.make_node("Relu", ["x"], [name])], name, [], [output])

    nodes = [
        helper.make_node(
            "If", ["condition"], [f"i{index}"], then_branch=branch(f"t{index}"), else_branch=branch(f"e{index}")
        )
        for index in range(NODES // 3 + 1)
    ]
    ends = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE),
        helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, []),
        helper.make_tensor_value_info("i0", onnx.TensorProto.FLOAT, SHAPE),
    ]
    graph = helper.make_graph(nodes, "ifs", ends[:2], ends[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_hostile(folder: Path, record: Record) -> Iterator[tuple[str, list[str]]]:
    """Write a hostile file of about 100 KB for each reader; yield its name, and the words that read it."""

    def records(name: str, data: bytes) -> list[str]:
        (folder / name).mkdir()
        (folder / name / "cpu.jsonl").write_bytes(data)
        return ["table", "--results", str(folder / name)]

    yield "deep JSON as a record", records("deep", b"[" * HOSTILE_BYTES + b"\n")
    yield "long name in a record", records("name", encode_as(record, variant="x" * HOSTILE_BYTES))
    yield "empty lines as records", records("empty", b"\n" * HOSTILE_BYTES + encode_as(record))
    *_, raw = records("npz", encode_as(record, run="bomb"))
    (folder / "npz" / "raw" / "bomb").mkdir(parents=True)
    size_bytes = HOSTILE_BYTES * ZIP_RATIO
    header = {"descr": "<i8", "fortran_order": False, "shape": (size_bytes // 8,)}
    path = folder / f"npz/raw/bomb/{record.row.id}.0.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("latencies_ns.npy", "w") as array:
        np.lib.format.write_array_header_1_0(array, header)
        write_zeros(array, size_bytes)
    yield "zeros in raw results", ["plot", "distribution", "--results", raw]
    for name, text in (("deep", "x = " + "[" * HOSTILE_BYTES), ("long", f'x = "{"a" * HOSTILE_BYTES}"')):
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
        yield f"{name} TOML as a graph", ["cost", str(folder / f"{name}.toml")]
    shape = [1, 2**20, 2**20, 2**10]
    node = helper.make_node("Relu", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, shape) for end in "xy"]
    huge = helper.make_model(helper.make_graph([node], "huge", ends[:1], ends[1:]), ir_version=8)
    onnx.save(huge, folder / "huge.onnx")
    deep = b"\x0a\x03" * (HOSTILE_BYTES // 2)
    (folder / "deep.onnx").write_bytes(deep)
    yield "huge input of a model", ["verify", str(folder / "huge.onnx")]
    yield "deep messages as a model", ["cost", str(folder / "deep.onnx")]
    graphs = folder / "xz" / "graphs"
    # Another model than today's: the gate has to read the stored graph.
    *_, results = records("xz", encode_as(record, model_sha256="f" * 64))
    graphs.mkdir()
    with lzma.open(graphs / f"{'f' * 12}.onnx.xz", "w", preset=0) as file:
        write_zeros(file, HOSTILE_BYTES * XZ_RATIO)
    yield "zeros in a stored graph", ["gate", f"{results}/cpu.jsonl", "--trust"]


def encode_as(record: Record, **changes: str) -> bytes:
    """Return the line of a record with these changes."""
    return msgspec.json.encode(msgspec.structs.replace(record, **changes)) + b"\n"


def write_zeros(file: IO[bytes], size_bytes: int) -> None:
    """Write zeros piece by piece: a process that this one starts counts our memory as its own."""
    for _ in range(size_bytes // 10**6):
        file.write(bytes(10**6))


def line(name: str, words: Sequence[str], goal_s: float, *, may_fail: bool = False) -> str:
    """Run a command; return its name, its seconds of time and of CPU, and its peak memory."""
    started = perf_counter()
    errors = subprocess.DEVNULL if may_fail else None
    process = subprocess.Popen([MNBENCH, *words], stdout=subprocess.DEVNULL, stderr=errors)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    time_s, cpu_s, memory_mb = perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000
    verdict = "met" if time_s < goal_s and memory_mb < GOAL_MB else "missed"
    if process.returncode not in (ANSWERS if may_fail else (0,)):
        verdict = "failed"
    return f"{name:45} {time_s:6.1f} {cpu_s:6.1f} {memory_mb:6.0f}  {verdict}"


def main() -> None:
    """Time, print and log."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    count = parser.parse_args().records
    lines = [
        f"{count:,} records, {NODES:,} nodes, hostile files of 100 KB: seconds, seconds of CPU, peak memory in MB",
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before",
    ]
    with tempfile.TemporaryDirectory() as built:
        measured = [record for record in ResultsFile(ROOT / "results", "cpu").read_records() if record.architecture]
        table = Path(built) / "cpu.jsonl"
        with table.open("wb") as file:
            file.writelines(rows_of(measured, count))
        for words in COMMANDS:
            output = ["-o", f"{built}/report.html"] if words == ("report",) else []
            lines.append(line(" ".join(words), [*words, *output, "--results", built], GOAL_S))
            print(lines[-1], flush=True)
        table.unlink()
        for write in (write_chain, write_wide, write_ifs):
            model = Path(built) / f"{write.__name__.removeprefix('write_')}.onnx"
            write(model)
            for words in (("cost",), ("cost", "--layers")):
                lines.append(line(f"{' '.join(words)} {model.name}", [*words, str(model)], COST_GOAL_S))
                print(lines[-1], flush=True)
        hostile = Path(built) / "hostile"
        hostile.mkdir()
        for name, words in write_hostile(hostile, measured[0]):
            lines.append(line(name, words, HOSTILE_GOAL_S, may_fail=True))
            print(lines[-1], flush=True)
    lines.append(versions("mnbench", "msgspec", "rich", "onnx"))
    date = datetime.now(UTC).isoformat(timespec="seconds")
    (LOGS / "scale.txt").write_text("\n".join([f"date: {date}", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
