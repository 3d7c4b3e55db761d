"""What is known of a GPU, from what its tool prints."""

# ruff: noqa: SIM300  expected == actual

import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.worker.host import gpu

H100 = "NVIDIA H100 80GB HBM3, 580.159.04, 405, 2619, 1980, 2619, 113.48, 700.00, 39, 0, 0x0000000000000001, Disabled\n"


def test_what_a_gpu_tells():
    """What nvidia-smi printed for an H100, in base units."""
    expected = {
        "name": "NVIDIA H100 80GB HBM3",
        "driver_version": "580.159.04",
        "sm_clock_hz": 405e6,
        "memory_clock_hz": 2619e6,
        "sm_clock_max_hz": 1980e6,
        "memory_clock_max_hz": 2619e6,
        "power_w": 113.48,
        "power_limit_w": 700,
        "temperature_c": 39,
        "utilization": 0,
        "clock_limits": ["idle"],
        "mig": False,
    }

    assert expected == gpu.parse_gpu_query(H100)


def test_a_gpu_that_tells_little():
    """What a GPU does not support is None; several reasons are all named; the first of several GPUs is told."""
    line = "Tesla T4, 450.1, 300, 405, 1590, 5001, [N/A], [Not Supported], 80, 97, 0x0000000000000064, [N/A]\n"
    reported = gpu.parse_gpu_query(line + H100)

    assert "Tesla T4" == reported["name"]
    assert reported["power_w"] is reported["power_limit_w"] is reported["mig"] is None
    assert 0.97 == reported["utilization"]
    assert ["power limit", "temperature, by software", "temperature, by hardware"] == reported["clock_limits"]


@given(st.text(max_size=200))
def test_no_answer_of_a_gpu_can_break_it(text):
    """Whatever the tool prints is parsed or None."""
    assert gpu.parse_gpu_query(text) is None or "name" in gpu.parse_gpu_query(text)


@pytest.fixture
def fake_tool(tmp_path, monkeypatch):
    """A nvidia-smi of the test's own, and nothing else, on PATH."""

    def make(script):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path))

    return make


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_the_gpu_is_asked_once(fake_tool, monkeypatch, tmp_path):
    """One call, for the GPU that CUDA is to use, of every field."""
    log = tmp_path / "calls"
    fake_tool(f'echo "$@" >> {log}\nprintf "%s" "{H100.strip()}"')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")

    assert gpu.parse_gpu_query(H100) == gpu.gpu_conditions()
    (call,) = log.read_text().splitlines()
    assert call.startswith("--id=2 --query-gpu=name,driver_version,clocks.sm,")
    assert "--format=csv,noheader,nounits" in call


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
@pytest.mark.parametrize("script", ["echo broken >&2; exit 9", "echo", "printf '\\377\\376'"])
def test_a_gpu_whose_tool_fails_is_none(fake_tool, script):
    """A driver that does not answer means no GPU, and no exception."""
    fake_tool(script)

    assert gpu.gpu_conditions() is None


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
def test_a_gpu_whose_tool_hangs_is_none(fake_tool, monkeypatch):
    """A driver that hangs costs a moment, and not the run."""
    fake_tool("exec /bin/sleep 30")
    monkeypatch.setattr("mnbench.worker.host.gpu.TIMEOUT_S", 0.2)

    assert gpu.gpu_conditions() is None


def test_no_tool_no_gpu(tmp_path, monkeypatch):
    """Where there is no nvidia-smi there is no GPU to tell of."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert gpu.gpu_conditions() is None
