"""Which runs of a trial are accepted: those that are turns of the rows that did not fail."""

from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from answers import session_message, trial_message
from hypothesis import assume, given
from hypothesis import strategies as st

from mnbench.bench.trial import _require_turns, require_sessions
from mnbench.errors import UnreachableError
from mnbench.targets.answers import TrialAnswer, decode_answer
from mnbench.worker.requests.trial import RUN_COLUMNS, draw_turns

DEVICE = SimpleNamespace(name="pi", runtime="onnxruntime")
FAILED = {"state": "failed", "error": "no memory"}


def accepted(order, failed, sides):
    """Whether runs of sessions in this order are those of a trial whose sessions have or have not failed."""
    sessions = [FAILED if item else session_message([]) for item in failed]
    columns = {name: np.full(len(order), 9, np.int64) for name in RUN_COLUMNS} | {"session": np.array(order, np.int64)}
    message = trial_message(sessions, sides=sides) | {"runs": {name: columns[name].tobytes() for name in RUN_COLUMNS}}
    try:
        _require_turns(DEVICE, decode_answer("device pi", message, TrialAnswer), sides)
    except UnreachableError:
        return False
    return True


@st.composite
def trials(draw, min_sides=1):
    """The order of the runs of an honest trial, whether each session failed, and the sides of a row."""
    sides, rows = draw(st.integers(min_sides, 3)), draw(st.integers(1, 4))
    failed = draw(st.lists(st.booleans(), min_size=sides * rows, max_size=sides * rows))
    random = Random(draw(st.integers(0, 99)))
    starts = [start for start in range(0, len(failed), sides) if not any(failed[start : start + sides])]
    visits = starts + draw(st.lists(st.sampled_from(starts), max_size=4)) if starts else []
    turns = [draw_turns(range(start, start + sides), draw(st.integers(1, 3)), random) for start in visits]
    return [session for order in turns for session in order], failed, sides


@given(trials())
def test_turns_of_the_rows_that_did_not_fail(trial):
    """In whatever order rows, and the sessions in each turn, come."""
    assert accepted(*trial)


@given(trials(min_sides=2), st.data())
def test_any_other_session_in_a_turn(trial, data):
    """One run of another session makes the pair wrong."""
    order, failed, sides = trial
    assume(order)
    index = data.draw(st.integers(0, len(order) - 1))
    other = data.draw(st.integers(0, len(failed) - 1).filter(lambda session: session != order[index]))

    assert not accepted([*order[:index], other, *order[index + 1 :]], failed, sides)


@given(trials(), st.data())
def test_a_missing_row_or_run(trial, data):
    """Every row that did not fail has runs, and every turn is complete."""
    order, failed, sides = trial
    assume(order)
    row = data.draw(st.sampled_from(order)) // sides

    assert not accepted([session for session in order if session // sides != row], failed, sides)
    assert sides == 1 or not accepted(order[:-1], failed, sides)


@given(trials())
def test_runs_of_a_session_that_failed(trial):
    """A session that failed has none, nor have those next to it."""
    order, failed, sides = trial
    assume(any(failed))
    row = failed.index(True) // sides * sides

    assert not accepted([*order, *range(row, row + sides)], failed, sides)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"sessions": []}, "0 sessions in place of 1"),
        ({"runtime": None}, "it ran None in place of onnxruntime"),
        ({"runtime": {"name": "mnn", "version": "1"}}, "it ran mnn in place of onnxruntime"),
        ({"host": {}}, "no facts of the host"),
    ],
)
def test_an_answer_is_of_what_was_asked_for(changes, reason):
    """So many sessions of the device's runtime, and a host."""
    message = trial_message([session_message([])]) | changes
    if not message["sessions"]:
        message["runs"] = dict.fromkeys(RUN_COLUMNS, b"")
    answer = decode_answer("device pi", message, TrialAnswer)
    if not reason:
        require_sessions(DEVICE, answer, 1)
        return
    with pytest.raises(UnreachableError, match=reason):
        require_sessions(DEVICE, answer, 1)
