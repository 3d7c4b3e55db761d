"""Conversion of units, and the only place for it: base units in, text in the printed unit out."""

from collections.abc import Callable, Mapping

NS_PER_S = 1e9

NS_FACTORS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}

UNIT_FACTORS: dict[str, Mapping[str, float]] = {
    "ns": NS_FACTORS,
    "s": {unit: factor / NS_PER_S for unit, factor in NS_FACTORS.items()},
    "bytes": {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    "": {"k": 1e3, "M": 1e6, "G": 1e9, "%": 0.01},
}
"""The units allowed after a number, by the base unit: of a duration, of a size, of anything else."""


def parse_quantity(text: str, base_unit: str) -> float:
    """Parse a number with an optional unit (10ms, 300M, 60 %) into the base unit: ns, s, bytes or none.

    Raises:
        ValueError: the text is not a number, or its unit is of another kind.
    """
    number = text.rstrip("nuµmshkKMGB%").rstrip()
    suffix = text[len(number) :].strip()
    factors = {**UNIT_FACTORS[base_unit], "": 1.0}
    if suffix not in factors:
        raise ValueError(text)
    return float(number) * factors[suffix]


def format_ms(duration_ns: float) -> str:
    """Format nanoseconds as milliseconds with three digits: 0.412, 4.12, 41.2."""
    return format_significant(duration_ns / 1e6)


def to_milliseconds(duration_ns: float) -> float:
    """Convert nanoseconds to milliseconds, for an axis."""
    return duration_ns / 1e6


def to_millions(count: float) -> float:
    """Convert a count to millions, or bytes to megabytes, for an axis."""
    return count / 1e6


def to_billions(count: float) -> float:
    """Convert a count or a rate to billions, for an axis."""
    return count / 1e9


def format_us(duration_ns: float) -> str:
    """Format nanoseconds as microseconds with one decimal."""
    return f"{duration_ns / 1e3:,.1f}"


def millions_formatter(decimals: int) -> Callable[[float], str]:
    """Return a function that formats a count as millions, or bytes as megabytes of 10⁶ bytes."""
    return lambda count: f"{count / 1e6:,.{decimals}f}"


def format_time(duration_s: float) -> str:
    """Format seconds for people who wait: 40 s, 5 min, 1 h 10 min."""
    minutes = round(duration_s / 60)
    if minutes < 2:
        return f"{max(1, round(duration_s))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_binary_bytes(size_bytes: float) -> str:
    """Format bytes in binary units: 32 KiB, 1 MiB, 23.5 GiB."""
    unit = next((power for power in (3, 2, 1) if size_bytes >= 1024**power), 0)
    return f"{round(size_bytes / 1024**unit, 1):,g} {('B', 'KiB', 'MiB', 'GiB')[unit]}"


def format_ghz(frequency_hz: float) -> str:
    """Format hertz as gigahertz: 2.6 GHz."""
    return f"{round(frequency_hz / 1e9, 2):g} GHz"


def format_giga(rate: float) -> str:
    """Format a rate per second in units of 10⁹ per second."""
    return f"{rate / 1e9:,.1f}"


def format_percent(share: float) -> str:
    """Format a share of one as a percentage without decimals."""
    return f"{share:.0%}"


def format_percent_1(share: float) -> str:
    """Format a share of one as a percentage with one decimal."""
    return f"{share:.1%}"


def format_percent_2(share: float) -> str:
    """Format a share of one as a percentage with two decimals, as papers print it."""
    return f"{share:.2%}"


def rate_per_s(count: float, duration_ns: float) -> float:
    """Return the rate per second of a count that took this many nanoseconds."""
    return count / duration_ns * NS_PER_S


def format_significant(value: float, digits: int = 3) -> str:
    """Format a number with at least this many significant digits and no exponent: 0.0413, 4.13, 41.3, 413, 4,130."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"
