"""The bare Click program that `startup.py` compares mnbench with: as many commands, and nothing behind them."""

import click


@click.group()
def main() -> None:
    """Say hello."""


@main.command()
def graphs() -> None:
    """Say hello, graphs."""
    click.echo("Hello, graphs!")


@main.command()
def devices() -> None:
    """Say hello, devices."""
    click.echo("Hello, devices!")


@main.command()
def reproduce() -> None:
    """Say hello, reproduce."""
    click.echo("Hello, reproduce!")


@main.command()
def cost() -> None:
    """Say hello, cost."""
    click.echo("Hello, cost!")


@main.command()
def build() -> None:
    """Say hello, build."""
    click.echo("Hello, build!")


@main.command()
def run() -> None:
    """Say hello, run."""
    click.echo("Hello, run!")


@main.command()
def table() -> None:
    """Say hello, table."""
    click.echo("Hello, table!")


@main.command()
def plot() -> None:
    """Say hello, plot."""
    click.echo("Hello, plot!")


@main.command()
def report() -> None:
    """Say hello, report."""
    click.echo("Hello, report!")


@main.command()
def profile() -> None:
    """Say hello, profile."""
    click.echo("Hello, profile!")


@main.command()
def doctor() -> None:
    """Say hello, doctor."""
    click.echo("Hello, doctor!")


@main.command()
def compare() -> None:
    """Say hello, compare."""
    click.echo("Hello, compare!")


@main.command()
def gate() -> None:
    """Say hello, gate."""
    click.echo("Hello, gate!")
