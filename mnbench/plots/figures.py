"""Every plot there is: what it shows, of which records, and what its marks mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from mnbench.bench.profiling import Profile
from mnbench.errors import RecordError
from mnbench.plots.layer_shares import distribution_plot, layers_plot
from mnbench.plots.points import AXES, COSTS, MANY, Cost
from mnbench.plots.scatter import Sizes, accuracy_plot, cost_plot, roofline_plot
from mnbench.plots.theme import Theme
from mnbench.plots.write import HEIGHT, PANEL, WIDTH, document
from mnbench.results import layer_profile, raw
from mnbench.results.columns import published
from mnbench.results.latency_table import setting
from mnbench.results.record import Record
from mnbench.units import billions

Kind: TypeAlias = Literal["mult-adds", "memory-access", "params", "accuracy", "roofline", "layers", "distribution"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CURVES = 6
"""So many variants a plot of distributions tells apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a plot is made of: the records of one or more devices, and the profiles of their variants."""

    kind: Kind
    results: Path
    records: Sequence[Record]

    def __post_init__(self) -> None:
        """Refuse what would be an empty plot.

        Raises:
            RecordError: the records have nothing of that kind.
        """
        empty, hint = {
            "accuracy": ("no published accuracy is known of these variants", "plot others: mnbench graphs show v1"),
            "roofline": ("no row has a roofline", "measure anew: mnbench run finds the device's own once"),
            "layers": ("no profile is kept of these variants", "make one: mnbench run v1 --profile"),
            "distribution": ("no raw samples are kept here of these variants", "measure them here: mnbench run v1"),
        }.get(self.kind, ("no row was measured", "see why: mnbench table"))
        if not any(self._has(device) for device in self.devices.values()):
            raise RecordError(f"{self.results}: {empty}", hint=hint)

    @property
    def devices(self) -> dict[str, list[Record]]:
        """The measured records of each device and setting."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            if record.latency_ns:
                found.setdefault(setting(record), []).append(record)
        return found

    def _has(self, records: Sequence[Record]) -> bool:
        match self.kind:
            case "accuracy":
                return any(published(record) for record in records if record.latency_ns)
            case "roofline":
                return any(record.roofline and record.roofline.bound_ns for record in records)
            case "layers":
                return bool(self.profiles(records))
            case "distribution":
                return any(raw.latencies(self.results, record) for record in records)
            case _:
                return bool(records)

    def profiles(self, records: Sequence[Record]) -> list[Profile]:
        """The newest profile of each of these records."""
        wanted = {(record.variant, record.device, record.threads) for record in records}
        return [one for one in layer_profile.newest(self.results) if (one.variant, one.device, one.threads) in wanted]

    def panel(self, records: Sequence[Record], theme: Theme, sizes: Sizes) -> dict[str, Any]:
        """The plot of one device."""
        match self.kind:
            case "accuracy":
                return accuracy_plot(records, theme, every=self.records, sizes=sizes)
            case "roofline":
                return roofline_plot(records, theme, every=self.records, sizes=sizes)
            case "layers":
                return layers_plot(self.profiles(records), theme)
            case "distribution":
                return distribution_plot(self.runs(records), theme)
            case cost:
                return cost_plot(records, cost, theme, every=self.records, sizes=sizes)

    def runs(self, records: Sequence[Record]) -> dict[str, list[Any]]:
        """The raw samples of the first few that have any."""
        found: dict[str, list[Any]] = {}
        for record in records:
            latencies = raw.latencies(self.results, record) if len(found) < CURVES else []
            if latencies:
                found[record.variant] = latencies
        return found

    @property
    def title(self) -> str:
        """What the plot shows."""
        if self.kind in COSTS:
            return f"Latency against {AXES[self.kind][1]}"
        return {
            "accuracy": "Published accuracy against measured latency",
            "roofline": "How close to the device's own roofline",
            "layers": "Where the time goes, by layer type",
            "distribution": "How long the runs took",
        }[self.kind]

    def legend(self, records: Sequence[Record]) -> str:
        """What the marks mean."""
        match self.kind:
            case "layers":
                return "Kernels' time from a process of its own, because profiling slows a model down"
            case "distribution":
                left_out = len([one for one in records if one.latency_ns]) - len(self.runs(records))
                more = f"; {left_out} more variants are left out" if left_out > 0 else ""
                return f"Thick: all runs, the fastest 99 %. Thin: those of each process{more}"
            case "roofline":
                return f"{_roofs(records)}. ≈ imprecise, hollow and !: has issues"
            case "accuracy":
                out = sum(not published(record) for record in records if record.latency_ns)
                lines = "Steps: the Pareto front. Bars: intervals of the latency"
                return lines + (f". {out} variants have no published figure" if out else "")
            case _:
                if len(records) > MANY:
                    return f"{len(records):,} variants: of those that would hide each other one is drawn, no intervals"
                return (
                    "Names: α-resolution. Bars: intervals, often shorter than a mark. ≈ imprecise, hollow and !: issues"
                )

    def spec(self, theme: Theme) -> dict[str, Any]:
        """The whole picture: one panel a device."""
        shown = {name: records for name, records in self.devices.items() if self._has(records)}
        size = (WIDTH, HEIGHT) if len(shown) == 1 else (PANEL, PANEL * 3 // 4)
        panels = [(name, self.panel(records, theme, [size])) for name, records in shown.items()]
        every = [record for records in shown.values() for record in records]
        subtitle = [*(shown if len(shown) == 1 else ()), self.legend(every)]
        return document(panels, theme, title=self.title, subtitle=subtitle)


def _roofs(records: Sequence[Record]) -> str:
    """The bandwidths between which the roofs lie."""
    found = [
        billions(one.roofline.bandwidth_bytes_per_s)
        for one in records
        if one.roofline and one.roofline.bandwidth_bytes_per_s
    ]
    if not found:
        return "No bandwidth is known"
    return f"Roofs: at {max(found):,.0f} GB/s, of the smallest working set; dashed, at {min(found):,.0f} GB/s"


__all__ = ["COSTS", "KINDS", "Cost", "Figure", "Kind"]
