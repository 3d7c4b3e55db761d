"""Typed columns and their formats: a table becomes text. Every other module is a format, and has `render`."""

from pkgutil import iter_modules

FORMATS = {
    module.name.removesuffix("_text"): f"{__name__}.{module.name}"
    for module in iter_modules(__path__)
    if module.name not in ("table", "quantities")
}
"""The module of each format, by the format's name."""

FORMATS["md"] = FORMATS["markdown"]
