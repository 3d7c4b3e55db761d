"""Typed columns and their formats: a table becomes text. A module that has `render` is a format."""

from pkgutil import iter_modules

NOT_FORMATS = ("table", "quantities", "data_frame")
FORMATS = {
    module.name.removesuffix("_text"): f"{__name__}.{module.name}"
    for module in iter_modules(__path__)
    if module.name not in NOT_FORMATS
}
"""The module of each format, by the format's name."""

FORMATS["md"] = FORMATS["markdown"]
