"""Rows and their labels."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.errors import BuildError
from mnbench.network.row import Row, row_labels
from mnbench.network.variant import OnnxFile

SMALL, LARGE = Row("model", None, "small/onnx/model.onnx"), Row("model", None, "large/onnx/model.onnx")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([SMALL], ["model"]),
        ([SMALL, LARGE], ["small/onnx/model", "large/onnx/model"]),
        ([SMALL, SMALL, LARGE], ["small/onnx/model", "large/onnx/model"]),
        ([SMALL, Row("model", None, "model.onnx")], ["onnx/model", "model"]),
        ([Row("m", None, "/a/m.onnx"), Row("m", None, "/b/m.onnx")], ["a/m", "b/m"]),
        ([Row("net", None, "a/x.onnx"), Row("net", None, "a/y.onnx")], ["net=a/x.onnx", "net=a/y.onnx"]),
        ([Row("v1-a1-r224", "v1"), Row("v1-a1-r224", None, "m.onnx")], ["v1-a1-r224", "v1-a1-r224=m.onnx"]),
        (
            [Row("net", None, None, "a" * 64), Row("net", None, None, "b" * 64)],
            ["net@aaaaaaaaaaaa", "net@bbbbbbbbbbbb"],
        ),
    ],
)
def test_as_much_of_the_path_as_tells_rows_apart(rows, expected):
    """A row alone has its name, and a variant always."""
    assert expected == list(row_labels(rows).values())


@given(st.lists(st.text("ab/", min_size=1, max_size=6).map(lambda text: Row("m", None, f"{text.strip('/')}/m.onnx"))))
def test_no_two_rows_have_one_label(rows):
    """Whatever the folders are called."""
    labels = row_labels(rows)
    assert len(set(rows)) == len(labels) == len(set(labels.values()))


@pytest.mark.parametrize(
    ("text", "name", "file"),
    [
        ("a/model.onnx", "model", "a/model.onnx"),
        ("./a/../a/model.onnx", "model", "a/model.onnx"),
        ("net=a/model.onnx", "net", "a/model.onnx"),
        ("lr=0.1/model.onnx", "model", "lr=0.1/model.onnx"),
        ("v1-a0.25-r64.onnx", "v1-a0.25-r64.onnx", "v1-a0.25-r64.onnx"),
    ],
)
def test_a_file_and_its_name(workspace, text, name, file):
    """The path is relative to the folder if it lies below it, and a file has no variant's name."""
    (workspace / "lr=0.1").mkdir()
    (workspace / "lr=0.1" / "model.onnx").touch()
    source = OnnxFile.parse(text)
    assert Row(name, None, file) == source.row
    assert source.row == OnnxFile(path=workspace / source.path, label=source.label).row


def test_a_file_outside_the_folder_keeps_its_path(workspace):
    """There is no shorter one that stays right."""
    path = workspace.parent / "model.onnx"
    assert path.as_posix() == OnnxFile(path=Path("../model.onnx")).row.file


@pytest.mark.parametrize("text", ["v1-a0.5-r160=a.onnx", "=a.onnx"])
def test_a_label_that_is_a_variants_name_is_refused(text):
    """And an empty one."""
    with pytest.raises(BuildError, match="cannot name a file"):
        OnnxFile.parse(text)
