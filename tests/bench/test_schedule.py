"""Collecting: a plan becomes records, continued where a run stopped."""

# ruff: noqa: SIM300  expected == actual

import contextlib
from datetime import datetime, timedelta
from itertools import count

import pytest
from common import CELLS, PROCESSES, VISITS, failing_at, full

from mnbench.errors import FileError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.latency_table import newest_records
from mnbench.results.store import ResultsFile, RunFolder

# Collecting


def test_every_cell_is_visited_by_every_process(measure, scripted_visit, store):
    """Each cell gets its visits and one record, in the plan's order."""
    visit = scripted_visit()
    records = measure(visit)

    assert dict.fromkeys(CELLS, PROCESSES) == visit.made
    assert list(CELLS) == [record.variant for record in records]
    assert sorted(CELLS) == sorted(record.variant for record in store.read_records())
    assert [PROCESSES] * len(CELLS) == [record.processes for record in records]


def test_visits_go_in_rounds(make_plan):
    """Every cell is visited once a round, in an order that changes from round to round and is the same for a seed."""
    names = [f"cell{number}" for number in range(6)]
    first, again, other = (
        [tuple(cell.variant for cell in make_plan(*names, seed=seed).cases_of_round(process)) for process in range(6)]
        for seed in (0, 0, 1)
    )

    assert [sorted(names)] * 6 == [sorted(item) for item in first]
    assert len(set(first)) > 1
    assert first == again
    assert first != other


def test_a_record_is_kept_as_soon_as_its_cell_is_complete(measure, scripted_visit, store):
    """While other cells are still measured, the record of a complete one is already on disk."""
    stored = []
    measure(scripted_visit(), observe=lambda *_: stored.append(len(store.read_records())))

    assert VISITS == len(stored)
    assert [0] * 4 + [1, 2] == stored


def test_seen_is_told_of_every_visit(measure, scripted_visit, plan):
    """After each visit the caller learns its cell, its process and, with the last one, the record."""
    reported = []
    measure(scripted_visit(), observe=lambda cell, process, record: reported.append((cell.variant, process, record)))

    rounds = [(cell.variant, process) for process in range(PROCESSES) for cell in plan.cases_of_round(process)]
    assert rounds == [item[:2] for item in reported]
    assert [None] * 4 == [record for *_, record in reported[:4]]
    assert [variant for variant, *_ in reported[4:]] == [record.variant for *_, record in reported[4:]]


def test_a_cell_that_fails_costs_itself_alone(measure, scripted_visit, store):
    """A TrialError is recorded, its cell is not visited again, and the others go on."""

    def script(_plan, cell, _before):
        if cell.variant == CELLS[0] and visit.made[CELLS[0]] == 1:
            raise TrialError("the worker was killed by SIGSEGV", hint="run it alone")

    visit = scripted_visit(script)
    broken, fine = measure(visit)

    assert (CELLS[0], "the worker was killed by SIGSEGV") == (broken.variant, broken.error)
    assert (None, 1) == (broken.latency_ns, broken.processes)
    assert ("1.2.3", "a CPU") == (broken.runtime.version, broken.host["cpu"])
    assert (None, PROCESSES) == (fine.error, fine.processes)
    assert {CELLS[0]: 1, CELLS[1]: PROCESSES} == visit.made
    assert VISITS - 1 == visit.asked
    assert 2 == len(store.read_records())


def test_a_cell_that_fails_at_once_has_no_runtime_version(measure, scripted_visit):
    """A cell whose first visit fails is recorded without version and host, which nobody has seen."""

    def script(*_):
        raise TrialError("no answer", hint="")

    records = measure(scripted_visit(script))

    assert [("", {}, 0, "no answer")] * 2 == [
        (record.runtime.version, record.host, record.processes, record.error) for record in records
    ]


@pytest.mark.parametrize("error", [RuntimeUnavailable, UnreachableError])
@pytest.mark.parametrize("visits", range(VISITS))
def test_a_device_that_fails_stops_the_run_and_keeps_the_rest(measure, scripted_visit, store, error, visits):
    """Without runtime or gateway nothing more is measured; what was stays, and the run is continued."""
    with pytest.raises(error):
        measure(scripted_visit(failing_at(visits, error("gone", hint="bring it back"))))
    remainder = scripted_visit()
    records = measure(remainder)

    assert VISITS - visits == remainder.asked
    assert [(PROCESSES, None)] * 2 == [(record.processes, record.error) for record in records]
    assert 2 == len(store.read_records())


def test_a_full_disk_stops_the_run_and_keeps_the_rest(measure, scripted_visit, store, monkeypatch):
    """A sample that cannot be kept is a FileError; with space the run continues and makes that visit again."""
    room = iter(range(2))
    first, remainder = scripted_visit(), scripted_visit()
    with monkeypatch.context() as disk:
        disk.setattr("mnbench.atomic_files.os.fsync", lambda _: next(room, None) is None and full())
        with pytest.raises(FileError, match="No space left on device"):
            measure(first)
    measure(remainder)

    assert (3, VISITS - 2) == (first.asked, remainder.asked)
    assert 2 == len(store.read_records())


MOMENTS = {
    "in a visit": None,
    "before a sample is kept": (RunFolder, "save_trial", False),
    "after a sample is kept": (RunFolder, "save_trial", True),
    "before a record is kept": (ResultsFile, "append", False),
    "after a record is kept": (ResultsFile, "append", True),
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
def test_a_run_interrupted_anywhere_makes_each_visit_once(measure, scripted_visit, store, moment, number):
    """Interrupted at any visit and continued, a run keeps each visit once and has one record a cell."""
    first, remainder = scripted_visit(failing_at(None if MOMENTS[moment] else number)), scripted_visit()
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        if MOMENTS[moment]:
            kind, name, after = MOMENTS[moment]
            patch.setattr(kind, name, interrupted(getattr(kind, name), number, after=after))
        measure(first)
    recorded = len(store.read_records())
    if recorded < len(CELLS):
        measure(remainder)

    # There are fewer records than visits, and the interruption after the last record finds the run complete.
    assert (recorded == len(CELLS)) == ("record" in moment and number + ("after" in moment) >= len(CELLS))
    assert VISITS + (moment == "before a sample is kept") == first.made.total() + remainder.made.total()
    assert VISITS == len(list(store.raw_folder.glob("*/*.npz")))
    assert sorted(CELLS) == sorted(record.variant for record in store.read_records())
    assert [PROCESSES] * 2 == [record.processes for record in store.read_records()]
    assert 1 == len({record.run for record in store.read_records()})


def test_a_run_interrupted_at_every_visit_comes_to_its_end(measure, scripted_visit, store):
    """Even if each attempt makes a single visit, the run ends with one record a cell."""
    visits = []
    for _ in range(VISITS - 1):
        visit = scripted_visit(failing_at(1))
        with pytest.raises(KeyboardInterrupt):
            measure(visit)
        visits.append(visit)
    visits.append(scripted_visit())
    measure(visits[-1])

    assert [1] * VISITS == [visit.made.total() for visit in visits]
    assert sorted(CELLS) == sorted(record.variant for record in store.read_records())


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


def test_a_failed_cell_stays_failed_when_the_run_continues(measure, scripted_visit, store):
    """A cell that has its record, even of failure, is not visited again by the run that is continued."""

    def script(_plan, cell, before):
        if cell.variant == CELLS[0]:
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
