"""The notebook of the documentation runs, and its stored outputs are those of a run."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs/notebook.ipynb"

KINDS = [
    ["text/plain"],
    ["text/html", "text/plain"],
    ["text/html", "text/plain"],
    ["text/plain"],
    ["image/svg+xml", "text/plain"],
    ["text/html", "text/plain"],
    ["stream"],
    ["stream"],
]
"""What each code cell shows: an HTML table, an SVG or text."""


def outputs(notebook):
    """Return the output of each code cell; every cell has exactly one."""
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def kinds(notebook):
    """Return the media types of each output; an error would be listed as such."""
    return [sorted(output.get("data", [output.output_type])) for output in outputs(notebook)]


def test_the_stored_notebook_is_complete():
    """Every code cell has run, in order, and shows what the text below it describes."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert list(range(1, len(KINDS) + 1)) == counts
    assert kinds(notebook) == KINDS
    table, svg = outputs(notebook)[2].data["text/html"], outputs(notebook)[4].data["image/svg+xml"]
    assert "shufflenet-v2-a1-r128" in table
    assert svg.startswith("<svg")
    assert "<testsuite " in outputs(notebook)[7].text


def test_the_stored_notebook_is_small_and_names_no_machine():
    """It has no path, no host's name and no kernel's data, and GitHub shows a file of this size."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 100_000
    assert re.findall(r"/(?:home|root|tmp|work|usr|Users)/\S*", text) == []
    assert set(nbformat.reads(text, as_version=4).metadata) == {"kernelspec", "language_info"}


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """Each cell of a copy succeeds, and shows the same kinds of output."""
    pytest.importorskip("vl_convert")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.outputs = [] if cell.cell_type == "code" else cell.get("outputs")
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds(notebook) == KINDS
