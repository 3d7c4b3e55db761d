"""A paired trial: runs of baseline and candidate of every row, in one new process or in two that alternate."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from random import Random
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.request import convert_model, session_request
from mnbench.bench.trial import check_outputs, require_placement
from mnbench.errors import TrialError
from mnbench.targets.answers import (
    AlternatingAnswer,
    FailedSession,
    Heartbeat,
    PairedAnswer,
    SessionFacts,
    error_text,
    wrong_answer,
)
from mnbench.targets.device import Device
from mnbench.targets.transport import Heartbeats, Worker, call_worker, open_worker
from mnbench.units import NS_PER_S
from mnbench.worker.requests.paired import HEARTBEAT_NS, PAIR_COLUMNS, pairs_per_block, run_orders

SIDES = ("base", "candidate")
BLOCK = {"duration_ns": 60_000_000, "min_pairs": 5}
"""The pairs of a row that follow one another: for this long, and at least so many."""

MIN_PAIR_NS = 4_000_000
"""The least duration of a pair of two processes that alternate; the median of its runs counts."""

TIMEOUT_S = 120.0

HUGE_PAGES_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""On pages of 4 KiB, sessions of one model differ by 1.3 % (sd): which physical pages they got, and so which of these
share lines of a cache, is chance, and stays as it is. On huge pages it is 0.2 %. Needs Linux and glibc 2.35."""

Columns: TypeAlias = dict[str, NDArray[np.int64]]
"""The pairs of a trial in order, as `PAIR_COLUMNS` names them; `row` is an index of `variants`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSide:
    """A model and the device that runs it."""

    case: BenchmarkCase
    device: Device

    @property
    def process_key(self) -> tuple[object, ...]:
        """What sessions of one process share: the Python, the runtime, and the environment variables."""
        return self.device.gateway, self.device.runtime, *sorted(self.device.environment.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonCase:
    """A row: its baseline and its candidate. `note` says how they were chosen."""

    variant: str
    baseline: PreparedSide
    candidate: PreparedSide
    note: str = ""

    @property
    def sides(self) -> tuple[PreparedSide, PreparedSide]:
        """The baseline, then the candidate."""
        return self.baseline, self.candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSampling:
    """How a trial measures: all rows together for `duration_s`.

    It does not begin if tasks wait for a core for a larger share of the time than `pressure`, or if the load exceeds
    the number of cores by more than `load`.
    """

    duration_s: float
    seed: str
    pressure: float = 0.3
    load: float = 1.0
    allow_fallback: bool = False


def pair_columns(pairs: Sequence[tuple[int, ...]] = ()) -> Columns:
    """Return pairs as columns."""
    table = np.array(pairs, np.int64).reshape(-1, len(PAIR_COLUMNS))
    return dict(zip(PAIR_COLUMNS, table.T.copy(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTrial:
    """The pairs of a trial. `failed` holds the failed side of a row and its error; `busy_reason` says why none ran."""

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

    All baselines have the same process key, and all candidates have. If a worker crashes or hangs while it opens a
    session, the session's row has failed.

    Raises:
        TrialError: a worker crashed or hung while it measured.
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
    if cases[0].baseline.process_key == cases[0].candidate.process_key:
        return _measure_in_one_process(cases, sampling)
    return _measure_in_two_processes(cases, sampling)


def _measure_in_one_process(cases: Sequence[ComparisonCase], sampling: PairedSampling) -> PairedTrial:
    request = {
        **_request("paired", [side for case in cases for side in case.sides], sampling),
        "duration_ns": round(sampling.duration_s * NS_PER_S),
        "block": BLOCK,
    }
    device, opened = cases[0].baseline.device, list[Heartbeat]()
    beats = sampling.duration_s * NS_PER_S / HEARTBEAT_NS  # and each row of the first round, however long it takes
    try:
        answer = call_worker(
            device,
            request,
            PairedAnswer,
            timeout_s=TIMEOUT_S,
            heartbeats=Heartbeats(limit=3 * len(cases) + ceil(beats), planned_s=sampling.duration_s),
            on_heartbeat=opened.append,
            environment=HUGE_PAGES_ENVIRONMENT,
        )
    except TrialError as failure:
        row, side = divmod(_last_opened(opened, 2 * len(cases), failure), 2)
        return _failed_trial(cases, row, side, failure)
    if answer.busy is not None:
        return PairedTrial(variants=_variants(cases), busy_reason=answer.busy)
    _require_sessions(device, answer, 2 * len(cases))
    return _checked_trial(cases, answer.columns, answer.sessions, {"host": answer.host}, sampling)


def _measure_in_two_processes(cases: Sequence[ComparisonCase], sampling: PairedSampling) -> PairedTrial:
    draw = Random(sampling.seed)  # noqa: S311  an order, not a secret
    workers: list[Worker] = []
    answers: list[AlternatingAnswer] = []
    with ExitStack() as stack:
        for side in draw.sample((0, 1), 2):
            sides, opened = [case.sides[side] for case in cases], list[Heartbeat]()
            device = sides[0].device
            worker = stack.enter_context(open_worker(device, timeout_s=TIMEOUT_S, environment=HUGE_PAGES_ENVIRONMENT))
            request = _request("alternating", sides, sampling)
            try:
                answer = worker.ask(
                    request, AlternatingAnswer, heartbeats=Heartbeats(len(cases)), on_heartbeat=opened.append
                )
            except TrialError as failure:
                return _failed_trial(cases, _last_opened(opened, len(cases), failure), side, failure)
            if answer.busy is not None:
                return PairedTrial(variants=_variants(cases), busy_reason=answer.busy)
            _require_sessions(device, answer, len(cases))
            workers.insert(side, worker)
            answers.insert(side, answer)
        pair_ns = {
            index: sum(answer.latencies_ns[index] for answer in answers)
            for index in range(len(cases))
            if not any(isinstance(answer.sessions[index], FailedSession) for answer in answers)
        }
        columns = _alternate(workers, pair_ns, sampling.duration_s, draw)
        for worker in workers:
            worker.send(None)
    sessions = [session for pair in zip(*(answer.sessions for answer in answers), strict=True) for session in pair]
    hosts = {"host": answers[0].host, "candidate_host": answers[1].host}
    return _checked_trial(cases, columns, sessions, hosts, sampling)


def _last_opened(opened: Sequence[Heartbeat], count: int, failure: TrialError) -> int:
    """Return the index of the session, one of `count`, that a process opened when it failed.

    Raises:
        TrialError: it was not opening one.
    """
    index = opened[-1].index if opened else None
    if index is None or index >= count:
        raise failure
    return index


def _require_sessions(device: Device, answer: PairedAnswer | AlternatingAnswer, count: int) -> None:
    if len(answer.sessions) != count:
        raise wrong_answer(f"device {device.name}", f"{len(answer.sessions)} sessions in place of {count}")


def _alternate(workers: Sequence[Worker], pair_ns: dict[int, int], duration_s: float, draw: Random) -> Columns:
    """Run a block of pairs of each row, round by round; `pair_ns` is the expected duration of a row's pair."""
    pairs: list[tuple[int, ...]] = []
    end = time.monotonic() + duration_s
    round_number = 0
    while pair_ns:
        for row in draw.sample(list(pair_ns), len(pair_ns)):
            if round_number and time.monotonic() >= end:
                return pair_columns(pairs)
            runs = max(1, MIN_PAIR_NS // pair_ns[row])
            for first in run_orders(pairs_per_block(runs * pair_ns[row], **BLOCK), draw):
                medians: dict[int, list[int]] = {}
                for side in (first, 1 - first):
                    workers[side].send((row, runs))
                    timings = workers[side].receive_timings(runs)
                    medians[side] = [
                        round(float(np.median(times_ns))) for times_ns in (timings.latencies_ns, timings.cpu_ns)
                    ]
                (base_ns, base_cpu_ns), (candidate_ns, candidate_cpu_ns) = medians[0], medians[1]
                pairs.append((row, round_number, first, base_ns, candidate_ns, base_cpu_ns, candidate_cpu_ns))
        round_number += 1
    return pair_columns(pairs)


def _request(kind: str, sides: Sequence[PreparedSide], sampling: PairedSampling) -> dict[str, Any]:
    return {
        "kind": kind,
        "seed": sampling.seed,
        "limits": {"pressure": sampling.pressure, "load": sampling.load},
        "sessions": [
            session_request(side.device, side.case, convert_model(side.device, side.case).path) for side in sides
        ],
    }


def _checked_trial(
    cases: Sequence[ComparisonCase],
    columns: Columns,
    answers: Sequence[SessionFacts | FailedSession],
    hosts: dict[str, Any],
    sampling: PairedSampling,
) -> PairedTrial:
    """Return the trial; a session that failed, has wrong outputs or runs on another provider fails its row."""
    failed: dict[str, tuple[str, str]] = {}
    sessions: dict[str, dict[str, Any]] = {}
    for index, case in enumerate(cases):
        for name, side, answer in zip(SIDES, case.sides, answers[2 * index : 2 * index + 2], strict=True):
            try:
                sessions[f"{case.variant} {name}"] = _session_facts(
                    side, answer, allow_fallback=sampling.allow_fallback
                )
            except TrialError as failure:
                failed.setdefault(case.variant, (name, failure.message))
    facts = {**hosts, "sessions": sessions}
    return PairedTrial(variants=_variants(cases), columns=columns, failed=failed, facts=facts)


def _session_facts(side: PreparedSide, answer: SessionFacts | FailedSession, *, allow_fallback: bool) -> dict[str, Any]:
    if isinstance(answer, FailedSession):
        raise TrialError(error_text(answer.error), hint="run the model alone: mnbench run MODEL")
    if not allow_fallback:
        require_placement(side.case, answer.placement, side.device.provider)
    facts = {
        name: getattr(answer, name) for name in ("session_ns", "first_run_ns", "threads", "runtime_version", "waits")
    }
    agreement = check_outputs(side.device, side.case, answer.outputs)
    return facts | agreement._asdict() | {"sha256": side.case.sha256}


def _failed_trial(cases: Sequence[ComparisonCase], row: int, side: int, failure: TrialError) -> PairedTrial:
    return PairedTrial(variants=_variants(cases), failed={cases[row].variant: (SIDES[side], failure.message)})


def _variants(cases: Sequence[ComparisonCase]) -> tuple[str, ...]:
    return tuple(case.variant for case in cases)
