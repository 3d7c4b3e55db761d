"""Axes: linear, or logarithmic where the data span more than one order of magnitude, with ticks that read well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

LOG_RATIO = 8
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""

DECADE_TICKS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
"""Ticks within a decade, from few to many."""

MIN_TICKS = 4
PADDING = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis: its ends, and the positions of its ticks."""

    log: bool
    domain: tuple[float, float]
    ticks: tuple[float, ...]

    def fraction(self, value: float) -> float:
        """Return a value's position along the axis, 0 to 1."""
        low, high = (log10(end) if self.log else end for end in self.domain)
        return ((log10(value) if self.log else value) - low) / (high - low)

    def value(self, fraction: float) -> float:
        """Return the value at a position along the axis."""
        low, high = (log10(end) if self.log else end for end in self.domain)
        at = low + fraction * (high - low)
        return 10**at if self.log else at


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The axis of a field of points: what it shows, its unit, and its scale."""

    field: str
    quantity: str
    unit: str
    scale: Scale

    @property
    def title(self) -> str:
        """Quantity, unit and scale."""
        parts = [part for part in (self.unit, "log scale" if self.scale.log else "") if part]
        return f"{self.quantity} ({', '.join(parts)})" if parts else self.quantity

    @property
    def channel(self) -> dict[str, Any]:
        """Vega-Lite's encoding of the field."""
        kind, domain = "log" if self.scale.log else "linear", list(self.scale.domain)
        return {
            "field": self.field,
            "type": "quantitative",
            "scale": {"type": kind, "domain": domain, "nice": False, "zero": False},
            # Vega's `format` has as many digits as its own choice of ticks needs: it would show 62.5 as 63.
            "axis": {"values": list(self.scale.ticks), "labelExpr": "format(datum.value, ',~r')", "title": self.title},
        }

    def fraction(self, point: Mapping[str, Any]) -> float:
        """Return a point's position along the axis, 0 to 1."""
        return self.scale.fraction(point[self.field])


def fit_scale(values: Sequence[float], *, zero: bool = True, log: bool = False) -> Scale:
    """Return the scale for these values, linear or logarithmic; with `zero`, a linear axis begins at 0."""
    low, high = min(values), max(values)
    if low > 0 and (log or high / low >= LOG_RATIO):
        pad = (high / low) ** PADDING
        return _log(low / pad, high * pad)
    low = min(0.0, low) if zero else low - PADDING * (high - low or abs(high) or 1)
    high += PADDING * (high - low or abs(high) or 1)
    step = _step((high - low) / 6)
    ticks = [round(at * step, 10) for at in range(ceil(low / step), floor(high / step) + 1)]
    return Scale(log=False, domain=(low, high), ticks=tuple(ticks))


def _log(low: float, high: float) -> Scale:
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks: list[float] = []
    for steps in DECADE_TICKS:
        ticks = [float(f"{step * 10**decade:.4g}") for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) > MIN_TICKS:
            break
    return Scale(log=True, domain=(low, high), ticks=tuple(ticks))


def _step(least: float) -> float:
    power = 10 ** floor(log10(least))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least)
