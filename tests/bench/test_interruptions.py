"""Interrupted runs: continued, they lose nothing and store nothing twice."""

# ruff: noqa: SIM300  expected == actual

import contextlib
from collections import Counter
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from common import CELLS, PROCESSES, VISITS, collect, failing_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.atomic_files import file_name
from mnbench.bench.stop_rule import run_budget_s
from mnbench.bench.trial import ProcessError
from mnbench.errors import TrialError
from mnbench.results.latency_table import newest_records
from mnbench.results.store import ResultsFile, RunFolder
from mnbench.results.trial_result import TrialResult
from mnbench.units import NS_PER_S

MOMENTS = {
    "in a trial": None,
    "before a trial is stored": (RunFolder, "save_trial", False),
    "after a trial is stored": (RunFolder, "save_trial", True),
    "before a record is stored": (ResultsFile, "append", False),
    "after a record is stored": (ResultsFile, "append", True),
}


def interrupted(original, number, *, after):
    """A function that is interrupted by Ctrl-C in its call of that number, before or after its work."""
    calls = count()

    def call(*arguments):
        now = next(calls) == number
        if after or not now:
            original(*arguments)
        if now:
            raise KeyboardInterrupt

    return call


@pytest.mark.parametrize("number", range(VISITS))
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_interrupted_anywhere_repeats_one_process_at_most(measure, scripted_visit, store, moment, number):
    """Interrupted at any trial and continued, a run stores each trial once and has one record a case."""
    first, remainder = scripted_visit(failing_at(None if MOMENTS[moment] else number)), scripted_visit()
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        if MOMENTS[moment]:
            kind, name, after = MOMENTS[moment]
            patch.setattr(kind, name, interrupted(getattr(kind, name), number, after=after))
        measure(first)
    recorded = len(store.read_records())
    if recorded < len(CELLS):
        measure(remainder)

    # There are fewer records than trials, and the interruption after the last record finds the run complete.
    assert (recorded == len(CELLS)) == ("record" in moment and number + ("after" in moment) >= len(CELLS))
    assert VISITS <= first.made.total() + remainder.made.total() <= VISITS + len(CELLS)
    assert VISITS == len(list(store.raw_folder.glob("*/*.npz")))
    assert sorted(CELLS) == sorted(record.variant for record in store.read_records())
    assert [PROCESSES] * 2 == [record.processes for record in store.read_records()]
    assert 1 == len({record.run for record in store.read_records()})


def test_a_run_interrupted_after_every_process_comes_to_its_end(measure, scripted_visit, store):
    """Even if each attempt completes a single process, the run ends with one record a case."""

    def script(*_):
        if len(visits[-1].groups) > 1:
            raise KeyboardInterrupt

    visits = []
    while len(store.read_records()) < len(CELLS):
        visits.append(scripted_visit(script))
        with contextlib.suppress(KeyboardInterrupt):
            measure(visits[-1])

    assert len(visits) <= 2 * VISITS
    assert sorted(CELLS) == sorted(record.variant for record in store.read_records())


class Steps:
    """Each process, and each trial or record that is stored, is a step; some are interrupted, before or after it."""

    def __init__(self, patch, interrupts):
        self.number, self.interrupts = 0, interrupts
        for kind, name in ((RunFolder, "save_trial"), (ResultsFile, "append")):
            patch.setattr(kind, name, self.step(getattr(kind, name)))

    def step(self, function):
        def call(*arguments):
            self.number += 1
            when = self.interrupts.get(self.number)
            if when == "before":
                raise KeyboardInterrupt
            result = function(*arguments)
            if when == "after":
                raise KeyboardInterrupt
            return result

        return call


TRIAL_S = 0.125
MEDIANS = st.lists(st.sampled_from([98, 99, 100, 101, 104]), min_size=4, max_size=8)
TROUBLE = st.sampled_from(["", "", "fails", "ends every process", "ends processes of several"])


@pytest.mark.slow
@given(
    medians=st.fixed_dictionaries(dict.fromkeys("abc", MEDIANS)),
    trouble=st.fixed_dictionaries(dict.fromkeys("abc", st.tuples(TROUBLE, st.integers(0, 3)))),
    alone=st.integers(0, 2),
    budget_s=st.sampled_from([0.05, 0.1, 0.2, 0.4]),
    interrupts=st.dictionaries(st.integers(1, 40), st.sampled_from(["before", "after"]), max_size=5),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_interruptions_lose_and_double_nothing(make_plan, make_sample, medians, trouble, alone, budget_s, interrupts):
    """Whatever fails and whenever a run is interrupted: each case has one record, of every trial that is stored."""
    plan, processes = make_plan(*"abc", processes=3, alone=alone, budget_s=budget_s), Counter()
    trials = []

    def measure(_plan, cases, _seed):
        results = {}
        for index, case in enumerate(cases):
            kind, since = trouble[case.variant]
            number, failure = processes[case.variant], TrialError(kind, hint="")
            if number >= since and (kind == "ends every process" or (kind and "several" in kind and len(cases) > 1)):
                raise ProcessError(failure, index)
            processes[case.variant] += 1
            median = medians[case.variant][number % len(medians[case.variant])]
            trial = make_sample([median] * 3, duration_ns=round(TRIAL_S * NS_PER_S))
            results[case.row.id] = failure if kind == "fails" and number >= since else trial
        trials.append(sum(isinstance(result, TrialResult) for result in results.values()))
        return results

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        store = ResultsFile(Path(folder), "cpu")
        patch.setattr("os.fsync", lambda _: None)
        steps = Steps(patch, interrupts)
        for _ in range(1 + len(interrupts)):
            with contextlib.suppress(KeyboardInterrupt):
                collect(plan, store, store.open_run(plan.id), measure=steps.step(measure))
        records = {record.row.id: record for record in store.read_records()}
        assert len(plan.cases) == len(store.read_records()) == len(records)
        for case in plan.cases:
            kind, _ = trouble[case.variant]
            record, stored = records[case.row.id], list(store.raw_folder.glob(f"*/{file_name(case.row.id)}.*.npz"))
            assert record.processes == len(stored)
            assert (record.error is None) or kind in {"fails", "ends every process"}
        # An interrupt costs the trials of one process. What the first shared process costs is a guess.
        stored, measured = len(list(store.raw_folder.glob("*/*.npz"))), sum(trials)
        assert stored <= measured <= stored + len(plan.cases) * sum(number <= steps.number for number in interrupts)
        spent_s = (stored - len(plan.cases)) * TRIAL_S
        assert spent_s <= run_budget_s(plan.sampling, len(plan.cases)) or stored <= 2 * len(plan.cases)


def test_a_clock_that_goes_back_repeats_and_loses_nothing(measure, scripted_visit, store, monkeypatch):
    """Where the wall clock goes back an hour at each reading, runs are still continued, and records stay in order."""
    hours = count()

    class Backwards(datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - timedelta(hours=next(hours))

    for module in ("results.store", "bench.aggregate"):
        monkeypatch.setattr(f"mnbench.{module}.datetime", Backwards)
    monkeypatch.setattr("time.time", lambda: 1e9 - 3600.0 * next(hours))
    measure(scripted_visit())
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(4)))
    remainder = scripted_visit()
    records = measure(remainder)

    assert VISITS - 4 == remainder.asked
    assert sorted(CELLS * 2) == sorted(record.variant for record in store.read_records())
    assert {record.id for record in records} == {record.id for record in store.read_records()[len(CELLS) :]}
    assert {record.id for record in records} == {record.id for record in newest_records(store.read_records())}


def test_a_failed_case_stays_failed_when_the_run_continues(measure, scripted_visit, store):
    """A case that has its record, even of failure, is not measured again by the run that is continued."""

    def script(_plan, case, before):
        if case.variant == CELLS[0]:
            raise TrialError("crashed", hint="")
        if before >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(script))
    remainder = scripted_visit()
    records = measure(remainder)

    assert 0 == remainder.made[CELLS[0]]
    assert ["crashed", None] == [record.error for record in records]
    assert 2 == len(store.read_records())
