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
        Column[ListedStudy](name="study", value=lambda one: one.name, left=True),
        Column[ListedStudy](name="title", value=lambda one: one.study.title, left=True),
        Column[ListedStudy](
            name="verdict",
            title=f"on {device}",
            value=lambda one: _summary(one.result),
            left=True,
            style=lambda one: VERDICT_STYLES[one.result.verdict] if one.result else "",
        ),
        Column[ListedStudy](name="table", value=lambda one: one.study.table, left=True, drop_priority=1),
    ]
    return Table(columns=columns, rows=listed, notes=["measure one: mnbench study g1"])


def listed_study_to_dict(one: ListedStudy) -> dict[str, Any]:
    """For programs."""
    facts = {key: getattr(one.study, key) for key in ("title", "paper", "table")}
    claims = [claim.says for claim in one.study.claims]
    verdict = one.result.verdict if one.result else None
    return {"study": one.name, **facts, "claims": claims, "verdict": verdict}


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
        Column[Evidence](name="row", value=lambda one: one.label, left=True),
        Column[Evidence](name="than", title="beside", value=lambda one: one.than, left=True),
    ]
    if any(one.column for one in claim.evidence):
        columns.append(Column[Evidence](name="column", value=lambda one: one.column, left=True))
    if any(one.published for one in claim.evidence):
        columns.append(Column[Evidence](name="published", title="paper", value=lambda one: one.published, format=shown))
    title = RATIO_TITLES.get(claim.type, "time")
    columns.append(Column[Evidence](name="ratio", title=title, value=lambda one: one.ratio, format=shown))
    if not counted:
        columns += [
            Column[Evidence](name="low", title="at least", value=lambda one: one.low, format=shown, drop_priority=1),
            Column[Evidence](name="high", title="at most", value=lambda one: one.high, format=shown, drop_priority=1),
        ]
    columns.append(
        Column[Evidence](
            name="verdict",
            value=lambda one: one.verdict if one.counted else f"({one.verdict})",
            left=True,
            style=lambda one: VERDICT_STYLES[one.verdict] if one.counted else "dim",
        )
    )
    unsaid = [one for one in claim.evidence if one.reason and (counted or one.verdict == "cannot tell")]
    notes = [f"{f'{one.label} {one.column}'.strip()}: {one.reason}" for one in unsaid]
    if not all(one.counted for one in claim.evidence):
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
    return ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))


def _figure_columns(result: StudyResult) -> list[Column[StudyFigure]]:
    columns = [Column[StudyFigure](name="row", value=lambda one: one.label, left=True)]
    if any(one.column for one in result.figures):
        columns.append(Column[StudyFigure](name="column", value=lambda one: one.column, left=True))
    columns += [
        Column[StudyFigure](name="variant", value=lambda one: one.variant, left=True, drop_priority=3),
        Column[StudyFigure](
            name="mult_adds", title="Mult-Adds", unit="M", value=lambda one: one.mult_adds, format=millions_formatter(1)
        ),
        Column[StudyFigure](
            name="memory_access_bytes",
            title="memory\naccess",
            unit="MB",
            value=lambda one: one.memory_access_bytes,
            format=millions_formatter(1),
        ),
    ]
    if any(one.memory_bytes for one in result.figures):
        columns.append(
            Column[StudyFigure](
                name="peak_activation_bytes",
                title="peak\nactivations",
                unit="MB",
                value=lambda one: one.peak_activation_bytes,
                format=millions_formatter(1),
            )
        )
    if any(one.published is not None for one in result.figures):
        columns.append(
            Column[StudyFigure](
                name="published",
                title="paper",
                unit=result.unit,
                value=lambda one: one.published,
                format="{:,g}".format,
            )
        )
    if result.unit == "KB":
        columns.append(
            Column[StudyFigure](
                name="memory_bytes",
                title="here",
                unit="MB",
                value=lambda one: one.memory_bytes,
                format=millions_formatter(1),
            )
        )
    elif result.unit == "images/s":
        columns.append(
            Column[StudyFigure](
                name="latency_ns", title="here", unit="images/s", value=lambda one: one.latency_ns, format=_rate
            )
        )
    elif any(one.latency_ns for one in result.figures):
        columns.append(
            Column[StudyFigure](
                name="latency_ns", title="here", unit="ms", value=lambda one: one.latency_ns, format=format_ms
            )
        )
    return columns


def _rate(latency_ns: float) -> str:
    return format_significant(NS_PER_S / latency_ns)


def _notes(result: StudyResult) -> list[str]:
    notes = [f"paper: {result.on}"] if result.on else []
    if any(one.latency_ns for one in result.figures):
        notes.append("here: by turns with another network, which makes small ones a few percent slower than alone")
    return [*notes, *(f"what differs: {one}" for one in result.differs)]
