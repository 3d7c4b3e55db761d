"""The only place where a unit is scaled: base units in, text in the printed unit out."""

from collections.abc import Callable

NS_PER_S = 1e9

UNIT_FACTORS: dict[str, dict[str, float]] = {
    "ns": {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9},
    "bytes": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    "": {"k": 1e3, "M": 1e6, "G": 1e9, "%": 0.01},
}
"""What may stand behind a number: of a duration, of a size, of anything else."""


def parse_quantity(text: str, name: str) -> float:
    """A number, with a unit or without, in the base unit that a column's name ends with: 10ms, 300M, 60 %.

    Raises:
        ValueError: it is no number, or its unit is of another kind.
    """
    number = text.rstrip("nuµmskMGB%").rstrip()
    suffix = text[len(number) :].strip()
    factors = UNIT_FACTORS[next((kind for kind in ("ns", "bytes") if name.endswith(f"_{kind}")), "")] | {"": 1.0}
    if suffix not in factors:
        raise ValueError(text)
    return float(number) * factors[suffix]


def format_ms(duration_ns: float) -> str:
    """Nanoseconds as milliseconds with three digits: 0.412, 4.12, 41.2."""
    return format_significant(duration_ns / 1e6)


def to_milliseconds(duration_ns: float) -> float:
    """Nanoseconds as the milliseconds of an axis."""
    return duration_ns / 1e6


def to_millions(count: float) -> float:
    """A count as the millions of an axis, bytes as its megabytes."""
    return count / 1e6


def to_billions(count: float) -> float:
    """A count, or a rate, as the billions of an axis."""
    return count / 1e9


def format_us(duration_ns: float) -> str:
    """Nanoseconds as microseconds with one decimal."""
    return f"{duration_ns / 1e3:,.1f}"


def millions_formatter(decimals: int) -> Callable[[float], str]:
    """A count as millions, or bytes as megabytes of 10⁶ bytes."""
    return lambda count: f"{count / 1e6:,.{decimals}f}"


def format_binary_bytes(size_bytes: float) -> str:
    """Bytes as processors and systems count them: 32 KiB, 1 MiB, 23.5 GiB."""
    unit = next((power for power in (3, 2, 1) if size_bytes >= 1024**power), 0)
    return f"{round(size_bytes / 1024**unit, 1):,g} {('B', 'KiB', 'MiB', 'GiB')[unit]}"


def format_ghz(frequency_hz: float) -> str:
    """Hertz as gigahertz: 2.6 GHz."""
    return f"{round(frequency_hz / 1e9, 2):g} GHz"


def format_giga(rate: float) -> str:
    """A rate a second as 10⁹ a second."""
    return f"{rate / 1e9:,.1f}"


def format_percent(share: float) -> str:
    """A share of one, without decimals."""
    return f"{share:.0%}"


def format_percent_1(share: float) -> str:
    """A share of one, with one decimal."""
    return f"{share:.1%}"


def format_percent_2(share: float) -> str:
    """A share of one, with two decimals, as papers print it."""
    return f"{share:.2%}"


def rate_per_s(count: float, duration_ns: float) -> float:
    """A count done in so many nanoseconds, a second."""
    return count / duration_ns * NS_PER_S


def format_significant(value: float, digits: int = 3) -> str:
    """A number with at least that many significant digits and no exponent: 0.0413, 4.13, 41.3, 413, 4,130."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"
