"""What is missing or full for a whole process: a program of its own says so in a line, and loses nothing."""

# ruff: noqa: SIM300  expected == actual

import os
import subprocess
import sys

import pytest
from common import ONCE, SMALL, own_model


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
    (workspace / "own.onnx").write_bytes(own_model())
    code, lines = outcome(mnbench(*words, cwd=workspace, env=without_onnxruntime))

    assert 1 == code
    assert ["Error:", "Hint:"] == [line.split(" ")[0] for line in lines]
    assert "onnxruntime" in lines[0]
    assert "Hint: pip install onnxruntime" == lines[1]
    assert ["own.onnx"] == [path.name for path in workspace.glob("*.*")]


@pytest.mark.slow
def test_counting_needs_no_onnxruntime(workspace, without_onnxruntime):
    """What runs no model works without onnxruntime."""
    (workspace / "own.onnx").write_bytes(own_model())
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
    (workspace / "own.onnx").write_bytes(own_model())
    result = invoke("run", "own.onnx", "--device", "other.toml", "--trust", *ONCE)
    error, hint = result.stderr.splitlines()[-2:]

    assert 1 == result.exit_code
    assert error.startswith(("Error: device other: ", "Error: other.toml: "))
    assert expected in error
    assert hint.startswith("Hint: ")


def test_no_command_installs_a_runtime_that_mnbench_does_not_know(invoke, workspace):
    """A profile with an unknown runtime is told which ones there are, and not to install something of that name."""
    (workspace / "other.toml").write_text(profile(runtime="nonsense"))
    (workspace / "own.onnx").write_bytes(own_model())
    result = invoke("run", "own.onnx", "--device", "other.toml", *ONCE)

    assert 1 == result.exit_code
    assert "pip install nonsense" not in result.stderr
    assert "onnxruntime" in result.stderr


def test_a_run_that_cannot_start_leaves_nothing(invoke, workspace, tree):
    """Where the device cannot be used at all, no results folder and no empty run are left behind."""
    (workspace / "other.toml").write_text(profile(gateway="popen//python=/nonexistent"))
    (workspace / "own.onnx").write_bytes(own_model())
    before = tree(workspace)

    assert 1 == invoke("run", "own.onnx", "--device", "other.toml", "--trust", *ONCE).exit_code
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


@pytest.mark.parametrize(
    "closed", [">&- 2>&-", *(pytest.param(stream, marks=pytest.mark.slow) for stream in (">&-", "2>&-", "<&-"))]
)
def test_a_closed_stream(workspace, closed):
    """A stream that the caller closed, as in `mnbench build v1 >&-`, gets nothing; the command does its work."""
    script = f'"$0" -m mnbench build v1 --alpha 0.25 --res 32 -o v1.onnx {closed}'
    finished = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=workspace, capture_output=True, text=True, check=False, timeout=60
    )

    assert (0, "") == (finished.returncode, finished.stderr)
    assert (workspace / "v1.onnx").stat().st_size > 1_000_000


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
