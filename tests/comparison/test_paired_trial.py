"""Paired trials: the rounds of a worker with fake clocks, and real workers, in one process and in two."""

# ruff: noqa: SIM300  expected == actual

import os
import random
import sys
from contextlib import nullcontext
from dataclasses import replace
from subprocess import CompletedProcess

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.prepare import prepare_case
from mnbench.comparison.paired_trial import BLOCK, ComparisonCase, PairedSampling, PreparedSide, run_paired_trial
from mnbench.errors import RuntimeUnavailable, TrialError
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.network.variant import OnnxFile
from mnbench.targets.answers import Heartbeat
from mnbench.targets.device import read_device
from mnbench.targets.environments import create_environment
from mnbench.worker.host.conditions import busy_reason
from mnbench.worker.requests.paired import PAIR_COLUMNS, pairs_per_block, run_orders, run_rounds

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

QUICK = {"pressure": 1e9, "load": 1e9}


class FakeTime:
    """A wall clock and a CPU clock that stand still but for runs."""

    def __init__(self):
        self.now = 10**15
        self.worked = 10**9
        self.ran = []

    def clock(self):
        """The wall's time."""
        return self.now

    def cpu_clock(self):
        """The time that the thread has worked."""
        return self.worked

    def arm(self, name, wall_ns, cpu_ns):
        """A run that takes so long."""

        def run():
            self.ran.append(name)
            self.now += wall_ns
            self.worked += cpu_ns

        return run


def run_timed(time, rows, bursts, duration_ns, seed=0):
    """Return the columns of the rounds as arrays, and the reported progress."""
    reported = []
    columns = run_rounds(
        rows,
        bursts,
        duration_ns=duration_ns,
        draw=random.Random(seed),
        on_progress=reported.append,
        clock=time.clock,
        cpu_clock=time.cpu_clock,
    )
    assert set(PAIR_COLUMNS) == set(columns)
    return {name: np.array(values) for name, values in columns.items()}, reported


def test_every_run_is_told_to_its_arm():
    """Whatever the order, each column holds the times of its own arm."""
    time = FakeTime()
    rows = {3: (time.arm("base", 100, 90), time.arm("candidate", 200, 150))}
    entries, _ = run_timed(time, rows, {3: 10}, 0)
    assert {100} == set(entries["base_ns"])
    assert {200} == set(entries["candidate_ns"])
    assert {90} == set(entries["base_cpu_ns"])
    assert {150} == set(entries["candidate_cpu_ns"])
    expected = [arm for first in entries["first"] for arm in (("base", "candidate"), ("candidate", "base"))[first]]
    assert expected == time.ran


def test_each_row_is_visited_at_least_once_and_then_until_the_time_is_out():
    """Blocks of three rows take 2 µs each: one round without time, more with it."""
    for duration_ns, pairs in ((0, 30), (6_000, 30), (6_001, 40), (18_000, 90)):
        time = FakeTime()
        rows = {row: (time.arm(row, 100, 100), time.arm(row, 100, 100)) for row in range(3)}
        entries, _ = run_timed(time, rows, dict.fromkeys(rows, 10), duration_ns)
        assert pairs == len(entries["row"]), duration_ns
        assert {0, 1, 2} == set(entries["row"][:30])


def test_rows_come_in_another_order_in_every_round():
    """And the same seed gives the same schedule."""

    def schedule(seed):
        time = FakeTime()
        rows = {row: (time.arm(row, 100, 100), time.arm(row, 100, 100)) for row in range(8)}
        entries, _ = run_timed(time, rows, dict.fromkeys(rows, 5), 100_000, seed)
        return entries["row"].tolist(), entries["first"].tolist()

    rows, first = schedule(1)
    item = [tuple(rows[at : at + 40 : 5]) for at in range(0, len(rows) - 39, 40)]
    assert len(set(item)) == len(item) > 5
    assert (rows, first) == schedule(1)
    assert schedule(2) != schedule(1)


def test_both_orders_are_as_frequent_in_every_burst():
    """But for one pair, where their number is odd."""
    draw = random.Random(0)
    for count in range(1, 40):
        result = run_orders(count, draw)
        assert count == len(result)
        assert abs(2 * sum(result) - count) <= count % 2
    assert len({tuple(run_orders(6, draw)) for _ in range(50)}) > 10


def test_a_burst_is_sixty_milliseconds_and_five_pairs_at_least():
    """By what a pair takes."""
    assert 60 == pairs_per_block(1_000_000, **BLOCK)
    assert 5 == pairs_per_block(100_000_000, **BLOCK)


def test_the_other_side_hears_every_half_second():
    """How much time is left, never less than none."""
    time = FakeTime()
    rows = {0: (time.arm("a", 10_000_000, 1), time.arm("b", 10_000_000, 1))}
    _, reported = run_timed(time, rows, {0: 5}, 2_000_000_000)
    assert [1_500_000_000, 1_000_000_000, 500_000_000] == reported


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
        baseline=PreparedSide(case=cells(base), device=cpu),
        candidate=PreparedSide(case=cells(candidate), device=other),
    )


def dose(duration_s=0.2, **changes):
    """A short measurement on a machine that may be busy."""
    return PairedSampling(duration_s=duration_s, seed="0", **QUICK | changes)


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
        variant="row", baseline=PreparedSide(case=cell, device=device), candidate=PreparedSide(case=cell, device=other)
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
        good, variant="bad", candidate=PreparedSide(case=replace(good.baseline.case, path=path), device=broken)
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
    pairs = run_paired_trial([replace(case, candidate=PreparedSide(case=wrong, device=case.candidate.device))], dose())
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


def test_a_worker_that_dies_while_it_opens_an_arm_costs_that_row(cells, monkeypatch):
    """The row at which it was last heard has failed."""

    def ask(_device, _request, _answer, *, on_heartbeat, **_):
        on_heartbeat(Heartbeat(expected_s=0.0, index=3))
        raise TrialError("the worker was killed by SIGSEGV", hint="")

    monkeypatch.setattr("mnbench.comparison.paired_trial.call_worker", ask)
    rows = [row(cells, "v1-a0.25-r32", "v1-a0.25-r32"), row(cells, "v1-a0.25-r32", "v1-a0.5-r32")]
    pairs = run_paired_trial(rows, dose())
    assert {rows[1].variant: ("candidate", "the worker was killed by SIGSEGV")} == pairs.failed
    assert 0 == pairs.columns["row"].size


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
    arm = PreparedSide(case=cell, device=read_device("cpu"))
    pairs = run_paired_trial([ComparisonCase(variant="own", baseline=arm, candidate=arm)], dose(0.01))
    assert_found(pairs, [ComparisonCase(variant="own", baseline=arm, candidate=arm)])


# Environments


class Installer:
    """Stands in for the programs that make environments: keeps their commands, and fails where it is told to."""

    def __init__(self, fails=""):
        self.commands = []
        self.fails = fails

    def __call__(self, command, **_):
        self.commands.append(command)
        failed = self.fails and any(self.fails in word for word in command)
        return CompletedProcess(
            command, int(bool(failed)), b"", b"warning: x\nERROR: no such version\n" if failed else b""
        )


@pytest.mark.parametrize("uv", [None, "/bin/uv"])
def test_an_environment_is_made_once(make_device, tmp_path, monkeypatch, uv):
    """By uv where it is there, or else by venv and pip; what is whole is not made again."""
    installer = Installer()
    monkeypatch.setattr("mnbench.targets.environments.find_program", lambda _: uv)
    monkeypatch.setattr("mnbench.targets.installers.run_program", installer)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    device = make_device(requires=("onnxruntime==1.30.0", "pytest"))
    monkeypatch.setattr("mnbench.targets.environments.Path.write_text", _written)
    python = create_environment(device)
    assert 3 == len(installer.commands)
    assert all((uv in command) == bool(uv) for command in installer.commands[:2])
    assert ("onnxruntime==1.30.0", "pytest", "numpy") == tuple(installer.commands[1][-3:])
    assert "import numpy, onnxruntime" == installer.commands[2][-1]
    assert python == create_environment(make_device(requires=("pytest", "onnxruntime==1.30.0")))
    assert 3 == len(installer.commands)
    assert python != create_environment(make_device(requires=("onnxruntime==1.31.1", "pytest")))


def _written(path, text):
    """The installer makes no folder, so it is made here."""
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode())
    return len(text)


def test_a_version_that_does_not_exist_is_one_line_and_leaves_nothing(make_device, tmp_path, monkeypatch):
    """The installer's own error, and no half environment."""
    monkeypatch.setattr("mnbench.targets.environments.find_program", lambda _: None)
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("mnbench.targets.installers.run_program", Installer(fails="onnxruntime==9"))
    with pytest.raises(RuntimeUnavailable, match="onnxruntime==9 numpy cannot be installed: no such version"):
        create_environment(make_device(requires=("onnxruntime==9",)))
    assert [] == [path for path in (tmp_path / "environments").iterdir() if path.is_dir()]
