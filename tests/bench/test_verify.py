"""`mnbench verify`: whether a model puts out what it should, and what it is compared on."""

# ruff: noqa: SIM300  expected == actual

import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from common import misfits
from int8 import exact_int8
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import model_of

from mnbench.model.input_files import CROP_SHARE, DEVIATION, MEAN, load_batches
from mnbench.model.model import Model
from mnbench.model.reference import reference_outputs
from mnbench.targets.answers import decode_answer

NUMBER = (int, float)
CONTRACT = {
    "agrees": bool,
    "model": str,
    "against": str,
    "outputs": list,
    "inputs": int,
    "tolerance": NUMBER,
    "precision": str,
    "device": str,
    "runtime": str,
    "provider": str,
    "placement": dict,
}
OUTPUT = {"name": str, "max_abs": NUMBER, "relative": NUMBER, "noise": NUMBER, "varies": bool, "top1_agreement": NUMBER}
SMALL = "v1-a0.25-r32"


@pytest.fixture
def answers(monkeypatch):
    """A worker that answers at once, by definition but for what `perturb` changes; it keeps what it was fed."""

    class Worker:
        inputs = ()

        @staticmethod
        def perturb(output):
            return output

        def __call__(self, device, request, answer, *, timeout_s, heartbeats):
            assert "outputs" == request["kind"]
            assert timeout_s > 0
            self.inputs = [
                {name: np.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in arrays.items()}
                for arrays in request["inputs"]
            ]
            data = Path(request["model"]).read_bytes()
            result = [
                [self.perturb(reference_output) for reference_output in reference_outputs(data, arrays, name="fake")]
                for arrays in self.inputs
            ]
            packed = [[(str(item.dtype), item.shape, item.tobytes()) for item in every] for every in result]
            placement = {"CPUExecutionProvider": ["a", "b"]}
            message = {"outputs": packed, "placement": placement, "runtime_version": "1.2.3"}
            assert len(request["inputs"]) == heartbeats.limit
            return decode_answer(f"device {device.name}", message, answer)

    worker = Worker()
    monkeypatch.setattr("mnbench.bench.verify.call_worker", worker)
    return worker


def verdict(invoke, *words):
    """Exit code and payload."""
    result = invoke("verify", *words, "--format", "json")
    return result.exit_code, json.loads(result.stdout)


def test_a_model_agrees_with_its_own_definition(invoke):
    """On a worker of the device, within fp32's tolerance, as its JSON tells."""
    code, payload = verdict(invoke, SMALL)

    assert 0 == code
    assert [] == misfits(payload, CONTRACT)
    assert [] == [misfit for item in payload["outputs"] for misfit in misfits(item, OUTPUT)]
    assert (True, 8, 1e-3, ["logits"]) == (
        payload["agrees"],
        payload["inputs"],
        payload["tolerance"],
        [item["name"] for item in payload["outputs"]],
    )
    assert 0 <= payload["outputs"][0]["relative"] < 1e-4
    assert 1.0 == payload["outputs"][0]["top1_agreement"]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "allowed"), [("fp16", 0.05), pytest.param("int8", 0.5, marks=exact_int8)])
def test_precisions_lose_what_they_lose(precision, allowed, invoke):
    """fp16 and int8 on a worker, against the plain graph in fp32."""
    code, payload = verdict(invoke, f"{SMALL}-{precision}", "--seeded", "2")

    assert (0, precision, allowed) == (code, payload["precision"], payload["tolerance"])
    assert 1e-4 < payload["outputs"][0]["relative"] < allowed


def test_a_runtime_with_a_format_of_its_own_gets_the_converted_model(answers, invoke, monkeypatch, tmp_path):  # noqa: ARG001
    """Also of a file with an open batch, which converters do not take."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path, sizes = model_of(nodes, {"x": ["n", 3]}, {"y": ["n", 3]}).save(tmp_path / "open.onnx"), []

    def convert(_device, request, answer, *, timeout_s):  # noqa: ARG001
        data = Path(request["model"]).read_bytes()
        shape = onnx.load_from_string(data).graph.input[0].type.tensor_type.shape
        sizes.append([dim.dim_value for dim in shape.dim])
        return answer(model=data, duration_ns=1)

    monkeypatch.setattr("mnbench.bench.verify.ready_device", lambda device, _: device)
    monkeypatch.setattr("mnbench.bench.request.call_worker", convert)
    for model in (SMALL, str(path)):
        assert 0 == verdict(invoke, model, "--device", "ncnn", "--seeded", "1")[0]

    assert [[1, 3, 32, 32], [1, 3]] == sizes


@pytest.mark.usefixtures("answers")
def test_another_model_does_not_agree(invoke):
    """Other weights: exit code 1, and figures that say how far."""
    for seed in (0, 1):
        invoke("build", "v1", "--alpha", "0.25", "--res", "32", "--seed", seed, "-o", f"{seed}.onnx")
    code, payload = verdict(invoke, "0.onnx", "--against", "1.onnx")

    assert (1, False, "1") == (code, payload["agrees"], payload["against"])
    assert payload["outputs"][0]["relative"] > 0.5
    assert 0 == verdict(invoke, "0.onnx", "--against", "1.onnx", "--tolerance", "100")[0]
    assert 0 == verdict(invoke, "0.onnx", "--against", SMALL)[0]
    assert "DIFFERS" in invoke("verify", "0.onnx", "--against", "1.onnx").stdout


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_does_not_agree(value, answers, invoke):
    """Its figures are null, so that the JSON stays JSON."""
    answers.perturb = lambda output: np.full_like(output, value)
    code, payload = verdict(invoke, SMALL)

    assert (1, None, None) == (code, payload["outputs"][0]["max_abs"], payload["outputs"][0]["relative"])


def test_one_wrong_input_of_many_is_found(answers, invoke):
    """The largest difference counts, and top-1 agreement is a share of the inputs."""
    outputs = iter(range(4))
    answers.perturb = lambda output: output[:, ::-1] if next(outputs) == 2 else output
    code, payload = verdict(invoke, SMALL, "--seeded", "4")

    assert (1, 0.75) == (code, payload["outputs"][0]["top1_agreement"])


@pytest.mark.usefixtures("answers")
def test_outputs_that_ignore_the_input_prove_nothing(invoke, workspace):
    """Two networks of other weights, and both put out zeros: that they are equal does not make them agree."""
    for name, slope in (("a", 1), ("b", 2)):
        nodes = [
            helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Gemm", ["f", "w"], ["y"]),
        ]
        graph = model_of(nodes, {"x": [1, 4]}, {"y": [1, 4]}, {"w": [4, 4]}, input_type=TensorProto.INT64)
        weight = numpy_helper.from_array(np.full((4, 4), slope, np.float32), "w")
        graph.proto.graph.initializer[0].CopyFrom(weight)
        graph.save(workspace / f"{name}.onnx")
    code, payload = verdict(invoke, "a.onnx", "--against", "b.onnx", "--input", "x=0")

    assert (1, False, False) == (code, payload["agrees"], payload["outputs"][0]["varies"])
    assert "no output depends on the inputs that were fed; give others with --input" == payload["inconclusive"]
    assert "is INCONCLUSIVE" in invoke("verify", "a.onnx", "--against", "b.onnx", "--input", "x=0").stdout


def save_quantized(path, weights, *, scale=None, dynamic=False):
    """Probabilities of a layer; with a scale its weights are int8, and with `dynamic` its input is too."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["l"]), helper.make_node("Sigmoid", ["l"], ["y"])]
    stored = {"w": weights.astype(np.float32)}
    if scale is not None:
        nodes[0].input[1] = "wide"
        nodes.insert(0, helper.make_node("DequantizeLinear", ["w", "s"], ["wide"]))
        stored = {"w": np.rint(weights / np.abs(weights).max() * 127).astype(np.int8), "s": np.float32(scale)}
    if dynamic:
        nodes[:2] = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
            helper.make_node("MatMulInteger", ["q", "w", "qz"], ["i"]),
            helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["qs", "s"], ["fs"]),
            helper.make_node("Mul", ["f", "fs"], ["l"]),
        ]
    model = model_of(nodes, {"x": [1, 64]}, {"y": [1, 20]})
    model.proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in stored.items())
    model.save(path)


@pytest.mark.usefixtures("answers")
def test_a_broken_int8_network_does_not_agree(invoke, workspace):
    """One whose scale is a hundredth puts out one half, whatever the input; the right ones are within int8's limits."""
    weights = np.random.default_rng(36).standard_normal((64, 20)) / 8
    scale = np.abs(weights).max() / 127
    save_quantized(workspace / "fp32.onnx", weights)
    save_quantized(workspace / "int8.onnx", weights, scale=scale)
    save_quantized(workspace / "dynamic.onnx", weights, scale=scale, dynamic=True)
    save_quantized(workspace / "broken.onnx", weights, scale=scale / 100)

    for name in ("int8", "dynamic"):
        code, payload = verdict(invoke, f"{name}.onnx", "--against", "fp32.onnx")
        assert (0, "int8", 0.5) == (code, payload["precision"], payload["tolerance"])
    code, payload = verdict(invoke, "broken.onnx", "--against", "fp32.onnx")
    assert (1, None) == (code, payload["inconclusive"])
    assert 0.9 < payload["outputs"][0]["noise"]
    assert "`y` differs by" in invoke("verify", "broken.onnx", "--against", "fp32.onnx").stdout


@pytest.mark.usefixtures("answers")
def test_outputs_of_chance_are_not_compared(invoke, workspace):
    """The others are; without others nothing is proven."""
    noise = helper.make_node("RandomNormalLike", ["x"], ["z"], "noise")
    relu = helper.make_node("Relu", ["x"], ["y"])
    model_of([noise, relu], {"x": [1, 4]}, {"y": [1, 4], "z": [1, 4]}).save(workspace / "both.onnx")
    model_of([noise], {"x": [1, 4]}, {"z": [1, 4]}).save(workspace / "noise.onnx")
    code, payload = verdict(invoke, "both.onnx")

    assert (0, None) == (code, payload["inconclusive"])
    assert "output `z` depends on RandomNormalLike `noise`" == payload["outputs"][1]["not_compared"]
    assert (1, "no output could be compared") == (
        (result := verdict(invoke, "noise.onnx"))[0],
        result[1]["inconclusive"],
    )


def test_inputs_from_arrays(answers, invoke, workspace):
    """A .npy is given as it is, input by input; `--seeded` adds random ones."""
    images = np.random.default_rng(3).standard_normal((3, 3, 32, 32)).astype(np.float32)
    np.save(workspace / "many.npy", images)
    np.save(workspace / "one.npy", images[0].astype(np.float64))
    code, payload = verdict(invoke, SMALL, "--input", "many.npy", "--input", "one.npy", "--seeded", "1")

    assert (0, 5) == (code, payload["inputs"])
    assert [True] * 4 == [
        np.array_equal(image[None], arrays["input"])
        for image, arrays in zip([*images, images[0]], answers.inputs[:4], strict=True)
    ]


def test_inputs_fill_batches(answers, invoke, workspace):
    """A model with a batch of two takes two inputs at once."""
    np.save(workspace / "many.npy", np.zeros((4, 3, 32, 32), np.float32) + np.arange(4).reshape(4, 1, 1, 1))
    assert 4 == verdict(invoke, "v1-a0.25-r32-b2", "--input", "many.npy")[1]["inputs"]
    assert [(2, 3, 32, 32)] * 2 == [arrays["input"].shape for arrays in answers.inputs]
    np.save(workspace / "odd.npy", np.zeros((3, 3, 32, 32)))
    assert "3 inputs do not fill batches of 2" in invoke("verify", "v1-a0.25-r32-b2", "--input", "odd.npy").stderr


BAD = {
    "missing.npy": (None, "missing.npy: cannot be read"),
    "text.npy": (b"text", "holds no plain arrays"),
    "empty.npy": (b"", "holds no plain arrays"),
    "small.npy": (np.zeros((1, 3, 16, 16)), "holds (1, 3, 16, 16), and the model takes (1, 3, 32, 32)"),
    "none.npy": (np.zeros((0, 3, 32, 32)), "holds (0, 3, 32, 32)"),
    "objects.npy": (np.array([print], object), "holds no plain arrays"),
    "words.npy": (np.array(["a"]), "holds no plain numbers"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("answers")
def test_inputs_that_do_not_fit_are_refused(name, invoke, workspace):
    """In one line with a hint."""
    held, expected = BAD[name]
    if isinstance(held, bytes):
        (workspace / name).write_bytes(held)
    elif held is not None:
        np.save(workspace / name, held, allow_pickle=True)
    result = invoke("verify", SMALL, "--input", name)

    assert (1, "") == (result.exit_code, result.stdout)
    assert expected in result.stderr
    assert 2 == len(result.stderr.splitlines())


@pytest.mark.usefixtures("answers")
def test_models_of_other_sizes_are_not_compared(invoke):
    """What they take and put out must be alike."""
    assert "take other inputs" in invoke("verify", SMALL, "--against", "v1-a0.25-r64").stderr
    assert "compare models of the same task" in invoke("verify", SMALL, "--against", "v1-a0.25-r32-c10").stderr


@pytest.mark.parametrize("word", ["v1", "v1-a1", "missing.onnx"])
def test_what_is_no_model_is_refused(word, invoke):
    """A graph's name alone is no variant's."""
    result = invoke("verify", word)

    assert 1 == result.exit_code
    assert "Hint: " in result.stderr


# Images


def png(pixels):
    """A PNG file of (height, width, 3) bytes."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def model(side):
    """One that takes an image of that size."""
    value = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, (1, 3, *side))
    node = onnx.helper.make_node("Relu", ["input"], ["output"])
    output = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, (1, 3, *side))
    return Model(name="relu", proto=onnx.helper.make_model(onnx.helper.make_graph([node], "relu", [value], [output])))


def test_an_image_of_one_colour_is_normalized(workspace):
    """By ImageNet's mean and deviation of each channel."""
    pytest.importorskip("PIL", reason="pillow is not installed")
    colour = (255, 0, 128)
    (workspace / "image.png").write_bytes(png(np.full((50, 70, 3), colour, np.uint8)))
    (arrays,) = load_batches([Path("image.png")], model((32, 32)))
    expected = (np.array(colour) / 255 - MEAN) / DEVIATION

    assert (1, 3, 32, 32) == arrays["input"].shape
    assert np.broadcast_to(expected[None, :, None, None], (1, 3, 32, 32)) == pytest.approx(arrays["input"], abs=1e-5)


def test_the_middle_of_an_image_is_taken(workspace):
    """The shorter side becomes 256 for a crop of 224, as torchvision's transforms do it."""
    image_module = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 420, 3), np.uint8)
    (workspace / "image.png").write_bytes(png(pixels))
    (arrays,) = load_batches([Path("image.png")], model((224, 224)))
    resized = image_module.open(io.BytesIO(png(pixels))).resize((358, 256), image_module.Resampling.BILINEAR)
    crop = np.asarray(resized.crop((67, 16, 291, 240)), np.float32) / 255
    expected = ((crop - np.array(MEAN)) / np.array(DEVIATION)).transpose(2, 0, 1)

    assert 224 == round(256 * CROP_SHARE)
    assert expected == pytest.approx(arrays["input"][0], abs=1e-5)


def test_images_that_are_none_are_refused(workspace, invoke):
    """A file that no reader knows, or that ends too early."""
    pytest.importorskip("PIL", reason="pillow is not installed")
    whole = png(np.zeros((40, 40, 3), np.uint8))
    for name, data in {"text.jpg": b"text", "short.png": whole[:60], "huge.png": png_header_of(10**5)}.items():
        (workspace / name).write_bytes(data)
        result = invoke("verify", SMALL, "--input", name)
        assert (1, 2) == (result.exit_code, len(result.stderr.splitlines())), result.stderr


def png_header_of(side):
    """A PNG that claims to be that large and holds nothing."""
    data = bytearray(png(np.zeros((1, 1, 3), np.uint8)))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_without_pillow_an_image_is_refused(workspace, invoke, monkeypatch):
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    (workspace / "image.png").write_bytes(png(np.zeros((40, 40, 3), np.uint8)))

    assert (
        'Hint: in a checkout of mnbench: pip install ".[images]"'
        in invoke("verify", SMALL, "--input", "image.png").stderr
    )
