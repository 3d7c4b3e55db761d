"""`mnbench table --history`: rows from run to run and commit to commit, and the screening by an anchor."""

# ruff: noqa: SIM300  expected == actual

import json
import random
import subprocess

import msgspec
import pytest
from common import csv_rows

from mnbench.analysis.history import MIN_RUNS, HistoryPoint, fit_slope, load_histories, summarize_history
from mnbench.network.variant import ANCHOR
from mnbench.results.record import Runtime
from mnbench.results.store import ResultsFile


@pytest.fixture
def make_points(make_record):
    """Runs of a row on a host whose hours differ by a third; the row follows the anchor with that slope."""

    def make(count, *, slope=0.6, anchored=True, steps=(), seed=0):
        draw = random.Random(seed)
        points = []
        for at in range(count):
            hour = draw.gauss(0, 0.15)
            step = next((factor for first, factor, _ in reversed(steps) if at >= first), 1)
            version = next((name for first, _, name in reversed(steps) if at >= first), "1")
            points.append(
                HistoryPoint(
                    record=make_record(runtime=Runtime(name="onnxruntime", version=version)),
                    median_ns=round(1e7 * step * 2.718281828 ** (slope * hour + draw.gauss(0, 0.005))),
                    min_ns=round(9e6 * step * (1 + abs(draw.gauss(0, 0.005)))),
                    commit="",
                    anchor_ns=round(130_000 * 2.718281828**hour) if anchored else None,
                )
            )
        return tuple(points)

    return make


def test_a_slope_is_learned_from_ten_runs(make_points):
    """With fewer, or without the anchor, none is."""
    assert fit_slope(make_points(30)) == pytest.approx(0.6, abs=0.05)
    assert fit_slope(make_points(MIN_RUNS)) is not None
    assert fit_slope(make_points(MIN_RUNS - 1)) is None
    assert fit_slope(make_points(30, anchored=False)) is None


def test_a_step_is_no_noise(make_points):
    """A runtime that is slower by half, from some run on, teaches no slope."""
    assert fit_slope(make_points(40, steps=[(20, 1.5, "2")])) == pytest.approx(0.6, abs=0.05)


def test_calibration_finds_what_the_hours_hide(make_points):
    """8 % in the last run are found and innocents are not accused, though hours differ by more than that."""
    slower = [summarize_history(make_points(25, steps=[(24, 1.08, "2")], seed=seed)) for seed in range(20)]
    innocent = [summarize_history(make_points(25, seed=seed)) for seed in range(20)]
    assert 19 <= sum(history.needs_comparison for history in slower)
    assert 0 == sum(history.needs_comparison for history in innocent)
    raw = [history.points[-1].median_ns / history.points[-2].median_ns for history in innocent]
    assert max(raw) > 1.1


def test_without_an_anchor_the_minimum_alarms_at_ten_percent(make_points):
    """And a single run says nothing."""
    assert summarize_history(make_points(5, anchored=False, steps=[(4, 1.12, "2")])).needs_comparison
    assert not summarize_history(make_points(5, anchored=False, steps=[(4, 1.07, "2")])).needs_comparison
    single = summarize_history(make_points(1))
    assert (None, None, False) == (single.change, single.calibrated_change, single.needs_comparison)


def test_revisions_of_the_table_are_read(workspace, make_record, monkeypatch):
    """A table that each commit writes anew: every run counts once, with the first commit that has it."""

    def git(*arguments):
        named_by = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        done = subprocess.run(["git", *named_by, *arguments], cwd=workspace, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    store = ResultsFile(workspace / "results", "cpu")
    commits = []
    for day in (1, 2, 3):
        store.path.unlink(missing_ok=True)
        facts = {"run": f"run-{day}", "measured_at": f"2026-01-0{day}T00:00:00+00:00"}
        for variant, latency_ns in (("v1-a1-r224", 10**7 * day), (ANCHOR, 130_000)):
            record = make_record(median=latency_ns, **facts)
            store.append(msgspec.structs.replace(record, id=f"{day}/{variant}", variant=variant))
        if day < 3:
            git("add", "results/cpu.jsonl")
            git("commit", "--quiet", "-m", str(day))
            commits.append(git("rev-parse", "HEAD")[:12])
    row = next(history for history in load_histories([store]).rows if history.newest.record.variant == "v1-a1-r224")
    assert [*commits, ""] == [point.commit for point in row.points]
    assert [10**7, 2 * 10**7, 3 * 10**7] == [point.median_ns for point in row.points]
    assert {130_000} == {point.anchor_ns for point in row.points}
    monkeypatch.setenv("PATH", "")
    assert [1, 1] == [len(history.points) for history in load_histories([store]).rows]


def test_the_history_is_shown_and_written(invoke, stored, workspace):
    """In every format, and as series and for services."""
    assert "▁" in invoke("table", "--history").stdout
    latex = invoke("table", "--history", "--format", "latex").stdout.splitlines()
    assert all(line.isascii() for line in latex if not line.startswith("%"))
    result = invoke(
        "table", "--history", "--format", "json", "--report", "series=series", "--report", "bencher=bencher.json"
    )
    rows = json.loads(result.stdout)["rows"]
    assert {record.variant for record in stored} == {row["variant"] for row in rows}
    (lines,) = [row["points"] for row in rows if row["variant"] == "v1-a0.5-r160"]
    written = csv_rows((workspace / "series" / "cpu" / "v1-a0.5-r160.csv").read_text(encoding="utf-8"))
    assert [str(line["latency_ns"]) for line in lines] == [line["latency_ns"] for line in written] == ["2000000"]
    config = json.loads((workspace / "series" / "otava.yaml").read_text(encoding="utf-8"))
    assert {"latency_ns": {"direction": -1}} == config["tests"]["cpu/v1-a0.5-r160"]["metrics"]
    assert 2_000_000 == json.loads((workspace / "bencher.json").read_text())["v1-a0.5-r160"]["latency"]["value"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("arguments", [("--report", "series=x"), ("--history", "--sort", "latency_ns")])
def test_what_makes_no_sense_is_refused(invoke, arguments):
    """Exit 2, and nothing is written."""
    assert 2 == invoke("table", *arguments).exit_code


@pytest.mark.slow
def test_a_run_measures_the_anchor_once(invoke, fake_worker, workspace):  # noqa: ARG001
    """Beside what is asked for, or as part of it."""
    once = ("--processes", "1", "--duration", "0.05", "--budget", "1ms", "--anchor")
    assert 0 == invoke("run", "v1", "--alpha", "0.25", "--res", "32", *once).exit_code
    assert 0 == invoke("run", "v1", "--alpha", "0.25", "--res", "64", *once).exit_code
    records = ResultsFile(workspace / "results", "cpu").read_records()
    assert sorted(["v1-a0.25-r32", ANCHOR, ANCHOR]) == sorted(record.variant for record in records)
