"""The log of the library on stderr: warnings, and with `--verbose` each process, file and program."""

from collections.abc import Generator
from contextlib import contextmanager

import click

from mnbench.cli.output import echo

QUIET, VERBOSE = "mnbench.quiet", "mnbench.verbose"


def is_quiet() -> bool:
    """Return whether the running command got `--quiet`."""
    ctx = click.get_current_context(silent=True)
    return bool(ctx and ctx.meta.get(QUIET))


@contextmanager
def log_on_stderr() -> Generator[None]:
    """Show the library's warnings, each once, and all of its log after `--verbose`.

    `--quiet` leaves out what trusted files do.
    """
    import logging

    warnings: set[str] = set()

    class EchoHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = self.format(record)
            if record.levelno >= logging.WARNING:
                if line in warnings or (record.name == "mnbench.trust" and is_quiet()):
                    return
                warnings.add(line)
            echo(line, err=True)

    logger, handler = logging.getLogger("mnbench"), EchoHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
