"""Studies as tables: the list of studies, the figures of one beside the paper's, and the evidence of a claim."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from mnbench.errors import ResultsError
from mnbench.studies.study_file import Study, read_study
from mnbench.studies.study_result import ClaimResult, Evidence, StudyFigure, StudyResult, load_result
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table
from mnbench.units import NS_PER_S, format_percent_1, format_significant, millions_formatter
from mnbench.workspace import table_paths

RATIO_TITLES = {"latency": "time", "mult_adds": "Mult-Adds", "memory": "memory", "time_share": "share"}
"""The title of a claim's ratio column, by quantity."""

VERDICT_STYLES = {"holds": "green", "does not hold": "red", "inconclusive": "yellow"}


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A study, with its result on a device if it was measured there."""

    name: str
    study: Study
    result: StudyResult | None


def study_list_table(listed: Sequence[ListedStudy], device: str) -> Table[ListedStudy]:
    """Return a table with a row for each study."""
    columns = [
        Column[ListedStudy](name="study", value=lambda row: row.name, left=True),
        Column[ListedStudy](name="title", value=lambda row: row.study.title, left=True),
        Column[ListedStudy](
            name="verdict",
            title=f"on {device}",
            value=lambda row: _summary(row.result),
            left=True,
            style=lambda row: VERDICT_STYLES[row.result.verdict] if row.result else "",
        ),
        Column[ListedStudy](name="table", value=lambda row: row.study.table, left=True, drop_priority=1),
    ]
    return Table(columns=columns, rows=listed, notes=["measure one: mnbench study g1"])


def listed_study_to_dict(listed: ListedStudy) -> dict[str, Any]:
    """Return the values for JSON."""
    facts = {key: getattr(listed.study, key) for key in ("title", "paper", "table")}
    claims = [claim.says for claim in listed.study.claims]
    verdict = listed.result.verdict if listed.result else None
    return {"study": listed.name, **facts, "claims": claims, "verdict": verdict}


def study_tables(result: StudyResult) -> list[Table[Any]]:
    """Return a table of the figures beside the paper's, and a table for each claim."""
    setting = f"{result.device}: {result.runtime} {result.provider}, threads: {result.threads}"
    host = result.host.get("cpu")
    title = f"{result.title}\n{result.paper}, {result.table}\n{setting}{f', {host}' if host else ''}"
    first: Table[Any] = Table(columns=_figure_columns(result), rows=result.figures, title=title, notes=_notes(result))
    return [first, *(claim_table(claim) for claim in result.claims)]


def claim_table(claim: ClaimResult) -> Table[Evidence]:
    """Return a table with a row for each comparison, and the verdict below."""
    ratio_format: Callable[[float], str] = format_percent_1 if claim.quantity == "time_share" else "{:.2f}×".format
    counted = claim.quantity == "mult_adds"
    columns = [
        Column[Evidence](name="row", value=lambda row: row.label, left=True),
        Column[Evidence](name="than", title="baseline", left=True),
    ]
    if any(comparison.column for comparison in claim.evidence):
        columns.append(Column[Evidence](name="column", left=True))
    if any(comparison.published for comparison in claim.evidence):
        columns.append(Column[Evidence](name="published", title="paper", format=ratio_format))
    title = RATIO_TITLES.get(claim.quantity, claim.quantity)
    columns.append(Column[Evidence](name="ratio", title=title, format=ratio_format))
    if not counted:
        bounds: tuple[tuple[str, str], ...] = (("low", "lower bound"), ("high", "upper bound"))
        columns += [
            Column[Evidence](
                name=name, title=bound.replace(" ", "\n"), value=attrgetter(name), format=ratio_format, drop_priority=1
            )
            for name, bound in bounds
        ]
    columns.append(
        Column[Evidence](
            name="verdict",
            value=lambda row: row.verdict if row.counted else f"({row.verdict})",
            left=True,
            style=lambda row: VERDICT_STYLES[row.verdict] if row.counted else "dim",
        )
    )
    notes = [
        f"{f'{comparison.label} {comparison.column}'.strip()}: {comparison.reason}"
        for comparison in claim.evidence
        if comparison.reason and (counted or comparison.verdict == "inconclusive")
    ]
    if not all(comparison.counted for comparison in claim.evidence):
        notes.append("( ) does not count: the paper prints no difference for this comparison")
    reason = f" ({claim.reason})" if claim.reason else ""
    control = "our control, " if claim.control else ""
    notes.append(f"{claim.verdict.upper()}: {control}{claim.says}{reason}")
    return Table(columns=columns, rows=claim.evidence, notes=notes)


def study_result_to_dict(result: StudyResult) -> dict[str, Any]:
    """Return the values for JSON."""
    return msgspec.to_builtins(result) | {"verdict": result.verdict}


def _summary(result: StudyResult | None) -> str | None:
    if result is None:
        return None
    verdicts = [claim.verdict for claim in result.claims if not claim.control]
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))


def _figure_columns(result: StudyResult) -> list[Column[StudyFigure]]:
    columns = [Column[StudyFigure](name="row", value=lambda row: row.label, left=True)]
    if any(figure.column for figure in result.figures):
        columns.append(Column[StudyFigure](name="column", left=True))
    columns += [quantity("variant", drop_priority=3), quantity("mult_adds"), quantity("memory_access_bytes")]
    if any(figure.memory_bytes for figure in result.figures):
        columns.append(quantity("peak_activation_bytes", decimals=1))
    if any(figure.published is not None for figure in result.figures):
        columns.append(Column[StudyFigure](name="published", title="paper", unit=result.unit, format="{:,g}".format))
    if result.unit == "KB":
        columns.append(Column[StudyFigure](name="memory_bytes", title="here", unit="MB", format=millions_formatter(1)))
    elif result.unit == "images/s":
        columns.append(quantity("latency_ns", format=_rate, title="here", unit="images/s"))
    elif any(figure.latency_ns for figure in result.figures):
        columns.append(quantity("latency_ns", title="here"))
    return columns


def _rate(latency_ns: float) -> str:
    return format_significant(NS_PER_S / latency_ns)


def _notes(result: StudyResult) -> list[str]:
    notes = [f"paper: {result.on}"] if result.on else []
    if any(figure.latency_ns for figure in result.figures):
        notes.append(
            "here: interleaved with another network, which makes small networks a few percent slower than alone"
        )
    return [*notes, *(f"difference: {difference}" for difference in result.differs)]


def list_studies(results: Path, device: str) -> list[ListedStudy]:
    """Read every study, with its stored result on the device if there is one."""
    return [
        ListedStudy(name=name, study=read_study(name), result=_stored(results, device, name))
        for name in table_paths("graphs/studies")
    ]


def _stored(results: Path, device: str, name: str) -> StudyResult | None:
    try:
        return load_result(results, device, name)
    except ResultsError:
        return None
