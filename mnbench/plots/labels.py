"""Names beside points, each where it lies on nothing else, or left out: Vega's own way of it needs a browser."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

from mnbench.plots.points import Point
from mnbench.plots.scale import Scale

FONT_SIZE = 11
LETTER_WIDTH = 0.56
"""A letter's width in Helvetica, on average, as a share of the font's size; α and digits are no wider."""
MARK_RADIUS = 6
GAP = 2

Axis: TypeAlias = tuple[str, Scale]
Align: TypeAlias = Literal["left", "center", "right"]


class _Box(NamedTuple):
    """Pixels from the plot's left and bottom."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "_Box") -> bool:
        """Whether the two share any of their area."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def place_labels(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    size: tuple[int, int],
    *,
    interval: str | None,
    lines: Sequence[Sequence[Point]] = (),
) -> list[dict[str, Any]]:
    """Place the labels that have room, in order: each with its anchor in the axes' units.

    `lines` go straight from point to point; no name lies on one either.
    """
    at = [(x[1].fraction(point[x[0]]) * size[0], y[1].fraction(point[y[0]]) * size[1]) for point in points]
    taken = [
        _Box(left - MARK_RADIUS, bottom - MARK_RADIUS, left + MARK_RADIUS, bottom + MARK_RADIUS) for left, bottom in at
    ]
    taken += [
        box for point, place in zip(points, at, strict=True) for box in _interval(point, place, x, y, size, interval)
    ]
    for line in lines:
        corners = [(x[1].fraction(point[x[0]]) * size[0], y[1].fraction(point[y[0]]) * size[1]) for point in line]
        taken += [box for pair in pairwise(corners) for box in _along(*pair)]
    named: list[dict[str, Any]] = []
    for point, place in zip(points, at, strict=True):
        width, height = LETTER_WIDTH * FONT_SIZE * len(point["label"]), FONT_SIZE + 1
        for align, box in _candidates(place, width, height):
            inside = box.left >= 0 and box.bottom >= 0 and box.right <= size[0] and box.top <= size[1]
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                edge = {"left": box.left, "center": (box.left + box.right) / 2, "right": box.right}[align]
                middle = (box.bottom + box.top) / 2 / size[1]
                place_of = {x[0]: x[1].value(edge / size[0]), y[0]: y[1].value(middle)}
                named.append(place_of | {"label": point["label"], "align": align})
                break
    return named


def _along(start: tuple[float, float], end: tuple[float, float]) -> Iterator[_Box]:
    """Return a line's boxes: one if it is horizontal or vertical, otherwise a chain of small ones."""
    across, up = end[0] - start[0], end[1] - start[1]
    parts = math.ceil(min(abs(across), abs(up)) / MARK_RADIUS) or 1
    for at in range(parts):
        x = sorted((start[0] + across * at / parts, start[0] + across * (at + 1) / parts))
        y = sorted((start[1] + up * at / parts, start[1] + up * (at + 1) / parts))
        yield _Box(x[0] - GAP, y[0] - GAP, x[1] + GAP, y[1] + GAP)


def _interval(
    point: Point, place: tuple[float, float], x: Axis, y: Axis, size: tuple[int, int], along: str | None
) -> Iterator[_Box]:
    left, bottom = place
    if along == "x":
        yield _Box(
            x[1].fraction(point["low"]) * size[0], bottom - GAP, x[1].fraction(point["high"]) * size[0], bottom + GAP
        )
    elif along == "y":
        yield _Box(
            left - GAP, y[1].fraction(point["low"]) * size[1], left + GAP, y[1].fraction(point["high"]) * size[1]
        )


def _candidates(place: tuple[float, float], width: float, height: float) -> Iterator[tuple[Align, _Box]]:
    """Yield the positions right of the point, left, above, below, and at its corners."""
    x, y = place
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
