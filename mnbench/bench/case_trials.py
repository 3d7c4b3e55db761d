"""Measure cases in one process, as `mnbench run` does: each is a row of one session."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.request import convert_model
from mnbench.bench.trial import PlannedSession, ProcessError, check_session, run_trial
from mnbench.errors import TrialError
from mnbench.results.trial_result import TrialResult
from mnbench.targets.answers import TrialAnswer

CaseResults: TypeAlias = dict[str, TrialResult | TrialError]
"""By the id of the row: what a process measured of a case, or why it failed."""


MeasureCases: TypeAlias = Callable[[Plan, Sequence[BenchmarkCase], str], CaseResults]


def measure_alone(plan: Plan, case: BenchmarkCase, seed: str = "") -> TrialResult:
    """Measure a case alone in one new process.

    Raises:
        TrialError: the worker crashed, hung or failed, its outputs are wrong, or nodes ran on another provider.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    return measure_all(replace(plan, cases=(case,)), seed)[case.variant]


def measure_cases(plan: Plan, cases: Sequence[BenchmarkCase], seed: str) -> CaseResults:
    """Measure cases side by side in one new process.

    Raises:
        ProcessError: the worker crashed, hung or failed; its `session` is the index of the case that it worked on.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    results: CaseResults = {}
    able: list[BenchmarkCase] = []
    for case in cases:
        try:
            convert_model(plan.device, case)
        except TrialError as failure:
            results[case.row.id] = failure
        else:
            able.append(case)
    if not able:
        return results
    sessions = [PlannedSession(case=case, device=plan.device) for case in able]
    begin_ns = time.monotonic_ns()
    try:
        answer = run_trial([(session,) for session in sessions], plan.sampling.protocol, seed=seed)
    except ProcessError as failure:
        if failure.session is not None:
            failure.session = cases.index(able[failure.session])
        raise
    duration_ns = (time.monotonic_ns() - begin_ns) // len(able)
    for index, session in enumerate(sessions):
        try:
            result = _result(session, index, answer, duration_ns, allow_fallback=plan.allow_fallback)
        except TrialError as failure:
            result = failure
        results[session.case.row.id] = result
    return results


def measure_all(plan: Plan, seed: str, measure: MeasureCases = measure_cases) -> dict[str, TrialResult]:
    """Measure all cases of a plan in one new process; return the results by variant.

    Raises:
        TrialError: a case failed.
        RuntimeUnavailable, UnreachableError: nothing can be measured on this device.
    """
    results = measure(plan, plan.cases, seed)
    measured: dict[str, TrialResult] = {}
    for case in plan.cases:
        result = results[case.row.id]
        if isinstance(result, TrialError):
            raise result
        measured[case.variant] = result
    return measured


def _result(
    session: PlannedSession, index: int, answer: TrialAnswer, duration_ns: int, *, allow_fallback: bool
) -> TrialResult:
    facts, agreement = check_session(session, answer.sessions[index], allow_fallback=allow_fallback)
    mine, alone = answer.runs["session"] == index, len(answer.sessions) == 1
    assert answer.runtime  # every answer with sessions has it
    return TrialResult(
        latencies_ns=answer.runs["latency_ns"][mine],
        cpu_ns=answer.runs["cpu_ns"][mine],
        first_run_ns=facts.first_run_ns if alone else None,
        session_ns=facts.session_ns if alone else None,
        peak_rss_bytes=answer.peak_rss_bytes if alone else None,
        threads=facts.threads,
        copies_ns=facts.copies_ns,
        placement=facts.placement,
        runtime=answer.runtime,
        host=answer.host,
        conditions=answer.conditions,
        gpu=answer.gpu,
        duration_ns=duration_ns,
        difference=agreement.difference,
        not_compared=agreement.not_compared,
        conversion_ns=convert_model(session.device, session.case).conversion_ns,
    )
