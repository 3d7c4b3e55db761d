"""The schedule of a trial, with clocks that stand still but for runs: rows, slices, turns and warm-up."""

# ruff: noqa: SIM300  expected == actual

from itertools import groupby
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench.worker.requests.trial import RUN_COLUMNS, draw_turns, time_rows

PROTOCOL = {"slices": 1, "slice_ns": 0, "min_turns": 1, "warmup_ns": 0, "min_settle_ns": 0, "max_settle_ns": 0}


class FakeTime:
    """Runs that take a fixed time, of which the thread works half, and a list of what happened."""

    def __init__(self):
        self.now = 10**15
        self.events = []

    def session(self, index, latency_ns):
        """A session as `time_rows` takes it: its run, and its expected latency."""

        def run():
            self.events.append(index)
            self.now += latency_ns

        return run, latency_ns

    def time(self, rows, *, seed=0, **protocol):
        """Time rows of sessions with these latencies, numbered in order; return the columns as arrays."""
        numbered, first = {}, 0
        for latencies_ns in rows:
            indices = tuple(range(first, first + len(latencies_ns)))
            numbered[indices] = [self.session(*item) for item in zip(indices, latencies_ns, strict=True)]
            first += len(latencies_ns)
        columns = time_rows(
            numbered,
            draw=Random(seed),
            on_slice=lambda row: self.events.append(tuple(row)),
            clock=lambda: self.now,
            cpu_clock=lambda: self.now // 2,
            **PROTOCOL | protocol,
        )
        assert RUN_COLUMNS == tuple(columns)
        return {name: np.array(values) for name, values in columns.items()}

    @property
    def slices(self):
        """Each slice as its row, and the sessions that ran from then on."""
        result = []
        for event in self.events:
            if isinstance(event, tuple):
                result.append((event, []))
            else:
                result[-1][1].append(event)
        return result


rows_of_latencies = st.integers(1, 3).flatmap(
    lambda sides: st.lists(
        st.lists(st.integers(2, 5000).map(lambda half_ns: 2 * half_ns), min_size=sides, max_size=sides),
        min_size=1,
        max_size=6,
    )
)


@given(
    rows_of_latencies,
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(0, 20_000),
    st.integers(0, 3000),
    st.integers(0, 99),
)
def test_every_timed_run_is_recorded_and_no_other(rows, slices, min_turns, slice_ns, warmup_ns, seed):
    """Each has its session, slice and times; what warms up and settles has none."""
    time = FakeTime()
    columns = time.time(rows, seed=seed, slices=slices, min_turns=min_turns, slice_ns=slice_ns, warmup_ns=warmup_ns)
    latencies_ns = np.array([ns for row in rows for ns in row])
    timed = []
    for row, events in time.slices:
        warm_up = [index for index in row for _ in range(-(-warmup_ns // latencies_ns[index]))]
        assert warm_up == events[: len(warm_up)]
        timed += events[len(warm_up) :]

    assert timed == columns["session"].tolist()
    assert latencies_ns[columns["session"]].tolist() == columns["latency_ns"].tolist()
    assert (columns["latency_ns"] // 2).tolist() == columns["cpu_ns"].tolist()
    assert set(range(len(latencies_ns))) == set(columns["session"].tolist())
    assert (np.diff(columns["slice"]) >= 0).all()


@given(rows_of_latencies, st.integers(1, 6), st.integers(1, 20_000), st.integers(0, 99))
def test_rows_are_visited_once_a_slice_in_random_order(rows, slices, slice_ns, seed):
    """No row is timed again before all that have time left were; a row's time is never exceeded by a slice or more."""
    time = FakeTime()
    columns = time.time(rows, seed=seed, slices=slices, slice_ns=slice_ns)
    visits = [
        (number, session // len(rows[0]))
        for number, session in zip(columns["slice"].tolist(), columns["session"].tolist(), strict=True)
    ]
    visits = [visit for visit, _ in groupby(visits)]

    assert len(set(visits)) == len(visits) == len(time.slices)
    assert set(range(len(rows))) == {row for number, row in visits if number == 0}
    for row, latencies_ns in enumerate(rows):
        numbers = [number for number, visited in visits if visited == row]
        assert list(range(len(numbers))) == numbers
        lasts_ns = max(1, slice_ns // sum(latencies_ns)) * sum(latencies_ns)
        assert min(slices, -(-slices * slice_ns // lasts_ns)) == len(numbers)


def test_the_order_of_rows_is_drawn_for_each_slice():
    """And the same seed gives the same schedule."""

    def schedule(seed):
        time = FakeTime()
        time.time([[100]] * 8, seed=seed, slices=6, slice_ns=100)
        return [row for row, _ in time.slices]

    rounds = [tuple(schedule(1)[start : start + 8]) for start in range(0, 48, 8)]

    assert 6 == len(set(rounds))
    assert schedule(1) == schedule(1) != schedule(2)


def test_a_slow_row_has_fewer_slices_and_a_fast_one_all():
    """Six slices of 60 ms: a row whose least slice takes 180 ms has two of them."""
    time = FakeTime()
    columns = time.time([[10**6], [60 * 10**6]], slices=6, slice_ns=60 * 10**6, min_turns=3)
    numbers = {row: sorted(set(columns["slice"][columns["session"] == row].tolist())) for row in (0, 1)}

    assert {0: [0, 1, 2, 3, 4, 5], 1: [0, 1]} == numbers
    assert [360, 6] == np.bincount(columns["session"]).tolist()


def test_a_slice_lasts_as_long_as_it_should_by_the_runs_that_warm_up():
    """The expected latency may be that of a cold run; what counts is the fastest run of the warm-up."""
    time = FakeTime()
    run, _ = time.session(0, 1000)
    columns = time_rows(
        {(0,): [(run, 50_000)]},
        draw=Random(0),
        on_slice=lambda _: None,
        clock=lambda: time.now,
        cpu_clock=lambda: 0,
        **PROTOCOL | {"slice_ns": 60_000, "warmup_ns": 5000},
    )

    assert 60 == len(columns["session"])
    assert 5 + 60 == len(time.events)


def test_the_processor_settles_once():
    """Before the first slice alone, with its row's first session; at least two blocks."""
    time = FakeTime()
    time.time([[100, 100]] * 3, slices=2, slice_ns=200, max_settle_ns=10**6, min_settle_ns=500, warmup_ns=100)
    (row, events), *others = time.slices

    assert [row[0]] * 10 + [*row] == events[:12]
    assert 14 == len(events)
    assert [4] * 5 == [len(events) for _, events in others]


def test_without_time_to_settle_and_warm_up_there_are_only_timed_runs():
    """As an emulated processor is measured: one run."""
    time = FakeTime()
    time.time([[10**9]])

    assert [(0,), 0] == time.events


def test_no_rows_have_no_runs():
    """All sessions failed."""
    assert [0] * 4 == [values.size for values in FakeTime().time([]).values()]


@given(st.integers(1, 4), st.integers(0, 60), st.integers(0, 99))
def test_turns(sides, turns, seed):
    """Each session runs once a turn, in the row's cyclic order, and each is first equally often, but for one turn."""
    row = range(7, 7 + sides)
    order = draw_turns(row, turns, Random(seed))
    by_turn = np.array(order, int).reshape(turns, sides)
    first = [np.count_nonzero(by_turn[:, :1] == session) for session in row]

    assert (np.sort(by_turn, axis=1) == np.array(row)).all()
    assert max(first) - min(first) <= 1
    assert turns == sum(first)
    assert ((np.diff(by_turn, axis=1) - 1) % sides == 0).all()


@pytest.mark.parametrize("turns", [6, 7])
def test_the_order_of_turns_is_drawn(turns):
    """Which side is first, and which is so once more, is chance."""
    draw = Random(0)
    orders = {tuple(draw_turns((0, 1), turns, draw)[::2]) for _ in range(200)}

    assert len(orders) > 10
    assert turns % 2 + 1 == len({sum(order) for order in orders})
