"""What lies in the current folder is not executed, and workers get no secrets and report to nobody."""

# ruff: noqa: SIM300  expected == actual

import os
import subprocess
import sys
from pathlib import Path

import pytest
from common import PATIENCE_S, processes, until

MODULES = [
    *("base64", "hashlib", "inspect", "json", "numpy", "onnxruntime", "platform", "queue", "random"),
    *("struct", "threading", "weakref"),
]
SECRETS = [
    *("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AWS_SECRET_ACCESS_KEY", "CI_JOB_TOKEN", "DATABASE_URL", "GITHUB_TOKEN"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "NPM_TOKEN", "PYPI_TOKEN", "SSH_AUTH_SOCK", "VAULT_TOKEN"),
]
NEEDED = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TZ": "UTC", "LC_ALL": "C.UTF-8", "ORT_X": "x"}

PLANTED = """
import sys
with open({log!r}, "a") as log:
    log.write("{name}\\n")
folders = sys.path[:]
sys.path[:] = [folder for folder in folders if folder not in ("", {here!r})]
del sys.modules["{name}"]
import {name}
sys.path[:] = folders
"""
"""A module that says that it was executed, and is then the module whose name it has."""

RUN = ("run", "v1", "--alpha", "0.25", "--res", "32", "--duration", "0.6", "--processes", "1", "--budget", "1ms")


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    """A run in a folder full of modules: those that were executed, and what a worker and the home got."""
    folder = tmp_path_factory.mktemp("hostile")
    here, home, log = folder / "here", folder / "home", folder / "log"
    here.mkdir()
    home.mkdir()
    log.touch()
    for name in MODULES:
        (here / f"{name}.py").write_text(PLANTED.format(log=str(log), name=name, here=str(here)))
    inherited = {name: text for name, text in os.environ.items() if name not in {"CI", "XDG_CACHE_HOME"}}
    environment = inherited | dict.fromkeys(SECRETS, "secret") | NEEDED | {"HOME": str(home), "MNBENCH_ROOFLINE": "0"}
    environment |= {"LD_LIBRARY_PATH": f":/opt/x:./evil:{folder}:", "PATH": f".:{environment['PATH']}::bin"}
    command = [sys.executable, "-P", "-m", "mnbench", *RUN]
    with subprocess.Popen(command, cwd=here, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        variables = until(lambda: _worker_variables(run.pid))
        _, message = run.communicate(timeout=PATIENCE_S)
    assert 0 == run.returncode, message.decode()
    return log.read_text().split(), variables, home


def _worker_variables(parent):
    """What a worker of that process got; nothing before it has become a worker."""
    for process in processes(parent=parent):
        folder = Path("/proc", str(process))
        if b"stdin.readline" in (folder / "cmdline").read_bytes():
            return dict(entry.split("=", 1) for entry in (folder / "environ").read_text().split("\0") if entry)
    return None


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_the_current_folder_is_not_executed(hostile_run, name):
    """By any worker."""
    assert name not in hostile_run[0]


@pytest.mark.parametrize("name", SECRETS)
def test_a_worker_gets_no_secret(hostile_run, name):
    """Of a CI job or a user."""
    assert name not in hostile_run[1]


@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH"])
def test_a_worker_searches_no_relative_folder(hostile_run, name):
    """An empty entry is the current folder."""
    assert all(folder.startswith("/") for folder in hostile_run[1][name].split(":"))


def test_a_worker_gets_what_runtimes_read(hostile_run):
    """And the absolute folders of search paths."""
    assert hostile_run[1].items() >= NEEDED.items()
    assert hostile_run[1]["LD_LIBRARY_PATH"].startswith("/opt/x:/")


def test_a_run_reports_to_nobody(hostile_run):
    """The runtime leaves no device id and no database in the user's folders."""
    assert [] == [path for path in hostile_run[2].rglob("*") if "icrosoft" in str(path)]


@pytest.mark.slow
def test_models_are_built_without_a_report(tmp_path):
    """Our own process runs onnxruntime too."""
    environment = {name: text for name, text in os.environ.items() if name not in {"CI", "XDG_CACHE_HOME"}}
    command = [sys.executable, "-m", "mnbench", "build", "v1", "--alpha", "0.25", "--res", "32", "-o", "x.onnx"]
    subprocess.run(command, cwd=tmp_path, env=environment | {"HOME": str(tmp_path)}, check=True, capture_output=True)

    assert ["x.onnx"] == [path.name for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "entry", ["", "folder", *(pytest.param(entry, marks=pytest.mark.slow) for entry in (".", "./folder/../folder"))]
)
def test_a_relative_pythonpath_is_not_executed(invoke, workspace, monkeypatch, entry):
    """Python imports `sitecustomize` before it runs anything else."""
    folder = workspace / entry
    folder.mkdir(exist_ok=True, parents=True)
    log = workspace / "log"
    (folder / "sitecustomize.py").write_text(f"open({str(log)!r}, 'a').close()\n")
    (workspace / "folder").mkdir(exist_ok=True)
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '/nowhere')}:{entry}:/nowhere")

    assert 0 == invoke("devices", "probe", "cpu").exit_code
    assert not log.exists()


def test_an_absolute_pythonpath_holds(invoke, tmp_path, monkeypatch):
    """People measure with builds of a runtime that lie there."""
    log = tmp_path / "log"
    (tmp_path / "json.py").write_text(PLANTED.format(log=str(log), name="json", here=str(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '/nowhere')}:{tmp_path}")

    assert 0 == invoke("devices", "probe", "cpu").exit_code
    assert "json" in log.read_text()
