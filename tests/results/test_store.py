"""The store: records and visits are kept whole whatever happens, and a run is found again."""

# ruff: noqa: SIM300  expected == actual

import contextlib
import gc
import json
import random
import resource
import subprocess
import sys

import numpy as np
import pytest
from common import CELLS, PROCESSES, VISITS, failing_at, full, line_of

from mnbench.errors import FileError, MnbenchError, ResultsError
from mnbench.results.record import SCHEMA
from mnbench.results.store import ResultsFile
from mnbench.results.trial_result import TrialResult

# The store


def test_a_record_reads_back_as_it_was_written(store, make_record):
    """What is appended is read back, in order, with every field."""
    records = [make_record(), make_record(0.5, 160, error="crashed", latency_ns=None), make_record(host={"cpu": "Ünï"})]
    for record in records:
        store.append(record)

    assert records == store.read_records()
    assert len(records) == store.path.read_bytes().count(b"\n")


def test_a_store_that_is_not_there_holds_nothing(store):
    """Before the first record there are none, and asking creates nothing."""
    assert [] == store.read_records()
    assert not store.folder.exists()


def test_blank_lines_are_no_records(store, make_record):
    """Blank lines, as editors leave them, are passed over."""
    line = line_of(make_record())
    store.folder.mkdir()
    store.path.write_bytes(line + b"\n  \n" + line + b"\n")

    assert [make_record()] * 2 == store.read_records()


def test_a_half_written_last_line_is_left_out_and_cut_off(store, make_record):
    """Wherever the last line breaks off, reading leaves it out and the next append replaces it."""
    first, last, new = make_record(1.0), make_record(0.5, host={"cpu": "Ünïcödé ®"}), make_record(0.25)
    whole = line_of(first)
    store.folder.mkdir()
    for length in (*range(1, len(line_of(last)) - 1, 17), *range(len(line_of(last)) - 60, len(line_of(last)) - 1)):
        store.path.write_bytes(whole + line_of(last)[:length])
        assert (length, [first]) == (length, store.read_records())

        store.append(new)
        assert (length, whole + line_of(new)) == (length, store.path.read_bytes())


def test_a_whole_last_line_without_its_end_is_kept(store, make_record):
    """A last record that only lacks its end of line is read, and stays when the next is appended."""
    first, new = make_record(1.0), make_record(0.5)
    store.folder.mkdir()
    store.path.write_bytes(line_of(first)[:-1])

    assert [first] == store.read_records()
    store.append(new)
    assert line_of(first) + line_of(new) == store.path.read_bytes()


@pytest.mark.parametrize(
    "bad", [b"{", b"{}", b"[]", b"null", b"nonsense", b'{"schema":1}', b"\xff\xfe", b'{"id":"\xe0"}']
)
def test_a_corrupt_line_in_the_middle_is_named(store, make_record, bad):
    """A line that is no record is an error with its number, not a record less."""
    store.folder.mkdir()
    store.path.write_bytes(line_of(make_record()) * 2 + bad + b"\n" + line_of(make_record()))

    with pytest.raises(ResultsError, match=r"cpu\.jsonl: line 3 is not a record") as caught:
        store.read_records()
    assert caught.value.hint


@pytest.mark.parametrize("mark", [b"<<<<<<< HEAD", b"=======", b">>>>>>> feature"])
def test_unfinished_merge(store, make_record, mark):
    """A mark that git left in a file is named as such, wherever it stands."""
    store.folder.mkdir()
    store.path.write_bytes(line_of(make_record()) + mark + b"\n" + line_of(make_record()))

    with pytest.raises(ResultsError, match="line 2 is a mark of git: a merge is unfinished"):
        store.read_records()


@pytest.mark.parametrize("extra", [{}, {"latency": "another shape"}], ids=["schema alone", "changed fields"])
def test_a_newer_schema_is_named(store, make_record, extra):
    """A record that a newer mnbench wrote is an error with its line, and the hint is to update."""
    newer = json.loads(line_of(make_record())) | {"schema": SCHEMA + 1} | extra
    store.folder.mkdir()
    store.path.write_bytes(line_of(make_record()) + json.dumps(newer).encode() + b"\n")

    with pytest.raises(ResultsError, match=rf"line 2 has schema {SCHEMA + 1}") as caught:
        store.read_records()
    assert "update mnbench" == caught.value.hint


def test_spoiled_bytes_never_raise_anything_else(store, make_record):
    """Whatever bytes are spoiled, in the last line or before it, reading gives records or a ResultsError."""
    draw = random.Random(0)
    line = line_of(make_record())
    store.folder.mkdir()
    for _ in range(1500):
        spoiled = bytearray(line)
        for _ in range(draw.choice([1, 2, 5])):
            spoiled[draw.randrange(len(line))] = draw.randrange(256)
        store.path.write_bytes(draw.choice([bytes(spoiled), line + bytes(spoiled), bytes(spoiled) + line]))
        with contextlib.suppress(ResultsError):
            store.read_records()


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
        assert [make_record(1.0)] == store.read_records()


@pytest.mark.parametrize("call", ["fsync", "ftruncate and fsync"])
def test_append_that_cannot_reach_the_disk_is_one_error(store, make_record, monkeypatch, call):
    """A disk that refuses at the last moment gives one line, and no half record is ever read."""
    store.append(make_record(1.0))
    before = store.path.read_bytes()
    with monkeypatch.context() as broken:
        for name in call.split(" and "):
            broken.setattr(f"mnbench.results.store.os.{name}", full)
        with pytest.raises(FileError, match=r"cpu\.jsonl: cannot be written \(No space left on device\)"):
            store.append(make_record(0.5))

    assert store.read_records()[:1] == [make_record(1.0)]
    assert call != "fsync" or before == store.path.read_bytes()


def test_append_below_a_file_is_one_error(tmp_path, make_record):
    """A results folder that cannot be made is one line with the path."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(FileError, match="cannot be written"):
        ResultsFile(tmp_path / "file" / "results", "cpu").append(make_record())


APPENDING = """
import sys, msgspec
from pathlib import Path
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile
record = msgspec.json.decode(sys.stdin.buffer.read(), type=Record)
for number in range(20):
    ResultsFile(Path(sys.argv[1]), "cpu").append(msgspec.structs.replace(record, id=f"{sys.argv[2]}.{number}"))
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
        record.id for record in store.read_records()
    )


# Runs


def test_an_unfinished_run_is_continued(store, plan, make_sample):
    """The same plan opens the run that it left, with the visits made so far."""
    run = store.open_run(plan.id)
    run.save_trial(plan.cases[0].variant, 1, make_sample())
    run.unlock()
    again = store.open_run(plan.id)

    assert run.id == again.id
    assert [1] == list(again.load_trials(plan.cases[0].variant))
    assert {} == again.load_trials(plan.cases[1].variant)


def test_git_ignores_the_raw_results(store, plan):
    """The first run makes git ignore what is below `raw`; an empty run leaves nothing."""
    subprocess.run(["git", "init", "-q", store.folder.parent], check=True)
    run = store.open_run(plan.id)
    status = ["git", "-C", store.folder.parent, "status", "--porcelain", store.folder]
    assert b"" == subprocess.run(status, capture_output=True, check=True).stdout

    run.discard_if_empty()
    assert not store.folder.exists()


def test_a_gitignore_of_the_user_stays(store, plan):
    """A .gitignore that is there is not written again."""
    store.raw_folder.mkdir(parents=True)
    (store.raw_folder / ".gitignore").write_text("mine")
    store.open_run(plan.id)
    assert "mine" == (store.raw_folder / ".gitignore").read_text()


@pytest.mark.parametrize("unknown", [{}, {"session_ns": None, "first_run_ns": None}], ids=["alone", "among others"])
def test_a_sample_reads_back_as_it_was_saved(store, plan, make_sample, unknown):
    """Every nanosecond and every fact of a trial comes back, and what is not known stays so."""
    run = store.open_run(plan.id)
    changes = {
        "placement": None,
        "peak_rss_bytes": None,
        "host": {"cpu": "Ünï", "cores": 2},
        "copies_ns": {"in": 7},
    } | unknown
    saved = make_sample([5, 3, 2**40], difference=1.5e-7, **changes)
    run.save_trial(plan.cases[0].variant, 4, saved)
    ((process, read),) = run.load_trials(plan.cases[0].variant).items()

    assert 4 == process
    assert [5, 3, 2**40] == read.latencies_ns.tolist()
    for fact in TrialResult.__struct_fields__:
        stored, back = getattr(saved, fact), getattr(read, fact)
        assert (fact, np.asarray(stored).tolist()) == (fact, np.asarray(back).tolist())


def test_a_finished_run_is_not_continued(measure, scripted_visit, store):
    """Once every cell has its record, the same plan starts anew."""
    for visit in (scripted_visit(), scripted_visit()):
        measure(visit)
        assert VISITS == visit.asked

    assert 2 * len(CELLS) == len(store.read_records())
    assert 2 == len({record.run for record in store.read_records()})


def test_fresh_starts_anew(measure, scripted_visit, store):
    """`fresh` gives an unfinished run up: it makes every visit, keeps what that run holds, and nobody continues it."""
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(2)))
    visits = [scripted_visit(), scripted_visit()]
    measure(visits[0], fresh=True)
    measure(visits[1])

    assert [VISITS, VISITS] == [visit.asked for visit in visits]
    assert [2, VISITS, VISITS] == sorted(
        len(list(path.glob("*.npz"))) for path in store.raw_folder.iterdir() if path.is_dir()
    )


@pytest.mark.parametrize(
    "changes", [{"processes": 4}, {"duration_s": 2.0}, {"seed": 1}], ids=["processes", "duration", "seed"]
)
def test_another_plan_does_not_continue_the_run(store, make_plan, plan, changes):
    """A run is continued by its own plan alone: other protocols, devices or models start anew."""
    run = store.open_run(plan.id)
    run.unlock()

    assert run.id != store.open_run(make_plan(*CELLS, **{"processes": PROCESSES} | changes).id).id


def test_another_device_or_model_does_not_continue_the_run(store, make_plan, make_cell, make_device, plan):
    """Other threads, or other bytes in the model, are another plan."""
    run = store.open_run(plan.id)
    run.unlock()
    threads = make_plan(*CELLS, processes=PROCESSES, device=make_device(threads=2))
    models = make_plan(*(make_cell(name, sha256="other") for name in CELLS), processes=PROCESSES)

    assert 3 == len({run.id, store.open_run(threads.id).id, store.open_run(models.id).id})


HOLDING = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    input()
"""


def test_a_run_that_another_process_is_at_is_not_continued(store, plan):
    """While another process measures a run the same plan starts its own; when that process is killed it continues."""
    run = store.open_run(plan.id)
    run.unlock()
    command = [sys.executable, "-c", HOLDING, run.path / "lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert "held\n" == other.stdout.readline()
        mine = store.open_run(plan.id)
        mine.finish()
        mine.unlock()
        other.kill()
        other.wait()

    assert run.id != mine.id
    assert run.id == store.open_run(plan.id).id


def test_a_run_in_this_process_is_not_continued_either(store, plan):
    """Two runs of a plan at the same time have a folder each, also when they start within a second."""
    runs = [store.open_run(plan.id) for _ in range(3)]

    assert 3 == len({run.id for run in runs})


def test_collect_releases_its_run(measure, scripted_visit, store, plan):
    """Whatever ends a run, the same process may continue it."""
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(0)))
    (folder,) = [path for path in store.raw_folder.iterdir() if path.is_dir()]

    assert folder.name == store.open_run(plan.id).id


def test_spoiled_samples_are_left_out(store, plan, make_sample):
    """Whatever bytes of a kept visit are spoiled, it is read as it was or not at all."""
    draw, run, saved = random.Random(0), store.open_run(plan.id), make_sample(range(1000, 1100))
    run.save_trial(plan.cases[0].variant, 0, saved)
    (path,) = run.path.glob("*.npz")
    whole = path.read_bytes()
    for _ in range(500):
        spoiled = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        for _ in range(min(draw.choice([1, 3, 10]), len(spoiled))):
            spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
        path.write_bytes(spoiled)
        for sample in run.load_trials(plan.cases[0].variant).values():
            assert saved.latencies_ns.tolist() == sample.latencies_ns.tolist()


def test_a_spoiled_sample_is_no_traceback(measure, scripted_visit, store):
    """A kept visit that cannot be read is measured again, or an error that names its file."""
    with pytest.raises(KeyboardInterrupt):
        measure(scripted_visit(failing_at(VISITS - 1)))
    for spoiled in store.raw_folder.glob("*/*.1.npz"):
        spoiled.write_bytes(spoiled.read_bytes()[:100])
    reported, unexpected = "", ""
    try:
        measure(scripted_visit())
    except MnbenchError as error:
        reported = error.message
    except Exception as error:  # noqa: BLE001  its traceback would hold open files, which other tests would meet
        unexpected = repr(error)
    gc.collect()

    assert "" == unexpected
    assert ".1.npz" in reported or [PROCESSES] * 2 == [record.processes for record in store.read_records()]
