"""Whether outputs agree, as a table."""

from mnbench.bench.verify import OutputDifference, Verification
from mnbench.tables.table import Column, Table
from mnbench.units import format_percent_1


def verification_table(verdict: Verification) -> Table[OutputDifference]:
    """One row an output."""
    columns = [
        Column[OutputDifference](name="output", value=lambda output: output.name, left=True),
        Column[OutputDifference](name="max_abs", title="largest\ndifference", format="{:.1e}".format),
        Column[OutputDifference](name="relative", title="of the\nspread", format="{:.1e}".format),
        Column[OutputDifference](name="top1_agreement", title="top-1\nagreement", format=format_percent_1),
    ]
    agrees = "agrees" if verdict.agrees else "DIFFERS"
    inputs = f"{verdict.inputs} input" + ("s" if verdict.inputs != 1 else "")
    title = (
        f"{verdict.model} on {verdict.device} ({verdict.runtime} {verdict.provider}) {agrees}\n"
        f"with {verdict.against} by onnxruntime's CPU without optimizations, {inputs}"
    )
    note = f"of the spread: a share of the expected output's standard deviation; up to {verdict.tolerance:g} agrees"
    return Table(columns=columns, rows=verdict.outputs, title=title, notes=[note, *_elsewhere(verdict)])


def _elsewhere(verdict: Verification) -> list[str]:
    others = {provider: count for provider, count in (verdict.placement or {}).items() if provider != verdict.provider}
    return [f"{count} nodes ran on {provider} and not on {verdict.provider}" for provider, count in others.items()]
