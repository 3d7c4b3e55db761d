"""Which file each row of a user's own models is gated with."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from mnbench.comparison.user_models import match_user_models, recorded_inputs
from mnbench.errors import ResultsError
from mnbench.model.inputs import make_inputs
from mnbench.network.variant import InputOptions, OnnxFile
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


def test_inputs_are_made_again(make_record, tmp_path):
    """Every kind of value gives the same arrays, from what a record says of them alone; a variant needs nothing."""
    declared = {
        "x": (TensorProto.FLOAT, ["steps", "batch", 3]),
        "uniform": (TensorProto.FLOAT, [4]),
        "file": (TensorProto.FLOAT, [2]),
        "rate": (TensorProto.INT64, []),
        "mask": (TensorProto.INT64, ["batch"]),
        "lengths": (TensorProto.INT32, ["batch"]),
        "flag": (TensorProto.BOOL, [2]),
        "bytes": (TensorProto.UINT8, [5]),
        "words": (TensorProto.STRING, [2]),
        "letters": (TensorProto.STRING, [2]),
    }
    np.save(tmp_path / "file.npy", np.arange(2, dtype=np.float32))
    values = {"uniform": "0..1", "rate": "16000", "words": "yes,no", "file": f"{tmp_path}/file.npy"}
    gru = helper.make_node("GRU", ["x", "w", "r", "", "lengths"], ["y"], hidden_size=3)
    infos = [helper.make_tensor_value_info(name, *entry) for name, entry in declared.items()]
    proto = helper.make_model(helper.make_graph([gru], "g", infos, []))
    described = make_inputs(proto, InputOptions(sizes={"steps": 7, "batch": 2}, values=values), seed=0, name="net")
    fed = tuple(
        FedInput(
            name=name,
            type=str(item.array.dtype),
            shape=item.array.shape,
            values=item.values,
            chosen=item.chosen,
            sha256="",
        )
        for name, item in described.items()
    )
    input_options = recorded_inputs(make_record(None, architecture=None, inputs=fed))
    again = make_inputs(proto, input_options, seed=0, name="net")
    assert all(np.array_equal(described[name].array, again[name].array) for name in declared)
    assert InputOptions() == recorded_inputs(make_record(inputs=fed))
