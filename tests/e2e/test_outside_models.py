"""Models as other tools export them, each with its right count, its right answer, or an error that helps."""

import json

import numpy as np
import pytest
from common import ONCE
from onnx import TensorProto, helper, numpy_helper, save
from outside_models import (
    CONV,
    FLOAT,
    branches,
    bytes_image,
    causal_mask,
    computed_kernel,
    constant_beside,
    conv_net,
    detector,
    dynamically_quantized,
    encoder,
    graph,
    layer_of,
    line_break,
    node,
    noise_inside,
    open_image,
    quantized_operators,
    recurrent_with_lengths,
    relu6,
    scalar_output,
    shared_head,
    texts,
    voice_detector,
)

SMALL_LAYER = {"w": (512, 512)}
PRODUCT = [node("MatMul", "x w", "y")]
HALF = np.ones((512, 512), np.float16)
SPARSE = graph(PRODUCT, {"x": [1, 64]}, {"y": [1, 32]})
SPARSE.graph.sparse_initializer.append(
    helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(2, np.float32), "w"), numpy_helper.from_array(np.array([3, 7])), [64, 32]
    )
)

COUNTS = {
    "open batch": (conv_net(), ["--batch", "8"], {"mult_adds": 8 * 442_528, "resolution": [64, 64]}),
    "batch of -1": (conv_net(-1, 3, 64, 64), [], {"mult_adds": 442_528}),
    "weights as inputs": (conv_net(1, 3, 64, 64, opset=9, ir_version=3, as_inputs=True), [], {"mult_adds": 442_528}),
    "weights of an old file": (conv_net(1, 3, 64, 64, opset=9, ir_version=3), [], {"mult_adds": 442_528}),
    "bytes, channels last": (bytes_image(1, 240, 320, 3), [], {"mult_adds": 4_147_200, "resolution": [240, 320]}),
    "bytes of an open size": (bytes_image("N", "h", "w", 3), ["--res", "240x320"], {"mult_adds": 4_147_200}),
    "tokens": (encoder(), ["--dim", "sequence=128"], {"mult_adds": 128 * 32 * 32 + 2 * 128 * 128 * 32, "params": 4224}),
    "frames": (
        graph(PRODUCT, {"x": ["frames", 40]}, {"y": None}, {"w": (40, 64)}), ["--dim", "frames=50"],
        {"mult_adds": 50 * 40 * 64},
    ),
    "state and rate": (voice_detector(), ["--input", "rate=16000"], {"mult_adds": 33_808, "params": 33_808}),
    "computed weights": (computed_kernel(1), [], {"mult_adds": 912_384}),
    "computed weights in groups": (computed_kernel(4), [], {"mult_adds": 228_096}),
    "quantized operators": (quantized_operators(), [], {"mult_adds": 2_981_888, "params": 2944}),
    "dynamic quantization": (dynamically_quantized(), [], {"mult_adds": 131_072, "params": 131_072}),
    "shared weights": (shared_head(), [], {"mult_adds": 9_289_728, "params": 6936}),
    "GRU with lengths": (recurrent_with_lengths(), [], {"mult_adds": 998_400, "params": 20_352, "resolution": None}),
    "ConvTranspose": (
        layer_of("ConvTranspose", "x w b", "y", {"w": (32, 16, 4, 4), "b": (16,)}, [1, 32, 16, 16],
                 attributes={"strides": [2, 2], "pads": [1] * 4}), [],
        {"mult_adds": 2_097_152, "params": 8208},
    ),
    "Einsum": (
        layer_of("Einsum", "x w", "y", {"w": (64, 128)}, [1, 49, 64], attributes={"equation": "bnd,de->bne"}), [],
        {"mult_adds": 401_408, "params": 8192},
    ),
    "Attention": (
        graph([node("Attention", "q k v", "y")], {name: [1, 4, 64, 32] for name in "qkv"}, {"y": None}, opset=23,
              ir_version=10), [],
        {"mult_adds": 1_048_576},
    ),
    "FusedConv": (
        layer_of("FusedConv", "x w b", "y", {"w": (16, 8, 3, 3), "b": (16,)}, [1, 8, 32, 32], domain="com.microsoft",
                 attributes={"domain": "com.microsoft", "activation": "Relu", **CONV}), [],
        {"mult_adds": 1_179_648, "params": 1168},
    ),
    "bias by Add": (
        graph([node("MatMul", "x w", "m"), node("Add", "m b", "y")], {"x": [1, 49, 64]}, {"y": None},
              {"w": (64, 128), "b": (128,)}), [],
        {"mult_adds": 401_408, "params": 8320},
    ),
    "LayerNormalization": (
        graph([node("LayerNormalization", "x s b", "n"), node("MatMul", "n w", "y")], {"x": [1, 49, 64]}, {"y": None},
              {"s": (64,), "b": (64,), "w": (64, 128)}), [],
        {"mult_adds": 401_408, "params": 8320},
    ),
    "branch": (branches(), ["--input", "rate=16000"], {"mult_adds": 2048, "params": 4096}),
    "boxes of a number that only a run knows": (detector(), [], {"mult_adds": 5 * 16 * 16 * 192}),
    "a half among floats": (
        graph([node("MatMul", "x w", "m"), node("Cast", "h", "f", to=FLOAT), node("Mul", "m f", "y")], {"x": [1, 512]},
              {"y": None}, {**SMALL_LAYER, "h": np.float16([1.5])}), [],
        {"mult_adds": 262_144, "memory_access_bytes": 1_056_768},
    ),
    "halves in a Constant node": (
        graph([node("Constant", "", "w", value=numpy_helper.from_array(HALF)), *PRODUCT], {"x": [1, 512]}, {"y": None},
              element_type=TensorProto.FLOAT16), [],
        {"params": 262_144, "memory_access_bytes": 526_336},
    ),
    "doubles": (
        graph(PRODUCT, {"x": [1, 64]}, {"y": None}, {"w": np.ones((64, 32))}, element_type=TensorProto.DOUBLE), [],
        {"params": 2048, "memory_access_bytes": 8 * (2048 + 64 + 32)},
    ),
    "sparse weights": (SPARSE, [], {"mult_adds": 2048, "params": 2048}),
    "infinite mask": (causal_mask(), [], {"mult_adds": 2 * 16 * 16 * 8}),
    **{f"ReLU6 as {form}": (relu6(form), [], {"mult_adds": 55_296, "params": 216})
       for form in ("scalars", "arrays", "constants", "attributes")},
    "open image": (open_image(), ["--res", "48x64"], {"mult_adds": 48 * 64 * 32 * 27, "resolution": [48, 64]}),
}  # fmt: skip
"""Of each kind a model, its options and its figures, counted by hand."""


@pytest.mark.parametrize("kind", COUNTS)
def test_counts(invoke, kind):
    """What a file costs, whatever tool wrote it."""
    model, options, expected = COUNTS[kind]
    save(model, "model.onnx")
    result = invoke("cost", "model.onnx", *options, "--format", "json")

    assert result.exit_code == 0, result.stderr
    counted = json.loads(result.stdout)
    assert {name: counted[name] for name in expected} == expected


FILES = {
    "score.onnx": scalar_output(),
    "noise.onnx": noise_inside(),
    "constant.onnx": constant_beside(),
    "text.onnx": texts(),
    "tokens.onnx": encoder(),
    "voice.onnx": voice_detector(),
    "frames.onnx": graph(PRODUCT, {"x": ["frames", 40]}, {"y": None}, {"w": (40, 64)}),
    "open.onnx": bytes_image("N", "h", "w", 3),
    "lengths.onnx": recurrent_with_lengths(),
    "boxes.onnx": detector(),
    "sparse.onnx": SPARSE,
    "causal.onnx": causal_mask(),
    "bfloat.onnx": graph(PRODUCT, {"x": [1, 4]}, {"y": None}, {"w": (4, 4)}, element_type=TensorProto.BFLOAT16),
    "twice.onnx": graph([node("Relu", "x", "a", "n"), node("Relu", "a", "y", "n")], {"x": [4]}, {"y": None}),
    "batch.onnx": conv_net(-1, 3, 64, 64),
    "UPPER.ONNX": conv_net(),
    "-dash.onnx": conv_net(),
    "names.onnx": line_break(),
}
FILES["bfloat.onnx"].graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.BFLOAT16, [4, 4], [1.0] * 16))


@pytest.fixture
def files(workspace):
    """All files, in the folder that commands run in."""
    for name, model in FILES.items():
        save(model, workspace / name)


ANSWERS = [
    ("cost tokens.onnx", 1, "Hint: give them: --dim sequence=…, or --shape ids=1,…"),
    ("cost frames.onnx", 1, "Hint: give them: --dim frames=…, or --shape …,40"),
    ("cost open.onnx", 1, "Hint: give them: --dim h=320 --dim w=320, or --shape 1,320,320,3"),
    ("cost voice.onnx", 1, "Hint: --input rate=VALUE"),
    ("cost text.onnx", 0, "text: word holds texts, which have no fixed size: memory in bytes is not known"),
    ("cost UPPER.ONNX ./-dash.onnx", 0, "-dash"),
    ("cost names.onnx --layers --format md", 0, "| 畳み込み\\|1 | Conv 3×3 |"),
    ("build voice.onnx --input rate=16000 -o new.onnx", 0, "0e+00"),
    ("build sparse.onnx -o new.onnx", 0, "0e+00"),
    ("build score.onnx -o new.onnx", 0, "new.onnx"),
    ("build constant.onnx -o new.onnx", 0, "output `v` does not depend on the input: equality proves little"),
    ("build noise.onnx -o new.onnx", 0, "output `y` depends on RandomNormalLike `noise`"),
    ("build score.onnx constant.onnx", 1, "score.onnx: is the model that is read (name another: -o FILE, or NAME="),
    ("verify bfloat.onnx", 1, "Error: bfloat.onnx: onnxruntime"),
    ("verify twice.onnx", 1, "Error: twice.onnx: onnxruntime cannot load it"),
]
"""Commands, their exit codes and a part of what they print."""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("command", "exit_code", "text"), ANSWERS)
def test_answers(invoke, command, exit_code, text):
    """A result, or an error with a hint that names the option to use."""
    result = invoke(*command.split(), env={"COLUMNS": "200"})

    assert (result.exit_code, text in result.stdout + result.stderr) == (exit_code, True), result.output


@pytest.mark.slow
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("options", "exit_code", "verdict"),
    [
        ("score.onnx", 0, "agrees"),
        ("boxes.onnx", 0, "agrees"),
        ("tokens.onnx --dim sequence=8", 1, "give others with --input"),
        ("tokens.onnx --dim sequence=8 --input ids=0..99", 0, "agrees"),
        ("constant.onnx", 0, "output `v` does not depend on the input: equality proves little"),
        ("open.onnx --res 16 --against other.onnx", 1, "DIFFERS"),
    ],
)
def test_verification(invoke, options, exit_code, verdict):
    """Right outputs agree, of other weights differ, and what proves nothing is inconclusive."""
    other = bytes_image("N", "h", "w", 3)
    other.graph.initializer[-1].raw_data = other.graph.initializer[-1].raw_data[::-1]
    save(other, "other.onnx")
    result = invoke("verify", *options.split())

    assert (result.exit_code, verdict in " ".join(result.stdout.split())) == (exit_code, True), result.output


@pytest.mark.slow
@pytest.mark.usefixtures("files")
def test_all_are_measured(invoke):
    """Whatever is fed, drawn inside, left open or not comparable; the record says what was not compared or chosen."""
    names = ["score", "noise", "constant", "text", "lengths", "boxes", "sparse", "causal", "batch"]
    result = invoke("run", *(f"{name}.onnx" for name in names), *ONCE, "--format", "json")
    records = {record["variant"]: record for record in json.loads(result.stdout)["records"]}

    assert result.exit_code == 0, result.stderr
    assert list(records) == names
    assert all(record["latency_ns"]["median"] > 0 for record in records.values())
    assert {name: record["not_compared"] for name, record in records.items() if record["not_compared"]} == {
        "noise": ["output `y` depends on RandomNormalLike `noise`"]
    }
    assert records["lengths"]["inputs"][1]["values"] == "50, as long as x"
    assert records["text"]["inputs"][0]["values"] == "the text a"
    assert records["batch"]["inputs"][0]["assumed"] == [0]
