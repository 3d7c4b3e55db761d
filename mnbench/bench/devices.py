"""The devices of a command: read by their names, with their environments."""

from collections.abc import Sequence

import msgspec

from mnbench.errors import RuntimeUnavailable
from mnbench.progress import OnProgress, report
from mnbench.targets.device import Device, read_device
from mnbench.targets.environments import is_used_by, prepare_device, with_packages
from mnbench.targets.requirements import check_requirement


def select_devices(names: Sequence[str], packages: Sequence[str] = ()) -> list[Device]:
    """Read the named devices. Those that use one of the `packages` get an environment with it.

    Raises:
        DeviceFileError: a device is unknown, or its file is wrong.
        ValueError: a name is repeated, or a package is not a name with versions, or no device uses it.
    """
    for package in packages:
        check_requirement(package)
    devices = [_read_named(name) for name in names]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"device {name} is named twice")
    if len(devices) == 1:
        return [with_packages(devices[0], packages)]
    for package in packages:
        if not any(is_used_by(package, device) for device in devices):
            raise ValueError(f"none of these devices uses {package}; name one device")
    return [
        with_packages(device, [package for package in packages if is_used_by(package, device)]) for device in devices
    ]


def _read_named(name: str) -> Device:
    """Read a device; `fleet:rpi5`, one device of a fleet, keeps its whole name."""
    fleet_name, _, member = name.partition(":")
    if not member or name.endswith(".toml"):
        return read_device(name)
    device = read_device(fleet_name)
    if not device.is_fleet:
        raise ValueError(f"device {name}: {fleet_name} is not a fleet")
    return msgspec.structs.replace(device, name=name)


def ready_device(
    device: Device, on_progress: OnProgress | None = None, *, real_for: str = "", fresh: bool = False
) -> Device:
    """Return the device with its environment, which is created if it is missing.

    `fresh` creates it again. `real_for` says what an emulated processor's latencies cannot be used for.

    Raises:
        RuntimeUnavailable: the environment cannot be created, or the processor is emulated.
    """

    def announce(packages: Sequence[str]) -> None:
        report(on_progress, "prepare", f"making an environment with {', '.join(packages)}, once")

    device = prepare_device(device, fresh=fresh, on_create=announce)
    if real_for:
        reject_emulated(device, real_for)
    return device


def reject_emulated(device: Device, consequence: str) -> None:
    """Raise an error if the device's processor is emulated.

    Raises:
        RuntimeUnavailable: it is.
    """
    if device.emulated:
        raise RuntimeUnavailable(
            f"device {device.name} is emulated: its latencies are meaningless, {consequence}",
            hint="name a real machine: MNBENCH_ARM64=user@host" if device.machine else "name a real machine",
        )
