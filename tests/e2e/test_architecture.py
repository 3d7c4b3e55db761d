"""docs/architecture.md describes the packages, modules and functions that exist."""

# ruff: noqa: SIM300  expected == actual

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PACKAGES = {path.parent.name for path in (ROOT / "mnbench").glob("*/__init__.py")}
MODULES = {path.stem for path in (ROOT / "mnbench").glob("*.py") if not path.stem.startswith("__")}
NAMES = sorted(
    name
    for name in set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", TEXT))
    if name.partition(".")[0] in PACKAGES | MODULES and not name.endswith((".py", ".jsonl"))
)


def test_every_package_has_its_line():
    """The table of packages names all folders of the package and no others."""
    table = TEXT.partition("## The packages")[2].partition("\n## ")[0]
    assert PACKAGES == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_every_module_at_the_top_is_named():
    """The modules that belong to no package are named too."""
    assert set() == {name for name in MODULES if f"`{name}`" not in TEXT}


@pytest.mark.parametrize("name", NAMES)
def test_functions_exist(name):
    """Each `package.module.function` is there."""
    parts = ["mnbench", *name.split(".")]
    for count in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:count]))
        except ModuleNotFoundError as failure:
            if not failure.name or not failure.name.startswith("mnbench"):
                raise
        else:
            break
    for attribute in parts[count:]:
        thing = getattr(thing, attribute)


def test_names_are_checked():
    """The test above sees the functions that both lives name."""
    assert len(NAMES) > 25


def test_the_page_is_short():
    """It is read to the end: 150 lines at most."""
    assert len(TEXT.splitlines()) <= 150
