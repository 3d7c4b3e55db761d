"""Cases that share a process: each has its own figures, and fails by itself."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from answers import answering, session_message, trial_message

from mnbench.bench.case_trials import measure_all, measure_cases
from mnbench.bench.request import convert_model
from mnbench.bench.trial import ProcessError
from mnbench.errors import TrialError
from mnbench.targets.answers import Heartbeat


@pytest.fixture
def right_outputs(fake_worker):
    """A worker whose outputs are those of the reference."""
    fake_worker.outputs = lambda _: [np.arange(3.0)]
    return fake_worker


def test_each_case_of_a_process_has_its_own_figures(make_plan, make_cell, fake_worker):
    """The runs, the outputs and the facts of a session are those of its case; the process shares its duration."""
    fake_worker.outputs = lambda session: [np.arange(3.0) + (session["model"] == b"b") * 1e-6]
    cases = [make_cell(name, name.encode()) for name in "abc"]
    results = measure_cases(make_plan(*cases), cases, "0/3")
    trials = [results[case.row.id] for case in cases]

    assert 1 == len(fake_worker.requests)
    assert [b"a", b"b", b"c"] == [session["model"] for session in fake_worker.sessions]
    assert "0/3" == fake_worker.requests[0][1]["seed"]
    assert [0.0, 5e-7, 0.0] == pytest.approx([trial.difference for trial in trials])
    assert [200] * 3 == [len(trial.latencies_ns) for trial in trials]
    assert 1 == len({trial.duration_ns for trial in trials})


@pytest.mark.usefixtures("right_outputs")
def test_only_a_case_alone_has_what_the_process_would_share(make_plan, make_cell):
    """Among others, session creation, first run and memory are not those of a user's process."""
    cases = [make_cell(name) for name in "ab"]
    names = ("session_ns", "first_run_ns", "peak_rss_bytes")
    (alone,) = measure_cases(make_plan(*cases), cases[:1], "").values()
    shared = measure_cases(make_plan(*cases), cases, "").values()

    assert [2_000_000, 1_500_000, 50_000_000] == [getattr(alone, name) for name in names]
    assert [None] * 6 == [getattr(trial, name) for trial in shared for name in names]


def test_a_wrong_case_of_several_fails_alone(make_plan, make_cell, fake_worker):
    """The others have their figures."""
    fake_worker.outputs = lambda session: [np.arange(3.0) + (session["model"] == b"b")]
    cases = [make_cell(name, name.encode()) for name in "abc"]
    first, wrong, last = measure_cases(make_plan(*cases), cases, "").values()

    assert "outputs differ" in wrong.message
    assert [0.0, 0.0] == [first.difference, last.difference]


def test_a_session_that_fails_costs_its_case(make_plan, make_cell, monkeypatch):
    """The sessions that opened are measured; runs of a failed session are none."""
    failed = {"state": "failed", "error": "no\nmemory"}
    sessions = [session_message([np.arange(3.0)]), failed, session_message([np.arange(3.0)])]
    monkeypatch.setattr("mnbench.bench.trial.call_worker", answering(trial_message(sessions)))
    cases = [make_cell(name) for name in "abc"]
    first, wrong, last = measure_cases(make_plan(*cases), cases, "").values()

    assert "no memory" == wrong.message
    assert [200, 200] == [len(trial.latencies_ns) for trial in (first, last)]


def test_a_case_that_is_not_converted_is_left_out(make_plan, make_cell, right_outputs, monkeypatch):
    """The others share the process; the case that ends it is named by its place among all."""

    def convert(device, case):
        if case.variant == "a":
            raise TrialError("cannot be converted", hint="")
        return convert_model(device, case)

    def crash(*_, on_heartbeat, **_settings):
        on_heartbeat(Heartbeat(expected_s=0, index=1))
        raise TrialError("killed", hint="")

    for module in ("case_trials", "trial"):
        monkeypatch.setattr(f"mnbench.bench.{module}.convert_model", convert)
    cases = [make_cell(name) for name in "abc"]
    results = measure_cases(make_plan(*cases), cases, "")
    assert ["cannot be converted", 0.0, 0.0] == [
        result.message if isinstance(result, TrialError) else result.difference
        for result in (results[case.row.id] for case in cases)
    ]
    assert 2 == len(right_outputs.sessions)

    monkeypatch.setattr("mnbench.bench.trial.call_worker", crash)
    with pytest.raises(ProcessError, match="killed") as caught:
        measure_cases(make_plan(*cases), cases, "")
    assert 2 == caught.value.session


def test_all_cases_or_an_error(make_plan, make_cell, fake_worker):
    """Where nothing may be missing, one wrong case is the error of the process."""
    fake_worker.outputs = lambda session: [np.arange(3.0) + (session["model"] == b"b")]
    plan = make_plan(*(make_cell(name, name.encode()) for name in "ac"))
    wrong = make_plan(*(make_cell(name, name.encode()) for name in "abc"))

    assert ["a", "c"] == list(measure_all(plan, ""))
    with pytest.raises(TrialError, match="outputs differ"):
        measure_all(wrong, "")
