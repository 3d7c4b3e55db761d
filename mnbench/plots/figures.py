"""The plots: their data, title and legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mnbench.errors import ResultsError
from mnbench.plots import PlotKind
from mnbench.plots.by_device import latency_by_device_plot
from mnbench.plots.layer_shares import distribution_plot, layer_shares_plot
from mnbench.plots.points import ACCURACY_KINDS, MAX_DETAILED_POINTS, plot_labels, plot_name
from mnbench.plots.scatter import Sizes, scatter_plot
from mnbench.plots.theme import DARK, LIGHT, Theme
from mnbench.plots.write import HEIGHT, PANEL_SIZE, WIDTH, combine_panels, draw, write_plot
from mnbench.results import layer_profile
from mnbench.results.columns import published_percent
from mnbench.results.latency_table import setting_label
from mnbench.results.layer_profile import LayerProfile
from mnbench.results.record import Record
from mnbench.results.store import raw_latencies
from mnbench.units import to_billions

TITLES: Mapping[PlotKind, str] = {
    "mult-adds": "Latency against Mult-Adds",
    "memory-access": "Latency against memory access",
    "params": "Latency against params",
    "accuracy": "Published accuracy against measured latency",
    "coco": "Published mAP on COCO against measured latency",
    "voc": "Published mIoU on VOC against measured latency",
    "cityscapes": "Published mIoU on Cityscapes against measured latency",
    "roofline": "How close to the device's own roofline",
    "devices": "Latency by device",
    "layers": "Where the time goes, by layer type",
    "distribution": "How long the runs took",
}

WITHOUT_ACCURACY = (
    "no published figure of that kind is known of these variants",
    "measure variants that have one: mnbench run --published",
)
EMPTY: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(ACCURACY_KINDS, WITHOUT_ACCURACY),
    "roofline": ("no row has a roofline", "measure anew: mnbench run finds the device's own once"),
    "layers": ("no profile is kept of these variants", "make one: mnbench run v1 --profile"),
    "distribution": ("no raw samples are kept here of these variants", "measure them here: mnbench run v1"),
}
"""Why a plot would be empty, and what to do."""

LEGENDS: Mapping[str, str] = {
    "devices": "Dots: medians, the fastest in orange. Bars: intervals. ≈ imprecise, hollow and !: issues",
    "layers": "Kernels' time from a process of its own, because profiling slows a model down",
}
"""What the marks mean, where that does not depend on the records."""

MAX_SETTING_LENGTH = 200
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
        if not self._has_data([record for record in self.records if record.latency_ns]):
            reason, hint = EMPTY.get(self.kind, ("no row was measured", "see why: mnbench table"))
            raise ResultsError(f"{self.results or 'results'}: {reason}", hint=hint)

    @property
    def title(self) -> str:
        """The title: what the plot shows."""
        return TITLES[self.kind]

    @property
    def panels(self) -> dict[str, list[Record]]:
        """Measured records by device and setting; for the plot of devices, all records by variant."""
        labels = plot_labels(record.row for record in self.records)
        panels: dict[str, list[Record]] = {}
        for record in self.records:
            if self.kind == "devices":
                panels.setdefault(labels[record.row], []).append(record)
            elif record.latency_ns:
                panels.setdefault(plot_name(setting_label(record), MAX_SETTING_LENGTH), []).append(record)
        return panels

    def _has_data(self, records: Sequence[Record]) -> bool:
        match self.kind:
            case kind if kind in ACCURACY_KINDS:
                return any(self._has_accuracy(record) for record in records)
            case "roofline":
                return any(record.bound_ns for record in records)
            case "layers":
                return bool(self.find_profiles(records))
            case "distribution":
                return bool(self.load_latencies(records))
            case _:
                return any(record.latency_ns for record in records)

    def _has_accuracy(self, record: Record) -> bool:
        return published_percent(record, ACCURACY_KINDS[self.kind]) is not None

    def find_profiles(self, records: Sequence[Record]) -> list[LayerProfile]:
        """Return the newest profile of each of these records."""
        wanted = {(record.row, record.device, record.threads, record.host_identity) for record in records}
        profiles = layer_profile.newest_profiles(self.results) if self.results else ()
        return layer_profile.label_profiles(
            [
                profile
                for profile in profiles
                if (profile.row, profile.device, profile.threads, profile.host_identity) in wanted
            ]
        )

    def load_latencies(self, records: Sequence[Record]) -> dict[str, list[Any]]:
        """Return the raw latencies of the first variants that have any."""
        if not self.results or not (self.results / "raw").is_dir():
            return {}
        labels = plot_labels(record.row for record in records)
        latencies_by_variant: dict[str, list[Any]] = {}
        for record in records:
            if latencies := raw_latencies(self.results, record):
                latencies_by_variant[labels[record.row]] = latencies
            if len(latencies_by_variant) == MAX_CURVES:
                break
        return latencies_by_variant

    def draw_panel(self, records: Sequence[Record], theme: Theme, sizes: Sizes) -> dict[str, Any]:
        """Return the Vega-Lite specification of one device's panel."""
        match self.kind:
            case "layers":
                return layer_shares_plot(self.find_profiles(records), theme)
            case "devices":
                return latency_by_device_plot(records, theme)
            case "distribution":
                return distribution_plot(self.load_latencies(records), theme)
            case kind:
                return scatter_plot(kind, records, theme, all_records=self.records, sizes=sizes)

    def legend(self, records: Sequence[Record]) -> str:
        """Return what the marks mean."""
        match self.kind:
            case kind if kind in LEGENDS:
                return LEGENDS[kind]
            case "distribution":
                left_out = len(records) - len(self.load_latencies(records))
                more = f"; {left_out} more variants are left out" if left_out > 0 else ""
                return f"Thick: all runs, the fastest 99 %. Thin: those of each process{more}"
            case "roofline":
                return f"{_roofs(records)}. ≈ imprecise, hollow and !: has issues"
            case kind if kind in ACCURACY_KINDS:
                left_out = sum(not self._has_accuracy(record) for record in records)
                lines = "Steps: the Pareto front. Bars: intervals of the latency"
                return lines + (f". {left_out} variants have no published figure" if left_out else "")
            case _ if len(records) > MAX_DETAILED_POINTS:
                return f"{len(records):,} variants: of those that would hide each other one is drawn, no intervals"
            case _:
                names = "Names: α-resolution. " if any(record.architecture for record in records) else ""
                return f"{names}Bars: intervals, often shorter than a mark. ≈ imprecise, hollow and !: issues"

    def spec(self, theme: Theme) -> dict[str, Any]:
        """Return the Vega-Lite specification of the whole picture: one panel a device."""
        shown = {name: records for name, records in self.panels.items() if self._has_data(records)}
        size = (WIDTH, HEIGHT) if len(shown) == 1 else PANEL_SIZE
        panels = {name: self.draw_panel(records, theme, [size]) for name, records in shown.items()}
        legend = self.legend([record for records in shown.values() for record in records])
        if empty := [name.partition(":")[0] for name in self.panels if name not in shown]:
            legend += f". Without data: {', '.join(empty)}"
        return combine_panels(panels, theme, title=self.title, legend=legend)

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
    bandwidths = [record.roofline.bandwidth_bytes_per_s for record in records if record.roofline]
    known = [to_billions(bandwidth) for bandwidth in bandwidths if bandwidth]
    if not known:
        return "No bandwidth is known"
    return f"Roofs: at {max(known):,.0f} GB/s, of the smallest working set; dashed, at {min(known):,.0f} GB/s"
