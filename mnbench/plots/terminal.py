"""A plot in characters, drawn by plotext."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from mnbench.errors import import_extra
from mnbench.network.architecture import METRICS
from mnbench.plots.by_device import device_rows, latency_axis
from mnbench.plots.figures import Plot
from mnbench.plots.layer_shares import shares_by_type
from mnbench.plots.points import (
    ACCURACY_KINDS,
    SCATTER_AXES,
    assign_styles,
    make_points,
    pareto_front,
    plot_labels,
    plot_name,
)
from mnbench.plots.scale import Axis, fit_scale
from mnbench.plots.theme import DARK
from mnbench.results.record import Record
from mnbench.units import to_milliseconds

ROWS = 22
WIDTH = 100
SIGNS = "●■▲◆▼✚○□△◇▽★"
"""One a graph: a terminal need not have colours."""
BLOCKS = "█▓▒░▞▚╳·"


def draw_text(plot: Plot, *, width: int = WIDTH, colors: bool = False) -> str:
    """Return the plot of every device, one below the other.

    Raises:
        MissingDependency: plotext is not installed.
    """
    plotext = import_extra("plotext", extra="plot", use="a plot in the terminal")
    plotext.terminal.limit(width=False, height=False)
    lines: list[str] = []
    for setting, records in plot.panels.items():
        plotext.figure.clear()
        plotext.figure.theme("simple")
        plotext.figure.plot_size(min(width, WIDTH), ROWS)
        draw = {"devices": _draw_devices, "layers": _draw_shares, "distribution": _draw_spreads}.get(
            plot.kind, _draw_points
        )
        below = list(draw(plotext, plot, records))
        lines += [setting, plotext.figure.build().string(colorless=not colors).rstrip()]
        lines += [line for text in below for line in wrap(text, min(width, WIDTH))]
    return "\n".join([*lines, "names, intervals and marks: write it with -o plot.svg"]) + "\n"


def _draw_points(plotext: Any, plot: Plot, records: Sequence[Record]) -> Iterator[str]:
    fields = [field for field, _, _ in SCATTER_AXES[plot.kind]]
    labels = plot_labels(record.row for record in records)
    points = make_points(records, labels, fields)
    if not points:
        return
    x, y = (
        Axis(
            field=field,
            quantity=quantity,
            unit=unit,
            scale=fit_scale([point[field] for point in points], zero=field not in METRICS),
        )
        for field, quantity, unit in SCATTER_AXES[plot.kind]
    )
    signs: list[str] = []
    for index, (graph, (color, _)) in enumerate(assign_styles(records, labels, DARK).items()):
        here = [point for point in points if point["graph"] == graph]
        sign = SIGNS[index % len(SIGNS)]
        signs.append(f"{sign} {graph}")
        if here:
            columns = [x.fraction(point) for point in here], [y.fraction(point) for point in here]
            plotext.figure.draw(plotext.figure.signal(*columns, marker=_marker(plotext, sign, color)))
    _set_ticks(plotext, "x", x)
    _set_ticks(plotext, "y", y)
    plotext.figure.label(x.title, "x")
    plotext.figure.title(y.title)
    yield "  ".join(signs)
    if plot.kind in ACCURACY_KINDS:
        front = pareto_front(points, y.field)
        yield f"on the front: {', '.join(point['variant'] for point in front)}"


def _draw_shares(plotext: Any, plot: Plot, records: Sequence[Record]) -> Iterator[str]:
    profiles = plot.find_profiles(records)
    kinds, bars = shares_by_type(profiles)
    plotext.figure.plot_size(plotext.figure.size()[0], 2 * len(bars) + 4)
    rows = list(range(len(bars), 0, -1))
    heights = [[100 * shares[kind] for shares in bars] for kind in kinds]
    markers = [_marker(plotext, BLOCKS[index], DARK.parts[index]) for index in range(len(kinds))]
    plotext.figure.draw(
        plotext.figure.bar(rows, heights, orientation="horizontal", stacked=True, marker=markers, width=0.5)
    )
    _set_names(plotext, rows, [plot_name(profile.variant) for profile in profiles])
    plotext.figure.ruler("x").ticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100"])
    plotext.figure.label("share of the kernels' time (%)", "x")
    yield "  ".join(f"{sign} {kind}" for sign, kind in zip(BLOCKS, kinds, strict=False))


def _draw_devices(plotext: Any, _: Plot, records: Sequence[Record]) -> Iterator[str]:
    rows = device_rows(records)
    shown = [row for row in rows if "latency" in row]
    if shown:
        x, heights = latency_axis(rows), list(range(len(shown), 0, -1))
        plotext.figure.plot_size(plotext.figure.size()[0], 2 * len(shown) + 4)
        marker = _marker(plotext, "●", DARK.series[0])
        plotext.figure.draw(plotext.figure.signal([x.fraction(row) for row in shown], heights, marker=marker))
        _set_names(plotext, heights, [f"{row['device']} {row['text']}" for row in shown])
        _set_ticks(plotext, "x", x)
        plotext.figure.label(x.title, "x")
    yield from (f"{row['device']}: {row['text']}" for row in rows if "latency" not in row)


def _draw_spreads(plotext: Any, plot: Plot, records: Sequence[Record]) -> Iterator[str]:
    runs = {
        variant: sorted(to_milliseconds(float(latency)) for process in processes for latency in process)
        for variant, processes in plot.load_latencies(records).items()
    }
    if not runs:
        return
    plotext.figure.plot_size(plotext.figure.size()[0], 4 * len(runs) + 3)
    scale = fit_scale([value for latencies in runs.values() for value in latencies], zero=False)
    x = Axis(field="latency", quantity="latency of a run", unit="ms", scale=scale)
    rows = list(range(len(runs), 0, -1))
    fractions = [[scale.fraction(latency) for latency in latencies] for latencies in runs.values()]
    plotext.figure.draw(plotext.figure.box(rows, fractions, orientation="horizontal", width=0.5))
    _set_names(plotext, rows, list(runs))
    _set_ticks(plotext, "x", x)
    plotext.figure.label(x.title, "x")
    yield "─ all runs, █ the middle half, │ their median"


def _marker(plotext: Any, sign: str, color: str) -> Any:
    return plotext.marker(sign, plotext.pixel(tuple(bytes.fromhex(color.removeprefix("#")))))


def _set_ticks(plotext: Any, side: str, axis: Axis) -> None:
    """Place the ticks of an axis on a side that runs from 0 to 1."""
    ruler, scale = plotext.figure.ruler(side), axis.scale
    ruler.lim(0, 1)
    ruler.ticks([scale.fraction(tick) for tick in scale.ticks], [f"{tick:,g}" for tick in scale.ticks])


def _set_names(plotext: Any, rows: Sequence[int], names: Sequence[str]) -> None:
    plotext.figure.ruler("y").lim(0.5, len(rows) + 0.5)
    plotext.figure.ruler("y").ticks(rows, names)
