"""`mnbench devices`."""

import click

from mnbench.cli.options import TableName, echo_json, format_option
from mnbench.spec import locate


@click.group(invoke_without_command=True, epilog="\b\nExample:\n  mnbench devices\n  mnbench devices show cpu")
@format_option()
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """List the devices, or show one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_devices, output=output)


@command.command("list", epilog="\b\nExample:\n  mnbench devices list --format json")
@format_option()
def list_devices(*, output: str) -> None:
    """List the devices: built in, and from ./devices."""
    from mnbench.show import listings

    known = [locate.device(name) for name in locate.tables("devices")]
    if output == "json":
        echo_json({"devices": [listings.device_payload(device) for device in known]})
        return
    from mnbench.show.render import echo

    echo(listings.device_table(known), output)


@command.command(epilog="\b\nExample:\n  mnbench devices show cpu")
@click.argument("device", type=TableName("devices", ".toml"))
@format_option()
def show(*, device: str, output: str) -> None:
    """Show a device's profile."""
    from mnbench.show import listings

    profile = locate.device(device)
    if output == "json":
        echo_json(listings.device_payload(profile))
        return
    from mnbench.show.render import echo

    echo(listings.profile_table(profile), output)
