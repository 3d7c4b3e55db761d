"""Checkpoints as each library would save them, of random numbers."""

import math

import numpy as np

from mnbench import families
from mnbench.model.pretrained.layouts import expected_tensors
from mnbench.network.network import build_network
from mnbench.network.variant import Variant

GRAPHS = {
    "v1": ("timm",),
    "v2": ("torchvision", "timm"),
    "v3-large": ("torchvision", "timm"),
    "v3-small": ("torchvision", "timm"),
    "v3-large-minimal": ("torchvision", "timm"),
    "v3-small-minimal": ("torchvision", "timm"),
    "shufflenet-v1": ("Megvii",),
    "shufflenet-v2": ("Megvii", "torchvision"),
}


def variant(name, alpha=1.0, *, classes=None, padding="torch", **options):
    """Of the smallest size: weights do not depend on it."""
    table = families.architecture(name)
    return Variant(
        architecture=table, alpha=alpha, resolution=(32, 32), classes=classes, padding=padding, options=options
    )


def naming_of(name, whose):
    """The library's names for the graph."""
    return next(
        checkpoint_layout
        for checkpoint_layout in families.architecture(name).checkpoints
        if checkpoint_layout.name == whose
    )


def tensors(name, whose, alpha=1.0, *, seed=0, counters=True, **options):
    """What that library's checkpoint of the graph would hold."""
    naming = naming_of(name, whose)
    chosen = variant(name, alpha, **naming.options, **options)
    random = np.random.default_rng(seed)
    entries = {}
    for expected in expected_tensors(naming, build_network(chosen).layers):
        reach = math.prod(expected.shape[1:]) ** -0.5 if len(expected.shape) > 1 else 0.1
        middle = 1.0 if expected.tensor.endswith((".variance", ".gamma")) else 0.0
        entries[expected.name] = (middle + random.uniform(-reach, reach, expected.shape)).astype(np.float32)
        if expected.tensor.endswith(".mean") and counters:
            entries[expected.name.replace("running_mean", "num_batches_tracked")] = np.array(7, np.int64)
    return entries
