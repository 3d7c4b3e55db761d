"""The command line: each command parses, makes one library call, and shows what came back.

A command's module is imported when the command is used, so that help and completion need nothing but Click.
"""

import os
import sys
from gettext import gettext as _
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.exceptions import NoSuchCommand

from mnbench import __version__
from mnbench.cli.interrupts import stop_on_signals
from mnbench.cli.log import log_on_stderr
from mnbench.cli.output import echo_rendered, failure, printable_usage_errors
from mnbench.cli.streams import prepare_streams
from mnbench.errors import MnbenchError

ORDER = (
    *("graphs", "devices", "reproduce", "cost", "build", "verify", "run", "table", "plot", "report", "profile"),
    *("doctor", "compare", "gate", "study", "predict", "pick", "trust"),
)
"""The order in which `--help` lists the commands; a command that is not named here comes last."""


def _find_commands() -> dict[str, str]:
    """Return the summary of every command by its name: the first line of the command's file."""
    paths = {path.stem: path for path in sorted((Path(__file__).parent / "commands").glob("*.py"))}
    names = sorted(
        paths.keys() - {"__init__"}, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)
    )
    return {name: paths[name].read_text(encoding="utf-8").partition("\n")[0].strip('"') for name in names}


COMMANDS = _find_commands()

EXAMPLES = """\b
To begin:
  mnbench run v1 --alpha 1,0.5 --res 224,128    measure four networks on this machine
  mnbench cost v1 --alpha 0.75                  count one, without measuring
  mnbench build v1 --alpha 0.5 --res 160        make an ONNX file
"""


class CommandGroup(click.Group):
    """A group that lists its commands and their summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return import_module(f"mnbench.cli.commands.{cmd_name}").command if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section(_("Commands")):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with printable_usage_errors():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the library ends it with one line and a hint, and exit code 1."""
        prepare_streams()
        try:
            with stop_on_signals(), log_on_stderr(), printable_usage_errors():
                result = super().invoke(ctx)
                if ctx.invoked_subcommand:
                    from mnbench.temporary import remove_abandoned

                    remove_abandoned()
            sys.stdout.flush()
        except MnbenchError as error:
            raise failure(error) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            # Python flushes the buffer when it exits, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            full = MnbenchError(f"output cannot be written ({error.strerror})", hint="free some space")
            raise failure(full) from error
        except MemoryError as error:
            raise failure(MnbenchError("out of memory", hint="try a smaller resolution or alpha")) from error
        return result


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
    epilog=EXAMPLES,
)
@click.version_option(__version__, prog_name="mnbench")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Measured latency beside Mult-Adds and memory access cost, for MobileNets and ShuffleNets."""
    if ctx.invoked_subcommand is None:
        echo_rendered(f"{ctx.get_help()}\n")
