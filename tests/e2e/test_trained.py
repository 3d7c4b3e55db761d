"""Trained networks: what PyTorch computes with a checkpoint's weights, our graphs compute."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file
from trained import NETWORKS, SIZES, seeded, torch

from mnbench import families
from mnbench.model.build import build_model
from mnbench.model.pretrained import checkpoint
from mnbench.model.pretrained.checkpoint import open_checkpoint
from mnbench.model.pretrained.fit import fit_checkpoint
from mnbench.model.reference import reference_outputs
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

WITHIN = 1e-4
"""Of the largest difference, as a share of the output's standard deviation."""

BATCH = 3
USUAL_SIZES = ((224, 224), (160, 160), (97, 131))

safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture
def trained(tmp_path):
    """A network of PyTorch by its name, its checkpoint, and our graph's name, α and padding."""

    def make_one(name):
        graph, alpha, words, create = NETWORKS[name]
        torch.manual_seed(0)
        module, path = seeded(create()), tmp_path / "trained.safetensors"
        safetensors.save_file({key: tensor.contiguous() for key, tensor in module.state_dict().items()}, path)
        return module, path, graph, alpha, "same" if words else "torch"

    return make_one


def variant(graph, size, padding="torch"):
    """Our variant for a batch of that size."""
    return Variant(architecture=families.architecture(graph), resolution=size, batch=BATCH, padding=padding)


def images(size):
    """Seeded ones."""
    return np.random.default_rng(1).standard_normal((BATCH, 3, *size)).astype(np.float32)


def difference(module, proto, size):
    """How far our outputs lie from those of PyTorch's network; images have the same first class."""
    with torch.no_grad():
        answer = module(torch.from_numpy(images(size)))
    expected = [tensor.numpy() for tensor in ([answer] if isinstance(answer, torch.Tensor) else answer)]
    results = reference_outputs(proto.SerializeToString(), {"input": images(size)}, name="trained")
    pairs = list(zip(expected, results, strict=True))
    largest = max(float(np.abs(theirs - ours).max() / theirs.std()) for theirs, ours in pairs)
    for theirs, ours in pairs:
        assert theirs.ndim > 2 or (theirs.argmax(1) == ours.argmax(1)).all() or largest > WITHIN
    return largest


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_our_graphs_compute_what_pytorch_computes(name, trained, record_property):
    """Random weights and statistics, at several sizes, with batch normalization folded and as nodes of its own."""
    module, path, graph, alpha, padding = trained(name)
    worst = 0.0
    for size in SIZES.get(name, USUAL_SIZES):
        fitted = fit_checkpoint(open_checkpoint(path), variant(graph, size, padding), alpha=None)
        assert alpha == fitted.variant.alpha
        model = build_model(fitted.variant, pretrained=fitted)
        worst = max(worst, difference(module, model.proto, size))
    stored = build_model(fitted.variant, pretrained=fitted, keep_bn=True)
    worst = max(worst, difference(module, stored.proto, size))
    record_property("difference", worst)
    print(f"{name}: {worst:.1e}")  # noqa: T201  pytest -s

    has_norms = any(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())
    assert has_norms == ("BatchNormalization" in {node.op_type for node in stored.proto.graph.node})
    assert worst < WITHIN


def test_a_converted_pickle_is_the_same_checkpoint(trained, tmp_path):
    """A .pth is refused with one line, and that line makes of it what safetensors would have kept."""
    module, path, *_ = trained("torchvision mobilenet_v2 0.5")
    pickle = tmp_path / "converted.pth"
    torch.save({"state_dict": module.state_dict()}, pickle)
    line = checkpoint.conversion_command(pickle)
    subprocess.run(line.replace("python ", f"{sys.executable} ", 1), shell=True, check=True, timeout=120)  # noqa: S602
    expected, result = load_file(path), load_file(pickle.with_suffix(".safetensors"))

    assert expected.keys() == result.keys()
    assert all(np.array_equal(expected[name], result[name]) for name in expected)


# What would be wrong


def _tensor(proto, name):
    return next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def _without_bias(proto):
    """The squeeze-and-excite gate of one block loses its bias."""
    tensor = _tensor(proto, "bneck4/squeeze_excite/expand/conv.bias")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))


def _swapped(proto):
    """One unit joins its branches the other way round."""
    concat = next(node for node in proto.graph.node if node.name == "stage3.4/concat")
    concat.input[:] = reversed(concat.input)


def _padded(proto):
    """One convolution of stride 2 is padded as TensorFlow pads it."""
    conv = next(node for node in proto.graph.node if node.name == "bottleneck7/depthwise/conv")
    next(entry for entry in conv.attribute if entry.name == "pads").ints[:] = (0, 0, 1, 1)


def _epsilon(proto):
    """Batch normalization has TensorFlow's epsilon."""
    for node in proto.graph.node:
        for entry in node.attribute:
            if entry.name == "epsilon":
                entry.f = 1e-3


MUTATIONS = {
    "a wrong epsilon": ("torchvision mobilenet_v2 0.5", _epsilon),
    "a wrong padding": ("torchvision mobilenet_v2 0.5", _padded),
    "a swapped branch": ("torchvision shufflenet_v2_x0_5", _swapped),
    "a missing bias": ("torchvision mobilenet_v3_large", _without_bias),
}


@pytest.mark.parametrize(("name", "mutate"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_wrong_graph_is_told(name, mutate, trained):
    """One mistake in the graph lifts the difference above what right graphs have."""
    module, path, graph, _, padding = trained(name)
    size = (160, 160)
    fitted = fit_checkpoint(open_checkpoint(path), variant(graph, size, padding), alpha=None)
    proto = to_onnx(build_network(fitted.variant), pretrained=fitted).proto
    right = difference(module, proto, size)
    mutate(proto)
    wrong = difference(module, proto, size)
    print(f"{name}, {mutate.__name__}: {right:.1e}, {wrong:.1e}")  # noqa: T201  pytest -s

    assert right < WITHIN < wrong


def test_swapped_weights_are_told(trained):
    """Two tensors of one shape, each in the other's place, lift the difference too."""
    module, path, graph, *_ = trained("torchvision shufflenet_v2_x0_5")
    size = (160, 160)
    fitted = fit_checkpoint(open_checkpoint(path), variant(graph, size), alpha=None)
    left, right = "stage3.1/left/pointwise/conv.weight", "stage3.1/right/pointwise/conv.weight"
    weights = fitted.weights
    swapped = weights | {left: weights[right], right: weights[left]}

    wrong = to_onnx(build_network(fitted.variant), pretrained=replace(fitted, weights=swapped)).proto
    assert difference(module, wrong, size) > WITHIN


def test_the_shuffle_of_the_paper_is_another_network(trained):
    """Where g does not divide a group's channels, Megvii's weights in the paper's graph compute another thing."""
    module, path, graph, *_ = trained("Megvii ShuffleNetV1 0.5x g8")
    size = (160, 160)
    fitted = fit_checkpoint(open_checkpoint(path), variant(graph, size), alpha=None)
    paper = Variant(
        architecture=fitted.variant.architecture,
        alpha=0.5,
        options={"groups": 8, "unit": "paper"},
        resolution=size,
        batch=BATCH,
    )

    assert (
        difference(
            module,
            to_onnx(build_network(fitted.variant), pretrained=fitted).proto,
            size,
        )
        < WITHIN
    )
    assert difference(module, to_onnx(build_network(paper), pretrained=fitted).proto, size) > WITHIN
