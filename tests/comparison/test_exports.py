"""Reports of a judgement: what CI services read, by their published definitions."""

# ruff: noqa: SIM300  expected == actual

import json
import random
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from common import csv_rows

import mnbench
from mnbench.comparison.comparison import Comparison, verdict_sentence
from mnbench.comparison.decide import DecisionRules, Finding, overall_verdict
from mnbench.comparison.exports import (
    EXPORTS,
    REPORT_FORMATS,
    annotations,
    bencher,
    benchmark_action,
    export,
    github_summary,
    junit,
    otava,
    write_exports,
)
from mnbench.comparison.exports.github_summary import MAX_ROWS, PLOT_WIDTH, plot_intervals
from mnbench.comparison.metrics import record_metrics
from mnbench.errors import MnbenchError, ResultsError
from mnbench.text import printable

HOSTILE = "a:b,c|d`e*<b>\x07\n::error::x%"


def finding(variant, verdict, ratio=None, reason="", **changes):
    """A finding; one with a ratio has bounds 1 % away."""
    bounds = {"low": ratio - 0.01, "high": ratio + 0.01, "processes": 4, "pairs": 1234} if ratio else {}
    return Finding(variant=variant, device="cpu", verdict=verdict, reason=reason, **{"ratio": ratio} | bounds | changes)


EVERY = (
    finding("v1-a1-r224", "same", 1.001),
    finding("v1-a0.5-r224", "slower", 1.05, "+4.7 % when measured again, alone"),
    finding("v2-a1-r224", "faster", 0.95),
    finding("v3-small-a1-r224", "inconclusive", 1.012, "may be slower"),
    finding("gone-a1-r64", "missing", reason="unknown graph"),
    finding("v1-a0.25-r64", "identical", reason="the same model and runtime"),
    finding(HOSTILE, "incomparable", reason=HOSTILE),
)


def judged(*findings, allow=()):
    """The judgement of a table with these rows."""
    return Comparison(
        verdict=overall_verdict(findings, allow),
        base="results/cpu.jsonl",
        candidate="now",
        findings=findings,
        rules=DecisionRules(),
        seed=0,
        run="20260101T000000-compare",
        duration_s=43.21,
    )


# Markdown


def test_the_summary_says_it_all_in_its_heading():
    """Each verdict has its own."""
    assert github_summary.export(judged(*EVERY)).startswith("### mnbench: 1 of 7 rows slower\n")
    assert github_summary.export(judged(EVERY[0])).startswith("### mnbench: no row is slower, 1 passed\n")
    assert github_summary.export(judged(EVERY[0], EVERY[3])).startswith(
        "### mnbench: inconclusive, 1 of 2 rows not decided\n"
    )
    assert github_summary.export(judged()).startswith("### mnbench: inconclusive, 0 of 0 rows not decided\n")


def test_the_worst_row_comes_first():
    """What fails, then what passes; what is identical is folded away."""
    text = github_summary.export(judged(*EVERY))
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    assert ["`v1-a0.5-r224`", "`gone-a1-r64`"] == rows[:2]
    assert "`v1-a1-r224`" == rows[-1]
    assert "<details><summary>1 identical: nothing was measured</summary>\n\n`v1-a0.25-r64`\n\n</details>" in text


def test_names_and_reasons_are_no_markup():
    """Neither a cell's end, nor HTML, nor a line of its own; every row has as many cells as the header."""
    lines = github_summary.export(judged(*EVERY)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {7} == {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert not any(re.search(r"(?<!\\)<(?!/?(details|summary)>)", re.sub(r"`[^`]*`", "", line)) for line in lines)
    assert not any(line.startswith("::") for line in lines)


def test_the_plot_puts_each_row_where_it_is():
    """Slower right of the dot, faster left of it, all within the axis."""
    axis, slower, faster, same = plot_intervals(
        [finding("a", "slower", 1.1), finding("bb", "faster", 0.9), finding("c", "same", 1.0)], 0.02
    )
    middle = axis.index(" 0 ") + 1
    assert ("-11.0 %", "+11.0 %") == (axis[4:].split()[0] + " %", axis.split()[-2] + " %")
    assert slower.index("┼") > middle > faster.index("┼")
    assert middle == same.index("┼")
    assert "·" == slower[middle] == faster[middle]
    assert all(len("bb") + 2 + PLOT_WIDTH < len(line) for line in (slower, faster, same))
    assert slower.endswith("+10.0 %  slower")


def test_a_huge_table_fits_into_a_summary():
    """A mebibyte is all that a step has; the worst rows are shown, and the rest counted."""
    many = [finding(f"{'folder/' * 20}model-{at}", "same", 1.0 + at / 1e6) for at in range(3000)]
    text = github_summary.export(judged(*many, EVERY[1]))
    assert len(text.encode()) < 2**20
    assert f"{3001 - MAX_ROWS} more rows are not shown" in text
    assert "`v1-a0.5-r224` | **slower**" in text


# Annotations


def commands(text):
    """Level, title and message of each line, unescaped as the runner does."""
    lines = [re.fullmatch(r"::(error|warning|notice) title=([^,:]*)::(.*)", line) for line in text.splitlines()]
    assert all(lines), text

    def plain(value):
        for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            value = value.replace(code, sign)
        return value

    return [tuple(map(plain, line.groups())) for line in lines]


def test_annotations_name_what_fails():
    """The verdict first; nothing that a name holds ends a command or begins one."""
    reported = commands(annotations.export(judged(*EVERY)))
    assert ("error", "mnbench: 1 of 7 rows slower") == reported[0][:2]
    assert [("error", "v1-a0.5-r224 is slower"), ("error", "gone-a1-r64 is missing")] == [
        item[:2] for item in reported[1:3]
    ]
    assert "+5.0 %, between +4.0 % and +6.0 %. +4.7 % when measured again, alone" == reported[1][2]
    assert ("warning", f"{printable(HOSTILE)} is incomparable", printable(HOSTILE)) == reported[3]
    assert 5 == len(reported)


def test_there_are_no_more_annotations_than_are_shown():
    """Ten of a kind a step: the last one says how many more there are."""
    reported = commands(annotations.export(judged(*(finding(f"row {at}", "slower", 1.1) for at in range(30)))))
    assert 10 == len(reported)
    assert "22 more rows" == reported[-1][1]
    assert 10 == len(commands(annotations.export(judged(*(finding(f"row {at}", "slower", 1.1) for at in range(9))))))


def test_a_pass_is_a_notice():
    """And nothing else."""
    assert [("notice", "mnbench: no row is slower, 1 passed")] == [
        command[:2] for command in commands(annotations.export(judged(EVERY[0])))
    ]


# JUnit XML


def test_junit_counts_what_it_holds():
    """A slower row is a failure, an unclear one an error, and both say why in their text."""
    suites = ET.fromstring(junit.export(judged(*EVERY)).encode())  # noqa: S314  our own
    (suite,) = suites
    counts = {"tests": "7", "failures": "1", "errors": "3", "time": "43.210"}
    assert counts == {name: suite.attrib[name] for name in counts} == {name: suites.attrib[name] for name in counts}
    cases = suite.findall("testcase")
    assert ("cpu", "v1-a1-r224") == (cases[0].attrib["classname"], cases[0].attrib["name"])
    assert (1, 3) == (len(suite.findall("*/failure")), len(suite.findall("*/error")))
    failure = cases[1].find("failure")
    assert "slower" == failure.attrib["type"]
    assert failure.text == failure.attrib["message"]
    assert (
        "slower: +5.0 % (+4.0 % to +6.0 %), 4 processes, 1,234 pairs: +4.7 % when measured again, alone" == failure.text
    )
    properties = {element.attrib["name"]: element.attrib["value"] for element in suite.find("properties")}
    assert {
        "base": "results/cpu.jsonl",
        "candidate": "now",
        "seed": "0",
        "run": "20260101T000000-compare",
    } == properties


def test_what_is_allowed_to_be_unclear_passes_everywhere():
    """And is still said to be unclear: in the heading, in words, in the log, and as a test that was skipped."""
    judgement = judged(EVERY[0], EVERY[3], allow={"inconclusive"})
    assert "pass" == judgement.verdict
    assert github_summary.export(judgement).startswith("### mnbench: no row is found slower, 1 of 2 rows unclear\n")
    assert "PASS: 1 same, 1 inconclusive of 2 rows. None of the others is slower by more than" in verdict_sentence(
        judgement
    )
    assert "::warning title=v3-small-a1-r224 is inconclusive::" in annotations.export(judgement)
    (suite,) = ET.fromstring(junit.export(judgement).encode())  # noqa: S314  our own
    assert {"failures": "0", "errors": "0", "skipped": "1"}.items() <= suite.attrib.items()
    assert "inconclusive: " in suite.findall("testcase")[1].find("skipped").attrib["message"]


# Services


def test_bencher_metric_format():
    """By row and measure a value with its bounds; an identical row is 1; one without a ratio is left out."""
    payload = json.loads(export(judged(*EVERY), "bencher"))
    assert {"value": 1.05, "lower_value": 1.04, "upper_value": 1.06} == payload["v1-a0.5-r224"]["ratio"]
    assert {"ratio": {"value": 1.0}} == payload["v1-a0.25-r64"]
    assert {"gone-a1-r64", HOSTILE}.isdisjoint(payload)
    assert all(
        isinstance(figure, float) for row in payload.values() for item in row.values() for figure in item.values()
    )


def test_github_action_benchmark():
    """A list of names, units and values, none of them empty: a table without change must not fail the service."""
    payload = json.loads(export(judged(*EVERY), "benchmark-action"))
    assert {
        "name": "v1-a0.5-r224",
        "unit": "candidate / base",
        "value": 1.05,
        "range": "± 0.01",
        "extra": "slower\n4 processes, 1234 pairs\n+4.7 % when measured again, alone",
    } == payload[1]
    assert 1 == len(json.loads(export(judged(EVERY[5]), "benchmark-action")))


def test_latencies_for_services(make_record):
    """Of a table's rows, in nanoseconds; devices and threads are named where there are several."""
    records = [make_record(0.5, 160, 2_000_000), make_record(1.0, 224, error="no", latency_ns=None)]
    assert {
        "v1-a0.5-r160": {"latency": {"value": 2_000_000, "lower_value": 1_940_000, "upper_value": 2_080_000}}
    } == json.loads(bencher.write(record_metrics(records)))
    records = [make_record(0.5, 160, threads=1), make_record(0.5, 160, threads=2, device="board")]
    rows = [load["name"] for load in json.loads(benchmark_action.write(record_metrics(records)))]
    assert ["cpu v1-a0.5-r160 1 threads", "board v1-a0.5-r160 2 threads"] == rows


# Series


def test_a_series_grows_by_a_line_a_comparison(tmp_path, monkeypatch):
    """A file a row, also below a folder; a row that was not measured has no line; `otava.yaml` names all files."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "series"
    for day in (1, 2):
        when = datetime(2026, 1, day, tzinfo=UTC)
        findings = (finding("a", "same", 1.0 + day / 100), finding("deep/b", "same", 1.0), finding("c", "missing"))
        otava.extend_series(folder, otava.comparison_to_series(judged(*findings[:day]), when))
    lines = csv_rows((folder / "cpu" / "a.csv").read_text(encoding="utf-8"))
    assert [("2026-01-01T00:00:00+00:00", "1.01"), ("2026-01-02T00:00:00+00:00", "1.02")] == [
        (line["time"], line["ratio"]) for line in lines
    ]
    assert {"time", "commit", "ratio", "low", "high", "verdict"} == set(lines[0])
    config = json.loads((folder / "otava.yaml").read_text(encoding="utf-8"))
    assert ["cpu/a", "cpu/deep/b"] == config["test_groups"]["mnbench"] == list(config["tests"])
    assert {"ratio": {"direction": -1}} == config["tests"]["cpu/a"]["metrics"]


def test_another_file_is_not_continued(tmp_path):
    """A file of the same name with other columns."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "a.csv").write_text("time,latency\n1,2\n", encoding="utf-8")
    with pytest.raises(ResultsError, match="has other columns"):
        otava.extend_series(tmp_path, otava.comparison_to_series(judged(finding("a", "same", 1.0))))
    assert "time,latency\n1,2\n" == (tmp_path / "cpu" / "a.csv").read_text(encoding="utf-8")


@pytest.mark.skipif(not shutil.which("otava"), reason="Apache Otava is not installed")
def test_otava_finds_a_planted_step(tmp_path):
    """Of 3 % after 25 of 40 comparisons, there and in no other row."""
    draw = random.Random(1)
    for at in range(40):
        when = datetime.now(UTC) - timedelta(days=40 - at)
        step = 0.03 if at >= 25 else 0
        findings = (
            finding("quiet", "same", 1 + draw.gauss(0, 0.004)),
            finding("stepped", "same", 1 + step + draw.gauss(0, 0.004)),
        )
        otava.extend_series(tmp_path, otava.comparison_to_series(judged(*findings), when))
    day = (datetime.now(UTC) - timedelta(days=15)).strftime("%Y-%m-%d")

    def analyzed(test):
        command = ["otava", "analyze", test, "--config-file", str(tmp_path / "otava.yaml")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    marked = analyzed("cpu/stepped").splitlines()
    steps = [at for at, line in enumerate(marked) if re.search(r"\+\d\.\d%", line)]
    assert 1 == len(steps)
    assert any(line.startswith(day) for line in marked[steps[0] : steps[0] + 3])
    assert not re.search(r"[+-]\d+\.\d%", analyzed("cpu/quiet"))


# The option


def test_an_unknown_format_names_the_others():
    """The hint has every format."""
    with pytest.raises(MnbenchError) as error:
        export(judged(*EVERY), "pdf")
    assert all(name in error.value.hint for name in EXPORTS)


def test_every_format_of_the_option_is_written(tmp_path):
    """Each format that help lists writes its file."""
    wanted = [(name, tmp_path / name) for name in REPORT_FORMATS]
    write_exports(judged(*EVERY), wanted)
    assert all(path.exists() for _, path in wanted)
    assert judged(*EVERY) == msgspec.json.decode((tmp_path / "json").read_bytes(), type=Comparison)


def test_an_export_is_one_file(tmp_path):
    """A module that is put into the folder is a format: help lists it, and it is written."""
    shutil.copytree(Path(mnbench.__file__).parent, tmp_path / "mnbench")
    toy = tmp_path / "mnbench/comparison/exports/toy.py"
    toy.write_text('"""A toy."""\n\n\ndef export(comparison):\n    return f"toy of {comparison}"\n', encoding="utf-8")
    code = "from mnbench.cli import main; from mnbench.comparison.exports import export; print(export('x', 'toy'))"
    shown = [
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for command in ([sys.executable, "-c", code], [sys.executable, "-m", "mnbench", "compare", "--help"])
    ]
    assert "toy of x\n" == shown[0]
    assert ", toy" in shown[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("junit", "not FORMAT=FILE"),
        ("junit=", "not FORMAT=FILE"),
        ("xml=a.xml", "not FORMAT=FILE"),
        ("junit=.", "a folder"),
    ],
)
def test_a_wrong_report_is_told_before_anything_is_measured(invoke, value, message):
    """Exit 2."""
    result = invoke("compare", "v1-a0.25-r32", "v1-a0.25-r32", "--report", value)
    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
