"""Paired trials: pairs derived from runs, two fake processes that alternate, and real workers."""

# ruff: noqa: SIM300  expected == actual

import os
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mnbench.bench.plan import BenchmarkCase, TrialProtocol
from mnbench.bench.prepare import prepare_case
from mnbench.bench.trial import PlannedSession
from mnbench.comparison.paired_trial import (
    MIN_PAIR_NS,
    PAIR_COLUMNS,
    PROTOCOL,
    ComparisonCase,
    PairedSampling,
    _alternate,
    _pairs,
    run_paired_trial,
)
from mnbench.errors import TrialError
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.network.variant import OnnxFile
from mnbench.targets.answers import AlternatingAnswer, Heartbeat, Timings
from mnbench.targets.device import read_device
from mnbench.worker.host.conditions import busy_reason
from mnbench.worker.requests.trial import RUN_COLUMNS

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

QUICK = {"pressure": 1e9, "load": 1e9, "protocol": replace(PROTOCOL, slices=2, slice_s=0.01, max_settle_s=0.05)}


# Pairs of one process


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans(), *[st.integers(1, 99)] * 4)))
def test_pairs_are_derived_from_runs(turns):
    """Each turn of a row is a pair; every time belongs to its side, whichever ran first."""
    runs = []
    for row, number, candidate_first, *times_ns in turns:
        base, candidate = ((2 * row, number, *times_ns[:2]), (2 * row + 1, number, *times_ns[2:]))
        runs += [candidate, base] if candidate_first else [base, candidate]
    columns = np.array(runs, np.int64).reshape(-1, len(RUN_COLUMNS)).T
    pairs = _pairs(dict(zip(RUN_COLUMNS, columns, strict=True)))

    assert PAIR_COLUMNS == tuple(pairs)
    assert [
        (row, number, int(first), base_ns, candidate_ns, base_cpu_ns, candidate_cpu_ns)
        for row, number, first, base_ns, base_cpu_ns, candidate_ns, candidate_cpu_ns in turns
    ] == list(zip(*(values.tolist() for values in pairs.values()), strict=True))


# Two processes that alternate


class FakeSides:
    """Two workers whose runs take fixed times by (side, row), and a clock; a run that takes None kills its worker."""

    def __init__(self, latencies_ns):
        self.latencies_ns = latencies_ns
        self.now = 0
        self.asked = []

    def __getitem__(self, side):
        return SimpleNamespace(
            send=lambda request: self.asked.append((side, *request)),
            receive_timings=lambda runs: self.times(side, runs),
        )

    def times(self, side, runs):
        """The answer of that side."""
        latency_ns = self.latencies_ns[side, self.asked[-1][1]]
        if latency_ns is None:
            raise TrialError("the worker was killed by SIGSEGV", hint="")
        self.now += runs * latency_ns
        return Timings(latencies_ns=[latency_ns] * runs, cpu_ns=[latency_ns // 2] * runs)

    def alternate(self, monkeypatch, seed=0, **protocol):
        """Run the pairs of all rows."""
        monkeypatch.setattr("mnbench.comparison.paired_trial.time", SimpleNamespace(monotonic_ns=lambda: self.now))
        rows = {row for _, row in self.latencies_ns}
        pair_ns = {row: sum(self.latencies_ns[side, row] or 1 for side in (0, 1)) for row in rows}
        settings = {"slices": 3, "slice_s": 0.06, "min_turns": 5} | protocol
        return _alternate(self, pair_ns, TrialProtocol(**settings), Random(seed))


def test_two_processes_alternate(monkeypatch):
    """Each pair is one message to either, in the order that `first` says; every time belongs to its side and row."""
    times = {(0, 0): 3_000_000, (1, 0): 5_000_000, (0, 1): 2_000_000, (1, 1): 4_000_000}
    sides = FakeSides(times)
    pairs = sides.alternate(monkeypatch)
    messages = [
        (side, row, 1)
        for row, first in zip(pairs["row"].tolist(), pairs["first"].tolist(), strict=True)
        for side in (first, 1 - first)
    ]

    assert PAIR_COLUMNS == tuple(pairs)
    assert messages == sides.asked
    for side, name in enumerate(("base", "candidate")):
        expected = [times[side, row] for row in pairs["row"].tolist()]
        assert expected == pairs[f"{name}_ns"].tolist()
        assert [time_ns // 2 for time_ns in expected] == pairs[f"{name}_cpu_ns"].tolist()
    counts = Counter(zip(pairs["round"].tolist(), pairs["row"].tolist(), pairs["first"].tolist(), strict=True))
    assert {(number, row) for number in range(3) for row in (0, 1)} == {key[:2] for key in counts}
    assert all(abs(counts[number, row, 0] - counts[number, row, 1]) <= 1 for number, row, _ in counts)


def test_a_pair_of_short_runs_is_one_of_medians(monkeypatch):
    """A message costs more than such a run: a pair takes 4 ms at least."""
    sides = FakeSides({(0, 0): 100_000, (1, 0): 300_000})
    pairs = sides.alternate(monkeypatch)

    assert {(side, 0, 10) for side in (0, 1)} == set(sides.asked)
    assert 10 * 400_000 == MIN_PAIR_NS
    assert 3 * 15 == len(pairs["row"])
    assert ({100_000}, {300_000}) == tuple(set(pairs[name].tolist()) for name in ("base_ns", "candidate_ns"))


def test_a_slow_row_of_two_processes_has_fewer_slices(monkeypatch):
    """Its time is that of the others; every slice has its least number of turns."""
    pairs = FakeSides({(0, 0): 10**9, (1, 0): 10**9, (0, 1): 10**7, (1, 1): 10**7}).alternate(monkeypatch)
    numbers = {row: sorted(pairs["round"][pairs["row"] == row].tolist()) for row in (0, 1)}

    assert {0: [0] * 5, 1: [0] * 5 + [1] * 5} == numbers


def test_a_worker_that_dies_while_it_alternates_costs_that_row(cells, monkeypatch):
    """The row whose runs were asked for has failed, on that side."""
    sides = FakeSides({(0, 0): 10**6, (1, 0): 10**6, (0, 1): 10**6, (1, 1): None})
    answer = AlternatingAnswer(
        latencies_ns=[10**6] * 2,
        sessions=[SimpleNamespace()] * 2,
        runtime=SimpleNamespace(name="onnxruntime"),
        host={"x": 1},
    )

    def open_worker(device, **_):
        side = sides[device.gateway != "popen"]
        return nullcontext(SimpleNamespace(ask=lambda *_, **__: answer, **vars(side)))

    monkeypatch.setattr("mnbench.comparison.paired_trial.open_worker", open_worker)
    gateway = f"popen//python={sys.executable}"
    rows = [row(cells, "v1-a0.25-r32", name, gateway=gateway) for name in ("v1-a0.25-r32", "v1-a0.5-r32")]
    pairs = run_paired_trial(rows, dose())

    assert {rows[1].variant: ("candidate", "the worker was killed by SIGSEGV")} == pairs.failed
    assert 0 == pairs.columns["row"].size


# Real workers


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Tiny models, made once."""
    folder, built = tmp_path_factory.mktemp("cells"), {}

    def cell(name) -> BenchmarkCase:
        if name not in built:
            built[name] = prepare_case(build_model(parse_variant(name)), folder, variant=name, seed=0)
        return built[name]

    return cell


def row(cells, base, candidate, device=None, **changes):
    """A row of two variants on this machine's CPU; the candidate's device may differ."""
    cpu = read_device("cpu")
    other = device or msgspec.structs.replace(cpu, **changes)
    return ComparisonCase(
        variant=f"{base} {candidate}",
        baseline=PlannedSession(case=cells(base), device=cpu),
        candidate=PlannedSession(case=cells(candidate), device=other),
    )


def dose(**changes):
    """A short measurement on a machine that may be busy."""
    return PairedSampling(seed="0", **QUICK | changes)


def assert_found(pairs, rows, least=5):
    """Every row has its pairs, all of them plausible, and its sessions' facts."""
    assert (None, {}) == (pairs.busy_reason, pairs.failed)
    for item in rows:
        columns = pairs.columns_of(item.variant)
        assert len(columns["first"]) >= least
        assert set(columns) == set(PAIR_COLUMNS)
        assert all((columns[name] > 0).all() for name in ("base_ns", "candidate_ns", "base_cpu_ns"))
        facts = pairs.facts["sessions"][f"{item.variant} candidate"]
        assert item.candidate.case.sha256 == facts["sha256"]
        assert facts["difference"] < 1


def test_arms_of_different_models_and_settings_share_a_process(cells):
    """Two rows, one whose models differ and one whose session options do."""
    spinning = {"session.intra_op.allow_spinning": "1"}
    rows = [row(cells, "v1-a0.25-r32", "v1-a0.5-r32"), row(cells, "v1-a0.25-r32", "v1-a0.25-r32", options=spinning)]
    pairs = run_paired_trial(rows, dose())
    assert_found(pairs, rows)
    assert np.median(pairs.columns_of(rows[0].variant)["candidate_ns"]) > np.median(
        pairs.columns_of(rows[0].variant)["base_ns"]
    )
    assert pairs.facts["host"]["cpu"]


@pytest.mark.slow
def test_arms_with_pythons_of_their_own_take_turns(cells):
    """The same interpreter by another name is another gateway, and so another process."""
    rows = [row(cells, "v1-a0.25-r32", "v1-a0.5-r32", gateway=f"popen//python={sys.executable}")]
    pairs = run_paired_trial(rows, dose())
    assert_found(pairs, rows)
    assert {"host", "candidate_host"} <= set(pairs.facts)
    assert np.median(pairs.columns_of(rows[0].variant)["candidate_ns"]) > np.median(
        pairs.columns_of(rows[0].variant)["base_ns"]
    )


@pytest.mark.slow
@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that it may choose from")
@pytest.mark.parametrize("gateway", ["popen", f"popen//python={sys.executable}"], ids=["together", "by turns"])
def test_all_threads_are_those_of_the_cores_bound_to(cells, gateway):
    """One core of several: one thread, on either side, and facts that say so."""
    device = msgspec.structs.replace(read_device("cpu"), cores=(CORES[1],), threads="all")
    other = msgspec.structs.replace(device, gateway=gateway)
    cell = cells("v1-a0.25-r32")
    both = ComparisonCase(
        variant="row",
        baseline=PlannedSession(case=cell, device=device),
        candidate=PlannedSession(case=cell, device=other),
    )
    facts = run_paired_trial([both], dose()).facts
    assert {1} == {session["threads"] for session in facts["sessions"].values()}
    hosts = [facts[name] for name in ("host", "candidate_host") if name in facts]
    assert {(1, str(CORES[1]))} == {(host["cores"], host["allowed_cpus"]) for host in hosts}


@pytest.mark.parametrize("gateway", ["popen", f"popen//python={sys.executable}"])
def test_a_broken_arm_costs_its_row_alone(cells, tmp_path, gateway):
    """The runtime refuses a candidate; the other row is measured."""
    broken = msgspec.structs.replace(read_device("cpu"), gateway=gateway)
    good = row(cells, "v1-a0.25-r32", "v1-a0.25-r32", device=broken)
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    bad = replace(
        good, variant="bad", candidate=PlannedSession(case=replace(good.baseline.case, path=path), device=broken)
    )
    pairs = run_paired_trial([bad, good], dose())
    side, message = pairs.failed["bad"]
    assert "candidate" == side
    assert "Protobuf parsing failed" in message or "INVALID_PROTOBUF" in message
    assert pairs.columns_of("bad")["first"].size == 0
    assert pairs.columns_of(good.variant)["first"].size >= 5


def test_wrong_outputs_fail_the_row(cells):
    """A candidate that answers to another model's feed."""
    case = row(cells, "v1-a0.25-r32", "v1-a0.25-r32")
    wrong = replace(case.candidate.case, path=cells("v1-a0.5-r32").path)
    pairs = run_paired_trial(
        [replace(case, candidate=PlannedSession(case=wrong, device=case.candidate.device))], dose()
    )
    side, message = pairs.failed[case.variant]
    assert ("candidate", True) == (side, "outputs differ" in message)


@pytest.mark.slow
@pytest.mark.parametrize("gateway", ["popen", f"popen//python={sys.executable}"])
def test_sessions_lie_on_huge_pages_where_the_system_has_them(cells, gateway):
    """Which pages a session gets must not be chance; in one process, and where two take turns."""
    case = row(cells, "v1-a0.25-r32", "v1-a0.25-r32", gateway=gateway)
    facts = run_paired_trial([case], dose()).facts
    hosts = [facts[name] for name in ("host", "candidate_host") if name in facts]
    assert (1 if gateway == "popen" else 2) == len(hosts)
    for host in hosts:
        if host["huge_pages"] not in {"always", "madvise"} or host["libc"] < "glibc 2.35":
            pytest.skip("this system has none")
        assert 0 < host["huge_pages_bytes"]


@pytest.mark.parametrize(
    ("heartbeats", "side"),
    [([3], "candidate"), ([3, 0, 1, 2], "base"), ([3, 0, 1, 2, 0, 2], "base or candidate")],
    ids=["opens the first", "opens the last", "in a slice"],
)
def test_a_worker_that_dies_costs_the_row_it_worked_on(cells, monkeypatch, heartbeats, side):
    """Which side of it failed is known while sessions are opened, and not in a slice."""

    def ask(_device, _request, _answer, *, on_heartbeat, **_):
        for index in heartbeats:
            on_heartbeat(Heartbeat(expected_s=0.0, index=index))
        raise TrialError("the worker was killed by SIGSEGV", hint="")

    monkeypatch.setattr("mnbench.bench.trial.call_worker", ask)
    rows = [row(cells, "v1-a0.25-r32", "v1-a0.25-r32"), row(cells, "v1-a0.25-r32", "v1-a0.5-r32")]
    pairs = run_paired_trial(rows, dose())
    assert {rows[1].variant: (side, "the worker was killed by SIGSEGV")} == pairs.failed
    assert 0 == pairs.columns["row"].size


def test_a_worker_that_dies_before_it_opens_a_session_costs_the_process(cells, monkeypatch):
    """No row is to blame."""

    def ask(*_, **__):
        raise TrialError("the worker was killed by SIGKILL: out of memory?", hint="")

    monkeypatch.setattr("mnbench.bench.trial.call_worker", ask)
    with pytest.raises(TrialError, match="SIGKILL"):
        run_paired_trial([row(cells, "v1-a0.25-r32", "v1-a0.25-r32")], dose())


@pytest.mark.slow
@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize(
    ("gateway", "side"), [("popen", "base or candidate"), (f"popen//python={sys.executable}", "candidate")]
)
def test_a_model_that_kills_its_process_after_some_runs(make_cell, make_device, gateway, side):
    """It costs its row, in one process and where two alternate; the others are measured without it."""
    good = make_cell("good", b"import time; time.sleep(0.001)")
    bad = make_cell("bad", b"runs = globals().get('runs', 0) + 1\nif runs > 6: import os; os.abort()")
    cpu, other = make_device(), make_device(gateway=gateway)
    rows = [
        ComparisonCase(
            variant=candidate.variant,
            baseline=PlannedSession(case=good, device=cpu),
            candidate=PlannedSession(case=candidate, device=other),
        )
        for candidate in (good, bad)
    ]
    pairs = run_paired_trial(rows, dose())
    failed, message = pairs.failed["bad"]
    assert (["bad"], side) == (list(pairs.failed), failed)
    assert "killed by SIGABRT" in message
    assert run_paired_trial(rows[:1], dose()).columns_of("good")["first"].size >= 5


def test_a_worker_that_dies_before_its_turn_costs_that_row(cells, monkeypatch):
    """Of two that take turns; a model whose session ends the process."""

    class Dying:
        def ask(self, _request, _answer, *, on_heartbeat, **_):
            on_heartbeat(Heartbeat(expected_s=0.0, index=1))
            raise TrialError("the worker was killed by SIGSEGV", hint="")

    monkeypatch.setattr("mnbench.comparison.paired_trial.open_worker", lambda *_, **__: nullcontext(Dying()))
    gateway = f"popen//python={sys.executable}"
    rows = [row(cells, "v1-a0.25-r32", name, gateway=gateway) for name in ("v1-a0.25-r32", "v1-a0.5-r32")]
    ((variant, (_, message)),) = run_paired_trial(rows, dose()).failed.items()
    assert (rows[1].variant, "the worker was killed by SIGSEGV") == (variant, message)


def test_a_busy_machine_is_not_measured_on(cells):
    """Where the limits are none, any load is too much; the answer says so and holds no pairs."""
    pairs = run_paired_trial([row(cells, "v1-a0.25-r32", "v1-a0.25-r32")], dose(load=-1e9))
    assert "the load is" in pairs.busy_reason
    assert 0 == pairs.columns["row"].size
    assert busy_reason({"pressure": 1e9, "load": 1e9}) is None


def test_a_model_of_any_kind_is_paired(tmp_path):
    """No image, several inputs and outputs, integers."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("Mul", ["c", "c"], ["d"])],
        "own",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("c", TensorProto.INT64, [4]),
        ],
        [
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [2, 3]),
            helper.make_tensor_value_info("d", TensorProto.INT64, [4]),
        ],
    )
    path = tmp_path / "own.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    cell = prepare_case(build_model(OnnxFile(path=path), simplified=False), tmp_path, variant="own", seed=0)
    arm = PlannedSession(case=cell, device=read_device("cpu"))
    pairs = run_paired_trial([ComparisonCase(variant="own", baseline=arm, candidate=arm)], dose())
    assert_found(pairs, [ComparisonCase(variant="own", baseline=arm, candidate=arm)])
