"""Cost models: how well Mult-Adds, memory access and the roofline bound predict latency. Pure functions, seeded.

A line a + b · cost is fitted by least squares of relative errors, so that fast and slow variants count alike. Its error
is measured for variants that it was not fitted to: each variant is left out in turn, and then each family.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.families.published_accuracy import family_name
from mnbench.results.record import Record
from mnbench.units import format_percent

Floats: TypeAlias = NDArray[np.float64]

MIN_VARIANTS = 8
"""The minimum number of variants to fit a cost model."""

POOR_ERROR = 0.25
"""The error above which even the best cost is said not to predict latency."""

DRAWS = 2000
SEED = 0

COST_NAMES: Mapping[str, str] = {
    "mult_adds": "Mult-Adds",
    "memory_access_bytes": "memory access",
    "both": "both together",
    "bound_ns": "the roofline bound",
}
COST_PARTS: Mapping[str, tuple[str, ...]] = {
    "mult_adds": ("mult_adds",),
    "memory_access_bytes": ("memory_access_bytes",),
    "both": ("mult_adds", "memory_access_bytes"),
    "bound_ns": ("bound_ns",),
}


class BootstrapEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % bootstrap interval over the variants."""

    value: float
    low: float
    high: float


class CostModel(msgspec.Struct, frozen=True, kw_only=True):
    """How well a cost, or two costs together, predict latency.

    `error` is the median of relative errors of variants left out, `error_across` that of families left out, None where
    there is one family; `worst` the largest of the former. Correlations of two costs are those of their fit.
    """

    cost: str
    spearman: BootstrapEstimate
    pearson: BootstrapEstimate
    pearson_of_logs: BootstrapEstimate
    error: BootstrapEstimate
    error_across: BootstrapEstimate | None
    worst: float
    no_worse_than_best: bool = False


class CostModelRanking(msgspec.Struct, frozen=True, kw_only=True):
    """The cost models of a device in one setting, the smallest error first; `sentence` is the conclusion."""

    device: str
    setting: str
    variants: int
    families: tuple[str, ...]
    predictors: tuple[CostModel, ...]
    sentence: str


def fit_cost_models(records: Iterable[Record], *, seed: int = SEED) -> list[CostModelRanking]:
    """Fit cost models for each setting, precision and batch. `records` are the newest of each variant."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        if record.latency_ns:
            groups.setdefault((record.setting, record.precision, record.batch), []).append(record)
    return [_prediction(group, seed) for group in groups.values()]


def _prediction(records: Sequence[Record], seed: int) -> CostModelRanking:
    first = records[0]
    families = [family_name(record.architecture) for record in records]
    batch = f", batch {first.batch}" if first.batch > 1 else ""
    threads = f"{first.threads} thread{'s' if first.threads != 1 else ''}"
    facts: dict[str, tuple[str, ...]] = {"families": tuple(sorted(set(families)))}
    setting = f"{first.precision}, {threads}{batch}, {first.runtime.name} {first.runtime.version}"
    if len(records) < MIN_VARIANTS:
        few = f"On {first.device} ({setting}), {len(records)} variants are too few: measure {MIN_VARIANTS} or more."
        return CostModelRanking(
            device=first.device, setting=setting, variants=len(records), predictors=(), sentence=few, **facts
        )
    latency = np.array([record.latency_ns.median for record in records if record.latency_ns], np.float64)
    costs = {name: _cost(name, records) for name in ("mult_adds", "memory_access_bytes", "bound_ns")}
    usable = {name: parts for name, parts in COST_PARTS.items() if all(costs[part] is not None for part in parts)}
    errors = {name: leave_one_out_errors(_terms(costs, parts), latency) for name, parts in usable.items()}
    best = min(errors, key=lambda name: float(np.median(errors[name])))
    draws = np.random.default_rng(seed).integers(0, len(records), (DRAWS, len(records)))
    models = [
        _predictor(name, _terms(costs, parts), latency, errors[name], errors[best], families, draws)
        for name, parts in usable.items()
    ]
    models.sort(key=lambda model: model.error.value)
    sentence = _sentence(f"{first.device} ({setting})", len(records), models)
    return CostModelRanking(
        device=first.device,
        setting=setting,
        variants=len(records),
        predictors=tuple(models),
        sentence=sentence,
        **facts,
    )


def _predictor(
    name: str,
    terms: Floats,
    latency: Floats,
    errors: Floats,
    best: Floats,
    families: Sequence[str],
    draws: NDArray[np.int64],
) -> CostModel:
    # Two costs are made one by their fit.
    x = terms[:, 1] if terms.shape[1] == 2 else terms @ _fit(terms, latency)

    def median_error(at: NDArray[np.int64]) -> float:
        return float(np.median(errors[at]))

    return CostModel(
        cost=name,
        spearman=_estimate(lambda at: _spearman(x[at], latency[at]), draws),
        pearson=_estimate(lambda at: _pearson(x[at], latency[at]), draws),
        pearson_of_logs=_estimate(lambda at: _pearson(_log(x[at]), np.log(latency[at])), draws),
        error=_estimate(median_error, draws),
        error_across=_across(terms, latency, families, draws),
        worst=float(errors.max()),
        no_worse_than_best=_no_worse(errors, best, draws),
    )


def _cost(name: str, records: Sequence[Record]) -> Floats | None:
    """Return this cost of all records; None if a record lacks it."""
    if name == "bound_ns":
        values = [record.roofline.bound_ns if record.roofline else None for record in records]
    else:
        values = [int(getattr(record, name)) for record in records]
    known = [value for value in values if value is not None]
    return np.array(known, np.float64) if len(known) == len(records) else None


def _terms(costs: Mapping[str, Floats | None], parts: Sequence[str]) -> Floats:
    """Return the terms of a line: a constant, and each cost divided by its mean."""
    chosen = [floats for floats in map(costs.__getitem__, parts) if floats is not None]
    return np.column_stack([np.ones(chosen[0].size), *(floats / floats.mean() for floats in chosen)])


def _fit(terms: Floats, latency: Floats) -> Floats:
    """Return the coefficients with the least sum of squared relative errors."""
    floats: Floats = np.linalg.lstsq(terms / latency[:, None], np.ones(latency.size), rcond=None)[0].astype(np.float64)
    return floats


def leave_one_out_errors(terms: Floats, latency: Floats) -> Floats:
    """Return each variant's relative error in a fit to the others: its residual in the fit to all over 1 − leverage."""
    scaled = terms / latency[:, None]
    leverage = np.einsum("ij,ji->i", scaled, np.linalg.pinv(scaled))
    left = 1 - scaled @ _fit(terms, latency)
    return np.abs(left / np.maximum(1 - leverage, 1e-9))


def _across(
    terms: Floats, latency: Floats, families: Sequence[str], draws: NDArray[np.int64]
) -> BootstrapEstimate | None:
    """Return the median error of variants whose family was left out; None if too few variants are left to fit."""
    names = np.array(families)
    if len(set(families)) == 1:
        return None
    errors = np.empty(latency.size)
    for name in set(families):
        mine = names == name
        if (~mine).sum() <= terms.shape[1]:
            return None
        errors[mine] = np.abs(terms[mine] @ _fit(terms[~mine], latency[~mine]) / latency[mine] - 1)
    return _estimate(lambda at: float(np.median(errors[at])), draws)


def _estimate(figure: Callable[[NDArray[np.int64]], float], draws: NDArray[np.int64]) -> BootstrapEstimate:
    """Return the figure of all variants, with the middle 95 % of the figures of all draws."""
    low, high = np.quantile([figure(draw) for draw in draws], (0.025, 0.975))
    indices: NDArray[np.int64] = np.arange(draws.shape[1], dtype=np.int64)
    return BootstrapEstimate(value=figure(indices), low=float(low), high=float(high))


def _no_worse(errors: Floats, best: Floats, draws: NDArray[np.int64]) -> bool:
    """Return whether the errors are as small as the best ones in at least 2.5 % of the draws."""
    excess = np.median(errors[draws], axis=1) - np.median(best[draws], axis=1)
    return bool(np.quantile(excess, 0.025) <= 0)


def _log(values: Floats) -> Floats:
    """Return logarithms. A fit of two costs can be zero or negative: take the smallest positive number instead."""
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))


def _pearson(x: Floats, y: Floats) -> float:
    """Return the correlation; 0 if one of the two is constant."""
    a, b = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _spearman(x: Floats, y: Floats) -> float:
    return _pearson(_ranks(x), _ranks(y))


def _ranks(values: Floats) -> Floats:
    """Return ranks from 0; equal values share their mean rank."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2


def _sentence(where: str, variants: int, models: Sequence[CostModel]) -> str:
    """Return the conclusion: the best cost and its error, the costs that may be as good, and the others."""
    best, *others = models
    # Where arithmetic bounds every variant, the bound is Mult-Adds by another name.
    others = [model for model in others if model.error != best.error]
    ties = [COST_NAMES[model.cost] for model in others if model.no_worse_than_best]
    worse = [
        f"{COST_NAMES[model.cost]} by {format_percent(model.error.value)}"
        for model in others
        if not model.no_worse_than_best
    ]
    name = COST_NAMES[best.cost]
    if best.error.value > POOR_ERROR:
        said = f"On {where}, no cost predicts latency well. Of all, {name} comes closest: half"
    else:
        said = f"On {where}, {name} {'predicts' if best.cost in _SINGULAR else 'predict'} latency best: half"
    said += f" of the variants are off by {format_percent(best.error.value)} or less from a line through the others"
    said += f" ({format_percent(best.error.low)} to {format_percent(best.error.high)})"
    if best.error_across:
        said += f", and by {format_percent(best.error_across.value)} from a line through other families"
    if ties:
        said += f"; {_listed(ties)} may be as good: {variants} variants do not distinguish them"
    if worse:
        said += f"; {_listed(worse)}"
    return f"{said}."


_SINGULAR = ("memory_access_bytes", "bound_ns")


def _listed(words: Sequence[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} and {last}" if first else last
