"""Networks as layers with shapes, and what they cost. Pure: neither onnx nor numpy."""
