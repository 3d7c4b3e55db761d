"""The bare Click program that `startup.py` compares mnbench with: the same command names, and nothing behind them."""

import click


def program(*names: str) -> click.Group:
    """Return a program with commands of these names."""

    @click.group()
    def main() -> None:
        """Say hello."""

    for name in names:

        @main.command(name, help=f"Say hello, {name}.")
        @click.pass_context
        def command(context: click.Context) -> None:
            click.echo(f"Hello, {context.info_name}!")

    return main
