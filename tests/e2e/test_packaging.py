"""Packaging: the wheel carries its tables, and works where nothing of this checkout is."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
BUILD = [sys.executable, "-m", "build", "--no-isolation"]


def done(*command, cwd):
    """Run a command without this checkout in its environment; its stdout."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    finished = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False, timeout=300)
    assert 0 == finished.returncode, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What git tracks, and nothing else, in a folder of its own."""
    if not (ROOT / ".git").exists():
        pytest.skip("git alone knows which files belong to the project")
    folder = tmp_path_factory.mktemp("source")
    for name in done("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done(*BUILD, "--wheel", "--outdir", folder, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_the_tables_and_nothing_else(source, wheel):
    """The wheel holds the package, its graphs and devices inside it, the licence, and none of the checkout's rest."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        facts = {name for name in archive.namelist() if ".dist-info/" in name}
    result = (*source.glob("graphs/**/*.toml"), *source.glob("devices/*.toml"))
    tables = {f"mnbench/{path.relative_to(source)}" for path in result}
    modules = {str(path.relative_to(source)) for path in source.glob("mnbench/**/*.*")}

    assert {"mnbench/graphs/v1.toml", "mnbench/devices/cpu.toml"} <= names
    assert tables | modules == names
    assert any(name.endswith("/licenses/LICENSE") for name in facts)


def test_the_source_archive_makes_the_same_wheel(source, wheel, tmp_path):
    """A wheel built from the source archive holds what one built from the checkout holds."""
    done(*BUILD, "--sdist", "--outdir", tmp_path, source, cwd=tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    done(*BUILD, "--wheel", "--outdir", tmp_path, unpacked, cwd=tmp_path)

    with zipfile.ZipFile(tmp_path / wheel.name) as from_archive, zipfile.ZipFile(wheel) as from_checkout:
        assert sorted(from_checkout.namelist()) == sorted(from_archive.namelist())


def test_an_installed_wheel_works_anywhere(wheel, tmp_path):
    """In a fresh environment with pinned dependencies, and in an empty folder, mnbench counts, builds and measures."""
    home, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    venv.create(home, with_pip=True)
    done(home / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, wheel, cwd=empty)
    mnbench = home / "bin" / "mnbench"
    small = ("v1", "--alpha", "0.25", "--res", "32")
    code = "import mnbench; print(mnbench.__file__)"

    assert Path(done(home / "bin" / "python", "-c", code, cwd=empty).strip()).is_relative_to(home)
    assert 568_740_352 == json.loads(done(mnbench, "cost", "v1", "--format", "json", cwd=empty))["mult_adds"]
    built = json.loads(done(mnbench, "build", *small, "--format", "json", cwd=empty))
    assert built["simplified"]
    assert ["v1-a0.25-r32.onnx"] == [path.name for path in empty.iterdir()]
    run = ("run", *small, "--processes", "1", "--duration", "0.05", "--budget", "1ms", "--format", "json")
    (record,) = json.loads(done(mnbench, *run, cwd=empty))["records"]
    assert built["sha256"] == record["model_sha256"]
    assert 1 == record["placement"]["nodes"]


def test_every_dependency_is_pinned():
    """Each package that the project or its tests name has its version in the constraints."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    named += [name for extra in project["project"]["optional-dependencies"].values() for name in extra]
    pinned = {line.partition("==")[0].lower() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()}

    assert set() == {name.split(">")[0].split("[")[0].lower() for name in named} - pinned
    assert "://" not in CONSTRAINTS.read_text(encoding="utf-8")
