"""A fleet: boards that run Dask workers. A case is one Dask task: one board measures it from start to end."""

import pickle
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

import mnbench
from mnbench.bench.aggregate import aggregate, failed_record
from mnbench.bench.case_sampling import DeviceRun, SamplingStatus
from mnbench.bench.case_trials import measure_alone
from mnbench.bench.plan import BenchmarkCase, Plan, shuffle_round
from mnbench.bench.schedule import OnProcess, unlocking
from mnbench.bench.stop_rule import is_complete
from mnbench.errors import MnbenchError, TrialError, UnreachableError, first_line, import_extra
from mnbench.results.record import Record
from mnbench.results.trial_result import TrialResult
from mnbench.targets.answers import CaseAnswer, Failure, decode_bytes, encode_answer, error_text
from mnbench.targets.device import DASK_PREFIX, Device, expand_variables, read_device, require_trust_in
from mnbench.targets.environments import prepare_device
from mnbench.targets.transport import TOO_LARGE_TO_SEND
from mnbench.text import printable
from mnbench.workspace import table_paths

CONNECT_S = 10
POLL_S = 1.0
"""Seconds between two looks at the scheduler's list of boards."""

BOARD_TIMEOUT_S = 60.0
"""Seconds to wait for a board when no board can measure any of the cases left."""

DEVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
"""Resources that are devices. Dask's own resources, such as GPU, are upper-case."""


class Board(NamedTuple):
    """A Dask worker, and the devices that its resources name."""

    name: str
    address: str
    devices: frozenset[str]


class Fleet:
    """A connection to a Dask scheduler, and the case that each board measures now."""

    def __init__(self, address: str) -> None:
        distributed = import_extra("distributed", extra="fleet", use="a fleet")
        config = import_extra("dask.config", extra="fleet", use="a fleet")
        config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"})  # a task holds its model
        try:
            self._client: Any = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as failure:
            raise UnreachableError(
                f"no Dask scheduler answers at {address}: {first_line(failure)}",
                hint="start one with `dask scheduler`, and set MNBENCH_SCHEDULER=tcp://HOST:8786",
            ) from failure
        self._fingerprint = source_fingerprint()
        self._tasks: dict[Board, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(Exception):  # a scheduler that is gone has nothing to cancel
            self._client.cancel(list(self._tasks.values()), force=True)
        self._client.close()

    def boards(self) -> list[Board]:
        """Return the boards that are connected now.

        Raises:
            UnreachableError: the scheduler is gone.
        """
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError) as failure:
            raise UnreachableError(
                f"the Dask scheduler is gone: {first_line(failure)}",
                hint="start it again, and then: mnbench run --resume",
            ) from failure
        boards: list[Board] = []
        for address, info in workers.items():
            devices = frozenset(name for name in info["resources"] if DEVICE_NAME.fullmatch(name))
            boards.append(Board(printable(str(info["name"])), address, devices))
        return boards

    def start(self, board: Board, plan: Plan, case: BenchmarkCase) -> None:
        """Submit a case, with its model and inputs, to the board."""
        plan = replace(plan, cases=(), roofline_bounds={}, drift=None)
        job = pickle.dumps((plan, case, case.path.read_bytes(), case.inputs_path.read_bytes()))
        where: dict[str, Any] = {"workers": [board.address], "resources": {plan.device.name: 1}, "pure": False}
        self._tasks[board] = self._client.submit(measure_case, self._fingerprint, job, **where)

    def cancel(self, board: Board) -> None:
        self._tasks.pop(board).cancel(force=True)

    def wait_for_results(self, timeout_s: float) -> list[tuple[Board, CaseAnswer]]:
        """Wait for any case to end, or for the timeout, and return the results of all cases that have ended."""
        import distributed  # noqa: PLC0415  an optional extra

        wait: Any = distributed.wait  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not self._tasks:
            time.sleep(timeout_s)
        with suppress(TimeoutError), self._client.as_current():
            wait(list(self._tasks.values()), timeout=timeout_s, return_when="FIRST_COMPLETED")
        results: list[tuple[Board, CaseAnswer]] = []
        for board, task in [(board, task) for board, task in self._tasks.items() if task.done()]:
            del self._tasks[board]
            if task.status == "finished":
                results.append((board, decode_result(board.name, task.result())))
            else:
                reason = first_line(task.exception()) if task.status == "error" else task.status
                error = f"board {board.name}: {error_text(reason)}; see the log of its Dask worker"
                results.append((board, CaseAnswer(board_error=error)))
        return results


def decode_result(board: str, data: object) -> CaseAnswer:
    """Return the result in the bytes from a board; what is no result is the board's error."""
    try:
        answer = decode_bytes(f"board {board}", data, CaseAnswer)
    except UnreachableError as failure:
        return CaseAnswer(board_error=failure.message)
    if isinstance(answer, Failure):
        return CaseAnswer(board_error=f"board {board}: {error_text(answer.error)}")
    return msgspec.structs.replace(
        answer, case_error=error_text(answer.case_error), board_error=error_text(answer.board_error)
    )


@cache
def source_fingerprint() -> str:
    """Return the version of mnbench and the hash of its sources: both sides must have the same.

    The hash is of the time when a process first asks for it: sources may change on disk while it runs.
    """
    digest = sha256()
    for path in sorted(Path(str(resources.files(mnbench))).rglob("*.py")):
        digest.update(path.read_bytes())
    return f"{mnbench.__version__} ({digest.hexdigest()[:8]})"


def measure_case(fingerprint: str, job: bytes) -> bytes:
    """Return the encoded result of a case on the board that runs this Dask task."""
    return encode_answer(_measure(fingerprint, job))


def _measure(fingerprint: str, job: bytes) -> CaseAnswer:
    """Run the trials of a case, if this mnbench is the one that sent the job."""
    from distributed import get_worker  # noqa: PLC0415  an optional extra

    worker, trials = get_worker(), list[TrialResult]()
    if fingerprint != source_fingerprint():
        board_error = f"board {worker.name} has another mnbench, {source_fingerprint()}; this is {fingerprint}"
        return CaseAnswer(board_error=board_error)
    plan, case, model, inputs = pickle.loads(job)  # noqa: S301  whoever reaches the scheduler can run code anyway
    if case.data_bytes:
        return CaseAnswer(case_error=TOO_LARGE_TO_SEND)
    with tempfile.TemporaryDirectory(prefix="mnbench-", dir=worker.local_directory) as folder:
        case = replace(case, path=Path(folder, case.path.name), inputs_path=Path(folder, case.inputs_path.name))
        case.path.write_bytes(model)
        case.inputs_path.write_bytes(inputs)
        try:
            plan = replace(plan, device=prepare_device(msgspec.structs.replace(plan.device, gateway="popen")))
            while not trials or not is_complete(plan.sampling, trials):
                trial = measure_alone(plan, case, f"{plan.sampling.seed}/{len(trials)}")
                trials.append(msgspec.structs.replace(trial, host={**trial.host, "board": str(worker.name)}))
        except TrialError as failure:
            return CaseAnswer(trials=trials, case_error=failure.message)
        except MnbenchError as failure:
            return CaseAnswer(board_error=failure.message)
    return CaseAnswer(trials=trials)


def run_on_fleet(
    runs: Sequence[DeviceRun],
    fleet: Fleet,
    *,
    on_process: OnProcess,
    on_message: Callable[[str], object] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, MnbenchError]:
    """Measure every case that has no record, one at a time on each board, and append its record.

    Another board repeats the case of a board that is lost or cannot measure it; `on_message` is told which.

    Returns:
        The error of each device that no board can measure any more; the runs of the others continued.
    """
    schedule = _Schedule(runs, fleet, on_message)
    with unlocking(runs):
        busy_at = clock()
        while schedule.waiting or schedule.assigned:
            schedule.assign(fleet.boards())
            if schedule.assigned:
                busy_at = clock()
            elif clock() - busy_at > BOARD_TIMEOUT_S:
                break
            for run, case, result in schedule.wait_for_results():
                record = _append(run, case, result)
                recorded = sum(len(run.plan.cases) - len(run.open_cases) for run in runs)
                on_process([record], SamplingStatus(done=recorded))
    return schedule.lost_devices()


class _Schedule:
    """The cases that wait for a board, those that a board measures now, and why a board is refused for a device."""

    def __init__(self, runs: Sequence[DeviceRun], fleet: Fleet, on_message: Callable[[str], object]) -> None:
        self.runs, self.fleet, self.on_message = runs, fleet, on_message
        jobs = [(run, case) for run in runs for case in run.open_cases]
        self.waiting = shuffle_round(jobs, runs[0].plan.sampling.seed, "fleet")
        self.assigned: dict[Board, tuple[DeviceRun, BenchmarkCase]] = {}
        self.refused: dict[tuple[Board, str], str] = {}
        self.boards: set[Board] = set()

    def assign(self, boards: Sequence[Board]) -> None:
        """Take back the cases of lost boards, and start a case on each idle board."""
        for board in self.boards - set(boards):
            self.on_message(f"board {board.name} is lost")
            if board in self.assigned:
                self.fleet.cancel(board)
                self.waiting.append(self.assigned.pop(board))
        self.boards = set(boards)
        for board in [board for board in boards if board not in self.assigned]:
            devices = board.devices - {device for other, device in self.refused if other == board}
            index = next((index for index, (run, _) in enumerate(self.waiting) if run.device in devices), None)
            if index is not None:
                run, case = self.assigned[board] = self.waiting.pop(index)
                self.fleet.start(board, run.plan, case)

    def wait_for_results(self) -> Iterator[tuple[DeviceRun, BenchmarkCase, CaseAnswer]]:
        """Yield the cases that have ended; those that a board could not measure wait for another one."""
        for board, result in self.fleet.wait_for_results(POLL_S):
            run, case = self.assigned.pop(board)
            if result.board_error:
                self.refused[board, run.device] = result.board_error
                self.on_message(f"device {run.device}: {result.board_error}")
                self.waiting.append((run, case))
            else:
                yield run, case, result

    def lost_devices(self) -> dict[str, MnbenchError]:
        waiting = {run.device for run, _ in self.waiting}
        lost: dict[str, MnbenchError] = {}
        for run in self.runs:
            if run.device in waiting:
                run.folder.discard_if_empty()
                reasons = [reason for (_, device), reason in self.refused.items() if device == run.device]
                reason = reasons[-1] if reasons else "no board of the fleet is left for it"
                lost[run.device] = UnreachableError(
                    f"device {run.device}: {reason}", hint="repair or start a board, and then: mnbench run --resume"
                )
        return lost


def _append(run: DeviceRun, case: BenchmarkCase, result: CaseAnswer) -> Record:
    trials, error = result.trials, result.case_error
    run.folder.delete_trials(case.row.id)
    for process, trial in enumerate(trials):
        run.folder.save_trial(case.row.id, process, trial)
    context = run.plan, case, run.folder.id
    record = failed_record(*context, error, trials) if error else aggregate(*context, trials)
    run.append(record)
    return record


def fleet_devices(fleet_device: Device) -> list[Device]:
    """Return the devices of a fleet's boards, or the one named after a colon: `fleet:rpi5`.

    Raises:
        TrustError: a device file demands what the user has not trusted.
        MissingDependency, UnreachableError: no Dask, no scheduler, no such board.
    """
    fleet_device = expand_variables(require_trust_in(fleet_device))
    _, _, wanted = fleet_device.name.partition(":")
    with Fleet(scheduler_address(fleet_device)) as fleet:
        known = sorted({name for board in fleet.boards() for name in board.devices})
    if wanted and wanted not in known:
        raise UnreachableError(
            f"no board of the fleet has device {wanted}",
            hint=f"start one: dask worker ADDRESS --resources {wanted}=1"
            + (f"; known devices: {', '.join(known)}" if known else ""),
        )
    if not known:
        raise UnreachableError(
            "the fleet has no board", hint="start one: dask worker ADDRESS --nthreads 1 --resources NAME=1"
        )
    tables = table_paths("devices")
    devices = {name: read_device(name) if name in tables else fleet_device for name in ([wanted] if wanted else known)}
    return [
        msgspec.structs.replace(require_trust_in(device), name=name, gateway=fleet_device.gateway, systems=())
        for name, device in devices.items()
    ]


def scheduler_address(device: Device) -> str:
    return device.gateway.removeprefix(DASK_PREFIX)
