"""Every format with hostile texts wherever a record or a finding has one: it has the shape that harmless ones give."""

# ruff: noqa: SIM300  expected == actual

import csv
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from io import StringIO

import msgspec
import pytest
from click.testing import CliRunner
from hostile import ATTACKS, alarms
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from mnbench.cli import output
from mnbench.comparison.comparison import Comparison
from mnbench.comparison.decide import DecisionRules, Finding, overall_verdict
from mnbench.comparison.exports import EXPORTS, export, otava
from mnbench.comparison.metrics import record_metrics
from mnbench.errors import MnbenchError
from mnbench.plots.figures import Plot
from mnbench.report.page import render_page
from mnbench.results.by_device import table_by_device
from mnbench.results.latency_table import latency_table
from mnbench.results.record import FedInput, Issue, Runtime
from mnbench.tables import FORMATS, rich_text

TEXTS = st.one_of(
    st.text(min_size=1, max_size=40),
    st.sampled_from(ATTACKS),
    st.builds("{}{}{}".format, st.text(max_size=4), st.sampled_from(ATTACKS), st.sampled_from(ATTACKS)),
).filter(lambda text: text.strip())
FIXTURES = [HealthCheck.function_scoped_fixture]
QUICK = settings(max_examples=10, suppress_health_check=FIXTURES)
SLOW = settings(max_examples=2, suppress_health_check=FIXTURES)


@pytest.fixture
def records(make_record):
    """Two rows, of which one failed, on two devices."""

    def make(text):
        texts = {
            "provider": text,
            "runtime": Runtime(name=text, version=text),
            "host": {"cpu": f"v1 {text}", "cores": 2, "kernel": text},
            "count_notes": (text,),
            "not_compared": (text,),
            "measured_at": text,
            "inputs": (FedInput(name=text, type=text, shape=(1, 3), values=text, sha256=text),),
            "issues": (Issue(name=f"name {text}", advice=text),),
            "options": {f"option {text}": text},
            "id": "run/first",
        }
        file = make_record(1.0, variant=f"{text}", architecture=None, file=f"folder/{text}", device="gpu", **texts)
        graph = make_record(0.5, variant=f"{text} 2", architecture=f"graph {text}", **texts | {"id": "run/second"})
        return [file, graph, make_record(0.25, error=text, latency_ns=None, **texts | {"id": "run/third"})]

    return make


def compare(text):
    """A comparison whose rows have that text for a name, a device and a reason."""
    findings = (
        Finding(variant=text, device=text, verdict="slower", ratio=1.1, low=1.05, high=1.15, reason=text),
        Finding(variant=f"v1 {text}", device="cpu", verdict="incomparable", reason=f"because {text}"),
        Finding(variant=f"v2 {text}", device="cpu", verdict="identical"),
    )
    verdict = overall_verdict(findings)
    return Comparison(
        verdict=verdict, base=text, candidate=text, run=text, findings=findings, rules=DecisionRules(), seed=0
    )


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, *(name for name, _ in attributes)))


LATEX_COMMANDS = {
    *("begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde", "textasciicircum"),
    *("alpha", "rho", "approx", "times", "pm", "textmu", "cdot", "textsuperscript", "Sigma", "leq", "geq", "dots"),
    *("rule", "\\", "&", "%", "$", "#", "_", "{", "}"),
}


PAGE_ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "nav", "main", "section"),
    *("div", "figure", "figcaption", "script", "label", "input", "span", "table", "thead", "tbody", "tr", "th", "td"),
    *("button", "br", "details", "summary", "pre", "code"),
}
HARMLESS = {}
"""The shapes of tables with harmless names."""

SVG_ELEMENTS = {"svg", "g", "path", "text", "tspan", "rect", "defs", "clipPath", "line"}


def shape_of(name, text):
    """What of a format must not depend on names: its lines, cells, elements or commands."""
    lines = text.split("\n")
    match name:
        case "json":
            return json.dumps(_keys(json.loads(text)))
        case "csv":
            rows = list(csv.reader(StringIO(text)))
            assert not [cell for row in rows for cell in row if re.match(r"\s*[=+@＝]|\s*-(?![\d.])", cell)]
            return [len(row) for row in rows]
        case "latex":
            body = [line for line in lines if not line.startswith("%")]
            assert LATEX_COMMANDS >= set(re.findall(r"\\([a-zA-Z]+|.)", "\n".join(body)))
            assert not [line for line in body if re.match(r"\s*[\[*]", line)]
            return [len(re.findall(r"(?<!\\)&", line)) for line in body], len(lines)
        case "html":
            return Elements(text).elements
        case "rich":
            return None
        case _:
            lines = re.sub(r"```text\n.*?\n```", "", text, flags=re.DOTALL).split("\n")
            outside_code = [re.sub(r"(?<!\\)`[^`]*`", "", line) for line in lines]
            markup = r"(?<!\\)(?:\\\\)*[`\[$]|<(?!/?(?:details|summary)>)|&(?!amp;|lt;)|://|www\.|(?<!\w)@\w"
            assert not [line for line in outside_code if re.search(markup, line)]
            return [len(re.findall(r"(?<!\\)\|", line)) * line.startswith("|") for line in lines]


def _keys(data):
    """JSON without its texts."""
    if isinstance(data, dict):
        return {re.sub("option .*", "option", key, flags=re.DOTALL): _keys(value) for key, value in data.items()}
    return [_keys(item) for item in data] if isinstance(data, list) else isinstance(data, str) or data


def every_attack(test):
    """Try each known attack, besides what hypothesis finds."""
    for text in ATTACKS:
        test = example(text=text)(test)
    return test


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"md"}))
@every_attack
@given(text=TEXTS)
@QUICK
def test_tables(name, records, text):
    """A table of records, and one with the devices side by side, whose headers hold names."""
    for build in (latency_table, table_by_device):
        shown = build(records(text)).to(name)

        assert [] == alarms(shown, colors=name == "rich")
        if (name, build) not in HARMLESS:
            HARMLESS[name, build] = shape_of(name, build(records("harmless")).to(name))
        assert HARMLESS[name, build] == shape_of(name, shown)


@every_attack
@given(text=TEXTS)
@QUICK
def test_a_terminal_with_colours(records, text):
    """The only escape sequences are those of the colours."""
    console = Console(force_terminal=True, color_system="standard", width=500)

    shown = rich_text.render(latency_table(records(text)), console=console)

    assert "\x1b[" in shown
    assert [] == alarms(shown, colors=True)


@pytest.mark.parametrize("name", sorted(set(EXPORTS) - {"otava"}))
@every_attack
@given(text=TEXTS)
@QUICK
def test_exports_of_a_comparison(name, text):
    """What CI services read."""
    shown, harmless = (export(compare(names), name) for names in (text, "harmless"))

    if name == "annotations":
        command = r"::(error|warning|notice) title=([^:,]*)::"
        levels = [[re.match(command, line)[1] for line in lines.splitlines()] for lines in (shown, harmless)]
        assert levels[0] == levels[1]
        assert [] == alarms(re.sub(f"(?m)^{command}", "", shown))
        return
    assert [] == alarms(shown)
    match name:
        case "junit":
            trees = [[(item.tag, *item.attrib) for item in ET.fromstring(xml).iter()] for xml in (shown, harmless)]  # noqa: S314
            assert trees[0] == trees[1]
        case "markdown":
            assert shape_of(name, harmless) == shape_of(name, shown)
        case _:
            assert not re.search(r"[<>`|]", shown)
            assert len(json.loads(harmless)) == len(json.loads(shown))


@every_attack
@given(text=TEXTS)
@QUICK
def test_the_table_of_a_comparison_as_json_is_the_same_text(text):
    """JSON loses nothing."""
    comparison = compare(text)

    shown = export(comparison, "json")

    assert [] == alarms(shown)
    assert msgspec.to_builtins(comparison)["findings"][0]["reason"] == json.loads(shown)["findings"][0]["reason"]
    assert text == json.loads(shown)["base"]


@every_attack
@given(text=TEXTS)
@QUICK
def test_series(tmp_path, text):
    """The CSV files of a folder for Otava."""
    otava.write_series(tmp_path, {"row": [{"time": "2026-01-01", "commit": text, "ratio": 1.0, "verdict": text}]})

    shown = (tmp_path / "row.csv").read_text("utf-8")
    assert [] == alarms(shown)
    assert [4, 4] == shape_of("csv", shown)


@every_attack
@given(text=TEXTS)
@QUICK
def test_metrics_name_rows_without_markup(records, text):
    """Bencher and benchmark-action get names that may go into HTML or a cell."""
    for metric in record_metrics(records(text)):
        assert [] == alarms(metric.row) + alarms(metric.note)
        assert not re.search(r"[<>`|]", metric.row + metric.note)


@every_attack
@given(text=TEXTS)
@QUICK
def test_errors(text):
    """One line, and one line with the hint; and a line of a note, of progress or of the log is one line."""
    with CliRunner().isolation() as (_, stderr, _):
        output.failure(MnbenchError(text, hint=text)).show()
        output.echo(text, err=True)
        written = stderr.getvalue().decode()

    assert 3 == written.count("\n")
    assert [] == alarms(written)
    assert written.startswith("Error: ")


@pytest.mark.parametrize("colors", [False, True], ids=["plain", "colours"])
@every_attack
@given(text=TEXTS)
@SLOW
def test_plots_in_the_terminal(records, colors, text):
    """Names of graphs and settings, and lines that are wrapped at any place."""
    pytest.importorskip("plotext")
    from mnbench.plots.terminal import draw_text

    shown = draw_text(Plot(kind="mult-adds", results=None, records=records(text)), colors=colors)

    assert [] == alarms(shown, colors=True)


@pytest.mark.slow
@given(text=TEXTS)
@example(text="".join(ATTACKS))
@settings(max_examples=1, suppress_health_check=FIXTURES)
def test_pictures_and_the_report(tmp_path, records, text):
    """SVG and the page have no element, attribute or script that a harmless name does not give."""
    pytest.importorskip("vl_convert")
    svg = Plot(kind="mult-adds", results=None, records=records(text))._repr_svg_()
    elements = list(ET.fromstring(svg).iter())  # noqa: S314
    assert SVG_ELEMENTS >= {element.tag.rpartition("}")[2] for element in elements}
    assert not [name for element in elements for name in element.attrib if "href" in name or name.startswith("on")]
    assert [] == alarms(svg)

    page = render_page(tmp_path, records(text), title=text, notes=[text])
    page = re.sub(r'<script type="module">.*?</script>', "", page, flags=re.DOTALL)
    elements = Elements(page).elements
    assert not PAGE_ELEMENTS ^ {element[0] for element in elements}
    assert not [name for element in elements for name in element[1:] if name.startswith("on") or name == "src"]
    assert [] == alarms(page)
    for script in re.findall(r'<script type="application/json">(.*?)</script>', page):
        assert "<" not in script
        json.loads(script)
