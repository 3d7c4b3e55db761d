"""Cost models: how well Mult-Adds, memory access and the roofline bound predict latency. Pure functions, seeded.

A line a + b · cost is fitted by least squares of relative errors, so that fast and slow variants count alike. Its error
is measured for variants that it was not fitted to: each variant is left out in turn, and then each family.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench.families.published_accuracy import family_name
from mnbench.results.host_identity import HostIdentity
from mnbench.results.record import Record
from mnbench.tables.table import Column, IntervalColumn, Table
from mnbench.units import format_percent, format_percent_1

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
Draw: TypeAlias = Callable[[Indices], Floats]
"""Return a value of each variant that was drawn."""

MIN_VARIANTS = 8
"""The minimum number of variants to fit a cost model."""

POOR_ERROR = 0.25
"""The error above which even the best cost is said not to predict latency."""

DRAWS, MIN_DRAWS = 2000, 200
MAX_DRAWN = 20_000_000
"""Variants in all draws together: the intervals of many variants are narrow, and take fewer draws."""
SEED = 0

COST_NAMES: Mapping[str, str] = {
    "mult_adds": "Mult-Adds",
    "memory_access_bytes": "memory access",
    "both": "both together",
    "bound_ns": "the roofline bound",
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

    def table(self) -> Table[CostModel]:
        """Return a table with a row for each cost, the best first; without columns of figures if there are none."""
        columns = [
            Column[CostModel](name="cost", value=lambda model: COST_NAMES[model.cost], left=True),
            *_estimate_columns("error", "error", "interval", format_percent_1, drop_priority=1),
            *_estimate_columns(
                "error_across", "error,\nnew family", "new family\ninterval", format_percent_1, drop_priority=3
            ),
            Column[CostModel](name="worst", format=format_percent_1, drop_priority=2),
            *_estimate_columns("spearman", "Spearman", "Spearman\ninterval", "{:.3f}".format, drop_priority=4),
            *_estimate_columns("pearson", "Pearson", "Pearson\ninterval", "{:.3f}".format, drop_priority=4),
            Column[CostModel](
                name="pearson_of_logs",
                title="Pearson\nof logs",
                value=lambda model: model.pearson_of_logs.value,
                format="{:.3f}".format,
                drop_priority=1,
            ),
        ]
        notes = [self.sentence]
        if self.predictors:
            notes.append(
                "error: the median relative error for a variant that the line was not fitted to; new family: for a "
                f"family that it was not fitted to; intervals: 95 % of {_draw_count(self.variants):,} bootstrap draws"
                " of the variants"
            )
        return Table(
            columns=columns if self.predictors else columns[:1],
            rows=self.predictors,
            title=f"{self.device}: {self.variants} variants of {len(self.families)} families, {self.setting}",
            notes=notes,
        )


def _estimate_columns(
    name: str, title: str, interval_title: str, text: Callable[[float], str], *, drop_priority: int
) -> list[Column[CostModel]]:
    """Return a column with an estimate, and one with both ends of its interval."""

    def column(suffix: str, field: str, title: str = "") -> Column[CostModel]:
        def value(model: CostModel) -> float | None:
            return getattr(getattr(model, name), field, None)

        return Column(name=f"{name}{suffix}", title=title, value=value, format=text)

    ends = (column("_low", "low"), column("_high", "high"))
    return [
        column("", "value", title),
        IntervalColumn(name=f"{name}_interval", title=interval_title, drop_priority=drop_priority, parts=ends),
    ]


def fit_cost_models(records: Iterable[Record], *, seed: int = SEED) -> list[CostModelRanking]:
    """Fit cost models for each setting, precision and batch. `records` are the newest of each variant."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        if record.latency_ns and record.mult_adds is not None and record.memory_access is not None:
            groups.setdefault((record.setting, record.precision, record.batch), []).append(record)
    hosts: dict[str, set[HostIdentity | None]] = {}
    for first, *_ in groups.values():
        hosts.setdefault(first.device, set()).add(first.host_identity)
    return [_ranking(group, seed, name_host=len(hosts[group[0].device]) > 1) for group in groups.values()]


def _draw_count(variants: int) -> int:
    return min(DRAWS, max(MIN_DRAWS, MAX_DRAWN // variants))


def _ranking(records: Sequence[Record], seed: int, *, name_host: bool) -> CostModelRanking:
    first, count = records[0], len(records)
    families = [family_name(record.architecture) for record in records]
    batch = f", batch {first.batch}" if first.batch not in (1, None) else ""
    threads = f"{first.threads} thread{'s' if first.threads != 1 else ''}"
    setting = f"{first.precision}, {threads}{batch}, {first.runtime.name} {first.runtime.version}"
    setting += f", {first.host_identity}" if name_host else ""
    models: list[CostModel] = []
    if count < MIN_VARIANTS:
        too_few = "1 variant is" if count == 1 else f"{count} variants are"
        sentence = f"On {first.device} ({setting}), {too_few} too few: measure {MIN_VARIANTS} or more."
    else:
        latency = np.array([record.latency_ns.median for record in records if record.latency_ns], np.float64)
        draws = np.random.default_rng(seed).integers(0, count, (_draw_count(count), count))
        models = _fit_models(_terms(records), latency, families, draws)
        sentence = _sentence(f"{first.device} ({setting})", count, models)
    return CostModelRanking(
        device=first.device,
        setting=setting,
        variants=count,
        families=tuple(sorted(set(families))),
        predictors=tuple(models),
        sentence=sentence,
    )


def _terms(records: Sequence[Record]) -> dict[str, Floats]:
    """Return the terms of each cost's line: a constant, and each cost over its mean. All records have these costs."""

    def scaled(values: Sequence[int | None]) -> Floats:
        floats = np.array(values, np.float64)
        return floats / floats.mean()

    mult_adds = scaled([record.mult_adds for record in records])
    memory_access = scaled([record.memory_access_bytes for record in records])
    costs = {"mult_adds": [mult_adds], "memory_access_bytes": [memory_access], "both": [mult_adds, memory_access]}
    bounds = [record.bound_ns for record in records if record.bound_ns is not None]
    if len(bounds) == len(records):
        costs["bound_ns"] = [scaled(bounds)]
    return {name: np.column_stack([np.ones(len(records)), *parts]) for name, parts in costs.items()}


def _fit_models(
    terms: Mapping[str, Floats], latency: Floats, families: Sequence[str], draws: Indices
) -> list[CostModel]:
    """Return the model of each cost, the smallest error first."""
    errors = {name: leave_one_out_errors(columns, latency) for name, columns in terms.items()}
    medians = {name: _medians(values, draws) for name, values in errors.items()}
    best = medians[min(errors, key=lambda name: float(np.median(errors[name])))]
    models: list[CostModel] = []
    for name, columns in terms.items():
        # Two costs are made one by their fit.
        x = columns[:, 1] if columns.shape[1] == 2 else columns @ _fit(columns, latency)
        across = _errors_across(columns, latency, families)
        models.append(
            CostModel(
                cost=name,
                spearman=_correlation(draw_ranks(x), draw_ranks(latency), draws),
                pearson=_correlation(x.__getitem__, latency.__getitem__, draws),
                pearson_of_logs=_correlation(_log(x).__getitem__, _log(latency).__getitem__, draws),
                error=_estimate(float(np.median(errors[name])), medians[name]),
                error_across=None if across is None else _estimate(float(np.median(across)), _medians(across, draws)),
                worst=float(errors[name].max()),
                # As small as the best error in at least 2.5 % of the draws.
                no_worse_than_best=bool(np.quantile(medians[name] - best, 0.025) <= 0),
            )
        )
    return sorted(models, key=lambda model: model.error.value)


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


def _errors_across(terms: Floats, latency: Floats, families: Sequence[str]) -> Floats | None:
    """Return each variant's relative error in a fit to other families; None if too few variants are left to fit."""
    names = np.array(families)
    errors = np.empty(latency.size)
    for name in set(families):
        mine = names == name
        if (~mine).sum() <= terms.shape[1]:
            return None
        errors[mine] = np.abs(terms[mine] @ _fit(terms[~mine], latency[~mine]) / latency[mine] - 1)
    return errors


def _medians(values: Floats, draws: Indices) -> Floats:
    """Return the median of each draw. The values are sorted once: a draw only says how often each of them is there."""
    order = np.argsort(values)
    ordered, middle = values[order], ((len(values) - 1) // 2, len(values) // 2)
    counts = (np.bincount(draw, minlength=len(values))[order].cumsum() for draw in draws)
    return np.array([ordered[np.searchsorted(count, middle, side="right")].mean() for count in counts])


def _correlation(x: Draw, y: Draw, draws: Indices) -> BootstrapEstimate:
    """Return the correlation of two values of the variants; that of a draw is 0 if one of the two is constant."""

    def pearson(indices: Indices) -> float:
        a, b = x(indices), y(indices)
        a, b = a - a.mean(), b - b.mean()
        # `@` would share each product among threads, which wait for one another longer than they compute.
        aa, bb, ab = (float(np.einsum("i,i", *pair)) for pair in ((a, a), (b, b), (a, b)))
        return ab / math.sqrt(aa * bb) if aa * bb else 0.0

    indices: Indices = np.arange(draws.shape[1], dtype=np.int64)
    return _estimate(pearson(indices), np.array([pearson(draw) for draw in draws]))


def _estimate(value: float, drawn: Floats) -> BootstrapEstimate:
    """Return the figure of all variants, with the middle 95 % of the figures of all draws."""
    low, high = np.quantile(drawn, (0.025, 0.975))
    return BootstrapEstimate(value=value, low=float(low), high=float(high))


def _log(values: Floats) -> Floats:
    """Return logarithms. A fit of two costs can be zero or negative: take the smallest positive number instead."""
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))


def draw_ranks(values: Floats) -> Draw:
    """Return the function that ranks the values of a draw from 0; equal values share their mean rank.

    The values are sorted once, and not in each draw.
    """
    distinct, places = np.unique(values, return_inverse=True)

    def ranks(indices: Indices) -> Floats:
        drawn = places[indices]
        count = np.bincount(drawn, minlength=len(distinct))
        return (np.cumsum(count) - (count + 1) / 2)[drawn]

    return ranks


def _sentence(where: str, variants: int, models: Sequence[CostModel]) -> str:
    """Return the conclusion: the best cost and its error, the costs that may be as good, and the others."""
    best, *others = models
    # Where arithmetic bounds every variant, the bound is Mult-Adds by another name.
    others = [model for model in others if model.error != best.error]
    ties = [COST_NAMES[model.cost] for model in others if model.no_worse_than_best]
    worse = [
        f"{COST_NAMES[model.cost]} (within {format_percent(model.error.value)})"
        for model in others
        if not model.no_worse_than_best
    ]
    name = COST_NAMES[best.cost]
    if best.error.value > POOR_ERROR:
        said = f"On {where}, no cost predicts latency well; {name} comes closest. Half"
    else:
        predict = "predicts" if best.cost in ("memory_access_bytes", "bound_ns") else "predict"
        said = f"On {where}, {name} {predict} latency best. Half"
    said += f" of the variants are within {format_percent(best.error.value)} of a line through the others"
    said += f" ({format_percent(best.error.low)} to {format_percent(best.error.high)})"
    if best.error_across:
        said += f", and within {format_percent(best.error_across.value)} of a line through other families"
    if ties:
        said += f". As good, as far as {variants} variants can distinguish: {_listed(ties)}"
    if worse:
        said += f". Worse: {_listed(worse)}"
    return f"{said}."


def _listed(words: Sequence[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} and {last}" if first else last
