"""Results: the collection of records that the Python API returns."""

# ruff: noqa: SIM300  expected == actual

import sys
from types import SimpleNamespace

import pytest

from mnbench.errors import MissingDependency, ResultsError, TrialError
from mnbench.results.results import Results, load_results
from mnbench.results.store import ResultsFile


@pytest.fixture
def results(make_record):
    """Three variants on one device, and one of them on another."""
    return Results(
        [
            make_record(1.0, 224, 9_000_000),
            make_record(0.5, 160, 2_000_000),
            make_record(0.25, 128, 300_000),
            make_record(0.5, 160, 500_000, device="gpu"),
        ],
        skipped={"phone": TrialError("no answer", hint="start it")},
    )


def test_results_are_a_sequence(results):
    """Of records; a slice is results again, which still name the skipped devices."""
    assert 4 == len(results) == len(list(results))
    assert results.records[1] == results[1] == results[-3]
    assert ["cpu", "gpu"] == [record.device for record in results[2:]]
    assert ["phone"] == list(results[2:].skipped)
    assert "<Results: 4 records of cpu, gpu>" == repr(results)
    assert results.records[0] in results


def test_a_record_has_a_name(results):
    """Its variant's, with the device where there are several."""
    assert 9_000_000 == results["v1-a1-r224"].latency_ns.median
    assert "gpu" == results["gpu/v1-a0.5-r160"].device
    with pytest.raises(ResultsError, match="2 records are named"):
        results["v1-a0.5-r160"]
    with pytest.raises(ResultsError, match="no records are named v9"):
        results["v9"]


def test_where_and_sort(results):
    """The conditions and columns of `mnbench table`."""
    fast = results.where("latency_ns<=2ms", "device=cpu")
    assert [0.25, 0.5] == [record.alpha for record in fast.sort("latency_ns")]
    assert [0.5, 0.25] == [record.alpha for record in fast.sort("-latency_ns")]
    assert 0 == len(results.where("latency_ns<1ns"))
    with pytest.raises(ResultsError, match="did you mean `latency_ns`"):
        results.where("latency<1")
    with pytest.raises(ResultsError, match="no column 'speed'"):
        results.sort("-speed")
    with pytest.raises(ResultsError, match="interval_ns has two values in a row: name low_ns or high_ns"):
        results.sort("interval_ns")


def test_failures(results, make_record):
    """Records with an error, and no others."""
    failed = make_record(latency_ns=None, error="it crashed")
    assert (0, [failed]) == (len(results.failures), list(Results([*results, failed]).failures))


def test_pick(results):
    """The most accurate variant of one device within a budget."""
    assert "v1-a0.5-r160" == results.where("device=cpu").pick(budget_ms=5).picked.variant
    with pytest.raises(ResultsError, match="several devices or hosts: cpu on EPYC"):
        results.pick(budget_ms=5)
    with pytest.raises(ResultsError, match="no record has a latency"):
        Results().pick(budget_ms=5)


def test_pick_the_largest(results, make_record):
    """By params, a variant without a published accuracy may be picked too."""
    odd = make_record(0.3, 224, 1_000_000, params=9_000_000)
    choice = Results([*results.where("device=cpu"), odd]).pick(budget_ms=5, best="params")
    assert ("v1-a0.3-r224", None) == (choice.picked.variant, choice.picked.accuracy)
    assert "9.00 M params in 1.00 ms, the largest of 3 that fit" in str(choice)
    assert ("v1-a0.3-r224",) == choice.to_dict()["unknown"]


def test_tables(results):
    """As text, as HTML for a notebook, with chosen columns, with ratios, and with the devices side by side."""
    assert "9.00" in str(results)
    assert "<table" in results._repr_html_()
    assert ["variant", "latency_ns"] == [column.name for column in results.table(["variant", "latency_ns"]).columns]
    ratios = results.table(["variant"], ratio_to="cpu/v1-a1-r224").to_dicts()
    assert [1, pytest.approx(2 / 9)] == [row["ratio"] for row in ratios[:2]]
    assert 3 == len(results.table(by_device=True).rows)
    with pytest.raises(ResultsError, match="no column"):
        results.table(["speed"])


def test_values(results, monkeypatch):
    """Dictionaries in base units, by the columns of the CSV; a data frame of the same."""
    first = results.to_dicts()[0]
    assert (9_000_000, "v1-a1-r224", 568_740_352) == (first["latency_ns"], first["variant"], first["mult_adds"])
    frame = SimpleNamespace(DataFrame=lambda rows, columns: (rows, columns))
    monkeypatch.setitem(sys.modules, "pandas", frame)
    rows, columns = results.to_pandas()
    assert (rows, columns) == (results.to_dicts(), list(first))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependency) as missing:
        results.to_pandas()
    assert 'in a checkout of mnbench: pip install ".[pandas]"' == missing.value.hint


def test_results_are_saved_and_loaded(results, tmp_path):
    """In a folder a file for each device; nothing is stored twice."""
    for _ in range(2):
        assert tmp_path / "table" == results.save(tmp_path / "table")
    assert ["cpu.jsonl", "gpu.jsonl"] == sorted(path.name for path in (tmp_path / "table").glob("*.jsonl"))
    assert sorted(results, key=repr) == sorted(load_results(tmp_path / "table", newest=False), key=repr)
    assert ["gpu"] == [record.device for record in load_results(tmp_path / "table", device="gpu")]
    results.save(tmp_path / "all.jsonl")
    assert list(results) == list(load_results(tmp_path / "all.jsonl", newest=False))
    assert 3 == len(load_results(tmp_path / "all.jsonl", device=["cpu"]))


def test_newest_records_alone(tmp_path, make_record):
    """Unless all are asked for."""
    file = ResultsFile(tmp_path, "cpu")
    for median in (2, 1):
        file.append(make_record(median=median * 1_000_000))
    assert [1_000_000] == [record.latency_ns.median for record in load_results(tmp_path)]
    assert 2 == len(load_results(tmp_path, newest=False))


@pytest.mark.parametrize(
    ("path", "device", "message"),
    [
        ("none", None, "holds no results yet"),
        ("none.jsonl", None, "no such file"),
        ("none", "cpu", "no results of device"),
    ],
)
def test_nothing_to_load(tmp_path, path, device, message):
    """One line, and a hint."""
    with pytest.raises(ResultsError, match=message):
        load_results(tmp_path / path, device=device)
