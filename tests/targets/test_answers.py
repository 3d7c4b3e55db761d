"""Right answers of every kind are taken over as they are."""

# ruff: noqa: SIM300  expected == actual

import numpy as np
import pytest
from boards import honest_trial, host_message, outputs_message, paired_message, profile_message, session_message

from mnbench.bench.fleet import decode_result
from mnbench.targets import answers
from mnbench.targets.answers import decode_answer, encode_answer
from mnbench.worker.session import pack_value

INPUTS = {"inputs": {"input": pack_value(np.array([[1.5, -2.0, 3.0]], np.float32))}}
SESSION = session_message(INPUTS)
RIGHT = {
    answers.TrialAnswer: honest_trial(INPUTS),
    answers.PairedAnswer: paired_message({"sessions": [INPUTS, INPUTS]}),
    answers.AlternatingAnswer: {"latencies_ns": [5], "sessions": [SESSION], "host": {"cores": 1}},
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
    busy = decode_answer("device pi", {"busy": "the load is 9"}, answers.PairedAnswer)
    failed = {"latencies_ns": [0], "sessions": [{"state": "failed", "error": "no\nmemory"}], "host": {}}
    answer = decode_answer("device pi", failed, answers.AlternatingAnswer)

    assert ("the load is 9", "no memory") == (busy.busy, answer.sessions[0].error)


def test_outputs_are_arrays():
    """Numbers and text have their type and shape."""
    text = ("str", (1, 2), ["a", "b"])
    answer = decode_answer("device pi", honest_trial(INPUTS) | {"outputs": [text, None]}, answers.TrialAnswer)

    assert [["a", "b"]] == answer.outputs[0].tolist()
    assert None is answer.outputs[1]
    (output,) = decode_answer("device pi", honest_trial(INPUTS), answers.TrialAnswer).outputs
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
