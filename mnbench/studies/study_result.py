"""The result of a study: values that are stored beside the records and read again."""

from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from mnbench import atomic_files
from mnbench.errors import ResultsError

ClaimVerdict: TypeAlias = Literal["holds", "does not hold", "inconclusive"]

SCHEMA = 2


class StudyFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the paper's table in one column. `published` is in the study's unit.

    `latency_ns` is the median over the processes of all comparisons of this variant. `memory_bytes` is the peak memory
    of its process, less that of the same network with a small input.
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
    """A comparison that a claim depends on.

    `ratio` is the quantity of the row `label` divided by that of the row `than`, or a share of the time, and lies
    between `low` and `high`. `published` is the paper's ratio. A comparison is not `counted` if the paper prints no
    difference.
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
    """A claim with its verdict and evidence. A `control` is a claim of the study itself, not of the paper."""

    says: str
    quantity: str
    control: bool = False
    verdict: ClaimVerdict
    evidence: tuple[Evidence, ...]
    reason: str = ""


class StudyResult(msgspec.Struct, frozen=True, kw_only=True):
    """A study on a device. `run` is the folder under `results/raw/` that stores the pairs."""

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
        """Return the combined verdict on all claims of the paper."""
        return combined_verdict([claim.verdict for claim in self.claims if not claim.control])


def combined_verdict(verdicts: list[ClaimVerdict]) -> ClaimVerdict:
    """Return "does not hold" if any verdict is that, "holds" if all are that, and else "inconclusive"."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "inconclusive"


def result_path(results: Path, device: str, study: str) -> Path:
    """Return the path of the newest result of a study on a device."""
    return results / "studies" / device / f"{study}.json"


def save_result(results: Path, result: StudyResult) -> Path:
    """Store a result, in place of an older one.

    Raises:
        FileError: no space, no permission.
    """
    path = result_path(results, result.device, result.study)
    atomic_files.write_atomically(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def load_result(results: Path, device: str, study: str) -> StudyResult:
    """Read the newest result of a study on a device.

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
