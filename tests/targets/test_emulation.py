"""Records of an emulated processor, which tell no time, and real emulation."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
import sys

import msgspec
import pytest
from common import EMULATED
from small_variants import HEAVY, NAMES, small_variant

from mnbench.bench.aggregate import aggregate
from mnbench.bench.plan import SamplingConfig
from mnbench.results.latency_table import latency_table, newest_records
from mnbench.results.store import ResultsFile
from mnbench.targets import resolve
from mnbench.targets.device import read_device
from mnbench.workspace import cache_folder

CACHE = cache_folder()
"""The user's own: each test has one of its own in its place."""


@pytest.fixture
def emulated_record(make_plan, make_cell, make_sample):
    """A record of an emulated cell."""
    plan = make_plan(make_cell())
    return aggregate(plan, plan.cases[0], "run", [make_sample(host=EMULATED, difference=0.25)])


def test_an_emulated_record_has_outputs_and_placement_and_no_time(emulated_record):
    """Nothing that reads records can take the emulator's speed, or its memory, for the processor's."""
    facts = msgspec.to_builtins(emulated_record)
    times = [name for name, value in facts.items() if name.endswith("_ns") and value]

    assert ([], None, 0) == (times, facts["peak_rss_bytes"], facts["runs"])
    assert (0.25, {"nodes": 1.0, "mult_adds": 1.0}) == (facts["difference"], facts["placement"])
    assert ["emulated"] == [issue["name"] for issue in facts["issues"]]
    assert (True, False, None) == (emulated_record.emulated, emulated_record.trusted, emulated_record.error)


def test_a_table_says_emulated_in_place_of_a_latency(emulated_record, make_record):
    """Beside measured rows no column has a time for it; alone, columns of times are left out."""
    both = latency_table([emulated_record, make_record(0.5)]).to("markdown")
    alone = latency_table([emulated_record]).to("markdown")
    row = next(line for line in both.splitlines() if "| emulated |" in line)

    assert "| emulated | – | – | – | – |" in row
    assert "| emulated | 100% | 2.5e-01 |" in alone
    assert "emulated Cortex-A72, 2 cores" in alone
    assert "is emulated: this processor is emulated, so its latencies are meaningless" in alone


def test_an_emulated_record_never_hides_a_measured_one(emulated_record, make_record):
    """A board with the same processor has a row of its own, however new the emulated one is."""
    board = make_record(host={**EMULATED, "emulated": False}, runtime=emulated_record.runtime)

    assert {True, False} == {record.emulated for record in newest_records([board, emulated_record])}


def test_one_run_is_all_that_is_asked_of_an_emulator():
    """Neither processes nor durations are worth their time there; seeds are kept."""
    protocol = SamplingConfig(processes=9, duration_s=5, seed=3).for_emulator()

    assert (1, 1, 0.0, 0.0, 3) == (
        protocol.processes,
        protocol.min_runs,
        protocol.duration_s,
        protocol.budget_s,
        protocol.seed,
    )


def test_a_table_of_emulated_rows_is_not_gated(invoke, workspace, emulated_record):
    """There is nothing in it to be compared with."""
    ResultsFile(workspace / "results", "arm64").append(emulated_record)
    result = invoke("gate", "results/arm64.jsonl")

    assert 1 == result.exit_code
    assert "all of it is emulated, so its latencies are meaningless" in result.stderr


# Real emulation


@pytest.fixture
def emulator(monkeypatch):
    """What `mnbench devices setup arm64` has made."""
    monkeypatch.undo()
    monkeypatch.setenv("MNBENCH_ROOFLINE", "0")
    monkeypatch.setenv("MNBENCH_CACHE", str(CACHE))
    monkeypatch.delenv(resolve.BOARD_VARIABLE, raising=False)
    if resolve.resolve_target(read_device("arm64")).kind != "emulated":
        pytest.skip("no emulated arm64 here: mnbench devices setup arm64")


def groups():
    """The small variants by α and size: what one command runs, and one emulated process computes."""
    variants: dict[tuple[float, int], list[str]] = {}
    for name in NAMES:
        variant = small_variant(name)
        if name not in HEAVY:
            variants.setdefault((variant.alpha, variant.resolution[0]), []).append(name)
    return variants


@pytest.mark.slow
@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize(("alpha", "size"), groups())
def test_every_graph_answers_on_arm64_as_on_x86(alpha, size, tmp_path):
    """Outputs are the reference's within the tolerance of fp32, every node is where it should be, no time is told."""
    names = groups()[alpha, size]
    words = [*names, "--alpha", repr(alpha), "--res", str(size), "--device", "arm64", "--results", str(tmp_path)]
    command = [sys.executable, "-m", "mnbench", "run", *words, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    records = json.loads(done.stdout)["records"]

    assert 0 == done.returncode, done.stderr
    assert sorted(small_variant(name).name for name in names) == sorted(record["variant"] for record in records)
    for record in records:
        assert (None, None) == (record["error"], record["latency_ns"])
        assert 0 <= record["difference"] < 1e-3
        assert {"nodes": 1.0, "mult_adds": 1.0} == record["placement"]
        assert ("aarch64", True, "Cortex-A72") == tuple(record["host"][key] for key in ("machine", "emulated", "cpu"))
        assert ["emulated"] == [issue["name"] for issue in record["issues"]]
