"""`mnbench build`: the files it writes and what it tells of them."""

# ruff: noqa: SIM300  expected == actual

import json

import onnx
import pytest
from checkpoints import tensors
from common import BUILD, SMALL, misfits
from safetensors.numpy import save_file

# build


def test_build_json_holds_the_contract_and_the_file_is_there(invoke, workspace):
    """`build --format json` tells of the file at its default path, which holds what is told."""
    result = invoke("build", "v1", "--alpha", "0.5", "--res", "160", "--format", "json")
    payload = json.loads(result.stdout)
    model = onnx.load(workspace / "v1-a0.5-r160.onnx")

    assert [] == misfits(payload, BUILD)
    assert ["v1-a0.5-r160.onnx"] == [path.name for path in workspace.iterdir()]
    assert "v1-a0.5-r160.onnx" == payload["path"]
    assert payload["nodes"] == len(model.graph.node)
    assert payload["opset"] == model.opset_import[0].version
    assert payload["nodes"] < payload["nodes_before"]
    assert payload["simplified"] is True
    assert 1_331_592 == payload["params"]


def test_build_json_of_several_variants_is_a_list(invoke, workspace):
    """Several variants give `models` and a file each."""
    payload = json.loads(invoke("build", "v1", "--alpha", "0.25", "--res", "32,64", "--format", "json").stdout)

    assert ["models"] == list(payload)
    assert [] == [misfit for item in payload["models"] for misfit in misfits(item, BUILD)]
    assert ["v1-a0.25-r32.onnx", "v1-a0.25-r64.onnx"] == sorted(path.name for path in workspace.iterdir())
    assert len({item["sha256"] for item in payload["models"]}) == 2


def test_weights_must_fit_the_named_variant(invoke, workspace):
    """A variant's name settles alpha: the weights of another alpha are refused, those of a graph choose it."""
    save_file(tensors("v2", "torchvision", 0.5), workspace / "v2.safetensors")

    assert 1 == invoke("build", "v2-a1-r32", "--weights", "v2.safetensors").exit_code
    assert 0 == invoke("build", "v2-a0.5-r32", "--weights", "v2.safetensors").exit_code
    assert 0 == invoke("build", "v2", "--res", "64", "--weights", "v2.safetensors").exit_code
    assert ["v2-a0.5-r32.onnx", "v2-a0.5-r64.onnx"] == sorted(path.name for path in workspace.glob("*.onnx"))


def test_build_writes_where_o_says(invoke, workspace):
    """`-o` names the file; its folder is made if it is missing."""
    payload = json.loads(invoke("build", "v1", *SMALL, "-o", "models/small.onnx", "--format", "json").stdout)

    assert "models/small.onnx" == payload["path"]
    assert (workspace / "models" / "small.onnx").is_file()


def test_build_refuses_one_file_for_several_models(invoke, workspace):
    """`-o` with several variants is a usage error, and nothing is written."""
    assert 2 == invoke("build", "v1", "--alpha", "1,0.5", "-o", "one.onnx").exit_code
    assert [] == list(workspace.iterdir())


@pytest.mark.parametrize(
    ("option", "simplified", "batch_norms"), [(None, True, 0), ("--no-simplify", False, 27), ("--keep-bn", True, 27)]
)
def test_no_simplify_and_keep_bn_leave_batch_normalization(invoke, workspace, option, simplified, batch_norms):
    """Batch normalization goes into the convolutions unless `--no-simplify` or `--keep-bn` is given."""
    payload = json.loads(invoke("build", "v1", *SMALL, *([option] if option else []), "--format", "json").stdout)
    nodes = [node.op_type for node in onnx.load(workspace / payload["path"]).graph.node]

    assert batch_norms == nodes.count("BatchNormalization")
    assert simplified is payload["simplified"]
    if option == "--no-simplify":
        assert payload["nodes_before"] == payload["nodes"] == 84


@pytest.mark.parametrize(
    ("form", "expected"),
    [("md", "| v1-a0.25-r32.onnx |"), ("csv", "v1-a0.25-r32.onnx,1"), ("rich", "v1-a0.25-r32.onnx  1.88")],
)
def test_build_prints_tables(invoke, form, expected):
    """`build` tells what it wrote in every format of tables."""
    assert expected in invoke("build", "v1", *SMALL, "--format", form).stdout


def test_build_never_overwrites_the_model_that_it_read(invoke, workspace):
    """Simplifying a file onto itself is refused, and the file stays."""
    invoke("build", "v1", *SMALL, "--no-simplify")
    before = (workspace / "v1-a0.25-r32.onnx").read_bytes()

    result = invoke("build", "v1-a0.25-r32.onnx")

    assert 1 == result.exit_code
    assert "is the model that is read" in result.stderr
    assert before == (workspace / "v1-a0.25-r32.onnx").read_bytes()
