"""Packages: names and versions alone, and installers that take nothing from the current folder."""

# ruff: noqa: SIM300  expected == actual

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from mnbench.errors import RuntimeUnavailable
from mnbench.targets import environments
from mnbench.targets.device import REQUIREMENTS
from mnbench.targets.environments import create_environment

HOSTILE = [
    "./evil",
    "../evil",
    "/evil",
    "evil/",
    "-rreqs.txt",
    "-e./evil",
    "--requirement=reqs.txt",
    "--index-url=http://evil.example",
    "--find-links=.",
    "--python=./evil",
    "onnxruntime @ file:///evil",
    "onnxruntime@git+ssh://evil.example/x",
    "https://evil.example/evil.whl",
    "evil.whl",
    "evil-1.0.tar.gz",
    "evil.ZIP",
    "onnxruntime==/evil",
    "onnxruntime===/evil",
    "onnxruntime===1.0",
    "onnxruntime==1.0; python_version > '3'",
    "onnxruntime==1.0\n-r reqs.txt",
    "onnxruntime==1.0 -r reqs.txt",
    "onnxruntime==1.0 --index-url=x",
    "openvino evil",
    "",
]
VERSIONS = [text for text in HOSTILE if text.startswith("onnxruntime=") and text.isprintable()]
HARMLESS = ["onnxruntime", "onnxruntime==1.30.0", "onnxruntime >= 1.26, < 2", "Some_Package[extra]==1.0", "mnn==3.*"]


@pytest.fixture(autouse=True)
def commands(monkeypatch):
    """What would be run, with its folder and its variables; nothing is."""
    started = []

    def run(command, **options):
        started.append((list(map(str, command)), options))
        return CompletedProcess(command, 1, *(("", "no") if options.get("text") else (b"", b"no")))

    monkeypatch.setattr(subprocess, "run", run)
    return started


def device_file(workspace, key, requirement):
    """Write the file of a device that requires this."""
    text = requirement.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    path = workspace / "devices" / "evil.toml"
    path.parent.mkdir()
    requires = "" if key == "requires" else 'requires = ["onnxruntime"]\n'
    path.write_text(f'extends = "cpu"\nname = "evil"\nsummary = ""\n{requires}{key} = ["{text}"]\n', encoding="utf-8")


@pytest.mark.parametrize("key", REQUIREMENTS)
@pytest.mark.parametrize("requirement", HOSTILE)
def test_device_files_name_packages(invoke, workspace, commands, key, requirement):
    """With trust or without it: one line with file and key, and nothing is installed."""
    device_file(workspace, key, requirement)
    result = invoke("devices", "setup", "evil", env={"MNBENCH_TRUST": "1"})

    assert 1 == result.exit_code
    assert "Error: devices/evil.toml: key `requires" in result.stderr
    assert [] == commands


@pytest.mark.parametrize("requirement", HOSTILE)
def test_the_command_line_names_packages(invoke, commands, requirement):
    """`--with` takes what a device file takes."""
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32", f"--with={requirement}")

    assert 2 == result.exit_code
    assert [] == commands


@pytest.mark.parametrize(
    "requirement", [text for text in HOSTILE if text.startswith("onnxruntime=") and text.isprintable()]
)
def test_sides_of_a_comparison_name_packages(invoke, commands, requirement):
    """A runtime's version is no path and no option."""
    result = invoke("compare", requirement, "onnxruntime", "v1-a0.25-r32")

    assert 1 == result.exit_code
    assert "is not a package's name with versions" in result.stderr
    assert [] == commands


@pytest.mark.parametrize("requirement", HARMLESS)
def test_names_with_versions_are_taken(invoke, workspace, commands, requirement):
    """What an index has can be named as pip names it; `--` stands before it."""
    device_file(workspace, "requires", requirement)
    result = invoke("devices", "setup", "evil", env={"MNBENCH_TRUST": "1"})

    assert "cannot be installed" in result.stderr
    assert commands


# Installers


@pytest.fixture
def installed(monkeypatch, commands, workspace, make_device):
    """What an installer is started with, from a folder of a stranger; each succeeds."""

    def run(uv, **variables):
        def succeed(command, **options):
            commands.append((list(map(str, command)), options))
            if "venv" in command:
                Path(command[-1]).mkdir()
            return CompletedProcess(command, 0, *(("", "") if options.get("text") else (b"", b"")))

        monkeypatch.setattr(subprocess, "run", succeed)
        bin_folder = workspace.parent / "bin"
        bin_folder.mkdir()
        if uv:
            (bin_folder / "uv").write_text("#!/bin/sh\n", encoding="utf-8")
            (bin_folder / "uv").chmod(0o755)
        monkeypatch.setenv("PATH", str(bin_folder))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        create_environment(make_device(requires=("onnxruntime",), requires_no_deps=("pnnx",)))
        return commands

    return run


@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
def test_installers_start_in_the_cache(installed, workspace, uv):
    """uv.toml, pyproject.toml and modules of the current folder are not read."""
    for command, options in installed(uv):
        assert Path(options["cwd"]).is_absolute()
        assert workspace not in (Path(options["cwd"]), *Path(options["cwd"]).parents)
        assert "--no-config" in command or "-I" == command[1]


@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
@pytest.mark.parametrize(
    "name",
    [
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "VIRTUAL_ENV",
        "UV_CONFIG_FILE",
        "UV_PROJECT",
        "UV_ENV_FILE",
        "SECRET",
    ],
)
def test_installers_get_what_they_need(installed, uv, name):
    """Neither what leads into the workspace, nor what is no installer's business."""
    assert all(name not in options["env"] for _, options in installed(uv, **{name: "."}))


@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "UV_INDEX_URL", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE"])
def test_installers_reach_the_users_index(installed, uv, name):
    """The user's index, proxies and certificates are the user's word."""
    assert all("x" == options["env"][name] for _, options in installed(uv, **{name: "x"}))


@pytest.mark.parametrize("path", [".", "", "bin", "/nowhere::"])
def test_installers_are_not_taken_from_the_current_folder(monkeypatch, workspace, commands, make_device, path):
    """An empty or relative folder in PATH is none."""
    for folder in (workspace, workspace / "bin"):
        folder.mkdir(exist_ok=True)
        (folder / "uv").write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(RuntimeUnavailable):
        create_environment(make_device(requires=("onnxruntime",)))

    assert sys.executable == commands[0][0][0]


@pytest.mark.parametrize("name", ["pip", "json"])
def test_modules_of_the_current_folder_are_not_run(monkeypatch, workspace, tmp_path, make_device, name):
    """Real processes: `./pip.py` is not what installs."""
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    mark = tmp_path / "mark"
    (workspace / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')\n", encoding="utf-8")
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setattr(environments.sys, "executable", fake_venv(tmp_path))
    with pytest.raises(RuntimeUnavailable):
        create_environment(make_device(requires=("no-such-package",)))

    assert not mark.exists()


def fake_venv(folder):
    """A Python that makes environments without ensurepip, which takes seconds: a link to this one."""
    path = folder / "python"
    path.write_text(
        f'#!/bin/sh\nif [ "$2" = -m ] && [ "$3" = venv ]; then mkdir -p "$4/bin"; '
        f'ln -s {sys.executable} "$4/bin/python"; fi\nexec {sys.executable} -I -c "import json, venv"\n'
        if os.name == "posix"
        else "",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return str(path)


def test_an_environment_without_its_modules_is_none(monkeypatch, commands, make_device, tmp_path):
    """What cannot be imported was not installed: nothing is marked as ready."""

    def run(command, **_):
        commands.append(command)
        failed = "import numpy, onnxruntime" in command
        return CompletedProcess(command, int(failed), b"", b"ModuleNotFoundError: No module named 'numpy'\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match="No module named 'numpy'"):
        create_environment(make_device(requires=("onnxruntime",)))

    assert [] == list(tmp_path.glob("environments/*/ready"))
