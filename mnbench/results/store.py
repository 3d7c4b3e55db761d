"""Results on disk: `<device>.jsonl`, only ever appended to, and the raw samples of each visit under `raw/`."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from glob import escape
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from filelock import FileLock, Timeout

from mnbench import atomic_files
from mnbench.errors import ResultsError
from mnbench.results.record import SCHEMA, Record
from mnbench.results.trial_result import TrialResult

ARGUMENTS = "arguments.json"


class ResultsFile:
    """The results folder of a workspace, for one device."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self.path = folder / f"{device}.jsonl"
        self.raw_folder = folder / "raw"

    def append(self, record: Record) -> None:
        """Add a record. It is on disk when this returns; if it cannot be, the file is as it was.

        Raises:
            FileError: no space, no permission.
        """
        line = msgspec.json.encode(record) + b"\n"
        try:
            self.raw_folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.raw_folder / f"{self.path.stem}.lock"):
                _append(self.path, line)
        except OSError as failure:
            raise atomic_files.write_error(self.path, failure) from failure

    def read_records(self) -> list[Record]:
        """Every whole record, oldest first. A half-written last line, from a crash or a full disk, is left out.

        Raises:
            ResultsError: a line in the middle is corrupt, or was written by a newer mnbench.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as failure:
            raise ResultsError(
                f"{self.path}: cannot be read ({failure.strerror})", hint="name another --results"
            ) from failure
        return parse_records(self.path, data)

    def open_run(self, plan_id: str, *, fresh: bool = False, arguments: Sequence[str] = ()) -> "RunFolder":
        """The plan's last unfinished run that nobody else is at, or else a new one. `fresh` gives the unfinished up.

        `arguments` are kept with a new run until it is finished, for `unfinished`.
        """
        recorded = self.read_records()
        try:
            for folder in _unfinished(self.raw_folder, f"*-{plan_id}"):
                run = RunFolder(folder, {record.variant for record in recorded if record.run == folder.name})
                if not run.try_lock():
                    continue
                if not fresh:
                    return run
                run.finish()
                run.unlock()
            for attempt in count():
                started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S") + (f".{attempt}" if attempt else "")
                folder = self.raw_folder / f"{started}-{plan_id}"
                try:
                    folder.mkdir(parents=True)
                except FileExistsError:
                    continue
                atomic_files.write_atomically(folder / ARGUMENTS, json.dumps(arguments).encode(), durable=False)
                run = RunFolder(folder, set())
                run.try_lock()
                return run
            raise AssertionError
        except OSError as failure:
            raise atomic_files.write_error(self.raw_folder, failure) from failure


def parse_records(path: Path, data: bytes) -> list[Record]:
    """The records in the bytes of a file.

    Raises:
        ResultsError: a line in the middle is corrupt, or was written by a newer mnbench.
    """
    *lines, last = data.split(b"\n")
    return [_record(path, number, line) for number, line in enumerate([*lines, *_whole(last)], 1) if line.strip()]


def last_unfinished_arguments(results: Path) -> list[str]:
    """The arguments of the last run, on whatever device, that was not finished and that nobody is at.

    Raises:
        ResultsError: there is none.
    """
    for folder in _unfinished(results / "raw", "*"):
        run = RunFolder(folder, set())
        if run.try_lock():
            run.unlock()
            return json.loads((folder / ARGUMENTS).read_bytes())
    raise ResultsError(f"{results}: holds no unfinished run", hint="start one: mnbench run v1")


def _unfinished(raw: Path, pattern: str) -> list[Path]:
    """The folders of unfinished runs, the last first."""
    return sorted((path.parent for path in raw.glob(f"{pattern}/{ARGUMENTS}")), reverse=True)


class RunFolder:
    """One run of a plan: the samples of its visits, each in a file of its own, and which cells have their record."""

    def __init__(self, folder: Path, recorded: set[str]) -> None:
        self.path = folder
        self.recorded_variants = recorded
        self._lock = FileLock(folder / "lock", timeout=0)

    @property
    def id(self) -> str:
        """When it started and of which plan it is."""
        return self.path.name

    def try_lock(self) -> bool:
        """Keep others from continuing this run, until this process ends."""
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def unlock(self) -> None:
        """Let others continue this run."""
        self._lock.release()

    def finish(self) -> None:
        """The command that began this run is done: nobody continues it."""
        (self.path / ARGUMENTS).unlink(missing_ok=True)

    def discard_if_empty(self) -> None:
        """Of a run that found nothing, leave nothing behind."""
        if not self.trial_count:
            self.finish()
            (self.path / "lock").unlink(missing_ok=True)
            with suppress(OSError):
                for folder in (self.path, self.path.parent, self.path.parent.parent):
                    folder.rmdir()

    def save_trial(self, variant: str, process: int, sample: TrialResult) -> None:
        """Keep a visit's sample: every nanosecond, and the facts beside them.

        Raises:
            FileError: no space, no permission.
        """
        entries = {field.name: getattr(sample, field.name) for field in fields(sample)}
        arrays: dict[str, Any] = {name: value for name, value in entries.items() if isinstance(value, np.ndarray)}
        facts = {name: value for name, value in entries.items() if name not in arrays}
        packed = BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **arrays, facts=np.array(json.dumps(facts)))
        atomic_files.write_atomically(self.path / f"{variant}.{process}.npz", packed.getvalue())

    def load_trials(self, variant: str) -> dict[int, TrialResult]:
        """The samples kept of a cell that can be read, by process, in order."""
        entries: dict[int, TrialResult] = {}
        for path in self.path.glob(f"{escape(variant)}.*.npz"):
            process = path.name.removeprefix(f"{variant}.").removesuffix(".npz")
            with suppress(Exception):  # spoiled archives raise whatever zipfile, zlib and numpy raise
                entries[int(process)] = _sample(path)
        return dict(sorted(entries.items()))

    def delete_trials(self, variant: str) -> None:
        """Give up what is kept of a cell."""
        for path in self.path.glob(f"{escape(variant)}.*.npz"):
            path.unlink()

    @property
    def trial_count(self) -> int:
        """How many visits are kept."""
        return sum(1 for _ in self.path.glob("*.npz"))


def _sample(path: Path) -> TrialResult:
    with path.open("rb") as file, np.load(file) as arrays:
        entries = dict(arrays)
    facts: dict[str, Any] = json.loads(str(entries.pop("facts")))
    return TrialResult(**entries, **facts)


def _append(path: Path, line: bytes) -> None:
    """Write the line behind the last whole one, over what a crash may have left there, and put that back on failure.

    Unbuffered: nothing is left to be flushed later.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        size = os.fstat(file).st_size
        last = os.pread(file, size, 0).rpartition(b"\n")[2]
        start = size if not last or _whole(last) else size - len(last)
        data = b"\n" + line if start == size and last else line
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


def _whole(line: bytes) -> list[bytes]:
    """The line in a list, if it is a whole record that only lacks its end of line."""
    try:
        msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [line]


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        record = msgspec.json.decode(line, type=Record)
        schema = record.schema
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        schema = _schema(line)
        if schema <= SCHEMA:
            raise ResultsError(
                f"{path}: line {number} is no record: {failure}",
                hint="restore the line from version control, or delete it",
            ) from failure
    else:
        if schema <= SCHEMA:
            return record
    raise ResultsError(
        f"{path}: line {number} has schema {schema}, this mnbench reads up to {SCHEMA}", hint="update mnbench"
    )


def _schema(line: bytes) -> int:
    try:
        return int(msgspec.json.decode(line).get("schema", 0))
    except (msgspec.DecodeError, AttributeError, TypeError, ValueError):
        return 0
