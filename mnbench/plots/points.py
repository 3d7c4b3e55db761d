"""Records as the points of a plot."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, TypeAlias

from mnbench.families.published_accuracy import family_name
from mnbench.network.architecture import METRICS
from mnbench.network.row import Row, row_labels
from mnbench.network.variant import format_alpha, format_resolution
from mnbench.plots.scale import Axis
from mnbench.plots.theme import FAMILIES, SHAPES, Theme
from mnbench.results.columns import COLUMNS, published_percent, record_accuracy
from mnbench.results.record import Record
from mnbench.tables.table import ABSENT
from mnbench.text import printable
from mnbench.units import to_billions, to_millions, to_milliseconds

LATENCY = ("latency", "latency", "ms")
SCATTER_AXES = {
    "mult-adds": (("mult_adds", "Mult-Adds", "millions"), LATENCY),
    "memory-access": (("memory_access_bytes", "memory access", "MB"), LATENCY),
    "params": (("params", "params", "millions"), LATENCY),
    "accuracy": (LATENCY, ("top1", f"published {METRICS['top1']}", "%")),
    "coco": (LATENCY, ("coco_map", f"published {METRICS['coco_map']}", "%")),
    "voc": (LATENCY, ("voc_miou", f"published {METRICS['voc_miou']}", "%")),
    "cityscapes": (LATENCY, ("cityscapes_miou", f"published {METRICS['cityscapes_miou']}", "%")),
    "roofline": (("intensity", "Mult-Adds per byte that must move", ""), ("rate", "Mult-Adds a second", "billions")),
}
"""The axes of each kind of plot: the points' field, what it is, and its unit."""

Point: TypeAlias = dict[str, Any]

ACCURACY_KINDS = {kind: axes[1][0] for kind, axes in SCATTER_AXES.items() if axes[1][0] in METRICS}
"""The metric of each kind of plot that shows one."""

MAX_DETAILED_POINTS = 400
"""With more points, intervals, names and tooltips would only blur a plot."""

MAX_DRAWN_POINTS = 4000
"""Marks of a plot: more would hide each other, and make the page large."""

MAX_NAME_LENGTH = 80
DIGITS = 8


def plot_name(name: str, length: int = MAX_NAME_LENGTH) -> str:
    """Return a name as a plot shows it: cut if it is long, and then with a digest, so that names stay different."""
    if len(name) <= length:
        return printable(name)
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:DIGITS]
    return f"{printable(name[: length - DIGITS - 2])}… {digest}"


def plot_labels(rows: Iterable[Row]) -> dict[Row, str]:
    """Return the label of each row as plots show it."""
    return {row: plot_name(label) for row, label in row_labels(rows).items()}


def make_points(records: Sequence[Record], labels: Mapping[Row, str], fields: Sequence[str]) -> list[Point]:
    """Return a point for each measured record that has these fields, in the axes' units.

    Few points have all fields and a label, which for the first of a graph is its name. Of many, only what is drawn is
    computed.
    """
    measured = [record for record in records if record.latency_ns]
    drawn = [record for record in measured if all(FIELDS[field](record) is not None for field in fields)]
    if len(drawn) > MAX_DETAILED_POINTS:
        ends = ["low", "high"] if "latency" in fields else []
        return [_point(record, labels, [*fields, *ends]) for record in drawn]
    count = Counter(_graph(record, labels) for record in measured)
    first = {_graph(record, labels): record.id for record in reversed(measured)}
    return [_label(_point(record, labels, FIELDS), count, first) for record in drawn]


def _point(record: Record, labels: Mapping[Row, str], fields: Iterable[str]) -> Point:
    return {
        "record": record,
        "variant": labels[record.row],
        "graph": _graph(record, labels),
        "doubted": bool(record.issues) and "!" in COLUMNS["latency_ns"].text(record),
        **{field: FIELDS[field](record) for field in fields},
    }


def _label(point: Point, count: Mapping[str, int], first_of: Mapping[str, str]) -> Point:
    record, graph = point["record"], point["graph"]
    first = first_of[graph] == record.id
    names = [graph] * first + [_short(record)] * (count[graph] > 1)
    imprecise = ["≈"] * ("≈" in COLUMNS["latency_ns"].text(record))
    return point | {"label": " ".join([*imprecise, *names, *["!"] * point["doubted"]]), "first": first}


def _latency_ms(record: Record) -> float:
    return to_milliseconds(record.latency_ns.median) if record.latency_ns else math.nan


def _end_ms(end: int) -> Callable[[Record], float]:
    return lambda record: to_milliseconds(record.latency_ns.interval[end]) if record.latency_ns else math.nan


def _intensity(record: Record) -> float | None:
    """Return the Mult-Adds per byte that must move."""
    moved_bytes = record.roofline.moved_bytes if record.roofline else None
    return record.mult_adds / moved_bytes if record.mult_adds and moved_bytes else None


def _millions(count: int | None) -> float | None:
    return None if count is None else to_millions(count)


FIELDS: Mapping[str, Callable[[Record], float | None]] = {
    "latency": _latency_ms,
    "low": _end_ms(0),
    "high": _end_ms(1),
    "mult_adds": lambda record: _millions(record.mult_adds),
    "memory_access_bytes": lambda record: _millions(record.memory_access_bytes),
    "params": lambda record: to_millions(record.params),
    **{metric: partial(published_percent, metric=metric) for metric in METRICS},
    "intensity": _intensity,
    "rate": lambda record: record.mult_adds and to_billions(record.mult_adds) / (_latency_ms(record) / 1e3),
}
"""The numbers of a measured record's point, in the axes' units."""


def add_tooltip(point: Point) -> Point:
    """Return the point with its tooltip instead of its record."""
    record: Record = point["record"]
    accuracy = record_accuracy(record)
    tip = {
        "": point["variant"],
        "latency": f"{COLUMNS['latency_ns'].text(record)} ms",
        "interval": f"{COLUMNS['interval_ns'].text(record)} ms",
        "Mult-Adds": f"{COLUMNS['mult_adds'].text(record)} M",
        "memory access": f"{COLUMNS['memory_access_bytes'].text(record)} MB",
        "params": f"{COLUMNS['params'].text(record)} M",
        METRICS[accuracy.metric] if accuracy else "accuracy": (
            f"{accuracy.percent:g} % ({accuracy.source})" if accuracy else ABSENT
        ),
        "issues": COLUMNS["issues"].text(record),
    }
    return {name: value for name, value in point.items() if name != "record"} | {"tip": tip}


def _graph(record: Record, labels: Mapping[Row, str]) -> str:
    return plot_name(record.architecture) if record.architecture else labels[record.row]


def _short(record: Record) -> str:
    """Return a short label: α, resolution and other parts of the variant's name: `0.75-160`, `1-224-int8`."""
    if record.alpha is None or not record.resolution:
        return plot_name(record.variant)
    size = format_resolution(record.resolution)
    head, _, remainder = record.variant.partition(f"-a{format_alpha(record.alpha)}-r{size}")
    options = head.removeprefix(record.architecture or "").lstrip("-")
    return plot_name(f"{options + ' ' if options else ''}{format_alpha(record.alpha)}-{size}{remainder}")


def assign_styles(records: Sequence[Record], labels: Mapping[Row, str], theme: Theme) -> dict[str, tuple[str, str]]:
    """Assign each graph its family's colour, and a shape that distinguishes it within the family."""
    graphs_by_family: dict[str, set[str]] = {name: set() for name in FAMILIES}
    for architecture, graph in dict.fromkeys((record.architecture, _graph(record, labels)) for record in records):
        graphs_by_family.setdefault(family_name(architecture), set()).add(graph)
    return {
        graph: (theme.family_color(name), SHAPES[at % len(SHAPES)])
        for name, graphs in graphs_by_family.items()
        for at, graph in enumerate(sorted(graphs))
    }


def decimate(points: Sequence[Point], x: Axis, y: Axis, cells: int = 250) -> list[Point]:
    """Keep one of the points of a graph that would hide each other: those in one cell of a fine grid.

    The grid becomes coarser until a page can draw what is left.
    """
    point_by_cell: dict[tuple[str, int, int], Point] = {}
    for point in points:
        cell = round(x.fraction(point) * cells), round(y.fraction(point) * cells)
        point_by_cell.setdefault((point["graph"], *cell), point)
    if len(point_by_cell) > MAX_DRAWN_POINTS and cells > 1:
        return decimate(list(point_by_cell.values()), x, y, cells // 2)
    return list(point_by_cell.values())


def pareto_front(points: Sequence[Point], metric: str) -> list[Point]:
    """Return the Pareto front, fastest first: each faster point is less accurate."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point["latency"], -point[metric])):
        if not best or point[metric] > best[-1][metric]:
            best.append(point)
    return best
