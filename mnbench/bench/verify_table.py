"""Whether outputs agree, as a table."""

from mnbench.bench.verify import Output, Verdict
from mnbench.tables.table import Column, Table
from mnbench.units import in_percent_1


def verdict_table(verdict: Verdict) -> Table[Output]:
    """One row an output."""
    columns = [
        Column[Output](name="output", value=lambda one: one.name, left=True),
        Column[Output](
            name="max_abs", title="largest\ndifference", value=lambda one: one.max_abs, show="{:.1e}".format
        ),
        Column[Output](name="relative", title="of the\nspread", value=lambda one: one.relative, show="{:.1e}".format),
        Column[Output](
            name="top1_agreement", title="top-1\nagreement", value=lambda one: one.top1_agreement, show=in_percent_1
        ),
    ]
    agrees = "agrees" if verdict.agrees else "DIFFERS"
    inputs = f"{verdict.inputs} input" + ("s" if verdict.inputs != 1 else "")
    title = (
        f"{verdict.model} on {verdict.device} ({verdict.runtime} {verdict.provider}) {agrees}\n"
        f"with {verdict.against} by onnxruntime's CPU without optimizations, {inputs}"
    )
    note = f"of the spread: a share of the expected output's standard deviation; up to {verdict.tolerance:g} agrees"
    return Table(columns=columns, rows=verdict.outputs, title=title, notes=[note, *_elsewhere(verdict)])


def _elsewhere(verdict: Verdict) -> list[str]:
    others = {provider: count for provider, count in (verdict.placement or {}).items() if provider != verdict.provider}
    return [f"{count} nodes ran on {provider} and not on {verdict.provider}" for provider, count in others.items()]
