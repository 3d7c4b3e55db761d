"""Run a trial: one new process opens the sessions of several rows and times them in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.bench.plan import BenchmarkCase, TrialProtocol
from mnbench.bench.request import convert_model, load_arrays, session_request
from mnbench.errors import TrialError
from mnbench.model.equivalence import Agreement, require_agreement
from mnbench.targets.answers import (
    FailedSession,
    Heartbeat,
    SessionFacts,
    SessionsAnswer,
    TrialAnswer,
    error_text,
    wrong_answer,
)
from mnbench.targets.device import Device
from mnbench.targets.transport import Heartbeats, call_worker
from mnbench.text import printable
from mnbench.units import NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSession:
    """A model and the device that runs it."""

    case: BenchmarkCase
    device: Device

    @property
    def process_key(self) -> tuple[object, ...]:
        """What sessions of one process share: the Python, the runtime, the cores, and the environment variables."""
        device = self.device
        return device.gateway, device.runtime, tuple(device.cores), *sorted(device.environment.items())

    @property
    def size_bytes(self) -> int:
        """Estimate the memory: the weights, twice because the runtime packs them, and the activations if known."""
        case = self.case
        return 2 * (case.path.stat().st_size + case.data_bytes + (case.peak_activation_bytes or 0))


Rows = Sequence[Sequence[PlannedSession]]
"""The sessions of each row: one, or those that take turns."""


class ProcessError(TrialError):
    """A process crashed, hung or failed while it worked on a session; None if it was not working on any.

    If it was in a slice, it was working on any session of the row that begins with this one.
    """

    def __init__(self, failure: TrialError, session: int | None, *, in_slice: bool = False) -> None:
        super().__init__(failure.message, hint=failure.hint)
        self.session = session
        self.in_slice = in_slice


def run_trial(
    rows: Rows,
    protocol: TrialProtocol,
    *,
    seed: str,
    limits: Mapping[str, float] | None = None,
    environment: Mapping[str, str] | None = None,
) -> TrialAnswer:
    """Time all rows in one new process, unless the machine exceeds the `limits` of `worker.host.conditions`.

    All sessions have the same process key, and their models are converted.

    Raises:
        ProcessError: the worker crashed, hung or failed.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    sessions = [session for row in rows for session in row]
    device, sides, opened = sessions[0].device, len(rows[0]), list[Heartbeat]()
    request = {
        **sessions_request("trial", sessions, protocol, seed=seed, limits=limits),
        "sides": sides,
        "protocol": {
            "slices": protocol.slices,
            "slice_ns": round(protocol.slice_s * NS_PER_S),
            "min_turns": protocol.min_turns,
            "warmup_ns": round(protocol.warmup_s * NS_PER_S),
            "min_settle_ns": round(protocol.min_settle_s * NS_PER_S),
            "max_settle_ns": round(protocol.max_settle_s * NS_PER_S),
        },
    }
    heartbeats = Heartbeats(
        limit=len(sessions) + protocol.slices * len(rows),
        planned_s=protocol.slice_s + protocol.max_settle_s,
        planned_runs=sides * (protocol.warmup_runs + protocol.min_turns + 2),
    )
    try:
        answer = call_worker(
            device,
            request,
            TrialAnswer,
            timeout_s=protocol.timeout_s,
            heartbeats=heartbeats,
            on_heartbeat=opened.append,
            environment=environment,
        )
    except TrialError as failure:
        in_slice = len(opened) > len(sessions)
        raise ProcessError(failure, last_session(opened, len(sessions)), in_slice=in_slice) from failure
    if answer.busy is None:
        require_sessions(device, answer, len(sessions))
        _require_turns(device, answer, sides)
    elif limits is None:
        raise wrong_answer(f"device {device.name}", "it is busy, which no limit forbids")
    return answer


def sessions_request(
    kind: str,
    sessions: Sequence[PlannedSession],
    protocol: TrialProtocol,
    *,
    seed: str,
    limits: Mapping[str, float] | None,
) -> dict[str, Any]:
    """Return what a worker needs to open these sessions."""
    return {
        "kind": kind,
        "seed": seed,
        "limits": limits and dict(limits),
        "warmup_runs": protocol.warmup_runs,
        "sessions": [
            session_request(session.device, session.case, convert_model(session.device, session.case).path)
            for session in sessions
        ],
    }


def last_session(heartbeats: Sequence[Heartbeat], count: int) -> int | None:
    """Return the index of the session, one of `count`, that a process worked on last; None if it does not say."""
    index = heartbeats[-1].index if heartbeats else None
    return index if index is not None and index < count else None


def require_sessions(device: Device, answer: SessionsAnswer, count: int) -> None:
    """Reject an answer that is not of so many sessions of the device's runtime.

    Raises:
        UnreachableError: it is not.
    """
    sender = f"device {device.name}"
    if len(answer.sessions) != count:
        raise wrong_answer(sender, f"{len(answer.sessions)} sessions in place of {count}")
    if answer.runtime is None or answer.runtime.name != device.runtime:
        raise wrong_answer(sender, f"it ran {answer.runtime and answer.runtime.name} in place of {device.runtime}")
    if not answer.host:
        raise wrong_answer(sender, "no facts of the host")


def _require_turns(device: Device, answer: TrialAnswer, sides: int) -> None:
    """Reject runs that are not, turn by turn, those of all sessions of a row; a row without a failure has some."""
    sessions = answer.runs["session"]
    failed = [isinstance(session, FailedSession) for session in answer.sessions]
    able = {row for row in range(len(failed) // sides) if not any(failed[row * sides : (row + 1) * sides])}
    complete = sessions.size % sides == 0
    turns = np.sort(sessions.reshape(-1, sides), axis=1) if complete else sessions
    if not complete or not (turns == turns[:, :1] // sides * sides + np.arange(sides)).all():
        raise wrong_answer(f"device {device.name}", "runs that are not turns of a row")
    if set((turns[:, 0] // sides).tolist()) != able:
        raise wrong_answer(f"device {device.name}", "other rows than those that did not fail")


def check_session(
    session: PlannedSession, facts: SessionFacts | FailedSession, *, allow_fallback: bool
) -> tuple[SessionFacts, Agreement]:
    """Return a session's facts, and how its outputs agree with the reference's.

    Raises:
        TrialError: the session failed, its outputs are wrong, or nodes ran on another provider.
    """
    if isinstance(facts, FailedSession):
        raise TrialError(error_text(facts.error), hint="run the model alone: mnbench run MODEL")
    if not allow_fallback:
        require_placement(session.case, facts.placement, session.device.provider)
    return facts, check_outputs(session.device, session.case, facts.outputs)


def check_outputs(device: Device, case: BenchmarkCase, outputs: Sequence[NDArray[Any] | None]) -> Agreement:
    """Compare a worker's outputs with the reference's.

    Raises:
        TrialError: an output is wrong.
    """
    references = {prefix: load_arrays(case, f"{prefix}.") for prefix in ("out", "own", "moved")}
    expected, self_reference, moved = (
        [values.get(str(index)) for index in range(len(case.outputs))] if values else []
        for values in references.values()
    )
    return require_agreement(
        case.outputs,
        outputs,
        expected=expected,
        self_reference=self_reference,
        moved=moved,
        precision=case.precision,
        tolerance=device.tolerance,
    )


def require_placement(case: BenchmarkCase, placement: Mapping[str, Sequence[str]] | None, provider: str) -> None:
    """Reject a case if nodes ran on another provider than the requested one.

    Raises:
        TrialError: some did.
    """
    elsewhere = {name for taken, names in (placement or {}).items() if taken != provider for name in names}
    if not elsewhere:
        return
    total = sum(map(len, (placement or {}).values()))
    kinds = dict.fromkeys(layer.kind for layer in case.layers if printable(layer.scope) in elsewhere)
    takers = ", ".join(sorted(taken for taken in placement or {} if taken != provider))
    raise TrialError(
        f"{len(elsewhere)} of {total} nodes ran on {takers} and not on {provider}"
        + (f": {', '.join(kinds)}" if kinds else ""),
        hint="--allow-fallback measures the case anyway, and marks it",
    )
