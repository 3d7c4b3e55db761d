"""Specifications become pictures: SVG and PNG, without a browser and without the network."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

from mnbench import atomic_files
from mnbench.errors import FileError, import_extra
from mnbench.plots.theme import Theme
from mnbench.tables import json_text

WIDTH, HEIGHT = 640, 430
PANEL_SIZE = (430, 322)
"""Of one of several panels."""

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
    return import_extra("vl_convert", extra="plot", use="a plot")


def combine_panels(panels: Mapping[str, dict[str, Any]], theme: Theme, *, title: str, legend: str) -> dict[str, Any]:
    """Combine panels, by device and setting, into one picture."""
    whole = {"background": theme.background, "config": theme.config, "padding": 12, "params": [PICKED_VARIANT]}
    if len(panels) == 1:
        ((setting, panel),) = panels.items()
        head = {"title": {"text": title, "subtitle": [setting, *wrap(legend, WIDTH // 5)]}}
        return whole | head | {"width": WIDTH, "height": HEIGHT} | panel
    width, height = PANEL_SIZE
    settings = [name.partition(": ") for name in panels]
    subtitles = [wrap(setting, width // 6) for _, _, setting in settings]
    depth = max(map(len, subtitles))
    shown: list[dict[str, Any]] = []
    for (device, _, _), subtitle, panel in zip(settings, subtitles, panels.values(), strict=True):
        # All titles have as many lines, so that they stand in line; layers of several panels cannot share a name.
        lines = subtitle + [" "] * (depth - len(subtitle))
        head = {"title": {"text": device, "subtitle": lines, "fontSize": 13, "offset": 8}}
        layers = [{key: layer[key] for key in layer if key != "name"} for layer in panel["layer"]]
        shown.append({"width": width, "height": height} | panel | head | {"layer": layers})
    head = {"title": {"text": title, "subtitle": wrap(legend, 2 * width // 6)}}
    return whole | head | {"concat": shown, "columns": 2, "spacing": {"row": 40, "column": 30}}


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
            return json_text.dump_for_script(vega).encode()
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
