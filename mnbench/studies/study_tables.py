"""Studies as tables: those there are, the paper's figures beside ours, and what each claim rests on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from mnbench.studies.study_file import Study
from mnbench.studies.study_result import ClaimResult, Evidence, StudyFigure, StudyResult
from mnbench.tables.table import Column, Table
from mnbench.units import NS_PER_S, format_ms, format_percent_1, format_significant, millions_formatter

RATIO_TITLES = {
    "share of time": "share",
    "less memory": "memory\nbeside row",
    "saves": "Mult-Adds\nbeside row",
    "times less": "Mult-Adds\nbeside row",
}
"""What a claim's ratio is of; else a row's time beside another's."""

VERDICT_STYLES = {"holds": "green", "does not hold": "red", "cannot tell": "yellow"}


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A study, and what was found of it on a device, if it was measured there."""

    name: str
    study: Study
    result: StudyResult | None


def study_list_table(listed: Sequence[ListedStudy], device: str) -> Table[ListedStudy]:
    """One row a study."""
    columns = [
        Column[ListedStudy](name="study", value=lambda study: study.name, left=True),
        Column[ListedStudy](name="title", value=lambda study: study.study.title, left=True),
        Column[ListedStudy](
            name="verdict",
            title=f"on {device}",
            value=lambda study: _summary(study.result),
            left=True,
            style=lambda study: VERDICT_STYLES[study.result.verdict] if study.result else "",
        ),
        Column[ListedStudy](name="table", value=lambda study: study.study.table, left=True, drop_priority=1),
    ]
    return Table(columns=columns, rows=listed, notes=["measure one: mnbench study g1"])


def listed_study_to_dict(study: ListedStudy) -> dict[str, Any]:
    """For programs."""
    facts = {key: getattr(study.study, key) for key in ("title", "paper", "table")}
    claims = [claim.says for claim in study.study.claims]
    verdict = study.result.verdict if study.result else None
    return {"study": study.name, **facts, "claims": claims, "verdict": verdict}


def study_tables(result: StudyResult) -> list[Table[Any]]:
    """The paper's figures beside ours, and a table for each claim."""
    where = f"{result.device}: {result.runtime} {result.provider}, threads: {result.threads}"
    host = result.host.get("cpu")
    title = f"{result.title}\n{result.paper}, {result.table}\n{where}{f', {host}' if host else ''}"
    first: Table[Any] = Table(columns=_figure_columns(result), rows=result.figures, title=title, notes=_notes(result))
    return [first, *(claim_table(claim) for claim in result.claims)]


def claim_table(claim: ClaimResult) -> Table[Evidence]:
    """One row a piece of evidence, with the verdict below."""
    shown: Callable[[float], str] = format_percent_1 if claim.type == "share of time" else "{:.2f}×".format
    counted = claim.type in ("saves", "times less")
    columns = [
        Column[Evidence](name="row", value=lambda evidence: evidence.label, left=True),
        Column[Evidence](name="than", title="beside", value=lambda evidence: evidence.than, left=True),
    ]
    if any(evidence.column for evidence in claim.evidence):
        columns.append(Column[Evidence](name="column", value=lambda evidence: evidence.column, left=True))
    if any(evidence.published for evidence in claim.evidence):
        columns.append(
            Column[Evidence](name="published", title="paper", value=lambda evidence: evidence.published, format=shown)
        )
    title = RATIO_TITLES.get(claim.type, "time")
    columns.append(Column[Evidence](name="ratio", title=title, value=lambda evidence: evidence.ratio, format=shown))
    if not counted:
        columns += [
            Column[Evidence](
                name="low", title="at least", value=lambda evidence: evidence.low, format=shown, drop_priority=1
            ),
            Column[Evidence](
                name="high", title="at most", value=lambda evidence: evidence.high, format=shown, drop_priority=1
            ),
        ]
    columns.append(
        Column[Evidence](
            name="verdict",
            value=lambda evidence: evidence.verdict if evidence.counted else f"({evidence.verdict})",
            left=True,
            style=lambda evidence: VERDICT_STYLES[evidence.verdict] if evidence.counted else "dim",
        )
    )
    unsaid = [
        evidence for evidence in claim.evidence if evidence.reason and (counted or evidence.verdict == "cannot tell")
    ]
    notes = [f"{f'{evidence.label} {evidence.column}'.strip()}: {evidence.reason}" for evidence in unsaid]
    if not all(evidence.counted for evidence in claim.evidence):
        notes.append("( ) has no say: the paper prints no difference there")
    reason = f" ({claim.reason})" if claim.reason else ""
    whose = "our control, " if claim.control else ""
    notes.append(f"{claim.verdict.upper()}: {whose}{claim.says}{reason}")
    return Table(columns=columns, rows=claim.evidence, notes=notes)


def study_result_to_dict(result: StudyResult) -> dict[str, Any]:
    """For programs."""
    return msgspec.to_builtins(result) | {"verdict": result.verdict}


def _summary(result: StudyResult | None) -> str | None:
    if result is None:
        return None
    verdicts = [claim.verdict for claim in result.claims if not claim.control]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return ", ".join(f"{verdicts.count(fromkey)} {fromkey}" for fromkey in dict.fromkeys(verdicts))


def _figure_columns(result: StudyResult) -> list[Column[StudyFigure]]:
    columns = [Column[StudyFigure](name="row", value=lambda figure: figure.label, left=True)]
    if any(figure.column for figure in result.figures):
        columns.append(Column[StudyFigure](name="column", value=lambda figure: figure.column, left=True))
    columns += [
        Column[StudyFigure](name="variant", value=lambda figure: figure.variant, left=True, drop_priority=3),
        Column[StudyFigure](
            name="mult_adds",
            title="Mult-Adds",
            unit="M",
            value=lambda figure: figure.mult_adds,
            format=millions_formatter(1),
        ),
        Column[StudyFigure](
            name="memory_access_bytes",
            title="memory\naccess",
            unit="MB",
            value=lambda figure: figure.memory_access_bytes,
            format=millions_formatter(1),
        ),
    ]
    if any(figure.memory_bytes for figure in result.figures):
        columns.append(
            Column[StudyFigure](
                name="peak_activation_bytes",
                title="peak\nactivations",
                unit="MB",
                value=lambda figure: figure.peak_activation_bytes,
                format=millions_formatter(1),
            )
        )
    if any(figure.published is not None for figure in result.figures):
        columns.append(
            Column[StudyFigure](
                name="published",
                title="paper",
                unit=result.unit,
                value=lambda figure: figure.published,
                format="{:,g}".format,
            )
        )
    if result.unit == "KB":
        columns.append(
            Column[StudyFigure](
                name="memory_bytes",
                title="here",
                unit="MB",
                value=lambda figure: figure.memory_bytes,
                format=millions_formatter(1),
            )
        )
    elif result.unit == "images/s":
        columns.append(
            Column[StudyFigure](
                name="latency_ns", title="here", unit="images/s", value=lambda figure: figure.latency_ns, format=_rate
            )
        )
    elif any(figure.latency_ns for figure in result.figures):
        columns.append(
            Column[StudyFigure](
                name="latency_ns", title="here", unit="ms", value=lambda figure: figure.latency_ns, format=format_ms
            )
        )
    return columns


def _rate(latency_ns: float) -> str:
    return format_significant(NS_PER_S / latency_ns)


def _notes(result: StudyResult) -> list[str]:
    notes = [f"paper: {result.on}"] if result.on else []
    if any(figure.latency_ns for figure in result.figures):
        notes.append("here: by turns with another network, which makes small ones a few percent slower than alone")
    return [*notes, *(f"what differs: {differ}" for differ in result.differs)]
