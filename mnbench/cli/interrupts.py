"""Ctrl-C, SIGTERM and SIGHUP end a command with one line."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

import click

from mnbench.cli.output import echo
from mnbench.stop_signals import STOP_SIGNALS

EXIT_INTERRUPTED = 130

RETRY_S = 0.02
"""Seconds to wait before retrying an interrupt that arrived inside an atomic operation."""


@contextmanager
def stop_on_signals() -> Generator[None]:
    """End the command with one line at Ctrl-C, SIGTERM or SIGHUP; its processes and temporary files are removed.

    A signal that is ignored stays so: `nohup` ignores SIGHUP.
    """
    stops: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stops.append(number)
        if _in_critical_section(frame) and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        else:
            raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS if main_thread}
    ordinary = signal.default_int_handler, signal.SIG_DFL
    replaced = {number: handler for number, handler in handlers.items() if handler in ordinary}
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    except click.exceptions.Exit:
        raise
    except BaseException as error:
        # Libraries may turn the interrupt into another error: a module that is being imported raises an ImportError.
        if stops or isinstance(error, KeyboardInterrupt):
            notes: list[str] = getattr(error, "__notes__", []) if isinstance(error, KeyboardInterrupt) else []
            with suppress(OSError):  # the terminal is gone
                echo(": ".join(["stopped", *notes]), err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from error
        raise
    finally:
        if stops and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _in_critical_section(frame: FrameType | None) -> bool:
    """Return whether an interrupt would break an atomic operation.

    During an import, Python drops the interrupt and C++ aborts. During the creation or removal of a temporary folder,
    the folder would stay.
    """
    while frame:
        module = frame.f_globals.get("__name__")
        if frame.f_code.co_filename.startswith("<frozen importlib") or module in {"tempfile", "mnbench.temporary"}:
            return True
        frame = frame.f_back
    return False
