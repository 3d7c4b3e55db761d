"""Files of weights: read by name, each tensor once, and refused in one line where anything is wrong."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
import sys
from contextlib import suppress

import msgspec
import numpy as np
import onnx
import pytest
from checkpoints import GRAPHS, naming_of, tensors, variant
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from mnbench.errors import MnbenchError
from mnbench.families import family_classes
from mnbench.model.pretrained.checkpoint import open_checkpoint
from mnbench.model.pretrained.fit import fit_checkpoint
from mnbench.model.pretrained.layouts import expected_tensors
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network


@pytest.fixture
def saved(workspace):
    """Tensors as a file."""

    def save(held, name="weights.safetensors"):
        path = workspace / name
        save_file(held, path)
        return path

    return save


# What fits


@pytest.mark.parametrize("counters", [True, False], ids=["counters", "none"])
@pytest.mark.parametrize(("name", "whose"), [(name, item) for name, every in GRAPHS.items() for item in every])
def test_each_tensor_becomes_the_one_that_its_name_says(name, whose, counters, saved):
    """Every weight of the graph comes from the checkpoint, and every tensor but training's counters is used once."""
    held = tensors(name, whose, counters=counters)
    fitted = fit_checkpoint(open_checkpoint(saved(held)), variant(name), alpha=None)
    stored = {key for key in held if not key.endswith("num_batches_tracked")}
    numbers = fitted.weights

    assert 1.0 == fitted.variant.alpha
    assert fitted.source.endswith(f"names of {whose}")
    assert len(stored) == len(numbers)
    assert sorted(held[key].tobytes() for key in stored) == sorted(number.tobytes() for number in numbers.values())
    graph = to_onnx(build_network(fitted.variant), pretrained=fitted).proto.graph
    initializers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert [] == [key for key, array in numbers.items() if not np.array_equal(array, initializers[key])]


@pytest.mark.parametrize(("name", "alpha"), [("v1", 0.25), ("v2", 0.35), ("v2", 1.3), ("v3-large", 0.75), ("v2", 0.83)])
def test_alpha_is_read_from_the_shapes(name, alpha, saved):
    """Of published width multipliers and of others; the widths are the checkpoint's."""
    whose = GRAPHS[name][-1]
    fitted = fit_checkpoint(open_checkpoint(saved(tensors(name, whose, alpha))), variant(name), alpha=None)
    shapes = {
        expected.name: expected.shape
        for expected in expected_tensors(naming_of(name, whose), build_network(fitted.variant).layers)
    }

    assert {name: array.shape for name, array in tensors(name, whose, alpha, counters=False).items()} == shapes


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
def test_groups_are_read_from_the_shapes(groups, saved):
    """ShuffleNet V1's, together with its α."""
    fitted = fit_checkpoint(
        open_checkpoint(saved(tensors("shufflenet-v1", "Megvii", 0.5, groups=groups))),
        variant("shufflenet-v1"),
        alpha=None,
    )

    assert (groups, 0.5, "megvii") == (
        fitted.variant.options["groups"],
        fitted.variant.alpha,
        fitted.variant.options["unit"],
    )


def test_classes_are_read_from_the_shapes(saved):
    """A checkpoint for ten classes makes a graph for ten."""
    assert (
        10
        == fit_checkpoint(
            open_checkpoint(saved(tensors("v2", "timm", classes=10))), variant("v2"), alpha=None
        ).variant.classes
    )


@pytest.mark.parametrize(
    ("name", "whose", "padding", "epsilon"),
    [
        ("v1", "timm", "torch", 1e-5),
        ("v2", "torchvision", "torch", 1e-5),
        ("v3-large", "torchvision", "torch", 1e-3),
        ("v3-large", "timm", "torch", 1e-5),
        ("v3-large", "timm", "same", 1e-3),
        ("shufflenet-v1", "Megvii", "torch", 1e-5),
    ],
)
def test_epsilon_is_that_of_the_library(name, whose, padding, epsilon, saved):
    """Names tell whose weights they are, and timm's with TensorFlow's padding have TensorFlow's epsilon."""
    fitted = fit_checkpoint(open_checkpoint(saved(tensors(name, whose))), variant(name, padding=padding), alpha=None)
    proto = to_onnx(build_network(fitted.variant), pretrained=fitted).proto
    attributes = [
        attribute_proto
        for node in proto.graph.node
        for attribute_proto in node.attribute
        if attribute_proto.name == "epsilon"
    ]

    assert {np.float32(epsilon)} == {np.float32(attribute_proto.f) for attribute_proto in attributes}


def test_build_makes_the_same_of_every_file(invoke, workspace, saved):
    """fp32, fp16 and names behind `module.` give the same graph, which tells whose weights it has."""
    held = {key: array.astype(np.float16) for key, array in tensors("v2", "torchvision", 0.35, counters=False).items()}
    wide = {key: array.astype(np.float32) for key, array in held.items()}
    saved(wide, "a.safetensors")
    saved(held, "b.safetensors")
    saved({f"module.{key}": array for key, array in wide.items()}, "c.safetensors")
    graphs = []
    for name in ("a.safetensors", "b.safetensors", "c.safetensors"):
        result = invoke("build", "v2", "--weights", name, "--res", "32", "--format", "json")
        assert (0, "v2-a0.35-r32") == (result.exit_code, json.loads(result.stdout)["variant"])
        graphs.append(onnx.load(workspace / "v2-a0.35-r32.onnx"))

    assert 1 == len({graph.graph.SerializeToString(deterministic=True) for graph in graphs})
    props = {entry.key: entry.value for entry in graphs[0].metadata_props}
    assert props["weights"].startswith("a.safetensors, sha256 ")
    assert "seed" not in props


@pytest.mark.slow
def test_one_checkpoint_at_several_sizes_and_precisions(invoke, workspace, saved):
    """`--res` and `--precision` work with weights as without."""
    path = saved(tensors("v3-small", "timm"))
    result = invoke("build", "v3-small", "--weights", path, "--res", "32,64", "--precision", "fp16", "--keep-bn")

    assert 0 == result.exit_code, result.stderr
    assert {"v3-small-a1-r32-fp16.onnx", "v3-small-a1-r64-fp16.onnx"} <= {item.name for item in workspace.iterdir()}


@pytest.mark.parametrize(
    "words",
    [
        ("v1", "v2"),
        ("v2", "--alpha", "1,0.5"),
        ("model.onnx",),
    ],
)
def test_weights_are_of_one_graph(words, invoke, saved):
    """Several graphs or several α with one file of weights are a usage error."""
    assert 2 == invoke("build", *words, "--weights", saved(tensors("v2", "timm"))).exit_code


def test_namings_name_every_layer():
    """Every built-in graph of a family with names has them for all of its tensors, no name twice."""
    for name, every in GRAPHS.items():
        for whose in every:
            naming = naming_of(name, whose)
            names = [expected.name for expected in expected_tensors(naming, build_network(variant(name)).layers)]
            assert names
            assert len(names) == len(set(names))
    for family in family_classes().values():
        libraries = [layout.name for layout in family.layouts]
        assert len(libraries) == len(set(libraries))


# What does not fit


def refused(invoke, workspace, *words):
    """The error of a build that fails in one line with a hint, and writes nothing."""
    before = sorted(workspace.iterdir())
    result = invoke("build", *words)
    lines = result.stderr.splitlines()

    assert (1, "") == (result.exit_code, result.stdout)
    assert ["Error", "Hint"] == [line.partition(":")[0] for line in lines]
    assert before == sorted(workspace.iterdir())
    return result.stderr


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda held: held.pop("features.3.conv.2.weight"), "missing: features.3.conv.2.weight"),
        (lambda held: held.update({"ema.weight": np.zeros(3, np.float32)}), "extra: ema.weight"),
        (
            lambda held: held.update({"features.0.0.weight": np.zeros((32, 3, 5, 5), np.float32)}),
            "misshapen: features.0.0.weight (32, 3, 5, 5), not (32, 3, 3, 3)",
        ),
        (lambda held: held.pop("classifier.1.bias"), "missing: classifier.1.bias"),
        (lambda held: held.pop("features.0.1.running_var"), "missing: features.0.1.running_var"),
    ],
)
def test_what_is_missing_extra_or_misshapen_is_named(change, expected, invoke, workspace, saved):
    """By its own name, whatever it is."""
    held = tensors("v2", "torchvision")
    change(held)

    assert expected in refused(invoke, workspace, "v2", "--weights", saved(held))


def test_a_wrong_alpha_is_told(invoke, workspace, saved):
    """An α that the weights do not have is refused, and the one that they have is told."""
    error = refused(invoke, workspace, "v2", "--weights", saved(tensors("v2", "timm", 0.5)), "--alpha", "0.75")

    assert "is not v2 at alpha 0.75 as timm has it: misshapen: " in error
    assert "conv_stem.weight (16, 3, 3, 3), not (24, 3, 3, 3)" in error
    assert "they fit alpha 0.5: leave --alpha out" in error


def test_another_graphs_weights_are_told(invoke, workspace, saved):
    """Of another family with the same library's names, of another library, and of another unit."""
    timm = saved(tensors("v2", "timm"), "timm.safetensors")
    error = refused(invoke, workspace, "v1", "--weights", timm)
    assert "missing: blocks.3.4.conv_dw.weight" in error
    assert "extra: blocks.1.0.bn3.bias" in error
    assert "misshapen: conv_stem.weight" in error
    unknown = refused(invoke, workspace, "shufflenet-v2", "--weights", timm)
    assert "no known names of shufflenet-v2: " in unknown
    assert "Megvii's (as first_conv.0.weight) or torchvision's (as conv1.0.weight)" in unknown
    other = saved(tensors("shufflenet-v2", "torchvision"), "torchvision.safetensors")
    assert ", not paper" in refused(invoke, workspace, "shufflenet-v2", "--weights", other, "--unit", "paper")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pkl", ".bin", ".ckpt", ".tar"])
def test_pickles_are_refused_unread(suffix, invoke, workspace):
    """Whatever they hold, with the line that converts them."""
    error = refused(invoke, workspace, "v2", "--weights", f"trained{suffix}")

    assert f"trained{suffix}: is a pickle" in error
    assert "weights_only=True" in error
    assert "'trained.safetensors')" in error


# Hostile files

HELD = tensors("v2", "torchvision", 0.35, counters=False)


def header(entries, data=b""):
    """A .safetensors file with that header."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


def named_twice():
    """Two tensors of one name, on the same bytes."""
    item = b'"features.0.0.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    return header(b"{" + item + b"," + item + b"}", bytes(4))


NAN = HELD | {"features.0.1.bias": np.full_like(HELD["features.0.1.bias"], np.nan)}
NEGATIVE = HELD | {"features.0.1.running_var": -HELD["features.0.1.running_var"]}
INTEGERS = HELD | {"features.0.1.bias": np.zeros_like(HELD["features.0.1.bias"], np.int32)}
HUGE = {"features.0.0.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}

HOSTILE = {
    "empty": (b"", "is damaged"),
    "no header": (b"\0" * 8, "is damaged"),
    "short": (b"\xff\0\0\0\0\0\0\0{", "is damaged"),
    "a header too large": (b"\xff" * 8, "its header claims 18,446,744,073,709,551,615 bytes"),
    "a large header": ((2**26).to_bytes(8, "little") + b" " * 100, "its header claims 67,108,864 bytes"),
    "deep": (header(b"[" * 10**6), "is damaged"),
    "no dictionary": (header(b"[]"), "is damaged"),
    "names twice": (named_twice(), "features.0.0.weight is there 2 times"),
    "more than there is": (header(HUGE), "is damaged"),
    "escapes": (header({"\x1b[31m\n" * 50: ONE}, bytes(4)), r"\x1b[31m \x1b[31m"),
    "a pickle by another name": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix", "is damaged"),
}


@pytest.mark.parametrize(("data", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(data, expected, invoke, workspace):
    """In one line that says what is wrong."""
    path = workspace / "weights.safetensors"
    path.write_bytes(data)

    assert expected in refused(invoke, workspace, "v2", "--weights", path)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (NAN, "not finite: features.0.1.bias"),
        (NEGATIVE, "a negative variance: features.0.1.running_var"),
        (INTEGERS, "other numbers than float32 and float16: features.0.1.bias"),
    ],
    ids=["NaN", "negative", "integers"],
)
def test_numbers_that_are_none_are_named(held, expected, invoke, workspace, saved):
    """What is not finite, what is no variance, and what fp32 does not hold."""
    assert expected in refused(invoke, workspace, "v2", "--weights", saved(held))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999999])
def test_truncated_files_are_refused(share, invoke, workspace, saved):
    """Wherever they end."""
    path = saved(HELD)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert "weights" in refused(invoke, workspace, "v2", "--weights", path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing.safetensors", "cannot be read"),
        (".", "is not a .safetensors file"),
        ("weights.npz", "safetensors.numpy.save_file(dict(np.load('weights.npz')), 'weights.safetensors')"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(name, expected, invoke, workspace):
    """Missing ones, folders and others; the hint says how to convert them."""
    assert expected in refused(invoke, workspace, "v2", "--weights", name)


def test_the_hint_converts_an_npz(invoke, workspace):
    """The line in the error makes a file that `--weights` takes."""
    np.savez(workspace / "weights.npz", **HELD)
    line = invoke("build", "v2", "--weights", "weights.npz").stderr.partition("convert the weights: ")[2]
    subprocess.run(line.replace("python ", f"{sys.executable} ", 1), shell=True, check=True, timeout=60)  # noqa: S602

    assert HELD.keys() == load_file(workspace / "weights.safetensors").keys()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_is_a_traceback(data, saved):
    """A file with bytes changed is refused with an error of ours, or it is read as it stands."""
    path = saved(HELD)
    changed = bytearray(path.read_bytes())
    last = len(changed) - 1
    places = st.integers(0, 4000) | st.integers(0, last) | st.integers(last - 4000, last)
    for at in data.draw(st.lists(places, min_size=1, max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    with suppress(MnbenchError):
        fit_checkpoint(open_checkpoint(path), variant("v2"), alpha=None)


def test_a_file_reads_back_as_it_was(saved):
    """What a test saves is what the library reads."""
    assert HELD.keys() == load_file(saved(HELD)).keys()


def test_own_tables_have_names_too(mine, saved):
    """A graph of the user's own, of a family with names and with as many blocks, takes weights as the built-in does."""
    assert mine.is_file()
    fitted = fit_checkpoint(open_checkpoint(saved(tensors("v1", "timm"))), variant("mine"), alpha=None)

    assert "mine" == fitted.variant.architecture.name
    assert 1e-5 == msgspec.to_builtins(fitted.variant.architecture)["batch_norm_epsilon"]
