"""What `--device arm64` means: this machine, a board, or an emulated processor."""

import os
import platform
import shlex
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from mnbench.errors import RuntimeUnavailable
from mnbench.targets import emulation
from mnbench.targets.build_once import is_built
from mnbench.targets.device import Device

BOARD_VARIABLE = "MNBENCH_ARM64"
ARM64_NAMES = ("arm64", "aarch64")
"""What systems call such a machine."""

TargetKind: TypeAlias = Literal["here", "board", "emulated", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a device's worker runs. `board` is what the environment calls it."""

    kind: TargetKind
    gateway: str = ""
    board: str = ""


def choose_target(device: Device, *, machine: str, board: str, emulator: str) -> Target:
    """Choose this machine if it fits, else the board, else the emulator; the device's own gateway comes first.

    `board` is `user@host`, or `user@host//python=/opt/bin/python3`; `emulator` a gateway. Empty: there is none.
    """
    if device.gateway != "popen":
        return Target(kind="board", gateway=device.gateway)
    if not device.machine or machine.lower() in ARM64_NAMES:
        return Target(kind="here", gateway=device.gateway)
    if board:
        more = "" if "//python=" in board else "//python=python3"
        return Target(kind="board", gateway=f"ssh={board}{more}", board=board.partition("//")[0])
    return Target(kind="emulated", gateway=emulator) if emulator else Target(kind="unavailable")


def resolve_target(device: Device) -> Target:
    """Choose the target from this machine's processor, its environment variables and the installed emulator."""
    emulator = emulation.emulator_path()
    return choose_target(
        device,
        machine=platform.machine(),
        board=os.environ.get(BOARD_VARIABLE, "").strip(),
        emulator=emulator_gateway(emulator) if is_built(emulator) else "",
    )


def emulator_gateway(folder: os.PathLike[str]) -> str:
    """Return the gateway specification of the emulated Python in this folder."""
    return f"popen//python={shlex.join(emulation.emulator_command(folder))}"


def resolve_gateway(device: Device) -> Device:
    """Return the device with the gateway to its target.

    Raises:
        RuntimeUnavailable: there is no such machine; the hint says what makes one.
    """
    target = resolve_target(device)
    if target.kind == "unavailable":
        raise RuntimeUnavailable(
            f"device {device.name}: this machine is {platform.machine()}, {BOARD_VARIABLE} names no board, and "
            "emulation is not set up",
            hint=f"name a board: {BOARD_VARIABLE}=user@host; or run mnbench on an arm64 machine; or emulate one, "
            f"which measures no latency: mnbench devices setup {device.name}",
        )
    return msgspec.structs.replace(device, gateway=target.gateway)
