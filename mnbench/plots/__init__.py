"""Plots: Vega-Lite specifications, for files, for the report, and characters for the terminal."""

from typing import Literal, TypeAlias, get_args

PlotKind: TypeAlias = Literal[
    "mult-adds",
    "memory-access",
    "params",
    "accuracy",
    "coco",
    "voc",
    "cityscapes",
    "roofline",
    "devices",
    "layers",
    "distribution",
]
PLOT_KINDS: tuple[PlotKind, ...] = get_args(PlotKind)
