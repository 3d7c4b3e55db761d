"""Which cost predicts latency: correlations, and how far off a line through other variants is. Pure, and seeded.

A line a + b · cost is fitted by least squares of relative errors, as a variant of half a millisecond counts as much as one
of fifty. Its error is never that of a variant it was fitted to: each variant is left out in turn, and then its family.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.network.accuracy import family
from mnbench.records.record import Record
from mnbench.units import in_percent

Floats: TypeAlias = NDArray[np.float64]

FEWEST = 8
"""Variants below which nothing is said: a line through two costs leaves hardly any to be tested on."""

DRAWS = 2000
SEED = 0

NAMES: Mapping[str, str] = {
    "mult_adds": "Mult-Adds",
    "memory_access_bytes": "memory access",
    "both": "both together",
    "bound_ns": "the roofline bound",
}
COSTS: Mapping[str, tuple[str, ...]] = {
    "mult_adds": ("mult_adds",),
    "memory_access_bytes": ("memory_access_bytes",),
    "both": ("mult_adds", "memory_access_bytes"),
    "bound_ns": ("bound_ns",),
}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure, and the 95 % interval of as many variants drawn anew from these."""

    value: float
    low: float
    high: float


class Predictor(msgspec.Struct, frozen=True, kw_only=True):
    """What a cost, or two, tell of latency.

    `error` is the median of relative errors of variants left out, `error_across` that of families left out, None where
    there is one family; `worst` the largest of the former. Correlations of two costs are those of their fit.
    """

    cost: str
    spearman: Estimate
    pearson: Estimate
    pearson_of_logs: Estimate
    error: Estimate
    error_across: Estimate | None
    worst: float
    no_worse_than_best: bool = False


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One device in one setting. `predictors` begin with the one of the smallest error; `sentence` says it in words."""

    device: str
    setting: str
    variants: int
    families: tuple[str, ...]
    predictors: tuple[Predictor, ...]
    sentence: str


def predictions(records: Iterable[Record], *, seed: int = SEED) -> list[Prediction]:
    """One for each device, precision, batch, thread count, runtime and CPU among the records: newest ones, each once."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        if record.latency_ns:
            where = record.runtime.version, record.host.get("cpu")
            key = record.device, record.precision, record.batch, record.threads, *where
            groups.setdefault(key, []).append(record)
    return [_prediction(group, seed) for group in groups.values()]


def _prediction(records: Sequence[Record], seed: int) -> Prediction:
    first = records[0]
    families = [family(record.architecture) for record in records]
    batch = f", batch {first.batch}" if first.batch > 1 else ""
    threads = f"{first.threads} thread{'s' if first.threads != 1 else ''}"
    facts: dict[str, tuple[str, ...]] = {"families": tuple(sorted(set(families)))}
    setting = f"{first.precision}, {threads}{batch}, {first.runtime.name} {first.runtime.version}"
    if len(records) < FEWEST:
        few = f"On {first.device}, {len(records)} variants are too few to tell: measure {FEWEST} or more."
        return Prediction(
            device=first.device, setting=setting, variants=len(records), predictors=(), sentence=few, **facts
        )
    latency = np.array([record.latency_ns.median for record in records if record.latency_ns], np.float64)
    costs = {name: _cost(name, records) for name in ("mult_adds", "memory_access_bytes", "bound_ns")}
    usable = {name: parts for name, parts in COSTS.items() if all(costs[part] is not None for part in parts)}
    errors = {name: _left_out(_columns(costs, parts), latency) for name, parts in usable.items()}
    best = min(errors, key=lambda name: float(np.median(errors[name])))
    draws = np.random.default_rng(seed).integers(0, len(records), (DRAWS, len(records)))
    found = [
        Predictor(
            cost=name,
            spearman=_estimate(lambda at, x=_scalar(costs, parts, latency): _spearman(x[at], latency[at]), draws),
            pearson=_estimate(lambda at, x=_scalar(costs, parts, latency): _pearson(x[at], latency[at]), draws),
            pearson_of_logs=_estimate(
                lambda at, x=_scalar(costs, parts, latency): _pearson(_log(x[at]), np.log(latency[at])), draws
            ),
            error=_estimate(lambda at, e=errors[name]: float(np.median(e[at])), draws),
            error_across=_across(_columns(costs, parts), latency, families, draws),
            worst=float(errors[name].max()),
            no_worse_than_best=_no_worse(errors[name], errors[best], draws),
        )
        for name, parts in usable.items()
    ]
    found.sort(key=lambda one: one.error.value)
    sentence = _sentence(first.device, len(records), found)
    return Prediction(
        device=first.device, setting=setting, variants=len(records), predictors=tuple(found), sentence=sentence, **facts
    )


def _cost(name: str, records: Sequence[Record]) -> Floats | None:
    """That cost of every record; None where one has none."""
    if name == "bound_ns":
        values = [record.roofline.bound_ns if record.roofline else None for record in records]
    else:
        values = [getattr(record, name) for record in records]
    return None if any(value is None for value in values) else np.array(values, np.float64)


def _columns(costs: Mapping[str, Floats | None], parts: Sequence[str]) -> Floats:
    """A constant and each cost, scaled to its mean: a line's terms."""
    chosen = [one for one in map(costs.__getitem__, parts) if one is not None]
    return np.column_stack([np.ones(chosen[0].size), *(one / one.mean() for one in chosen)])


def _fit(terms: Floats, latency: Floats) -> Floats:
    """The coefficients that make the sum of squared relative errors least."""
    return np.linalg.lstsq(terms / latency[:, None], np.ones(latency.size), rcond=None)[0]


def _left_out(terms: Floats, latency: Floats) -> Floats:
    """The relative error of each variant by a fit to all others: what a fit to all leaves of it, over 1 − leverage."""
    scaled = terms / latency[:, None]
    leverage = np.einsum("ij,ji->i", scaled, np.linalg.pinv(scaled))
    left = 1 - scaled @ _fit(terms, latency)
    return np.abs(left / np.maximum(1 - leverage, 1e-9))


def _across(terms: Floats, latency: Floats, families: Sequence[str], draws: NDArray[np.int64]) -> Estimate | None:
    """The median error of variants whose whole family was left out; None where too few are left to fit."""
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


def _scalar(costs: Mapping[str, Floats | None], parts: Sequence[str], latency: Floats) -> Floats:
    """A cost as it is; two as the fit makes one of them."""
    terms = _columns(costs, parts)
    return terms[:, 1] if len(parts) == 1 else terms @ _fit(terms, latency)


def _estimate(figure: Callable[[NDArray[np.int64]], float], draws: NDArray[np.int64]) -> Estimate:
    """The figure of all variants, and the middle 95 % of those of each draw."""
    drawn = np.array([figure(draw) for draw in draws])
    # A draw of one variant alone has no correlation.
    low, high = np.quantile(drawn[np.isfinite(drawn)], (0.025, 0.975))
    return Estimate(value=figure(np.arange(draws.shape[1])), low=float(low), high=float(high))


def _no_worse(errors: Floats, best: Floats, draws: NDArray[np.int64]) -> bool:
    """Whether in the same draws it does as well as the best one often enough."""
    excess = np.median(errors[draws], axis=1) - np.median(best[draws], axis=1)
    return bool(np.quantile(excess, 0.025) <= 0)


def _log(values: Floats) -> Floats:
    """A fit of two costs may come out at or below zero."""
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))


def _pearson(x: Floats, y: Floats) -> float:
    a, b = x - x.mean(), y - y.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _spearman(x: Floats, y: Floats) -> float:
    return _pearson(_ranks(x), _ranks(y))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2)[inverse]


def _sentence(device: str, variants: int, found: Sequence[Predictor]) -> str:
    best, *others = found
    ties = [NAMES[one.cost] for one in others if one.no_worse_than_best]
    worse = [one for one in others if not one.no_worse_than_best]
    across = f", and by {in_percent(best.error_across.value)} in a family it has not seen" if best.error_across else ""
    said = (
        f"On {device}, {NAMES[best.cost]} predict{'s' if best.cost in _SINGULAR else ''} latency best: for half of the "
        f"variants a line through the others is off by {in_percent(best.error.value)} at most "
        f"({in_percent(best.error.low)} to {in_percent(best.error.high)}){across}"
    )
    if ties:
        said += f"; {_listed(ties)} may do as well, as far as {variants} variants can tell"
    if worse:
        said += f"; {_listed([f'{NAMES[one.cost]} by {in_percent(one.error.value)}' for one in worse])}"
    return f"{said}."


_SINGULAR = ("memory_access_bytes", "bound_ns")


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
