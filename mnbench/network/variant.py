"""What can be built, counted or measured: an architecture at one α and one resolution, or a user's own file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mnbench.errors import BuildError
from mnbench.spec.architecture import Architecture

MAX_ALPHA = 4
MIN_SIDE = 32
MAX_SIDE = 8192
"""At 8192 × 8192 V1 holds 6.4 GB of activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """`alpha` is the width multiplier; `resolution` the input's (height, width) in pixels.

    Raises:
        BuildError: alpha outside (0, 4], or a side outside 32 to 8192.
    """

    architecture: Architecture
    alpha: float = 1.0
    resolution: tuple[int, int]

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= MAX_ALPHA:
            raise BuildError(
                f"{self.architecture.name}: alpha {self.alpha:g} is impossible",
                hint=f"a width multiplier lies above 0 and up to {MAX_ALPHA}; the papers use 0.25 to 2",
            )
        for side in self.resolution:
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise BuildError(
                    f"{self.architecture.name}: resolution {resolution_text(self.resolution)} is impossible",
                    hint=f"each side lies between {MIN_SIDE} and {MAX_SIDE} pixels; the papers use 96 to 224",
                )

    @property
    def name(self) -> str:
        """`v1-a0.5-r160`; `v1-a0.5-r240x320` where height and width differ."""
        return f"{self.architecture.name}-a{alpha_text(self.alpha)}-r{resolution_text(self.resolution)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A user's own model; `resolution` is the (height, width) where the file leaves it open."""

    path: Path
    resolution: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The file's own name, with the resolution where one was given."""
        return self.path.stem + (f"-r{resolution_text(self.resolution)}" if self.resolution else "")


Source: TypeAlias = Variant | OnnxFile


def alpha_text(alpha: float) -> str:
    """Every digit of α and not one more: 1, 0.5, 0.333."""
    return repr(float(alpha)).removesuffix(".0")


def resolution_text(resolution: tuple[int, int]) -> str:
    """`160`, or height × width as `240x320`."""
    height, width = resolution
    return str(height) if height == width else f"{height}x{width}"


def at_rho(architecture: Architecture, rho: float) -> tuple[int, int]:
    """The resolution that the resolution multiplier ρ stands for: 0.714 of 224 is 160.

    Raises:
        BuildError: ρ is not a positive, finite number.
    """
    if not 0 < rho < float("inf"):
        raise BuildError(
            f"rho {rho:g} is impossible", hint="a resolution multiplier is a share of the table's own, as 0.714"
        )
    height, width = architecture.resolution
    return round(height * rho), round(width * rho)
