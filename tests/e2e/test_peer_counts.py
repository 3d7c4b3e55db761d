"""Our counts are those of PyTorch's networks, as integers: at the usual size and at two odd ones."""

import re
from functools import partial

import pytest
from trained import NETWORKS, nn, torch

from mnbench import families
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

model_provider = pytest.importorskip("pytorchcv.model_provider", reason="pytorchcv is not installed: make torch")


def for_any_size(name):
    """A network of pytorchcv, which pools 7 × 7 pixels, with a pooling of whatever there is."""
    network = model_provider.get_model(name)
    network.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return network


PYTORCHCV = {
    f"pytorchcv {name}": (graph, 1, (), partial(for_any_size, name))
    for name, graph in {
        "resnet50": "resnet50",
        "proxylessnas_mobile": "proxylessnas-mobile",
        "nasnet_4a1056": "nasnet-mobile",
        "condensenet74_c8_g8": "condensenet-c8",
        "igcv3_w1": "igcv3",
    }.items()
}
OPTIONS = {
    **{name: {"unit": "torchvision"} for name in NETWORKS if name.startswith("torchvision shufflenet")},
    **{name: {"unit": "megvii"} for name in NETWORKS if name.startswith("Megvii ShuffleNetV2")},
    "Megvii ShuffleNetV1 0.5x g3": {"unit": "megvii", "groups": 3},
    "Megvii ShuffleNetV1 1.0x g3": {"unit": "megvii", "groups": 3},
    "Megvii ShuffleNetV1 0.5x g8": {"unit": "megvii", "groups": 8},
    "Megvii ShuffleNetV1 1.0x g8": {"unit": "megvii", "groups": 8},
    "torchvision ssdlite320_mobilenet_v3_large": {"head": "ssdlite", "design": "torchvision", "tail": "halved"},
    "torchvision lraspp_mobilenet_v3_large": {"head": "lraspp", "design": "torchvision"},
    "torchvision deeplabv3_mobilenet_v3_large": {"head": "deeplabv3", "design": "torchvision"},
}
USUAL_SIZES = ((224, 224), (97, 131), (225, 193))
SIZES = {
    "torchvision alexnet": ((224, 224), (239, 249), (225, 227)),
    "torchvision vgg16": ((224, 224), (231, 257), (225, 239)),
    "torchvision inception_v3": ((299, 299), (97, 131), (225, 193)),
    "timm legacy_xception": ((299, 299), (97, 131), (225, 193)),
    "pytorchcv nasnet_4a1056": ((224, 224), (97, 129), (225, 193)),
    "torchvision ssdlite320_mobilenet_v3_large": ((320, 320), (257, 331), (225, 193)),
    "torchvision lraspp_mobilenet_v3_large": ((520, 520), (97, 131), (225, 193)),
    "torchvision deeplabv3_mobilenet_v3_large": ((520, 520), (97, 131), (225, 193)),
}


CUT = re.compile(r"features\.(stem2_unit|stage[23]\.unit1)\.comb\d_(left|right)\.conv1\.")
"""Convolutions of pytorchcv's NASNet that compute a row and a column more, which are cut off behind them."""


def count(module, size):
    """The parameters, and the multiply-adds of convolutions and fully connected layers, without what is cut off."""
    mult_adds = 0

    def add(layer, _inputs, output, *, is_cut):
        nonlocal mult_adds
        mult_adds += (output[..., 1:, 1:] if is_cut else output).numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(partial(add, is_cut=bool(CUT.match(name))))
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    module(torch.empty(1, 3, *size, device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(parameter.numel() for parameter in module.parameters()), mult_adds


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, *PYTORCHCV])
def test_counts_are_those_of_pytorch(name):
    """Tensors on the device `meta` have shapes alone, so this takes a moment at any size."""
    graph, alpha, words, create = (NETWORKS | PYTORCHCV)[name]
    with torch.device("meta"):
        module = create().eval()
    for size in SIZES.get(name, USUAL_SIZES):
        cost = total_cost(
            build_network(
                Variant(
                    architecture=families.architecture(graph),
                    alpha=alpha,
                    resolution=size,
                    options=OPTIONS.get(name, {}),
                    padding="same" if words else "torch",
                )
            ).layers
        )
        assert (cost.params, cost.mult_adds) == count(module, size), size
