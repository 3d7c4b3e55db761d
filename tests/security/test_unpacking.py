"""Archives and stored graphs that claim or unpack to more than they may: one line, before memory is taken."""

# ruff: noqa: SIM300  expected == actual

import json
import lzma
import zipfile
from io import BytesIO

import numpy as np
import onnx
import pytest
from limits import DEPTH, MEGABYTE, model_with_input, require_error, using_less_than, within
from onnx import TensorProto, helper

from mnbench.errors import ResultsError
from mnbench.model.model import Model
from mnbench.model.weightless import refill_weights, strip_weights
from mnbench.results.store import raw_latencies


def npz_bomb(size_bytes):
    """An archive of one array of zeros."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        header = BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"shape": (size_bytes // 8,), "fortran_order": False, "descr": "<i8"}
        )
        archive.writestr("latencies_ns.npy", header.getvalue() + bytes(size_bytes))
    return packed.getvalue()


def test_raw_results_that_unpack_to_too_much_are_left_out(workspace, make_record):
    """The sizes in an archive's list are checked first."""
    record = make_record()
    folder = workspace / "raw" / record.run
    folder.mkdir(parents=True)
    (folder / f"{record.row.id}.0.npz").write_bytes(npz_bomb(160 * MEGABYTE))

    with using_less_than(50 * MEGABYTE):
        assert [] == raw_latencies(workspace, record)


@pytest.mark.parametrize("claim", [(10**10,), (-1,), (2**62, 2**62)], ids=str)
def test_a_header_that_claims_more_than_its_file_is_one_line(invoke, workspace, claim):
    """Nothing is allocated for the claim."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": claim, "fortran_order": False, "descr": "<f4"})
    (workspace / "x.npy").write_bytes(header.getvalue() + bytes(64))
    (workspace / "x.onnx").write_bytes(model_with_input(["n"]).SerializeToString())

    with within(), using_less_than(100 * MEGABYTE):
        require_error(invoke("build", "x.onnx", "--input", "x=x.npy", "-o", "y.onnx"), "x.npy: holds no plain arrays")


@pytest.fixture
def graph():
    """A graph without its weights, and the JSON of what is drawn."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [100], np.random.default_rng(0).normal(size=100))
    node = helper.make_node("Add", ["x", "w"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [100]) for name in "xy"]
    proto = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weight]))
    stripped = onnx.ModelProto.FromString(lzma.decompress(strip_weights(Model(name="g", proto=proto))))

    def write(change):
        (prop,) = stripped.metadata_props
        emptied = json.loads(prop.value)
        change(stripped.graph.initializer[0], emptied)
        prop.value = json.dumps(emptied).replace('"NESTED"', "[" * DEPTH)
        return lzma.compress(stripped.SerializeToString(), preset=0)

    return write


CHANGES = {
    "texts in place of numbers": lambda _, emptied: emptied["tensors"]["0"].__setitem__(0, ["a"] * 4),
    "100,000 levels": lambda _, emptied: emptied.__setitem__("tensors", "NESTED"),
    "a tensor of 10 to the 12": lambda tensor, _: tensor.dims.__setitem__(0, 10**12),
    "a tensor of 2 to the 62": lambda tensor, _: tensor.dims.extend([2**55]),
    "a negative tensor": lambda tensor, _: tensor.dims.__setitem__(0, -5),
    "a tensor of texts": lambda tensor, _: setattr(tensor, "data_type", TensorProto.STRING),
    "a tensor of no type": lambda tensor, _: setattr(tensor, "data_type", 4711),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_hostile_graph_without_weights_is_one_line(graph, change):
    """What it claims is checked before anything is drawn."""
    with within(), using_less_than(100 * MEGABYTE), pytest.raises(ResultsError, match="cannot be read"):
        refill_weights(graph(change), "x")


@pytest.mark.parametrize("streams", [1, 10], ids=["one stream", "many streams"])
def test_an_xz_bomb_is_not_unpacked(streams):
    """Its 160 MB are not there at once."""
    bomb = lzma.compress(bytes(MEGABYTE * 160 // streams), preset=0) * streams

    with using_less_than(150 * MEGABYTE), pytest.raises(ResultsError):
        refill_weights(bomb, "x")
