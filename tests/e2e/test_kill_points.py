"""A run killed at a thousand points: no record is lost, none comes twice, and no visit that was kept is repeated."""

import contextlib
import json
import os
import random
from collections import Counter
from statistics import median

import numpy as np
import pytest
from common import CELLS, PROCESSES, VISITS, collect, line_of

from mnbench.errors import ResultsError
from mnbench.results.store import ResultsFile, last_unfinished_arguments

SEEDS = 1000
GROUPS = 10


class Killed(BaseException):
    """The process is gone."""


class Life:
    """Each visit, and each call that changes the disk, is a step; the process dies before, amid or after its last.

    The dead do nothing: what Python would clean up stays as it is.
    """

    def __init__(self):
        self.left = 10**9
        self.draw = random.Random(0)

    def begin(self, steps, draw):
        """A new process, with so many steps to live."""
        self.left, self.draw = steps, draw

    def step(self, work, half=None):
        """Do the work; of a life's last step all, some or none."""
        if self.left <= 0:
            raise Killed
        self.left -= 1
        if self.left:
            return work()
        for part in self.draw.choice([[], [half or work], [work]]):
            part()
        raise Killed


class Torn:
    """A file of which a kill leaves some beginning."""

    def __init__(self, file, life):
        self.file, self.life = file, life
        self.flush, self.fileno = file.flush, file.fileno

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        some = self.life.draw.randrange(len(data))
        self.life.step(lambda: self.file.write(data), lambda: self.file.write(data[:some]))


@pytest.fixture
def life(monkeypatch):
    """The life of this process; locks are the system's, which takes them from the dead."""
    life = Life()

    def stepwise(name):
        original = getattr(os, name)

        def call(*arguments, **settings):
            if str(arguments[0]).endswith("lock"):
                return original(*arguments, **settings)
            return life.step(lambda: original(*arguments, **settings))

        monkeypatch.setattr(os, name, call)

    monkeypatch.setattr(os, "fsync", lambda _: None)  # a kill, unlike a power failure, loses nothing written
    for name in ("fsync", "ftruncate", "replace", "unlink", "mkdir", "rmdir"):
        stepwise(name)
    pwrite, fdopen = os.pwrite, os.fdopen

    def torn_pwrite(file, data, start):
        some = life.draw.randrange(len(data)) if data else 0
        return life.step(lambda: pwrite(file, data, start), lambda: pwrite(file, data[:some], start))

    def torn_fdopen(number, mode, **settings):
        file = fdopen(number, mode, **settings)
        return file if "r" in mode else Torn(file, life)

    monkeypatch.setattr(os, "pwrite", torn_pwrite)
    monkeypatch.setattr(os, "fdopen", torn_fdopen)
    return life


@pytest.fixture
def attempt(plan, make_sample, life):
    """One process that starts or continues the run in that store; every trial, listed in `trials`, is another."""

    def run(store, trials):
        def sample(case):
            trials.append(case.variant)
            return make_sample([100_000 + len(trials)] * 100)

        def measure(_plan, cases, _seed):
            return life.step(lambda: {case.row.id: sample(case) for case in cases})

        opened = store.open_run(plan.id, arguments=["run"])
        collect(plan, store, opened, measure=measure)
        opened.finish()

    return run


def medians_kept(store):
    """The median of each kept visit, by cell."""
    stored = {cell: [] for cell in CELLS}
    for path in store.raw_folder.glob("*/*.npz"):
        with np.load(path) as arrays:
            stored[path.name.rsplit(".", 2)[0]].append(int(np.median(arrays["latencies_ns"])))
    return stored


def over(store):
    """Whether nothing is left to be continued."""
    with contextlib.suppress(ResultsError):
        return not last_unfinished_arguments(store.folder)
    return bool(store.read_records()[1:])


def steps_of(attempt, store, life):
    """How many steps a whole run has."""
    life.begin(10**6, random.Random(0))
    attempt(store, [])
    return 10**6 - life.left


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_a_run_killed_anywhere_and_continued_is_whole(attempt, life, tmp_path, make_record, group):
    """A hundred times: killed one to four times at random points, amid a write too, a run ends as if it never was."""
    before = make_record(run="before")
    old = line_of(before)
    steps = steps_of(attempt, ResultsFile(tmp_path / "whole", "cpu"), life)
    for seed in range(group, SEEDS, GROUPS):
        draw = random.Random(seed)
        store, result, kills = ResultsFile(tmp_path / str(seed), "cpu"), [], 0
        life.begin(10**6, draw)
        store.folder.mkdir()
        store.path.write_bytes(draw.choice([old, old[:-1], old + old[: draw.randrange(1, len(old) - 1)]]))
        for left in [*(draw.randint(1, steps) for _ in range(draw.randint(1, 4))), 10**6]:
            life.begin(left, draw)
            try:
                attempt(store, result)
            except Killed:
                kills += 1
            life.begin(10**6, draw)
            if over(store):
                break
        stored = medians_kept(store)
        first, *records = store.read_records()

        assert (seed, before) == (seed, first)
        assert (seed, dict.fromkeys(CELLS, 1)) == (seed, Counter(record.variant for record in records))
        assert (seed, 1) == (seed, len({record.run for record in records}))
        lines = store.path.read_bytes().splitlines()
        assert (seed, ["run" in json.loads(line) for line in lines]) == (seed, [True] * (1 + len(CELLS)))
        # Only trials that were not stored yet are repeated: for each kill at most those of one process.
        assert (seed, [PROCESSES] * 2) == (seed, [len(stored[cell]) for cell in CELLS])
        assert (seed, True) == (seed, VISITS <= len(result) <= VISITS + len(CELLS) * kills)
        assert (seed, {cell: median(stored[cell]) for cell in CELLS}) == (
            seed,
            {record.variant: record.latency_ns.median for record in records},
        )


@pytest.mark.slow
def test_every_single_step_may_be_the_last(attempt, life, tmp_path):
    """Killed at each step in turn, before it, amid it and after it, a run is continued to the same end."""
    steps = steps_of(attempt, ResultsFile(tmp_path / "whole", "cpu"), life)

    assert steps > 4 * VISITS
    for last in range(1, steps + 1):
        for choice in range(3):
            store, result = ResultsFile(tmp_path / f"{last}-{choice}", "cpu"), []
            draw = random.Random(last)
            draw.choice = lambda parts, choice=choice: parts[choice]
            life.begin(last, draw)
            with contextlib.suppress(Killed):
                attempt(store, result)
            life.begin(10**6, draw)
            if len(store.read_records()) < len(CELLS) or any(store.raw_folder.glob("*/arguments.json")):
                attempt(store, result)

            assert (last, choice, sorted(CELLS)) == (
                last,
                choice,
                sorted(record.variant for record in store.read_records()),
            )
            assert (last, choice, VISITS) == (last, choice, sum(map(len, medians_kept(store).values())))
            assert (last, choice, True) == (last, choice, len(result) <= VISITS + len(CELLS))
