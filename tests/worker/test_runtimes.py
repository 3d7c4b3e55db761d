"""A runtime is one file of the worker, and one device file: nothing else knows it."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from common import SMALL

import mnbench
from mnbench.targets.runtimes import RuntimeFacts, runtime_facts, runtime_names
from mnbench.worker.runtimes import read_literals

ROOT = Path(mnbench.__file__).parent.parent

TOY = '''
"""The reference itself, as a runtime."""

from __future__ import annotations

import onnxruntime

from . import as_file

DISTRIBUTIONS = ("onnxruntime",)
LIBRARY = "onnxruntime_pybind11_state"
PROVIDER_LIBRARIES = {"toy-cpu": ""}
SETTING_PREFIXES = ("toy.",)


class Session:
    def __init__(self, model, settings):
        with as_file(model) as path:
            self._session = onnxruntime.InferenceSession(path)
        self._inputs = settings.inputs
        self.run()

    def run(self):
        self._outputs = self._session.run(None, self._inputs)

    def outputs(self):
        return self._outputs

    def placement(self):
        return {"toy-cpu": ["everything"]}


def version():
    return "1.2.3"


def build():
    return "toy"
'''

DEVICE = """
name = "toy"
summary = "a toy"
gateway = "popen"
runtime = "toy"
provider = "toy-cpu"
threads = 1
"""


@pytest.mark.parametrize("name", runtime_names())
def test_a_runtimes_literals_are_read_without_importing_it(name):
    """What a file declares has known names and the right types; its library is named."""
    assert read_literals(name)["LIBRARY"]
    assert runtime_facts(name).provider_libraries


def test_an_unknown_runtime_has_default_facts():
    """A device file may name a runtime of a newer mnbench; what is known of it is nothing."""
    assert {} == read_literals("nowhere")
    assert RuntimeFacts() == runtime_facts("nowhere")


@pytest.mark.slow
def test_a_runtime_is_one_file_and_one_device_file(tmp_path):
    """With no other change, `mnbench devices` lists the device as ready, and `mnbench run` measures on it."""
    shutil.copytree(ROOT / "mnbench", tmp_path / "mnbench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mnbench/worker/runtimes/toy.py").write_text(TOY, encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    for folder in ("graphs", "devices"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "devices/toy.toml").write_text(DEVICE, encoding="utf-8")

    def output(*words):
        finished = subprocess.run(
            [sys.executable, "-m", "mnbench", *words, "--format", "json"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
        assert 0 == finished.returncode, finished.stderr
        return json.loads(finished.stdout)

    (device,) = (device for device in output("devices")["devices"] if device["name"] == "toy")
    short = ("--processes", "1", "--budget", "10ms", "--no-roofline", "--device", "toy")
    (record,) = output("run", "v1", *SMALL, *short)["records"]

    assert device["ready"]
    assert ("toy", "1.2.3", "toy") == tuple(record["runtime"][key] for key in ("name", "version", "build"))
    assert record["runtime"]["library_sha256"]
    assert 0 < record["latency_ns"]["median"]
