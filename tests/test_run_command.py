"""`mnbench run`: what it asks of workers, keeps, and prints."""

# ruff: noqa: SIM300  expected == actual

import json

import numpy as np
import onnx
import pytest
from common import BUILT_IN, ONCE, QUICK, RECORD, SMALL, misfits, pipe_rows

from mnbench.records.store import Store

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

    records = Store(workspace / "results", "cpu").records()
    _, _, *rows = pipe_rows((workspace / "results" / "cpu.md").read_text(encoding="utf-8"))

    assert ["v1-a0.25-r32", "v1-a0.25-r64"] == [record.variant for record in records]
    assert [["v1", "0.25", "64"], ["v1", "0.25", "32"]] == [row[:3] for row in rows]
    assert 4 == len(fake_worker.requests)


def test_run_asks_for_what_the_options_say(invoke, fake_worker):
    """`--duration`, `--seed` and the device's profile reach the worker."""
    for seed in (7, 8):
        assert 0 == invoke("run", "v1", *SMALL, *ONCE, "--duration", "0.25", "--seed", seed).exit_code
    (device, request, _), (_, other, _) = fake_worker.requests

    assert ("cpu", "popen") == (device.name, device.gateway)
    assert 250_000_000 == request["min_duration_ns"]
    assert [] == [key for key in ("model", "inputs") if request[key] == other[key]]
    assert ("onnxruntime", "CPUExecutionProvider", 1) == (request["runtime"], request["provider"], request["threads"])


@pytest.mark.usefixtures("mine")
def test_run_without_a_graph_measures_every_graph(invoke, fake_worker):
    """`mnbench run` alone measures all built-in graphs and those of `./graphs`."""
    payload = json.loads(invoke("run", *SMALL, *ONCE, "--format", "json").stdout)

    expected = sorted(f"{name}-a0.25-r32" for name in ["mine", *BUILT_IN])

    assert expected == sorted(record["variant"] for record in payload["records"])
    assert len(expected) == len(fake_worker.requests)


def test_run_measures_a_file_as_it_is(invoke, fake_worker, workspace):
    """An `.onnx` file's bytes reach the worker, neither simplified nor renamed."""
    invoke("build", "v1", *SMALL, "--no-simplify", "-o", "own.onnx")
    payload = json.loads(invoke("run", "own.onnx", *ONCE, "--format", "json").stdout)

    assert "own" == payload["records"][0]["variant"]
    assert None is payload["records"][0]["alpha"]
    sent = onnx.load_from_string(fake_worker.requests[0][1]["model"])
    assert onnx.load(workspace / "own.onnx").graph.node == sent.graph.node


def test_run_tells_apart_plain_and_simplified_graphs(invoke, fake_worker):
    """Records of plain graphs, and of graphs with batch normalization, have names of their own."""
    names = [
        json.loads(invoke("run", "v1", *SMALL, *option, *ONCE, "--format", "json").stdout)["records"][0]["variant"]
        for option in ((), ("--no-simplify",), ("--keep-bn",))
    ]

    assert 3 == len(set(names))
    assert 3 == len({len(request["model"]) for _, request, _ in fake_worker.requests})


def test_run_with_a_failed_cell_shows_the_others_and_exits_with_1(invoke, fake_worker):
    """Infinite outputs cost their cell: its record says why, the JSON still parses, and the exit code is 1."""
    fake_worker.perturb = lambda outputs: [one * (np.nan if len(fake_worker.requests) == 1 else 1) for one in outputs]
    result = invoke("run", "v1", "--alpha", "0.25", "--res", "32,64", *ONCE, "--format", "json")
    records = json.loads(result.stdout)["records"]

    assert 1 == result.exit_code
    assert [False, True] == sorted(record["latency_ns"] is None for record in records)
    assert ["not finite" in record["error"] for record in records if record["error"]] == [True]
    assert "Error: 1 of 2 cells could not be measured\nHint: " in result.stderr


def test_ctrl_c_keeps_what_was_measured_and_says_so(invoke, fake_worker):
    """Ctrl-C ends `run` with 130 and the line that says how to go on; the same command continues."""

    def interrupt():
        if len(fake_worker.requests) == 3:
            raise KeyboardInterrupt
        return 1_500_000

    fake_worker.changes["first_run_ns"] = interrupt
    command = ("run", "v1", "--alpha", "0.25", "--res", "32,64", "--processes", "2", "--format", "json")
    stopped = invoke(*command)
    continued = invoke(*command)

    assert 130 == stopped.exit_code
    assert "" == stopped.stdout
    assert "stopped: 2 visits are kept in results/raw/" in stopped.stderr
    assert "--resume continues" in stopped.stderr
    assert 0 == continued.exit_code
    assert ": 2 visits are made (--fresh starts anew)" in continued.stderr
    assert [2, 2] == [record["processes"] for record in json.loads(continued.stdout)["records"]]
    assert 5 == len(fake_worker.requests)


def test_fresh_measures_all_again(invoke, fake_worker):
    """`--fresh` gives an unfinished run up and makes every visit."""

    def interrupt():
        if len(fake_worker.requests) == 2:
            raise KeyboardInterrupt
        return 1_500_000

    fake_worker.changes["first_run_ns"] = interrupt
    assert 130 == invoke("run", "v1", *SMALL, "--processes", "3").exit_code
    assert 0 == invoke("run", "v1", *SMALL, "--processes", "3", "--fresh").exit_code
    assert 5 == len(fake_worker.requests)


def test_a_real_run_measures_with_a_real_worker(invoke):
    """One run through a worker process gives positive times, counts that add up, and full placement."""
    result = invoke("run", "v1", *QUICK, "--format", "json")
    record = json.loads(result.stdout)["records"][0]
    latency = record["latency_ns"]

    assert [] == misfits(record, RECORD)
    assert 0 < latency["min"] <= latency["p10"] <= latency["p90"]
    assert latency["low"] <= latency["median"] <= latency["high"]
    assert 0 < record["first_run_ns"]
    assert 0 < record["session_ns"]
    assert 0 < record["peak_rss_bytes"]
    assert {"nodes": 1, "mult_adds": 1} == record["placement"]
    assert 2 == record["processes"]
    assert 20 <= record["runs"]
    assert record["host"]["cpu"]
    assert 1 <= record["host"]["cores"]
