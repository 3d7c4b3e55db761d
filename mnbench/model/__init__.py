"""ONNX models: built from networks, simplified with proof, and read back as layers."""
