"""Latency against a cost, published accuracy against latency, and the roofline."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise, zip_longest
from typing import Any, TypeAlias

from mnbench.network.architecture import METRICS
from mnbench.plots.labels import FONT_SIZE, place_labels
from mnbench.plots.points import (
    ACCURACY_KINDS,
    MAX_DETAILED_POINTS,
    SCATTER_AXES,
    Point,
    add_tooltip,
    assign_styles,
    decimate,
    make_points,
    pareto_front,
    plot_labels,
)
from mnbench.plots.scale import Axis, fit_scale
from mnbench.plots.theme import Theme
from mnbench.results.record import Record, RooflineBound
from mnbench.units import to_billions

Spec: TypeAlias = dict[str, Any]
Sizes: TypeAlias = Sequence[tuple[int, int]]
"""Of the plot in pixels: the one it has, or, from narrow to wide, those that a page may give it."""

COLOR: Spec = {"field": "color", "type": "nominal", "scale": None, "legend": None}
"""That of a point's graph, which is drawn as it is: a scale of its own would take the place of the legend's."""


def scatter_plot(
    kind: str, records: Sequence[Record], theme: Theme, *, all_records: Sequence[Record], sizes: Sizes
) -> Spec:
    """Plot a point for each record; the axes fit `all_records`, so that panels share them."""
    fields = [field for field, _, _ in SCATTER_AXES[kind]]
    row_names = plot_labels(record.row for record in all_records)
    points = make_points(records, row_names, fields)
    is_only_panel = len(records) == sum(record.latency_ns is not None for record in all_records)
    x, y = _axes(kind, points if is_only_panel else make_points(all_records, row_names, fields), all_records)
    few = len(points) <= MAX_DETAILED_POINTS
    if few:
        shown = [add_tooltip(point) for point in sorted(points, key=lambda point: not point["first"])]
    else:
        shown = [
            {name: point[name] for name in ("variant", "graph", "doubted") if point[name]}
            | {field: float(f"{point[field]:.4g}") for field in fields}
            for point in decimate(points, x, y)
        ]
    layers: list[Spec] = []
    if kind in ACCURACY_KINDS and points:
        front = pareto_front(points, y.field)
        layers.append(_front_line(front, x, y, theme))
        on_front = {point["variant"] for point in front}
        shown.sort(key=lambda point: point["variant"] not in on_front)
    if kind == "roofline":
        layers += _roofs([record.roofline for record in records if record.roofline], x, y, theme)
    lines = [layer["data"]["values"] for layer in layers if layer["mark"]["type"] == "line"]
    if few and "latency" in fields:
        layers.append(_intervals(x, y))
        lines += [[point | {"latency": point[end]} for end in ("low", "high")] for point in shown]
    graphs = assign_styles(all_records, row_names, theme)
    layers.append(_marks(x, y, graphs, theme, few=few))
    for size, wider in zip_longest(sizes, sizes[1:]) if few else ():
        labels = place_labels(shown, x, y, size, lines=lines)
        narrowest = f"width >= {size[0]}" if len(sizes) > 1 else "true"
        layers.append(_names(labels, x, y, theme, f"{narrowest} && width < {wider[0]}" if wider else narrowest))
    colors = json.dumps({graph: color for graph, (color, _) in graphs.items()})
    paint = {"calculate": f"({colors})[datum.graph]", "as": COLOR["field"]}
    return {"data": {"values": shown}, "transform": [paint], "layer": layers}


def _axes(kind: str, points: Sequence[Point], records: Sequence[Record]) -> list[Axis]:
    """Return the axes that show these points, their intervals, and a piece of the roofline if there is one."""
    more: list[list[float]] = [[], []]
    if kind == "roofline":
        bounds = [record.roofline for record in records if record.roofline]
        peaks = [to_billions(bound.peak_mult_adds_per_s) for bound in bounds if bound.peak_mult_adds_per_s]
        bandwidths = [to_billions(bound.bandwidth_bytes_per_s) for bound in bounds if bound.bandwidth_bytes_per_s]
        more[1] = peaks
        if peaks and bandwidths:
            ridge = max(peaks) / max(bandwidths)
            more = [[0.25 * ridge, ridge], [*peaks, 0.25 * min(peaks)]]
    axes: list[Axis] = []
    for (field, quantity, unit), added in zip(SCATTER_AXES[kind], more, strict=True):
        ends = ("low", "high") if field == "latency" else (field,)
        values = [*(point[end] for point in points for end in ends), *added]
        scale = fit_scale(values, zero=field not in METRICS, log=kind == "roofline")
        axes.append(Axis(field=field, quantity=quantity, unit=unit, scale=scale))
    return axes


def _front_line(front: Sequence[Point], x: Axis, y: Axis, theme: Theme) -> Spec:
    """Return the steps of the Pareto front."""
    steps = [
        [(after["latency"], before[y.field]), (after["latency"], after[y.field])] for before, after in pairwise(front)
    ]
    corners = [(front[0]["latency"], front[0][y.field]), *chain.from_iterable(steps)]
    return {
        "data": {"values": [{"at": at, x.field: corner[0], y.field: corner[1]} for at, corner in enumerate(corners)]},
        "mark": {"type": "line", "color": theme.muted, "strokeWidth": 1.5},
        "encoding": {"x": x.channel, "y": y.channel, "order": {"field": "at"}},
    }


def _roofs(bounds: Sequence[RooflineBound], x: Axis, y: Axis, theme: Theme) -> list[Spec]:
    """Return the lowest and the highest roof of these records; each record's bandwidth is that of its working set."""
    pairs = {
        (to_billions(bound.peak_mult_adds_per_s), to_billions(bound.bandwidth_bytes_per_s))
        for bound in bounds
        if bound.peak_mult_adds_per_s and bound.bandwidth_bytes_per_s
    }
    if not pairs:
        return []
    (left, right), bottom = x.scale.domain, y.scale.domain[0]
    encoding = {"x": x.channel, "y": y.channel}
    layers: list[Spec] = []
    for (peak, bandwidth), dash in {min(pairs): [4, 3], max(pairs): [1, 0]}.items():
        ridge = min(max(peak / bandwidth, left), right)
        start = max(left, bottom / bandwidth)
        corners = [(start, min(peak, start * bandwidth)), (ridge, peak), (right, peak)]
        values = [{x.field: intensity, y.field: rate} for intensity, rate in corners]
        mark = {"type": "line", "color": theme.ink, "strokeWidth": 1.5, "strokeDash": dash}
        layers.append({"data": {"values": values}, "mark": mark, "encoding": encoding})
    peak, _ = max(pairs)
    text = {x.field: right, y.field: peak, "text": f"peak: {peak:,.0f} billion a second"}
    mark = {"type": "text", "align": "right", "baseline": "bottom", "dy": -4, "color": theme.ink}
    layers.append({"data": {"values": [text]}, "mark": mark, "encoding": encoding | {"text": {"field": "text"}}})
    return layers


def _intervals(x: Axis, y: Axis) -> Spec:
    encoding: Spec = {"x": x.channel, "y": y.channel, "stroke": COLOR, "opacity": _dimmed(0.8)}
    along = "x" if x.field == "latency" else "y"
    encoding |= {along: encoding[along] | {"field": "low"}, f"{along}2": {"field": "high"}}
    return {"name": "intervals", "mark": {"type": "rule", "strokeWidth": 2, "aria": False}, "encoding": encoding}


def _marks(x: Axis, y: Axis, graphs: Mapping[str, tuple[str, str]], theme: Theme, *, few: bool) -> Spec:
    colors, shapes = zip(*graphs.values(), strict=True)
    by_graph = {"field": "graph", "type": "nominal", "legend": {"title": None}}
    hollow = {"condition": {"test": "datum.doubted", "value": theme.background or "var(--background)"}}
    return {
        "name": "points",
        "mark": {"type": "point", "size": 55 if few else 16, "strokeWidth": 1.5, "filled": False, "aria": few},
        "encoding": {
            "x": x.channel,
            "y": y.channel,
            "stroke": COLOR,
            "fill": hollow | by_graph | {"scale": {"domain": list(graphs), "range": colors}},
            "shape": by_graph | {"scale": {"domain": list(graphs), "range": shapes}},
            "opacity": _dimmed(1 if few else 0.7),
            **({"tooltip": {"field": "tip"}} if few else {}),
        },
    }


def _names(labels: Sequence[dict[str, Any]], x: Axis, y: Axis, theme: Theme, fits: str) -> Spec:
    look = {"align": {"expr": "datum.align"}, "baseline": "middle", "fontSize": FONT_SIZE, "color": theme.ink}
    hidden = {"opacity": {"expr": f"{fits} ? 1 : 0"}, "aria": False, "tooltip": None}
    return {
        "data": {"values": labels},
        "mark": {"type": "text"} | look | hidden,
        "encoding": {"x": x.channel, "y": y.channel, "text": {"field": "label"}},
    }


def _dimmed(opacity: float) -> Spec:
    """Dim a mark if the reader has selected another variant."""
    return {"condition": {"test": "!picked || picked === datum.variant", "value": opacity}, "value": 0.15}
