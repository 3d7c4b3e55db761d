"""Where the time goes, by layer type, and how the runs of a variant are distributed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.plots.points import plot_name
from mnbench.plots.scale import Axis, fit_scale
from mnbench.plots.theme import PAGE, Theme
from mnbench.results.layer_profile import LayerProfile
from mnbench.units import format_ms, format_percent, to_milliseconds

MAX_COLORED_TYPES = 7
"""So many types have a colour of their own; the others are one."""
OTHER = "other"

QUANTILES = 200
"""Quantiles of which a curve is drawn."""

LAST_QUANTILE = 0.99
"""Where curves end: the slowest runs of all, often one interruption, would take the whole width."""

STEP, DENSE_STEP, DENSE = 46, 27, 24
"""Pixels from bar to bar, and of more bars than so many."""

MIN_TEXT_WIDTH = 32
"""Pixels from which a percentage has room in its part of a bar."""

Spec = dict[str, Any]


def layer_shares_plot(profiles: Sequence[LayerProfile], theme: Theme) -> Spec:
    """Plot one bar per variant: each layer type's share of the kernels' time."""
    types, shares = shares_by_type(profiles)
    color_index = {kind: -1 if kind == OTHER else index for index, kind in enumerate(types)}
    bar_names = [f"{plot_name(profile.variant)}\n{format_ms(profile.kernels_ns)} ms" for profile in profiles]
    rows: list[dict[str, Any]] = []
    for profile, bar_name, bar_shares in zip(profiles, bar_names, shares, strict=True):
        start = 0.0
        for kind, share in bar_shares.items():
            if share:
                end = start + 100 * share
                percent, time = format_percent(share), f"{format_ms(share * profile.kernels_ns)} ms"
                place = {"start": start, "end": end, "middle": (start + end) / 2}
                look = {"text": percent, "ink": theme.part_text_color(color_index[kind])}
                tip = {"": plot_name(profile.variant), kind: percent, "time": time}
                rows.append({"variant": bar_name, "type": kind, **place, **look, "tip": tip})
                start = end
    shown = [kind for kind in types if any(row["type"] == kind for row in rows)]
    color = {
        "field": "type",
        "type": "nominal",
        "scale": {"domain": shown, "range": [theme.parts[color_index[kind]] for kind in shown]},
        "legend": {"title": "layer type"} | ({"orient": "top", "columns": 1} if theme is PAGE else {}),
    }
    # A page scrolls many bars below their axis and what names their colours.
    orient = "top" if theme is PAGE else "bottom"
    name_axis = {"title": None, "labelLimit": 0, "ticks": False, "domain": False, "labelOffset": -7}
    name_axis |= {"labelExpr": "split(datum.label, '\\n')"}
    x = {"field": "start", "type": "quantitative", "scale": {"domain": [0, 100]}}
    y = {"field": "variant", "type": "nominal", "sort": bar_names, "axis": name_axis}
    bar = {
        "mark": {"type": "bar", "stroke": theme.background or "var(--background)", "strokeWidth": 1.5},
        "encoding": {
            "x": x | {"axis": {"title": "share of the kernels' time (%)", "tickCount": 5, "orient": orient}},
            "x2": {"field": "end"},
            "y": y,
            "color": color,
            "tooltip": {"field": "tip"},
        },
    }
    room = {"expr": f"(datum.end - datum.start) / 100 * width > {MIN_TEXT_WIDTH} ? 1 : 0"}
    ink = {"field": "ink", "type": "nominal", "scale": None, "legend": None}
    text = {
        "mark": {"type": "text", "align": "center", "baseline": "middle", "fontSize": 11, "opacity": room},
        "encoding": {"x": x | {"field": "middle"}, "y": y, "text": {"field": "text"}, "color": ink},
    }
    step = STEP if len(profiles) <= DENSE else DENSE_STEP
    return {"data": {"values": rows}, "height": {"step": step}, "layer": [bar, text]}


def shares_by_type(profiles: Sequence[LayerProfile]) -> tuple[list[str], list[dict[str, float]]]:
    """Return the types that take most of the time, longest first, and each profile's shares of the kernels' time."""
    shares_of_profiles: list[dict[str, float]] = []
    totals: dict[str, float] = {}
    for profile in profiles:
        shares: dict[str, float] = {}
        for part in profile.times_by_type:
            share = (part.duration_ns or 0) / (profile.kernels_ns or 1)
            kind = plot_name(part.type)
            shares[kind] = shares.get(kind, 0) + share
            totals[kind] = totals.get(kind, 0) + share
        shares_of_profiles.append(shares)
    longest = sorted(totals, key=lambda kind: -totals[kind])[:MAX_COLORED_TYPES]
    grouped = [
        {kind: shares.get(kind, 0.0) for kind in longest}
        | {OTHER: sum(share for kind, share in shares.items() if kind not in longest)}
        for shares in shares_of_profiles
    ]
    return [*longest, OTHER], grouped


LatenciesByVariant = Mapping[str, Sequence[NDArray[np.int64]]]
"""The latencies of each process in nanoseconds, by the name of the variant."""


def distribution_plot(runs: LatenciesByVariant, theme: Theme) -> Spec:
    """Plot the share of runs up to each latency: a line for all runs of a variant, thin lines for its processes."""
    names = list(runs)
    shares = np.linspace(0, LAST_QUANTILE, QUANTILES + 1)
    rows: list[dict[str, Any]] = []
    for name, processes in runs.items():
        curves = {"": np.concatenate(processes)} | {str(index): latencies for index, latencies in enumerate(processes)}
        for process, latencies_ns in curves.items():
            rows += [
                {"variant": name, "process": process, "latency": to_milliseconds(latency_ns), "share": 100 * share}
                for share, latency_ns in zip(shares, np.quantile(latencies_ns, shares), strict=True)
            ]
    scale = fit_scale([row["latency"] for row in rows], zero=False)
    by_variant = {
        "field": "variant",
        "type": "nominal",
        "legend": {"title": None, "symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 2, "symbolSize": 300}
        | ({"columns": 1} if theme is PAGE else {}),
    }
    colors = [theme.series[index % len(theme.series)] for index in range(len(names))]
    dashes = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3]]
    encoding = {
        "x": Axis(field="latency", quantity="latency of a run", unit="ms", scale=scale).channel,
        "y": {
            "field": "share",
            "type": "quantitative",
            "scale": {"domain": [0, 100]},
            "axis": {"title": "runs of at most that latency (%)", "tickCount": 5},
        },
        "order": {"field": "share"},
        "color": by_variant | {"scale": {"domain": names, "range": colors}},
        "strokeDash": by_variant | {"scale": {"domain": names, "range": dashes}},
    }
    thin = {
        "transform": [{"filter": "datum.process !== ''"}],
        "mark": {"type": "line", "strokeWidth": 0.8, "opacity": 0.45},
        "encoding": encoding | {"detail": {"field": "process"}},
    }
    thick = {
        "transform": [{"filter": "datum.process === ''"}],
        "mark": {"type": "line", "strokeWidth": 2.2},
        "encoding": encoding,
    }
    return {"data": {"values": rows}, "layer": [thin, thick]}
