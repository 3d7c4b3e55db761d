"""The plots: their data, title and legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mnbench.errors import ResultsError
from mnbench.plots import PLOT_KINDS, PlotKind
from mnbench.plots.layer_shares import distribution_plot, layer_shares_plot
from mnbench.plots.points import AXES, COST_KINDS, MAX_DETAILED_POINTS, CostKind
from mnbench.plots.scatter import Sizes, accuracy_plot, cost_plot, roofline_plot
from mnbench.plots.theme import DARK, LIGHT, Theme
from mnbench.plots.write import HEIGHT, PANEL_WIDTH, WIDTH, combine_panels, draw, write_plot
from mnbench.results import layer_profile
from mnbench.results.columns import record_accuracy
from mnbench.results.latency_table import setting_label
from mnbench.results.layer_profile import LayerProfile
from mnbench.results.record import Record
from mnbench.results.store import raw_latencies
from mnbench.units import to_billions

MAX_CURVES = 6
"""Variants that a plot of distributions shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot of the records of one or more devices. A notebook shows it.

    `results` is the folder with their profiles and raw samples; None if they are not stored.
    """

    kind: PlotKind
    results: Path | None
    records: Sequence[Record]
    dark: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty plot.

        Raises:
            ResultsError: the records have nothing of that kind.
        """
        empty, hint = {
            "accuracy": ("no published accuracy is known of these variants", "plot others: mnbench graphs show v1"),
            "roofline": ("no row has a roofline", "measure anew: mnbench run finds the device's own once"),
            "layers": ("no profile is kept of these variants", "make one: mnbench run v1 --profile"),
            "distribution": ("no raw samples are kept here of these variants", "measure them here: mnbench run v1"),
        }.get(self.kind, ("no row was measured", "see why: mnbench table"))
        if not any(self._has_data(device) for device in self.records_by_device.values()):
            raise ResultsError(f"{self.results or 'results'}: {empty}", hint=hint)

    @property
    def records_by_device(self) -> dict[str, list[Record]]:
        """Measured records by device and setting."""
        entries: dict[str, list[Record]] = {}
        for record in self.records:
            if record.latency_ns:
                entries.setdefault(setting_label(record), []).append(record)
        return entries

    def _has_data(self, records: Sequence[Record]) -> bool:
        match self.kind:
            case "accuracy":
                return any(record_accuracy(record) for record in records if record.latency_ns)
            case "roofline":
                return any(record.bound_ns for record in records)
            case "layers":
                return bool(self.find_profiles(records))
            case "distribution":
                return bool(self.load_latencies(records))
            case _:
                return bool(records)

    def find_profiles(self, records: Sequence[Record]) -> list[LayerProfile]:
        """Return the newest profile of each of these records."""
        wanted = {(record.variant, record.device, record.threads) for record in records}
        return [
            profile
            for profile in (layer_profile.newest_profiles(self.results) if self.results else ())
            if (profile.variant, profile.device, profile.threads) in wanted
        ]

    def draw_panel(self, records: Sequence[Record], theme: Theme, sizes: Sizes) -> dict[str, Any]:
        """Return the Vega-Lite specification of one device's panel."""
        match self.kind:
            case "accuracy":
                return accuracy_plot(records, theme, all_records=self.records, sizes=sizes)
            case "roofline":
                return roofline_plot(records, theme, all_records=self.records, sizes=sizes)
            case "layers":
                return layer_shares_plot(self.find_profiles(records), theme)
            case "distribution":
                return distribution_plot(self.load_latencies(records), theme)
            case cost:
                return cost_plot(records, cost, theme, all_records=self.records, sizes=sizes)

    def load_latencies(self, records: Sequence[Record]) -> dict[str, list[Any]]:
        """Return the raw latencies of the first variants that have any."""
        entries: dict[str, list[Any]] = {}
        for record in records:
            latencies = raw_latencies(self.results, record) if self.results and len(entries) < MAX_CURVES else []
            if latencies:
                entries[record.variant] = latencies
        return entries

    @property
    def title(self) -> str:
        """The title: what the plot shows."""
        if self.kind in COST_KINDS:
            return f"Latency against {AXES[self.kind][1]}"
        return {
            "accuracy": "Published accuracy against measured latency",
            "roofline": "How close to the device's own roofline",
            "layers": "Where the time goes, by layer type",
            "distribution": "How long the runs took",
        }[self.kind]

    def legend(self, records: Sequence[Record]) -> str:
        """Return what the marks mean."""
        match self.kind:
            case "layers":
                return "Kernels' time from a process of its own, because profiling slows a model down"
            case "distribution":
                left_out = len([record for record in records if record.latency_ns]) - len(self.load_latencies(records))
                more = f"; {left_out} more variants are left out" if left_out > 0 else ""
                return f"Thick: all runs, the fastest 99 %. Thin: those of each process{more}"
            case "roofline":
                return f"{_roofs(records)}. ≈ imprecise, hollow and !: has issues"
            case "accuracy":
                out = sum(not record_accuracy(record) for record in records if record.latency_ns)
                lines = "Steps: the Pareto front. Bars: intervals of the latency"
                return lines + (f". {out} variants have no published figure" if out else "")
            case _:
                if len(records) > MAX_DETAILED_POINTS:
                    return f"{len(records):,} variants: of those that would hide each other one is drawn, no intervals"
                return (
                    "Names: α-resolution. Bars: intervals, often shorter than a mark. ≈ imprecise, hollow and !: issues"
                )

    def spec(self, theme: Theme) -> dict[str, Any]:
        """Return the Vega-Lite specification of the whole picture: one panel a device."""
        shown = {name: records for name, records in self.records_by_device.items() if self._has_data(records)}
        size = (WIDTH, HEIGHT) if len(shown) == 1 else (PANEL_WIDTH, PANEL_WIDTH * 3 // 4)
        panels = [(name, self.draw_panel(records, theme, [size])) for name, records in shown.items()]
        every = [record for records in shown.values() for record in records]
        subtitle = [*(shown if len(shown) == 1 else ()), self.legend(every)]
        return combine_panels(panels, theme, title=self.title, subtitle=subtitle)

    def save(self, *paths: str | PathLike[str]) -> None:
        """Write the picture, as each file's name says: `.svg`, `.png`, or `.json` for the Vega specification.

        Raises:
            MissingDependency: vl-convert is not installed.
            FileError: no such kind of picture, no space, no permission.
        """
        spec = self.spec(DARK if self.dark else LIGHT)
        for path in paths:
            write_plot(spec, Path(path))

    def __repr__(self) -> str:
        return f"<Plot: {self.kind} of {len(self.records)} records>"

    def _repr_svg_(self) -> str:
        return draw(self.spec(DARK if self.dark else LIGHT), ".svg").decode()


def _roofs(records: Sequence[Record]) -> str:
    """Return the legend of the roofs: the highest and the lowest bandwidth."""
    result = [
        to_billions(record.roofline.bandwidth_bytes_per_s)
        for record in records
        if record.roofline and record.roofline.bandwidth_bytes_per_s
    ]
    if not result:
        return "No bandwidth is known"
    return f"Roofs: at {max(result):,.0f} GB/s, of the smallest working set; dashed, at {min(result):,.0f} GB/s"


__all__ = ["COST_KINDS", "PLOT_KINDS", "CostKind", "Plot", "PlotKind"]
