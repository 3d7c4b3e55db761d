"""Runs an ONNX model in OpenVINO on an input given as .npy, and saves the first output. Run by `compare.py`."""

import sys

import numpy as np
import openvino

model, image, output = sys.argv[1:]
compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save(output, compiled([np.load(image)])[0])
