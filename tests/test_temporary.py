"""Folders of killed processes are removed, and nothing else is."""

# ruff: noqa: SIM300  expected == actual

import pytest
from filelock import FileLock

from mnbench.temporary import remove_abandoned

NAME = "mnbench-0123456789abcdef"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_an_abandoned_folder_is_removed(folder):
    """With its lock."""
    (folder / NAME / "models").mkdir(parents=True)
    (folder / f"{NAME}.lock").touch()
    remove_abandoned()

    assert [] == list(folder.iterdir())


def test_a_folder_in_use_stays(folder):
    """Its process holds the lock."""
    (folder / NAME).mkdir()
    with FileLock(folder / f"{NAME}.lock"):
        remove_abandoned()

        assert (folder / NAME).is_dir()


@pytest.mark.parametrize("name", ["mnbench-notes", "mnbench-0123456789abcdeg", "mnbench-0123456789abcdef0"])
def test_what_a_user_has_named_stays(folder, name):
    """Names of ours have sixteen digits."""
    (folder / name).mkdir()
    (folder / f"{name}.lock").touch()
    remove_abandoned()

    assert (folder / name).is_dir()


def test_the_target_of_a_link_stays(folder):
    """A link in a folder's place is not followed."""
    (folder / "precious").mkdir()
    (folder / NAME).symlink_to(folder / "precious")
    (folder / f"{NAME}.lock").touch()
    remove_abandoned()

    assert (folder / "precious").is_dir()
