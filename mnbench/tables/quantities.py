"""Columns that several tables have: the one definition of each quantity's title, unit and format."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mnbench.tables.table import CellValue, Column
from mnbench.units import format_ms, millions_formatter

QUANTITIES: dict[str, Column[Any]] = {
    column.name: column
    for column in (
        Column[Any](name="variant", left=True),
        Column[Any](name="device", left=True),
        Column[Any](name="threads"),
        Column[Any](name="top1", title="top-1", unit="%", format="{:.1f}".format),
        Column[Any](name="coco_map", title="COCO\nmAP", unit="%", format="{:.1f}".format),
        Column[Any](name="voc_miou", title="VOC\nmIoU", unit="%", format="{:.1f}".format),
        Column[Any](name="cityscapes_miou", title="Cityscapes\nmIoU", unit="%", format="{:.1f}".format),
        Column[Any](name="params", unit="M", format=millions_formatter(2), drop_priority=2),
        Column[Any](name="mult_adds", title="Mult-Adds", unit="M", format=millions_formatter(1)),
        Column[Any](name="memory_access", title="memory\naccess", unit="M", format=millions_formatter(2)),
        Column[Any](name="memory_access_bytes", title="memory\naccess", unit="MB", format=millions_formatter(1)),
        Column[Any](name="peak_activation_bytes", title="peak\nactivations", unit="MB", format=millions_formatter(2)),
        Column[Any](name="peak_rss_bytes", title="peak RSS", unit="MB", format=millions_formatter(0)),
        Column[Any](name="size_bytes", title="size", unit="MB", format=millions_formatter(1)),
        *(
            Column[Any](name=f"{name}_ns", title=title, unit="ms", format=format_ms)
            for name, title in (
                ("latency", "latency"),
                ("low", "low"),
                ("high", "high"),
                ("undisturbed", "undisturbed"),
                ("min", "min"),
                ("p10", "p10"),
                ("p90", "p90"),
                ("p99", "p99"),
                ("bound", "lower\nbound"),
                ("first_run", "first run"),
                ("session", "session"),
                ("conversion", "conversion"),
                ("cpu", "thread\nCPU"),
                ("copy_in", "copy in"),
                ("copy_out", "copy out"),
            )
        ),
    )
}


def quantity(
    name: str, value: Callable[[Any], CellValue] | None = None, *, decimals: int | None = None, **changes: Any
) -> Column[Any]:
    """Return the column of a quantity, with `value` and other fields changed; `decimals` are those of millions."""
    if value:
        changes["value"] = value
    if decimals is not None:
        changes["format"] = millions_formatter(decimals)
    return replace(QUANTITIES[name], **changes)
