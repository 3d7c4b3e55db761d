"""How many processes measure a case: until its interval is narrow enough, or the run's budget is spent."""

# ruff: noqa: SIM300  expected == actual

import contextlib
import random
from collections import Counter
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from common import collect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.bench.plan import SamplingConfig
from mnbench.bench.stop_rule import MIN_BUDGET_CASES, is_complete, run_budget_s
from mnbench.results.store import ResultsFile

STEADY, NOISY, MIDDLE = "v1-a1-r224", "v1-a0.5-r160", "v1-a0.75-r192"
MEDIANS = {STEADY: (1000,), NOISY: (1000, 2000), MIDDLE: (1000, 1015, 1000)}
"""The medians of a case's processes, in turns: MIDDLE's are within ±2 %, and not within ±1 %."""

NS_PER_S = 10**9


@pytest.fixture
def adaptive(make_plan, make_sample, scripted_visit, store):
    """Measure cases whose processes have these medians; the records, and the cases of each process.

    A process takes a second for each case, and all have `total_s`. The run may be interrupted before any trial, and is
    then continued.
    """

    def run(*names, total_s=40.0, medians=(), interrupted=(), **sampling):
        names = names or (STEADY, NOISY)
        budget_s = total_s / max(len(names), MIN_BUDGET_CASES)
        plan = make_plan(*names, **{"processes": 3, "budget_s": budget_s} | sampling)
        asked = count()
        values = MEDIANS | dict(medians)

        def script(_plan, case, _before):
            if next(asked) in interrupted:
                raise KeyboardInterrupt
            turns = values[case.variant]
            return make_sample([turns[visit.made[case.variant] % len(turns)]] * 100, duration_ns=NS_PER_S)

        visit, records = scripted_visit(script), None
        while records is None:
            with contextlib.suppress(KeyboardInterrupt):
                records = collect(plan, store, store.open_run(plan.id), measure=visit)
        return {record.variant: record for record in records}, visit

    return run


def issues(record):
    """The names of a record's issues."""
    return [issue.name for issue in record.issues]


# Precise cases, and the others


def test_a_precise_case_has_its_processes_and_a_noisy_one_the_rest(adaptive):
    """Where three processes agree, there are three; where they do not, the other 37 of 40 s are spent."""
    records, visit = adaptive()

    assert {STEADY: 3, NOISY: 37} == visit.made
    assert (3, 37) == (records[STEADY].processes, records[NOISY].processes)
    assert records[STEADY].trusted
    assert "imprecise" in issues(records[NOISY])


def test_a_case_that_becomes_precise_stops(adaptive):
    """An outlier among the first processes is outvoted by later ones: once the interval is narrow, it is enough."""
    records, visit = adaptive(medians={NOISY: (1500, *[1000] * 30)})
    latency = records[NOISY].latency_ns

    # Of nine medians the second smallest to the second largest is a 96 % interval.
    assert 9 == visit.made[NOISY]
    assert (1000, 1000, 1000) == (latency.low, latency.median, latency.high)
    assert "imprecise" not in issues(records[NOISY])


@pytest.mark.parametrize(
    ("precision", "processes", "imprecise"), [(0.04, 20, True), (0.05, 20, False), (0.099, 20, False), (0.1, 3, False)]
)
def test_precision_is_what_was_asked_for(adaptive, precision, processes, imprecise):
    """Medians that are 5 % apart meet ±5 %. The budget that is left narrows an interval to half the target."""
    records, visit = adaptive(total_s=23.0, medians={NOISY: (1000, 1050, 1000)}, precision=precision + 1e-9)

    assert processes == visit.made[NOISY]
    assert imprecise == ("imprecise" in issues(records[NOISY]))


def test_one_process_is_never_precise(adaptive):
    """A minimum of one process means two at least: one gives no interval."""
    _, visit = adaptive(processes=1)

    assert 2 == visit.made[STEADY]


def test_precise_cases_leave_the_rounds(adaptive):
    """While two cases are measured they share processes; then the noisy one has its own."""
    _, visit = adaptive()

    assert {(STEADY,), (NOISY,)} == set(visit.groups[:2])
    assert [{STEADY, NOISY}] * 2 == [set(group) for group in visit.groups[2:4]]
    assert [(NOISY,)] * 34 == visit.groups[4:]


def test_cases_that_meet_the_target_skip_every_second_round(adaptive):
    """While NOISY is not precise, MIDDLE is in half of the rounds; then it has what is left of the budget."""
    records, visit = adaptive(MIDDLE, NOISY, total_s=20.0, medians={NOISY: (1500, *[1000] * 30)}, alone=0)

    assert [2] * 3 + [1, 2] * 3 + [1] * 5 == [len(group) for group in visit.groups]
    assert [(NOISY,)] * 3 + [(MIDDLE,)] * 5 == [group for group in visit.groups[3:] if len(group) == 1]
    assert (11, 9) == (records[MIDDLE].processes, records[NOISY].processes)
    assert [] == issues(records[MIDDLE]) + issues(records[NOISY])


# The budget


@pytest.mark.parametrize(("total_s", "noisy"), [(40.0, 37), (39.9, 36), (10.0, 7), (6.5, 3), (6.0, 3), (5.9, 2)])
def test_the_budget_is_not_overspent(adaptive, total_s, noisy):
    """A process as long as the last must still fit in."""
    _, visit = adaptive(total_s=total_s)

    assert noisy == visit.made[NOISY]


def test_what_precise_cases_leave_is_for_the_others(adaptive):
    """All cases share one budget: of nine, eight are precise after 27 of 90 s, and the noisy one has the other 66."""
    names = [*(f"steady{number}" for number in range(8)), NOISY]
    _, visit = adaptive(*names, total_s=90.0, medians=dict.fromkeys(names[:8], (1000,)))

    assert Counter(dict.fromkeys(names[:8], 3) | {NOISY: 66}) == visit.made


def test_waiting_cases_do_not_end_the_others(adaptive):
    """The next round has to fit into the budget, not one of all cases: two more processes of NOISY do."""
    names = (STEADY, "b", "c", NOISY)
    _, visit = adaptive(*names, total_s=14.5, medians=dict.fromkeys(names[:3], MEDIANS[MIDDLE]), alone=0)

    assert Counter(dict.fromkeys(names[:3], 3) | {NOISY: 5}) == visit.made


@pytest.mark.parametrize(("total_s", "processes"), [(0.001, 1), (1.9, 1), (2.0, 2), (2.9, 2)])
def test_a_budget_smaller_than_the_processes_stops_early_and_says_so(adaptive, total_s, processes):
    """Even a steady case is then imprecise, and never printed like a precise one."""
    records, visit = adaptive(STEADY, total_s=total_s)

    assert processes == visit.made[STEADY] == records[STEADY].processes
    assert "imprecise" in issues(records[STEADY])
    assert not records[STEADY].trusted


@pytest.mark.parametrize(("cases", "budget_s"), [(1, 16.0), (8, 16.0), (9, 18.0), (100, 200.0)])
def test_few_cases_have_the_budget_of_eight(cases, budget_s):
    """A process takes long to start, so what it costs a case of few is more."""
    assert budget_s == run_budget_s(SamplingConfig(budget_s=2.0), cases)


@pytest.mark.slow
@given(
    cases=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 80)), min_size=1, max_size=5),
    total_s=st.integers(0, 400).map(lambda tenths: tenths / 10),
    seed=st.integers(0, 10**6),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_the_budget_is_spent_where_it_is_needed(make_plan, make_sample, cases, total_s, seed):
    """No more is spent than there is, but for the first processes; an imprecise case ends for want of budget alone."""
    names = [f"case{number}" for number in range(len(cases))]
    costs = dict(zip(names, cases, strict=True))
    draw, spent = random.Random(seed), Counter()

    def measure(_plan, cases, _seed):
        results = {}
        for case in cases:
            tenths, deviation = costs[case.variant]
            spent[case.variant] += tenths
            median = 1000 + draw.randint(-deviation, deviation)
            results[case.row.id] = make_sample([median] * 9, duration_ns=tenths * NS_PER_S // 10)
        return results

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        store = ResultsFile(Path(folder), "cpu")
        plan = make_plan(*names, processes=3, alone=0, budget_s=total_s / MIN_BUDGET_CASES)
        records = collect(plan, store, store.open_run(plan.id), measure=measure)

    # What the second process costs is a guess.
    assert spent.total() <= 10 * total_s + 1e-6 or all(record.processes <= 2 for record in records)
    imprecise = [record for record in records if "imprecise" in issues(record)]
    assert not imprecise or spent.total() + sum(costs[record.variant][0] for record in imprecise) > 10 * total_s - 1e-6


# Interrupted


@pytest.mark.parametrize("moment", range(20))
@pytest.mark.parametrize("names", [(STEADY, NOISY), (MIDDLE, NOISY)], ids=["precise", "waiting"])
def test_an_interrupted_run_spends_its_budget_once(adaptive, names, moment, store):
    """Interrupted before any trial, and twice more, a run makes no more of them than one that was not."""
    medians = {NOISY: (1500, *[1000] * 30)}
    interrupted = (moment, moment + 1, moment + 5)
    records, _ = adaptive(*names, total_s=16.0, medians=medians, interrupted=interrupted)
    trials = Counter(path.name.rsplit(".", 2)[0] for path in store.raw_folder.glob("*/*.npz"))

    assert trials == {name: record.processes for name, record in records.items()}
    assert 9 == trials[NOISY]
    assert trials[names[0]] in ((3, 4) if names[0] == STEADY else (6, 7))


def test_a_gap_among_the_trials_is_filled(make_plan, make_sample, scripted_visit, store):
    """Where one of the stored trials is spoiled, one more is made."""
    plan = make_plan(STEADY, processes=3)
    run = store.open_run(plan.id)
    for process in range(3):
        run.save_trial(plan.cases[0].row.id, process, make_sample())
    (run.path / f"{STEADY}.1.npz").write_bytes(b"")
    visit = scripted_visit()
    (record,) = collect(plan, store, run, measure=visit)

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
    (record,) = collect(plan, store, run, measure=visit)

    assert (3, 3, 2) == (visit.asked, record.processes, record.host["cores"])
    assert record.latency_ns.min > 5


def test_a_board_completes_a_case_by_itself(make_sample):
    """The same trials are complete or not, whoever made them and when; the budget is that of a run of one case."""
    sampling = SamplingConfig(processes=3, budget_s=20.0 / MIN_BUDGET_CASES)
    trials = [make_sample([median] * 10, duration_ns=NS_PER_S) for median in (100, 100, 100, 150, 150)]

    assert [False, False, True, False, False] == [is_complete(sampling, trials[:number]) for number in range(1, 6)]
    assert is_complete(sampling, [make_sample(duration_ns=11 * NS_PER_S)])


# How a run stands


def statuses_of(plan, store, measure):
    """Every reported status, and the seconds that were left then."""
    reported, spent_s = [], [0.0]

    def timed(plan, cases, seed):
        results = measure(plan, cases, seed)
        spent_s[0] += sum(result.duration_ns for result in results.values()) / NS_PER_S
        return results

    def on_process(_records, status):
        reported.append((status, spent_s[0]))

    collect(plan, store, store.open_run(plan.id), measure=timed, on_process=on_process)
    return [(status, spent_s[0] - done_s) for status, done_s in reported]


@pytest.fixture
def table(make_plan, make_sample, store):
    """The statuses of a run of 16 cases, whose processes' medians scatter by that share."""

    def run(scatter, **sampling):
        draw = random.Random(0)
        plan = make_plan(*(f"case{number}" for number in range(16)), **sampling)

        def measure(_plan, cases, _seed):
            duration_ns = NS_PER_S if len(cases) == 1 else 3 * NS_PER_S // 10
            return {
                case.row.id: make_sample([round(10**6 * draw.gauss(1, scatter))] * 9, duration_ns=duration_ns)
                for case in cases
            }

        return statuses_of(plan, store, measure)

    return run


def test_the_remaining_time_of_noisy_cases_is_what_the_budget_leaves(table):
    """It is right within 20 %, or a process, from the first process on."""
    statuses = table(0.2)

    assert 20 < len(statuses)
    assert [] == [
        (status.remaining_s, left_s)
        for status, left_s in statuses
        if not abs(status.remaining_s - left_s) <= 0.2 * left_s + 16 * 0.3
    ]


def test_the_remaining_time_of_steady_cases_is_known_once_their_scatter_is(table):
    """From the seventh process on it is that of the processes that are asked for; at the end it is none."""
    *statuses, (last, left_s) = table(0.0005, processes=12, budget_s=6.0)
    known = [(status.remaining_s, left_s) for status, left_s in statuses[16 + 4 :] if left_s]

    assert (0.0, 0.0) == (last.remaining_s, left_s)
    assert 6 == len(known)
    assert [] == [(remaining_s, left_s) for remaining_s, left_s in known if abs(remaining_s - left_s) > 0.2 * left_s]


@pytest.mark.parametrize("scatter", [0.01, 0.015, 0.02])
def test_the_remaining_time_of_ordinary_cases_is_rather_too_long_than_too_short(table, scatter):
    """Once the scatter is known, it is too short by a fifth of the run at most."""
    statuses = table(scatter, budget_s=10.0)
    total_s = statuses[0][1]
    errors = [(status.remaining_s - left_s) / total_s for status, left_s in statuses[16 + 6 :]]

    assert min(errors) > -0.2
    assert sum(errors) / len(errors) < 0.3


def test_the_widest_interval_is_that_of_cases_that_are_measured(make_plan, make_sample, scripted_visit, store):
    """It is known once a case has its processes; a case with a record does not count any more."""

    def script(_plan, case, _before):
        turns = MEDIANS[case.variant]
        return make_sample([turns[visit.made[case.variant] % len(turns)]] * 9, duration_ns=NS_PER_S)

    visit = scripted_visit(script)
    statuses = [status for status, _ in statuses_of(make_plan(STEADY, NOISY, processes=3, budget_s=1.0), store, visit)]

    assert [None, None, None, 1.0, 1.0, pytest.approx(1 / 3)] == [status.widest for status in statuses[:6]]
    assert [0, 0, 0, 1, 1, 1] == [status.done for status in statuses[:6]]
    assert (2, None, 0.0) == (statuses[-1].done, statuses[-1].widest, statuses[-1].remaining_s)
