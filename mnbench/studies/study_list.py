"""The list of studies, with what each found on a device."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnbench.errors import ResultsError
from mnbench.studies.study_file import Study, read_study
from mnbench.studies.study_result import VERDICT_STYLES, StudyResult, load_result
from mnbench.tables.table import Column, Table
from mnbench.text import printable
from mnbench.workspace import table_paths


@dataclass(frozen=True, kw_only=True)
class ListedStudy:
    """A study, with its result on a device if it was measured there."""

    name: str
    study: Study
    result: StudyResult | None

    @property
    def summary(self) -> str | None:
        """The verdict on the paper's claims, or how many claims have each verdict."""
        if self.result is None:
            return None
        verdicts = [claim.verdict for claim in self.result.claims if not claim.control]
        if len(set(verdicts)) == 1:
            return verdicts[0]
        return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        facts = {key: getattr(self.study, key) for key in ("title", "paper", "table")}
        claims = [claim.says for claim in self.study.claims]
        return {"study": self.name, **facts, "claims": claims, "verdict": self.result.verdict if self.result else None}


def list_studies(results: Path, device: str) -> list[ListedStudy]:
    """Read every study, with its stored result on the device if there is one that can be read."""
    studies: list[ListedStudy] = []
    for name in table_paths("graphs/studies"):
        try:
            result = load_result(results, device, name)
        except ResultsError:
            result = None
        studies.append(ListedStudy(name=name, study=read_study(name), result=result))
    return studies


def study_list_table(studies: Sequence[ListedStudy], device: str) -> Table[ListedStudy]:
    """Return a table with a row for each study."""
    columns: list[Column[ListedStudy]] = [
        Column(name="study", value=lambda row: row.name, left=True),
        Column(name="title", value=lambda row: row.study.title, left=True),
        Column(
            name="verdict",
            title=f"on {printable(device)}",
            value=lambda row: row.summary,
            left=True,
            style=lambda row: VERDICT_STYLES[row.result.verdict] if row.result else "",
        ),
        Column(name="table", value=lambda row: row.study.table, left=True, drop_priority=1),
    ]
    return Table(columns=columns, rows=studies, notes=["measure one: mnbench study g1"])
