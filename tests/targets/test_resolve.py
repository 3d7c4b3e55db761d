"""`--device arm64`: what it means where, its set-up without a network, and what may not be asked of an emulator."""

# ruff: noqa: SIM300  expected == actual

import json
import platform
import shutil
import threading

import msgspec
import pytest
from common import EMULATED, ONCE, SMALL, full

from mnbench.errors import FileError, RuntimeUnavailable
from mnbench.targets import emulation, resolve
from mnbench.targets.build_once import is_built
from mnbench.targets.device import read_device
from mnbench.targets.environments import prepare_device
from mnbench.targets.readiness import check_readiness
from mnbench.targets.resolve import Target, choose_target


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """No test sees a board, or what the user has set up; this machine is none of arm64."""
    monkeypatch.delenv(resolve.BOARD_VARIABLE, raising=False)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


# What it means


@pytest.mark.parametrize(
    ("gateway", "machine", "board", "emulator", "expected"),
    [
        ("popen", "aarch64", "pi@board", "qemu", Target(kind="here", gateway="popen")),
        ("popen", "ARM64", "", "", Target(kind="here", gateway="popen")),
        (
            "popen",
            "x86_64",
            "pi@board",
            "qemu",
            Target(kind="board", gateway="ssh=pi@board//python=python3", board="pi@board"),
        ),
        (
            "popen",
            "x86_64",
            "pi@board//python=/opt/python",
            "",
            Target(kind="board", gateway="ssh=pi@board//python=/opt/python", board="pi@board"),
        ),
        ("popen", "x86_64", "", "qemu", Target(kind="emulated", gateway="qemu")),
        ("popen", "x86_64", "", "", Target(kind="unavailable")),
        ("ssh=mine", "aarch64", "pi@board", "qemu", Target(kind="board", gateway="ssh=mine")),
    ],
    ids=["here", "here, by another name", "board", "board's Python", "emulated", "unavailable", "profile"],
)
def test_what_arm64_means(make_device, gateway, machine, board, emulator, expected):
    """This machine if it is one, else the board, else the emulator; a profile's own gateway goes before all."""
    device = make_device(machine="arm64", gateway=gateway)

    assert expected == choose_target(device, machine=machine, board=board, emulator=emulator)


def test_other_devices_are_where_they_were(make_device):
    """A profile that asks for no processor runs here, whatever the environment names."""
    assert "here" == choose_target(make_device(), machine="x86_64", board="pi@board", emulator="qemu").kind


def test_nowhere_is_one_line_with_the_three_ways_out(invoke):
    """Exit code 1: a board, an arm64 machine, or emulation."""
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "arm64")
    error, hint = result.stderr.splitlines()[-2:]

    assert (1, "") == (result.exit_code, result.stdout)
    assert "this machine is x86_64, MNBENCH_ARM64 names no board, and emulation is not set up" in error
    assert all(item in hint for item in ("MNBENCH_ARM64=user@host", "arm64 machine", "mnbench devices setup arm64"))


@pytest.mark.slow
def test_devices_tells_what_arm64_is(invoke, monkeypatch, built):
    """Ready here, a board to be probed, emulated, or the one command."""

    def line():
        return next(line for line in invoke("devices").stdout.splitlines() if line.startswith("arm64 ")).rstrip()

    assert line().endswith(" mnbench devices setup arm64")
    built()
    assert line().endswith(" ready, emulated")
    monkeypatch.setenv(resolve.BOARD_VARIABLE, "pi@board")
    assert line().endswith(" board pi@board: mnbench devices probe arm64")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert line().endswith(" ready")


def test_a_board_is_reached_by_ssh(monkeypatch):
    """The gateway is what the environment names; nothing is installed there."""
    monkeypatch.setenv(resolve.BOARD_VARIABLE, "pi@board")

    assert "ssh=pi@board//python=python3" == prepare_device(read_device("arm64")).gateway
    with pytest.raises(RuntimeUnavailable, match="is not installed on other machines"):
        prepare_device(msgspec.structs.replace(read_device("arm64"), requires=("onnxruntime==1.26.0",)))


# Set-up, with tools that fetch nothing

TOOLS = {
    "dpkg": "echo amd64",
    "apt-get": """
case "$*" in
  *update) echo update >> "$LOG"; sleep 0.2;;
  *) folder="$(sed -n 's/^Dir::Cache "\\(.*\\)";/\\1/p' "$4")/archives"
     touch "$folder/libc6_2_arm64.deb" "$folder/libc6_2_amd64.deb" "$folder/qemu-user-static_7_amd64.deb";;
esac""",
    "dpkg-deb": """
case "$1 $2" in
  *fsys*qemu*) mkdir -p "$LOG.qemu/usr/bin"
     printf '#!/bin/sh\\nexit 0\\n' > "$LOG.qemu/usr/bin/qemu-aarch64-static"; tar -C "$LOG.qemu" -c ./usr;;
  *extract*libc6_2_arm64*) mkdir -p "$3/usr/bin"; touch "$3/usr/bin/python3.11" "$3/usr/bin/python3";;
  *) exit 1;;
esac""",
    "pip": "exit 0",
}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for apt, dpkg and pip, alone on the path; the test may replace some, or leave them out with None."""
    folder, log = tmp_path / "tools", tmp_path / "log"
    folder.mkdir()
    log.touch()

    def make(**changes):
        changes = {name.replace("_", "-"): text for name, text in changes.items()}
        for name, text in (TOOLS | changes).items():
            if text is not None:
                (folder / name).write_text(f"#!/bin/sh\nLOG={log}\n{text}\n")
                (folder / name).chmod(0o755)
        for name in ("sleep", "sed", "touch", "mkdir", "tar"):
            (folder / name).symlink_to(shutil.which(name))
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr("mnbench.targets.emulation.sys.executable", str(folder / "pip"))
        return log

    return make


@pytest.fixture
def built(tools):
    """An emulator that is set up, by stand-ins."""

    def make():
        tools()
        return emulation.install_emulator(fresh=False, on_progress=int)

    return make


def test_set_up_makes_an_emulated_python(invoke, tools):
    """The gateway is QEMU with the root of packages, where /proc/cpuinfo is an Arm's; a second time costs nothing."""
    log = tools()
    first, second = invoke("devices", "setup", "arm64"), invoke("devices", "setup", "arm64")
    created = emulation.emulator_path()

    assert (0, 0) == (first.exit_code, second.exit_code)
    assert first.stdout == second.stdout
    assert f"arm64: {created}, " in first.stdout
    assert "making an emulated arm64 Python" in first.stderr
    assert "" == second.stderr
    assert "update\n" == log.read_text()
    assert (
        f"{created}/qemu-aarch64 -cpu cortex-a72 -L {created}/root {created}/root/usr/bin/python3.11 -I"
        in emulation.emulator_gateway(created)
    )
    assert "CPU part\t: 0xd08" in (created / "root/proc/cpuinfo").read_text()
    assert {"qemu-aarch64", "ready", "root"} == {path.name for path in created.iterdir()}
    assert prepare_device(read_device("arm64")).emulated


def test_fresh_makes_it_again(invoke, tools):
    """`--fresh` asks for today's packages."""
    log = tools()
    invoke("devices", "setup", "arm64")
    invoke("devices", "setup", "arm64", "--fresh")

    assert "update\nupdate\n" == log.read_text()


def test_two_at_once_make_it_once(tools):
    """Who comes second waits, and finds it made."""
    log = tools()
    threads = [
        threading.Thread(target=emulation.install_emulator, kwargs={"fresh": False, "on_progress": int})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert "update\n" == log.read_text()
    assert is_built(emulation.emulator_path())


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"apt_get": None}, "apt-get is not installed here", "on Debian, or name a board"),
        (
            {"apt_get": "echo 'E: Failed to fetch x  Could not resolve host' >&2; exit 100"},
            "lists of packages cannot be read: Failed to fetch x",
            "can be reached",
        ),
        (
            {"dpkg_deb": "echo 'tar: x: Cannot write: No space left on device' >&2; exit 2"},
            "libc6_2_arm64.deb cannot be unpacked: tar: x: Cannot write: No space left on device",
            "free some space, or name another folder with MNBENCH_CACHE",
        ),
        (
            {"pip": "echo 'ERROR: No matching distribution found for onnxruntime' >&2; exit 1"},
            "arm64 wheels cannot be installed: No matching distribution",
            "can be reached",
        ),
        (
            {"dpkg_deb": TOOLS["dpkg-deb"].replace("exit 0", "echo Segmentation fault >&2; exit 139")},
            "the emulated Python does not run: Segmentation fault",
            "try again",
        ),
    ],
    ids=["no apt", "no network", "disk full", "no wheel", "does not run"],
)
def test_a_set_up_that_fails_is_one_line_and_leaves_nothing(invoke, tools, tmp_path, changes, message, hint):
    """What failed, what to do about it, exit code 1; what is there does not count."""
    tools(**changes)
    result = invoke("devices", "setup", "arm64")
    error, advice = result.stderr.splitlines()[-2:]

    assert 1 == result.exit_code
    assert message in error
    assert hint in advice
    assert {path.suffix for path in (tmp_path / "own").glob("arm64/*")} <= {".lock"}
    assert not check_readiness(read_device("arm64")).ready


def test_a_disk_that_is_full_at_the_last_file_leaves_nothing(tools, monkeypatch):
    """The mark is what is written last."""
    tools()
    monkeypatch.setattr("mnbench.targets.emulation.Path.write_text", full)

    with pytest.raises(FileError, match="No space left on device"):
        emulation.install_emulator(fresh=False, on_progress=int)
    assert not emulation.emulator_path().exists()


def test_what_a_crash_left_is_made_anew(built):
    """A folder without its mark counts for nothing, and no file of it stays."""
    left = emulation.emulator_path() / "root/half"
    left.mkdir(parents=True)

    assert not is_built(emulation.emulator_path())
    assert is_built(built())
    assert not left.exists()


def test_another_onnxruntime_here_is_another_emulator(monkeypatch):
    """Both sides have the same version."""
    before = emulation.emulator_path()
    monkeypatch.setattr("mnbench.targets.emulation.find_distribution", lambda _: type("", (), {"version": "1.2.3"}))

    assert "onnxruntime==1.2.3" in emulation._wheel_requirements()
    assert before != emulation.emulator_path()


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        ("popen//python=/cache/qemu-aarch64 -cpu x -L root python3", True),
        ("popen//python=qemu-aarch64-static python3", True),
        ("popen//python=/qemu-tools/bin/python -I", True),
        ("popen//python=/usr/bin/python3", False),
        ("ssh=qemu-board//python=python3", False),
        ("popen", False),
    ],
)
def test_an_emulator_is_known_by_its_program(make_device, gateway, expected):
    """What QEMU starts is emulated; doubt counts as emulated."""
    assert expected is make_device(gateway=gateway).emulated


# What is emulated tells no time


def test_run_visits_an_emulator_once(invoke, fake_worker, built, monkeypatch):
    """One short visit, whatever is asked for, and no roofline; the record is marked."""
    built()
    fake_worker.changes["host"] = lambda: EMULATED
    monkeypatch.setenv("MNBENCH_ROOFLINE", "1")
    result = invoke("run", "v1", *SMALL, "--device", "arm64", "--format", "json")
    (record,) = json.loads(result.stdout)["records"]

    assert 1 == len(fake_worker.requests)
    assert (None, None, 1) == (record["latency_ns"], record["roofline"], record["processes"])
    assert "v1-a0.25-r32: emulated\n" in result.stderr


def test_a_probe_of_an_emulator_tells_no_time(invoke, fake_worker, built):
    """Outputs and placement are proved; session and run have no duration."""
    built()
    fake_worker.changes["host"] = lambda: EMULATED
    shown = invoke("devices", "probe", "arm64").stdout
    payload = json.loads(invoke("devices", "probe", "arm64", "--format", "json").stdout)

    assert "v1-a0.25-r96; emulated, so it has no latency" in shown
    assert "session" not in shown
    assert (None, None) == (payload["latency_ns"], payload["session_ns"])
    assert payload["difference"] < 1e-3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("compare", "fp32", "fp16", "v1", *SMALL, "--allow", "cpu", "--device", "arm64"),
            "latencies are meaningless, and are not compared",
        ),
        (("doctor", "--device", "arm64", "--calibrate", "1s"), "latencies are meaningless, and so is their noise"),
    ],
)
def test_emulated_times_are_never_judged(invoke, built, words, message):
    """One line, exit code 1, and nothing lifts it."""
    built()
    result = invoke(*words)

    assert (1, "") == (result.exit_code, result.stdout)
    assert f"Error: device arm64 is emulated: its {message}" in result.stderr
