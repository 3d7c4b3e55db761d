"""What can be built, counted or measured: an architecture at one α and one resolution, or a user's own file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from mnbench import families
from mnbench.errors import BuildError
from mnbench.families.generic import StackedBlocks
from mnbench.families.mobilenet_v3 import MobileNetV3
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.network.architecture import Architecture

MAX_ALPHA = 4
MIN_SIDE = 32
MAX_SIDE = 8192
"""At 8192 × 8192 V1 holds 6.4 GB of activations."""
MAX_BATCH = 1024
MAX_CLASSES = 1_000_000

Padding: TypeAlias = Literal["torch", "same"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
ELEMENT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One network of an architecture.

    `alpha` is the width multiplier; `resolution` the input's (height, width) in pixels; `batch` None leaves the batch
    open; `classes` None is the table's own number and 0 ends at the features; `groups` (ShuffleNet V1) and `unit`
    (ShuffleNets, blocks) None are the table's own; `padding` "same" is TensorFlow's; `relu` (MobileNet V3) puts ReLU
    in place of h-swish, as the paper's Table 5 does.

    Raises:
        BuildError: a value that cannot be built, or an option that the family does not have.
    """

    architecture: Architecture
    alpha: float = 1.0
    resolution: tuple[int, int]
    batch: int | None = 1
    classes: int | None = None
    groups: int | None = None
    unit: str | None = None
    padding: Padding = "torch"
    relu: bool = False
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= MAX_ALPHA:
            self._refuse(
                f"alpha {self.alpha:.9g} is impossible",
                f"a width multiplier lies above 0 and up to {MAX_ALPHA}; the papers use 0.25 to 2",
            )
        least = 1 if isinstance(self.architecture, StackedBlocks) else MIN_SIDE
        if not all(least <= side <= MAX_SIDE for side in self.resolution):
            self._refuse(
                f"resolution {format_resolution(self.resolution)} is impossible",
                f"each side lies between {least} and {MAX_SIDE} pixels; the papers use 96 to 224",
            )
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            self._refuse(f"batch {self.batch} is impossible", f"1 to {MAX_BATCH}, or dynamic")
        if self.classes is not None and not 0 <= self.classes <= MAX_CLASSES:
            self._refuse(f"{self.classes} classes are impossible", f"1 to {MAX_CLASSES:,}, or 0 for features only")
        self._check_family()

    def _check_family(self) -> None:
        architecture = self.architecture
        if self.groups is not None and not (isinstance(architecture, ShuffleNetV1) and self.groups in (1, 2, 3, 4, 8)):
            self._refuse(f"{self.groups} groups are impossible", "shufflenet-v1 has 1, 2, 3, 4 or 8")
        units = architecture.units if isinstance(architecture, ShuffleNetV1 | ShuffleNetV2 | StackedBlocks) else ()
        if self.unit is not None and self.unit not in units:
            known = f"{architecture.name} has {', '.join(units)}" if units else "only the ShuffleNets have units"
            self._refuse(f"there is no unit {self.unit!r}", known)
        if self.relu and not isinstance(architecture, MobileNetV3):
            self._refuse("has no h-swish to replace", "--activation relu is for v3-large and v3-small")

    def _refuse(self, what: str, hint: str) -> None:
        raise BuildError(f"{self.architecture.name}: {what}", hint=hint)

    @property
    def name(self) -> str:
        """`v1-a0.5-r160`, and what differs from the table's own: `shufflenet-v1-g8-a1-r240x320-b4-c10-fp16`."""
        own = (f"-g{self.groups}" if self.groups else "") + (f"-{self.unit}" if self.unit else "")
        remainder = [
            "" if self.batch == 1 else f"-b{self.batch or 'dynamic'}",
            "" if self.classes is None else f"-c{self.classes}",
            "" if self.padding == "torch" else f"-{self.padding}",
            "-relu" if self.relu else "",
            "" if self.precision == "fp32" else f"-{self.precision}",
        ]
        size = format_resolution(self.resolution)
        return f"{self.architecture.name}{own}-a{format_alpha(self.alpha)}-r{size}{''.join(remainder)}"

    @property
    def element_bytes(self) -> int:
        """How many bytes a weight or an activation takes."""
        return ELEMENT_BYTES[self.precision]

    @property
    def has_unpublished_width(self) -> bool:
        """Whether the widths at this α stand in no paper: it prints columns and no formula."""
        return isinstance(self.architecture, ShuffleNetV1 | ShuffleNetV2) and self.alpha not in self.architecture.alphas


VARIANT_NAME = re.compile(
    r"(?P<own>.+)-a(?P<alpha>[0-9.e-]+)-r(?P<height>\d+)(?:x(?P<width>\d+))?"
    r"(?:-b(?P<batch>\d+|dynamic))?(?:-c(?P<classes>\d+))?(?P<same>-same)?(?P<relu>-relu)?(?:-(?P<precision>fp16|int8))?"
)
"""What `Variant.name` makes."""


def parse_variant(name: str) -> Variant:
    """The variant of that name: `v1-a0.5-r160`.

    Raises:
        BuildError: it is no variant's name, or the variant cannot be built.
        GraphFileError: its table is wrong.
    """
    match = VARIANT_NAME.fullmatch(name)
    if not match:
        raise BuildError(f"{name!r} is no variant's name", hint="a variant's name is like v1-a0.5-r160")
    try:
        alpha, height = float(match["alpha"]), int(match["height"])
    except ValueError as failure:
        raise BuildError(f"{name!r} has no number behind -a", hint="a variant's name is like v1-a0.5-r160") from failure
    return Variant(
        **_owned(match["own"]),
        alpha=alpha,
        resolution=(height, int(match["width"] or height)),
        batch=None if match["batch"] == "dynamic" else int(match["batch"] or 1),
        classes=None if match["classes"] is None else int(match["classes"]),
        padding="same" if match["same"] else "torch",
        relu=bool(match["relu"]),
        precision=cast("Precision", match["precision"] or "fp32"),
    )


def _owned(own: str) -> dict[str, Any]:
    """The architecture, and what its family alone has: `shufflenet-v1-g8-megvii`, `shufflenet-v2-torchvision`."""
    head, _, last = own.rpartition("-")
    known = families.graph_paths()
    if own in known or not head:
        return {"architecture": families.architecture(own)}
    if re.fullmatch(r"g\d+", last):
        return {"architecture": families.architecture(head), "groups": int(last[1:])}
    if head in known or re.search(r"-g\d+$", head):
        return _owned(head) | {"unit": last}
    return {"architecture": families.architecture(own)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A user's own model; `resolution` is the (height, width) where the file leaves it open."""

    path: Path
    resolution: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The file's own name, with the resolution where one was given."""
        return self.path.stem + (f"-r{format_resolution(self.resolution)}" if self.resolution else "")


ModelSource: TypeAlias = Variant | OnnxFile


def format_alpha(alpha: float) -> str:
    """Every digit of α and not one more: 1, 0.5, 0.333."""
    return repr(float(alpha)).removesuffix(".0")


def format_resolution(resolution: tuple[int, int]) -> str:
    """`160`, or height × width as `240x320`."""
    height, width = resolution
    return str(height) if height == width else f"{height}x{width}"


def resolution_at_rho(architecture: Architecture, rho: float) -> tuple[int, int]:
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
