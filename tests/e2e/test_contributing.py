"""CONTRIBUTING.md names files, folders and commands that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
QUOTED = set(re.findall(r"`([^`]+)`", TEXT))
PATHS = sorted(text for text in QUOTED if "/" in text and " " not in text)
"""The paths that the text names: quoted, with a slash."""

TABLE = [line.split(" | ")[1] for line in TEXT.partition("## To add")[2].splitlines() if line.startswith("| a")]


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path):
    """Each path is in the tree; a word in capitals, such as NAME, stands for some file that is there."""
    assert any(ROOT.glob(re.sub(r"[A-Z]{4,}", "*", path))), path


def test_each_row_says_which_file_to_write():
    """The column "write" of each row names a file."""
    assert len(TABLE) > 10
    for cell in TABLE:
        assert set(re.findall(r"`([^`]+)`", cell)) & set(PATHS), cell


@pytest.mark.parametrize("target", sorted({text.split()[1] for text in QUOTED if text.startswith("make ")}))
def test_make_targets_exist(target):
    """Each `make` target that the text names is one of the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", sorted({text.split()[1] for text in QUOTED if text.startswith("mnbench ")}))
def test_commands_exist(name):
    """Each command that the text names is documented."""
    assert f"\n## mnbench {name}\n" in (ROOT / "docs/commands.md").read_text(encoding="utf-8")


def test_the_text_is_short():
    """A newcomer reads it to the end: 120 lines at most."""
    assert len(TEXT.splitlines()) <= 120
