"""Records: kept whole whatever happens, continued where a run stopped, and computed as documented."""

# ruff: noqa: SIM300  expected == actual

import contextlib
import errno
import gc
import json
import os
import random
import resource
import subprocess
import sys
from itertools import count

import msgspec
import numpy as np
import pytest

from mnbench.errors import FileError, GatewayError, MeasureError, MnbenchError, RecordError, RuntimeUnavailable
from mnbench.records.collect import collect
from mnbench.records.record import SCHEMA, measured
from mnbench.records.store import Run, Store
from mnbench.records.table import latest

CELLS = ("v1-a1-r224", "v1-a0.5-r160")
PROCESSES = 3
VISITS = len(CELLS) * PROCESSES
PROVIDER = "CPUExecutionProvider"


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "results", "cpu")


@pytest.fixture
def plan(make_plan):
    """Two cells, visited three times each."""
    return make_plan(*CELLS, processes=PROCESSES)


@pytest.fixture
def measure(plan, store):
    """Run the plan, or go on with it, as `mnbench run` does."""

    def run(visit, *, seen=lambda *_: None, fresh=False):
        return collect(plan, store, store.open_run(plan, fresh=fresh), seen=seen, visit=visit)

    return run


def line_of(record):
    """A record as it stands in the file."""
    return msgspec.json.encode(record) + b"\n"


def full(*_, **__):
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_at(number, error=KeyboardInterrupt):
    """A script for visits: those before `number` succeed, and that one raises."""

    def script(_plan, _cell, before):
        if before == number:
            raise error

    return script


# The store


def test_a_record_reads_back_as_it_was_written(store, make_record):
    """What is appended is read back, in order, with every field."""
    records = [make_record(), make_record(0.5, 160, error="crashed", latency_ns=None), make_record(host={"cpu": "Ünï"})]
    for record in records:
        store.append(record)

    assert records == store.records()
    assert len(records) == store.path.read_bytes().count(b"\n")


def test_a_store_that_is_not_there_holds_nothing(store):
    """Before the first record there are none, and asking creates nothing."""
    assert [] == store.records()
    assert not store.folder.exists()


def test_blank_lines_are_no_records(store, make_record):
    """Blank lines, as editors leave them, are passed over."""
    line = line_of(make_record())
    store.folder.mkdir()
    store.path.write_bytes(line + b"\n  \n" + line + b"\n")

    assert [make_record()] * 2 == store.records()


def test_a_half_written_last_line_is_left_out_and_cut_off(store, make_record):
    """Wherever the last line breaks off, reading leaves it out and the next append replaces it."""
    first, last, new = make_record(1.0), make_record(0.5, host={"cpu": "Ünïcödé ®"}), make_record(0.25)
    whole = line_of(first)
    store.folder.mkdir()
    for length in (*range(1, len(line_of(last)) - 1, 17), *range(len(line_of(last)) - 60, len(line_of(last)) - 1)):
        store.path.write_bytes(whole + line_of(last)[:length])
        assert (length, [first]) == (length, store.records())

        store.append(new)
        assert (length, whole + line_of(new)) == (length, store.path.read_bytes())


def test_a_whole_last_line_without_its_end_is_kept(store, make_record):
    """A last record that only lacks its end of line is read, and stays when the next is appended."""
    first, new = make_record(1.0), make_record(0.5)
    store.folder.mkdir()
    store.path.write_bytes(line_of(first)[:-1])

    assert [first] == store.records()
    store.append(new)
    assert line_of(first) + line_of(new) == store.path.read_bytes()


@pytest.mark.parametrize(
    "bad", [b"{", b"{}", b"[]", b"null", b"nonsense", b'{"schema":1}', b"\xff\xfe", b'{"id":"\xe0"}']
)
def test_a_corrupt_line_in_the_middle_is_named(store, make_record, bad):
    """A line that is no record is an error with its number, not a record less."""
    store.folder.mkdir()
    store.path.write_bytes(line_of(make_record()) * 2 + bad + b"\n" + line_of(make_record()))

    with pytest.raises(RecordError, match=r"cpu\.jsonl: line 3 is no record") as caught:
        store.records()
    assert caught.value.hint


@pytest.mark.parametrize("extra", [{}, {"latency": "another shape"}], ids=["schema alone", "changed fields"])
def test_a_newer_schema_is_named(store, make_record, extra):
    """A record that a newer mnbench wrote is an error with its line, and the hint is to update."""
    newer = json.loads(line_of(make_record())) | {"schema": SCHEMA + 1} | extra
    store.folder.mkdir()
    store.path.write_bytes(line_of(make_record()) + json.dumps(newer).encode() + b"\n")

    with pytest.raises(RecordError, match=rf"line 2 has schema {SCHEMA + 1}") as caught:
        store.records()
    assert "update mnbench" == caught.value.hint


def test_spoiled_bytes_never_raise_anything_else(store, make_record):
    """Whatever bytes are spoiled, in the last line or before it, reading gives records or a RecordError."""
    draw = random.Random(0)
    line = line_of(make_record())
    store.folder.mkdir()
    for _ in range(1500):
        spoiled = bytearray(line)
        for _ in range(draw.choice([1, 2, 5])):
            spoiled[draw.randrange(len(line))] = draw.randrange(256)
        store.path.write_bytes(draw.choice([bytes(spoiled), line + bytes(spoiled), bytes(spoiled) + line]))
        with contextlib.suppress(RecordError):
            store.records()


@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "not ended"])
def test_append_on_a_full_disk_leaves_the_file_as_it_was(store, make_record, end):
    """However much of the line still fits, nothing of it stays, and the records before are read."""
    before = line_of(make_record(1.0)).rstrip() + end
    new = make_record(0.5)
    store.append(new)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in range(0, len(line_of(new)), 29):
        store.path.write_bytes(before)
        try:
            # A limit on the size of files breaks writes off where it is reached, as a full disk does.
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
            with pytest.raises(FileError):
                store.append(new)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        left = store.path.read_bytes()
        assert (room, before.rstrip()) == (room, left.rstrip(b"\n"))
        assert [make_record(1.0)] == store.records()


@pytest.mark.parametrize("call", ["fsync", "ftruncate and fsync"])
def test_append_that_cannot_reach_the_disk_is_one_error(store, make_record, monkeypatch, call):
    """A disk that refuses at the last moment gives one line, and no half record is ever read."""
    store.append(make_record(1.0))
    before = store.path.read_bytes()
    with monkeypatch.context() as broken:
        for name in call.split(" and "):
            broken.setattr(f"mnbench.records.store.os.{name}", full)
        with pytest.raises(FileError, match=r"cpu\.jsonl: cannot be written \(No space left on device\)"):
            store.append(make_record(0.5))

    assert store.records()[:1] == [make_record(1.0)]
    assert call != "fsync" or before == store.path.read_bytes()


def test_append_below_a_file_is_one_error(tmp_path, make_record):
    """A results folder that cannot be made is one line with the path."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(FileError, match="cannot be written"):
        Store(tmp_path / "file" / "results", "cpu").append(make_record())


APPENDING = """
import sys, msgspec
from pathlib import Path
from mnbench.records.record import Record
from mnbench.records.store import Store
record = msgspec.json.decode(sys.stdin.buffer.read(), type=Record)
for number in range(20):
    Store(Path(sys.argv[1]), "cpu").append(msgspec.structs.replace(record, id=f"{sys.argv[2]}.{number}"))
"""


def test_several_processes_may_append_at_once(store, make_record):
    """Records of processes that measure at the same time are all there, each whole."""
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDING, store.folder, str(name)], stdin=subprocess.PIPE)
        for name in range(3)
    ]
    for writer in writers:
        writer.stdin.write(line_of(make_record()))
        writer.stdin.close()

    assert [0, 0, 0] == [writer.wait(60) for writer in writers]
    assert sorted(f"{name}.{number}" for name in range(3) for number in range(20)) == sorted(
        record.id for record in store.records()
    )


# Runs


def test_an_unfinished_run_is_continued(store, plan, make_sample):
    """The same plan opens the run that it left, with the visits made so far."""
    run = store.open_run(plan)
    run.save(plan.cells[0], 1, make_sample())
    run.release()
    again = store.open_run(plan)

    assert run.id == again.id
    assert [False, True, False] == [again.has(plan.cells[0], process) for process in range(PROCESSES)]


def test_a_sample_reads_back_as_it_was_saved(store, plan, make_sample):
    """Every nanosecond and every fact of a visit comes back."""
    run = store.open_run(plan)
    saved = make_sample([5, 3, 2**40], placement=None, peak_rss_bytes=None, host={"cpu": "Ünï", "cores": 2})
    run.save(plan.cells[0], 0, saved)
    (read,) = run.samples(plan.cells[0], PROCESSES)

    assert [5, 3, 2**40] == read.latencies_ns.tolist()
    assert saved.warmup_ns.tolist() == read.warmup_ns.tolist()
    for fact in ("first_run_ns", "session_ns", "peak_rss_bytes", "placement", "runtime_version", "host"):
        assert getattr(saved, fact) == getattr(read, fact)


def test_a_finished_run_is_not_continued(measure, scripted_visit, store):
    """Once every cell has its record, the same plan starts anew."""
    for visit in (scripted_visit(), scripted_visit()):
        measure(visit)
        assert VISITS == visit.asked

    assert 2 * len(CELLS) == len(store.records())
    assert 2 == len({record.run for record in store.records()})


def test_fresh_starts_anew(measure, scripted_visit, store):
    """`fresh` leaves an unfinished run alone."""
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(2)))
    visit = scripted_visit()
    measure(visit, fresh=True)

    assert VISITS == visit.asked
    assert 2 == len([folder for folder in store.raw.iterdir() if folder.is_dir()])


@pytest.mark.parametrize(
    "changes", [{"processes": 4}, {"min_duration_s": 2.0}, {"seed": 1}], ids=["processes", "duration", "seed"]
)
def test_another_plan_does_not_continue_the_run(store, make_plan, plan, changes):
    """A run is continued by its own plan alone: other protocols, devices or models start anew."""
    run = store.open_run(plan)
    run.release()

    assert run.id != store.open_run(make_plan(*CELLS, **{"processes": PROCESSES} | changes)).id


def test_another_device_or_model_does_not_continue_the_run(store, make_plan, make_cell, make_device, plan):
    """Other threads, or other bytes in the model, are another plan."""
    run = store.open_run(plan)
    run.release()
    threads = make_plan(*CELLS, processes=PROCESSES, device=make_device(threads=2))
    models = make_plan(*(make_cell(name, sha256="other") for name in CELLS), processes=PROCESSES)

    assert 3 == len({run.id, store.open_run(threads).id, store.open_run(models).id})


HOLDING = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    input()
"""


def test_a_run_that_another_process_is_at_is_not_continued(store, plan):
    """While another process measures a run the same plan starts its own; when that process is killed it continues."""
    run = store.open_run(plan)
    run.release()
    command = [sys.executable, "-c", HOLDING, run.folder / "lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert "held\n" == other.stdout.readline()
        mine = store.open_run(plan)
        mine.release()
        (mine.folder / "lock").unlink()
        mine.folder.rmdir()
        other.kill()
        other.wait()

    assert run.id != mine.id
    assert run.id == store.open_run(plan).id


def test_a_run_in_this_process_is_not_continued_either(store, plan):
    """Two runs of a plan at the same time have a folder each, also when they start within a second."""
    runs = [store.open_run(plan) for _ in range(3)]

    assert 3 == len({run.id for run in runs})


def test_collect_releases_its_run(measure, scripted_visit, store, plan):
    """Whatever ends a run, the same process may continue it."""
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(0)))
    (folder,) = [path for path in store.raw.iterdir() if path.is_dir()]

    assert folder.name == store.open_run(plan).id


def test_a_spoiled_sample_is_no_traceback(measure, scripted_visit, store):
    """A kept visit that cannot be read is measured again, or an error that names its file."""
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(VISITS - 1)))
    for spoiled in store.raw.glob("*/*.1.npz"):
        spoiled.write_bytes(spoiled.read_bytes()[:100])
    told, unexpected = "", ""
    try:
        measure(scripted_visit())
    except MnbenchError as error:
        told = error.message
    except Exception as error:  # noqa: BLE001  its traceback would hold open files, which other tests would meet
        unexpected = repr(error)
    gc.collect()

    assert "" == unexpected
    assert ".1.npz" in told or [PROCESSES] * 2 == [record.processes for record in store.records()]


# Collecting


def test_every_cell_is_visited_by_every_process(measure, scripted_visit, store):
    """Each cell gets its visits and one record, in the plan's order."""
    visit = scripted_visit()
    records = measure(visit)

    assert dict.fromkeys(CELLS, PROCESSES) == visit.made
    assert list(CELLS) == [record.variant for record in records]
    assert sorted(CELLS) == sorted(record.variant for record in store.records())
    assert [PROCESSES] * len(CELLS) == [record.processes for record in records]


def test_visits_go_in_rounds(make_plan):
    """Every cell is visited once a round, in an order that changes from round to round and is the same for a seed."""
    names = [f"cell{number}" for number in range(6)]
    first, again, other = (
        [(cell.variant, process) for cell, process in make_plan(*names, seed=seed).visits()] for seed in (0, 0, 1)
    )
    rounds = [[name for name, process in first if process == number] for number in range(6)]

    assert sorted((name, process) for name in names for process in range(6)) == sorted(first)
    assert [sorted(names)] * 6 == [sorted(one) for one in rounds]
    assert [number for number in range(6) for _ in names] == [process for _, process in first]
    assert len({tuple(one) for one in rounds}) > 1
    assert first == again
    assert first != other


def test_a_record_is_kept_as_soon_as_its_cell_is_complete(measure, scripted_visit, store):
    """While other cells are still measured, the record of a complete one is already on disk."""
    kept = []
    measure(scripted_visit(), seen=lambda *_: kept.append(len(store.records())))

    assert VISITS == len(kept)
    assert [0] * 4 + [1, 2] == kept


def test_seen_is_told_of_every_visit(measure, scripted_visit, plan):
    """After each visit the caller learns its cell, its process and, with the last one, the record."""
    told = []
    measure(scripted_visit(), seen=lambda cell, process, record: told.append((cell.variant, process, record)))

    assert [(cell.variant, process) for cell, process in plan.visits()] == [one[:2] for one in told]
    assert [None] * 4 == [record for *_, record in told[:4]]
    assert [variant for variant, *_ in told[4:]] == [record.variant for *_, record in told[4:]]


def test_a_cell_that_fails_costs_itself_alone(measure, scripted_visit, store):
    """A MeasureError is recorded, its cell is not visited again, and the others go on."""

    def script(_plan, cell, _before):
        if cell.variant == CELLS[0] and visit.made[CELLS[0]] == 1:
            raise MeasureError("the worker was killed by SIGSEGV", hint="run it alone")

    visit = scripted_visit(script)
    broken, fine = measure(visit)

    assert (CELLS[0], "the worker was killed by SIGSEGV") == (broken.variant, broken.error)
    assert (None, 1) == (broken.latency_ns, broken.processes)
    assert ("1.2.3", "a CPU") == (broken.runtime.version, broken.host["cpu"])
    assert (None, PROCESSES) == (fine.error, fine.processes)
    assert {CELLS[0]: 1, CELLS[1]: PROCESSES} == visit.made
    assert VISITS - 1 == visit.asked
    assert 2 == len(store.records())


def test_a_cell_that_fails_at_once_has_no_runtime_version(measure, scripted_visit):
    """A cell whose first visit fails is recorded without version and host, which nobody has seen."""

    def script(*_):
        raise MeasureError("no answer", hint="")

    records = measure(scripted_visit(script))

    assert [("", {}, 0, "no answer")] * 2 == [
        (record.runtime.version, record.host, record.processes, record.error) for record in records
    ]


@pytest.mark.parametrize("error", [RuntimeUnavailable, GatewayError])
@pytest.mark.parametrize("visits", range(VISITS))
def test_a_device_that_fails_stops_the_run_and_keeps_the_rest(measure, scripted_visit, store, error, visits):
    """Without runtime or gateway nothing more is measured; what was stays, and the run is continued."""
    with pytest.raises(error):
        measure(scripted_visit(failing_at(visits, error("gone", hint="bring it back"))))
    rest = scripted_visit()
    records = measure(rest)

    assert VISITS - visits == rest.asked
    assert [(PROCESSES, None)] * 2 == [(record.processes, record.error) for record in records]
    assert 2 == len(store.records())


def test_a_full_disk_stops_the_run_and_keeps_the_rest(measure, scripted_visit, store, monkeypatch):
    """A sample that cannot be kept is a FileError; with space the run continues and makes that visit again."""
    room = iter(range(2))
    first, rest = scripted_visit(), scripted_visit()
    with monkeypatch.context() as disk:
        disk.setattr("mnbench.files.os.fsync", lambda _: next(room, None) is None and full())
        with pytest.raises(FileError, match="No space left on device"):
            measure(first)
    measure(rest)

    assert (3, VISITS - 2) == (first.asked, rest.asked)
    assert 2 == len(store.records())


MOMENTS = {
    "in a visit": None,
    "before a sample is kept": (Run, "save", False),
    "after a sample is kept": (Run, "save", True),
    "before a record is kept": (Store, "append", False),
    "after a record is kept": (Store, "append", True),
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
    first, rest = scripted_visit(failing_at(None if MOMENTS[moment] else number)), scripted_visit()
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        if MOMENTS[moment]:
            kind, name, after = MOMENTS[moment]
            patch.setattr(kind, name, interrupted(getattr(kind, name), number, after=after))
        measure(first)
    recorded = len(store.records())
    if recorded < len(CELLS):
        measure(rest)

    # There are fewer records than visits, and the interruption after the last record finds the run complete.
    assert (recorded == len(CELLS)) == ("record" in moment and number + ("after" in moment) >= len(CELLS))
    assert VISITS + (moment == "before a sample is kept") == first.made.total() + rest.made.total()
    assert VISITS == len(list(store.raw.glob("*/*.npz")))
    assert sorted(CELLS) == sorted(record.variant for record in store.records())
    assert [PROCESSES] * 2 == [record.processes for record in store.records()]
    assert 1 == len({record.run for record in store.records()})


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
    assert sorted(CELLS) == sorted(record.variant for record in store.records())


def test_a_failed_cell_stays_failed_when_the_run_continues(measure, scripted_visit, store):
    """A cell that has its record, even of failure, is not visited again by the run that is continued."""

    def script(_plan, cell, before):
        if cell.variant == CELLS[0]:
            raise MeasureError("crashed", hint="")
        if before >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(script))
    rest = scripted_visit()
    records = measure(rest)

    assert 0 == rest.made[CELLS[0]]
    assert ["crashed", None] == [record.error for record in records]
    assert 2 == len(store.records())


# Statistics of a record


def record_of(plan, cell, samples):
    """The record of a cell from scripted samples."""
    return measured(plan, cell, "run", samples)


def test_statistics_of_a_record(plan, make_sample):
    """Median of medians, its interval, and p10, p90 and minimum of all runs together are as computed by numpy."""
    draw = np.random.default_rng(0)
    processes = [draw.integers(1000, 2000, draw.integers(50, 90)) for _ in range(6)]
    record = record_of(plan, plan.cells[0], [make_sample(latencies) for latencies in processes])
    medians = sorted(np.median(latencies) for latencies in processes)
    pooled = np.concatenate(processes)
    latency = record.latency_ns

    assert round(np.median(medians)) == latency.median
    assert (round(medians[0]), round(medians[-1]), 0.9688) == (latency.low, latency.high, latency.coverage)
    assert round(np.quantile(pooled, 0.1)) == latency.p10
    assert round(np.quantile(pooled, 0.9)) == latency.p90
    assert pooled.min() == latency.min
    assert (6, len(pooled)) == (record.processes, record.runs)


def test_one_slow_process_moves_the_interval_but_not_the_median(plan, make_sample):
    """By hand: processes with medians 100, 101, 102, 103 and 900 give 102, from 100 to 900, with 93.75 %."""
    samples = [make_sample([median - 10, median, median + 10] * 40) for median in (103, 900, 101, 100, 102)]
    latency = record_of(plan, plan.cells[0], samples).latency_ns

    assert (102, 100, 900, 0.9375, 90) == (latency.median, latency.low, latency.high, latency.coverage, latency.min)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        (1, (1000, 1000, 0.0)),
        (2, (1000, 1001, 0.5)),
        (4, (1000, 1003, 0.875)),
        (6, (1000, 1005, 0.9688)),
        (9, (1001, 1007, 0.9609)),
        (12, (1002, 1009, 0.9614)),
    ],
)
def test_the_interval_is_of_order_statistics(plan, make_sample, processes, expected):
    """The interval's ends are order statistics of the processes' medians, with the binomial coverage."""
    samples = [make_sample([1000 + number] * 100) for number in reversed(range(processes))]
    latency = record_of(plan, plan.cells[0], samples).latency_ns

    assert expected == (latency.low, latency.high, latency.coverage)


def test_first_run_session_and_memory(plan, make_sample):
    """First run and session creation are medians over processes; memory is the most that any held."""
    facts = zip((10, 30, 1000), (7, 9, 8), (100, None, 300), strict=True)
    samples = [make_sample(first_run_ns=a, session_ns=b, peak_rss_bytes=c) for a, b, c in facts]
    record = record_of(plan, plan.cells[0], samples)

    assert (30, 8, 300) == (record.first_run_ns, record.session_ns, record.peak_rss_bytes)


def test_memory_that_nobody_tells_is_none(plan, make_sample):
    """Where no process can tell its memory, the record says None and not 0."""
    assert None is record_of(plan, plan.cells[0], [make_sample(peak_rss_bytes=None)]).peak_rss_bytes


def test_a_record_carries_what_was_measured(plan, make_sample):
    """Variant, costs, model, device and host of the cell and the plan are in the record."""
    cell = plan.cells[1]
    record = record_of(plan, cell, [make_sample()])

    assert (cell.variant, cell.architecture, cell.alpha, cell.resolution) == (
        record.variant,
        record.architecture,
        record.alpha,
        record.resolution,
    )
    assert (cell.cost.params, cell.cost.mult_adds, cell.cost.memory_access_bytes) == (
        record.params,
        record.mult_adds,
        record.memory_access_bytes,
    )
    assert (cell.sha256, cell.peak_activation_bytes) == (record.model_sha256, record.peak_activation_bytes)
    assert ("cpu", PROVIDER, 1) == (record.device, record.provider, record.threads)
    assert ("onnxruntime", "1.2.3") == (record.runtime.name, record.runtime.version)
    assert {"cpu": "a CPU", "cores": 2} == record.host
    assert f"run/{cell.variant}" == record.id


@pytest.mark.parametrize(
    ("placement", "nodes", "mult_adds"),
    [
        ({PROVIDER: ["a", "b"]}, 1.0, 1.0),
        ({PROVIDER: ["b"], "Other": ["a"]}, 0.5, 0.75),
        ({"Other": ["a", "b"]}, 0.0, 0.0),
        ({PROVIDER: ["b", "reorder"], "Other": ["a"]}, pytest.approx(2 / 3), 0.75),
        ({PROVIDER: ["reorder"]}, 1.0, None),
        ({}, None, None),
        (None, None, None),
    ],
    ids=["all", "some", "none", "with a node of the runtime's own", "only such", "empty", "not told"],
)
def test_placement_is_a_share_of_nodes_and_of_mult_adds(plan, make_sample, placement, nodes, mult_adds):
    """Of the nodes that ran, and of their Mult-Adds (1 and 3 here), the share on the provider asked for."""
    record = record_of(plan, plan.cells[0], [make_sample(placement=placement)])

    assert (nodes, mult_adds) == (record.placement.nodes, record.placement.mult_adds)


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


# The newest records


def test_latest_keeps_the_newest_of_each_cell(make_record):
    """Of records of one cell the last counts; another host, runtime version, threads or device is another cell."""
    old, new = make_record(median=1), make_record(median=2)
    others = [
        make_record(device="gpu"),
        make_record(threads=2),
        make_record(host={"cpu": "another"}),
        make_record(runtime=msgspec.structs.replace(old.runtime, version="2.0")),
        make_record(architecture=None),
    ]
    found = latest([old, *others, new])

    assert 1 + len(others) == len(found)
    assert new in found
    assert old not in found


def test_latest_is_sorted_as_the_papers_tables(make_record):
    """By device, then graph, then falling α and resolution."""
    records = [
        make_record(alpha, side, device=device)
        for device in ("gpu", "cpu")
        for alpha, side in ((0.5, 224), (1.0, 128), (1.0, 224))
    ]

    assert [
        (device, alpha, (side, side))
        for device in ("cpu", "gpu")
        for alpha, side in ((1.0, 224), (1.0, 128), (0.5, 224))
    ] == [(record.device, record.alpha, record.resolution) for record in latest(records)]


def test_latest_of_files_without_alpha(make_record):
    """A user's own files, with neither α nor resolution, have their place too."""
    own = make_record(None, variant="own", architecture=None, resolution=None)

    assert [own, make_record()] == latest([make_record(), own])
