"""How often a cell is visited: until its interval is narrow enough, or its budget is spent."""

# ruff: noqa: SIM300  expected == actual

import contextlib
from collections import defaultdict

import pytest
from common import collect

from mnbench.bench.plan import SamplingConfig
from mnbench.bench.stop_rule import is_complete

STEADY, NOISY = "v1-a1-r224", "v1-a0.5-r160"
NS_PER_S = 10**9


@pytest.fixture
def adaptive(make_plan, make_sample, scripted_visit, store):
    """Measure a steady and a noisy cell; the records, and the visits in order.

    The noisy one's processes have medians far apart, alternately; each visit takes a second. The run may be
    interrupted before any visit, and is then continued.
    """

    def run(*, medians=(100, 200), interrupted=(), names=(STEADY, NOISY), duration_s=1, **protocol):
        plan = make_plan(*names, **{"processes": 3, "budget_s": 20.0} | protocol)
        visits, tried = [], defaultdict(int)

        def script(_plan, cell, _asked):
            tried["all"] += 1
            if tried["all"] in interrupted:
                raise KeyboardInterrupt
            number = tried[cell.variant]
            tried[cell.variant] += 1
            visits.append(cell.variant)
            median = medians[number % len(medians)] if cell.variant == NOISY else 100
            return make_sample([median] * 100, duration_ns=round(duration_s * NS_PER_S))

        records = None
        while records is None:
            with contextlib.suppress(KeyboardInterrupt):
                records = collect(
                    plan, store, store.open_run(plan.id), on_trial=lambda *_: None, run_trial=scripted_visit(script)
                )
        return {record.variant: record for record in records}, visits

    return run


def test_a_precise_cell_has_its_processes_and_a_noisy_one_its_budget(adaptive):
    """Where three processes agree, there are three; where they do not, visits go on until 20 s are spent."""
    records, visits = adaptive()

    assert (3, 20) == (visits.count(STEADY), visits.count(NOISY))
    assert (3, 20) == (records[STEADY].processes, records[NOISY].processes)
    assert records[STEADY].trusted
    assert "imprecise" in [issue.name for issue in records[NOISY].issues]


def test_a_cell_that_becomes_precise_stops(adaptive):
    """An outlier among the first processes is outvoted by later ones: once the interval is narrow, it is enough."""
    records, visits = adaptive(medians=(150, *[100] * 30), budget_s=60.0)
    latency = records[NOISY].latency_ns

    # Of nine medians the second smallest to the second largest is a 96 % interval.
    assert 9 == visits.count(NOISY)
    assert (100, 100, 100) == (latency.low, latency.median, latency.high)
    assert "imprecise" not in [issue.name for issue in records[NOISY].issues]


@pytest.mark.parametrize(("precision", "processes"), [(0.04, 20), (0.05, 3)])
def test_precision_is_what_was_asked_for(adaptive, precision, processes):
    """Medians of 100, 100 and 105 are 5 % apart: precise enough for one target and not for another."""
    _, visits = adaptive(medians=(100, 105, 100), precision=precision + 1e-9)

    assert processes == visits.count(NOISY)


@pytest.mark.parametrize(("budget_s", "processes"), [(20.0, 20), (19.9, 19), (7.0, 7), (4.5, 4)])
def test_the_budget_is_not_overspent(adaptive, budget_s, processes):
    """A visit as long as the mean of those before must still fit in."""
    _, visits = adaptive(budget_s=budget_s)

    assert processes == visits.count(NOISY)


@pytest.mark.parametrize(("budget_s", "trials"), [(0.001, 1), (1.9, 1), (2.0, 2), (2.9, 2)])
def test_a_budget_smaller_than_the_processes_stops_early_and_says_so(adaptive, budget_s, trials):
    """Even a steady cell is then imprecise, and never printed like a precise one."""
    records, visits = adaptive(budget_s=budget_s)

    assert trials == visits.count(STEADY)
    assert trials == records[STEADY].processes
    assert "imprecise" in [issue.name for issue in records[STEADY].issues]
    assert not records[STEADY].trusted


def test_one_process_is_never_precise(adaptive):
    """A minimum of one process means two at least: one tells no interval."""
    _, visits = adaptive(processes=1)

    assert 2 == visits.count(STEADY)


def test_each_cell_has_a_budget_of_its_own(adaptive):
    """A noisy cell does not spend what belongs to others."""
    records, _ = adaptive(duration_s=5)

    assert [3, 4] == [records[name].processes for name in (STEADY, NOISY)]


def test_visits_go_in_rounds_in_which_complete_cells_are_left_out(adaptive):
    """While two cells are visited they alternate, in whatever order; then the noisy one is alone."""
    _, visits = adaptive()

    assert [{STEADY, NOISY}] * 3 == [set(visits[start : start + 2]) for start in (0, 2, 4)]
    assert {NOISY} == set(visits[6:])


def test_the_seed_decides_the_order(make_plan):
    """A seed gives one order, another one another; each round has its own."""
    names = [f"cell{number}" for number in range(8)]
    orders = {
        seed: [[cell.variant for cell in make_plan(*names, seed=seed).cases_of_round(number)] for number in range(5)]
        for seed in range(3)
    }

    assert orders[0] == [[cell.variant for cell in make_plan(*names).cases_of_round(number)] for number in range(5)]
    assert 15 == len({tuple(order) for rounds in orders.values() for order in rounds})
    assert {tuple(sorted(names))} == {tuple(sorted(order)) for rounds in orders.values() for order in rounds}


@pytest.mark.parametrize("moment", range(1, 24))
def test_an_interruption_changes_no_visits(adaptive, moment):
    """Interrupted before any visit, and twice more, a run makes the visits that it would have made."""
    records, visits = adaptive(interrupted=(moment, moment + 1, moment + 5))

    assert (3, 20) == (visits.count(STEADY), visits.count(NOISY))
    assert (3, 20) == (records[STEADY].processes, records[NOISY].processes)


def test_a_gap_among_the_visits_is_filled(make_plan, make_sample, scripted_visit, store):
    """Where one of the kept visits is spoiled, that one is made again and no other."""
    plan = make_plan(STEADY, processes=3)
    run = store.open_run(plan.id)
    for process in range(3):
        run.save_trial(plan.cases[0].variant, process, make_sample())
    (run.path / f"{STEADY}.1.npz").write_bytes(b"")
    visit = scripted_visit()
    (record,) = collect(plan, store, run, on_trial=lambda *_: None, run_trial=visit)

    assert 1 == visit.asked
    assert 3 == record.processes


def test_trials_of_another_host_are_left_out(make_plan, make_sample, scripted_visit, store):
    """A run that is continued on another machine measures its cases there, within the same budget."""
    plan = make_plan(STEADY, processes=3)
    run = store.open_run(plan.id)
    other = {"cpu": "a CPU", "cores": 64}
    for process in range(2):
        run.save_trial(plan.cases[0].row.id, process, make_sample([5] * 10, host=other))
    visit = scripted_visit()
    (record,) = collect(plan, store, run, on_trial=lambda *_: None, run_trial=visit)

    assert (3, 3, 2) == (visit.asked, record.processes, record.host["cores"])
    assert record.latency_ns.min > 5


def test_completeness_is_a_matter_of_the_samples_alone(make_sample):
    """The same samples are complete or not, whoever made them and when."""
    protocol = SamplingConfig(processes=3, budget_s=20.0)
    samples = [make_sample([median] * 10) for median in (100, 100, 100, 150, 150)]

    assert [False, False, True, False, False] == [is_complete(protocol, samples[:number]) for number in range(1, 6)]
    assert is_complete(protocol, [make_sample(duration_ns=11 * NS_PER_S)])
