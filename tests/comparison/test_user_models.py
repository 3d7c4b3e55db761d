"""Which file each row of a user's own models is gated with."""

from pathlib import Path

import pytest

from mnbench.comparison.user_models import match_user_models
from mnbench.errors import ResultsError
from mnbench.network.variant import OnnxFile
from mnbench.results.record import FedInput


@pytest.fixture
def row(make_record):
    """A record of a user's file."""

    def make(file, variant="net", **changes):
        return make_record(None, variant=variant, architecture=None, file=file, **changes)

    return make


@pytest.mark.parametrize(
    ("files", "models", "expected"),
    [
        (["a/net.onnx"], ["a/net.onnx"], ["a/net.onnx"]),
        (["a/net.onnx"], ["new/net.onnx"], ["new/net.onnx"]),
        (["a/net.onnx"], ["net=new/other.onnx"], ["new/other.onnx"]),
        (["a/net.onnx", "b/net.onnx"], ["b/net.onnx", "a/net.onnx"], ["a/net.onnx", "b/net.onnx"]),
        (["a/net.onnx", "b/net.onnx"], ["b/net=new/net.onnx"], [None, "new/net.onnx"]),
    ],
)
def test_by_path_then_by_label_then_by_a_name_that_no_other_file_has(row, files, models, expected):
    """One of two rows of a name is never gated with a file that may be the other's."""
    records = [row(file) for file in files]
    matched = match_user_models(records, [OnnxFile.parse(model) for model in models])
    paths = [matched[record.row].path if record.row in matched else None for record in records]
    assert paths == [Path(path) if path else None for path in expected]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("model", ["other.onnx", "new/net.onnx"])
def test_a_file_for_no_row_is_refused(row, model):
    """And the error names the rows."""
    with pytest.raises(ResultsError, match="no row is of this file") as failure:
        match_user_models([row("a/net.onnx"), row("b/net.onnx")], [OnnxFile.parse(model)])
    assert failure.value.hint == f"rows of your own files: a/net, b/net; name one: ROW={model}"


def test_the_inputs_of_the_row_are_fed_again(row):
    """All sizes, and the values that were given."""
    inputs = (
        FedInput(name="x", type="float32", shape=(1, 32), made="normal", sha256=""),
        FedInput(name="rate", type="int64", shape=(), made="16000", sha256=""),
    )
    record = row("net.onnx", "net[rate=16000]", inputs=inputs)
    file = match_user_models([record], [OnnxFile.parse("net.onnx")])[record.row]
    assert (file.given.shapes, file.given.values) == ({"x": (1, 32), "rate": ()}, {"rate": "16000"})
    assert file.label == "net"
