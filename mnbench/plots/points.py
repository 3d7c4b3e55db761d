"""Records as the points of a plot."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

from mnbench.families.published_accuracy import family_name
from mnbench.network.row import Row, row_labels
from mnbench.network.variant import format_alpha, format_resolution
from mnbench.plots.scale import Axis
from mnbench.plots.theme import FAMILIES, SHAPES, Theme
from mnbench.results.columns import COLUMNS, record_accuracy
from mnbench.results.record import Record
from mnbench.tables.table import ABSENT
from mnbench.text import printable
from mnbench.units import to_billions, to_millions, to_milliseconds

LATENCY = ("latency", "latency", "ms")
SCATTER_AXES = {
    "mult-adds": (("mult_adds", "Mult-Adds", "millions"), LATENCY),
    "memory-access": (("memory_access_bytes", "memory access", "MB"), LATENCY),
    "params": (("params", "params", "millions"), LATENCY),
    "accuracy": (LATENCY, ("top1", "published ImageNet top-1 accuracy", "%")),
    "roofline": (("intensity", "Mult-Adds per byte that must move", ""), ("rate", "Mult-Adds a second", "billions")),
}
"""The axes of each kind of plot: the points' field, what it is, and its unit."""

Point: TypeAlias = dict[str, Any]

MAX_DETAILED_POINTS = 400
"""With more points, intervals, names and tooltips would only blur a plot."""

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


def make_points(records: Sequence[Record], all_records: Sequence[Record] = ()) -> list[Point]:
    """Return a point per measured record, in the axes' units; the first of a graph is labelled with its name.

    `all_records` are those of other panels too: a row has one name in all of them.
    """
    labels = plot_labels(record.row for record in (*records, *all_records))
    measured = [record for record in records if record.latency_ns]
    count = Counter(_graph(record, labels) for record in measured)
    first = {_graph(record, labels): record.id for record in reversed(measured)}
    return [_point(record, labels, count, first) for record in measured]


def _point(record: Record, labels: Mapping[Row, str], count: Mapping[str, int], first_of: Mapping[str, str]) -> Point:
    latency, accuracy, roofline = record.latency_ns, record_accuracy(record), record.roofline
    assert latency
    graph, mult_adds = _graph(record, labels), record.mult_adds
    first = first_of[graph] == record.id
    low, high = latency.interval
    marks = COLUMNS["latency_ns"].text(record)
    names = [graph] * first + [_short(record)] * (count[graph] > 1)
    return {
        "record": record,
        "variant": labels[record.row],
        "graph": graph,
        "label": " ".join(["≈"] * ("≈" in marks) + names + ["!"] * ("!" in marks)),
        "first": first,
        "doubted": "!" in marks,
        "latency": to_milliseconds(latency.median),
        "low": to_milliseconds(low),
        "high": to_milliseconds(high),
        "mult_adds": _millions(mult_adds),
        "memory_access_bytes": _millions(record.memory_access_bytes),
        "params": to_millions(record.params),
        "top1": accuracy.top1 if accuracy else None,
        "intensity": mult_adds / roofline.moved_bytes if mult_adds and roofline and roofline.moved_bytes else None,
        "rate": mult_adds and to_billions(mult_adds) / (to_milliseconds(latency.median) / 1e3),
    }


def _millions(count: int | None) -> float | None:
    return None if count is None else to_millions(count)


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
        "top-1": f"{accuracy.top1:g} % ({accuracy.source})" if accuracy else ABSENT,
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


def assign_styles(records: Sequence[Record], theme: Theme) -> dict[str, tuple[str, str]]:
    """Assign each graph its family's colour, and a shape that distinguishes it within the family."""
    labels = plot_labels(record.row for record in records)
    graphs_by_family: dict[str, set[str]] = {name: set() for name in FAMILIES}
    for record in records:
        graphs_by_family.setdefault(family_name(record.architecture), set()).add(_graph(record, labels))
    return {
        graph: (theme.family_color(name), SHAPES[at % len(SHAPES)])
        for name, graphs in graphs_by_family.items()
        for at, graph in enumerate(sorted(graphs))
    }


def decimate(points: Sequence[Point], x: Axis, y: Axis, cells: int = 250) -> list[Point]:
    """Keep one of the points of a graph that would hide each other: those in one cell of a fine grid."""
    point_by_cell: dict[tuple[str, int, int], Point] = {}
    for point in points:
        cell = round(x.fraction(point) * cells), round(y.fraction(point) * cells)
        point_by_cell.setdefault((point["graph"], *cell), point)
    return list(point_by_cell.values())


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front, fastest first: each faster point is less accurate."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point["latency"], -point["top1"])):
        if not best or point["top1"] > best[-1]["top1"]:
            best.append(point)
    return best
