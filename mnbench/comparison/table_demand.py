"""What a latency table makes `mnbench gate` install, set and load, to measure its rows as they were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mnbench.results.record import Record, SessionOptions
from mnbench.targets import demands
from mnbench.targets.device import Device
from mnbench.trust import Demand


def table_demand(table: Path, records: Sequence[Record], device: Device, *, version: str | None) -> Demand:
    """Return what the rows demand that are measured with the device's runtime and provider.

    Rows of another `version` of the runtime install it, unless it is None. Options that the device file sets as well
    are its own.
    """
    actions: list[str] = []
    for record in records:
        if (record.runtime.name, record.provider) != (device.runtime, device.provider):
            continue
        if version is not None and record.runtime.version not in ("", version):
            actions += demands.install_actions([f"{record.runtime.name}=={record.runtime.version}"])
        actions += demands.thread_actions([record.threads])
        session = record.session or SessionOptions()
        actions += demands.environment_actions(_difference(session.environment, device.environment))
        actions += demands.option_actions(_difference(session.options, device.options))
        actions += demands.option_actions(_difference(session.provider_options, device.provider_options))
    return Demand(file=table, actions=tuple(dict.fromkeys(actions)))


def _difference(options: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if known.get(name) != value}
