"""A plan becomes records on a fleet: each cell belongs to one board, and to another one if that board is lost."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count

from mnbench.bench.fleet import Board, Fleet
from mnbench.bench.plan import BenchmarkCase, Plan, shuffle_round
from mnbench.bench.schedule import DeviceRun, OnTrial, run_next_trial, unlocked
from mnbench.errors import MnbenchError, TrialError, UnreachableError
from mnbench.results.trial_result import TrialResult

POLL_S = 1.0
"""How often it is looked which boards there are."""

BOARD_TIMEOUT_S = 60.0
"""How long cells wait for a board, once there is none for them."""


@dataclass(kw_only=True, eq=False)
class OpenCase:
    """A cell without a record: the visits that were made of it, all by the board of that name."""

    index: int
    case: BenchmarkCase
    samples: dict[int, TrialResult]
    board: str | None = field(default=None)

    @property
    def process(self) -> int:
        """The next visit."""
        return next(number for number in count() if number not in self.samples)


def run_on_fleet(
    tasks: Sequence[DeviceRun],
    fleet: Fleet,
    *,
    on_trial: OnTrial,
    on_message: Callable[[str], object] = lambda _: None,
    board_timeout_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[int, MnbenchError]:
    """Visit every cell until it is complete, as `run_all` does, on all boards at once. Visits that runs hold count.

    A cell is visited by one board alone, which draws its order anew for each round. What a board that is lost had not
    completed is measured by another one, from the start. `told` is told of boards that are lost or refused.

    Returns:
        By the index of a task, why nothing more can be measured on its device; the other tasks went on.
    """
    lost: dict[int, MnbenchError] = {}
    with ExitStack() as stack:
        for task in tasks:
            stack.enter_context(unlocked(task.folder))
        state = _State(tasks, fleet, on_trial, on_message)
        empty_since: float | None = None
        while state.left():
            state.look()
            state.hand_out()
            if fleet.is_busy:
                empty_since = None
                state.take_in(fleet.wait_for_trials(POLL_S))
                continue
            empty_since = empty_since or clock()
            if clock() - empty_since > (BOARD_TIMEOUT_S if board_timeout_s is None else board_timeout_s):
                state.give_up(lost)
            sleep(POLL_S)
    return lost


class _State:
    """Which cells are open, which board has which, and which boards are not used."""

    def __init__(
        self, tasks: Sequence[DeviceRun], fleet: Fleet, on_trial: OnTrial, reported: Callable[[str], object]
    ) -> None:
        self.tasks, self.fleet, self.seen, self.told = tasks, fleet, on_trial, reported
        self.open = [_opened(at, task, cell) for at, task in enumerate(tasks) for cell in task.plan.cases]
        self.open = [
            open_case
            for open_case in self.open
            if open_case.case.variant not in tasks[open_case.index].folder.recorded_variants
        ]
        self.boards: dict[str, Board] = {}
        self.at_work: dict[Board, OpenCase] = {}
        self.refused: dict[tuple[Board, str], str] = {}
        """Of a board and a device, why it is not used for it."""

    def left(self) -> bool:
        """Whether any cell is open."""
        return bool(self.open)

    def look(self) -> None:
        """See which boards there are; what those had that are no more there belongs to nobody."""
        boards = {board.name: board for board in self.fleet.boards()}
        lost = {name: board for name, board in self.boards.items() if boards.get(name) != board}
        for name, board in lost.items():
            self.told(f"board {name} is lost")
            self.fleet.forget(board)
            self.at_work.pop(board, None)
        self.boards = boards
        for open_case in self.open:
            if open_case.board is not None and (
                open_case.board in lost or not self._fits(open_case, boards.get(open_case.board))
            ):
                self._free(open_case)

    def hand_out(self) -> None:
        """Give each idle board its next visit: of the cell that is furthest behind, in the order of that round."""
        for board in self.boards.values():
            if board in self.at_work:
                continue
            mine = [
                open_case
                for open_case in self.open
                if open_case.board in (None, board.name) and self._fits(open_case, board)
            ]
            if not mine:
                continue
            process = min(open_case.process for open_case in mine)
            open_case = shuffle_round(
                [open_case for open_case in mine if open_case.process == process],
                self._seed(),
                f"{process}/{board.name}",
            )[0]
            open_case.board = board.name
            self.at_work[board] = open_case
            self.fleet.start_trial(board, self.tasks[open_case.index].plan, open_case.case)

    def take_in(self, result: Sequence[tuple[Board, TrialResult | MnbenchError]]) -> None:
        """Keep what boards found, and append the records of cells that are complete by it."""
        for board, answer in result:
            open_case = self.at_work.pop(board)
            task, process = self.tasks[open_case.index], open_case.process
            if isinstance(answer, MnbenchError) and not isinstance(answer, TrialError):
                self._refuse(board, task.plan.device.name, answer.message)
                self._free(open_case)
                continue
            record = run_next_trial(task, open_case.case, process, open_case.samples, _given(board, answer))
            if record:
                task.results_file.append(record)
                task.folder.recorded_variants.add(open_case.case.variant)
                self.open.remove(open_case)
            self.seen(open_case.case, process, record)

    def give_up(self, lost: dict[int, MnbenchError]) -> None:
        """Close what is open: nobody measures it."""
        for at in sorted({open_case.index for open_case in self.open}):
            device = self.tasks[at].plan.device.name
            reasons = [reason for (_, name), reason in self.refused.items() if name == device]
            lost[at] = UnreachableError(
                f"device {device}: {reasons[-1] if reasons else 'none of its boards is left in the fleet'}",
                hint="mend or start one, and then: mnbench run --resume",
            )
            self.tasks[at].folder.discard_if_empty()
        self.open.clear()

    def _fits(self, open_case: OpenCase, board: Board | None) -> bool:
        device = self.tasks[open_case.index].plan.device.name
        if board is None or device not in board.devices or (board, device) in self.refused:
            return False
        if reason := self.fleet.version_mismatch(board):
            self._refuse(board, device, reason)
            return False
        return True

    def _refuse(self, board: Board, device: str, reason: str) -> None:
        self.refused[board, device] = reason
        self.told(f"device {device}: {reason}")

    def _free(self, open_case: OpenCase) -> None:
        """Visits of two boards are not mixed: another one starts anew."""
        open_case.board = None
        open_case.samples.clear()
        self.tasks[open_case.index].folder.delete_trials(open_case.case.variant)

    def _seed(self) -> int:
        return self.tasks[0].plan.sampling.seed


def _opened(at: int, task: DeviceRun, cell: BenchmarkCase) -> OpenCase:
    """The cell with the visits that the run holds, if they are of one board."""
    samples = task.folder.load_trials(cell.variant)
    boards = {sample.host.get("board") for sample in samples.values()}
    return OpenCase(index=at, case=cell, samples=samples, board=boards.pop() if len(boards) == 1 else None)


def _given(board: Board, answer: TrialResult | MnbenchError) -> Callable[[Plan, BenchmarkCase], TrialResult]:
    """A visit that was made."""

    def visit(_plan: Plan, _cell: BenchmarkCase) -> TrialResult:
        if isinstance(answer, MnbenchError):
            raise answer
        return replace(answer, host={**answer.host, "board": board.name})

    return visit
