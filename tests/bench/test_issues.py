"""Issues: what speaks against a figure, with advice."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from common import PROVIDER

from mnbench.bench.aggregate import aggregate


@pytest.fixture
def issues(make_plan, make_cell):
    """The issues of a record of these samples, by name, for a protocol that asks for as many processes."""

    def issues(samples, device=None, denormal_share=0.0, **protocol):
        cell = make_cell(denormal_share=denormal_share)
        plan = make_plan(cell, device=device, **{"processes": len(samples), "precision": 10.0} | protocol)
        return {issue.name: issue for issue in aggregate(plan, plan.cases[0], "run", samples).issues}

    return issues


def same(sample, times=3):
    """The samples of processes with equal latencies."""
    return [sample] * times


def test_nothing_speaks_against_a_good_cell(issues, make_sample):
    """Six processes that agree on a hundred runs each have no issue."""
    assert {} == issues(same(make_sample(), 6), precision=0.01)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [({PROVIDER: ["a"]}, []), (None, []), ({}, []), ({PROVIDER: ["a"], "Other": ["b"]}, ["misplaced"])],
    ids=["placed", "not told", "empty", "misplaced"],
)
def test_misplaced(issues, make_sample, placement, expected):
    """Nodes on another provider are an issue; a runtime that does not tell is none."""
    assert expected == list(issues(same(make_sample(placement=placement))))


def test_placement_of_every_process_counts(issues, make_sample):
    """One process whose nodes ran elsewhere is misplaced, whichever process it is; the share is told."""
    placed, misplaced = make_sample(), make_sample(placement={"Other": ["a", "b"]})

    for samples in ([misplaced, placed, placed], [placed, placed, misplaced]):
        assert f"100% of the nodes did not run on {PROVIDER}" == issues(samples)["misplaced"].advice


@pytest.mark.parametrize(
    ("share", "changes", "expected"),
    [
        (0.0, {}, None),
        (0.0009, {}, True),
        (0.75, {}, False),
        (0.75, {"options": {"session.set_denormal_as_zero": "1"}}, None),
        (0.75, {"provider": "CUDAExecutionProvider"}, None),
    ],
    ids=["none", "few", "many", "set to zero", "GPU"],
)
def test_denormal(issues, make_sample, make_device, share, changes, expected):
    """Few denormal weights are a minor issue; none if the device sets them to 0, or is a GPU."""
    raised = issues(same(make_sample(placement=None)), device=make_device(**changes), denormal_share=share)

    assert ([] if expected is None else [expected]) == [issue.minor for issue in raised.values()]


@pytest.mark.parametrize(
    ("threads", "cores", "expected"),
    [(2, 2, []), (3, 2, ["oversubscribed"]), (2, 1, ["oversubscribed"]), (1, None, [])],
    ids=["as many", "more threads", "one core", "not told"],
)
def test_oversubscribed(issues, make_sample, threads, cores, expected):
    """More threads than cores that the worker may use are an issue; the advice is a number that fits."""
    issues = issues(same(make_sample(threads=threads, host={"cores": cores})))

    assert expected == list(issues)
    assert [] == [issue for issue in issues.values() if f"give --threads {cores}" not in issue.advice]


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ((100, 100, 105, 105, 110, 110), False),
        ((100, 100, 105, 105, 111, 111), True),
        ((100, 100, 105, 105, 150, 100), False),
        ((100, 140, 105, 105, 150, 150), False),
        ((111, 111, 105, 105, 100, 100), False),
        ((100, 105, 150, 150), False),
    ],
    ids=["limit", "slower", "not all", "slow at first", "faster", "few"],
)
def test_throttled(issues, make_sample, medians, expected):
    """All of the last third of processes are over 10 % slower than all of the first; noise makes only some slow."""
    assert expected == ("throttled" in issues([make_sample([median] * 100) for median in medians]))


@pytest.mark.parametrize(("slowest", "expected"), [(100, []), (120, []), (121, ["noisy"]), (500, ["noisy"])])
def test_noisy(issues, make_sample, slowest, expected):
    """An interval whose ends differ by more than 20 % is noisy."""
    assert expected == list(issues([make_sample([median] * 100) for median in (100, 100, slowest)]))


@pytest.mark.parametrize(
    ("medians", "expected"),
    [([1000, 1000, 1009], []), ([1000, 1000, 1011], ["imprecise"]), ([989, 1000, 1000], ["imprecise"])],
    ids=["limit", "above", "below"],
)
def test_imprecise(issues, make_sample, medians, expected):
    """An interval that reaches further from the median than was asked for is imprecise; the advice tells both."""
    issues = issues([make_sample([median] * 100) for median in medians], precision=0.01)

    assert expected == list(issues)
    assert [] == [issue for issue in issues.values() if "±1.1%, and ±1.0% was asked for" not in issue.advice]


def test_one_process_is_imprecise(issues, make_sample):
    """One process tells no interval, so that its median is never printed like a precise one."""
    assert "one process gives no interval" in issues([make_sample()], precision=0.9)["imprecise"].advice


def test_fewer_processes_than_asked_for_are_imprecise(issues, make_sample):
    """Processes that agree are imprecise all the same where the budget had no room for all of them."""
    issues = issues(same(make_sample(), 2), processes=6)

    assert "only 2 of 6 processes were within the budget" in issues["imprecise"].advice
    assert "--budget" in issues["imprecise"].advice


@pytest.mark.parametrize(("runs", "expected"), [(1, ["short"]), (4, ["short"]), (5, []), (1000, [])])
def test_short(issues, make_sample, runs, expected):
    """Fewer than 10 runs in all processes together are short: a slow model, precise after 6 processes of 5, is not."""
    assert expected == list(issues(same(make_sample([100] * runs), 2)))


@pytest.mark.parametrize(
    ("far", "value", "expected"),
    [(5, 200, []), (6, 200, ["outliers"]), (20, 150, [])],
    ids=["few", "many", "not far"],
)
def test_outliers(issues, make_sample, far, value, expected):
    """More than 5 % of the runs beyond 1.5 medians of their own process are worth knowing, and no more."""
    runs = np.random.default_rng(0).permutation([100] * (100 - far) + [value] * far)
    issues = issues(same(make_sample(runs)))

    assert expected == list(issues)
    assert [] == [issue for issue in issues.values() if not issue.minor]


def test_processes_that_differ_have_no_outliers_for_that(issues, make_sample):
    """Each process is compared with its own median."""
    assert ["noisy"] == list(issues([make_sample([100] * 100), make_sample([100] * 100), make_sample([300] * 100)]))


@pytest.mark.parametrize(
    ("first_ns", "median_ns", "expected"),
    [
        (50_000_000, 100, []),
        (50_000_001, 100, ["first-run-slow"]),
        (80_000_000, 8_000_000, []),
        (80_000_001, 8_000_000, ["first-run-slow"]),
    ],
    ids=["50 ms", "more", "ten runs", "more than ten"],
)
def test_first_run_slow(issues, make_sample, first_ns, median_ns, expected):
    """A first run of over 50 ms and over ten ordinary ones is worth knowing, and no more."""
    issues = issues(same(make_sample([median_ns] * 100, first_run_ns=first_ns)))

    assert expected == list(issues)
    assert [] == [issue for issue in issues.values() if not issue.minor]


def test_issues_have_advice_and_cost_the_trust(make_plan, make_cell, make_sample):
    """A record with an issue is not trusted, one with none or a minor one is; each issue says what to do."""
    plan = make_plan(make_cell(), processes=2, precision=10.0)
    good, slow_start, bad = (
        aggregate(plan, plan.cases[0], "run", samples)
        for samples in (
            same(make_sample(), 2),
            same(make_sample(first_run_ns=10**9), 2),
            [make_sample([100] * 4), make_sample([200] * 4)],
        )
    )

    assert (True, True, False) == (good.trusted, slow_start.trusted, bad.trusted)
    assert ["first-run-slow"] == [issue.name for issue in slow_start.issues]
    assert ["noisy", "short"] == [issue.name for issue in bad.issues]
    assert [] == [issue for issue in (*bad.issues, *slow_start.issues) if len(issue.advice) < 20]


def test_the_gravest_issue_comes_first(issues, make_sample):
    """A cell with every issue names what ran elsewhere first, and what is minor last."""
    runs = [100] * 8 + [300] * 3 + [120] * 4
    order = ["misplaced", "oversubscribed", "throttled", "noisy", "imprecise", "short", "outliers", "first-run-slow"]
    everything = {"placement": {"Other": ["a"]}, "threads": 8, "first_run_ns": 10**9}
    many, few = (
        [make_sample([factor * run for run in runs], **everything) for factor in factors]
        for factors, runs in (((1,) * 6 + (2,) * 6, runs), ((1, 2), [100, 100, 300]))
    )
    raised = [list(issues(samples, precision=0.02)) for samples in (many, few)]

    assert [[name for name in order if name != absent] for absent in ("short", "throttled")] == raised
