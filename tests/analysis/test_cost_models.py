"""`mnbench predict` and `mnbench pick`: what records tell without another measurement."""

# ruff: noqa: SIM300  expected == actual

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.analysis import cost_models
from mnbench.analysis.cost_models import fit_cost_models
from mnbench.results.pick import pick
from mnbench.results.record import RooflineBound
from mnbench.results.store import ResultsFile

pytestmark = pytest.mark.slow

FAMILIES = ("v1", "v2", "v3-large", "shufflenet-v2")


@pytest.fixture
def linear(make_record):
    """Twelve variants of four families whose latency is a line of Mult-Adds, and whose memory access is not."""

    def make(count=12, **changes):
        draw = np.random.default_rng(5)
        result = []
        for at in range(count):
            mult_adds, memory = int(draw.integers(10**7, 10**9)), int(draw.integers(10**6, 10**8))
            ceiling = RooflineBound(
                peak_mult_adds_per_s=1e11, bandwidth_bytes_per_s=1e10, moved_bytes=1, bound_ns=mult_adds // 100
            )
            record = make_record(
                1.0, 96 + 32 * at, 200_000 + mult_adds // 50, architecture=FAMILIES[at % 4], mult_adds=mult_adds
            )
            result.append(
                msgspec.structs.replace(record, memory_access_bytes=memory, **{"roofline": ceiling, **changes})
            )
        return result

    return make


def of(rankings, cost):
    """The predictor of that cost."""
    return next(predictor for predictor in rankings.predictors if predictor.cost == cost)


def test_a_line_is_found(linear):
    """Mult-Adds tell latency exactly, in any family, and memory access does not."""
    (ranking,) = fit_cost_models(linear())
    exact, poor = of(ranking, "mult_adds"), of(ranking, "memory_access_bytes")
    assert [0, 0, 1, 1] == pytest.approx(
        [exact.error.value, exact.error_across.value, exact.spearman.value, exact.pearson.value], abs=1e-6
    )
    assert poor.error.value > 0.2
    assert not poor.no_worse_than_best
    assert "mult_adds" in {model.cost for model in ranking.predictors[:3]}
    assert ranking.sentence.startswith("On cpu (fp32, 1 thread, onnxruntime 1.2.3), ")
    assert f"memory access (within {poor.error.value:.0%})" in ranking.sentence


def test_leaving_one_out_is_fitting_without_it():
    """The closed form gives what a fit to all the others does."""
    draw = np.random.default_rng(1)
    latency = draw.uniform(1, 50, 9)
    terms = np.column_stack([np.ones(9), draw.uniform(0, 1, (9, 2))])
    slowly = []
    for at in range(9):
        remainder = np.arange(9) != at
        fitted = np.linalg.lstsq(terms[remainder] / latency[remainder, None], np.ones(8), rcond=None)[0]
        slowly.append(abs(terms[at] @ fitted / latency[at] - 1))
    assert slowly == pytest.approx(cost_models.leave_one_out_errors(terms, latency))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_equal_values_share_a_rank(values):
    """A value's rank is the mean of the places that its equals have in order."""
    ordered = sorted(values)
    expected = [np.mean([at for at, item in enumerate(ordered) if item == value]) for value in values]
    assert expected == list(cost_models.draw_ranks(np.array(values, np.float64))(np.arange(len(values))))


def test_order_alone_counts_for_spearman(linear):
    """Latency that grows as the square of Mult-Adds is in order, and on no line."""
    records = [
        msgspec.structs.replace(
            record,
            latency_ns=msgspec.structs.replace(record.latency_ns, **dict.fromkeys(("low", "median", "high"), square)),
        )
        for record in linear()
        for square in [record.mult_adds**2 // 10**9]
    ]
    model = of(fit_cost_models(records)[0], "mult_adds")
    assert pytest.approx(1) == model.spearman.value
    assert model.pearson.value < 0.999


def test_intervals_are_seeded_and_hold_their_figure(linear):
    """The same seed gives the same ones, another seed others, each around its figure."""
    ranking, same, other = (fit_cost_models(linear(), seed=seed)[0] for seed in (0, 0, 1))
    assert ranking == same
    assert ranking != other
    for predictor in ranking.predictors:
        for estimate in (predictor.spearman, predictor.pearson, predictor.error):
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9


def test_groups_are_kept_apart(linear):
    """Of another device, precision or thread count nothing is mixed in; failures are left out."""
    records = [*linear(), *linear(threads=2), *linear(device="board"), *linear(latency_ns=None)]
    assert [("cpu", 12), ("cpu", 12), ("board", 12)] == [
        (ranking.device, ranking.variants) for ranking in fit_cost_models(records)
    ]


def test_without_a_roofline_there_is_no_bound(linear):
    """The other costs are judged all the same."""
    (ranking,) = fit_cost_models(linear(roofline=None))
    assert {"mult_adds", "memory_access_bytes", "both"} == {model.cost for model in ranking.predictors}


def test_few_variants_tell_nothing(linear):
    """Seven are one too few."""
    (ranking,) = fit_cost_models(linear(count=7))
    assert ((), True) == (ranking.predictors, "too few" in ranking.sentence)


def test_one_family_has_no_other(make_record):
    """Nothing is said of families that were not seen."""
    records = [make_record(1.0, 96 + 32 * at, 10**6 * (at + 1), mult_adds=10**8 * (at + 1)) for at in range(9)]
    (ranking,) = fit_cost_models(records)
    assert [None] * 3 == [model.error_across for model in ranking.predictors]


def test_a_cost_that_is_the_same_everywhere_correlates_with_nothing(linear):
    """And is no error."""
    records = [msgspec.structs.replace(record, memory_access_bytes=10**7) for record in linear()]
    assert 0 == of(fit_cost_models(records)[0], "memory_access_bytes").pearson.value


def test_predict_prints_the_sentence_and_json(invoke, workspace, linear):
    """On the command line, for people and for programs."""
    for record in linear():
        ResultsFile(workspace / "results", "cpu").append(record)
    result = json.loads(invoke("predict", "--format", "json").stdout)["predictions"]
    assert [12] == [item["variants"] for item in result]
    shown = invoke("predict", "cpu").stdout
    assert "On cpu (fp32" in " ".join(shown.split())
    assert 1 == invoke("predict", "board").exit_code


# pick


def test_the_most_accurate_that_fits_is_picked(make_record):
    """By the upper end of the interval, 4 % above the median here: 10 ms is over 10.2, and 9 is not."""
    records = [make_record(1.0, 224, 10_000_000), make_record(0.75, 224, 9_000_000), make_record(0.5, 224, 3_000_000)]
    (choice,) = pick(records, budget_ns=10_200_000)
    assert ("v1-a0.75-r224", 68.4) == (choice.picked.variant, choice.picked.accuracy)
    assert ["too slow", "picked", "fits"] == [candidate.fit for candidate in choice.candidates]


def test_size_counts_the_bytes_of_its_precision(make_record):
    """4.2 million weights are 16.9 MB in fp32, and 4.2 in int8."""
    records = [make_record(), make_record(variant="v1-a1-r224-int8", precision="int8")]
    (choice,) = pick(records, budget_ns=10**9, max_bytes=10**7)
    assert "v1-a1-r224-int8" == choice.picked.variant
    assert {"too large", "picked"} == {candidate.fit for candidate in choice.candidates}


def test_both_may_be_too_much(make_record):
    """And then nothing fits."""
    (choice,) = pick([make_record()], budget_ns=10**6, max_bytes=10**6)
    assert (None, "too slow, too large") == (choice.picked, choice.candidates[0].fit)


def test_drift_is_part_of_the_interval(make_record):
    """Where it was calibrated, a variant must fit in another hour too."""
    record = make_record(1.0, 224, 9_000_000)
    drifting = msgspec.structs.replace(record.latency_ns, low_with_drift=8_000_000, high_with_drift=11_000_000)
    (choice,) = pick([msgspec.structs.replace(record, latency_ns=drifting)], budget_ns=10_000_000)
    assert choice.picked is None


def test_without_a_published_accuracy_nothing_is_picked(make_record):
    """A width that nobody trained is named, and no candidate; neither are failures and batches."""
    records = [
        make_record(0.6, 224, 1_000_000),
        make_record(1.0, 224, latency_ns=None),
        make_record(1.0, 224, batch=8),
    ]
    (choice,) = pick(records, budget_ns=10**9)
    assert ((), ("v1-a0.6-r224",)) == (choice.candidates, choice.unknown)


def test_each_device_has_its_choice(make_record):
    """They are not compared with each other."""
    records = [make_record(), make_record(0.5, device="board")]
    assert ["cpu", "board"] == [item.device for item in pick(records, budget_ns=10**9)]


@pytest.mark.usefixtures("stored")
def test_pick_on_the_command_line(invoke):
    """2 ms and 0.3 ms fit into 5 ms, 9 ms does not."""
    result = invoke("pick", "--budget", "5ms", "--format", "json")
    (choice,) = json.loads(result.stdout)["choices"]
    assert ("v1-a0.5-r160", 3) == (choice["picked"]["variant"], len(choice["candidates"]))
    assert "the most accurate of 2 that fit" in invoke("pick", "--budget", "5ms", "--device", "cpu").stdout
    assert "no measured variant fits" in invoke("pick", "--budget", "0.1ms").stdout


@pytest.mark.parametrize("words", [("--budget", "5 parsecs"), ("--budget", "5ms", "--max-size", "10 parsecs"), ()])
def test_pick_wants_units(invoke, words):
    """A budget is needed; a size has a unit."""
    assert 2 == invoke("pick", *words).exit_code
