"""Issues: what speaks against a figure, with advice."""

# ruff: noqa: SIM300  expected == actual

import pytest
from common import PROVIDER

from mnbench.records.record import measured


def record_of(plan, cell, samples):
    """The record of a cell from scripted samples."""
    return measured(plan, cell, "run", samples)


def issues_of(plan, samples):
    """The names of a record's issues."""
    return [issue.name for issue in record_of(plan, plan.cells[0], samples).issues]


@pytest.mark.parametrize(("slowest", "expected"), [(100, []), (120, []), (121, ["noisy"]), (500, ["noisy"])])
def test_noisy(plan, make_sample, slowest, expected):
    """An interval whose ends differ by more than 20 % is noisy."""
    assert expected == issues_of(plan, [make_sample([median] * 100) for median in (100, 100, slowest)])


@pytest.mark.parametrize(("runs", "expected"), [(10, ["short"]), (49, ["short"]), (50, []), (1000, [])])
def test_short(plan, make_sample, runs, expected):
    """Fewer than 100 runs in all processes together are short."""
    assert expected == issues_of(plan, [make_sample([100] * runs)] * 2)


@pytest.mark.parametrize(
    ("placement", "expected"),
    [({PROVIDER: ["a"]}, []), (None, []), ({PROVIDER: ["a"], "Other": ["b"]}, ["misplaced"])],
    ids=["placed", "not told", "misplaced"],
)
def test_misplaced(plan, make_sample, placement, expected):
    """Nodes on another provider are an issue; a runtime that does not tell is none."""
    assert expected == issues_of(plan, [make_sample(placement=placement)])


def test_placement_of_every_process_counts(plan, make_sample):
    """One process whose nodes ran elsewhere is misplaced, whichever process it is."""
    placed, misplaced = make_sample(), make_sample(placement={"Other": ["a", "b"]})

    assert ["misplaced"] == issues_of(plan, [misplaced, placed, placed])
    assert ["misplaced"] == issues_of(plan, [placed, placed, misplaced])


def test_issues_have_advice_and_cost_the_trust(plan, make_sample):
    """A record with an issue is not trusted, one without is; each issue says what to do."""
    good = record_of(plan, plan.cells[0], [make_sample()])
    bad = record_of(plan, plan.cells[0], [make_sample([100] * 5), make_sample([200] * 5)])

    assert good.trusted
    assert not bad.trusted
    assert ["noisy", "short"] == [issue.name for issue in bad.issues]
    assert [] == [issue for issue in bad.issues if len(issue.advice) < 20]
