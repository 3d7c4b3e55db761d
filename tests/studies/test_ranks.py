"""Claims about the order of rows: Spearman's correlation of printed latencies with those measured here."""

# ruff: noqa: SIM300  expected == actual

import pytest

from mnbench.stats import rank_correlation
from mnbench.studies.claims import rank_evidence
from mnbench.studies.study_file import Claim, Study, StudyRow

LABELS = ("a", "b", "c", "d")
CLAIM = Claim(says="the order", quantity="rank", rows=LABELS[1:], baseline="a", at_least=0.8)


@pytest.mark.parametrize(
    ("ys", "expected"),
    [
        ((1, 2, 3, 4), 1.0),
        ((8, 4, 2, 1), -1.0),
        ((1, 3, 2, 4), 0.8),  # 1 - 6 · 2 / (4 · 15)
        ((1, 2, 2, 4), 4.5 / (5 * 4.5) ** 0.5),  # the two share rank 2.5
        ((7, 7, 7, 7), 0.0),
    ],
)
def test_rank_correlation(ys, expected):
    """Of ranks, not values; equal values share their mean rank."""
    assert expected == pytest.approx(rank_correlation((10, 20, 30, 40), ys))


def evidence(ratios, unit="ms"):
    """What is found of three rows, by their ratios to the first in each process."""
    rows = tuple(
        StudyRow(label=label, variants=(label,), published=(float(10 * number),))
        for number, label in enumerate(LABELS, 1)
    )
    study = Study(title="t", paper="p", table="t", unit=unit, rows=rows, claims=(CLAIM,))
    (result,) = rank_evidence(CLAIM, study, {(label, "a"): values for label, values in ratios.items()})
    return result


def test_the_papers_order_holds_and_the_reverse_does_not():
    """Printed rates grow where latencies fall."""
    ratios = {"b": [2.0] * 6, "c": [3.0] * 6, "d": [4.0] * 6}
    same, reverse = evidence(ratios), evidence(ratios, unit="images/s")

    assert (1.0, 1.0, 1.0, "holds") == pytest.approx((same.ratio, same.low, same.high, same.verdict))
    assert (-1.0, "does not hold") == pytest.approx((reverse.ratio, reverse.verdict))


def test_an_order_that_differs_from_process_to_process_is_inconclusive():
    """The interval is that of draws of the processes."""
    result = evidence({"b": [2.0] * 6, "c": [2.5, 2.5, 2.5, 9.0, 9.0, 9.0], "d": [4.0, 4.0, 1.5, 1.5, 1.5, 4.0]})

    assert result.low < 0.8 <= result.high
    assert "inconclusive" == result.verdict


def test_few_processes_say_nothing_of_the_order():
    """Draws of three processes hardly differ, and would look certain."""
    result = evidence({"b": [2.0] * 6, "c": [3.0] * 3, "d": [4.0] * 6})

    assert ("inconclusive", None) == (result.verdict, result.ratio)
    assert "3 of at least 6 processes: raise --budget" == result.reason
