"""A plan spread over a fleet, whose boards come and go as a script has it: no Dask, no process, no clock."""

# ruff: noqa: SIM300  expected == actual

from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from common import CELLS, PROCESSES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.bench.fleet import Board
from mnbench.bench.fleet_schedule import run_on_fleet
from mnbench.bench.schedule import DeviceRun
from mnbench.errors import RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.store import ResultsFile

PI = frozenset({"pi"})
X86 = frozenset({"x86"})


class Script:
    """Stands in for a fleet. `events` happen one each time that somebody waits; with none left, visits end well.

    An event ends the visit of a board, with a sample or an error, kills a board, starts it again, or does both at once.
    """

    def __init__(self, sample, boards, events=()):
        self.sample, self.events = sample, list(events)
        self.all = {name: Board(name=name, address=name, folder=f"{name}-0", devices=of) for name, of in boards.items()}
        self.alive = set(boards)
        self.visits, self.made, self.lives, self.refusals = {}, Counter(), Counter(), {}

    def boards(self):
        return [self.all[name] for name in sorted(self.alive)]

    def version_mismatch(self, board):
        return self.refusals.get(board.name, "")

    def start_trial(self, board, plan, cell):
        assert board not in self.visits
        assert plan.device.name in board.devices
        self.visits[board] = (plan.device.name, cell.variant)

    @property
    def is_busy(self):
        return bool(self.visits)

    def forget(self, board):
        self.visits.pop(board, None)

    def wait_for_trials(self, _within_s=0):
        if not self.events and not self.visits:
            return []
        what, name = self.events.pop(0) if self.events else ("end", next(iter(self.visits)).name)
        board = self.all[name]
        if what == "kill":
            self.alive.discard(name)
        elif what == "restart" or (what == "start" and name not in self.alive):
            self.lives[name] += 1
            self.all[name] = replace(board, folder=f"{name}-{self.lives[name]}")
            self.alive.add(name)
        elif board in self.visits and name in self.alive:
            self.made[self.visits.pop(board)] += 1
            return [(board, what if isinstance(what, Exception) else self.sample)]
        return []


@pytest.fixture
def make_tasks(make_plan, make_device):
    """A task for each device, of the same two cells, with a store and a run in that folder."""

    def make(folder, *names):
        tasks = []
        for name in names:
            plan = make_plan(*CELLS, device=make_device(name=name), processes=PROCESSES)
            store = ResultsFile(Path(folder) / "results", name)
            tasks.append(DeviceRun(plan=plan, results_file=store, folder=store.open_run(plan.id)))
        return tasks

    return make


def carried_out(tasks, fleet, **how):
    """Spread without waiting: what was told, and why a device is lost."""
    reported, hour = [], iter(range(10_000))
    quiet = {"on_trial": lambda *_: None, "on_message": reported.append}
    lost = run_on_fleet(tasks, fleet, **quiet, clock=lambda: next(hour), sleep=fleet.wait_for_trials, **how)
    return reported, {at: failure.message for at, failure in lost.items()}


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_every_cell_is_measured_once_whatever_boards_do(make_tasks, make_sample, data):
    """Boards die and come back at any moment: each cell has one record, of its device, whose visits one board made."""
    boards = {"one": PI, "two": PI, "three": X86, "four": PI | X86}
    event = st.tuples(st.sampled_from(["end", "end", "kill", "start", "restart"]), st.sampled_from(sorted(boards)))
    events = data.draw(st.lists(event, max_size=40))
    fleet = Script(make_sample(), boards, [*events, *(("start", name) for name in boards)])
    with TemporaryDirectory() as folder:
        tasks = make_tasks(folder, "pi", "x86")
        _, lost = carried_out(tasks, fleet)
        records = [record for task in tasks for record in task.results_file.read_records()]

    assert {} == lost
    assert sorted((record.device, record.variant) for record in records) == sorted(
        (device, cell) for device in ("pi", "x86") for cell in CELLS
    )
    assert {PROCESSES} == {record.processes for record in records}
    for record in records:
        assert record.device in boards[record.host["board"]]


def test_boards_share_the_cells(make_tasks, make_sample, tmp_path):
    """Two boards of a device work at once, each on a cell of its own; no visit is made twice."""
    fleet = Script(make_sample(), {"one": PI, "two": PI})
    (task,) = tasks = make_tasks(tmp_path, "pi")
    reported, lost = carried_out(tasks, fleet)

    assert ([], {}) == (reported, lost)
    assert {("pi", cell): PROCESSES for cell in CELLS} == fleet.made
    assert {"one", "two"} == {record.host["board"] for record in task.results_file.read_records()}


@pytest.mark.parametrize("death", [("kill", "start"), ("restart",)], ids=["seen", "unseen"])
def test_visits_of_a_lost_board_are_made_again(make_tasks, make_sample, tmp_path, death):
    """What a board had measured before it died is not mixed with another's, even where it comes back by its name."""
    fleet = Script(make_sample(), {"one": PI}, [("end", "one")] * 3 + [(what, "one") for what in death])
    (task,) = tasks = make_tasks(tmp_path, "pi")
    reported, lost = carried_out(tasks, fleet)

    assert (["board one is lost"], {}) == (reported, lost)
    assert 2 * PROCESSES + 3 == fleet.made.total()
    assert [PROCESSES] * 2 == [record.processes for record in task.results_file.read_records()]


def test_a_model_that_fails_costs_its_cell(make_tasks, make_sample, tmp_path):
    """A board that measures wrong answers is no reason to leave the board."""
    error = TrialError("its outputs differ", hint="")
    fleet = Script(make_sample(), {"one": PI}, [(error, "one")])
    (task,) = tasks = make_tasks(tmp_path, "pi")
    reported, lost = carried_out(tasks, fleet)

    assert ([], {}) == (reported, lost)
    assert {"its outputs differ", None} == {record.error for record in task.results_file.read_records()}


@pytest.mark.parametrize("kind", [RuntimeUnavailable, UnreachableError])
def test_a_board_that_cannot_measure_is_left_to_others(make_tasks, make_sample, tmp_path, kind):
    """Without a runtime there, another board of the device measures all."""
    fleet = Script(make_sample(), {"one": PI, "two": PI}, [(kind("no runtime", hint=""), "one")])
    (task,) = tasks = make_tasks(tmp_path, "pi")
    reported, lost = carried_out(tasks, fleet)

    assert (["device pi: no runtime"], {}) == (reported, lost)
    assert ["two", "two"] == [record.host["board"] for record in task.results_file.read_records()]


def test_a_device_without_boards_is_lost_with_the_reason(make_tasks, make_sample, tmp_path):
    """Patience has an end: one device is lost, with what its last board said; the other is measured."""
    fleet = Script(make_sample(), {"one": PI, "two": X86})
    fleet.refusals = {"one": "board one has another mnbench"}
    tasks = make_tasks(tmp_path, "pi", "x86")
    reported, lost = carried_out(tasks, fleet, board_timeout_s=3)

    assert {0: "device pi: board one has another mnbench"} == lost
    assert ["device pi: board one has another mnbench"] == reported
    assert [0, 2] == [len(task.results_file.read_records()) for task in tasks]


def test_visits_of_a_lost_board_are_not_resumed(make_tasks, make_sample, tmp_path):
    """They are gone from the run's folder too, where the next run would find them."""
    fleet = Script(make_sample(), {"one": PI, "two": X86}, [("end", "one")] * 3 + [("kill", "one")])
    (task,) = tasks = make_tasks(tmp_path, "pi")
    _, lost = carried_out(tasks, fleet, board_timeout_s=3)

    assert {0: "device pi: none of its boards is left in the fleet"} == lost
    assert [{}, {}] == [task.folder.load_trials(cell.variant) for cell in task.plan.cases]


def test_a_scheduler_that_goes_leaves_what_was_measured(make_tasks, make_sample, tmp_path):
    """The run ends with its error, and the next one goes on with the visits of the boards that made them."""
    fleet = Script(make_sample(), {"one": PI})
    known, left = fleet.boards, iter(range(5))

    def boards():
        if next(left, None) is None:
            raise UnreachableError("the fleet's scheduler is gone", hint="start it again")
        return known()

    fleet.boards = boards
    with pytest.raises(UnreachableError, match="scheduler is gone"):
        carried_out(make_tasks(tmp_path, "pi"), fleet)
    before, fleet.boards = fleet.made.total(), known
    fleet.visits.clear()
    (task,) = tasks = make_tasks(tmp_path, "pi")
    carried_out(tasks, fleet)

    assert (5, 2 * PROCESSES) == (before, fleet.made.total())
    assert [PROCESSES] * 2 == [record.processes for record in task.results_file.read_records()]
