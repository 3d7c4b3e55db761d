"""Right answers of every kind are taken over as they are."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from answers import session_message, trial_message
from boards import Board, honest_session, honest_trial, host_message, outputs_message, profile_message

from mnbench.bench.fleet import decode_result
from mnbench.errors import UnreachableError
from mnbench.targets import answers
from mnbench.targets.answers import decode_answer, encode_answer
from mnbench.targets.transport import Worker
from mnbench.worker.session import pack_value

INPUTS = {"inputs": {"input": pack_value(np.array([[1.5, -2.0, 3.0]], np.float32))}}
TRIAL = honest_trial({"sessions": [INPUTS, INPUTS], "sides": 2})
RIGHT = {
    answers.TrialAnswer: TRIAL,
    answers.AlternatingAnswer: {
        "latencies_ns": [5],
        "sessions": [honest_session(INPUTS)],
        "runtime": TRIAL["runtime"],
        "host": {"cores": 1},
    },
    answers.Timings: ([5, 6], [0, 1]),
    answers.ProfileAnswer: profile_message(),
    answers.OutputsAnswer: outputs_message({"inputs": [INPUTS["inputs"]]}),
    answers.ConvertedAnswer: {"model": b"model", "duration_ns": 5},
    answers.HostSnapshot: host_message(),
    answers.StoreFacts: {"folder": "/far", "python": "python3"},
    answers.StoredModel: {"path": "/far/x"},
    answers.Heartbeat: {"expected_s": 0, "index": 3},
}


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer.__name__)
def test_a_right_answer(answer):
    """It is of the type that was asked for."""
    assert isinstance(decode_answer("device pi", RIGHT[answer], answer), answer)


def test_a_busy_machine_and_a_failed_session():
    """Both say why."""
    busy = decode_answer("device pi", {"busy": "the load is 9"}, answers.TrialAnswer)
    failed = {"latencies_ns": [0], "sessions": [{"state": "failed", "error": "no\nmemory"}], "host": {}}
    answer = decode_answer("device pi", failed, answers.AlternatingAnswer)

    assert ("the load is 9", "no memory") == (busy.busy, answer.sessions[0].error)


@pytest.mark.parametrize(
    "changes",
    [
        {"latencies_ns": []},
        {"latencies_ns": [5, 5]},
        {"latencies_ns": [0]},
        {"latencies_ns": [-5]},
        {"latencies_ns": ["x"]},
        {"sessions": []},
        {"sessions": [{"state": "x"}]},
        {"runtime": {"name": "onnxruntime"}},
        {"host": [1]},
        {"busy": 5},
    ],
    ids=str,
)
def test_a_wrong_side(changes):
    """One side of a comparison has a latency above 0 of each session that did not fail."""
    with pytest.raises(UnreachableError, match="answers wrongly"):
        decode_answer("device pi", RIGHT[answers.AlternatingAnswer] | changes, answers.AlternatingAnswer)


@pytest.mark.parametrize(
    "timings",
    [([5], [0]), ([5, 5, 5], [0, 0, 0]), ([5, 5], [0]), ([5, 0], [0, 0]), ([], []), [5, 5], {"expected_s": 1.0}],
    ids=str,
)
def test_times_of_other_runs_than_asked_for(make_device, timings):
    """A side answers so many runs with so many times, and with no other message."""
    worker = Worker(Board(lambda _: [timings]), make_device(), 1.0)
    worker.send({"kind": "alternating"})
    with pytest.raises(UnreachableError, match="answers wrongly"):
        worker.receive_timings(2)


def test_a_trial_whose_sessions_all_failed():
    """It has no runs."""
    message = trial_message([{"state": "failed", "error": "no memory"}] * 2)
    answer = decode_answer("device pi", message, answers.TrialAnswer)

    assert [0] * 4 == [values.size for values in answer.runs.values()]


def test_outputs_are_arrays():
    """Numbers and text have their type and shape."""
    text = session_message([]) | {"outputs": [("str", (1, 2), ["a", "b"]), None]}
    answer = decode_answer("device pi", trial_message([text, honest_session(INPUTS)]), answers.TrialAnswer)
    (strings, nothing), (output,) = (session.outputs for session in answer.sessions)

    assert ([["a", "b"]], None) == (strings.tolist(), nothing)
    assert ([[1.5, 2.0, 3.0]], np.float32) == (output.tolist(), output.dtype)


def test_the_result_of_a_fleet_crosses_as_bytes(make_sample):
    """What a board sends is what is stored here."""
    sample = make_sample()
    data = encode_answer(answers.CaseAnswer(trials=[sample]))
    result = decode_result("one", data)
    (trial,) = result.trials

    assert ("", "") == (result.case_error, result.board_error)
    assert sample.latencies_ns.tolist() == trial.latencies_ns.tolist()
    assert (sample.runtime, sample.host, sample.threads) == (trial.runtime, trial.host, trial.threads)
