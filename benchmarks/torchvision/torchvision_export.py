"""One of torchvision's networks the usual way: exported, simplified, checked and saved. Run by `compare.py`."""

import argparse

import onnx
import onnxsim
import torch
import torchvision


def main() -> None:
    """Export the model named to the path given, with PyTorch's default exporter."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("path")
    options = parser.parse_args()
    torch.manual_seed(0)
    network = torchvision.models.get_model(options.model).eval()
    torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), options.path, external_data=False, verbose=False)
    simplified, _ = onnxsim.simplify(onnx.load(options.path))
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, options.path)


if __name__ == "__main__":
    main()
