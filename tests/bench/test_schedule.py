"""Collecting: a plan becomes records."""

# ruff: noqa: SIM300  expected == actual

from itertools import cycle

import pytest
from common import CELLS, PROCESSES, VISITS, collect, failing_at, full

from mnbench.errors import FileError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.store import RunFolder

COMPLETE = (0, 1, 2, 2, 4, 4)
"""The trials of the processes that ended, when each of the six begins: two alone, then two processes of both cases."""


def test_every_case_is_measured_by_every_process(measure, scripted_visit, store):
    """Each case gets its trials and one record, in the plan's order."""
    visit = scripted_visit()
    records = measure(visit)

    assert dict.fromkeys(CELLS, PROCESSES) == visit.made
    assert list(CELLS) == [record.variant for record in records]
    assert sorted(CELLS) == sorted(record.variant for record in store.read_records())
    assert [PROCESSES] * len(CELLS) == [record.processes for record in records]


def test_a_case_is_alone_first_and_then_with_others(measure, scripted_visit, store, plan, make_sample):
    """Session creation, first run and memory come from the process in which a case was alone."""
    visit = scripted_visit()
    records = measure(visit)
    (folder,) = [path for path in store.raw_folder.iterdir() if path.is_dir()]
    trials = RunFolder(folder, set()).load_trials(plan.cases[0].row.id)
    names = ("session_ns", "first_run_ns", "peak_rss_bytes")

    assert [1, 1, 2, 2] == [len(group) for group in visit.groups]
    for facts in (trials[0], *records):
        assert [getattr(make_sample(), name) for name in names] == [getattr(facts, name) for name in names]
    assert [None] * 6 == [getattr(trials[process], name) for process in (1, 2) for name in names]


@pytest.mark.parametrize("alone", range(PROCESSES + 1))
def test_processes_alone_are_as_many_as_asked_for(make_plan, scripted_visit, store, alone):
    """Without any, what only a process alone shows is not known."""
    visit = scripted_visit()
    plan = make_plan(*CELLS, processes=PROCESSES, alone=alone)
    records = collect(plan, store, store.open_run(plan.id), measure=visit)

    assert [1, 1] * alone + [2] * (PROCESSES - alone) == [len(group) for group in visit.groups]
    assert [2000 if alone else None] * 2 == [record.session_ns for record in records]


def test_a_process_has_a_seed_of_its_own(make_plan, store, scripted_visit):
    """The orders that a process draws differ from process to process, and from seed to seed."""
    seeds, visit = [], scripted_visit()

    def measure(plan, cases, seed):
        seeds.append(seed)
        return visit(plan, cases, seed)

    for seed in (0, 1):
        plan = make_plan("a", processes=PROCESSES, seed=seed)
        collect(plan, store, store.open_run(plan.id), measure=measure)

    assert 2 * PROCESSES == len(seeds) == len(set(seeds))


def test_a_record_is_stored_as_soon_as_its_case_is_complete(make_plan, make_sample, scripted_visit, store):
    """While another case is still measured, the record of a complete one is already on disk."""
    medians = cycle((100, 150))
    visit = scripted_visit(
        lambda _plan, case, _: make_sample([next(medians)] * 9) if case.variant == CELLS[1] else None
    )
    plan, stored = make_plan(*CELLS, processes=PROCESSES, budget_s=0.2), []
    collect(
        plan, store, store.open_run(plan.id), measure=visit, on_process=lambda *_: stored.append(store.read_records())
    )

    assert [0, 0, 0, 0, 1] == [len(records) for records in stored[:5]]
    assert CELLS[0] == stored[4][0].variant
    assert len(stored) > 5


def test_every_process_is_reported(measure, scripted_visit):
    """After each process the caller gets the records of the cases that it completed."""
    reported = []
    records = measure(scripted_visit(), on_process=lambda *report: reported.append(report))

    assert [0, 0, 0, 0, 2] == [len(complete) for complete, _ in reported]
    assert [0, 0, 0, 2, 2] == [status.done for _, status in reported]
    assert {record.id for record in records} == {record.id for record in reported[-1][0]}


def test_a_case_that_fails_costs_itself_alone(measure, scripted_visit, store):
    """A TrialError is recorded, its case is not measured again, and the others go on."""

    def script(_plan, case, _before):
        if case.variant == CELLS[0] and visit.made[CELLS[0]] == 1:
            raise TrialError("the worker was killed by SIGSEGV", hint="run it alone")

    visit = scripted_visit(script)
    broken, fine = measure(visit)

    assert (CELLS[0], "the worker was killed by SIGSEGV") == (broken.variant, broken.error)
    assert (None, 1) == (broken.latency_ns, broken.processes)
    assert ("1.2.3", "a CPU") == (broken.runtime.version, broken.host["cpu"])
    assert (None, PROCESSES) == (fine.error, fine.processes)
    assert {CELLS[0]: 1, CELLS[1]: PROCESSES} == visit.made
    assert 2 == len(store.read_records())


def test_a_case_that_fails_at_once_has_no_runtime_version(measure, scripted_visit):
    """A case whose first trial fails is recorded without version and host, which are not known."""

    def script(*_):
        raise TrialError("no answer", hint="")

    records = measure(scripted_visit(script))

    assert [("", {}, 0, "no answer")] * 2 == [
        (record.runtime.version, record.host, record.processes, record.error) for record in records
    ]


@pytest.mark.parametrize("error", [RuntimeUnavailable, UnreachableError])
@pytest.mark.parametrize("number", range(VISITS))
def test_a_device_that_fails_stops_the_run_and_keeps_the_rest(measure, scripted_visit, store, error, number):
    """Without runtime or gateway nothing more is measured; what was stays, and the run is continued."""
    with pytest.raises(error):
        measure(scripted_visit(failing_at(number, error("gone", hint="bring it back"))))
    remainder = scripted_visit()
    records = measure(remainder)

    assert VISITS - COMPLETE[number] == remainder.asked
    assert [(PROCESSES, None)] * 2 == [(record.processes, record.error) for record in records]
    assert 2 == len(store.read_records())


def test_a_full_disk_stops_the_run_and_keeps_the_rest(measure, scripted_visit, store, monkeypatch):
    """A trial that cannot be stored is a FileError; with space the run continues and repeats that process."""
    room = iter(range(2))
    first, remainder = scripted_visit(), scripted_visit()
    with monkeypatch.context() as disk:
        disk.setattr("mnbench.atomic_files.os.fsync", lambda _: next(room, None) is None and full())
        with pytest.raises(FileError, match="No space left on device"):
            measure(first)
    measure(remainder)

    assert (4, VISITS - 2) == (first.asked, remainder.asked)
    assert 2 == len(store.read_records())
