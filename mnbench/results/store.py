"""Results on disk: `<device>.jsonl`, an append-only file of records, and the raw results of each trial under `raw/`."""

import json
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from glob import escape
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.array_files import read_arrays
from mnbench.errors import FileError, MnbenchError, ResultsError, first_line
from mnbench.json_files import BROKEN_DATA, read_json
from mnbench.regular_files import open_regular
from mnbench.results.npz_archive import read_archive, write_archive
from mnbench.results.record import SCHEMA, Record
from mnbench.results.trial_result import TrialResult, decode_latencies, decode_trial
from mnbench.results.upgrade import upgrade

ARGUMENTS = "arguments.json"
NOT_REPEATED = frozenset({"--resume", "--trust"})
"""Arguments that no run stores: a file with them is not of mnbench."""

RECORD_START = b'{"schema"'
NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Links are not followed, and a pipe is not waited for."""

MERGE_MARKS = (b"<<<<<<<", b"|||||||", b"=======", b">>>>>>>")
SHARED_FACTS = ("host", "gpu", "session", "runtime", "placement", "issues")
"""The fields of a record that are equal in many."""

GITIGNORE = ".gitignore"
WRITTEN_FOLDERS = ("raw", "graphs", "studies")
"""The folders of a results folder that mnbench writes to."""

BEGINNING_S = 60.0
"""An empty folder of a run that is younger may be another process's."""


class ResultsFile:
    """The records of one device in a results folder."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self.path = folder / f"{device}.jsonl"
        self.raw_folder = folder / "raw"

    def append(self, record: Record) -> None:
        """Append a record. It is on disk when this returns; on failure, the file does not change.

        Raises:
            FileError: no space, no permission, or the file is a link, a pipe or a device.
            ResultsError: the record, or the last line of the file, could not be read back.
        """
        line = msgspec.json.encode(record)
        _record(self.path, 0, line)
        try:
            self.raw_folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.raw_folder / f"{self.path.stem}.lock"):
                _append(self.path, line + b"\n")
        except OSError as failure:
            raise atomic_files.write_error(self.path, failure) from failure

    def read_records(self) -> list[Record]:
        """Return all complete records, oldest first. A half-written last line (a crash, a full disk) is left out.

        Raises:
            FileError: the file cannot be read.
            ResultsError: a line is corrupt, or was written by a newer mnbench.
        """
        try:
            with open_regular(self.path) as file:
                return parse_records(self.path, file)
        except FileNotFoundError:
            return []

    def open_run(self, plan_id: str, *, fresh: bool = False, arguments: Sequence[str] = ()) -> "RunFolder":
        """Return the last unfinished run of a plan that no other process holds, or else a new run.

        With `fresh`, finish the unfinished runs instead. `arguments` are stored with a new run until it is finished:
        `last_unfinished_arguments` returns them.
        """
        recorded = self.read_records()
        refuse_links(self.folder)
        try:
            for folder in _unfinished(self.raw_folder, f"*-{plan_id}"):
                run = RunFolder(folder, {record.row.id for record in recorded if record.run == folder.name})
                if not run.try_lock():
                    continue
                if not fresh:
                    return run
                run.finish()
                run.unlock()
            folder = new_run_folder(self.raw_folder, plan_id)
            atomic_files.write_atomically(folder / ARGUMENTS, json.dumps(arguments).encode(), durable=False)
            run = RunFolder(folder, set())
            run.try_lock()
        except OSError as failure:
            raise atomic_files.write_error(self.raw_folder, failure) from failure
        return run


def refuse_links(results: Path) -> None:
    """Refuse a results folder that leads elsewhere, or in which a folder does: a repository can hold links.

    Raises:
        FileError: there is such a link.
    """
    for folder in (results, *(results / name for name in WRITTEN_FOLDERS), *results.glob("studies/*")):
        if folder.is_symlink():
            hint = "remove the link; or name the folder that it leads to: --results FOLDER"
            raise FileError(f"{folder}: is a link to {os.readlink(folder)}", hint=hint)  # noqa: PTH115  as it is written


def new_run_folder(raw_folder: Path, suffix: str) -> Path:
    """Create a folder that is named after the time and this suffix, in a folder that git ignores.

    Raises:
        FileError: `results/` or a folder in it is a link.
        OSError: no permission.
    """
    refuse_links(raw_folder.parent)
    raw_folder.mkdir(parents=True, exist_ok=True)
    _remove_empty_runs(raw_folder)
    for attempt in count():
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S") + (f".{attempt}" if attempt else "")
        with suppress(FileExistsError):
            folder = raw_folder / f"{started}-{suffix}"
            folder.mkdir()
            _ignore_in_git(raw_folder)
            return folder
    raise AssertionError


def _remove_empty_runs(raw_folder: Path) -> None:
    """Remove the folders of runs that were killed before they stored anything."""
    for folder in raw_folder.iterdir():
        with suppress(OSError):
            if datetime.now(UTC).timestamp() - folder.lstat().st_mtime > BEGINNING_S:
                folder.rmdir()


def _ignore_in_git(raw_folder: Path) -> None:
    """Write a .gitignore of all files, unless there is one; a folder without it works as well."""
    with suppress(OSError), (raw_folder / GITIGNORE).open("x", encoding="utf-8") as file:
        file.write("# Written by mnbench.\n*\n")


def remove_unused(raw_folder: Path) -> None:
    """Remove `results/raw` if it holds no run, and then `results` if it holds nothing."""
    with suppress(OSError):
        if [path.name for path in raw_folder.iterdir()] == [GITIGNORE]:
            (raw_folder / GITIGNORE).unlink()
        raw_folder.rmdir()
        raw_folder.parent.rmdir()


def parse_records(path: Path, lines: Iterable[bytes]) -> list[Record]:
    """Return the records in the lines of a file. A last line without its end is left out if a record begins so.

    Raises:
        ResultsError: a line is corrupt, or was written by a newer mnbench.
    """
    shared: dict[bytes, Any] = {}
    return [
        _share_facts(upgrade(_record(path, number, line)), shared)
        for number, line in enumerate(lines, 1)
        if line.strip() and (line.endswith(b"\n") or not _is_torn(line))
    ]


def _share_facts(record: Record, shared: dict[bytes, Any]) -> Record:
    """Return the record with the equal facts of records before it: thousands are of one host."""
    for name in SHARED_FACTS:
        value = getattr(record, name)
        msgspec.structs.force_setattr(record, name, shared.setdefault(msgspec.json.encode(value), value))
    return record


def last_unfinished_arguments(results: Path) -> list[str]:
    """Return the arguments of the last unfinished run, on any device, that no process holds.

    Raises:
        ResultsError: there is none.
    """
    for folder in _unfinished(results / "raw", "*"):
        run = RunFolder(folder, set())
        if run.try_lock():
            run.unlock()
            with suppress(FileNotFoundError, MnbenchError):
                arguments = read_json(folder / ARGUMENTS, list[str])
                if not NOT_REPEATED.intersection(arguments):
                    return arguments
    raise ResultsError(f"{results}: there is no unfinished run", hint="start one: mnbench run v1")


def _unfinished(raw: Path, pattern: str) -> list[Path]:
    """Return the folders of unfinished runs, the last first."""
    folders = (path.parent for path in raw.glob(f"{pattern}/{ARGUMENTS}"))
    return sorted((folder for folder in folders if not folder.is_symlink()), reverse=True)


class RunFolder:
    """A run of a plan: the results of its trials, each in a file, and the ids of the rows that have a record."""

    def __init__(self, folder: Path, recorded: set[str]) -> None:
        self.path = folder
        self.recorded_rows = recorded
        self._lock = FileLock(folder / "lock", timeout=0)

    @property
    def id(self) -> str:
        """The time when the run started, and the id of its plan."""
        return self.path.name

    def try_lock(self) -> bool:
        """Lock the run for this process. Return False if another process holds it, or the lock is a link."""
        try:
            self._lock.acquire()
        except OSError:
            return False
        return True

    def unlock(self) -> None:
        """Let other processes continue this run."""
        self._lock.release()

    def finish(self) -> None:
        """Mark the run as finished: no command continues it."""
        (self.path / ARGUMENTS).unlink(missing_ok=True)

    def discard_if_empty(self) -> None:
        """Remove the run if it has no trials, and the folders above it if they are empty."""
        if not self.trial_count:
            self.finish()
            (self.path / "lock").unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()
            remove_unused(self.path.parent)

    def save_trial(self, row_id: str, process: int, result: TrialResult) -> None:
        """Store the result of a trial.

        Raises:
            FileError: no space, no permission.
        """
        values = msgspec.structs.asdict(result)
        arrays: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        facts = msgspec.to_builtins({name: value for name, value in values.items() if name not in arrays})
        write_archive(self.path / f"{atomic_files.file_name(row_id)}.{process}.npz", arrays, facts)

    def load_trials(self, row_id: str) -> dict[int, TrialResult]:
        """Return the stored results of a row that can be read, by process, in order."""
        results: dict[int, TrialResult] = {}
        for process, path in _trial_files(self.path, row_id).items():
            with suppress(FileNotFoundError, MnbenchError, *BROKEN_DATA):
                results[process] = decode_trial(*read_archive(path))
        return results

    def delete_trials(self, row_id: str) -> None:
        for path in _trial_files(self.path, row_id).values():
            path.unlink()

    @property
    def trial_count(self) -> int:
        return sum(1 for _ in self.path.glob("*.npz"))


def _trial_files(folder: Path, row_id: str) -> dict[int, Path]:
    """Return the files of a row's trials by process, in order."""
    name = atomic_files.file_name(row_id)
    numbers = {
        path: path.name.removeprefix(f"{name}.").removesuffix(".npz") for path in folder.glob(f"{escape(name)}.*.npz")
    }
    return dict(sorted((int(number), path) for path, number in numbers.items() if number.isdecimal()))


def raw_latencies(results: Path, record: Record) -> list[NDArray[np.int64]]:
    """Return the latencies of all timed runs, in ns, an array for each process; none if none are stored."""
    latencies: list[NDArray[np.int64]] = []
    folder = results / "raw" / record.run
    # Most tables have no raw folder, and checking for it is faster than matching a pattern.
    for path in _trial_files(folder, record.row.id).values() if folder.is_dir() else ():
        with suppress(FileNotFoundError, MnbenchError, *BROKEN_DATA):
            latencies.append(decode_latencies(read_arrays(path).get("latencies_ns")))
    return latencies


def _append(path: Path, line: bytes) -> None:
    """Write the line after the last complete one, over a half-written line; restore the file on failure.

    Writes are unbuffered, so that nothing is flushed later.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | NOT_FOLLOWED, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise FileError(f"{path}: is not a regular file", hint="name another --results, or remove it")
        size = os.fstat(file).st_size
        data = os.pread(file, size, 0)
        last = data.rpartition(b"\n")[2]
        torn = _is_torn(last)
        if not torn:
            _record(path, data.count(b"\n") + 1, last)
        start = size - len(last) if torn else size
        data = line if torn else b"\n" + line
        try:
            _write(file, data, start)
            os.ftruncate(file, start + len(data))
            os.fsync(file)
        except OSError:
            _write(file, last[: size - start], start)
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


def _write(file: int, data: bytes, start: int) -> None:
    while data:
        written = os.pwrite(file, data, start)
        data, start = data[written:], start + written


def _is_torn(line: bytes) -> bool:
    """Return whether the line, which has no line end, is the beginning of a record."""
    if not (line.startswith(RECORD_START) or RECORD_START.startswith(line)):
        return False
    try:
        msgspec.json.decode(line)
    except BROKEN_DATA:
        return True
    return False


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        return msgspec.json.decode(line, type=Record)
    except BROKEN_DATA as failure:
        schema = _schema(line)
        if line.startswith(MERGE_MARKS):
            raise ResultsError(
                f"{path}: line {number} is a mark of git: a merge is unfinished",
                hint="keep the lines of both sides, and delete the marks",
            ) from failure
        if schema <= SCHEMA:
            raise ResultsError(
                f"{path}: line {number} is not a record: {first_line(failure)}",
                hint="restore the line from version control, or delete it",
            ) from failure
        raise ResultsError(
            f"{path}: line {number} has schema {schema:.9g}, this mnbench reads up to {SCHEMA}", hint="update mnbench"
        ) from failure


def _schema(line: bytes) -> float:
    try:
        return float(msgspec.json.decode(line).get("schema", 0))
    except (*BROKEN_DATA, AttributeError, TypeError, OverflowError):
        return 0
