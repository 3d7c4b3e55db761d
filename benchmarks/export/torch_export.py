"""MobileNet V1 the usual way: a PyTorch module, exported, simplified, checked and saved. Run by `compare.py`."""

import argparse

import onnx
import onnxsim
import torch
from torch import nn


def separable(channels: int, out: int, stride: int) -> list[nn.Module]:
    """A depthwise and a pointwise convolution, each with batch normalization and ReLU6."""
    return [
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels, eps=1e-3),
        nn.ReLU6(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
        nn.ReLU6(),
    ]


def mobilenet_v1() -> nn.Module:
    """Table 1 of the paper at α = 1."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32, eps=1e-3), nn.ReLU6()]
    channels = 32
    for out, stride in [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 2),
        (1024, 1),
    ]:
        layers += separable(channels, out, stride)
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def main() -> None:
    """Export to the path given, with the exporter given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--exporter", choices=["dynamo", "torchscript"], required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = mobilenet_v1().eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 224, 224),),
        options.path,
        dynamo=options.exporter == "dynamo",
        external_data=False,
        verbose=False,
    )
    simplified, _ = onnxsim.simplify(onnx.load(options.path))
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, options.path)


if __name__ == "__main__":
    main()
