"""What a study found: plain values, written beside the results and read again."""

from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from mnbench import atomic_files
from mnbench.errors import ResultsError

ClaimVerdict: TypeAlias = Literal["holds", "does not hold", "cannot tell"]

SCHEMA = 1


class StudyFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the paper's table in one column. `published` is in the study's unit.

    `latency_ns` is the median of the runs of all comparisons that it took part in, `memory_bytes` what its process
    held at most beyond that of the same network with a small map.
    """

    label: str
    column: str
    variant: str
    mult_adds: int
    memory_access_bytes: int
    peak_activation_bytes: int
    published: float | None = None
    latency_ns: int | None = None
    memory_bytes: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison that a claim rests on.

    `ratio` is ours, between `low` and `high`: of a row's time to another's, of another's memory to a row's, of
    Mult-Adds, or a share of the time. `published` is the paper's, where it prints one. What is not `counted` has no
    say: there the paper prints no difference.
    """

    label: str
    than: str
    column: str = ""
    published: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    processes: int = 0
    verdict: ClaimVerdict
    counted: bool = True
    reason: str = ""


class ClaimResult(msgspec.Struct, frozen=True, kw_only=True):
    """A claim with its verdict and what it rests on. A `control` is ours, and no claim of the paper."""

    says: str
    type: str
    control: bool = False
    verdict: ClaimVerdict
    evidence: tuple[Evidence, ...]
    reason: str = ""


class StudyResult(msgspec.Struct, frozen=True, kw_only=True):
    """A study on a device. `run` is the folder under `results/raw/` that holds every pair."""

    schema: int = SCHEMA
    study: str
    title: str
    paper: str
    table: str
    unit: str
    on: str
    device: str
    provider: str
    runtime: str
    threads: str
    host: dict[str, Any]
    measured_at: str
    mnbench_version: str
    seed: int
    duration_s: float
    figures: tuple[StudyFigure, ...]
    claims: tuple[ClaimResult, ...]
    differs: tuple[str, ...]
    run: str | None = None

    @property
    def verdict(self) -> ClaimVerdict:
        """That of all the paper's claims together."""
        return combined_verdict([claim.verdict for claim in self.claims if not claim.control])


def combined_verdict(verdicts: list[ClaimVerdict]) -> ClaimVerdict:
    """One that does not hold decides; else one of which nobody can tell; nothing at all tells nothing."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "cannot tell"


def result_path(results: Path, device: str, study: str) -> Path:
    """Where the newest result of a study on a device is kept."""
    return results / "studies" / device / f"{study}.json"


def save_result(results: Path, result: StudyResult) -> Path:
    """Write a result down, in place of an older one.

    Raises:
        FileError: no space, no permission.
    """
    path = result_path(results, result.device, result.study)
    atomic_files.write_atomically(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def load_result(results: Path, device: str, study: str) -> StudyResult:
    """The newest result of a study on a device.

    Raises:
        ResultsError: there is none, or it cannot be read.
    """
    path = result_path(results, device, study)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StudyResult)
    except FileNotFoundError as failure:
        raise ResultsError(
            f"{results}: holds no result of study {study} on {device}", hint=f"measure it: mnbench study {study}"
        ) from failure
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise ResultsError(f"{path}: cannot be read: {failure}", hint="delete it, and measure again") from failure
