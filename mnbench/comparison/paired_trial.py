"""Pairs: what one process, or two that take turns, found of the base and the candidate of every row."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.request import convert_model, session_request
from mnbench.bench.trial import check_outputs, require_placement
from mnbench.errors import TrialError
from mnbench.targets.device import Device
from mnbench.targets.transport import Worker, call_worker, open_worker
from mnbench.units import NS_PER_S
from mnbench.worker.requests.paired import PAIR_COLUMNS, pairs_per_block, run_orders

SIDES = ("base", "candidate")
TURN_NS = 2_000_000

HUGE_PAGES_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""On pages of 4 KiB, sessions of one model differ by 1.3 % (sd): which physical pages they got, and so which of these
share lines of a cache, is chance, and stays as it is. On huge pages it is 0.2 %. Needs Linux and glibc 2.35."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSide:
    """A model, and how it is run."""

    case: BenchmarkCase
    device: Device

    @property
    def process_key(self) -> tuple[object, ...]:
        """What arms of one process have in common: the Python, the runtime, and the variables that it starts with."""
        return self.device.gateway, self.device.runtime, *sorted(self.device.environment.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonCase:
    """What is compared under a name."""

    variant: str
    baseline: PreparedSide
    candidate: PreparedSide

    @property
    def sides(self) -> tuple[PreparedSide, PreparedSide]:
        """The base first."""
        return self.baseline, self.candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSampling:
    """How one process measures: `duration_s` for all rows together, a visit to a row `burst_s`.

    More waiting tasks than `pressure` (a share of the time) or `load` (beyond the number of cores), and it does not.
    """

    duration_s: float
    seed: str
    block_s: float = 0.06
    min_pairs: int = 5
    timeout_s: float = 120.0
    pressure: float = 0.3
    load: float = 1.0
    allow_fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTrial:
    """Every pair of one process, in order: `columns` are as `worker.pairs` names them, `row` counts `variants`.

    `failed` says of a row which of its sides failed, and how; `busy` why nothing was measured at all.
    """

    variants: tuple[str, ...]
    columns: dict[str, NDArray[np.int64]]
    failed: dict[str, tuple[str, str]]
    facts: dict[str, Any] = field(repr=False)
    busy_reason: str | None = None

    def columns_of(self, variant: str) -> dict[str, NDArray[np.int64]]:
        """The columns of one row."""
        mine = self.columns["row"] == self.variants.index(variant)
        return {name: values[mine] for name, values in self.columns.items()}

    def blocking_waits(self, variant: str) -> bool:
        """Whether a side of the row waits for anything while it runs, or may do so unseen."""
        return any(self.facts["arms"][f"{variant} {side}"]["waits"] for side in SIDES)


def run_paired_trial(
    cases: Sequence[ComparisonCase], sampling: PairedSampling, *, on_progress: Callable[[float], object]
) -> PairedTrial:
    """Measure the rows in one fresh process, or in one a side where their runtimes cannot share one.

    All bases are of one place, and so are all candidates.

    `on_progress` gets the number of seconds left now and then. What it crashes or hangs with before it measures is
    the failure of the row that it was at.

    Raises:
        TrialError: the worker crashed or hung later.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    unreadable = _unreadable(cases)
    if unreadable:
        return _nothing(cases, failed=unreadable)
    if cases[0].baseline.process_key == cases[0].candidate.process_key:
        return _together(cases, sampling, on_progress)
    return _by_turns(cases, sampling, on_progress)


def _unreadable(rows: Sequence[ComparisonCase]) -> dict[str, tuple[str, str]]:
    """Of each row that a runtime does not take, which of its sides that is, and why."""
    failed: dict[str, tuple[str, str]] = {}
    for row in rows:
        for side, arm in zip(SIDES, row.sides, strict=True):
            try:
                convert_model(arm.device, arm.case)
            except TrialError as failure:
                failed.setdefault(row.variant, (side, failure.message))
    return failed


def _together(rows: Sequence[ComparisonCase], dose: PairedSampling, heard: Callable[[float], object]) -> PairedTrial:
    request = {
        **_request("paired", [arm for row in rows for arm in row.sides], dose),
        "duration_ns": round(dose.duration_s * NS_PER_S),
        "block": _block(dose),
    }
    at: list[int | None] = [None]

    def progress(answer: dict[str, Any]) -> None:
        at[0] = answer.get("index")
        heard(answer["expected_s"])

    try:
        answer = call_worker(
            rows[0].baseline.device,
            request,
            timeout_s=dose.timeout_s,
            on_heartbeat=progress,
            environment=HUGE_PAGES_ENVIRONMENT,
        )
    except TrialError as failure:
        if at[0] is None:
            raise
        row, side = divmod(at[0], 2)
        return _nothing(rows, failed={rows[row].variant: (SIDES[side], failure.message)})
    if "busy" in answer:
        return _nothing(rows, busy=answer["busy"])
    columns = {name: np.frombuffer(data, np.int64) for name, data in answer["columns"].items()}
    return _paired_trial(rows, columns, answer["arms"], {"host": answer["host"]}, dose)


def _by_turns(rows: Sequence[ComparisonCase], dose: PairedSampling, heard: Callable[[float], object]) -> PairedTrial:
    draw = Random(dose.seed)  # noqa: S311  an order, not a secret
    workers: list[Worker] = []
    answers: list[dict[str, Any]] = []
    with ExitStack() as stack:
        for side in draw.sample((0, 1), 2):
            arms = [row.sides[side] for row in rows]
            worker = stack.enter_context(
                open_worker(arms[0].device, timeout_s=dose.timeout_s, environment=HUGE_PAGES_ENVIRONMENT)
            )
            worker.send(_request("alternating", arms, dose))
            answer: dict[str, Any] = {"expected_s": 0.0}
            while "expected_s" in answer:
                try:
                    answer = worker.receive()
                except TrialError as failure:
                    if "index" not in answer:
                        raise
                    at = int(answer["index"])
                    return _nothing(rows, failed={rows[at].variant: (SIDES[side], failure.message)})
            if "busy" in answer:
                return _nothing(rows, busy=answer["busy"])
            workers.insert(side, worker)
            answers.insert(side, answer)
        live = [at for at in range(len(rows)) if not any("error" in answer["arms"][at] for answer in answers)]
        columns = _turns(workers, answers, live, dose, draw, heard)
        for worker in workers:
            worker.send(None)
    arms = [answer["arms"][at] for at in range(len(rows)) for answer in answers]
    facts = {"host": answers[0]["host"], "candidate_host": answers[1]["host"]}
    return _paired_trial(rows, columns, arms, facts, dose)


def _turns(
    workers: Sequence[Worker],
    answers: Sequence[Mapping[str, Any]],
    live: Sequence[int],
    dose: PairedSampling,
    draw: Random,
    heard: Callable[[float], object],
) -> dict[str, NDArray[np.int64]]:
    """A pair is a turn of each side, of one run or as many as fit into 2 ms, of which the median counts."""
    stored: list[tuple[int, ...]] = []
    end = time.monotonic() + dose.duration_s
    sweep = 0
    while live:
        for row in draw.sample(live, len(live)):
            if sweep and time.monotonic() >= end:
                return _columns(stored)
            pair_ns = sum(answer["latencies_ns"][row] for answer in answers)
            runs = max(1, 2 * TURN_NS // pair_ns)
            for first in run_orders(pairs_per_block(runs * pair_ns, **_block(dose)), draw):
                entries: dict[int, tuple[int, int]] = {}
                for side in (first, 1 - first):
                    workers[side].send((row, runs))
                    wall, worked = workers[side].receive()
                    entries[side] = round(float(np.median(wall))), round(float(np.median(worked)))
                stored.append((row, sweep, first, entries[0][0], entries[1][0], entries[0][1], entries[1][1]))
            heard(max(0.0, end - time.monotonic()))
        sweep += 1
    return _columns(stored)


def _columns(stored: Sequence[tuple[int, ...]]) -> dict[str, NDArray[np.int64]]:
    table = np.array(stored, np.int64).reshape(-1, len(PAIR_COLUMNS))
    return {name: table[:, at].copy() for at, name in enumerate(PAIR_COLUMNS)}


def _request(kind: str, arms: Sequence[PreparedSide], dose: PairedSampling) -> dict[str, Any]:
    return {
        "kind": kind,
        "seed": dose.seed,
        "limits": {"pressure": dose.pressure, "load": dose.load},
        "arms": [session_request(arm.device, arm.case, convert_model(arm.device, arm.case).path) for arm in arms],
    }


def _block(dose: PairedSampling) -> dict[str, int]:
    return {"duration_ns": round(dose.block_s * NS_PER_S), "min_pairs": dose.min_pairs}


def _paired_trial(
    rows: Sequence[ComparisonCase],
    columns: dict[str, NDArray[np.int64]],
    answers: Sequence[dict[str, Any]],
    facts: dict[str, Any],
    dose: PairedSampling,
) -> PairedTrial:
    """Pairs, with what is wrong with any of the arms."""
    failed: dict[str, tuple[str, str]] = {}
    arms: dict[str, dict[str, Any]] = {}
    for at, row in enumerate(rows):
        for side, arm, answer in zip(SIDES, row.sides, answers[2 * at : 2 * at + 2], strict=True):
            try:
                arms[f"{row.variant} {side}"] = _arm_facts(arm, answer, allow_fallback=dose.allow_fallback)
            except TrialError as failure:
                failed.setdefault(row.variant, (side, failure.message))
    return PairedTrial(
        variants=tuple(row.variant for row in rows), columns=columns, failed=failed, facts={**facts, "arms": arms}
    )


def _arm_facts(arm: PreparedSide, answer: dict[str, Any], *, allow_fallback: bool) -> dict[str, Any]:
    if "error" in answer:
        raise TrialError(" ".join(answer["error"].split()), hint="run the model alone: mnbench run MODEL")
    if not allow_fallback:
        require_placement(arm.case, answer["placement"], arm.device.provider)
    stored = {name: answer[name] for name in ("session_ns", "first_run_ns", "threads", "runtime_version", "waits")}
    return stored | {"difference": check_outputs(arm.device, arm.case, answer["outputs"]), "sha256": arm.case.sha256}


def _nothing(
    rows: Sequence[ComparisonCase], *, busy: str | None = None, failed: dict[str, tuple[str, str]] | None = None
) -> PairedTrial:
    return PairedTrial(
        variants=tuple(row.variant for row in rows),
        columns=_columns([]),
        failed=failed or {},
        facts={},
        busy_reason=busy,
    )
