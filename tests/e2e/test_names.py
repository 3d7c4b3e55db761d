"""Names in the code: none of the words that say nothing of what they name."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILLERS = {"one", "found", "made", "told", "seen", "kept", "given", "own", "what", "each", "way", "rest"}
FOLDERS = ("mnbench", "tests", "benchmarks")


def filler_names(source):
    """The line and the name of each variable, parameter and function that is called by a filler word."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                if name.strip("_") in FILLERS:
                    yield node.lineno, name
            case _:
                pass


def test_names_say_what_they_name():
    """A filler word names no variable, parameter or function."""
    assert [] == [  # noqa: SIM300
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in filler_names(path.read_text(encoding="utf-8"))
    ]


def test_fillers_are_detected():
    """The check detects variables, loop variables, parameters and functions."""
    source = "def made(what, *rest):\n    found = [one for one in rest]\n"

    assert sorted(filler_names(source)) == [(1, "made"), (1, "rest"), (1, "what"), (2, "found"), (2, "one")]
