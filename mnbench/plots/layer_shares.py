"""Where the time goes, by layer type, and how the runs of a variant are distributed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.plots.scale import fit_scale
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


def single_column_legend(theme: Theme) -> Spec:
    """Return the legend for long names on a narrow page."""
    return {"columns": 1} if theme is PAGE else {}


def layer_shares_plot(profiles: Sequence[LayerProfile], theme: Theme) -> Spec:
    """Plot one bar per variant: each layer type's share of the kernels' time."""
    named = _longest(profiles)
    rows = [row for profile in profiles for row in _bars(profile, named)]
    order = [_bar_name(profile) for profile in profiles]
    x = {"field": "start", "type": "quantitative", "scale": {"domain": [0, 100]}}
    y = {
        "field": "variant",
        "type": "nominal",
        "sort": order,
        "axis": {
            "title": None,
            "labelLimit": 0,
            "ticks": False,
            "labelOffset": -7,
            "labelExpr": "split(datum.label, '\\n')",
        },
    }
    domain = [item for item in [*named, OTHER] if any(row["type"] == item for row in rows)]
    color = {
        "field": "type",
        "type": "nominal",
        "scale": {
            "domain": domain,
            "range": [theme.parts[-1 if item == OTHER else named.index(item)] for item in domain],
        },
        # A page scrolls many bars below what names their colours.
        "legend": {"title": "layer type"} | ({"orient": "top", "columns": 1} if theme is PAGE else {}),
    }
    bar = {
        "mark": {"type": "bar", "stroke": theme.background or "var(--background)", "strokeWidth": 1.5},
        "encoding": {
            "x": x | {"axis": {"title": "share of the kernels' time (%)", "tickCount": 5}},
            "x2": {"field": "end"},
            "y": y,
            "color": color,
            "tooltip": {"field": "tip"},
        },
    }
    on = [theme.part_text_color(-1 if item == OTHER else named.index(item)) for item in domain]
    room = {"expr": f"(datum.end - datum.start) / 100 * width > {MIN_TEXT_WIDTH} ? 1 : 0"}
    ink = {"field": "on", "type": "nominal", "scale": None, "legend": None}
    for row in rows:
        row["on"] = on[domain.index(row["type"])]
    inside = {
        "mark": {"type": "text", "align": "center", "baseline": "middle", "fontSize": 11, "opacity": room},
        "encoding": {"x": x | {"field": "middle"}, "y": y, "text": {"field": "text"}, "color": ink},
    }
    return {
        "data": {"values": rows},
        "height": {"step": STEP if len(profiles) <= DENSE else DENSE_STEP},
        "layer": [bar, inside],
    }


def _longest(profiles: Sequence[LayerProfile]) -> list[str]:
    """Return the layer types that take most of the time, longest first."""
    totals: dict[str, float] = {}
    for profile in profiles:
        for part in profile.times_by_type:
            totals[part.type] = totals.get(part.type, 0) + (part.duration_ns or 0) / (profile.kernels_ns or 1)
    return sorted(totals, key=lambda item: -totals[item])[:MAX_COLORED_TYPES]


def shares_by_type(profiles: Sequence[LayerProfile]) -> tuple[list[str], list[tuple[str, dict[str, float]]]]:
    """Return a plot's layer types, and their shares of the kernels' time for each variant."""
    named = _longest(profiles)
    return [*named, OTHER], [(profile.variant, _shares(profile, named)) for profile in profiles]


def _shares(profile: LayerProfile, named: Sequence[str]) -> dict[str, float]:
    taken = dict.fromkeys([*named, OTHER], 0.0)
    for part in profile.times_by_type:
        taken[part.type if part.type in taken else OTHER] += (part.duration_ns or 0) / (profile.kernels_ns or 1)
    return taken


def _bar_name(profile: LayerProfile) -> str:
    return f"{profile.variant}\n{format_ms(profile.kernels_ns)} ms"


def _bars(profile: LayerProfile, named: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts of a bar from left to right, in the order of the legend."""
    rows: list[dict[str, Any]] = []
    start = 0.0
    for kind, share in _shares(profile, named).items():
        if not share:
            continue
        end = start + 100 * share
        row = {"variant": _bar_name(profile), "type": kind, "start": start, "end": end, "middle": (start + end) / 2}
        tip = {"": profile.variant, kind: format_percent(share), "time": f"{format_ms(share * profile.kernels_ns)} ms"}
        rows.append(row | {"text": format_percent(share), "tip": tip})
        start = end
    return rows


LatenciesByVariant = Mapping[str, Sequence[NDArray[np.int64]]]
"""The latencies of each process in nanoseconds, by the name of the variant."""


def distribution_plot(runs: LatenciesByVariant, theme: Theme) -> Spec:
    """Plot the share of runs up to each latency: a line for all runs of a variant, thin lines for its processes."""
    names = list(runs)
    shares = np.linspace(0, LAST_QUANTILE, QUANTILES + 1)
    rows: list[dict[str, Any]] = []
    for name, processes in runs.items():
        curves = [("", np.concatenate(processes)), *((str(at), item) for at, item in enumerate(processes))]
        for process, latencies_ns in curves:
            for share, value in zip(shares, np.quantile(latencies_ns, shares), strict=True):
                rows.append(
                    {"variant": name, "process": process, "latency": to_milliseconds(value), "share": 100 * share}
                )
    x = fit_scale([row["latency"] for row in rows], zero=False)
    symbols = {"symbolType": "stroke", "symbolOpacity": 1, "symbolStrokeWidth": 2, "symbolSize": 300}
    legend = {"title": None, **symbols, **single_column_legend(theme)}
    encoding = {
        "x": {
            "field": "latency",
            "type": "quantitative",
            "scale": x.encoding,
            "axis": x.axis | {"title": x.title("latency of a run", "ms")},
        },
        "y": {
            "field": "share",
            "type": "quantitative",
            "scale": {"domain": [0, 100]},
            "axis": {"title": "runs that took at most that (%)", "tickCount": 5},
        },
        "order": {"field": "share"},
        "color": {
            "field": "variant",
            "type": "nominal",
            "scale": {"domain": names, "range": [theme.series[at % len(theme.series)] for at in range(len(names))]},
            "legend": legend,
        },
        "strokeDash": {
            "field": "variant",
            "type": "nominal",
            "scale": {"domain": names, "range": [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3]]},
            "legend": legend,
        },
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
