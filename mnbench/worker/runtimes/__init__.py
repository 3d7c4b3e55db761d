"""One file a runtime, each with a class `Session` and a function `version`."""


class Unavailable(Exception):  # noqa: N818  the state, not the fault, is what the user mends
    """The runtime cannot serve this device: it is not installed, or lacks the provider."""
