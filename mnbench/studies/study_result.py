"""The result of a study, stored beside the records: the figures beside the paper's, and the evidence of each claim."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from mnbench import atomic_files
from mnbench.errors import ResultsError
from mnbench.json_files import read_json
from mnbench.results.facts import Amount, Count, HostFacts, Name, Nanoseconds, Real, Text
from mnbench.results.host_identity import HostIdentity
from mnbench.results.store import refuse_links
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import NS_PER_S, format_percent_1, format_significant, millions_formatter

ClaimVerdict: TypeAlias = Literal["holds", "does not hold", "inconclusive"]

SCHEMA = 2

RATIO_TITLES = {
    "latency": "time",
    "rank": "Spearman",
    "mult_adds": "Mult-Adds",
    "memory": "memory",
    "time_share": "share",
}
"""The title of a claim's ratio column, by quantity."""

VERDICT_STYLES = {"holds": "green", "does not hold": "red", "inconclusive": "yellow"}


class StudyFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the paper's table in one column. `published` is in the study's unit.

    `latency_ns` is the median over the processes of all comparisons of this variant. `memory_bytes` is the peak memory
    of its process, minus that of the same network with a small input.
    """

    label: Text
    column: Text
    variant: Text
    mult_adds: Count
    memory_access_bytes: Count
    peak_activation_bytes: Count
    published: Amount | None = None
    latency_ns: Nanoseconds | None = None
    memory_bytes: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison that a claim depends on.

    `ratio` is the quantity of the row `label` divided by that of the row `than`, a share of the time, or a correlation
    of ranks, and lies between `low` and `high`. `published` is the paper's ratio. A comparison is not `counted` if the
    paper prints no difference.
    """

    label: Text
    than: Text
    column: Text = ""
    published: Amount | None = None
    ratio: Real | None = None
    low: Real | None = None
    high: Real | None = None
    processes: Count = 0
    verdict: ClaimVerdict
    counted: bool = True
    reason: Text = ""


class ClaimResult(msgspec.Struct, frozen=True, kw_only=True):
    """A claim with its verdict and evidence. A `control` is a claim of the study itself, not of the paper."""

    says: Text
    quantity: Literal["latency", "rank", "mult_adds", "memory", "time_share"]
    control: bool = False
    verdict: ClaimVerdict
    evidence: tuple[Evidence, ...]
    reason: Text = ""

    def table(self) -> Table[Evidence]:
        """Return a table with a row for each comparison, and the verdict below."""
        formats = {"time_share": format_percent_1, "rank": "{:.2f}".format}
        as_text: Callable[[float], str] = formats.get(self.quantity, "{:.2f}×".format)
        counted = self.quantity == "mult_adds"
        columns: list[Column[Evidence]] = [
            Column(name="row", value=lambda item: item.label, left=True),
            Column(name="than", title="baseline", left=True),
        ]
        if any(item.column for item in self.evidence):
            columns.append(Column(name="column", left=True))
        if any(item.published for item in self.evidence):
            columns.append(Column(name="published", title="paper", format=as_text))
        columns.append(Column(name="ratio", title=RATIO_TITLES[self.quantity], format=as_text))
        if not counted:
            columns += [
                Column[Evidence](name=name, title=f"{side}\nbound", format=as_text, drop_priority=1)
                for name, side in (("low", "lower"), ("high", "upper"))
            ]
        columns.append(
            Column(
                name="verdict",
                value=lambda item: item.verdict if item.counted else f"({item.verdict})",
                left=True,
                style=lambda item: VERDICT_STYLES[item.verdict] if item.counted else "dim",
            )
        )
        notes = [
            f"{f'{item.label} {item.column}'.strip()}: {item.reason}"
            for item in self.evidence
            if item.reason and (counted or item.verdict == "inconclusive")
        ]
        if not all(item.counted for item in self.evidence):
            notes.append("( ) does not count: the paper prints no difference for this comparison")
        reason = f" ({self.reason})" if self.reason else ""
        notes.append(f"{self.verdict.upper()}: {'our control, ' if self.control else ''}{self.says}{reason}")
        return Table(columns=columns, rows=self.evidence, notes=notes)


class StudyResult(msgspec.Struct, frozen=True, kw_only=True):
    """A study on a device. `run` is the folder under `results/raw/` that stores the pairs."""

    schema: Count = SCHEMA
    study: Name
    title: Text
    paper: Text
    table: Text
    unit: Text
    on: Text
    device: Name
    provider: Text
    runtime: Text
    threads: Text
    host: HostFacts
    measured_at: Text
    mnbench_version: Text
    seed: Count
    duration_s: Amount
    figures: tuple[StudyFigure, ...]
    claims: tuple[ClaimResult, ...]
    differs: tuple[Text, ...]
    run: Name | None = None

    @property
    def verdict(self) -> ClaimVerdict:
        """Return the combined verdict on all claims of the paper."""
        return combined_verdict([claim.verdict for claim in self.claims if not claim.control])

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON, with the combined verdict."""
        return msgspec.to_builtins(self) | {"verdict": self.verdict}

    def tables(self) -> list[Table[Any]]:
        """Return a table of the figures beside the paper's, and a table for each claim."""
        setting = f"{self.device}: {self.runtime} {self.provider}, threads: {self.threads}"
        host = f", {HostIdentity.from_facts(self.host)}" if self.host else ""
        subtitles = [f"{self.paper}, {self.table}", f"{setting}{host}"]
        notes = [f"paper: {self.on}"] if self.on else []
        if any(figure.latency_ns for figure in self.figures):
            notes.append(
                "here: interleaved with another network, which makes small networks a few percent slower than alone"
            )
        notes += [f"difference: {difference}" for difference in self.differs]
        figures: Table[Any] = Table(
            columns=self._figure_columns(), rows=self.figures, title=self.title, subtitles=subtitles, notes=notes
        )
        return [figures, *(claim.table() for claim in self.claims)]

    def _figure_columns(self) -> list[Column[StudyFigure]]:
        columns: list[Column[StudyFigure]] = [Column(name="row", value=lambda figure: figure.label, left=True)]
        if any(figure.column for figure in self.figures):
            columns.append(Column(name="column", left=True))
        columns += [quantity("variant", drop_priority=3), quantity("mult_adds"), quantity("memory_access_bytes")]
        if any(figure.memory_bytes for figure in self.figures):
            columns.append(quantity("peak_activation_bytes", decimals=1))
        if any(figure.published is not None for figure in self.figures):
            columns.append(Column(name="published", title="paper", unit=self.unit, format="{:,g}".format))
        if self.unit == "KB":
            columns.append(Column(name="memory_bytes", title="here", unit="MB", format=millions_formatter(1)))
        elif self.unit == "images/s":
            columns.append(quantity("latency_ns", format=_images_per_s, title="here", unit="images/s"))
        elif any(figure.latency_ns for figure in self.figures):
            columns.append(quantity("latency_ns", title="here"))
        return columns


def _images_per_s(latency_ns: float) -> str:
    return format_significant(NS_PER_S / latency_ns)


def combined_verdict(verdicts: list[ClaimVerdict]) -> ClaimVerdict:
    """Return "does not hold" if any verdict is that, "holds" if all are that, and else "inconclusive"."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "inconclusive"


def _path(results: Path, device: str, study: str) -> Path:
    return results / "studies" / atomic_files.file_name(device) / f"{atomic_files.file_name(study)}.json"


def save_result(results: Path, result: StudyResult) -> Path:
    """Store a result, in place of an older one.

    Raises:
        FileError: no space, no permission.
    """
    refuse_links(results)
    path = _path(results, result.device, result.study)
    atomic_files.write_atomically(path, msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return path


def load_result(results: Path, device: str, study: str) -> StudyResult:
    """Read the newest result of a study on a device.

    Raises:
        FileError, ResultsError: there is none, or it cannot be read.
    """
    path = _path(results, device, study)
    try:
        return read_json(path, StudyResult)
    except FileNotFoundError as failure:
        raise ResultsError(
            f"{results}: holds no result of study {study} on {device}",
            hint=f"measure it: mnbench study {shlex.quote(study)}",
        ) from failure
