"""`mnbench run`: what it asks of workers, keeps, and prints."""

# ruff: noqa: SIM300  expected == actual

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from common import ONCE, QUICK, RECORD, SMALL, misfits, pipe_rows
from small_variants import FIXED, SCALABLE

from mnbench.bench.benchmark import BenchmarkOutcome
from mnbench.bench.plan import SamplingConfig
from mnbench.model.weightless import refill_weights, weightless_path
from mnbench.results.record import SessionOptions
from mnbench.results.store import ResultsFile
from mnbench.targets.device import read_device

# run


def test_run_json_holds_the_contract(invoke, fake_worker):
    """`run --format json` has every key of a record, and stderr holds the rest."""
    fake_worker.changes["placement"] = lambda: {"CPUExecutionProvider": ["conv1/conv", "fc"]}
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", "--processes", "2", "--format", "json")
    payload = json.loads(result.stdout)

    assert 0 == result.exit_code
    assert ["records"] == list(payload)
    assert ["v1-a0.25-r32", "v1-a0.25-r64"] == [record["variant"] for record in payload["records"]]
    assert [] == [misfit for record in payload["records"] for misfit in misfits(record, RECORD)]
    assert "results/cpu.jsonl" in result.stderr
    assert 1_009_950 == payload["records"][0]["latency_ns"]["median"]


def test_run_keeps_records_and_renders_the_table(invoke, fake_worker, workspace):
    """`run` appends to `results/cpu.jsonl` and writes `results/cpu.md` from all of it."""
    for side in (32, 64):
        assert 0 == invoke("run", "v1", "--alpha", "0.25", "--res", side, "--processes", "2").exit_code

    records = ResultsFile(workspace / "results", "cpu").read_records()
    _, _, *rows = pipe_rows((workspace / "results" / "cpu.md").read_text(encoding="utf-8"))

    assert ["v1-a0.25-r32", "v1-a0.25-r64"] == [record.variant for record in records]
    assert [["v1", "0.25", "64"], ["v1", "0.25", "32"]] == [row[:3] for row in rows]
    assert 4 == len(fake_worker.requests)


@pytest.mark.slow
def test_run_keeps_what_a_gate_needs(invoke, fake_worker, workspace):
    """The graph of every cell that has a latency, and how sessions were set up: the table can be gated at once."""
    fake_worker.changes = {"runtime": lambda: {"name": "onnxruntime", "version": onnxruntime.__version__}}
    assert 0 == invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", *ONCE).exit_code
    records = ResultsFile(workspace / "results", "cpu").read_records()
    paths = {weightless_path(workspace / "results", record.model_sha256) for record in records}
    assert paths == set((workspace / "results" / "graphs").iterdir())
    assert all(refill_weights(path.read_bytes(), "x").nodes for path in paths)
    assert SessionOptions(options=read_device("cpu").options) == records[0].session
    result = invoke("gate", "results/cpu.jsonl", "--format", "json")
    assert ["identical"] * 2 == [load["verdict"] for load in json.loads(result.stdout)["findings"]]


def test_rows_of_files_can_be_gated(invoke, fake_worker, model):
    """As they are, and in another form of the graph, which files do not have; a file that is gone is missing."""
    fake_worker.changes = {"runtime": lambda: {"name": "onnxruntime", "version": onnxruntime.__version__}}
    path = model("a.onnx")
    assert 0 == invoke("run", path, "--no-simplify", *ONCE).exit_code
    for verdict in ("identical", "missing"):
        result = invoke("gate", "results/cpu.jsonl", "--format", "json")
        (finding,) = json.loads(result.stdout)["findings"]
        assert ("a", verdict) == (finding["variant"], finding["verdict"])
        path.unlink(missing_ok=True)


def test_published_leaves_out_large_images(invoke, monkeypatch):
    """One variant of Cityscapes takes as long as a hundred others; a note says how many are missing."""
    asked = []

    def measure(sources, *_):
        asked.extend(source.name for source in sources)
        return BenchmarkOutcome()

    monkeypatch.setattr("mnbench.bench.benchmark.run_benchmark", measure)
    errors = invoke("run", "v3-small", "--published").stderr

    assert {"v3-small-a1-r224", "v3-small-a1-r320-ssdlite"} <= set(asked)
    assert [] == [name for name in asked if "2049" in name]
    assert (
        "2 variants for large images are left out; name them to measure them: mnbench run v3-small-a1-r1025x2049"
        in errors
    )


def test_run_keeps_no_graph_of_a_cell_that_failed(invoke, fake_worker, workspace):
    """It has no latency that anything could be compared with."""
    fake_worker.perturb = lambda outputs: [output + 1000 for output in outputs]
    assert 1 == invoke("run", "v1", "--alpha", "0.25", "--res", "32", *ONCE).exit_code
    assert not (workspace / "results" / "graphs").exists()


def test_run_asks_for_what_the_options_say(invoke, fake_worker):
    """`--duration`, `--seed` and the device's profile reach the worker."""
    for seed in (7, 8):
        assert 0 == invoke("run", "v1", *SMALL, *ONCE, "--duration", "0.25", "--seed", seed).exit_code
    device, request, _ = fake_worker.requests[0]
    first, second = fake_worker.sessions

    assert ("cpu", "popen") == (device.name, device.gateway)
    assert 250_000_000 == request["protocol"]["slice_ns"]
    assert [] == [key for key in ("model", "inputs") if first[key] == second[key]]
    assert ("onnxruntime", "CPUExecutionProvider", 1) == (first["runtime"], first["provider"], first["threads"])


@pytest.mark.slow
@pytest.mark.usefixtures("mine")
def test_run_without_a_graph_measures_every_graph(invoke, fake_worker):
    """`mnbench run` alone measures all graphs, built-in and of `./graphs`, that can be built at that α."""
    result = invoke("run", *SMALL, *ONCE, "--format", "json")
    payload = json.loads(result.stdout)

    expected = sorted(f"{name}-a0.25-r32" for name in ["mine", *SCALABLE])
    assert all(name in result.stderr for name in FIXED)

    assert expected == sorted(record["variant"] for record in payload["records"])
    assert len(expected) == len(fake_worker.requests)


def test_run_measures_a_file_as_it_is(invoke, fake_worker, workspace):
    """An `.onnx` file's bytes reach the worker, neither simplified nor renamed."""
    invoke("build", "v1", *SMALL, "--no-simplify", "-o", "own.onnx")
    payload = json.loads(invoke("run", "own.onnx", *ONCE, "--format", "json").stdout)

    assert "own" == payload["records"][0]["variant"]
    assert None is payload["records"][0]["alpha"]
    sent = onnx.load_from_string(fake_worker.sessions[0]["model"])
    assert onnx.load(workspace / "own.onnx").graph.node == sent.graph.node


@pytest.mark.slow
def test_run_tells_apart_plain_and_simplified_graphs(invoke, fake_worker):
    """Records of plain graphs, and of graphs with batch normalization, have names of their own."""
    names = [
        json.loads(invoke("run", "v1", *SMALL, *option, *ONCE, "--format", "json").stdout)["records"][0]["variant"]
        for option in ((), ("--no-simplify",), ("--keep-bn",))
    ]

    assert 3 == len(set(names))
    assert 3 == len({session["model"] for session in fake_worker.sessions})


def test_run_with_a_failed_cell_shows_the_others_and_exits_with_1(invoke, fake_worker):
    """Infinite outputs cost their cell: its record says why, the JSON still parses, and the exit code is 1."""
    fake_worker.perturb = lambda outputs: [
        output * (np.nan if len(fake_worker.requests) == 1 else 1) for output in outputs
    ]
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", *ONCE, "--format", "json")
    records = json.loads(result.stdout)["records"]

    assert 1 == result.exit_code
    assert [False, True] == sorted(record["latency_ns"] is None for record in records)
    assert ["a NaN or an infinity" in record["error"] for record in records if record["error"]] == [True]
    assert "Error: 1 of 2 cases could not be measured\nHint: " in result.stderr


def test_a_real_run_measures_with_a_real_worker(invoke):
    """One run through a worker process gives positive times, counts that add up, and full placement."""
    result = invoke("run", "v1", *QUICK, "--format", "json")
    record = json.loads(result.stdout)["records"][0]
    latency = record["latency_ns"]

    assert [] == misfits(record, RECORD)
    assert 0 < latency["min"] <= latency["p10"] <= latency["p90"]
    assert latency["min"] <= latency["undisturbed"] <= latency["median"]
    assert latency["low"] <= latency["median"] <= latency["high"]
    assert 0 < record["first_run_ns"]
    assert 0 < record["session_ns"]
    assert 0 < record["peak_rss_bytes"]
    assert {"nodes": 1, "mult_adds": 1} == record["placement"]
    assert 2 == record["processes"]
    assert 20 <= record["runs"]
    assert record["host"]["cpu"]
    assert 1 <= record["host"]["cores"]


# Budget and precision


@pytest.fixture
def sampling(invoke, fake_worker, monkeypatch):  # noqa: ARG001  nothing is measured
    """The settings that `mnbench run` with these options measures by."""
    plans = []
    monkeypatch.setattr("mnbench.bench.benchmark.run_all", lambda runs, **__: plans.append(runs[0].plan) or 1 / 0)

    def run(*options):
        with pytest.raises(ZeroDivisionError):
            invoke("run", "v1", *SMALL, *options)
        return plans.pop().sampling

    return run


@pytest.mark.parametrize(("text", "budget_s"), [("20s", 20), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("1.5", 1.5)])
def test_budget_and_precision_reach_the_protocol(sampling, text, budget_s):
    """`--budget` and `--precision-target`, in any of their units, are the protocol's."""
    chosen = sampling("--budget", text, "--precision-target", "0.5%")

    assert (pytest.approx(budget_s), pytest.approx(0.005)) == (chosen.budget_s, chosen.precision)


PRESETS = {(): SamplingConfig(), ("--quick",): SamplingConfig.quick(), ("--thorough",): SamplingConfig.thorough()}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset or "default")
def test_a_number_beside_a_preset_replaces_that_number_of_it(sampling, preset):
    """The preset's other numbers stay, whichever option is first."""
    expected = PRESETS[preset]
    assert expected == sampling(*preset)
    assert replace(expected, processes=9) == sampling(*preset, "--processes", 9)
    assert replace(expected, budget_s=7.0, seed=3) == sampling("--budget", "7s", *preset, "--seed", 3)
    assert replace(expected, precision=0.05, duration_s=0.2) == sampling(
        *preset, "--precision-target", "5%", "--duration", "200ms"
    )


def test_presets_exclude_each_other(invoke):
    """One of them must be meant; nothing is measured."""
    result = invoke("run", "v1", "--quick", "--thorough")

    assert (2, "") == (result.exit_code, result.stdout)
    assert "--quick and --thorough exclude each other" in result.stderr


def test_help_says_the_true_defaults(invoke):
    """The help is written by hand, since a preset may replace a default."""
    text = " ".join(invoke("run", "--help").stdout.split())
    quick, usual, thorough = SamplingConfig.quick(), SamplingConfig(), SamplingConfig.thorough()

    assert f"processes per case. Default: {usual.processes}." in text
    assert f"Default: {1000 * usual.duration_s:g}ms." in text
    assert f"share of the median. Default: {100 * usual.precision:g}%." in text
    assert f"Default: {usual.budget_s:g}s." in text
    assert f"±{100 * quick.precision:g}%; 16 rows are measured in about {round(16 * quick.budget_s)} s" in text
    assert f"±{100 * thorough.precision:g}%, {thorough.processes} processes" in text
    assert f"a budget of {thorough.budget_s:g} s per case" in text


def test_a_quick_run_knows_no_more_than_it_measured(invoke, fake_worker):
    """Cases that are never alone in a process have latencies, and no session creation, first run and memory."""
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", "--quick", "--format", "json")
    records = json.loads(result.stdout)["records"]

    assert [6, 6] == [record["processes"] for record in records]
    assert 6 == len(fake_worker.requests)
    assert {None} == {record[name] for record in records for name in ("first_run_ns", "session_ns", "peak_rss_bytes")}
    columns = invoke(
        "table", "--columns", "variant,latency_ns,first_run_ns,session_ns,peak_rss_bytes", "--format", "md"
    )
    assert [["–"] * 3] * 2 == [row[2:] for row in pipe_rows(columns.stdout)[-2:]]
    assert "alone in a process; not with --quick" in columns.stdout


def test_a_cell_that_its_budget_cannot_make_precise_is_marked(invoke, fake_worker):
    """Processes that disagree are visited until the budget is spent, and the latency is marked, with advice."""
    fake_worker.changes["latencies_ns"] = lambda: [1_000_000 + 400_000 * (len(fake_worker.requests) % 2)] * 200
    result = invoke("run", "v1", *SMALL, "--processes", "3", "--budget", "300ms")
    shown = next(line for line in result.stdout.splitlines() if line.startswith("v1 "))

    assert 0 == result.exit_code
    assert 3 < len(fake_worker.requests)
    assert " ! " in shown
    assert "≈ v1-a0.25-r32 is imprecise: ±" in result.stdout
    assert "--budget" in result.stdout


# Threads, cores and placement


def test_threads_are_measured_one_after_another(invoke, fake_worker, workspace):
    """`--threads 1,2,all` gives a record for each, of the threads that were really used."""
    result = invoke("run", "v1", *SMALL, *ONCE, "--threads", "1,2,all,1", "--format", "json")
    asked = [session["threads"] for session in fake_worker.sessions]

    assert 0 == result.exit_code
    assert [1, 2, 0] == asked
    assert [1, 2, 2] == [record["threads"] for record in json.loads(result.stdout)["records"]]
    assert [1, 2, 2] == [record.threads for record in ResultsFile(workspace / "results", "cpu").read_records()]


def test_cores_reach_the_worker(invoke, fake_worker):
    """`--cores 0,1` asks to be bound to both; without it, to none."""
    invoke("run", "v1", *SMALL, *ONCE, "--cores", "0,1")
    invoke("run", "v1", *SMALL, *ONCE)

    assert [[0, 1], []] == [session["cores"] for session in fake_worker.sessions]


def test_what_ran_elsewhere_fails_or_is_marked(invoke, fake_worker):
    """Nodes on another provider cost the cell, unless `--allow-fallback` has it measured and marked."""
    fake_worker.changes["placement"] = lambda: {"CPUExecutionProvider": ["conv1/conv"], "Other": ["fc"]}
    refused, allowed = (
        invoke("run", "v1", *SMALL, *ONCE, *option, "--format", "json") for option in ((), ("--allow-fallback",))
    )
    (failed,), (marked,) = (json.loads(item.stdout)["records"] for item in (refused, allowed))

    assert (1, 0) == (refused.exit_code, allowed.exit_code)
    assert "1 of 2 nodes ran on Other and not on CPUExecutionProvider: fully_connected" == failed["error"]
    assert None is marked["error"]
    assert 0.5 == marked["placement"]["nodes"]
    assert 0.1 < marked["placement"]["mult_adds"] < 1
    assert "misplaced" in [issue["name"] for issue in marked["issues"]]


# Real runs


@pytest.mark.slow
def test_a_provider_that_takes_nothing_fails_or_is_marked(invoke, workspace):
    """Onnxruntime's Azure provider, of stock wheels, takes no node: the cell fails, or is measured and marked."""
    profile = "\n".join(
        f'{key} = "{value}"'
        for key, value in {
            "name": "azure",
            "summary": "a provider that takes nothing",
            "gateway": "popen",
            "runtime": "onnxruntime",
            "provider": "AzureExecutionProvider",
        }.items()
    )
    (workspace / "azure.toml").write_text(f"{profile}\nthreads = 1\n")
    command = ("run", "v1", *QUICK, "--device", "azure.toml", "--format", "json")
    refused, allowed = invoke(*command), invoke(*command, "--allow-fallback")
    (failed,), (marked,) = (json.loads(item.stdout)["records"] for item in (refused, allowed))

    assert (1, 0) == (refused.exit_code, allowed.exit_code)
    assert "57 of 57 nodes ran on CPUExecutionProvider and not on AzureExecutionProvider: conv" in failed["error"]
    assert {"nodes": 0, "mult_adds": 0} == marked["placement"]
    assert "misplaced" in [issue["name"] for issue in marked["issues"]]
    assert 0 < marked["latency_ns"]["median"]


BOUND = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv.pop(1))})
from mnbench.cli import main
main()
"""
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@pytest.mark.slow
@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that it may choose from")
def test_all_threads_respect_affinity(workspace):
    """Where mnbench may use one core of several, `--threads all` is one thread, and the record says one core."""
    command = ("run", "v1", *QUICK, "--threads", "all,2", "--format", "json")
    finished = subprocess.run(
        [sys.executable, "-c", BOUND, str(CORES[1]), *command],
        cwd=workspace,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    item, two = json.loads(finished.stdout)["records"]

    assert [(1, 1), (2, 1)] == [(record["threads"], record["host"]["cores"]) for record in (item, two)]
    assert "oversubscribed" not in [issue["name"] for issue in item["issues"]]
    assert "oversubscribed" in [issue["name"] for issue in two["issues"]]


@pytest.mark.slow
@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that it may choose from")
def test_cores_bind_the_worker(invoke):
    """`--cores` binds the worker, all of its threads, and not mnbench itself."""
    result = invoke("run", "v1", *QUICK, "--threads", "all", "--cores", CORES[0], "--format", "json")
    (record,) = json.loads(result.stdout)["records"]

    assert (1, 1) == (record["threads"], record["host"]["cores"])
    assert CORES == sorted(os.sched_getaffinity(0))
