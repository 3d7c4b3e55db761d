"""One file a runtime: a class `Session`, functions `version` and `build`, and how the name of its `BINARY` starts."""

from __future__ import annotations


class Unavailable(Exception):  # noqa: N818  the state, not the fault, is what the user mends
    """The device cannot be measured as its profile says: `what` is missing there, or refuses to be used."""

    def __init__(self, message: str, *, what: str) -> None:
        super().__init__(message)
        self.what = what
