"""One of torchvision's networks the usual way: exported, simplified, checked and saved. Run by `compare.py`."""

import argparse

import onnx
import onnxsim
import torch

try:
    import torchvision
except (
    RuntimeError
):  # built for CUDA, its compiled part cannot be loaded beside a PyTorch for CPUs: no network needs it
    for operator in ("nms", "qnms"):
        signature = f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(*signature)
    import torchvision

IMAGES = 8
"""Batch normalization takes its statistics from these."""


def main() -> None:
    """Export the model named to the path given, with PyTorch's default exporter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("path")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = moved(torchvision.models.get_model(options.model)).eval()
    torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), options.path, external_data=False, verbose=False)
    simplified, _ = onnxsim.simplify(onnx.load(options.path))
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, options.path)


def moved(network: torch.nn.Module) -> torch.nn.Module:
    """With biases and statistics such as training leaves behind.

    An untrained network's biases are zeros and its batch normalizations the identity: onnxsim folds them into
    convolutions without bias, which are up to a percent faster. No trained network has those.
    """
    for module in network.modules():
        if isinstance(getattr(module, "bias", None), torch.nn.Parameter):
            torch.nn.init.uniform_(module.bias, -0.25, 0.25)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(IMAGES, 3, 224, 224))
    return network


if __name__ == "__main__":
    main()
