"""The timed loop of a worker: the runs that are timed, and those that warm up."""

# ruff: noqa: SIM300  expected == actual

import gc
from itertools import count

import pytest

from mnbench.worker.timing import time_runs, time_sequence, warm_up


class FakeTime:
    """Clocks that stand still but for runs, which take what the script says; this thread works half of that."""

    def __init__(self, *durations):
        self.now = 10**15
        self.durations = iter(durations)
        self.runs = 0

    def clock(self):
        """What the time is."""
        return self.now

    def cpu_clock(self):
        """How long this thread has worked."""
        return self.now // 2

    def run(self):
        """One run."""
        self.runs += 1
        self.now += next(self.durations)

    def timed(self, **minima):
        """The latencies of timed runs."""
        return time_runs(self.run, **minima, clock=self.clock, cpu_clock=self.cpu_clock).latencies_ns


# The timed loop


def test_runs_until_the_number_of_runs_is_met():
    """Where the time is short, the number of runs decides."""
    time = FakeTime(*[7, 5, 3, 9])

    assert [7, 5, 3, 9] == time.timed(min_runs=4, min_duration_ns=1)


def test_runs_until_the_time_is_up():
    """Where runs are few, the time decides: the run that reaches it is the last."""
    time = FakeTime(*[10] * 100)

    assert [10] * 10 == time.timed(min_runs=1, min_duration_ns=100)
    assert 10 == time.runs


def test_the_time_must_be_reached_and_not_approached():
    """One nanosecond short of the time takes one more run."""
    time = FakeTime(*[10] * 100)

    assert [10] * 11 == time.timed(min_runs=1, min_duration_ns=101)


def test_both_minima_must_be_met():
    """Neither many runs nor a long time alone ends the loop."""
    slow, fast = FakeTime(*[1000] * 5), FakeTime(*[1] * 50)

    assert 5 == len(slow.timed(min_runs=5, min_duration_ns=1000))
    assert 50 == len(fast.timed(min_runs=5, min_duration_ns=50))


def test_there_is_always_one_run():
    """With both minima at zero, one run is timed."""
    time = FakeTime(4)

    assert [4] == time.timed(min_runs=0, min_duration_ns=0)


def test_each_run_has_its_latency_and_its_work():
    """The wall's clock tells latencies, the thread's own clock what it worked, run by run."""
    time = FakeTime(10, 30, 20)
    runs = time_runs(time.run, min_runs=3, min_duration_ns=0, clock=time.clock, cpu_clock=time.cpu_clock)

    assert ([10, 30, 20], [5, 15, 10]) == (runs.latencies_ns, runs.cpu_ns)


def test_only_the_run_is_between_the_clock_readings():
    """Of each latency the clock is read once before and once after; the thread's clock is read outside those."""
    calls = []
    ticks = count()

    def read(name):
        calls.append(name)
        return next(ticks)

    time_runs(
        lambda: calls.append("run"),
        min_runs=3,
        min_duration_ns=0,
        clock=lambda: read("clock"),
        cpu_clock=lambda: read("cpu"),
    )

    assert ["clock", *["cpu", "clock", "run", "clock", "cpu"] * 3] == calls


@pytest.fixture
def collecting():
    """Garbage collection as it was, after the test."""
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("enabled", [True, False], ids=["on", "off"])
def test_garbage_collection_is_off_while_timing_and_as_before_afterwards(enabled):
    """No collection falls into a latency; afterwards it is on where it was on."""
    (gc.enable if enabled else gc.disable)()
    during = []
    time_runs(lambda: during.append(gc.isenabled()), min_runs=2, min_duration_ns=0)

    assert [False, False] == during
    assert enabled == gc.isenabled()


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_garbage_collection_is_restored_when_a_run_fails(error):
    """A run that raises ends the loop, and garbage collection is on again."""
    gc.enable()

    def run():
        raise error

    with pytest.raises(error):
        time_runs(run, min_runs=2, min_duration_ns=0)
    assert gc.isenabled()


def test_a_sequence_is_timed_in_its_order():
    """Each run once, whatever it is."""
    time = FakeTime(10, 30, 20)
    timings = time_sequence([time.run] * 3, clock=time.clock, cpu_clock=time.cpu_clock)

    assert ([10, 30, 20], [5, 15, 10]) == (timings.latencies_ns, timings.cpu_ns)


# The warm-up


def warmed_up(*durations, min_duration_ns=20, max_duration_ns=10**6):
    """The number of warm-up runs of a script."""
    time = FakeTime(*durations)
    limits = {"min_duration_ns": min_duration_ns, "max_duration_ns": max_duration_ns}
    warm_up(time.run, **limits, clock=time.clock, cpu_clock=time.cpu_clock)
    return time.runs


def test_a_warm_up_has_two_blocks_at_least():
    """The first block alone cannot tell whether runs still get faster."""
    assert 4 == warmed_up(*[10] * 100)


def test_a_warm_up_goes_on_while_runs_get_faster():
    """Blocks follow each other until one is hardly faster than the one before."""
    assert 4 == warmed_up(1000, 500, 400, 393, *[100] * 100)


@pytest.mark.parametrize(("second", "blocks"), [(980, 3), (981, 2), (1000, 2), (2000, 2)])
def test_a_warm_up_has_settled_when_a_block_takes_over_98_percent_of_the_one_before(second, blocks):
    """A block faster by 2 % asks for another; one that is hardly faster, or slower, ends the warm-up."""
    assert blocks == warmed_up(1000, *[second] * 4)


def test_one_slow_run_does_not_prolong_a_warm_up():
    """Medians of blocks are compared: a first run that was slow is no sign of runs that get faster."""
    assert 6 == warmed_up(30, 10, 10, 10, *[20] * 100, min_duration_ns=50)


def test_a_warm_up_that_never_settles_ends_at_its_limit():
    """Runs that get faster without end are warmed up until the limit is reached, in whole blocks."""
    halving = [2**exponent for exponent in range(40, 0, -1)]

    for limit, runs in ((sum(halving[:3]), 3), (sum(halving[:3]) + 1, 4)):
        assert runs == warmed_up(*halving, min_duration_ns=0, max_duration_ns=limit)


def test_blocks_of_a_warm_up_last_long_enough():
    """Short runs are many to a block: each block has its time."""
    assert 20 == warmed_up(*[10] * 100, min_duration_ns=100)


def test_a_block_of_a_warm_up_is_never_cut_short():
    """A first block that takes longer than the limit is whole, and the last."""
    assert 2 == warmed_up(*[10**9] * 10, min_duration_ns=2 * 10**9, max_duration_ns=10)
