"""Decide claims from measurements: pure functions from findings and figures to verdicts.

A claim holds if every comparison that counts lies within its bounds with confidence. It does not hold if a comparison
lies outside with confidence. Otherwise it is inconclusive.
"""

import random
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from mnbench.comparison.decide import Finding
from mnbench.stats import median_interval, quantile, rank_correlation
from mnbench.studies.study_file import Claim, Study
from mnbench.studies.study_result import ClaimResult, ClaimVerdict, Evidence, combined_verdict

DRAWS, SEED = 2000, 0
MIN_COVERAGE, MIN_PROCESSES = 0.95, 6
"""The coverage that an interval over processes needs to decide a claim; six processes give 96.9 %."""

SLOWER: Mapping[str, ClaimVerdict] = {"slower": "holds", "faster": "does not hold", "same": "does not hold"}
NOT_SLOWER: Mapping[str, ClaimVerdict] = {"slower": "does not hold", "faster": "holds", "same": "holds"}


def judge_claim(claim: Claim, evidence: Sequence[Evidence]) -> ClaimResult:
    """Combine the evidence into the verdict on a claim, with a sentence that explains it."""
    counted = [item for item in evidence if item.counted]
    verdicts: list[ClaimVerdict] = [item.verdict for item in counted]
    parts: list[str] = []
    if len(counted) > 1:
        parts.append(f"{verdicts.count('holds')} of {len(counted)} comparisons are as claimed")
        for heading, verdict in (("against it", "does not hold"), ("inconclusive", "inconclusive")):
            names = [f"{item.label} {item.column}".strip() for item in counted if item.verdict == verdict]
            if 0 < len(names) < len(counted):
                parts.append(f"{heading}: {', '.join(names)}")
    return ClaimResult(
        says=claim.says,
        quantity=claim.quantity,
        control=claim.control,
        verdict=combined_verdict(verdicts),
        evidence=tuple(evidence),
        reason="; ".join(parts),
    )


def latency_evidence(claim: Claim, study: Study, findings: Mapping[tuple[str, str], Finding]) -> list[Evidence]:
    """Compare each row with the baseline in each column; `findings` are by the variants of candidate and baseline.

    The verdicts are those of `mnbench compare`: "slower" at its family-wise error rate and when measured again, "same"
    within its equivalence margin.
    """
    verdicts = SLOWER if claim.at_least else NOT_SLOWER
    baseline = study.row(claim.baseline)
    evidence: list[Evidence] = []
    for row in map(study.row, claim.rows):
        for index, column in enumerate(study.columns):
            finding = findings[row.variants[index], baseline.variants[index]]
            published = _published_ratio(study, claim, row.label, index)
            evidence.append(
                Evidence(
                    label=row.label,
                    than=baseline.label,
                    column=column,
                    published=published,
                    ratio=finding.ratio,
                    low=finding.low,
                    high=finding.high,
                    processes=finding.processes,
                    verdict=verdicts.get(finding.verdict, "inconclusive"),
                    counted=published != 1,
                    reason=finding.reason,
                )
            )
    return evidence


def rank_evidence(claim: Claim, study: Study, ratios: Mapping[tuple[str, str], Sequence[float]]) -> list[Evidence]:
    """Correlate the ranks of the paper's latencies with those measured here, in each column.

    `ratios` are those of each process, by the variants of candidate and baseline. The interval, of 95 %, is that of
    draws of the processes.
    """
    baseline = study.row(claim.baseline)
    rows = [study.row(label) for label in claim.rows]
    evidence: list[Evidence] = []
    for index, column in enumerate(study.columns):
        printed = [row.published[index] * (-1 if study.unit == "images/s" else 1) for row in (*rows, baseline)]
        samples = [ratios.get((row.variants[index], baseline.variants[index]), ()) for row in rows]
        item = Evidence(label=f"{len(printed)} rows", than="the paper", column=column, verdict="inconclusive")
        processes = min(map(len, samples))
        if processes < MIN_PROCESSES:
            reason = f"{processes} of at least {MIN_PROCESSES} processes: raise --budget"
            evidence.append(msgspec.structs.replace(item, reason=reason))
            continue
        draw = random.Random(SEED)  # noqa: S311  of processes, not a secret
        draws = sorted(
            rank_correlation(printed, [*(median(draw.choices(of_row, k=len(of_row))) for of_row in samples), 1.0])
            for _ in range(DRAWS)
        )
        low, high = quantile(draws, 0.025), quantile(draws, 0.975)
        value = rank_correlation(printed, [*map(median, samples), 1.0])
        verdict = _within_bounds(claim, low, high)
        evidence.append(
            msgspec.structs.replace(item, ratio=value, low=low, high=high, processes=processes, verdict=verdict)
        )
    return evidence


def value_evidence(claim: Claim, study: Study, values: Mapping[str, Sequence[float]]) -> list[Evidence]:
    """Compare each row with the baseline by `values`: by a row's label, one for each process. Mult-Adds are exact."""
    baseline = values.get(claim.baseline, ()) if claim.baseline else (1.0,)
    return [_compare_values(claim, study, label, values.get(label, ()), baseline) for label in claim.rows]


def _compare_values(
    claim: Claim, study: Study, label: str, samples: Sequence[float], baseline: Sequence[float]
) -> Evidence:
    unmeasured = Evidence(
        label=label,
        than=claim.baseline or claim.layer,
        published=_published_ratio(study, claim, label, 0),
        verdict="inconclusive",
        reason="nothing was measured: raise --budget",
    )
    if not samples or not baseline:
        return unmeasured
    if claim.quantity == "mult_adds":
        ratio = low = high = samples[0] / baseline[0]
        processes, decidable = 0, True
        reason = f"{abs(samples[0] - baseline[0]) / 1e6:.1f}M {'more' if ratio >= 1 else 'fewer'}, counted"
    else:
        low, high, coverage = median_interval(samples)
        base_low, base_high, base_coverage = median_interval(baseline) if claim.baseline else (1.0, 1.0, 1.0)
        ratio, low, high = median(samples) / median(baseline), low / base_high, high / base_low
        processes = min(len(samples), len(baseline)) if claim.baseline else len(samples)
        decidable = min(coverage, base_coverage) >= MIN_COVERAGE
        reason = "" if decidable else "too few processes: raise --budget"
    verdict = _within_bounds(claim, low, high) if decidable else "inconclusive"
    return msgspec.structs.replace(
        unmeasured, ratio=ratio, low=low, high=high, processes=processes, verdict=verdict, reason=reason
    )


def _within_bounds(claim: Claim, low: float, high: float) -> ClaimVerdict:
    least, most = claim.at_least or float("-inf"), claim.at_most or float("inf")
    if high < least or low > most:
        return "does not hold"
    return "holds" if low >= least and high <= most else "inconclusive"


def _published_ratio(study: Study, claim: Claim, label: str, index: int) -> float | None:
    """Return the ratio that the paper prints, of times where it prints images per second."""
    if claim.published or not claim.baseline:
        return claim.published
    row, baseline = study.row(label).published, study.row(claim.baseline).published
    if not row or not baseline or claim.quantity == "mult_adds":
        return None
    return baseline[index] / row[index] if study.unit == "images/s" else row[index] / baseline[index]
