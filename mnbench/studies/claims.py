"""What measurements say about claims. Pure: findings and figures in, verdicts out.

The rule of a claim: it holds if each comparison that counts points its way beyond doubt, it does not hold if any one
contradicts it beyond doubt, and else nobody can tell. What is beyond doubt is said where each kind is judged.
"""

from collections.abc import Mapping, Sequence

import msgspec

from mnbench.comparison.decide import Finding
from mnbench.stats import median, median_interval
from mnbench.studies.study_file import Claim, LessMemory, NotSlower, Saves, ShareOfTime, Slower, Study, TimesLess
from mnbench.studies.study_result import ClaimResult, ClaimVerdict, Evidence, StudyFigure, combined_verdict

MIN_COVERAGE = 0.95
"""The coverage that an interval over processes must have to decide anything: six processes give 96.9 %."""

TOO_FEW = "too few processes: give more --budget"

SLOWER: Mapping[str, ClaimVerdict] = {"slower": "holds", "faster": "does not hold", "same": "does not hold"}
NOT_SLOWER: Mapping[str, ClaimVerdict] = {"slower": "does not hold", "faster": "holds", "same": "holds"}


def judge_claim(claim: Claim, evidence: Sequence[Evidence]) -> ClaimResult:
    """A claim with the verdict that its evidence gives it, and how that came about in words."""
    counted = [item for item in evidence if item.counted]
    against = [item for item in counted if item.verdict == "does not hold"]
    unclear = [item for item in counted if item.verdict == "cannot tell"]
    parts: list[str] = []
    if len(counted) > 1:
        parts.append(f"{len(counted) - len(against) - len(unclear)} of {len(counted)} comparisons are as claimed")
        parts += [
            f"{what}: {', '.join(map(_where, some))}"
            for what, some in (("against it", against), ("unclear", unclear))
            if some and len(some) < len(counted)
        ]
    return ClaimResult(
        says=claim.says,
        type=claim.__struct_config__.tag if isinstance(claim.__struct_config__.tag, str) else "",
        control=isinstance(claim, Slower) and claim.control,
        verdict=combined_verdict([item.verdict for item in counted]),
        evidence=tuple(evidence),
        reason="; ".join(parts),
    )


def comparison_evidence(
    claim: Slower | NotSlower, study: Study, findings: Mapping[tuple[str, str], Finding]
) -> list[Evidence]:
    """A piece of evidence for each row in each column; `findings` are by the variants of candidate and base.

    Beyond doubt is what `mnbench compare` calls so: slower by more than its margin, at its error level for the whole
    table, when measured a second time too; not slower is what is slower by less than its tolerance.
    """
    meaning = SLOWER if isinstance(claim, Slower) else NOT_SLOWER
    base = study.row(claim.than)
    evidence_list: list[Evidence] = []
    for row in map(study.row, claim.rows):
        for at, column in enumerate(study.columns):
            finding = findings[row.variants[at], base.variants[at]]
            published = _published(study, row.published, base.published, at)
            evidence_list.append(
                Evidence(
                    label=row.label,
                    than=base.label,
                    column=column,
                    published=published,
                    ratio=finding.ratio,
                    low=finding.low,
                    high=finding.high,
                    processes=finding.processes,
                    verdict=meaning.get(finding.verdict, "cannot tell"),
                    counted=published != 1,
                    reason=finding.reason,
                )
            )
    return evidence_list


def _published(study: Study, row: Sequence[float], base: Sequence[float], at: int) -> float | None:
    """The paper's own ratio of times."""
    if not row or not base:
        return None
    return base[at] / row[at] if study.unit == "images/s" else row[at] / base[at]


def savings_evidence(claim: Saves, figures: Mapping[str, StudyFigure]) -> Evidence:
    """Counted exactly; it holds if it rounds to the printed number, whose closing zeros say nothing."""
    row, than = figures[claim.row], figures[claim.than]
    saved_mult_adds = than.mult_adds - row.mult_adds
    return Evidence(
        label=row.label,
        than=than.label,
        ratio=than.mult_adds / row.mult_adds,
        verdict="holds" if rounds_to(claim.printed.removesuffix("M"), saved_mult_adds / 1e6) else "does not hold",
        reason=f"{saved_mult_adds / 1e6:.1f}M fewer, counted; {claim.printed} printed",
    )


def rounds_to(printed: str, value: float) -> bool:
    """Whether a value rounds to a printed number: 34.3 to 30, 10.4 to 10 and to 10.4."""
    _, point, decimals = printed.partition(".")
    digits = len(decimals) if point else -(len(printed) - len(printed.rstrip("0")))
    return round(value, digits) == float(printed)


def ratio_evidence(claim: TimesLess, figures: Mapping[str, StudyFigure]) -> Evidence:
    """Counted exactly; it holds between the printed bounds."""
    row, than = figures[claim.row], figures[claim.than]
    ratio, (low, high) = than.mult_adds / row.mult_adds, claim.printed
    return Evidence(
        label=row.label,
        than=than.label,
        ratio=ratio,
        verdict="holds" if low <= ratio <= high else "does not hold",
        reason=f"{ratio:.2f} times, counted",
    )


def time_share_evidence(claim: ShareOfTime, shares: Sequence[float]) -> Evidence:
    """One share a process; it holds if their median is, beyond doubt, no less than what rounds to the printed one."""
    least = (claim.printed - 0.5) / 100
    low, high, coverage = median_interval(shares) if shares else (0.0, 1.0, 0.0)
    verdict: ClaimVerdict = "cannot tell"
    if coverage >= MIN_COVERAGE and low >= least:
        verdict = "holds"
    elif coverage >= MIN_COVERAGE and high < least:
        verdict = "does not hold"
    return Evidence(
        label=claim.row,
        than=claim.layer,
        published=claim.printed / 100,
        ratio=median(shares) if shares else None,
        low=low if shares else None,
        high=high if shares else None,
        processes=len(shares),
        verdict=verdict,
        reason="" if coverage >= MIN_COVERAGE else TOO_FEW,
    )


def memory_evidence(
    claim: LessMemory, memory_bytes: Mapping[str, Sequence[int]], figures: Mapping[str, StudyFigure]
) -> list[Evidence]:
    """What the other takes as a multiple of what the row takes: it holds if the interval lies above 1."""
    own, row = memory_bytes.get(claim.row, ()), figures[claim.row]
    return [_beside(row, figures[than], own, memory_bytes.get(than, ())) for than in claim.than]


def _beside(row: StudyFigure, than: StudyFigure, own: Sequence[int], others: Sequence[int]) -> Evidence:
    published = than.published / row.published if than.published and row.published else None
    evidence = Evidence(label=row.label, than=than.label, published=published, verdict="cannot tell")
    if not own or not others:
        return msgspec.structs.replace(evidence, reason="nothing was measured: give more --budget")
    (low, high, coverage), (low_other, high_other, coverage_other) = map(median_interval, (own, others))
    enough = min(coverage, coverage_other) >= MIN_COVERAGE
    verdict: ClaimVerdict = "cannot tell"
    if enough and low_other > high:
        verdict = "holds"
    elif enough and high_other <= low:
        verdict = "does not hold"
    return msgspec.structs.replace(
        evidence,
        ratio=median(others) / median(own),
        low=low_other / high,
        high=high_other / low,
        processes=min(len(own), len(others)),
        verdict=verdict,
        reason="" if enough else TOO_FEW,
    )


def _where(evidence: Evidence) -> str:
    return f"{evidence.label} {evidence.column}".strip()
