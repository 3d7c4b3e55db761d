"""Names beside points, each where it lies on nothing else, or left out: Vega's own label layout needs a browser."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

from mnbench.plots.points import Point
from mnbench.plots.scale import Axis

FONT_SIZE = 11
LETTER_WIDTH = 0.56
"""A letter's width in Helvetica, on average, as a share of the font's size; α and digits are no wider."""
MARK_RADIUS = 6
GAP = 2

Align: TypeAlias = Literal["left", "center", "right"]


class _Box(NamedTuple):
    """Pixels from the plot's left and bottom."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "_Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def place_labels(
    points: Sequence[Point], x: Axis, y: Axis, size: tuple[int, int], *, lines: Sequence[Sequence[Point]] = ()
) -> list[dict[str, Any]]:
    """Place the labels that have room, in order: each with its anchor in the axes' units.

    `lines` go straight from point to point; no name lies on one either.
    """
    width, height = size

    def pixels(point: Point) -> tuple[float, float]:
        return x.fraction(point) * width, y.fraction(point) * height

    marks = [pixels(point) for point in points]
    taken = [_Box(a - MARK_RADIUS, b - MARK_RADIUS, a + MARK_RADIUS, b + MARK_RADIUS) for a, b in marks]
    taken += [box for line in lines for pair in pairwise(map(pixels, line)) for box in _boxes_along(*pair)]
    labels: list[dict[str, Any]] = []
    for point, mark in zip(points, marks, strict=True):
        for align, box in _candidates(mark, LETTER_WIDTH * FONT_SIZE * len(point["label"]), FONT_SIZE + 1):
            inside = box.left >= 0 and box.bottom >= 0 and box.right <= width and box.top <= height
            if inside and not any(map(box.overlaps, taken)):
                taken.append(box)
                edge = {"left": box.left, "center": (box.left + box.right) / 2, "right": box.right}[align]
                middle = (box.bottom + box.top) / 2
                anchor = {x.field: x.scale.value(edge / width), y.field: y.scale.value(middle / height)}
                labels.append(anchor | {"label": point["label"], "align": align})
                break
    return labels


def _boxes_along(start: tuple[float, float], end: tuple[float, float]) -> Iterator[_Box]:
    """Yield the boxes of a line: one if it is horizontal or vertical, otherwise a chain of small ones."""
    across, up = end[0] - start[0], end[1] - start[1]
    parts = math.ceil(min(abs(across), abs(up)) / MARK_RADIUS) or 1
    for at in range(parts):
        x = sorted((start[0] + across * at / parts, start[0] + across * (at + 1) / parts))
        y = sorted((start[1] + up * at / parts, start[1] + up * (at + 1) / parts))
        yield _Box(x[0] - GAP, y[0] - GAP, x[1] + GAP, y[1] + GAP)


def _candidates(mark: tuple[float, float], width: float, height: float) -> Iterator[tuple[Align, _Box]]:
    """Yield the positions right of the point, left, above, below, and at its corners."""
    x, y = mark
    away, near = MARK_RADIUS + GAP, MARK_RADIUS - GAP
    corners: tuple[tuple[Align, float, float], ...] = (
        ("left", x + away, y - height / 2),
        ("right", x - away - width, y - height / 2),
        ("center", x - width / 2, y + away),
        ("center", x - width / 2, y - away - height),
        ("right", x - near - width, y + near),
        ("left", x + near, y - near - height),
        ("left", x + near, y + near),
        ("right", x - near - width, y - near - height),
    )
    for align, left, bottom in corners:
        yield align, _Box(left, bottom, left + width, bottom + height)
