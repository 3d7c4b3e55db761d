"""Trained weights: checkpoints, their tensors' names, and how they fit a network."""
