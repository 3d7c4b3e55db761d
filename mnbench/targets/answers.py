"""What a worker may answer: a type for each request. A board may be a stranger's: an answer that decodes is valid."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from mnbench.errors import UnreachableError, first_line
from mnbench.results.facts import (
    Conditions,
    Count,
    Duration,
    GpuFacts,
    HostFacts,
    NodesByProvider,
    PositiveDuration,
    Text,
    Threads,
    Version,
)
from mnbench.results.layer_profile import KernelTime
from mnbench.results.record import Runtime
from mnbench.results.trial_result import TrialResult
from mnbench.text import printable
from mnbench.worker.requests.trial import RUN_COLUMNS
from mnbench.worker.session import unpack_value

LONGEST_EXPECTED_S = 86_400.0
"""No worker needs longer than a day for its next message."""

MAX_ERROR = 2000
"""Signs of an error that are shown; a runtime may quote a whole model."""

Integers: TypeAlias = NDArray[np.int64]
"""Durations or other integers of that range, as a list or as bytes."""

Tensor: TypeAlias = NDArray[Any]
"""A type, a shape, and bytes or strings."""

PackedTensor: TypeAlias = tuple[
    Literal[
        "str", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128",
    ],
    Annotated[tuple[Annotated[int, Meta(ge=0, lt=2**31)], ...], Meta(max_length=32)],
    bytes | list[str],
]  # fmt: skip


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The last message of a worker for a request, or the next one of a stream."""


AnswerT = TypeVar("AnswerT", bound=Answer)


class Heartbeat(Answer, frozen=True, kw_only=True):
    """A message before the answer: the next one takes about `expected_s`; it works on the session with that `index`."""

    expected_s: Annotated[float, Meta(ge=0, le=LONGEST_EXPECTED_S)]
    index: Count | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The request failed; `unavailable` names what is missing on the device, None if nothing is."""

    error: str
    unavailable: Literal["runtime", "provider", "cores"] | None = None


class CaseAnswer(Answer, frozen=True, kw_only=True):
    """A case's trials on a board of a fleet, and the error that ended it: the case's own, or the board's."""

    trials: list[TrialResult] = []
    case_error: str = ""
    board_error: str = ""

    def __post_init__(self) -> None:
        _require(self.trials or self.case_error or self.board_error, "trials or an error")


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="warm"):
    """A session and the outputs of its last run; `waits` says whether its runs block, or may do so unnoticed."""

    session_ns: Duration
    first_run_ns: Duration
    waits: bool
    outputs: list[Tensor | None]
    copies_ns: dict[Literal["in", "out"], Duration]
    placement: NodesByProvider | None
    threads: Threads


class FailedSession(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="failed"):
    error: str


class SessionsAnswer(Answer, frozen=True, kw_only=True):
    """A process and its sessions; `busy` says why it did not begin."""

    sessions: list[SessionFacts | FailedSession] = []
    runtime: Runtime | None = None
    host: HostFacts = {}
    busy: str | None = None


class TrialAnswer(SessionsAnswer, frozen=True, kw_only=True):
    """All timed runs in order, as columns; `conditions` are those before and after."""

    runs: dict[str, Integers] = {}
    peak_rss_bytes: Count | None = None
    conditions: tuple[Conditions, Conditions] = ({}, {})
    gpu: GpuFacts | None = None

    def __post_init__(self) -> None:
        if self.busy is not None:
            return
        _require(tuple(self.runs) == RUN_COLUMNS, f"the columns {', '.join(RUN_COLUMNS)}")
        _require(len({len(values) for values in self.runs.values()}) == 1, "columns of one length")
        _require(self.runs["session"].max(initial=0) < max(1, len(self.sessions)), "runs of sessions")
        _require(self.runs["latency_ns"].min(initial=1) > 0, "latencies above 0")


class AlternatingAnswer(SessionsAnswer, frozen=True, kw_only=True):
    """One side of each row, with the latency of each session, 0 if it failed."""

    latencies_ns: list[Duration] = []

    def __post_init__(self) -> None:
        _require(len(self.latencies_ns) == len(self.sessions), "a latency of each session")
        pairs = zip(self.latencies_ns, self.sessions, strict=True)
        _require(all(latency or isinstance(session, FailedSession) for latency, session in pairs), "latencies above 0")


class Timings(Answer, frozen=True, kw_only=True, array_like=True):
    """The runs of a session that the host asked for."""

    latencies_ns: Annotated[list[PositiveDuration], Meta(min_length=1)]
    cpu_ns: Annotated[list[Duration], Meta(min_length=1)]


class ProfileAnswer(Answer, frozen=True, kw_only=True):
    """The kernels of a model, and of the probe, if there was one."""

    nodes: list[KernelTime]
    probe: list[KernelTime]
    threads: Threads
    runtime_version: Version

    def __post_init__(self) -> None:
        tensors = {node.tensors for node in self.probe}
        _require(len(tensors) != 1, "kernels of the probe with several numbers of tensors")


class OutputsAnswer(Answer, frozen=True, kw_only=True):
    """A model's outputs for each input."""

    outputs: list[list[Tensor | None]]
    placement: NodesByProvider | None
    runtime_version: Version


class ConvertedAnswer(Answer, frozen=True, kw_only=True):
    """The file that a runtime reads."""

    model: Annotated[bytes, Meta(min_length=1)]
    duration_ns: Duration


class HostSnapshot(Answer, frozen=True, kw_only=True):
    """A host's facts, its conditions `before` and after a rest, its GPU, and the version of the device's runtime."""

    facts: HostFacts
    runtime_version: Version | None
    before: Conditions = {}
    conditions: Conditions = {}
    gpu: GpuFacts | None = None


class StoreFacts(Answer, frozen=True, kw_only=True):
    """The folder and the Python on the other side of a connection."""

    folder: Text
    python: Text


class StoredModel(Answer, frozen=True, kw_only=True):
    """The path of a model there."""

    path: Text


def is_heartbeat(message: object) -> bool:
    return isinstance(message, dict) and "expected_s" in message


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as MessagePack, with arrays as their bytes."""
    return msgspec.msgpack.encode(answer, enc_hook=lambda array: array.tobytes())


def decode_bytes(sender: str, data: object, answer: type[AnswerT]) -> AnswerT | Failure:
    """Return the answer in these bytes.

    Raises:
        UnreachableError: they hold none.
    """
    if not isinstance(data, bytes):
        raise wrong_answer(sender, f"Expected `bytes`, got `{type(data).__name__}`")
    try:
        message = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise wrong_answer(sender, first_line(failure)) from failure
    return decode_answer(sender, message, answer)


def decode_answer(sender: str, message: object, answer: type[AnswerT]) -> AnswerT | Failure:
    """Return a worker's message, with all text in it printable but for paths, which go back to the device alone.

    Raises:
        UnreachableError: the message is none of these.
    """
    kind = Failure if isinstance(message, dict) and "error" in message else answer
    try:
        decoded = msgspec.convert(message, kind, dec_hook=_decode_array)
        return decoded if isinstance(decoded, (StoreFacts, StoredModel)) else _printable(decoded)
    except (msgspec.ValidationError, RecursionError, MemoryError) as failure:
        raise wrong_answer(sender, first_line(failure)) from failure


def wrong_answer(sender: str, reason: str) -> UnreachableError:
    """Return the error of a device or board whose answer cannot be used: nothing that it says can be believed."""
    return UnreachableError(
        f"{sender}: answers wrongly: {printable(reason)}",
        hint="install mnbench's worker anew: restart the device; do not measure on a device that you do not trust",
    )


def error_text(error: str) -> str:
    """Return an error that a board reports as one line that fits into a record."""
    return " ".join(printable(error[:MAX_ERROR]).split())


def _require(condition: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"Expected {expected}")


def _decode_array(kind: Any, value: object) -> NDArray[Any]:
    """Return a tensor or integers. Nothing is allocated before it is known that the sizes are right."""
    if kind == Tensor:
        dtype, shape, data = msgspec.convert(value, PackedTensor)
        _require((dtype == "str") == isinstance(data, list), "strings for a tensor of strings, else bytes")
        return unpack_value((dtype, shape, data))
    numbers = np.frombuffer(value, np.int64) if isinstance(value, bytes) else msgspec.convert(value, list[Duration])
    integers = np.array(numbers, np.int64)
    _require(0 <= integers.min(initial=0) <= integers.max(initial=0) <= 10**18, "integers from 0 to 10¹⁸")
    return integers


def _printable(value: Any) -> Any:
    match value:
        case str():
            return printable(value)
        case list() | tuple():
            items = cast("list[Any] | tuple[Any, ...]", value)
            return items if items and isinstance(items[0], int) else type(items)(map(_printable, items))
        case dict():
            return {printable(key): _printable(item) for key, item in cast("Mapping[str, Any]", value).items()}
        case msgspec.Struct():
            changes = {name: _printable(getattr(value, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **changes)
        case _:
            return value
