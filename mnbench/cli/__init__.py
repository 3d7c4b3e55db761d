"""The command line: each command parses, makes one library call, and shows what came back.

A command's module is imported when the command is used, so that help and completion need nothing but Click.
"""

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from gettext import gettext as _
from importlib import import_module
from types import FrameType
from typing import Any, cast

import click

from mnbench import __version__
from mnbench.errors import MnbenchError

COMMANDS = {
    "graphs": "List the architectures, or show one row by row.",
    "devices": "List the devices, show, set up or prove one.",
    "reproduce": "Put published figures beside ours.",
    "cost": "Count params, Mult-Adds and memory access.",
    "build": "Build and simplify ONNX models.",
    "verify": "Tell whether a model puts out what it should.",
    "run": "Measure latency and append it to the results.",
    "table": "Show the results.",
    "plot": "Plot the results.",
    "report": "Write the results as one HTML file.",
    "profile": "Show where the time goes.",
    "doctor": "Tell what a device is, what disturbs it, and its noise.",
    "compare": "Tell whether one of two is slower.",
    "gate": "Tell whether a table has become slower.",
    "study": "Make the papers' experiments again.",
    "predict": "Tell which cost predicts latency.",
    "pick": "Choose the most accurate network for a budget.",
}

EXAMPLES = """\b
To begin:
  mnbench run v1 --alpha 1,0.5 --res 224,128    measure four networks on this machine
  mnbench cost v1 --alpha 0.75                  count one, without measuring
  mnbench build v1 --alpha 0.5 --res 160        make an ONNX file
"""


EXIT_INTERRUPTED = 130

RETRY_S = 0.02
"""How long an interruption waits for what it must not break off before it looks again."""


class Failure(click.ClickException):
    """An error of the library, as Click shows it, with exit code 1: what is wrong, then what to do."""

    def __init__(self, error: MnbenchError) -> None:
        super().__init__(error.message)
        self.hint = error.hint

    def show(self, file: Any = None) -> None:
        """Two lines on stderr."""
        click.echo(f"Error: {self.message}\nHint: {self.hint}", file=file, err=True)


class CommandGroup(click.Group):
    """Knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The commands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        return import_module(f"mnbench.cli.commands.{cmd_name}").command if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The commands with their summaries, for `--help`."""
        with formatter.section(_("Commands")):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the library ends it with one line and a hint."""
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show ≥ or α gets a question mark and no traceback.
            cast("Any", stream).reconfigure(errors="replace")
        try:
            with stop_on_signals():
                result = super().invoke(ctx)
            sys.stdout.flush()
        except MnbenchError as error:
            raise Failure(error) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            # What is left in the buffer cannot be written either: let it go where Python may flush it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Failure(
                MnbenchError(f"output cannot be written ({error.strerror})", hint="free some space")
            ) from error
        except MemoryError as error:
            raise Failure(MnbenchError("out of memory", hint="try a smaller resolution or alpha")) from error
        return result


@contextmanager
def stop_on_signals() -> Generator[None]:
    """Ctrl-C ends a command with one line; so does SIGTERM. Nothing that it started or made for itself is left."""
    stops: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stops.append(number)
        if _in_critical_section(frame) and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        else:
            raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if main_thread}
    ordinary = signal.default_int_handler, signal.SIG_DFL
    replaced = {number: handler for number, handler in handlers.items() if handler in ordinary}
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    except click.exceptions.Exit:
        raise
    except BaseException as error:
        # Libraries make errors of their own of it: one that is being imported says that it cannot be.
        if stops or isinstance(error, KeyboardInterrupt):
            click.echo("stopped", err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from error
        raise
    finally:
        if stops and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _in_critical_section(frame: FrameType | None) -> bool:
    """Whether something is under way that an interruption must not break off.

    An import: Python drops the interruption and C++ aborts. A temporary folder that is made or removed: it would stay.
    """
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_globals.get("__name__") == "tempfile":
            return True
        frame = frame.f_back
    return False


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(__version__, prog_name="mnbench")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Measured latency beside Mult-Adds and memory access cost, for MobileNets and ShuffleNets."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
