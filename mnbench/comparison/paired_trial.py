"""A paired trial: runs of baseline and candidate of every row, in one new process or in two that alternate."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnbench.bench.plan import TrialProtocol
from mnbench.bench.request import convert_model
from mnbench.bench.trial import (
    PlannedSession,
    ProcessError,
    check_session,
    last_session,
    require_sessions,
    run_trial,
    sessions_request,
)
from mnbench.errors import TrialError
from mnbench.targets.answers import AlternatingAnswer, FailedSession, Heartbeat, SessionsAnswer
from mnbench.targets.transport import Heartbeats, Worker, open_worker
from mnbench.units import NS_PER_S
from mnbench.worker.requests.trial import RUN_COLUMNS, draw_turns

SIDES = ("base", "candidate")
PAIR_COLUMNS = ("row", "round", "first", "base_ns", "candidate_ns", "base_cpu_ns", "candidate_cpu_ns")

PROTOCOL = TrialProtocol(slices=6, slice_s=0.06, min_turns=5, warmup_runs=3, warmup_s=0.002)

MIN_PAIR_NS = 4_000_000
"""The least duration of a pair of two processes that alternate; the median of its runs counts."""

HUGE_PAGES_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""On pages of 4 KiB, sessions of one model differ by 1.3 % (sd): which physical pages they got, and so which of these
share lines of a cache, is chance, and stays as it is. On huge pages it is 0.2 %. Needs Linux and glibc 2.35."""

Columns: TypeAlias = dict[str, NDArray[np.int64]]
"""The pairs of a trial in order, as `PAIR_COLUMNS` names them; `row` is an index of `variants`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonCase:
    """A row: its baseline and its candidate. `note` says how they were chosen."""

    variant: str
    baseline: PlannedSession
    candidate: PlannedSession
    note: str = ""

    @property
    def sides(self) -> tuple[PlannedSession, PlannedSession]:
        """The baseline, then the candidate."""
        return self.baseline, self.candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSampling:
    """How a process measures; it does not begin if the machine is busier than the limits of `busy_reason`."""

    seed: str
    protocol: TrialProtocol = PROTOCOL
    pressure: float = 0.3
    load: float = 1.0
    allow_fallback: bool = False

    @property
    def limits(self) -> dict[str, float]:
        return {"pressure": self.pressure, "load": self.load}


def pair_columns(pairs: Sequence[tuple[int, ...]] = ()) -> Columns:
    """Return pairs as columns."""
    table = np.array(pairs, np.int64).reshape(-1, len(PAIR_COLUMNS))
    return dict(zip(PAIR_COLUMNS, table.T.copy(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTrial:
    """The pairs of a trial. `failed` holds the failed side of a row and its error; `busy_reason` says why none ran.

    If a process that runs both sides crashes or hangs in a slice, it is not known which side failed.
    """

    variants: tuple[str, ...]
    columns: Columns = field(default_factory=pair_columns)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    facts: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    busy_reason: str | None = None

    def columns_of(self, variant: str) -> Columns:
        """Return the pairs of one row."""
        selected = self.columns["row"] == self.variants.index(variant)
        return {name: values[selected] for name, values in self.columns.items()}

    def blocking_waits(self, variant: str) -> bool:
        """Return whether a side of the row waits while it runs, or may do so unnoticed."""
        return any(self.facts["sessions"][f"{variant} {side}"]["waits"] for side in SIDES)


def run_paired_trial(cases: Sequence[ComparisonCase], sampling: PairedSampling) -> PairedTrial:
    """Measure the rows in one new process, or in two that alternate if their runtimes cannot share one.

    All baselines have the same process key, and all candidates have. If a worker crashes or hangs while it works on a
    row, that row has failed.

    Raises:
        TrialError: a worker crashed or hung while it worked on none.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    failed: dict[str, tuple[str, str]] = {}
    for case in cases:
        for name, side in zip(SIDES, case.sides, strict=True):
            try:
                convert_model(side.device, side.case)
            except TrialError as failure:
                failed.setdefault(case.variant, (name, failure.message))
    if failed:
        return PairedTrial(variants=_variants(cases), failed=failed)
    shared = cases[0].baseline.process_key == cases[0].candidate.process_key
    measure = _measure_in_one_process if shared else _measure_in_two_processes
    try:
        return measure(cases, sampling)
    except ProcessError as failure:
        if failure.session is None:
            raise
        row, side = divmod(failure.session, 2)
        name = " or ".join(SIDES) if failure.in_slice else SIDES[side]
        return PairedTrial(variants=_variants(cases), failed={cases[row].variant: (name, failure.message)})


def _measure_in_one_process(cases: Sequence[ComparisonCase], sampling: PairedSampling) -> PairedTrial:
    answer = run_trial(
        [case.sides for case in cases],
        sampling.protocol,
        seed=sampling.seed,
        limits=sampling.limits,
        environment=HUGE_PAGES_ENVIRONMENT,
    )
    if answer.busy is not None:
        return PairedTrial(variants=_variants(cases), busy_reason=answer.busy)
    return _checked_trial(cases, _pairs(answer.runs), [answer], sampling)


def _pairs(runs: Mapping[str, NDArray[np.int64]]) -> Columns:
    """Return the turns of a trial as pairs."""
    session, slices, latency_ns, cpu_ns = (runs[name].reshape(-1, 2) for name in RUN_COLUMNS)
    first = session[:, 0] % 2
    by_side = np.argsort(session, axis=1)  # the baseline, then the candidate, whichever ran first
    times_ns = (column for times in (latency_ns, cpu_ns) for column in np.take_along_axis(times, by_side, axis=1).T)
    return dict(zip(PAIR_COLUMNS, (session[:, 0] // 2, slices[:, 0], first, *times_ns), strict=True))


def _measure_in_two_processes(cases: Sequence[ComparisonCase], sampling: PairedSampling) -> PairedTrial:
    draw = Random(sampling.seed)  # noqa: S311  an order, not a secret
    workers: list[Worker] = []
    answers: list[AlternatingAnswer] = []
    timeout_s = sampling.protocol.timeout_s
    with ExitStack() as stack:
        for side in draw.sample((0, 1), 2):
            sessions, opened = [case.sides[side] for case in cases], list[Heartbeat]()
            device = sessions[0].device
            worker = stack.enter_context(open_worker(device, timeout_s=timeout_s, environment=HUGE_PAGES_ENVIRONMENT))
            request = sessions_request(
                "alternating", sessions, sampling.protocol, seed=sampling.seed, limits=sampling.limits
            )
            heartbeats = Heartbeats(len(cases), planned_runs=1 + sampling.protocol.warmup_runs)
            try:
                answer = worker.ask(request, AlternatingAnswer, heartbeats=heartbeats, on_heartbeat=opened.append)
            except TrialError as failure:
                row = last_session(opened, len(cases))
                raise ProcessError(failure, None if row is None else 2 * row + side) from failure
            if answer.busy is not None:
                return PairedTrial(variants=_variants(cases), busy_reason=answer.busy)
            require_sessions(device, answer, len(cases))
            workers.insert(side, worker)
            answers.insert(side, answer)
        pair_ns = {
            index: sum(answer.latencies_ns[index] for answer in answers)
            for index in range(len(cases))
            if not any(isinstance(answer.sessions[index], FailedSession) for answer in answers)
        }
        columns = _alternate(workers, pair_ns, sampling.protocol, draw)
        for worker in workers:
            worker.send(None)
    return _checked_trial(cases, columns, answers, sampling)


def _alternate(workers: Sequence[Worker], pair_ns: dict[int, int], protocol: TrialProtocol, draw: Random) -> Columns:
    """Time pairs of each row in slices, as a worker does in one process; `pair_ns` is how long a row's pair may take.

    A pair of short runs is one of the medians of several runs.
    """
    pairs: list[tuple[int, ...]] = []
    slice_ns = round(protocol.slice_s * NS_PER_S)
    left_ns = dict.fromkeys(pair_ns, protocol.slices * slice_ns)
    for slice_number in range(protocol.slices):
        for row in draw.sample(sorted(pair_ns), len(pair_ns)):
            if left_ns[row] <= 0:
                continue
            runs = max(1, MIN_PAIR_NS // pair_ns[row])
            turns = max(protocol.min_turns, slice_ns // (runs * pair_ns[row]))
            begin_ns = time.monotonic_ns()
            for first in draw_turns((0, 1), turns, draw)[::2]:
                medians: dict[int, list[int]] = {}
                for side in (first, 1 - first):
                    try:
                        workers[side].send((row, runs))
                        timings = workers[side].receive_timings(runs)
                    except TrialError as failure:
                        raise ProcessError(failure, 2 * row + side) from failure
                    medians[side] = [
                        round(float(np.median(times_ns))) for times_ns in (timings.latencies_ns, timings.cpu_ns)
                    ]
                (base_ns, base_cpu_ns), (candidate_ns, candidate_cpu_ns) = medians[0], medians[1]
                pairs.append((row, slice_number, first, base_ns, candidate_ns, base_cpu_ns, candidate_cpu_ns))
            left_ns[row] -= time.monotonic_ns() - begin_ns
    return pair_columns(pairs)


def _checked_trial(
    cases: Sequence[ComparisonCase], columns: Columns, answers: Sequence[SessionsAnswer], sampling: PairedSampling
) -> PairedTrial:
    """Return the trial; a session that failed, has wrong outputs or runs on another provider fails its row.

    The answers are those of both sides in one process, or of the baseline's and the candidate's.
    """
    failed: dict[str, tuple[str, str]] = {}
    facts: dict[str, dict[str, Any]] = {}
    shared = len(answers) == 1
    for row, case in enumerate(cases):
        for side, (name, session) in enumerate(zip(SIDES, case.sides, strict=True)):
            answer = answers[0 if shared else side]
            try:
                facts[f"{case.variant} {name}"] = _session_facts(
                    session, answer, 2 * row + side if shared else row, allow_fallback=sampling.allow_fallback
                )
            except TrialError as failure:
                failed.setdefault(case.variant, (name, failure.message))
    hosts = {name: answer.host for name, answer in zip(("host", "candidate_host"), answers, strict=False)}
    return PairedTrial(variants=_variants(cases), columns=columns, failed=failed, facts={**hosts, "sessions": facts})


def _session_facts(
    session: PlannedSession, answer: SessionsAnswer, index: int, *, allow_fallback: bool
) -> dict[str, Any]:
    facts, agreement = check_session(session, answer.sessions[index], allow_fallback=allow_fallback)
    stored = {name: getattr(facts, name) for name in ("session_ns", "first_run_ns", "threads", "waits")}
    version = answer.runtime and answer.runtime.version
    return stored | {"runtime_version": version} | agreement._asdict() | {"sha256": session.case.sha256}


def _variants(cases: Sequence[ComparisonCase]) -> tuple[str, ...]:
    return tuple(case.variant for case in cases)
