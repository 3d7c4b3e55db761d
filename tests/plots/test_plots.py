"""Plots: what they draw, how axes and names are laid out, and what is said where nothing can be drawn."""

# ruff: noqa: SIM300  expected == actual

import json
import sys
import xml.etree.ElementTree as ET
from itertools import combinations

import numpy as np
import pytest

from mnbench import families
from mnbench.families.published_accuracy import published_variants
from mnbench.network.row import Row
from mnbench.plots import PLOT_KINDS
from mnbench.plots.figures import Plot
from mnbench.plots.labels import FONT_SIZE, LETTER_WIDTH, MARK_RADIUS, place_labels
from mnbench.plots.layer_shares import layer_shares_plot
from mnbench.plots.points import MAX_DRAWN_POINTS, decimate, make_points, pareto_front, plot_labels
from mnbench.plots.scale import Axis, fit_scale
from mnbench.plots.theme import DARK, LIGHT, PAGE, style_sheet
from mnbench.results.layer_profile import KernelTime, LayerProfile, LayerTime
from mnbench.results.record import Issue, RooflineBound
from mnbench.results.store import ResultsFile

SVG = "{http://www.w3.org/2000/svg}"
PNG = b"\x89PNG\r\n\x1a\n"
CEILING = RooflineBound(
    peak_mult_adds_per_s=6e10, bandwidth_bytes_per_s=2e10, moved_bytes=17_000_000, bound_ns=9_000_000
)


def paper(make_record, **changes):
    """The sixteen networks of V1, with latencies as a machine has them."""
    return [
        make_record(
            alpha,
            side,
            int(12e6 * alpha**2 * (side / 224) ** 2),
            id=f"run/v1-a{alpha:g}-r{side}",
            mult_adds=int(568_740_352 * alpha**2 * (side / 224) ** 2),
            roofline=CEILING,
            **changes,
        )
        for alpha in (1.0, 0.75, 0.5, 0.25)
        for side in (224, 192, 160, 128)
    ]


def with_heads(make_record):
    """Every variant of V1, V2 and V3-Large with a head whose accuracy is published."""
    variants = [
        variant
        for name in ("v1", "v2", "v3-large")
        for variant in published_variants(families.architecture(name))
        if variant.option("head")
    ]
    return [
        make_record(
            median=1_000_000 * 2**at,
            id=f"run/{variant.name}",
            variant=variant.name,
            architecture=variant.architecture.name,
            alpha=variant.alpha,
            resolution=variant.resolution,
            options=dict(variant.options),
            roofline=CEILING,
        )
        for at, variant in enumerate(variants)
    ]


def profile(host=None, variant="v1-a1-r224"):
    """Nine tenths of the time in 1×1 convolutions."""
    parts = [
        LayerTime(
            scope=kind,
            type=kind,
            nodes=(
                KernelTime(name=kind, op="Conv", provider="CPUExecutionProvider", tensors=1, duration_ns=duration_ns),
            ),
        )
        for kind, duration_ns in (("Conv 1×1", 9_000_000), ("Conv DW 3×3", 1_000_000))
    ]
    return LayerProfile(
        variant=variant,
        row=Row(variant, "v1"),
        host_identity=host,
        device="cpu",
        provider="CPUExecutionProvider",
        runtime="onnxruntime 1.2.3",
        threads=1,
        measured_at="2026-01-01T00:00:00+00:00",
        runs=50,
        latency_ns=10_000_000,
        parts=tuple(parts),
    )


@pytest.fixture
def everything(workspace, make_record):
    """Results with a roofline, a profile and raw samples of every variant."""
    for record in (*paper(make_record), *with_heads(make_record)):
        ResultsFile(workspace / "results", "cpu").append(record)
        raw = workspace / "results" / "raw" / record.run
        raw.mkdir(parents=True, exist_ok=True)
        for process in range(2):
            latencies_ns = record.latency_ns.median + np.arange(100) * 1000 + process
            np.savez(raw / f"{record.variant}.{process}.npz", latencies_ns=latencies_ns)
    stored = workspace / "results" / "raw" / "run" / "v1-a1-r224.profile.json"
    import msgspec

    stored.write_bytes(msgspec.json.encode(profile(record.host_identity)))
    return workspace


def axis(field, values):
    """An axis on which these values lie."""
    return Axis(field=field, quantity=field, unit="", scale=fit_scale(values))


def texts(svg):
    """Every text of an SVG file."""
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  our own file


# The command


@pytest.mark.parametrize("kind", PLOT_KINDS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_plot_is_written(invoke, everything, kind, dark):
    """Each kind becomes an SVG with its theme's background and a unit or a share on each axis, and a PNG."""
    pytest.importorskip("vl_convert")
    result = invoke("plot", kind, "-o", "plot.svg", "-o", "plot.png", *(["--dark"] if dark else []))
    svg = (everything / "plot.svg").read_text(encoding="utf-8")

    assert (0, "plot.svg\nplot.png\n") == (result.exit_code, result.stdout)
    assert PNG == (everything / "plot.png").read_bytes()[:8]
    assert (DARK if dark else LIGHT).background in svg
    units = {"layers": ["share of the kernels' time (%)"], "roofline": ["Mult-Adds a second (billions, log scale)"]}
    units |= {"distribution": ["runs of at most that latency (%)"], "devices": ["latency (ms)"]}
    assert [] == [title for title in units.get(kind, ["latency (ms, log scale)"]) if title not in texts(svg)]


@pytest.mark.parametrize("kind", PLOT_KINDS)
def test_every_plot_shows_in_a_terminal(invoke, everything, kind):
    """Without a file, a plot of at most 100 columns is printed, with its axes' units."""
    pytest.importorskip("plotext")
    lines = invoke("plot", kind).stdout.splitlines()

    assert everything.is_dir()
    assert max(map(len, lines)) <= 100
    assert any("(ms" in line or "(%)" in line or "(billions" in line for line in lines)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("kind", "missing"), [("layers", "no profile"), ("distribution", "no raw samples"), ("roofline", "has a roofline")]
)
def test_a_plot_of_what_was_not_measured_says_so(invoke, kind, missing):
    """Without profiles, raw samples or a roofline, one line says so and another what to run."""
    result = invoke("plot", kind)

    assert (1, True, 2) == (result.exit_code, missing in result.stderr, len(result.stderr.splitlines()))


@pytest.mark.usefixtures("stored")
def test_a_missing_library_is_one_line_and_a_hint(invoke, monkeypatch):
    """Without vl-convert a picture cannot be drawn: the hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    result = invoke("plot", "mult-adds", "-o", "plot.svg")

    assert 1 == result.exit_code
    assert result.stderr.splitlines()[1] == 'Hint: in a checkout of mnbench: pip install ".[plot]"'


@pytest.mark.usefixtures("stored")
def test_without_plotext_a_terminal_shows_the_hint(invoke, monkeypatch):
    """The hint is the command that installs it."""
    monkeypatch.setitem(sys.modules, "plotext", None)
    result = invoke("plot", "mult-adds")

    assert (1, 'Hint: in a checkout of mnbench: pip install ".[plot]"') == (
        result.exit_code,
        result.stderr.splitlines()[1],
    )


@pytest.mark.usefixtures("everything")
def test_a_plot_shows_itself_and_saves_itself(workspace):
    """A notebook gets the picture that `save` writes."""
    pytest.importorskip("vl_convert")
    records = ResultsFile(workspace / "results", "cpu").read_records()
    plot = Plot(kind="params", results=workspace / "results", records=records, dark=True)
    plot.save("plot.svg")

    assert (workspace / "plot.svg").read_text(encoding="utf-8") == plot._repr_svg_()
    assert DARK.background in plot._repr_svg_()


@pytest.mark.usefixtures("stored")
def test_a_picture_of_another_kind_is_refused(invoke, workspace):
    """Only .svg, .png and .json are written."""
    pytest.importorskip("vl_convert")
    result = invoke("plot", "mult-adds", "-o", "plot.pdf")

    assert (1, True) == (result.exit_code, "plot.pdf" in result.stderr)
    assert not (workspace / "plot.pdf").exists()


@pytest.mark.usefixtures("everything")
def test_marks_of_doubt_stay_visible(invoke, workspace, make_record):
    """An imprecise latency has its ≈ and one with issues its ! beside the name, and the latter is hollow."""
    pytest.importorskip("vl_convert")
    store = ResultsFile(workspace / "doubted", "cpu")
    store.append(make_record(1.0, 224, issues=(Issue(name="imprecise", advice=""), Issue(name="noisy", advice=""))))
    invoke("plot", "mult-adds", "--results", "doubted", "-o", "plot.svg", "-o", "plot.json")
    vega = json.loads((workspace / "plot.json").read_text(encoding="utf-8"))

    assert "≈ v1 !" in texts((workspace / "plot.svg").read_text(encoding="utf-8"))
    assert [True] == [item["doubted"] for data in vega["data"] for item in data.get("values", []) if "doubted" in item]


def test_panels_hold_their_own_device(invoke, workspace, make_record):
    """Each device has a panel, and all panels the same axes."""
    pytest.importorskip("vl_convert")
    for device, median in (("cpu", 10_000_000), ("gpu", 100_000)):
        for side in (224, 128):
            ResultsFile(workspace / "results", device).append(
                make_record(1.0, side, median * side // 224, device=device)
            )
    invoke("plot", "mult-adds", "-o", "plot.json")
    vega = json.loads((workspace / "plot.json").read_text(encoding="utf-8"))
    shown = [item["latency"] for data in vega["data"] for item in data.get("values", []) if "first" in item]
    domains = {str(item["domain"]) for item in vega["scales"] if item["name"].endswith("_y")}

    assert {10.0, 0.1} <= set(shown)
    assert 1 == len(domains)


# Axes


@pytest.mark.parametrize(
    ("values", "log"), [((1, 10), True), ((10, 20), False), ((0, 100), False), ((0.001, 4000), True), ((5, 5), False)]
)
def test_an_axis_is_logarithmic_where_the_data_ask_for_it(values, log):
    """From one order of magnitude on; it holds its data, and 3 to 12 ticks that lie on it, in order."""
    scale = fit_scale(values)

    assert log == scale.log
    assert scale.domain[0] <= min(values) <= max(values) <= scale.domain[1]
    assert 3 <= len(scale.ticks) <= 12
    assert sorted(scale.ticks) == list(scale.ticks)
    assert all(scale.domain[0] <= tick <= scale.domain[1] for tick in scale.ticks)


@pytest.mark.parametrize("values", [(1, 1000), (3, 4)])
def test_a_value_stands_where_its_share_says(values):
    """`value` undoes `share`."""
    scale = fit_scale(values)

    assert [pytest.approx(value) for value in values] == [scale.value(scale.fraction(value)) for value in values]


def test_a_tick_is_labelled_with_its_own_value(invoke, workspace, make_record):
    """Steps of 2.5 %: 62.5 is not rounded to 63."""
    pytest.importorskip("vl_convert")
    for alpha, side in ((1.0, 224), (0.5, 160)):
        ResultsFile(workspace / "results", "cpu").append(make_record(alpha, side))
    assert 0 == invoke("plot", "accuracy", "-o", "plot.svg").exit_code

    assert {"60", "62.5"} <= set(texts((workspace / "plot.svg").read_text(encoding="utf-8")))


# Names


def test_no_name_lies_on_another_or_on_a_point(make_record):
    """Of sixteen crowded points most are named, inside the plot, and no name's box meets another or a point."""
    records = paper(make_record)
    points = make_points(records, plot_labels(record.row for record in records), ["mult_adds", "latency"])
    size = (430, 320)
    x, y = (axis(field, [point[field] for point in points]) for field in ("mult_adds", "latency"))
    names = place_labels(points, x, y, size)
    boxes = []
    for name in names:
        width, height = LETTER_WIDTH * FONT_SIZE * len(name["label"]), FONT_SIZE + 1
        across, up = x.fraction(name) * size[0], y.fraction(name) * size[1]
        left = across - {"left": 0, "center": width / 2, "right": width}[name["align"]]
        boxes.append((left, up - height / 2, left + width, up + height / 2))
    marks = [(x.fraction(point) * size[0], y.fraction(point) * size[1]) for point in points]

    def meet(box, other):
        slack = 1e-6
        return (
            box[0] < other[2] - slack
            and other[0] < box[2] - slack
            and box[1] < other[3] - slack
            and other[1] < box[3] - slack
        )

    assert len(names) >= 12
    assert [] == [pair for pair in combinations(boxes, 2) if meet(*pair)]
    around = [(a - MARK_RADIUS, b - MARK_RADIUS, a + MARK_RADIUS, b + MARK_RADIUS) for a, b in marks]
    assert [] == [box for box in boxes for mark in around if meet(box, mark)]
    assert all(box[0] >= -1e-6 and box[2] <= size[0] + 1e-6 for box in boxes)


# What is drawn


def test_the_front_holds_what_nothing_beats():
    """A point is on the front unless a faster one is as accurate."""
    result = [
        {"variant": name, "latency": latency, "top1": top1}
        for name, latency, top1 in (("a", 1, 50), ("b", 2, 45), ("c", 3, 70), ("d", 3, 60), ("e", 4, 70))
    ]

    assert ["a", "c"] == [point["variant"] for point in pareto_front(result, "top1")]


@pytest.mark.parametrize("many", [16, 600])
def test_a_legend_names_every_graph(invoke, workspace, make_record, many):
    """In the colour of its marks, whether intervals and names are drawn or not."""
    for at in range(many):
        name = ("v1", "v2", "own")[at % 3]
        record = make_record(0.25, 64 + at, 400_000 + at, variant=f"{name}-a0.25-r{64 + at}", architecture=name)
        ResultsFile(workspace / "results", "cpu").append(record)
    assert 0 == invoke("plot", "mult-adds", "-o", "plot.svg").exit_code
    drawn = ET.parse(workspace / "plot.svg")  # noqa: S314  our own
    labels = [element for element in drawn.iter(f"{SVG}g") if "role-legend-label" in element.get("class", "")]
    symbols = [element for element in drawn.iter(f"{SVG}g") if "role-legend-symbol" in element.get("class", "")]
    marks = [element for element in drawn.iter(f"{SVG}path") if "point" == element.get("aria-roledescription")]

    assert ["v1", "v2", "own"] == [text.text for label in labels for text in label.iter(f"{SVG}text")]
    colors = {path.get("fill") for symbol in symbols for path in symbol.iter(f"{SVG}path")}
    assert 3 == len(colors)
    assert not marks or colors == {mark.get("fill") for mark in marks}


def test_points_that_hide_each_other_are_drawn_once(make_record):
    """Of ten thousand points in a narrow cloud fewer are drawn; distant ones all stay."""
    record = make_record()
    (point,) = make_points([record], plot_labels([record.row]), ["mult_adds", "latency"])
    many = [point | {"mult_adds": 100 + at / 1e6, "latency": 10 + at / 1e6} for at in range(1000)]
    far = point | {"mult_adds": 1000, "latency": 100}
    left = decimate([*many, far], axis("mult_adds", [100, 1000]), axis("latency", [10, 100]))

    assert far in left
    assert 2 <= len(left) < 10


def test_a_page_can_draw_as_many_points_as_are_left(make_record):
    """Points that fill a plot are drawn on a coarser grid, which still spans them all."""
    record = make_record()
    (point,) = make_points([record], plot_labels([record.row]), ["mult_adds", "latency"])
    many = [point | {"mult_adds": 100 + x, "latency": 10 + y} for x in range(0, 900, 9) for y in range(90)]
    left = decimate(many, axis("mult_adds", [100, 1000]), axis("latency", [10, 100]))

    assert MAX_DRAWN_POINTS / 4 < len(left) <= MAX_DRAWN_POINTS < len(many)
    assert max(point["latency"] for point in left) > 90


def test_bars_add_up(make_record):
    """A profile's parts fill its bar, and each part's share is that of the kernels' time."""
    rows = layer_shares_plot([profile()], LIGHT)["data"]["values"]

    assert make_record
    assert [("Conv 1×1", 90.0), ("Conv DW 3×3", 10.0)] == [
        (row["type"], pytest.approx(row["end"] - row["start"])) for row in rows
    ]
    assert pytest.approx(100) == rows[-1]["end"]


def test_a_figure_tells_what_it_leaves_out(everything, make_record):
    """Variants without published accuracy are counted in the legend."""
    records = [make_record(), make_record(0.3, 224, variant="v1-a0.3-r224")]
    figure = Plot(kind="accuracy", results=everything / "results", records=records)

    assert "1 variants have no published figure" in figure.legend(records)


def test_a_legend_explains_names_of_variants_where_there_are_some(everything, make_record):
    """Files are named by their names, which need no explanation."""
    records = [make_record(), make_record(None, architecture=None)]
    figure = Plot(kind="params", results=everything / "results", records=records)

    assert "Names: α-resolution" in figure.legend(records)
    assert "Names" not in figure.legend(records[1:])


def test_the_page_theme_names_every_colour():
    """Each variable that the page's plots use has a value in both themes."""
    sheet = style_sheet()
    used = {*PAGE.series, *PAGE.parts, PAGE.ink, PAGE.muted, PAGE.grid, *(PAGE.part_text_color(at) for at in range(8))}

    assert all(2 == sheet.count(f"{name.removeprefix('var(').removesuffix(')')}:") for name in used)
