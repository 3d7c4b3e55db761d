"""Latency against a cost, published accuracy against latency, and the roofline."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

from mnbench.plots.labels import FONT_SIZE, Axis, place_labels
from mnbench.plots.points import (
    AXES,
    MAX_DETAILED_POINTS,
    CostKind,
    Point,
    add_tooltip,
    assign_styles,
    decimate,
    make_points,
    pareto_front,
)
from mnbench.plots.scale import Scale, fit_scale
from mnbench.plots.theme import Theme
from mnbench.results.record import Record
from mnbench.units import to_billions

Spec = dict[str, Any]
COLOR: Spec = {"field": "color", "type": "nominal", "scale": None, "legend": None}
"""That of a point's graph, which is drawn as it is: a scale of its own would take the place of the legend's."""

Sizes = Sequence[tuple[int, int]]
"""Of the plot in pixels: the one it has, or, from narrow to wide, those that a page may give it."""


def cost_plot(
    records: Sequence[Record], cost: CostKind, theme: Theme, *, all_records: Sequence[Record] = (), sizes: Sizes = ()
) -> Spec:
    """Plot latency against a cost, with intervals; the axes fit `every` record, so that panels share them."""
    field, name, unit = AXES[cost]
    points = make_points(records)
    all_points = _all(points, records, all_records)
    x = fit_scale([point[field] for point in all_points])
    y = fit_scale([end for point in all_points for end in (point["low"], point["high"])])
    return _spec(
        _shown(points, (field, x), ("latency", y)),
        ((field, x), ("latency", y), sizes),
        assign_styles(all_records or records, theme),
        theme,
        titles=(x.title(name, unit), y.title("latency", "ms")),
        interval="y",
    )


def accuracy_plot(
    records: Sequence[Record], theme: Theme, *, all_records: Sequence[Record] = (), sizes: Sizes = ()
) -> Spec:
    """Plot published top-1 accuracy against latency, with the Pareto front of the medians."""
    points = [point for point in make_points(records) if point["top1"] is not None]
    all_points = [point for point in _all(make_points(records), records, all_records) if point["top1"] is not None]
    x = fit_scale([end for point in all_points for end in (point["low"], point["high"])])
    y = fit_scale([point["top1"] for point in all_points], zero=False)
    best = pareto_front(points)
    corners = [(item["latency"], item["top1"]) for item in best[:1]]
    for before, item in pairwise(best):
        corners += [(item["latency"], before["top1"]), (item["latency"], item["top1"])]
    line = {
        "data": {"values": [{"at": at, "latency": corner[0], "top1": corner[1]} for at, corner in enumerate(corners)]},
        "mark": {"type": "line", "color": theme.muted, "strokeWidth": 1.5},
        "encoding": {"x": _channel("latency", x), "y": _channel("top1", y), "order": {"field": "at"}},
    }
    shown = _shown(points, ("latency", x), ("top1", y))
    on_front = {point["variant"] for point in best}
    return _spec(
        sorted(shown, key=lambda point: point["variant"] not in on_front),
        (("latency", x), ("top1", y), sizes),
        assign_styles(all_records or records, theme),
        theme,
        titles=(x.title("latency", "ms"), y.title("published top-1 accuracy", "% of ImageNet")),
        interval="x",
        below=[line] if best else [],
    )


def roofline_plot(
    records: Sequence[Record], theme: Theme, *, all_records: Sequence[Record] = (), sizes: Sizes = ()
) -> Spec:
    """Plot Mult-Adds per second against Mult-Adds per byte that must move, below the host's roofline."""
    points = [point for point in make_points(records) if point["intensity"]]
    all_points = [point for point in _all(make_points(records), records, all_records) if point["intensity"]]
    ceilings = [record.roofline for record in all_records or records if record.roofline]
    peaks = [to_billions(bound.peak_mult_adds_per_s) for bound in ceilings if bound.peak_mult_adds_per_s]
    bandwidths = [to_billions(bound.bandwidth_bytes_per_s) for bound in ceilings if bound.bandwidth_bytes_per_s]
    ridge = [max(peaks) / max(bandwidths)] if peaks and bandwidths else []
    x = fit_scale(
        [*(point["intensity"] for point in all_points), *(share * at for at in ridge for share in (0.25, 1))], log=True
    )
    y = fit_scale(
        [*(point["rate"] for point in all_points), *peaks, *(0.25 * peak for peak in peaks if ridge)], log=True
    )
    return _spec(
        _shown(points, ("intensity", x), ("rate", y)),
        (("intensity", x), ("rate", y), sizes),
        assign_styles(all_records or records, theme),
        theme,
        titles=(
            x.title("Mult-Adds per byte that must move", ""),
            y.title("Mult-Adds a second", "billions"),
        ),
        interval=None,
        below=_roofs([record.roofline for record in records if record.roofline], x, y, theme),
    )


def _all(points: list[Point], records: Sequence[Record], every: Sequence[Record]) -> list[Point]:
    """Return the points of `every` record, which often has only one device."""
    return make_points(every) if len(every) > len(records) else points


def _roofs(ceilings: Sequence[Any], x: Scale, y: Scale, theme: Theme) -> list[Spec]:
    """Return the lowest and the highest roof of these records; each record's bandwidth is that of its working set."""
    pairs = {
        (to_billions(ceiling.peak_mult_adds_per_s), to_billions(ceiling.bandwidth_bytes_per_s))
        for ceiling in ceilings
        if ceiling.peak_mult_adds_per_s and ceiling.bandwidth_bytes_per_s
    }
    layers: list[Spec] = []
    for at, (peak, bandwidth) in enumerate(dict.fromkeys([min(pairs), max(pairs)] if pairs else [])):
        ridge = min(max(peak / bandwidth, x.domain[0]), x.domain[1])
        start = max(x.domain[0], y.domain[0] / bandwidth)
        corners = [(start, min(peak, start * bandwidth)), (ridge, peak), (x.domain[1], peak)]
        layers.append(
            {
                "data": {"values": [{"intensity": corner, "rate": rate} for corner, rate in corners]},
                "mark": {
                    "type": "line",
                    "color": theme.ink,
                    "strokeWidth": 1.5,
                    "strokeDash": [1, 0] if at else [4, 3],
                },
                "encoding": {"x": _channel("intensity", x), "y": _channel("rate", y)},
            }
        )
    if pairs:
        peak, _ = max(pairs)
        text = f"{peak:,.0f} billion a second"
        layers.append(
            {
                "data": {"values": [{"intensity": x.domain[1], "rate": peak, "text": text}]},
                "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -4, "color": theme.ink},
                "encoding": {
                    "x": _channel("intensity", x),
                    "y": _channel("rate", y),
                    "text": {"field": "text"},
                },
            }
        )
    return layers


def _shown(points: Sequence[Point], x: Axis, y: Axis) -> list[Point]:
    """Return the distinguishable points, most informative label first; decimate many points."""
    if len(points) <= MAX_DETAILED_POINTS:
        return [add_tooltip(point) for point in sorted(points, key=lambda point: not point["first"])]
    return [
        {name: point[name] for name in ("variant", "graph", "doubted") if point[name]}
        | {name: float(f"{point[name]:.4g}") for name, _ in (x, y)}
        for point in decimate(points, x, y)
    ]


def _channel(field: str, axis: Scale, title: str = "") -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "scale": axis.encoding,
        "axis": axis.axis | {"title": title} if title else {},
    }


def _spec(
    shown: Sequence[Point],
    frame: tuple[Axis, Axis, Sizes],
    graphs: Mapping[str, tuple[str, str]],
    theme: Theme,
    *,
    titles: tuple[str, str],
    interval: str | None,
    below: Sequence[Spec] = (),
) -> Spec:
    """Return the layers: lines, intervals, points, and labels if the size is known."""
    across, up, sizes = frame
    x, y = _channel(*across, titles[0]), _channel(*up, titles[1])
    few = all("tip" in point for point in shown)
    lines = [layer["data"]["values"] for layer in below if layer["mark"]["type"] == "line"]
    layers: list[Spec] = [*below]
    if interval and few:
        layers.append(_intervals(x, y, interval))
    layers.append(_points(x, y, graphs, theme, few=few))
    for size, wider in zip_longest(sizes, sizes[1:]) if few else ():
        result = place_labels(shown, across, up, size, interval=interval, lines=lines)
        narrowest = f"width >= {size[0]}" if len(sizes) > 1 else "true"
        fits = f"{narrowest} && width < {wider[0]}" if wider else narrowest
        layers += _names(result, x, y, theme, fits)
    colors = json.dumps({graph: color for graph, (color, _) in graphs.items()})
    paint = {"calculate": f"({colors})[datum.graph]", "as": COLOR["field"]}
    return {"data": {"values": list(shown)}, "transform": [paint], "layer": layers}


def _intervals(x: Spec, y: Spec, along: str) -> Spec:
    start = {**{"x": x, "y": y}[along], "field": "low"}
    end = {"field": "high"}
    return {
        "name": "intervals",
        "mark": {"type": "rule", "strokeWidth": 2, "aria": False},
        "encoding": {
            "x": x,
            "y": y,
            along: start,
            f"{along}2": end,
            "stroke": COLOR,
            "opacity": _dimmed(0.8),
        },
    }


def _points(x: Spec, y: Spec, graphs: Mapping[str, tuple[str, str]], theme: Theme, *, few: bool) -> Spec:
    color, shape = _by_graph(graphs, 0), _by_graph(graphs, 1)
    hollow = {"condition": {"test": "datum.doubted", "value": theme.background or "var(--background)"}}
    return {
        "name": "points",
        "mark": {"type": "point", "size": 55 if few else 16, "strokeWidth": 1.5, "filled": False, "aria": few},
        "encoding": {
            "x": x,
            "y": y,
            "stroke": COLOR,
            "fill": hollow | color | {"legend": {"title": None}},
            "shape": shape | {"legend": {"title": None}},
            "opacity": _dimmed(1 if few else 0.7),
            **({"tooltip": {"field": "tip"}} if few else {}),
        },
    }


def _by_graph(graphs: Mapping[str, tuple[str, str]], look: int) -> Spec:
    """Return the colour (0) or the shape (1) of a graph."""
    scale = {"domain": list(graphs), "range": [both[look] for both in graphs.values()]}
    return {"field": "graph", "type": "nominal", "scale": scale}


def _names(placed_names: Sequence[dict[str, Any]], x: Spec, y: Spec, theme: Theme, fits: str) -> list[Spec]:
    by_align = {
        align: [placed_name for placed_name in placed_names if placed_name["align"] == align]
        for align in ("left", "center", "right")
    }
    return [
        {
            "data": {"values": names},
            "mark": {"type": "text", "align": align, "baseline": "middle", "fontSize": FONT_SIZE, "color": theme.ink}
            | {"opacity": {"expr": f"{fits} ? 1 : 0"}, "aria": False, "tooltip": None},
            "encoding": {"x": x, "y": y, "text": {"field": "label"}},
        }
        for align, names in by_align.items()
        if names
    ]


def _dimmed(opacity: float) -> Spec:
    """Dim a mark if the reader has selected another variant."""
    return {"condition": {"test": "!picked || picked === datum.variant", "value": opacity}, "value": 0.15}
