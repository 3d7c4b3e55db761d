"""A record: its statistics, as documented, and what it carries."""

# ruff: noqa: SIM300  expected == actual

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from common import PROVIDER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.bench.aggregate import aggregate, aggregate_latency
from mnbench.results.record import Record

# Statistics of a record


def record_of(plan, cell, samples):
    """The record of a cell from scripted samples."""
    return aggregate(plan, cell, "run", samples)


def test_statistics_of_a_record(plan, make_sample):
    """Median of medians, its interval, and p10, p90 and minimum of all runs together are as computed by numpy."""
    draw = np.random.default_rng(0)
    processes = [draw.integers(1000, 2000, draw.integers(50, 90)) for _ in range(6)]
    record = record_of(plan, plan.cases[0], [make_sample(latencies) for latencies in processes])
    medians = sorted(np.median(latencies) for latencies in processes)
    pooled = np.concatenate(processes)
    latency = record.latency_ns

    assert round(np.median(medians)) == latency.median
    assert (round(medians[0]), round(medians[-1]), 0.9688) == (latency.low, latency.high, latency.coverage)
    assert round(np.quantile(pooled, 0.1)) == latency.p10
    assert round(np.quantile(pooled, 0.9)) == latency.p90
    assert pooled.min() == latency.min
    assert round(np.mean(sorted(latencies.min() for latencies in processes)[:3])) == latency.undisturbed
    assert (6, len(pooled)) == (record.processes, record.runs)


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=9), min_size=1, max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_undisturbed_latency_lies_between_minimum_and_median(make_sample, processes):
    """Whatever the processes measured."""
    latency = aggregate_latency([make_sample(latencies) for latencies in processes])

    assert latency.min <= latency.undisturbed <= latency.median


def test_disturbances_move_the_median_but_not_the_undisturbed_latency(make_sample):
    """By hand: most runs of each process and all of two processes of five are disturbed."""
    quiet = [[100, 100, 100], [104, 104, 104], [102, 102, 102], [110, 110, 110], [108, 108, 108]]
    disturbed = [[190, 170, 100], [104, 140, 150], [180, 102, 160], [300, 300, 300], [400, 400, 400]]
    figures = [aggregate_latency([make_sample(runs) for runs in processes]) for processes in (quiet, disturbed)]

    assert [(104, 102), (170, 102)] == [(latency.median, latency.undisturbed) for latency in figures]


def test_a_record_without_the_undisturbed_latency_is_read(make_record):
    """Older records lack it, and nothing is guessed."""
    old = msgspec.to_builtins(make_record())
    del old["latency_ns"]["undisturbed"]

    assert None is msgspec.convert(old, Record).latency_ns.undisturbed


def test_one_slow_process_moves_the_interval_but_not_the_median(plan, make_sample):
    """By hand: processes with medians 100, 101, 102, 103 and 900 give 102, from 100 to 900, with 93.75 %."""
    samples = [make_sample([median - 10, median, median + 10] * 40) for median in (103, 900, 101, 100, 102)]
    latency = record_of(plan, plan.cases[0], samples).latency_ns

    assert (102, 100, 900, 0.9375, 90) == (latency.median, latency.low, latency.high, latency.coverage, latency.min)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (1, (1000, 1000, 0.0)),
        (2, (1000, 1001, 0.5)),
        (4, (1000, 1003, 0.875)),
        (6, (1000, 1005, 0.9688)),
        (9, (1001, 1007, 0.9609)),
        (12, (1002, 1009, 0.9614)),
    ],
)
def test_the_interval_is_of_order_statistics(plan, make_sample, processes, expected):
    """The interval's ends are order statistics of the processes' medians, with the binomial coverage."""
    samples = [make_sample([1000 + number] * 100) for number in reversed(range(processes))]
    latency = record_of(plan, plan.cases[0], samples).latency_ns

    assert expected == (latency.low, latency.high, latency.coverage)


def runs(n, rho=0.0):
    """So many runs around a millisecond, of which each keeps the share `rho` of the one before."""
    draw = np.random.default_rng(n)
    noise = [0.0]
    for step in draw.standard_normal(n - 1):
        noise.append(rho * noise[-1] + step)
    return [round(1e6 + 1e4 * item) for item in noise]


@pytest.mark.parametrize(("processes", "reported"), [(1, False), (2, True)])
def test_p99_needs_662_effective_runs(plan, make_sample, monkeypatch, processes, reported):
    """The 99th percentile is told from 662 effective runs on, all processes together."""
    monkeypatch.setattr("mnbench.bench.aggregate.effective_runs", lambda _: 331)
    samples = [make_sample(runs(400)) for _ in range(processes)]
    record = record_of(plan, plan.cases[0], samples)
    pooled = np.concatenate([sample.latencies_ns for sample in samples])

    assert 331 * processes == record.effective_runs
    assert (round(np.quantile(pooled, 0.99)) if reported else None) == record.latency_ns.p99


def test_many_runs_that_follow_each_other_closely_give_no_p99(plan, make_sample):
    """Five thousand independent runs tell the 99th percentile; as many that hang together do not."""
    independent, together = (record_of(plan, plan.cases[0], [make_sample(runs(5000, rho))]) for rho in (0.0, 0.99))

    assert (5000, 5000) == (independent.runs, together.runs)
    assert independent.effective_runs > 4000
    assert together.effective_runs < 200
    assert None is not independent.latency_ns.p99
    assert None is together.latency_ns.p99


@pytest.mark.parametrize(
    ("medians", "expected"),
    [([1000, 1000, 1020], 0.02), ([970, 1000, 1020], 0.03), ([1000, 1000], 0.0), ([1000], math.inf)],
    ids=["above", "below", "none", "one process"],
)
def test_precision_is_the_farther_end_of_the_interval(plan, make_sample, medians, expected):
    """As a share of the median; of one process, which has no interval, infinite."""
    latency = record_of(plan, plan.cases[0], [make_sample([median] * 100) for median in medians]).latency_ns

    assert expected == pytest.approx(latency.precision)


def test_work_copies_and_difference(plan, make_sample):
    """Work of a run and copies are medians over processes; the difference is the worst of any; threads are as used."""
    facts = zip((10, 30, 1000), (7, 9, 8), (1e-7, 3e-6, 2e-6), strict=True)
    samples = [
        make_sample(cpu_ns=np.array([a] * 100), copies_ns={"in": b, "out": 2 * b}, difference=c, threads=4)
        for a, b, c in facts
    ]
    record = record_of(plan, plan.cases[0], samples)

    assert (30, {"in": 8, "out": 16}, 3e-6, 4) == (
        record.cpu_ns,
        record.copies_ns,
        record.difference,
        record.threads,
    )


def test_outputs_that_were_not_compared(plan, make_sample):
    """A reason is named once; without any difference there is none."""
    samples = [make_sample(difference=None, not_compared=reasons) for reasons in (("a", "b"), ["a", "c"])]
    record = record_of(plan, plan.cases[0], samples)

    assert (None, ("a", "b", "c")) == (record.difference, record.not_compared)


def test_first_run_session_and_memory(plan, make_sample):
    """First run and session creation are medians over processes; memory is the most that any held."""
    facts = zip((10, 30, 1000), (7, 9, 8), (100, None, 300), strict=True)
    samples = [make_sample(first_run_ns=a, session_ns=b, peak_rss_bytes=c) for a, b, c in facts]
    record = record_of(plan, plan.cases[0], samples)

    assert (30, 8, 300) == (record.first_run_ns, record.session_ns, record.peak_rss_bytes)


def test_memory_that_nobody_tells_is_none(plan, make_sample):
    """Where no process can tell its memory, the record says None and not 0."""
    assert None is record_of(plan, plan.cases[0], [make_sample(peak_rss_bytes=None)]).peak_rss_bytes


def test_a_record_carries_what_was_measured(plan, make_sample):
    """Variant, costs, model, device and host of the cell and the plan are in the record."""
    cell = plan.cases[1]
    record = record_of(plan, cell, [make_sample()])

    assert (cell.variant, cell.architecture, cell.alpha, cell.resolution) == (
        record.variant,
        record.architecture,
        record.alpha,
        record.resolution,
    )
    assert (cell.cost.params, cell.cost.mult_adds, cell.cost.memory_access_bytes) == (
        record.params,
        record.mult_adds,
        record.memory_access_bytes,
    )
    assert (cell.sha256, cell.peak_activation_bytes) == (record.model_sha256, record.peak_activation_bytes)
    assert ("cpu", PROVIDER, 1) == (record.device, record.provider, record.threads)
    assert ("onnxruntime", "1.2.3") == (record.runtime.name, record.runtime.version)
    assert {"cpu": "a CPU", "cores": 2} == record.host
    assert f"run/{cell.variant}" == record.id


@pytest.mark.parametrize(
    ("placement", "nodes", "mult_adds"),
    [
        ({PROVIDER: ["a", "b"]}, 1.0, 1.0),
        ({PROVIDER: ["b"], "Other": ["a"]}, 0.5, 0.75),
        ({"Other": ["a", "b"]}, 0.0, 0.0),
        ({PROVIDER: ["b", "reorder"], "Other": ["a"]}, pytest.approx(2 / 3), 0.75),
        ({PROVIDER: ["reorder"]}, 1.0, 1.0),
        ({PROVIDER: ["reorder"], "Other": ["own"]}, 0.5, None),
        ({}, None, None),
        (None, None, None),
    ],
    ids=[
        "all",
        "some",
        "none",
        "with a node of the runtime's own",
        "only such",
        "only such, elsewhere too",
        "empty",
        "not told",
    ],
)
def test_placement_is_a_share_of_nodes_and_of_mult_adds(plan, make_sample, placement, nodes, mult_adds):
    """Of the nodes that ran, and of their Mult-Adds (1 and 3 here), the share on the provider asked for."""
    record = record_of(plan, plan.cases[0], [make_sample(placement=placement)])

    assert (nodes, mult_adds) == (record.placement.nodes, record.placement.mult_adds)


def test_placement_of_unknown_mult_adds_is_unknown(plan, make_sample):
    """A layer that no rule counts may be most of the work: the share of nodes is known, that of Mult-Adds is not."""
    case = plan.cases[0]
    layers = tuple(replace(layer, mult_adds=None) if at == 0 else layer for at, layer in enumerate(case.layers))
    scopes = [layer.scope for layer in layers]
    sample = make_sample(placement={plan.device.provider: scopes[:1], "Other": scopes[1:]})
    record = record_of(plan, replace(case, layers=layers), [sample])

    assert (1 / len(scopes), None) == (record.placement.nodes, record.placement.mult_adds)
