"""Facts of a host as a table: the end of a fact's name is its unit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from mnbench.tables.table import Column, Table
from mnbench.units import format_binary_bytes, format_ghz, format_ms, format_percent_1

UNITS: Mapping[str, Callable[[Any], str]] = {
    "_bytes": format_binary_bytes,
    "_hz": format_ghz,
    "_ns": lambda duration_ns: f"{format_ms(duration_ns)} ms",
    "_s": "{:g} s".format,
    "_c": "{:.0f} °C".format,
    "_w": "{:g} W".format,
}
SHARES = ("_pressure_10s", "utilization")
ACRONYMS = {"cpu": "CPU", "cpus": "CPUs", "gpu": "GPU", "numa": "NUMA", "mig": "MIG", "sm": "SM"}


def facts_table(facts: Mapping[str, Any], title: str = "", notes: Sequence[str] = ()) -> Table[tuple[str, Any]]:
    """Return one row a fact, without those that the host does not report."""
    columns = [
        Column[tuple[str, Any]](name="fact", value=lambda fact: fact_label(fact[0]), left=True),
        Column[tuple[str, Any]](name="value", value=lambda fact: format_fact(*fact), left=True, wrap=True),
    ]
    rows = [(name, value) for name, value in facts.items() if value not in (None, {}, [], "")]
    return Table(columns=columns, rows=rows, title=title, notes=notes)


def fact_label(name: str) -> str:
    """Return the name of a fact for people, without its unit."""
    unit = "" if name.endswith(SHARES) else next(filter(name.endswith, UNITS), "")
    return " ".join(ACRONYMS.get(word, word) for word in name.removesuffix(unit).split("_"))


def format_fact(name: str, value: Any) -> str:
    """Return the value of a fact for people, in the unit that ends its name."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(format_fact(name, item) for item in cast("Sequence[Any]", value))
        case dict():
            items = cast("Mapping[str, Any]", value).items()
            return " ".join(f"{fact_label(key)} {format_fact(key, item)}" for key, item in items if item is not None)
        case int() | float() if name.endswith(SHARES):
            return format_percent_1(value)
        case int() | float():
            return UNITS.get(next(filter(name.endswith, UNITS), ""), str)(value)
        case _:
            return str(value)
