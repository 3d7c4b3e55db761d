"""Specifications become pictures: SVG and PNG, without a browser and without the network."""

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from mnbench import atomic_files
from mnbench.errors import FileError, MissingDependency
from mnbench.plots.theme import Theme

WIDTH, HEIGHT = 640, 430
PANEL_WIDTH = 430
"""The width of one of several panels."""

PNG_SCALE = 2
PAGE_HEIGHT = 380
PAGE_COLUMNS = 2
"""Of a legend: as many as a phone has room for."""
PAGE_SIZES = ((240, PAGE_HEIGHT), (330, PAGE_HEIGHT), (450, PAGE_HEIGHT), (560, PAGE_HEIGHT))
"""For each of these widths names are placed, and shown up to the next: what has room has it on a wider plot too."""

PICKED_VARIANT = {"name": "picked", "value": ""}
"""The variant that the reader has picked; none in a picture."""


def load_vl_convert() -> Any:
    """Import the library that draws.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import vl_convert  # noqa: PLC0415  84 MB, and an extra
    except ImportError as failure:
        raise MissingDependency(
            "vl-convert-python, which draws plots, is not installed", hint='install it: pip install "mnbench[plot]"'
        ) from failure
    return vl_convert


def combine_panels(
    panels: Sequence[tuple[str, dict[str, Any]]], theme: Theme, *, title: str, subtitle: Sequence[str] = ()
) -> dict[str, Any]:
    """Combine panels into one picture, each with its own title."""
    head = {"text": title, "subtitle": list(subtitle)}
    whole = {
        "title": head,
        "background": theme.background,
        "config": theme.config,
        "padding": 12,
        "params": [PICKED_VARIANT],
    }
    if len(panels) == 1:
        ((_, panel),) = panels
        return whole | {"width": WIDTH, "height": HEIGHT} | panel
    shown = [
        {"width": PANEL_WIDTH, "height": PANEL_WIDTH * 3 // 4} | _anonymous(panel) | _head(name)
        for name, panel in panels
    ]
    return whole | {"concat": shown, "columns": 2, "spacing": {"row": 40, "column": 30}}


def _anonymous(panel: dict[str, Any]) -> dict[str, Any]:
    """Return a panel without layer names, which other panels use too."""
    return panel | {"layer": [{key: item[key] for key in item if key != "name"} for item in panel["layer"]]}


def _head(name: str) -> dict[str, Any]:
    device, _, remainder = name.partition(": ")
    title = {"text": device, "subtitle": wrap(remainder, PANEL_WIDTH // 6), "fontSize": 13, "offset": 8}
    return {"title": title}


def draw_for_page(panel: dict[str, Any], theme: Theme) -> dict[str, Any]:
    """Return the Vega specification of one panel, as wide as its container."""
    config = theme.config
    config["legend"] |= {"orient": "bottom", "columns": PAGE_COLUMNS}
    size = {"width": "container", "height": PAGE_HEIGHT, "autosize": {"type": "fit-x", "contains": "padding"}}
    spec = {"config": config, "background": None, "params": [PICKED_VARIANT], "padding": 4} | size | panel
    return load_vl_convert().vegalite_to_vega(spec)


def draw(spec: dict[str, Any], suffix: str) -> bytes:
    """Return a picture as `.svg` or `.png`, or the Vega specification as `.json`.

    Raises:
        MissingDependency: vl-convert is not installed.
        ValueError: no such kind of picture.
    """
    library = load_vl_convert()
    vega = library.vegalite_to_vega(spec)
    match suffix:
        case ".svg":
            return library.vega_to_svg(vega).encode()
        case ".png":
            return library.vega_to_png(vega, scale=PNG_SCALE)
        case ".json":
            return json.dumps(vega, ensure_ascii=False).encode()
        case _:
            raise ValueError(suffix)


def write_plot(spec: dict[str, Any], path: Path) -> None:
    """Write a picture of the kind that the file's name ends with.

    Raises:
        MissingDependency: vl-convert is not installed.
        FileError: no such kind of picture, no space, no permission.
    """
    try:
        data = draw(spec, path.suffix.lower())
    except ValueError as failure:
        raise FileError(f"{path}: {path.suffix} is not a kind of picture", hint="name it .svg or .png") from failure
    atomic_files.write_atomically(path, data, durable=False)
