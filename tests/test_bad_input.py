"""Bad input: one clear line and a hint, the right exit code, and nothing written."""

# ruff: noqa: SIM300  expected == actual

import os
import subprocess
import sys

import onnx
import pytest
from common import ONCE, SMALL
from onnx import TensorProto, helper


def model(*, data_at=None):
    """A 1 × 1 convolution; with `data_at`, its weights are said to be in that file."""
    weight = helper.make_tensor("weight", TensorProto.FLOAT, (4, 3, 1, 1), [0.5] * 12)
    if data_at:
        weight = onnx.TensorProto(
            name="weight", dims=(4, 3, 1, 1), data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
        )
        weight.external_data.add(key="location", value=data_at)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight"], ["output"], name="conv")],
        "own",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 4, 8, 8))],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.fixture
def spoiled(workspace):
    """A folder with a good model and all kinds of bad files."""
    outside = workspace.parent / "outside.bin"
    outside.write_bytes(bytes(48))
    files = {
        "good.onnx": model(),
        "truncated.onnx": model()[:-60],
        "empty.onnx": b"",
        "text.onnx": b"<html>not found</html>",
        "outside.onnx": model(data_at="../outside.bin"),
        "absolute.onnx": model(data_at=str(outside)),
        "linked.onnx": model(data_at="link.bin"),
        "missing.onnx": model(data_at="nowhere.bin"),
        "broken.toml": b'name = "x\n',
        "binary.toml": b"\xff\xfe\x00",
        "strange.toml": b'family = "mobilenet-v1"\nname = "x"\nnonsense = 1\n',
        "file": b"a file where a folder belongs",
    }
    for name, data in files.items():
        (workspace / name).write_bytes(data)
    (workspace / "link.bin").symlink_to(outside)
    for name in ("folder", "folder.onnx", "folder.toml"):
        (workspace / name).mkdir()
    return workspace


def command_of(text):
    """The words of a command line, with the options that make a run short."""
    first, *rest = text.split()
    return [first, *(ONCE if first == "run" else ()), *rest]


FAILURES = {
    "run v1 --alpha 0.25 --res 32 --cores 99": "device cpu: cannot be bound to cores 99",
    "run v1 --alpha 0.25 --res 32 --cores 0,1000000": "device cpu: cannot be bound to cores 1000000",
    "run --resume": "results: holds no unfinished run",
    "run --resume --results file": "file: holds no unfinished run",
    # α
    "cost v1 --alpha 0": "alpha 0 is impossible",
    "cost v1 --alpha -1": "alpha -1 is impossible",
    "cost v1 --alpha nan": "alpha nan is impossible",
    "cost v1 --alpha inf": "alpha inf is impossible",
    "cost v1 --alpha 1e9": "alpha 1e+09 is impossible",
    "cost v1 --alpha 1,0": "alpha 0 is impossible",
    "build v1 --alpha nan": "alpha nan is impossible",
    "run v1 --alpha 0": "alpha 0 is impossible",
    "graphs show v1 --alpha 1e9": "alpha 1e+09 is impossible",
    # resolution
    "cost v1 --res 0": "resolution 0 is impossible",
    "cost v1 --res 7": "resolution 7 is impossible",
    "cost v1 --res -5": "resolution -5 is impossible",
    "cost v1 --res 224x7": "resolution 224x7 is impossible",
    "cost v1 --res 1000000": "resolution 1000000 is impossible",
    "build v1 --res 0": "resolution 0 is impossible",
    "run v1 --res 1000000": "resolution 1000000 is impossible",
    "cost v1 --rho 0": "rho 0 is impossible",
    "cost v1 --rho nan": "rho nan is impossible",
    "cost v1 --rho 0.01": "resolution 2 is impossible",
    "cost v1 --alpha 1,1.0": "asked for twice",
    # names
    "cost v9": "there is no graph of that name",
    "cost v11": "did you mean `v1`?",
    "build v11": "did you mean `v1`?",
    "run v11": "did you mean `v1`?",
    "graphs show v11": "did you mean `v1`?",
    "run v1 --device cpuu": "did you mean `cpu`?",
    "devices show gpu": "there is no device of that name",
    "table gpu": "holds no results of device gpu",
    "table": "holds no results yet",
    # tables
    "cost broken.toml": "broken.toml: is not TOML",
    "graphs show broken.toml": "at line 1",
    "run v1 --device broken.toml": "broken.toml: is not TOML",
    "cost binary.toml": "is not UTF-8",
    "cost strange.toml": "`nonsense`",
    "devices show strange.toml": "unknown key",
    "cost nothing.toml": "No such file",
    # files
    "cost nothing.onnx": "No such file",
    "cost empty.onnx": "empty.onnx: holds no graph",
    "cost text.onnx": "text.onnx: is no ONNX model",
    "cost truncated.onnx": "truncated.onnx: is no ONNX model, or is cut short",
    "build truncated.onnx": "truncated.onnx: is no ONNX model, or is cut short",
    "run truncated.onnx": "truncated.onnx: is no ONNX model, or is cut short",
    "cost outside.onnx": "points outside the directory",
    "build outside.onnx": "points outside the directory",
    "run outside.onnx": "points outside the directory",
    "build absolute.onnx": "external data cannot be used",
    "build linked.onnx": "external data cannot be used",
    "build missing.onnx": "external data cannot be used",
    "cost good.onnx --res 16": "input input is fixed at 8x8",
    # folders where files belong, and files where folders belong
    "cost folder": "there is no graph of that name",
    "cost folder.onnx": "folder.onnx: cannot be read (Is a directory)",
    "build folder.onnx": "folder.onnx: cannot be read (Is a directory)",
    "cost folder.toml": "folder.toml: cannot be read (Is a directory)",
    "run v1 --device folder.toml": "folder.toml: cannot be read (Is a directory)",
    "build v1 --alpha 0.25 --res 32 -o folder": "folder: is a folder",
    # Root may write into any folder, whatever its permission bits say; nobody may below a regular file or in /proc.
    "build v1 --alpha 0.25 --res 32 -o file/model.onnx": "file/model.onnx: cannot be written",
    "build v1 --alpha 0.25 --res 32 -o /proc/model.onnx": "/proc/model.onnx: cannot be written",
    "run good.onnx --results file": "file/cpu.jsonl: cannot be read",
    "run good.onnx --results file/results": "cannot be ",
    "run good.onnx --results /proc/results": "cannot be written",
    "table --results file": "holds no results",
}

USAGE_ERRORS = {
    "cost v1 --res 1e6": "'1e6' is not a size",
    "cost v1 --res large": "'large' is not a size",
    "cost v1 --alpha one": "'one' is not a number",
    "cost v1 --format xml": "'xml' is not one of",
    "cost v1 --nonsense": "No such option",
    "cots v1": "No such command 'cots'",
    "run v1 --processes 0": "0 is not in the range",
    "run v1 --duration 0": "0.0 is not in the range",
    "run v1 --duration nan": "nan",
    "run v1 --duration inf": "inf",
    "run v1 --seed -1": "-1 is not in the range",
    "run v1 --budget 0s": "'0s' is no duration",
    "run v1 --budget -1s": "'-1s' is no duration",
    "run v1 --budget soon": "'soon' is no duration",
    "run v1 --budget 20x": "'20x' is no duration",
    "run v1 --budget nan": "'nan' is no duration",
    "run v1 --budget inf": "'inf' is no duration",
    "run v1 --budget 1e999s": "'1e999s' is no duration",
    "run v1 --precision-target 1": "'1' is no share",
    "run v1 --precision-target 0%": "'0%' is no share",
    "run v1 --precision-target 100%": "'100%' is no share",
    "run v1 --precision-target -1%": "'-1%' is no share",
    "run v1 --precision-target nan%": "'nan%' is no share",
    "run v1 --precision-target 1%%": "'1%%' is no share",
    "run v1 --precision-target small": "'small' is no share",
    "run v1 --threads 0": "'0' is not a number or `all`",
    "run v1 --threads -1": "'-1' is not a number or `all`",
    "run v1 --threads many": "'many' is not a number or `all`",
    "run v1 --threads 1,,2": "'1,,2' is not a number or `all`",
    "run v1 --cores -1": "'-1' is not the number of a core",
    "run v1 --cores one": "'one' is not the number of a core",
    "run v1 --batch dynamic": "a measurement needs a batch of fixed size",
    "build v1 --seed -1": "-1 is not in the range",
    "table --columns latnecy_ns": "did you mean latency_ns?",
    "table --columns nonsense": "there is no column 'nonsense'",
    "table --sort nonsense": "there is no column 'nonsense'",
    "table --columns ,": "there is no column ''",
}


@pytest.mark.parametrize("line", FAILURES)
def test_bad_input_gives_an_error_a_hint_and_exit_code_1(invoke, spoiled, tree, line):
    """What cannot be done ends with one line that says why and one that says what to do; nothing is written."""
    before = tree(spoiled)
    result = invoke(*command_of(line))
    error, hint = result.stderr.splitlines()

    assert 1 == result.exit_code
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    assert len(hint) > len("Hint: ")
    assert FAILURES[line] in result.stderr
    assert "" == result.stdout
    assert before == tree(spoiled)


@pytest.mark.parametrize("line", USAGE_ERRORS)
def test_wrong_usage_gives_the_usage_an_error_and_exit_code_2(invoke, spoiled, tree, line):
    """A command line that makes no sense ends with its usage and one line that says why; nothing is written."""
    before = tree(spoiled)
    result = invoke(*command_of(line))
    *usage, error = result.stderr.splitlines()

    assert 2 == result.exit_code
    assert usage[0].startswith("Usage: mnbench")
    assert [] == [text for text in usage[1:] if text and not text.startswith("Try ")]
    assert error.startswith("Error: ")
    assert USAGE_ERRORS[line] in error
    assert "" == result.stdout
    assert before == tree(spoiled)


def test_a_good_model_is_taken(invoke, spoiled):
    """The model that the bad ones are made from is right: it is counted and built."""
    assert 0 == invoke("cost", "good.onnx").exit_code
    assert 0 == invoke("build", "good.onnx", "-o", "built.onnx").exit_code
    assert (spoiled / "built.onnx").is_file()


def test_one_bad_model_among_good_ones_leaves_whole_files(invoke, spoiled):
    """Models built before the one that fails are whole files, and nothing else is left."""
    before = {path.name for path in spoiled.iterdir()}
    result = invoke("build", "v1", "truncated.onnx", *(), "--res", "32")

    assert 1 == result.exit_code
    assert {"v1-a1-r32.onnx"} == {path.name for path in spoiled.iterdir()} - before
    assert 0 == invoke("cost", "v1-a1-r32.onnx").exit_code


def test_results_that_are_a_folder(invoke, workspace):
    """A folder in the place of `cpu.jsonl` is an error of `table` and of `run`."""
    (workspace / "results" / "cpu.jsonl").mkdir(parents=True)
    (workspace / "own.onnx").write_bytes(model())
    for words in (("table",), ("run", "own.onnx", *ONCE)):
        result = invoke(*words)
        assert 1 == result.exit_code
        assert "Error: results/cpu.jsonl: cannot be read (Is a directory)" == result.stderr.splitlines()[0]


# Programs of their own: what is missing or full is missing or full for a whole process.


def outcome(finished):
    """The exit code and the lines on stderr of a command that failed as it should: nothing on stdout, no traceback."""
    assert "Traceback" not in finished.stderr
    assert "" == finished.stdout
    return finished.returncode, finished.stderr.splitlines()


def mnbench(*words, cwd, **settings):
    """Run one command in a process of its own."""
    command = [sys.executable, "-m", "mnbench", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60, **settings)


@pytest.fixture
def without_onnxruntime(tmp_path):
    """An environment in which onnxruntime cannot be imported, here and in workers; its message has two lines."""
    package = tmp_path / "stub" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("No module named onnxruntime\\nsee above")\n')
    return os.environ | {"PYTHONPATH": str(package.parent)}


@pytest.mark.parametrize(
    "words",
    [("build", "v1", *SMALL), ("run", "v1", *SMALL, *ONCE), ("run", "own.onnx", *ONCE)],
    ids=["build", "run", "run file"],
)
def test_onnxruntime_not_installed(workspace, without_onnxruntime, words):
    """Without onnxruntime, `build` and `run` name it in one line, and the command that installs it in another."""
    (workspace / "own.onnx").write_bytes(model())
    code, lines = outcome(mnbench(*words, cwd=workspace, env=without_onnxruntime))

    assert 1 == code
    assert ["Error:", "Hint:"] == [line.split(" ")[0] for line in lines]
    assert "onnxruntime" in lines[0]
    assert "Hint: pip install onnxruntime" == lines[1]
    assert ["own.onnx"] == [path.name for path in workspace.glob("*.*")]


def test_counting_needs_no_onnxruntime(workspace, without_onnxruntime):
    """What runs no model works without onnxruntime."""
    (workspace / "own.onnx").write_bytes(model())
    for words in (("cost", "v1"), ("cost", "own.onnx"), ("graphs",), ("reproduce", "v2")):
        assert (words, 0) == (words, mnbench(*words, cwd=workspace, env=without_onnxruntime).returncode)


def profile(**changes):
    """The text of a device's profile."""
    keys = {
        "name": "other",
        "summary": "another device",
        "gateway": "popen",
        "runtime": "onnxruntime",
        "provider": "CPUExecutionProvider",
    }
    return "".join(f'{key} = "{value}"\n' for key, value in (keys | changes).items()) + "threads = 1\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gateway": "popen//python=/nonexistent"}, "/nonexistent"),
        ({"gateway": "nonsense"}, "nonsense"),
        ({"provider": "NonsenseExecutionProvider"}, "NonsenseExecutionProvider"),
        ({"runtime": "nonsense"}, "nonsense"),
    ],
    ids=["python", "gateway", "provider", "runtime"],
)
def test_a_device_that_cannot_be_used(invoke, workspace, changes, expected):
    """A device whose Python, gateway, runtime or provider there is not gives one line and a hint."""
    (workspace / "other.toml").write_text(profile(**changes))
    (workspace / "own.onnx").write_bytes(model())
    result = invoke("run", "own.onnx", "--device", "other.toml", *ONCE)
    error, hint = result.stderr.splitlines()

    assert 1 == result.exit_code
    assert error.startswith(("Error: device other: ", "Error: other.toml: "))
    assert expected in error
    assert hint.startswith("Hint: ")


def test_no_command_installs_a_runtime_that_mnbench_does_not_know(invoke, workspace):
    """A profile with an unknown runtime is told which ones there are, and not to install something of that name."""
    (workspace / "other.toml").write_text(profile(runtime="nonsense"))
    (workspace / "own.onnx").write_bytes(model())
    result = invoke("run", "own.onnx", "--device", "other.toml", *ONCE)

    assert 1 == result.exit_code
    assert "pip install nonsense" not in result.stderr
    assert "onnxruntime" in result.stderr


def test_a_run_that_cannot_start_leaves_nothing(invoke, workspace, tree):
    """Where the device cannot be used at all, no results folder and no empty run are left behind."""
    (workspace / "other.toml").write_text(profile(gateway="popen//python=/nonexistent"))
    (workspace / "own.onnx").write_bytes(model())
    before = tree(workspace)

    assert 1 == invoke("run", "own.onnx", "--device", "other.toml", *ONCE).exit_code
    assert before == tree(workspace)


@pytest.mark.parametrize("form", ["rich", "csv", "json"])
def test_a_full_disk_behind_stdout(workspace, form):
    """Output that cannot be written, as in `mnbench cost v1 > FILE` on a full disk, is an error and no traceback."""
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123  a device, not a file of ours
        finished = subprocess.run(
            [sys.executable, "-m", "mnbench", "cost", "v1", "--format", form],
            cwd=workspace,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )

    assert 1 == finished.returncode
    assert "Traceback" not in finished.stderr
    assert 1 == sum(line.startswith("Error: ") for line in finished.stderr.splitlines())


@pytest.mark.parametrize("form", ["rich", "md", "json"])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_unicode(workspace, form, encoding):
    """Where α cannot be written, something else is written, and no traceback."""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    finished = mnbench("cost", "v1", "--format", form, cwd=workspace, env=environment, errors="replace")

    assert "Traceback" not in finished.stderr
    assert 0 == finished.returncode
    assert "v1-a1-r224" in finished.stdout


def test_a_reader_that_leaves(workspace):
    """`mnbench cost v1 --layers | head -1` ends without a word on stderr."""
    pipe = 'set -o pipefail; "$0" -m mnbench cost v1 --layers --format csv | head -1'
    finished = subprocess.run(
        ["bash", "-c", pipe, sys.executable], cwd=workspace, capture_output=True, text=True, check=False, timeout=60
    )

    assert "" == finished.stderr
    assert finished.stdout.startswith("scope,")


def in_a_small_folder(options, script, cwd):
    """Run a shell script in `disk`, a small file system of its own, with Python as `$0`; skip where none is granted."""
    (cwd / "disk").mkdir()
    mount = f"mount -t tmpfs -o {options} none disk"
    for unshare in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        tried = subprocess.run([*unshare, "sh", "-c", mount], cwd=cwd, capture_output=True, text=True, check=False)
        if not tried.returncode:
            return subprocess.run(
                [*unshare, "sh", "-c", f"{mount} && cd disk && {script}", sys.executable],
                cwd=cwd,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
    pytest.skip(f"the kernel refuses to mount a small tmpfs: {tried.stderr.strip()}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"), [("size=64k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_build_on_a_disk_that_takes_nothing(workspace, options, reason):
    """A full or read-only disk is one error, and no part of the model is left on it."""
    finished = in_a_small_folder(
        options, '"$0" -m mnbench build v1 --alpha 0.25 --res 32; code=$?; ls -A; exit $code', workspace
    )
    code, (error, hint) = outcome(finished)

    assert 1 == code
    assert f"Error: v1-a0.25-r32.onnx: cannot be written ({reason})" == error
    assert hint.startswith("Hint: ")


RUN_ON_A_SMALL_DISK = """
measure() { "$0" -m mnbench run v1 --alpha 0.25 --duration 0.05 --format json "$@"; }
run() { measure --res 32,64 --processes 3 --precision-target 99%; }
measure --res 48 --budget 1ms > /dev/null 2>&1
cat results/cpu.jsonl; echo; head -c 1m /dev/zero > filler 2> /dev/null
truncate -s -20k filler
run > ../first.json 2> ../first; echo $? >> ../first
cat results/cpu.jsonl; echo
rm filler
run > ../second.json 2> ../second; echo $? >> ../second
cat results/cpu.jsonl
"""


@pytest.mark.slow
def test_run_on_a_full_disk_keeps_what_it_has(workspace):
    """A disk that fills during a run is one error; records and visits are kept, and with space the run goes on."""
    finished = in_a_small_folder("size=128k", RUN_ON_A_SMALL_DISK, workspace)
    before, first, second = finished.stdout.split("\n\n")
    error, hint, code = [line for line in (workspace / "first").read_text().splitlines() if " ms" not in line]
    continuing, *_, code_after = (workspace / "second").read_text().splitlines()

    assert "" == finished.stderr
    assert "1" == code
    assert error.startswith("Error: results/raw/")
    assert error.endswith("cannot be written (No space left on device)")
    assert hint.startswith("Hint: ")
    assert "" == (workspace / "first.json").read_text()
    assert before == first
    assert continuing.startswith("continuing run")
    assert "0" == code_after
    assert [before] == second.splitlines()[:1]
    assert 3 == len(second.splitlines())
