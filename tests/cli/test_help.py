"""Help, examples and shell completion: what a person sees before anything runs."""

# ruff: noqa: SIM300  expected == actual

import shlex

import click
import pytest
from click.shell_completion import ShellComplete
from common import BUILT_IN

from mnbench.cli import COMMANDS, main


def every_command(group=main, path=()):
    """Each command and subcommand, by its words."""
    yield path, group
    if isinstance(group, click.Group):
        with click.Context(group) as ctx:
            for name in group.list_commands(ctx):
                yield from every_command(group.get_command(ctx, name), (*path, name))


EVERY = dict(every_command())


def examples(command):
    """The command lines of a command's `Example:`."""
    lines = (command.epilog or "").splitlines()
    return [line.split("   ")[0].strip() for line in map(str.strip, lines) if line.startswith("mnbench ")]


def completions(arguments, incomplete):
    """What the shell would offer next: kind and value."""
    offered = ShellComplete(main, {}, "mnbench", "_MNBENCH_COMPLETE").get_completions(arguments, incomplete)
    return [(completion_item.type, completion_item.value) for completion_item in offered]


# Help


@pytest.mark.parametrize("path", [path for path in EVERY if path], ids=" ".join)
def test_every_command_has_help_with_an_example(invoke, path):
    """`--help` of every command says what it does and shows a command line to type."""
    result = invoke(*path, "--help")

    assert 0 == result.exit_code
    assert "Example:\n" in result.stdout
    assert f"  mnbench {' '.join(path)}" in result.stdout
    assert EVERY[path].help.splitlines()[0].rstrip(".") in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "line", sorted({line for command in EVERY.values() for line in examples(command)}), ids=lambda line: line
)
def test_every_example_can_be_typed(line):
    """Each example names commands and options that there are."""
    command, words = main, shlex.split(line)[1:]
    while isinstance(command, click.Group) and words:
        with click.Context(command) as ctx:
            command = command.get_command(ctx, words.pop(0))

    assert command is not None
    # As a part of `mnbench`: Click caches a command's help option, whose names are main's.
    assert command.make_context("example", words, parent=click.Context(main, **main.context_settings))


def test_the_examples_are_found():
    """The test above has at least one example a command to look at."""
    assert [] == [path for path, command in EVERY.items() if path and not examples(command)]


def test_mnbench_alone_shows_what_to_type_first(invoke):
    """`mnbench` without a command shows the commands, and first lines to type."""
    result = invoke()

    assert 0 == result.exit_code
    assert "To begin:" in result.stdout
    assert "  mnbench run v1 --alpha" in result.stdout
    assert [] == [name for name in COMMANDS if f"\n  {name} " not in result.stdout]


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_are_the_first_lines_of_the_commands_own_help(name):
    """The summary that `mnbench --help` shows without importing a command is the command's own first line."""
    assert EVERY[name,].help.splitlines()[0] == COMMANDS[name]


def test_version(invoke):
    """`--version` names the program and its version."""
    assert "mnbench, version " in invoke("--version").stdout


# Shell completion


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("command", [("cost",), ("build",), ("run",), ("graphs", "show")], ids=" ".join)
def test_completion_offers_graphs(command):
    """The shell completes names of built-in graphs and of the user's own."""
    assert [("plain", name) for name in sorted(["mine", *BUILT_IN])] == completions([*command], "")
    assert [("plain", "v2")] == completions([*command], "v2")


@pytest.mark.usefixtures("workspace")
def test_completion_offers_files():
    """Where no name fits, and for paths, the shell completes files."""
    assert [("file", "mod")] == completions(["cost"], "mod")
    assert ("file", "./") in completions(["cost"], "./")
    assert [("file", "x")] == completions(["build", "v1", "-o"], "x")


@pytest.mark.parametrize("arguments", [["run", "--device"], ["devices", "show"], ["table"]], ids=" ".join)
@pytest.mark.usefixtures("stored")
def test_completion_offers_devices(arguments):
    """The shell completes names of devices wherever a command takes one."""
    assert ("plain", "cpu") in completions(arguments, "c")
    assert {("plain", "cpu"), ("plain", "cpu-huge-pages")} == set(completions(arguments, "cp"))


@pytest.mark.usefixtures("workspace")
def test_completion_offers_commands():
    """The shell completes commands."""
    assert [("plain", "build")] == completions([], "bu")


def test_bash_gets_completions(invoke):
    """The script that bash sources calls `mnbench` with its words in the environment."""
    words = {"_MNBENCH_COMPLETE": "bash_complete", "COMP_WORDS": "mnbench cost v2", "COMP_CWORD": "2"}

    assert "plain,v2\n" == invoke(env=words).stdout
