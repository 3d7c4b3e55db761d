"""A quick plot in characters."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from mnbench.plots.figures import Plot
from mnbench.plots.layer_shares import shares_by_type
from mnbench.plots.points import AXES, Point, assign_styles, make_points, pareto_front
from mnbench.plots.scale import Scale, fit_scale
from mnbench.plots.theme import DARK
from mnbench.results.record import Record
from mnbench.stats import quantile
from mnbench.units import to_milliseconds

LATENCY = ("latency", "latency", "ms")

ROWS = 20
WIDTH = 100
"""In columns, at most."""

SIGNS = "●■▲◆▼✚○□△◇▽★"
"""One a graph, because a terminal need not have colours."""
BLOCKS = "█▓▒░▞▚╳·"


def print_plot(figure: Plot) -> None:
    """Print the plot of every device, one below the other."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    for name, records in figure.records_by_device.items():
        _line(console, name, "bold")
        if figure.kind == "layers":
            _bars(console, figure, records)
        elif figure.kind == "distribution":
            _spreads(console, figure, records)
        else:
            _scatter(console, figure, records)
    _line(console, "names, intervals and marks: write it with -o plot.svg", "dim")


def _scatter(console: Console, figure: Plot, records: Sequence[Record]) -> None:
    match figure.kind:
        case "accuracy":
            (x_name, what_x, unit_x), (y_name, what_y, unit_y) = LATENCY, ("top1", "published top-1 accuracy", "%")
        case "roofline":
            x_name, what_x, unit_x = "intensity", "Mult-Adds per byte that must move", ""
            y_name, what_y, unit_y = "rate", "Mult-Adds a second", "billions"
        case "mult-adds" | "memory-access" | "params" as cost:
            (x_name, what_x, unit_x), (y_name, what_y, unit_y) = AXES[cost], LATENCY
        case _:
            return
    points = [point for point in make_points(records) if point[x_name] is not None and point[y_name] is not None]
    if not points:
        return
    x, y = (
        fit_scale([item[x_name] for item in points]),
        fit_scale([item[y_name] for item in points], zero=y_name != "top1"),
    )
    looked = assign_styles(records, DARK)
    colors = {graph: (color, SIGNS[at % len(SIGNS)]) for at, (graph, (color, _)) in enumerate(looked.items())}
    best = {id(item) for item in pareto_front(points)} if figure.kind == "accuracy" else set[int]()
    labels = {_row(y, tick): f"{tick:,g}" for tick in y.ticks}
    margin = max(map(len, labels.values())) + 1
    columns = min(console.width, WIDTH) - margin - 2
    grid = [[(" ", "")] * columns for _ in range(ROWS)]
    for point in points:
        color, sign = colors[point["graph"]]
        style = f"{color}{' bold underline' if id(point) in best else ''}"
        grid[_row(y, point[y_name])][_column(x, point[x_name], columns)] = (sign, style)
    _line(console, y.title(what_y, unit_y))
    for at, row in enumerate(grid):
        tick = labels.get(at, "")
        console.print(Text(f"{tick:>{margin}}{'┤' if tick else '│'}"), Text.assemble(*row), sep="", highlight=False)
    _axis(console, x, margin, columns)
    _line(console, x.title(what_x, unit_x).rjust(margin + 1 + columns))
    shown = [(f"{sign} {graph}  ", color) for graph, (color, sign) in colors.items()]
    console.print(Text.assemble(*shown), highlight=False)
    if best:
        _names(console, [point for point in points if id(point) in best])


def _names(console: Console, best: Sequence[Point]) -> None:
    ordered = sorted(best, key=lambda point: point["latency"])
    _line(console, f"on the front: {', '.join(point['variant'] for point in ordered)}")


def _axis(console: Console, x: Scale, margin: int, columns: int) -> None:
    rule, under = ["─"] * columns, [" "] * columns
    end = -1
    for tick in x.ticks:
        at, text = _column(x, tick, columns), f"{tick:,g}"
        start = min(max(0, at - len(text) // 2), columns - len(text))
        if start > end:
            rule[at], end = "┬", start + len(text)
            under[start:end] = text
    _line(console, f"{'':>{margin}}└{''.join(rule)}")
    _line(console, f"{'':>{margin}} {''.join(under)}".rstrip())


def _row(y: Scale, value: float) -> int:
    return ROWS - 1 - min(ROWS - 1, max(0, round(y.fraction(value) * (ROWS - 1))))


def _column(x: Scale, value: float, columns: int) -> int:
    return min(columns - 1, max(0, round(x.fraction(value) * (columns - 1))))


def _bars(console: Console, figure: Plot, records: Sequence[Record]) -> None:
    kinds, bars = shares_by_type(figure.find_profiles(records))
    longest = max(len(name) for name, _ in bars)
    room = min(console.width, WIDTH) - longest - 1
    styles = {kind: (BLOCKS[at], DARK.parts[at]) for at, kind in enumerate(kinds)}
    for name, shares in bars:
        pieces = [(styles[kind][0] * round(share * room), styles[kind][1]) for kind, share in shares.items()]
        console.print(Text.assemble(f"{name:>{longest}} ", *pieces), highlight=False, no_wrap=True, crop=True)
    _line(console, f"{'':>{longest}} 0{'share of the time (%)':^{room - 4}}100")
    console.print(Text.assemble(*((f"{sign} {kind}  ", color) for kind, (sign, color) in styles.items())))


def _spreads(console: Console, figure: Plot, records: Sequence[Record]) -> None:
    """Draw a line from the 1st percentile to the 99th, a bar from the 10th to the 90th, and the median in it."""
    spreads = {
        name: [to_milliseconds(quantile(ordered, share)) for share in (0.01, 0.1, 0.5, 0.9, 0.99)]
        for name, processes in figure.load_latencies(records).items()
        for ordered in [sorted(float(item) for process in processes for item in process)]
    }
    if not spreads:
        return
    x = fit_scale([value for spread in spreads.values() for value in spread], zero=False)
    longest = max(map(len, spreads))
    columns = min(console.width, WIDTH) - longest - 2
    for name, values in spreads.items():
        first, low, middle, high, last = (_column(x, value, columns) for value in values)
        line = [" "] * columns
        line[first : last + 1] = "─" * (last + 1 - first)
        line[low : high + 1] = "█" * (high + 1 - low)
        line[middle] = "◆"
        _line(console, f"{name:>{longest}} {''.join(line)}".rstrip())
    _axis(console, x, longest, columns)
    _line(console, x.title("latency of a run", "ms").rjust(longest + 1 + columns))
    _line(console, "─ 1 to 99 % of the runs, █ 10 to 90 %, ◆ their median", "dim")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, markup=False, highlight=False)
