"""Bytes from a board of a fleet that are no result."""

# ruff: noqa: SIM300  expected == actual

import msgspec
import pytest

from mnbench.bench.fleet import decode_result

FLEET = {
    "no bytes": 5,
    "an object": object(),
    "no MessagePack": b"\xc1",
    "cut off": b"\x82\xa6trials",
    "nothing": b"\x80",
    "deep": b"\x91" * 100_000,
    "trials a text": msgspec.msgpack.encode({"trials": "x"}),
    "a trial of numbers": msgspec.msgpack.encode({"trials": [5]}),
    "error a number": msgspec.msgpack.encode({"case_error": 5}),
    "text that is no UTF-8": b"\x81\xa5trials\xa1\xff",
    "no trial, no error": msgspec.msgpack.encode({"trials": [], "case_error": "", "board_error": ""}),
}


@pytest.mark.parametrize("attempt", FLEET)
def test_a_wrong_result_of_a_fleet(attempt):
    """It is an error of that board, and another board measures the case."""
    result = decode_result("one", FLEET[attempt])

    assert ((), "") == (tuple(result.trials), result.case_error)
    assert result.board_error.startswith("board one: answers wrongly: ")
