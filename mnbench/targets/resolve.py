"""What `--device arm64` means: this machine, a board, or an emulated processor."""

import os
import platform
import shlex
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from mnbench.errors import RuntimeUnavailable
from mnbench.targets import emulation
from mnbench.targets.device import Device

VARIABLE = "MNBENCH_ARM64"
NAMES = ("arm64", "aarch64")
"""What systems call such a machine."""

Kind: TypeAlias = Literal["here", "board", "emulated", "nowhere"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a device's worker runs. `board` is what the environment calls it."""

    kind: Kind
    gateway: str = ""
    board: str = ""


def way(device: Device, *, machine: str, board: str, emulator: str) -> Way:
    """This machine if it is such a one, else the board, else the emulator; a gateway of its own goes before all.

    `board` is `user@host`, or `user@host//python=/opt/bin/python3`; `emulator` a gateway. Empty: there is none.
    """
    if device.gateway != "popen":
        return Way(kind="board", gateway=device.gateway)
    if not device.machine or machine.lower() in NAMES:
        return Way(kind="here", gateway=device.gateway)
    if board:
        more = "" if "//python=" in board else "//python=python3"
        return Way(kind="board", gateway=f"ssh={board}{more}", board=board.partition("//")[0])
    return Way(kind="emulated", gateway=emulator) if emulator else Way(kind="nowhere")


def way_now(device: Device) -> Way:
    """The same, by what this machine is, what its environment names, and what is set up."""
    emulator = emulation.place()
    return way(
        device,
        machine=platform.machine(),
        board=os.environ.get(VARIABLE, "").strip(),
        emulator=gateway(emulator) if emulation.is_made(emulator) else "",
    )


def gateway(place: os.PathLike[str]) -> str:
    """The specification that starts the emulated Python which was set up there."""
    return f"popen//python={shlex.join(emulation.command(place))}"


def reached(device: Device) -> Device:
    """The device with the gateway to the machine that it is about.

    Raises:
        RuntimeUnavailable: there is no such machine; the hint says what makes one.
    """
    found = way_now(device)
    if found.kind == "nowhere":
        raise RuntimeUnavailable(
            f"device {device.name}: this machine is {platform.machine()}, {VARIABLE} names no board, and emulation is "
            "not set up",
            hint=f"name a board: {VARIABLE}=user@host; or run mnbench on an arm64 machine; or emulate one, which tells "
            f"no latency: mnbench devices setup {device.name}",
        )
    return msgspec.structs.replace(device, gateway=found.gateway)
