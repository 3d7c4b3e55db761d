"""Cases on a fleet whose boards come and go by a script: no Dask, no process, no clock."""

# ruff: noqa: SIM300  expected == actual

import pickle
from collections import Counter
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from common import CELLS, PROCESSES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.bench.case_sampling import DeviceRun
from mnbench.bench.fleet import Board, decode_result, measure_case, run_on_fleet, source_fingerprint
from mnbench.errors import UnreachableError
from mnbench.results.store import ResultsFile
from mnbench.targets.answers import CaseAnswer

PI = frozenset({"pi"})
X86 = frozenset({"x86"})


class ScriptedFleet:
    """A fleet in which one event happens at each wait; with none left, cases end well.

    An event ends the case of a board, with a result of its own or a good one, kills a board or starts it again.
    """

    def __init__(self, trial, boards, events=()):
        self.trial, self.events = trial, list(events)
        self.known = {name: Board(name, name, devices) for name, devices in boards.items()}
        self.alive, self.cases, self.measured = set(boards), {}, Counter()

    def boards(self):
        return [self.known[name] for name in sorted(self.alive)]

    def start(self, board, plan, case):
        assert board not in self.cases
        assert plan.device.name in board.devices
        self.cases[board] = (plan.device.name, case.variant)

    def cancel(self, board):
        self.cases.pop(board)

    def wait_for_results(self, _timeout_s):
        if not self.events and not self.cases:
            return []
        event, name = self.events.pop(0) if self.events else ("end", next(iter(self.cases)).name)
        board = self.known[name]
        if event == "kill":
            self.alive.discard(name)
        elif event == "start" and name not in self.alive:
            self.known[name] = board._replace(address=board.address + "'")
            self.alive.add(name)
        elif board in self.cases and name in self.alive:
            self.measured[self.cases.pop(board)] += 1
            return [(board, event if isinstance(event, CaseAnswer) else CaseAnswer(trials=[self.trial] * PROCESSES))]
        return []


@pytest.fixture
def make_runs(make_plan, make_device):
    """Return a run for each device, of the same two cases, in a results folder."""

    def make(folder, *names):
        runs = []
        for name in names:
            plan = make_plan(*CELLS, device=make_device(name=name), processes=PROCESSES)
            store = ResultsFile(Path(folder) / "results", name)
            runs.append(DeviceRun(plan=plan, results_file=store, folder=store.open_run(plan.id)))
        return runs

    return make


def run(runs, fleet):
    """Return the messages, and why devices were lost; a second passes at each look at the clock."""
    messages, clock = [], count()
    failures = run_on_fleet(
        runs, fleet, on_process=lambda *_: None, on_message=messages.append, clock=lambda: next(clock)
    )
    return messages, {device: failure.message for device, failure in failures.items()}


@pytest.mark.slow
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_every_case_is_measured_once_whatever_boards_do(make_runs, make_sample, data):
    """Boards die and come back at any moment: each case has one record, of its device."""
    boards = {"one": PI, "two": PI, "three": X86, "four": PI | X86}
    event = st.tuples(st.sampled_from(["end", "end", "kill", "start"]), st.sampled_from(sorted(boards)))
    events = data.draw(st.lists(event, max_size=40))
    fleet = ScriptedFleet(make_sample(), boards, [*events, *(("start", name) for name in boards)])
    with TemporaryDirectory() as folder:
        runs = make_runs(folder, "pi", "x86")
        _, failures = run(runs, fleet)
        records = [record for run in runs for record in run.results_file.read_records()]

    assert {} == failures
    assert sorted((record.device, record.variant) for record in records) == sorted(
        (device, case) for device in ("pi", "x86") for case in CELLS
    )
    assert {PROCESSES} == {record.processes for record in records}
    assert 4 == fleet.measured.total()


def test_the_case_of_a_lost_board_is_repeated(make_runs, make_sample, tmp_path):
    """The board is named; no record is missing."""
    fleet = ScriptedFleet(make_sample(), {"one": PI}, [("end", "one"), ("kill", "one"), ("start", "one")])
    (device_run,) = make_runs(tmp_path, "pi")

    assert (["board one is lost"], {}) == run([device_run], fleet)
    assert [PROCESSES] * 2 == [record.processes for record in device_run.results_file.read_records()]


def test_a_case_that_fails_costs_its_record_alone(make_runs, make_sample, tmp_path):
    """The record holds the error; the board goes on."""
    failed = CaseAnswer(trials=[make_sample()], case_error="its outputs differ")
    fleet = ScriptedFleet(make_sample(), {"one": PI}, [(failed, "one")])
    (device_run,) = make_runs(tmp_path, "pi")

    assert ([], {}) == run([device_run], fleet)
    assert {"its outputs differ", None} == {record.error for record in device_run.results_file.read_records()}


def test_another_board_measures_for_one_that_cannot(make_runs, make_sample, tmp_path):
    """A board without the runtime is refused, and its case goes to the other board."""
    fleet = ScriptedFleet(make_sample(), {"one": PI, "two": PI}, [(CaseAnswer(board_error="no runtime"), "one")])
    (device_run,) = make_runs(tmp_path, "pi")

    assert (["device pi: no runtime"], {}) == run([device_run], fleet)
    assert [None, None] == [record.error for record in device_run.results_file.read_records()]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (CaseAnswer(board_error="no runtime"), "device pi: no runtime"),
        ("kill", "device pi: no board of the fleet is left for it"),
    ],
)
def test_a_device_without_boards_is_lost_with_the_reason(make_runs, make_sample, tmp_path, monkeypatch, event, reason):
    """The other device is measured."""
    monkeypatch.setattr("mnbench.bench.fleet.BOARD_TIMEOUT_S", 3)
    fleet = ScriptedFleet(make_sample(), {"one": PI, "two": X86}, [(event, "one")])
    runs = make_runs(tmp_path, "pi", "x86")

    assert {"pi": reason} == run(runs, fleet)[1]
    assert [0, 2] == [len(run.results_file.read_records()) for run in runs]


def test_a_lost_scheduler_leaves_what_was_measured(make_runs, make_sample, tmp_path):
    """The run ends with its error; the next one measures the cases that have no record."""
    fleet = ScriptedFleet(make_sample(), {"one": PI})
    boards, looks = fleet.boards, iter(range(1))

    def lost_boards():
        if next(looks, None) is None:
            raise UnreachableError("the scheduler is gone", hint="start it again")
        return boards()

    fleet.boards = lost_boards
    with pytest.raises(UnreachableError, match="scheduler is gone"):
        run(make_runs(tmp_path, "pi"), fleet)
    fleet.boards = boards
    fleet.cases.clear()
    (device_run,) = make_runs(tmp_path, "pi")
    run([device_run], fleet)

    assert [PROCESSES] * 2 == [record.processes for record in device_run.results_file.read_records()]
    assert 2 == len({record.variant for record in device_run.results_file.read_records()})


def test_model_larger_than_2_gb(make_cell, make_plan, monkeypatch):
    """Its data is not on the board: the case fails, and the board stays in use."""
    distributed = pytest.importorskip("distributed", reason="there is no Dask")
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(name="one", local_directory=None))
    case = make_cell(data_bytes=2**31)
    answer = measure_case(source_fingerprint(), pickle.dumps((make_plan(), case, b"graph", b"inputs")))
    result = decode_result("one", answer)

    assert "larger than 2 GB" in result.case_error
    assert not result.board_error
