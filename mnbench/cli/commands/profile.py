"""Show where the time goes."""

from pathlib import Path
from typing import Literal

import click

from mnbench.cli.options import format_option, host_option, results_option
from mnbench.cli.output import emit
from mnbench.errors import ResultsError, suggest


@click.command(epilog="\b\nExample:\n  mnbench profile v1-a0.5-r160\n  mnbench profile v1-a0.5-r160 --by layer")
@click.argument("variants", nargs=-1, metavar="[VARIANT]...")
@click.option(
    "--by", default="type", type=click.Choice(["type", "layer"]), help="Show one row per layer type or per layer."
)
@results_option
@host_option
@format_option()
def command(
    *, variants: tuple[str, ...], by: Literal["type", "layer"], results: Path, host: str | None, output: str
) -> None:
    """Show where the time goes.

    Show the newest profile that `mnbench run --profile` stored for each VARIANT, or for all of them.
    """
    from mnbench.results.host_selection import select_hosts
    from mnbench.results.layer_profile import label_profiles, newest_profiles

    selection = select_hosts(newest_profiles(results), host)
    profiles, notes = label_profiles(selection.items), selection.note(len(selection.others))
    known = list(dict.fromkeys(profile.variant for profile in profiles))
    for variant in variants:
        if variant not in known:
            hint = f"{suggest(variant, known)}known: {', '.join(known)}" if known else "make one: mnbench run --profile"
            raise ResultsError(f"{results}: holds no profile of {variant}", hint=hint)
    if not profiles:
        raise ResultsError(f"{results}: holds no profile yet", hint="make one: mnbench run v1 --profile")
    chosen = [profile for profile in profiles if not variants or profile.variant in variants]
    data = {"profiles": [profile.to_dict() for profile in chosen]}
    emit((profile.table(by) for profile in chosen), output, data, notes=notes)
