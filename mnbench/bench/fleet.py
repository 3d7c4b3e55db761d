"""A fleet: boards that work for a Dask scheduler. One visit at a time is handed to each."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.errors import MnbenchError, RuntimeUnavailable, UnreachableError, first_line
from mnbench.results.trial_result import TrialResult
from mnbench.targets.device import DASK_PREFIX, Device, read_device
from mnbench.workspace import table_paths

CONNECT_S = 10
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
"""Resources that are devices; Dask's own, such as GPU, are written otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A Dask worker. `folder` is its own alone, even where another one takes its address later."""

    name: str
    address: str
    folder: str
    devices: frozenset[str]


class Fleet:
    """A scheduler's boards, and the visits that they are at."""

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client  # noqa: PLC0415  an optional extra
        except ImportError as failure:
            raise RuntimeUnavailable(
                f"a fleet needs Dask: {failure.name} is not installed", hint="pip install 'mnbench[fleet]'"
            ) from failure
        try:
            self._client: Any = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as failure:
            raise UnreachableError(
                f"no scheduler of a fleet answers at {address}: {first_line(failure)}",
                hint="start one with `dask scheduler`, and set MNBENCH_SCHEDULER=tcp://HOST:8786",
            ) from failure
        self._sent: set[tuple[Board, str]] = set()
        self._identities: dict[Board, str] = {}
        self._visits: dict[Board, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # a scheduler that is gone has nothing to cancel
            self._client.cancel(list(self._visits.values()), force=True)
        self._client.close()

    def boards(self) -> list[Board]:
        """Those that work now.

        Raises:
            UnreachableError: the scheduler is gone.
        """
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError) as failure:
            raise UnreachableError(
                f"the fleet's scheduler is gone: {first_line(failure)}",
                hint="start it again, and then: mnbench run --resume",
            ) from failure
        return [
            Board(
                name=str(item["name"]),
                address=address,
                folder=item["local_directory"],
                devices=frozenset(name for name in item["resources"] if NAME.fullmatch(name)),
            )
            for address, item in workers.items()
        ]

    def version_mismatch(self, board: Board) -> str:
        """Why the board cannot be used: another mnbench. Nothing where it can."""
        from mnbench.bench.board import source_fingerprint  # noqa: PLC0415  it needs Dask

        if board not in self._identities:
            try:
                result = self._client.run(source_fingerprint, workers=[board.address])[board.address]
            except Exception as failure:  # noqa: BLE001  whatever pickle, Dask or an import raises there
                result = f"none that can be asked: {first_line(failure)}"
            self._identities[board] = result
        mine = source_fingerprint()
        result = self._identities[board]
        return "" if result == mine else f"board {board.name} has another mnbench, {result}; this is {mine}"

    def start_trial(self, board: Board, plan: Plan, case: BenchmarkCase) -> None:
        """Hand a visit to the board; it is given the files that it lacks first."""
        from mnbench.bench import board as there  # noqa: PLC0415  it needs Dask

        names = {
            path: hashlib.sha256(path.read_bytes()).hexdigest()[:32] + path.suffix
            for path in (case.path, case.inputs_path)
        }
        where: dict[str, Any] = {"workers": [board.address], "pure": False}
        needed = [
            self._client.submit(there.store_file, name, path.read_bytes(), **where)
            for path, name in names.items()
            if (board, name) not in self._sent
        ]
        self._sent |= {(board, name) for name in names.values()}
        near = replace(case, path=Path(names[case.path]), inputs_path=Path(names[case.inputs_path]))
        alone = replace(plan, cases=(near,), roofline_bounds={}, drift=None)
        self._visits[board] = self._client.submit(_after, needed, alone, near, resources={plan.device.name: 1}, **where)

    @property
    def is_busy(self) -> bool:
        """Whether any board is at a visit."""
        return bool(self._visits)

    def forget(self, board: Board) -> None:
        """Nobody waits for the board's visit any longer."""
        future = self._visits.pop(board, None)
        if future:
            future.cancel(force=True)

    def wait_for_trials(self, within_s: float) -> list[tuple[Board, TrialResult | MnbenchError]]:
        """The visits that have come to an end, with what they found, once there is one or that time is over."""
        import distributed  # noqa: PLC0415  an optional extra

        from mnbench.bench.board import to_error  # noqa: PLC0415

        wait: Any = distributed.wait  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if self._visits:
            with suppress(TimeoutError), self._client.as_current():
                wait(list(self._visits.values()), timeout=within_s, return_when="FIRST_COMPLETED")
        result: list[tuple[Board, TrialResult | MnbenchError]] = []
        for board, future in list(self._visits.items()):
            if not future.done():
                continue
            del self._visits[board]
            if future.status == "finished":
                answer = future.result()
                result.append((board, answer if isinstance(answer, TrialResult) else to_error(answer)))
            else:
                reason = first_line(future.exception()) if future.status == "error" else future.status
                result.append(
                    (board, UnreachableError(f"board {board.name}: {reason}", hint="see its Dask worker's log"))
                )
        return result


def _after(_kept: Sequence[None], plan: Plan, cell: BenchmarkCase) -> Any:
    """The visit, once the files are there."""
    from mnbench.bench.board import run_trial_on_board  # noqa: PLC0415  it needs Dask

    return run_trial_on_board(plan, cell)


def fleet_devices(profile: Device) -> list[Device]:
    """The devices of a fleet's boards, or the one that is named behind its own name: `fleet:rpi5`.

    Raises:
        RuntimeUnavailable, UnreachableError: no Dask, no scheduler, no such board.
    """
    _, _, item = profile.name.partition(":")
    with Fleet(scheduler_address(profile)) as fleet:
        known = sorted({name for board in fleet.boards() for name in board.devices})
    if item and item not in known:
        raise UnreachableError(
            f"no board of the fleet is {item}",
            hint=f"start one: dask worker ADDRESS --resources {item}=1"
            + (f"; there are: {', '.join(known)}" if known else ""),
        )
    if not known:
        raise UnreachableError(
            "the fleet has no board", hint="start one: dask worker ADDRESS --nthreads 1 --resources NAME=1"
        )
    tables = table_paths("devices")
    entries = {name: read_device(name) if name in tables else profile for name in ([item] if item else known)}
    return [
        msgspec.structs.replace(device, name=name, gateway=profile.gateway, systems=())
        for name, device in entries.items()
    ]


def scheduler_address(device: Device) -> str:
    """The scheduler's."""
    return device.gateway.removeprefix(DASK_PREFIX)
