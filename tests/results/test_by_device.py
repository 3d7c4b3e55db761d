"""The latency table: which rows, in which shape, and for documents."""

# ruff: noqa: SIM300  expected == actual

import json

import pytest
from common import csv_rows, pipe_rows

from mnbench.results.record import Issue
from mnbench.results.store import ResultsFile


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["latency_ns<=2ms"], [0.5, 0.25]),
        (["latency_ns<=2000000", "resolution>=160"], [0.5]),
        (["graph=v1", "variant=*-r1??"], [0.5, 0.25]),
        (["variant!=v1-a1-*"], [0.5, 0.25]),
        (["issues="], [1, 0.5, 0.25]),
        (["params>4M", "alpha=1"], [1]),
    ],
)
def test_where_keeps_rows_that_fulfil_every_condition(invoke, conditions, expected):
    """Numbers may have a unit, words a `*`, and an empty word stands for no value."""
    where = [word for condition in conditions for word in ("--where", condition)]
    payload = json.loads(invoke("table", *where, "--format", "json").stdout)

    assert expected == [record["alpha"] for record in payload["records"]]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("latency<5", "did you mean `latency_ns`?"),
        ("latency_ns", "is not a condition"),
        ("latency_ns<5MB", "latency_ns cannot be compared with"),
        ("graph<v1", "graph cannot be compared with"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(invoke, condition, said):
    """With exit code 2, and what would mean something."""
    result = invoke("table", "--where", condition)

    assert (2, True) == (result.exit_code, said in result.stderr)


@pytest.mark.usefixtures("stored")
def test_no_row_is_an_error(invoke):
    """A condition that nothing fulfils is not an empty table."""
    result = invoke("table", "--where", "latency_ns<1ns")

    assert (1, "Error: results: no row has latency_ns<1") == (result.exit_code, result.stderr.splitlines()[0])


@pytest.mark.usefixtures("stored")
def test_table_sorts_by_several_columns(invoke, workspace, make_record):
    """The first column decides, and where it is equal the next."""
    ResultsFile(workspace / "results", "cpu").append(make_record(0.5, 224, 1_000_000))
    payload = json.loads(invoke("table", "--sort", "alpha,-latency_ns", "--format", "json").stdout)

    result = [(record["alpha"], record["latency_ns"]["median"]) for record in payload["records"]]
    assert [(0.25, 300_000), (0.5, 2_000_000), (0.5, 1_000_000), (1, 9_000_000)] == result


@pytest.mark.usefixtures("stored")
def test_ratio_to_a_row_of_each_device(invoke, workspace, make_record):
    """The ratio is to that variant on the row's own device, and its interval the widest that both allow."""
    ResultsFile(workspace / "results", "gpu").append(make_record(1.0, 224, 500_000, device="gpu"))
    ResultsFile(workspace / "results", "gpu").append(make_record(0.5, 160, 250_000, device="gpu"))
    rows = json.loads(invoke("table", "--ratio", "v1-a1-r224", "--format", "json").stdout)["rows"]
    fixed = json.loads(invoke("table", "--ratio", "cpu/v1-a1-r224", "--format", "json").stdout)["rows"]

    assert [1, pytest.approx(2 / 9), pytest.approx(0.3 / 9), 1, 0.5] == [row["ratio"] for row in rows]
    assert [None, pytest.approx(0.207, abs=5e-4)] == [row["ratio_low"] for row in rows[:2]]
    assert [None, pytest.approx(0.238, abs=5e-4)] == [row["ratio_high"] for row in rows[:2]]
    assert [pytest.approx(0.5 / 9), pytest.approx(0.25 / 9)] == [row["ratio"] for row in fixed[3:]]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "options",
    [
        ["--ratio", "v1-a1-r224"],
        ["--beside", "--columns", "variant,latency_ns,interval_ns"],
        ["--columns", "low_ns,interval_ns,high_ns"],
        ["--history"],
    ],
)
def test_a_csv_cell_is_one_value(invoke, options):
    """An interval is two columns of numbers, and a drawing is none; no column comes twice."""
    rows = csv_rows(invoke("table", "cpu", *options, "--format", "csv").stdout)
    words = {"variant", "graph", "device", "first", "alarm"}

    assert 3 == len(rows)
    assert options == ["--history"] or any(name.endswith("high_ns") for name in rows[0])
    assert all(float(row[name]) for row in rows for name in row.keys() - words if row[name])


@pytest.mark.usefixtures("stored")
def test_ratio_to_a_row_that_is_not_there(invoke):
    """An unknown row is refused, and the hint names the nearest and shows how one is named."""
    result = invoke("table", "--ratio", "v1-a1-r223")
    error, hint = result.stderr.splitlines()

    assert (1, "Error: no measured row is named v1-a1-r223") == (result.exit_code, error)
    assert hint.startswith("Hint: did you mean `v1-a1-r224`? name a variant")
    assert "did you mean `cpu`?" in invoke("table", "cpuu").stderr


@pytest.mark.usefixtures("stored")
def test_devices_stand_side_by_side(invoke, workspace, make_record):
    """One row a variant, one latency a device, with its marks; where a device has none, a dash."""
    noisy = (Issue(name="noisy", advice="end other load"),)
    ResultsFile(workspace / "results", "gpu").append(make_record(0.5, 160, 500_000, device="gpu", issues=noisy))
    header, _, *rows = pipe_rows(invoke("table", "--beside", "--format", "md").stdout)

    assert ["graph", "α", "res", "Mult-Adds M", "cpu latency ms", "gpu latency ms"] == header
    assert [["v1", "1", "224", "568.7", "9.00", "–"], ["v1", "0.5", "160", "568.7", "2.00", "0.500 !"]] == rows[:2]


def test_two_settings_of_a_device_stand_side_by_side(invoke, workspace, make_record):
    """What differs between the records of one device is in the columns' names."""
    for threads in (1, 2):
        ResultsFile(workspace / "results", "cpu").append(make_record(threads=threads))
    header, *_ = pipe_rows(invoke("table", "--beside", "--format", "md").stdout)

    assert ["cpu ×1 latency ms", "cpu ×2 latency ms"] == header[-2:]


@pytest.mark.usefixtures("stored")
def test_a_table_for_each_group(invoke, workspace, make_record):
    """`--group device` prints a table a device, and for programs all rows in that order."""
    ResultsFile(workspace / "results", "gpu").append(make_record(1.0, 224, 500_000, device="gpu"))
    shown = invoke("table", "--group", "device", "--format", "md").stdout
    rows = csv_rows(invoke("table", "--group", "device", "--columns", "device", "--format", "csv").stdout)

    assert 2 == shown.count("| --- |")
    assert ["cpu", "cpu", "cpu", "gpu"] == [row["device"] for row in rows]


@pytest.mark.parametrize("words", [("--beside", "--group", "graph"), ("--ratio", "v1", "--beside")])
def test_shapes_exclude_each_other(invoke, words):
    """One table has one shape."""
    assert 2 == invoke("table", *words).exit_code


# For documents


@pytest.mark.usefixtures("stored")
def test_latex_holds_no_sign_of_its_own(invoke, workspace, make_record):
    """A `tabular` in which every special sign is escaped, ≈ and – included, and every row has as many cells."""
    doubtful = (Issue(name="imprecise", advice=""),)
    user_record = make_record(
        None, variant="my_model_50%&#", architecture=None, resolution=None, issues=doubtful, id="run/own"
    )
    ResultsFile(workspace / "results", "cpu").append(user_record)
    lines = invoke("table", "--columns", "variant,latency_ns,interval_ns", "--format", "latex").stdout.splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]

    assert r"my\_model\_50\%\&\# & $\approx$ 10.0 & 9.70--10.4 \\" in rows
    assert {2} == {line.replace(r"\&", "").count("&") for line in rows}
    assert all(line.isascii() for line in lines if not line.startswith("%"))


@pytest.mark.usefixtures("stored")
def test_html_escapes(invoke, workspace, make_record):
    """What a file's name holds is text, and nothing else."""
    user_record = make_record(None, variant="<script>&", architecture=None, resolution=None, id="run/own")
    ResultsFile(workspace / "results", "cpu").append(user_record)
    text = invoke("table", "--columns", "variant,latency_ns", "--format", "html").stdout

    assert '<tr><td>&lt;script&gt;&amp;</td><td class="n">10.0</td></tr>' in text
    assert "<script>" not in text
