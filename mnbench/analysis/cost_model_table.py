"""Cost models as a table, with the conclusion below."""

from collections.abc import Callable
from typing import Any

from mnbench.analysis.cost_models import COST_NAMES, DRAWS, BootstrapEstimate, CostModel, CostModelRanking
from mnbench.tables.table import Column, Table
from mnbench.units import format_percent_1


def cost_model_table(ranking: CostModelRanking) -> Table[CostModel]:
    """Return a table with a row for each cost, the best first."""
    columns: list[Column[Any]] = [
        Column[CostModel](name="cost", value=lambda model: COST_NAMES[model.cost], left=True),
        Column[CostModel](name="error", value=lambda model: model.error.value, format=format_percent_1),
        *_interval("error", "", lambda model: model.error),
        Column[CostModel](
            name="error_across",
            title="error,\nnew family",
            value=lambda model: model.error_across.value if model.error_across else None,
            format=format_percent_1,
        ),
        *_interval("error_across", "new family", lambda model: model.error_across, rank=3),
        Column[CostModel](name="worst", format=format_percent_1, drop_priority=2),
        Column[CostModel](
            name="spearman", title="Spearman", value=lambda model: model.spearman.value, format="{:.3f}".format
        ),
        *_interval("spearman", "Spearman", lambda model: model.spearman, rank=4),
        Column[CostModel](
            name="pearson", title="Pearson", value=lambda model: model.pearson.value, format="{:.3f}".format
        ),
        *_interval("pearson", "Pearson", lambda model: model.pearson, rank=4),
        Column[CostModel](
            name="pearson_of_logs",
            title="Pearson\nof logs",
            value=lambda model: model.pearson_of_logs.value,
            format="{:.3f}".format,
            drop_priority=1,
        ),
    ]
    notes = [ranking.sentence]
    if ranking.predictors:
        notes.append(
            "error: the median relative error for a variant that the line was not fitted to; new family: for a family "
            f"that it was not fitted to; intervals: 95 % of {DRAWS:,} bootstrap draws of the variants"
        )
    title = f"{ranking.device}: {ranking.variants} variants of {len(ranking.families)} families, {ranking.setting}"
    return Table(
        columns=columns if ranking.predictors else columns[:1], rows=ranking.predictors, title=title, notes=notes
    )


def _interval(
    name: str, title: str, of: Callable[[CostModel], BootstrapEstimate | None], rank: int = 1
) -> list[Column[Any]]:
    """Return a column with both ends of an interval."""

    def text(model: CostModel) -> str | None:
        estimate = of(model)
        if estimate is None:
            return None
        share = "error" in name
        low, high = (format_percent_1(end) if share else f"{end:.3f}" for end in (estimate.low, estimate.high))
        return f"{low}–{high}"

    return [Column[Any](name=f"{name}_interval", title=f"{title}\ninterval".strip(), value=text, drop_priority=rank)]
