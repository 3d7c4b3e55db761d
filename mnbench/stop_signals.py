"""The signals that stop a command: Ctrl-C, the end of a service, and the end of a terminal."""

import signal

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
