"""A small variant of every built-in graph: α 0.25 at 96 × 96 pixels, or what its table allows."""

from mnbench import families
from mnbench.network.variant import Variant
from mnbench.workspace import table_paths

NAMES = sorted(table_paths("graphs"))
SCALABLE = [name for name in NAMES if families.architecture(name).has_width_rule]
FIXED = [name for name in NAMES if name not in SCALABLE]
"""At α = 1 alone."""

HEAVY = ("alexnet-torchvision", "vgg16")
"""Whose fully connected layers have 58 and 124 million weights at any resolution."""

SMALL_SIZES = {
    "alexnet": (67, 67),
    "alexnet-torchvision": (224, 224),
    "inception-v3": (139, 139),
    "vgg16": (224, 224),
}
"""Where 96 × 96 pixels are too few."""


def small_variant(name, **fields):
    """The graph's small variant with these fields."""
    table = families.architecture(name)
    alpha = 0.25 if table.has_width_rule else 1.0
    return Variant(architecture=table, alpha=alpha, resolution=SMALL_SIZES.get(name, (96, 96)), **fields)
