"""Hostile records, archives, tables, models and files in a place of files: a valid value or one line, at once."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import socket

import msgspec
import numpy as np
import pytest
from common import line_of
from limits import DEPTH, MEGABYTE, model_with_input, require_error, using_less_than, within
from onnx import TensorProto

from mnbench.atomic_files import file_name
from mnbench.comparison.comparison import Comparison
from mnbench.errors import MnbenchError, ResultsError
from mnbench.model.input_files import load_batches
from mnbench.model.model import Model
from mnbench.results.layer_profile import newest_profiles
from mnbench.results.store import ResultsFile
from mnbench.studies.study_result import load_result

NESTED = object()
"""Stands for a list in a list in a list, DEPTH deep."""


WRONG_VALUES = {
    "latency of 0": ("latency_ns.median", 0),
    "negative latency": ("latency_ns.min", -1),
    "median below its interval": ("latency_ns.low", 11_000_000),
    "median above its interval": ("latency_ns.high", 9_000_000),
    "drift beside the median": ("latency_ns.low_with_drift", 11_000_000),
    "coverage of 2": ("latency_ns.coverage", 2),
    "alpha of 0": ("alpha", 0),
    "negative alpha": ("alpha", -1),
    "alpha of 1e300": ("alpha", 1e300),
    "resolution of 0": ("resolution", [0, 0]),
    "negative resolution": ("resolution", [-1, 224]),
    "batch of 0": ("batch", 0),
    "negative classes": ("classes", -1),
    "negative seed": ("seed", -1),
    "negative threads": ("threads", -1),
    "a million threads": ("threads", 10**6),
    "negative runs": ("runs", -1),
    "negative processes": ("processes", -1),
    "negative params": ("params", -5),
    "negative Mult-Adds": ("mult_adds", -5),
    "count of 2 to the 63": ("memory_access", 2**63),
    "negative memory": ("peak_rss_bytes", -5),
    "negative difference": ("difference", -1),
    "placement of 2": ("placement.nodes", 2),
    "negative peak": (
        "roofline",
        {"peak_mult_adds_per_s": -1.0, "bandwidth_bytes_per_s": 1.0, "moved_bytes": None, "bound_ns": None},
    ),
    "digest that leaves its folder": ("model_sha256", "../../../x"),
    "digest with NUL": ("model_sha256", "\0" * 64),
    "short digest": ("model_sha256", "ab"),
    "device that leaves its folder": ("device", "../x"),
    "device with a folder": ("device", "a/b"),
    "device with NUL": ("device", "a\0b"),
    "device that is a folder": ("device", ".."),
    "device of two lines": ("device", "cpu\n"),
    "device of 5,000 letters": ("device", "x" * 5000),
    "run that leaves its folder": ("run", "../../x"),
    "run at the root": ("run", "/etc"),
    "run that is a folder": ("run", "."),
    "version that is a path": ("runtime.version", "/tmp"),  # noqa: S108
    "version that is an option": ("runtime.version", "-r x"),
    "version that is an address": ("runtime.version", "1 @ file:///x"),
    "runtime that leaves its folder": ("runtime.name", "../loop"),
    "provider of two lines": ("provider", "CPU\nx"),
    "time that is none": ("measured_at", "\x1b[2J"),
    "version of mnbench": ("mnbench_version", "; touch x"),
    "processor that is a list": ("host.cpu", ["a"]),
    "processor that is a table": ("host.cpu", {"a": 1}),
    "cores that are words": ("host.cores", "two"),
    "no core": ("host.cores", 0),
    "caches that are numbers": ("host.caches", [1, 2]),
    "GPU that is a number": ("gpu", {"name": 5}),
    "conditions that are numbers": ("conditions", [1]),
    "text of a megabyte": ("variant", "x" * MEGABYTE),
    "host of 100,000 levels": ("host.cpu", NESTED),
    "unknown field of 100,000 levels": ("unknown", NESTED),
}


@pytest.mark.parametrize(("path", "value"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_wrong_value_in_a_record_is_one_line(invoke, workspace, make_record, path, value):
    """The line names the file and the line of the record."""
    record = json.loads(line_of(make_record()))
    *tables, key = path.split(".")
    target = record
    for table in tables:
        target = target[table]
    target[key] = "NESTED" if value is NESTED else value
    text = json.dumps(record).replace('"NESTED"', "[" * DEPTH + "]" * DEPTH)
    (workspace / "results").mkdir()
    (workspace / "results" / "cpu.jsonl").write_text(f"{line_of(make_record()).decode()}{text}\n")

    with within():
        require_error(invoke("table"), "results/cpu.jsonl: line 2 is not a record")


@pytest.mark.parametrize("text", ["a line of another program", "[1, 2]", '{"name": 1', '{"schema": 9}'])
def test_a_last_line_that_is_no_record_is_kept(workspace, make_record, text):
    """Nothing is written over it, and it is not left out in silence."""
    path = workspace / "cpu.jsonl"
    path.write_bytes(line_of(make_record()) + text.encode())
    before = path.read_bytes()

    store = ResultsFile(workspace, "cpu")
    for use in (store.read_records, lambda: store.append(make_record())):
        with pytest.raises(ResultsError, match="line 2"):
            use()
    assert before == path.read_bytes()


def link(path):
    """Put a link to a file."""
    target = path.with_name("elsewhere")
    target.write_bytes(b"")
    path.symlink_to(target)


def broken_link(path):
    """Put a link to a file that is not there."""
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path):
    """Put a pipe that nobody writes to."""
    os.mkfifo(path)


def link_to_pipe(path):
    """Put a link to such a pipe."""
    os.mkfifo(path.with_name("a-pipe"))
    path.symlink_to("a-pipe")


def device(path):
    """Put a link to a file without end."""
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("place", [link, broken_link, pipe, link_to_pipe, device])
def test_a_record_is_appended_to_a_regular_file_only(workspace, make_record, place):
    """No link is followed, no pipe is waited for, and nothing is made elsewhere."""
    place(workspace / "cpu.jsonl")
    before = {path.name for path in workspace.iterdir()}

    with within(), pytest.raises(MnbenchError):
        ResultsFile(workspace, "cpu").append(make_record())
    assert before | {"raw"} == {path.name for path in workspace.iterdir()}
    assert not (workspace / "elsewhere").exists() or not (workspace / "elsewhere").read_bytes()


READERS = {
    "table": ("results/cpu.jsonl", "table"),
    "plot": ("results/cpu.jsonl", "plot", "params", "-o", "x.svg"),
    "report": ("results/cpu.jsonl", "report", "-o", "x.html"),
    "pick": ("results/cpu.jsonl", "pick", "--budget", "1ms"),
    "cost of a table": ("x.toml", "cost", "x.toml"),
    "devices show": ("x.toml", "devices", "show", "x.toml"),
    "cost of a model": ("x.onnx", "cost", "x.onnx"),
    "build": ("x.onnx", "build", "x.onnx", "-o", "y.onnx"),
    "weights": ("x.safetensors", "build", "v1", "--weights", "x.safetensors", "-o", "y.onnx"),
}


@pytest.mark.parametrize("place", [pipe, link_to_pipe, device])
@pytest.mark.parametrize(("name", "command"), [(name, line) for name, *line in READERS.values()], ids=READERS)
def test_a_pipe_or_device_in_a_files_place_is_one_line(invoke, workspace, name, command, place):
    """Nothing waits, and nothing is read without end."""
    path = workspace / name
    path.parent.mkdir(exist_ok=True)
    place(path)

    with within():
        require_error(invoke(*command), f"{name}: is not a regular file")


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"{}", b"[1]", b'["v1', b'["--resume"]', b'["v1", "--trust"]', b"\0" * 100, b"[" * DEPTH],
    ids=["empty", "null", "table", "number", "torn", "resume", "trust", "zeros", "deep"],
)
def test_arguments_of_a_run_that_are_none_are_skipped(invoke, workspace, data):
    """Such as a power failure leaves, or a stranger writes."""
    folder = workspace / "results" / "raw" / "20990101T000000-x"
    folder.mkdir(parents=True)
    (folder / "arguments.json").write_bytes(data)

    with within():
        require_error(invoke("run", "--resume"), "there is no unfinished run")


NAMES = ["", ".", "..", ".hidden", "CON", "nul.txt", "aux", "com1.npz", "x.", "\udc80"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_a_file_of_its_folder(tmp_path, name):
    """It is not hidden, names no folder, and is no device of Windows."""
    path = tmp_path / file_name(name)
    path.write_bytes(b"x")

    assert [path.name] == [entry.name for entry in tmp_path.iterdir()]
    assert not path.name.startswith(".")
    assert path.name.partition(".")[0].lower() not in {"con", "nul", "aux", "com1"}


TABLES = {
    "a megabyte": b"#" * MEGABYTE,
    "100,000 levels": b"x = " + b"[" * DEPTH,
    "tables of 20,000 levels": b"x = " + b"{a=" * 20_000,
    "a key of 3,000 parts": b"a" + b".a" * 3000 + b" = 1",
    "a quoted key of 3,000 parts": b'"a b"' + b'."a b"' * 3000 + b" = 1",
    "a number of 10,000 digits": b"x = " + b"9" * 10_000,
}


@pytest.mark.parametrize("command", ["cost", "devices show"])
@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES)
def test_a_table_without_bounds_is_one_line(invoke, workspace, data, command):
    """Its size and its levels are limited before it is parsed."""
    (workspace / "x.toml").write_bytes(data)

    with within(), using_less_than(100 * MEGABYTE):
        result = invoke(*command.split(), "x.toml")
    require_error(result, "x.toml: ")
    assert len(result.stderr) < 1000
    assert "allowed" not in result.stderr


MODELS = {
    "2 to the 62 values": model_with_input([2**62]),
    "2 to the 62 in sides": model_with_input([1, 3, 2**31, 2**31]),
    "10 to the 12 bytes": model_with_input([10**12], kind=TensorProto.UINT8),
    "2 to the 29 truth values": model_with_input([2**29], kind=TensorProto.BOOL),
    "a name of a megabyte": model_with_input([1], name="x" * MEGABYTE),
    "a name with NUL": model_with_input([1], name="x\0y"),
}


@pytest.mark.parametrize("command", ["build", "verify", "run"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_inputs_that_no_memory_holds_are_one_line(invoke, workspace, model, command):
    """They are refused before anything is drawn."""
    (workspace / "x.onnx").write_bytes(model.SerializeToString())
    options = {"build": ("-o", "y.onnx"), "verify": (), "run": ("--no-roofline",)}[command]

    with within(60), using_less_than(300 * MEGABYTE):
        result = invoke(command, "x.onnx", *options)
    assert 1 == result.exit_code
    assert "input" in result.stderr
    assert len(result.stderr) < 2000


CONTEXT = {"base": "a", "candidate": "b", "rules": {}, "seed": 0, "measured": {"row": "cpu"}, "processes": 1}
COLUMNS = dict.fromkeys(("row", "round", "first", "base_ns", "candidate_ns", "base_cpu_ns", "candidate_cpu_ns"), 1)
FACTS = {"stage": "first", "variants": ["row", "row 2"], "failed": {}, "sessions": {}}
SESSIONS = {f"{row} {side}": {"waits": False} for row in FACTS["variants"] for side in ("base", "candidate")}
PAIRS = {
    "a billion processes": ({"processes": 10**9}, {}, {}),
    "an error rate of 0": ({"rules": {"error_rate": 0}}, {}, {}),
    "no process": ({"rules": {"processes": 0}}, {}, {}),
    "latencies of 0": ({}, {"base_ns": 0}, {}),
    "a row that is not there": ({}, {"row": 5}, {}),
    "a negative row": ({}, {"row": -1}, {}),
    "a third side": ({}, {"first": 2}, {}),
    "no sessions": ({}, {}, {"sessions": {}}),
    "sessions that are numbers": ({}, {}, {"sessions": {"row 2 base": 1}}),
    "a stage of another name": ({}, {}, {"stage": "last"}),
}


@pytest.mark.parametrize(("context", "columns", "facts"), PAIRS.values(), ids=PAIRS)
def test_hostile_pairs_of_a_comparison_are_one_line(workspace, context, columns, facts):
    """Nothing is decided from impossible numbers."""
    (workspace / "comparison.json").write_text(json.dumps(CONTEXT | context))
    arrays = {name: np.full(40, value) for name, value in (COLUMNS | columns).items()}
    text = json.dumps(FACTS | {"sessions": SESSIONS} | facts)
    np.savez(workspace / "pairs.0.npz", facts=np.array(text), **arrays)

    with within(), pytest.raises(ResultsError, match="holds no comparison that can be read"):
        Comparison.load(workspace)


@pytest.mark.parametrize("data", [b"[" * DEPTH, b'{"x":' * DEPTH, b'{"runs": -1}', b"\xff\xfe"], ids=range(4))
def test_a_hostile_profile_or_study_is_one_line(workspace, data):
    """Profiles and studies are read as records are."""
    for path in (workspace / "raw" / "a" / "v1.profile.json", workspace / "studies" / "cpu" / "g1.json"):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)

    for read in (lambda: newest_profiles(workspace), lambda: load_result(workspace, "cpu", "g1")):
        with within(), pytest.raises(ResultsError, match="cannot be read"):
            read()


def test_a_socket_is_no_file(invoke, workspace):
    """A socket in a model's place is an error."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("x.onnx")
        with within():
            require_error(invoke("build", "x.onnx", "-o", "y.onnx"), "x.onnx")
    assert (workspace / "x.onnx").is_socket()


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_an_image_of_postscript_starts_no_program(workspace, monkeypatch, name):
    """Pillow renders PostScript with Ghostscript, whatever the file is called."""
    pytest.importorskip("PIL")
    program = workspace / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {workspace}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    (workspace / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")

    with pytest.raises(MnbenchError):
        load_batches([workspace / name], Model(name="x", proto=model_with_input([1, 3, 8, 8])))
    assert not (workspace / "started").exists()


def test_a_record_that_would_not_read_back_is_not_stored(workspace, make_record):
    """A line that nobody could read would spoil the table."""
    record = msgspec.structs.replace(make_record(), peak_rss_bytes="many")

    with pytest.raises(ResultsError):
        ResultsFile(workspace, "cpu").append(record)
    assert not (workspace / "cpu.jsonl").exists()


@pytest.mark.parametrize("text", [b"Identity", b"y"], ids=["operator", "tensor"])
def test_a_name_in_a_model_that_is_no_text_is_one_line(invoke, workspace, text):
    """Protobuf returns it as bytes, which nothing expects."""
    data = model_with_input([1]).SerializeToString()
    (workspace / "x.onnx").write_bytes(data.replace(text, b"\xff" * len(text)))

    require_error(invoke("cost", "x.onnx"), "x.onnx: is not an ONNX model")
