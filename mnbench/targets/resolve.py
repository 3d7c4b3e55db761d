"""Resolve the machine that a device means: this one, a board, or for `--device arm64` also an emulated processor."""

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
"""Names that operating systems give to this machine type."""

TargetKind: TypeAlias = Literal["here", "board", "emulated", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a device's worker runs. `board` is the user and host that the environment variable names."""

    kind: TargetKind
    gateway: str = ""
    board: str = ""


def choose_target(device: Device, *, machine: str, board: str, emulator: str) -> Target:
    """Choose the device's own gateway, else this machine if it fits, else the board, else the emulator.

    `board` is `user@host`, or `user@host//python=/opt/bin/python3`; `emulator` is a gateway. Either may be empty.
    """
    if device.gateway != "popen":
        return Target(kind="board", gateway=device.gateway)
    if not device.machine or machine.lower() in ARM64_NAMES:
        return Target(kind="here", gateway=device.gateway)
    if board:
        suffix = "" if "//python=" in board else "//python=python3"
        return Target(kind="board", gateway=f"ssh={board}{suffix}", board=board.partition("//")[0])
    return Target(kind="emulated", gateway=emulator) if emulator else Target(kind="unavailable")


def resolve_target(device: Device) -> Target:
    """Choose by this machine's type, its environment variable, and whether the emulator is built."""
    emulator = emulation.emulator_path()
    return choose_target(
        device,
        machine=platform.machine(),
        board=os.environ.get(BOARD_VARIABLE, "").strip(),
        emulator=emulation.emulator_gateway(emulator) if is_built(emulator) else "",
    )


def resolve_gateway(device: Device) -> Device:
    """Return the device with the gateway to its machine."""
    target = resolve_target(device)
    if target.kind == "unavailable":
        raise RuntimeUnavailable(
            f"device {device.name}: this machine is {platform.machine()}, {BOARD_VARIABLE} names no board, and "
            "emulation is not set up",
            hint=f"name a board: {BOARD_VARIABLE}=user@host; or run mnbench on an arm64 machine; or emulate one, "
            f"which measures no latency: mnbench devices setup {shlex.quote(device.name)}",
        )
    return msgspec.structs.replace(device, gateway=target.gateway)
