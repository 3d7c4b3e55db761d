"""Statistics of a judgement: tails and bounds of Student's t, effects of pairs, looks, error rates, reasons."""

# ruff: noqa: SIM300  expected == actual

from math import comb, exp, log, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.comparison.decide import (
    DecisionRules,
    Effect,
    Finding,
    decide,
    estimate_ratios,
    overall_verdict,
    trial_effect,
)
from mnbench.comparison.verdicts import ComparisonContext, conclude
from mnbench.stats import student_quantile, student_survival, trimmed_mean

# Student's t


@pytest.mark.parametrize(
    ("freedom", "tail", "bound"),
    [
        # by SciPy 1.16, t.isf
        (1, 0.25, 1.0),
        (2, 0.05, 2.919985580355516),
        (3, 0.001, 10.214531852407385),
        (7, 6.25e-05, 7.612264450529458),
        (7, 0.000625, 5.2021888395072295),
        (11, 0.001, 4.024701037630739),
        (15, 0.00025, 4.4166128303509895),
    ],
)
def test_bounds_are_those_of_an_independent_library(freedom, tail, bound):
    """Quantiles at the degrees of freedom and levels that a gate meets."""
    assert student_quantile(tail, freedom) == pytest.approx(bound, rel=1e-9)


@given(st.integers(1, 200), st.floats(1e-7, 0.5))
def test_a_bound_has_its_tail(freedom, tail):
    """The tail beyond the bound is the tail asked for."""
    assert student_survival(student_quantile(tail, freedom), freedom) == pytest.approx(tail, rel=1e-6)


@given(st.integers(1, 200), st.floats(-50, 50))
def test_tails_of_both_signs_make_one(freedom, t):
    """T is symmetric."""
    assert student_survival(t, freedom) + student_survival(-t, freedom) == pytest.approx(1)


def test_trimmed_mean_leaves_out_a_fifth_at_each_end():
    """Of ten values two at each end are left out."""
    assert 5.5 == trimmed_mean([-1e9, 2, 3, 4, 5, 6, 7, 8, 9, 1e9])
    assert 3 == trimmed_mean([3])


# The effect in a process


def columns(first, base, candidate, base_cpu=None, candidate_cpu=None):
    """The columns of a row's pairs, in nanoseconds; where nothing else is said, the thread worked all the time."""
    named = {
        "first": first,
        "base_ns": base,
        "candidate_ns": candidate,
        "base_cpu_ns": base_cpu or base,
        "candidate_cpu_ns": candidate_cpu or candidate,
    }
    return {name: np.array(values, np.int64) for name, values in named.items()}


def test_effect_is_the_log_ratio():
    """A candidate that takes 3 % longer in every pair."""
    effect = trial_effect(columns([0, 1] * 5, [1_000_000] * 10, [1_030_000] * 10), blocking_waits=False)
    assert effect.pairs == 10
    assert effect.log_ratio == pytest.approx(log1p(0.03))


def test_which_arm_ran_first_is_no_effect():
    """The second run of a pair takes 4 % longer; seven pairs begin with the base and three with the candidate."""
    first = [0] * 7 + [1] * 3
    base = [1_000_000 if item == 0 else 1_040_000 for item in first]
    candidate = [1_040_000 if item == 0 else 1_000_000 for item in first]
    assert trial_effect(columns(first, base, candidate), blocking_waits=False).log_ratio == pytest.approx(0, abs=1e-12)


def test_an_interrupted_run_counts_by_the_time_that_the_thread_worked():
    """The system takes the core away for 5 ms in most runs of the candidate, which works 1 % more."""
    wall = [1_010_000, 6_010_000, 6_010_000, 6_010_000]
    interrupted = columns([0, 1, 0, 1], [1_000_000] * 4, wall, None, [1_010_000] * 4)
    assert trial_effect(interrupted, blocking_waits=False).log_ratio == pytest.approx(log1p(0.01))
    assert trial_effect(interrupted, blocking_waits=True).log_ratio > 1


# Decisions


def effects(table, pairs=300):
    """Effects of rows × processes, given in percent."""
    return {f"row {at}": [Effect(log1p(item / 100), pairs) for item in row] for at, row in enumerate(table)}


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [(3, "slower"), (-3, "faster"), (0, "same"), (0.8, "same"), (1.2, "slower"), (-0.8, "same")],
)
def test_verdict_of_what_is_certain(percent, verdict):
    """Without scatter the estimate is the truth, and `min_effect` decides."""
    decided = decide(effects([[percent] * 4] * 3), DecisionRules(), final=False)
    assert {verdict} == {decision.verdict for decision in decided.values()}


def test_slower_needs_certainty_and_size():
    """Beyond doubt above the margin and too small is not slower; large and doubtful is not either."""
    small = decide(effects([[0.80, 0.81, 0.79, 0.80]] * 5), DecisionRules(equivalence_margin=0.005), final=True)
    doubtful = decide(effects([[0, 8, -1, 9]] * 5), DecisionRules(), final=True)
    assert {"inconclusive"} == {decision.verdict for decision in (*small.values(), *doubtful.values())}


def test_undecided_rows_wait_for_the_next_look():
    """A table is not looked at between looks, and what no look has decided has no verdict yet."""
    wide = [[0, 5, -5, 4, -4, 3]]
    assert {} == decide(effects([row[:3] for row in wide]), DecisionRules(), final=False)
    decision = decide(effects([row[:5] for row in wide]), DecisionRules(), final=False)["row 0"]
    assert (None, 4) == (decision.verdict, decision.estimate.processes)
    assert 6 == decide(effects(wide), DecisionRules(), final=False)["row 0"].estimate.processes


def test_a_decided_row_keeps_its_verdict():
    """Slower after four processes, and measured no more."""
    table = effects([[3, 3.1, 2.9, 3]] * 3 + [[0, 5, -5, 4, -4, 3]])
    first = decide({row: item[:4] for row, item in table.items()}, DecisionRules(), final=False)["row 0"]
    assert ("slower", 4) == (first.verdict, first.estimate.processes)
    last = decide(table, DecisionRules(), final=True)["row 0"]
    assert ("slower", 4) == (last.verdict, last.estimate.processes)


def test_what_is_decided_is_not_judged_again_when_measuring_ends():
    """The last look spends what is left of alpha on undecided rows alone: its bounds are narrower."""
    table = effects([[0.1, -0.1, 0.3, -0.3]] * 4 + [[3, -1, 0, 1]])
    live, ended = decide(table, DecisionRules(), final=False), decide(table, DecisionRules(), final=True)
    assert ["same"] * 4 + [None] == [decision.verdict for decision in live.values()]
    assert live["row 0"] == ended["row 0"]
    assert "inconclusive" == ended["row 4"].verdict
    assert ended["row 4"].high < live["row 4"].high


def test_alpha_is_spent_once():
    """Ever more of it at each look; a smaller cap has fewer looks, and its last spends the rest."""
    rules = DecisionRules()
    assert (4, 6, 8, 12, 16, 24) == rules.interim_looks
    assert [0.068, 0.125, 0.192, 0.354, 0.544, 1] == pytest.approx(
        [rules.error_spent(look) for look in rules.interim_looks], abs=0.001
    )
    assert (4, 6) == DecisionRules(processes=6).interim_looks
    assert (4,) == DecisionRules(processes=4).interim_looks
    assert 1.0 == DecisionRules(processes=4).error_spent(4)


NOISY = [1.8, -1.8, 1.6, -1.6, 1.4, -1.4]


@pytest.mark.parametrize(("others", "verdict"), [(0, "same"), (5, "inconclusive")])
def test_rows_that_pass_leave_their_error_rate_to_the_others(others, verdict):
    """A sixteenth of it is too little for the noisy row; slower rows leave nothing, as they may be false claims."""
    table = effects([[others + item / 10 for item in NOISY]] * 15 + [NOISY])
    assert verdict == decide(table, DecisionRules(processes=6), final=True)["row 15"].verdict


def test_a_row_that_looks_faster_waits_for_the_next_look():
    """It is less than the tolerance slower, but it may yet be faster."""
    table = effects([[0.1, -0.1, 0.2, -0.2]] * 3 + [[-2.5, -0.5, -2.2, -0.8]])
    waiting = decide(table, DecisionRules(), final=False)["row 3"]
    assert waiting.high < log1p(DecisionRules().equivalence_margin)
    assert waiting.verdict is None
    assert "same" == decide(table, DecisionRules(), final=True)["row 3"].verdict


def test_a_row_ends_with_its_own_last_process():
    """A suspected row is measured no more while others are: its last look is after its fourth process."""
    table, rules = effects([[3, 3.1, 2.9, 3]] * 2 + [[0, 5, -5, 4, -4, 3, -2]]), DecisionRules(error_rate=0.05)
    suspected = decide({row: item[:4] for row, item in table.items()}, rules, final=True)
    ended = decide(table, rules, final=True)
    assert ("slower", 4) == (ended["row 0"].verdict, ended["row 0"].estimate.processes)
    assert ended["row 0"] == suspected["row 0"]
    assert ("inconclusive", 7) == (ended["row 2"].verdict, ended["row 2"].estimate.processes)


def test_fewer_than_four_processes_decide_nothing():
    """However certain three of them look."""
    assert {} == decide(effects([[5, 5, 5]] * 3), DecisionRules(), final=True)


def test_too_few_pairs_decide_nothing():
    """Four processes with 29 pairs in all, of a row that is 5 % slower."""
    table = {"row": [Effect(log1p(0.05), pairs) for pairs in (7, 7, 7, 8)]}
    assert "inconclusive" == decide(table, DecisionRules(), final=True)["row"].verdict


def test_moderated_bounds_agree_with_a_calculation_by_hand():
    """Three rows, four processes, each row's variance drawn to the others' median by two degrees of freedom."""
    table = {
        "a": [Effect(item, 50) for item in (0.010, 0.020, 0.030, 0.040)],
        "b": [Effect(item, 50) for item in (0.00, 0.01, 0.00, 0.01)],
        "c": [Effect(item, 50) for item in (0.00, 0.02, 0.00, 0.02)],
    }
    estimate = estimate_ratios(table)["a"]
    spent, others = 0.0005 / 3, (0.0001 / 3 + 0.0004 / 3) / 2
    pooled = (2 * others + 3 * spent) / 5
    # t with 5 degrees of freedom, 0.1 % to one side: 5.893 in printed tables
    reach = 5.893429 * (pooled / 4) ** 0.5
    assert (0.025, 4, 200) == (pytest.approx(estimate.mean), estimate.processes, estimate.pairs)
    assert reach == pytest.approx(estimate.half_width(0.001), rel=1e-6)


def test_a_single_row_has_only_its_own_variance():
    """Three degrees of freedom from four processes, and none from anywhere else."""
    estimate = estimate_ratios({"a": [Effect(item, 50) for item in (0.01, 0.02, 0.03, 0.04)]})["a"]
    assert estimate.half_width(0.001) == pytest.approx(10.214532 * (0.0005 / 3 / 4) ** 0.5)


def simulated(draw, rows, processes, shifts=0.0, sd=0.0055):
    """A table whose effects scatter from process to process as real ones of half a second a row do."""
    result = draw.normal(0, sd, (rows, processes)) + np.broadcast_to(shifts, (rows,))[:, None]
    return {f"row {at}": [Effect(float(item), 300) for item in item] for at, item in enumerate(result)}


def most(count, share, certainty=1e-4):
    """How many of `count` happen at most, each with probability `share`, but for that chance."""
    tail, at = 1.0, 0
    while tail > certainty:
        tail -= comb(count, at) * share**at * (1 - share) ** (count - at)
        at += 1
    return at


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_innocent_tables_are_suspected_no_more_often_than_one_sample_may(rows):
    """With no margin and no least effect, so that nothing but the bounds protects the innocent."""
    draw, tables = np.random.default_rng(rows), 300
    rules = DecisionRules(error_rate=0.02, noise_margin=1e-9, min_effect=1e-9, processes=6)
    suspected = sum(
        any(decision.verdict == "slower" for decision in decide(simulated(draw, rows, 6), rules, final=True).values())
        for _ in range(tables)
    )
    assert rules.sample_error_rate == pytest.approx(0.1)
    assert suspected <= most(tables, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_innocent_tables_are_accused_no_more_often_than_alpha_says(rows):
    """Suspected rows have a second sample; there is no margin and no least effect."""
    draw, tables = np.random.default_rng(rows), 300
    rules = DecisionRules(error_rate=0.1, noise_margin=1e-9, min_effect=1e-9, processes=6)
    accused = 0
    for _ in range(tables):
        first, again = simulated(draw, rows, 6), simulated(draw, rows, 6)
        findings = conclude(first, again, context(first, rules=rules))
        accused += any(finding.verdict == "slower" for finding in findings)
    assert accused <= most(tables, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("innocent", [0, 8, 15])
def test_slower_rows_are_called_the_same_no_more_often_than_alpha_says(innocent):
    """The others of sixteen rows are slower by just the tolerance; innocent rows that pass leave them error rate."""
    draw, tables = np.random.default_rng(innocent), 300
    rules = DecisionRules(error_rate=0.05, min_effect=0.5, processes=12)
    shifts = [0.0] * innocent + [log1p(rules.equivalence_margin)] * (16 - innocent)
    wrong = 0
    for _ in range(tables):
        decided = decide(simulated(draw, 16, 12, shifts), rules, final=True)
        wrong += any(decided[f"row {at}"].verdict in ("same", "faster") for at in range(innocent, 16))
    assert wrong <= most(tables, 0.05)


def test_three_percent_are_found():
    """Five of sixteen rows are 3 % slower: they all are found, and no other, in fifty tables."""
    draw, guilty = np.random.default_rng(0), {f"row {at}" for at in range(5)}
    shifts = [log1p(0.03)] * 5 + [0.0] * 11
    for _ in range(50):
        decided = decide(simulated(draw, 16, 12, shifts), DecisionRules(), final=True)
        assert guilty == {row for row, decision in decided.items() if decision.verdict == "slower"}


# Findings


def context(first, **changes):
    """What was compared, for effects of these rows."""
    facts = {
        "base": "a",
        "candidate": "b",
        "rules": DecisionRules(),
        "seed": 0,
        "measured": dict.fromkeys(first, "cpu"),
    }
    return ComparisonContext(**facts | changes)


def test_a_row_is_accused_only_if_it_is_slower_again():
    """Two rows look slower: one is so again, the other is not."""
    first = effects([[3, 3.1, 2.9, 3], [4, 4.1, 3.9, 4], [0, 0.1, -0.1, 0]])
    again = {"row 0": effects([[3, 3.1, 2.9, 3]])["row 0"], "row 1": effects([[0, 0.1, -0.1, 0]])["row 0"]}
    findings = conclude(first, again, context(first))
    assert ["slower", "same", "same"] == [finding.verdict for finding in findings]
    assert "+3.0 % when measured again, alone" == findings[0].reason
    assert "looked +4.0 % at first" == findings[1].reason


def test_bounds_of_a_slower_row_are_the_wider_of_both_samples():
    """A bound of one sample holds with less confidence than the table's."""
    first, again = effects([[3, 3.1, 2.9, 3]] * 3), effects([[4, 4.2, 3.8, 4]])
    rules = DecisionRules()
    (finding, *_) = conclude(first, again, context(first))
    before = decide(first, rules, final=True)["row 0"]
    after = decide(again, rules, final=True, row_count=3, second_sample=True, prior_variances=[1e-6] * 3)["row 0"]
    assert log(finding.low) == pytest.approx(before.estimate.mean - before.sample_half_width)
    assert log(finding.high) > after.estimate.mean
    assert finding.low > 1 + rules.noise_margin


def test_what_could_not_be_measured_again_is_not_accused():
    """The budget ended before."""
    first = effects([[3, 3.1, 2.9, 3]] * 2)
    findings = conclude(first, {}, context(first, stopped="too busy"))
    assert ["inconclusive"] * 2 == [finding.verdict for finding in findings]
    assert "looks slower, but could not be measured again: too busy" == findings[0].reason


def test_findings_tell_why():
    """Each row that is neither slower nor not has its reason."""
    first = effects([[0, 0, 0, 0]] * 3 + [[0, 9, -9, 0], [3, 3], []])
    reported = {"row 5": ("candidate", "it crashed")}
    ok, _, _, wide, few, broken = conclude(first, {}, context(first, failed=reported))
    assert ("same", "") == (ok.verdict, ok.reason)
    assert ("inconclusive", 4) == (wide.verdict, wide.processes)
    assert "slower or the same" in wide.reason
    assert ("inconclusive", "2 of at least 4 processes: raise --budget") == (few.verdict, few.reason)
    assert ("missing", "the candidate fails: it crashed") == (broken.verdict, broken.reason)
    (base,) = conclude({"row": []}, {}, context(["row"], failed={"row": ("base", "it crashed")}))
    assert "incomparable" == base.verdict


def test_another_cpu_makes_all_rows_incomparable():
    """Whatever was measured before."""
    first = effects([[0, 0, 0, 0]])
    (finding,) = conclude(first, {}, context(first, incomparable="another CPU"))
    assert ("incomparable", "another CPU") == (finding.verdict, finding.reason)


@pytest.mark.parametrize(("percent", "verdict"), [(0.1, "same"), (1.5, "inconclusive"), (-1.5, "inconclusive")])
def test_a_machine_on_which_a_row_differs_from_itself_is_not_fit(percent, verdict):
    """Beyond 1 %, to either side."""
    first = effects([[percent] * 4])
    (finding,) = conclude(first, {}, context(first, self_check=True))
    assert verdict == finding.verdict


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        (["same", "faster", "identical"], "pass"),
        (["same", "slower", "missing"], "slower"),
        (["same", "missing"], "inconclusive"),
        (["same", "incomparable"], "inconclusive"),
        (["inconclusive"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_verdict_of_the_table(verdicts, verdict):
    """One slower row fails it; a row that nobody can tell of does not pass; nothing proves nothing."""
    findings = [Finding(variant=f"row {at}", device="cpu", verdict=item) for at, item in enumerate(verdicts)]
    assert verdict == overall_verdict(findings)
    if "inconclusive" not in verdicts:
        assert verdict == overall_verdict(findings, {"inconclusive"})


@pytest.mark.parametrize(("other", "verdict"), [("same", "pass"), ("slower", "slower"), ("missing", "inconclusive")])
def test_what_nobody_can_tell_may_be_allowed(other, verdict):
    """What is missing or slower does not pass with it."""
    findings = [Finding(variant=item, device="cpu", verdict=item) for item in ("inconclusive", other)]
    assert verdict == overall_verdict(findings, {"inconclusive"})


def test_a_finding_shows_ratios():
    """And not their logarithms."""
    first = effects([[3.0] * 4])
    decision = decide(first, DecisionRules(), final=True)["row 0"]
    (finding,) = conclude(first, {}, context(first))
    assert exp(decision.estimate.mean) == finding.ratio
    assert [exp(decision.low), exp(decision.high)] == [finding.low, finding.high]
