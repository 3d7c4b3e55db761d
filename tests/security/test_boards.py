"""A board's wrong answer is one line for that board; the others are measured, and every command goes on."""

# ruff: noqa: SIM300  expected == actual

import struct
from contextlib import contextmanager

import execnet
import onnx
import pytest
from answers import trial_message
from boards import Board, honest_session, honest_trial, host_message, outputs_message, profile_message
from execnet import gateway_base
from execnet.gateway_base import opcode
from hostile_boards import CLEAR_SCREEN, WRONG, output, says, with_runs
from onnx import TensorProto, helper

from mnbench.results.store import ResultsFile
from mnbench.targets import transport

MODEL = "magnitude.onnx"


@pytest.fixture
def run_two(invoke, workspace, monkeypatch):
    """Measure a model on an honest device and on board `pi`, with these messages."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3)) for name in ("input", "output")]
    node = helper.make_node("Abs", ["input"], ["output"], name="magnitude")
    model = helper.make_model(
        helper.make_graph([node], "magnitude", value[:1], value[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, workspace / MODEL)
    (workspace / "devices").mkdir()
    (workspace / "devices" / "pi.toml").write_text('extends = "cpu"\nname = "pi"\nsummary = "a board"\n')
    boards = {"cpu": Board(lambda request: [honest_trial(request)])}

    @contextmanager
    def open_gateway(device, _environment):
        yield boards[device.name]

    monkeypatch.setattr(transport, "_open_gateway", open_gateway)

    def run(messages, *words):
        boards["pi"] = Board(messages)
        words = words or ("run", MODEL, "--device", "cpu,pi", "--processes", "2", "--no-roofline")
        return invoke(*words), boards["pi"]

    return run


@pytest.mark.parametrize("attempt", WRONG)
def test_a_wrong_answer(attempt, run_two, workspace):
    """One line for the board; the record of the other device is stored and reads back, and none of the board's is."""
    result, _ = run_two(WRONG[attempt])

    assert 1 == result.exit_code
    (error,) = [line for line in result.stderr.splitlines() if "device pi" in line]
    assert error.startswith("Error: device pi: answers wrongly: ")
    assert error.isprintable()
    records = {name: ResultsFile(workspace / "results", name).read_records() for name in ("cpu", "pi")}
    assert ([None], []) == ([record.error for record in records["cpu"]], records["pi"])


def facts(**changes):
    """A host whose facts are these."""
    return {"facts": host_message()["facts"] | changes}


HOSTS = {
    "nothing": None,
    "facts a list": {"facts": [1]},
    "facts None": {"facts": None},
    "cores 2^70": facts(cores=2**70),
    "allowed CPUs without end": facts(allowed_cpus="0-" + "9" * 5000),
    "core kinds a list": facts(core_kinds=["x"]),
    "before a text": {"before": "x"},
    "conditions None": {"conditions": None},
    "temperature NaN": {"conditions": {"at_ns": 1, "temperature_c": float("nan")}},
    "firmware limits of numbers": {"conditions": {"at_ns": 1, "firmware_limits": [1]}},
    "gpu a list": {"gpu": [1]},
    "gpu clock infinite": {"gpu": {"name": "x", "sm_clock_max_hz": float("inf")}},
    "gpu limits of numbers": {"gpu": {"clock_limits": [1, 2]}},
    "runtime version a list": {"runtime_version": ["1"]},
    "runtime version a path": {"runtime_version": "../evil"},
}


@pytest.mark.parametrize("attempt", HOSTS)
def test_a_wrong_host(attempt, run_two):
    """`doctor` says in one line that the facts are wrong."""
    changes = HOSTS[attempt]
    message = {} if changes is None else host_message() | changes
    result, _ = run_two(lambda _request: [message], "doctor", "--quick", "--device", "pi")

    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("Error: device pi: answers wrongly: ")


PROFILES = {
    "nothing": {"nodes": None, "probe": None},
    "nodes of numbers": {"nodes": [5]},
    "node without a name": {"nodes": [{"op": "Abs"}]},
    "time negative": {"nodes": [profile_message()["nodes"][0] | {"duration_ns": -1}]},
    "time of text": {"nodes": [profile_message()["nodes"][0] | {"duration_ns": "x"}]},
    "a probe of one kernel": {"probe": profile_message()["nodes"]},
    "threads None": {"threads": None},
    "runtime version a list": {"runtime_version": [1]},
}


@pytest.mark.parametrize("attempt", PROFILES)
def test_a_wrong_profile(attempt, run_two):
    """The record stays, and one line says why there is no profile."""

    def messages(request):
        is_profile = request["kind"] == "layer_profile"
        return [profile_message() | PROFILES[attempt] if is_profile else honest_trial(request)]

    result, _ = run_two(messages, "run", MODEL, "--device", "pi", "--processes", "1", "--no-roofline", "--profile")

    assert "magnitude" in result.stdout
    assert "device pi: answers wrongly: " in result.stderr


OUTPUTS = {
    "nothing": lambda _: {},
    "fewer than inputs": lambda honest: honest | {"outputs": honest["outputs"][:1]},
    "more than inputs": lambda honest: honest | {"outputs": honest["outputs"] * 2},
    "numbers": lambda honest: honest | {"outputs": [5]},
    "placement a list": lambda honest: honest | {"placement": [1]},
    "runtime version a list": lambda honest: honest | {"runtime_version": [1]},
}


@pytest.mark.parametrize("attempt", OUTPUTS)
def test_wrong_outputs(attempt, run_two):
    """`verify` says in one line that the answer is wrong."""
    result, _ = run_two(lambda request: [OUTPUTS[attempt](outputs_message(request))], "verify", MODEL, "--device", "pi")

    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("Error: device pi: answers wrongly: ")


def test_an_output_of_another_kind(run_two, workspace):
    """Complex numbers in place of real ones are wrong: the case fails, and its record reads back."""
    result, _ = run_two(output(dtype="complex64", data=bytes(24)))

    assert 1 == result.exit_code
    (record,) = ResultsFile(workspace / "results", "pi").read_records()
    assert "`output` is complex, which is not expected" in record.error
    assert 0 == run_two(says(), "table")[0].exit_code


def pairs(**columns):
    """Pairs whose runs have these columns."""
    return lambda honest: with_runs(honest, **columns)


def sessions(change):
    """Pairs whose sessions are those that `change` makes of the honest ones."""
    return lambda honest: honest | {"sessions": change(honest["sessions"])}


FAILED = {"state": "failed", "error": "no memory"}
PAIRS = {
    "nothing": lambda _: {},
    "busy 5": lambda _: {"busy": 5},
    "no columns": lambda honest: honest | {"runs": {}},
    "no pair of a row": lambda honest: honest | {"runs": dict.fromkeys(honest["runs"], b"")},
    "times 0": pairs(latency_ns=[0] * 400),
    "a shorter column": pairs(cpu_ns=[1, 2]),
    "half a pair": pairs(session=[0], slice=[0], latency_ns=[1], cpu_ns=[1]),
    "the baseline twice": pairs(session=[0, 0] * 200),
    "sides of no pair": pairs(session=[0] * 200 + [1] * 200),
    "a row that there is not": pairs(session=[2, 3] * 200),
    "a session that there is not": pairs(session=[0, 2] * 200),
    "a session of 2^62": pairs(session=[2**62, 2**62 + 1] * 200),
    "no sessions": sessions(lambda _: []),
    "half of the sessions": sessions(lambda honest: honest[:1]),
    "more sessions": sessions(lambda honest: honest * 2),
    "sessions of text": sessions(lambda _: ["x", "y"]),
    "a session without outputs": sessions(lambda honest: [{"state": "warm"}, honest[1]]),
    "pairs of a session that failed": sessions(lambda honest: [FAILED, honest[1]]),
    "host a list": lambda honest: honest | {"host": [1]},
    "no host": lambda honest: honest | {"host": {}},
    "no runtime": lambda honest: honest | {"runtime": None},
}


@pytest.mark.parametrize("attempt", PAIRS)
def test_wrong_pairs(attempt, run_two, workspace):
    """`compare` says in one line that the answer is wrong."""
    proto = onnx.load(workspace / MODEL)
    proto.graph.node[0].name = "same"
    onnx.save(proto, workspace / "candidate.onnx")

    def messages(request):
        return [host_message() if request["kind"] == "host_facts" else PAIRS[attempt](honest_trial(request))]

    result, _ = run_two(messages, "compare", MODEL, "candidate.onnx", "--device", "pi", "--allow", "busy")

    assert "Error: device pi: answers wrongly: " in result.stderr
    assert 0 != result.exit_code


def test_a_wait_is_what_the_request_explains(run_two):
    """A board that announces 22 hours is waited for as long as one that announces what it needs."""
    result, board = run_two(lambda _request: [{"expected_s": 80_000.0}])

    assert 1 == result.exit_code
    assert "the worker hangs" in result.stdout + result.stderr
    assert 140 > max(board.channels[0].waits_s)


def test_text_of_a_board_is_text(run_two, workspace):
    """Escape sequences, new lines and commands of a CI service are stored and shown as text."""
    texts = {"cpu": CLEAR_SCREEN, "cores": 2, "core_kinds": {CLEAR_SCREEN: "0-1"}}
    facts = {"placement": {CLEAR_SCREEN: []}}
    run_two(
        lambda request: [
            trial_message([honest_session(item) | facts for item in request["sessions"]]) | {"host": texts}
        ]
    )
    result, _ = run_two(lambda _request: [{"error": CLEAR_SCREEN * 1000, "unavailable": None}])
    run_two(lambda _request: [{"error": CLEAR_SCREEN, "unavailable": "runtime"}])

    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())
    records = ResultsFile(workspace / "results", "pi").read_records()
    assert 2 == len(records)
    assert records[0].host["cpu"].isprintable()
    assert next(iter(records[0].host["core_kinds"])).isprintable()
    assert records[1].error.isprintable()


HOSTILE_BYTES = {
    "a list of 2^31": opcode.NEWLIST + struct.pack("!i", 2**31 - 1),
    "a list of -1": opcode.NEWLIST + struct.pack("!i", -1),
    "lists that hold lists": (opcode.NEWLIST + struct.pack("!i", 10_000)) * 20_000,
}


@pytest.mark.parametrize("attempt", HOSTILE_BYTES)
def test_a_list_is_no_longer_than_its_message(attempt):
    """Nothing is allocated for items that did not come."""
    with pytest.raises((execnet.DataFormatError, gateway_base.LoadError)):
        execnet.loads(gateway_base.DUMPFORMAT_VERSION + HOSTILE_BYTES[attempt] + opcode.STOP)


def test_an_error_that_nobody_waits_for_is_not_printed(capsys):
    """A board can send one for any channel."""
    gateway_base.RemoteError(CLEAR_SCREEN).warn()
    assert "" == capsys.readouterr().err
