"""Variant: one network of an architecture, by its fields, its name and its command line; and a user's own file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from mnbench.errors import BuildError
from mnbench.network.architecture import Architecture, OptionValue
from mnbench.network.layer import Shape
from mnbench.network.row import Row
from mnbench.workspace import path_in_workspace

ANCHOR = "v1-a0.25-r64"
"""The variant that `mnbench run --anchor` measures too: it shows how fast the host is at that hour."""

MAX_ALPHA = 4
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
    open; `classes` None is the table's own number and 0 ends at the features; `options` are the family's own, such as
    `{"groups": 8}`, where they are set; `padding` "same" is TensorFlow's.

    Raises:
        BuildError: a value that cannot be built, or an option that the family does not have.
    """

    architecture: Architecture
    alpha: float = 1.0
    resolution: tuple[int, int]
    batch: int | None = 1
    classes: int | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict[str, OptionValue])
    padding: Padding = "torch"
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        least = self.architecture.min_side
        if not 0 < self.alpha <= MAX_ALPHA:
            self._refuse(
                f"alpha {self.alpha:.9g} is impossible",
                f"a width multiplier lies above 0 and up to {MAX_ALPHA}; the papers use 0.25 to 2",
            )
        if self.alpha != 1 and not self.architecture.has_width_rule:
            self._refuse(f"alpha {self.alpha:.9g} is impossible", "no source gives its widths at another alpha than 1")
        if not all(least <= side <= MAX_SIDE for side in self.resolution):
            self._refuse(
                f"resolution {format_resolution(self.resolution)} is impossible",
                f"each side lies between {least} and {MAX_SIDE} pixels; the papers use 96 to 224",
            )
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            self._refuse(f"batch {self.batch} is impossible", f"1 to {MAX_BATCH}, or dynamic")
        if self.classes is not None and not 0 <= self.classes <= MAX_CLASSES:
            self._refuse(f"{self.classes} classes are impossible", f"1 to {MAX_CLASSES:,}, or 0 for features only")
        if self.padding == "same" and not self.architecture.has_open_padding:
            self._refuse("padding same means nothing here", "its table pads every window that halves a map")
        self._check_options()

    def _check_options(self) -> None:
        """Check the options, and keep those that are set in the family's order."""
        known = self.architecture.options
        for name, value in self.options.items():
            if name not in known:
                names = ", ".join(known)
                self._refuse(f"has no option `{name}`", f"its options: {names}" if names else "it has no options")
            allowed = self.architecture.option_values(name)
            if value not in allowed:
                self._refuse(f"`{name}` = {value} is impossible", f"allowed values: {', '.join(map(str, allowed))}")
            for other, values in known[name].needs.items():
                if self.options.get(other) not in values:
                    self._refuse(f"`{name}` means nothing here", f"it is for {other} {', '.join(map(str, values))}")
        ordered = {name: self.options[name] for name in known if name in self.options}
        object.__setattr__(self, "options", ordered)

    def _refuse(self, problem: str, hint: str) -> None:
        raise BuildError(f"{self.architecture.name}: {problem}", hint=hint)

    def option(self, name: str) -> Any:
        """Return the value of an option: the one that is set, or else the table's own; None if there is neither."""
        return self.options.get(name, self.architecture.default_options.get(name))

    @property
    def name(self) -> str:
        """`v1-a0.5-r160`, and what differs from the table's own: `shufflenet-v1-g8-a1-r240x320-b4-c10-fp16`."""
        parts = [
            self.architecture.name + self._spelled(after_size=False),
            f"a{format_alpha(self.alpha)}",
            f"r{format_resolution(self.resolution)}",
            *([] if self.batch == 1 else [f"b{self.batch or 'dynamic'}"]),
            *([] if self.classes is None else [f"c{self.classes}"]),
            *([] if self.padding == "torch" else [self.padding]),
        ]
        precision = "" if self.precision == "fp32" else f"-{self.precision}"
        return "-".join(parts) + self._spelled(after_size=True) + precision

    @property
    def row(self) -> Row:
        """What its line of a table is about."""
        return Row(self.name, self.architecture.name)

    def __repr__(self) -> str:
        return f"<Variant: {self.name}>"

    def _spelled(self, *, after_size: bool) -> str:
        options = ((self.architecture.options[name], value) for name, value in self.options.items())
        return "".join(
            f"-{option.spelling.format(value)}" for option, value in options if option.after_size == after_size
        )

    def arguments(self) -> list[str]:
        """Return the words that make `mnbench build` build it."""
        words = {
            "alpha": repr(self.alpha),
            "res": "{}x{}".format(*self.resolution),
            "batch": self.batch or "dynamic",
            "classes": self.classes,
            **self.options,
            "padding": self.padding,
            "precision": self.precision,
        }
        pairs = [(f"--{name}", str(value)) for name, value in words.items() if value is not None]
        return [self.architecture.name, *(word for pair in pairs for word in pair)]

    @property
    def element_bytes(self) -> int:
        return ELEMENT_BYTES[self.precision]

    @property
    def has_unpublished_width(self) -> bool:
        """Whether no paper gives the widths at this α: it prints columns and no formula."""
        return self.architecture.tabulated_widths and self.alpha not in self.architecture.published_alphas()


VARIANT_NAME = re.compile(
    r"(?P<own>.+)-a(?P<alpha>[0-9.e-]+)-r(?P<height>\d+)(?:x(?P<width>\d+))?"
    r"(?:-b(?P<batch>\d+|dynamic))?(?:-c(?P<classes>\d+))?(?P<same>-same)?"
    r"(?P<tail>(?:-[a-z0-9]+)*?)(?:-(?P<precision>fp16|int8))?"
)
"""The form of `Variant.name`; `tail` are the options behind the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """What a user says of a file's inputs; what is not said is chosen, or asked for.

    `sizes` are those of open sizes by name, in every input; `shapes` whole inputs by name, where "" is the only one;
    `values` what an input holds: an array, or a text such as `16000`, `1,2,3`, `0..9` or a path to an .npy or .npz
    file. `batch` is the size of an open first axis, and `resolution` the (height, width) of images.
    """

    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    batch: int | None = None
    resolution: tuple[int, int] | None = None

    def __or__(self, other: "InputOptions") -> "InputOptions":
        """Return both, where the other's entries replace these."""
        return InputOptions(
            sizes={**self.sizes, **other.sizes},
            shapes={**self.shapes, **other.shapes},
            values={**self.values, **other.values},
            batch=self.batch if other.batch is None else other.batch,
            resolution=other.resolution or self.resolution,
        )

    def __str__(self) -> str:
        """`[batch=8,res=224,sr=16000]`, or an empty text if nothing is given."""
        size = {"res": format_resolution(self.resolution)} if self.resolution else {}
        batch = {} if self.batch is None else {"batch": self.batch}
        shapes = {name: "x".join(map(str, shape)) for name, shape in self.shapes.items()}
        values = {name: value if isinstance(value, str) else "array" for name, value in self.values.items()}
        words = {**batch, **size, **self.sizes, **shapes, **values}
        listed = ",".join(f"{name}={value}" if name else str(value) for name, value in words.items())
        return f"[{listed}]" if listed else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A user's own model; `label` names it in place of its file's name.

    The path of a model that is `in_memory` means nothing to the user. `preset` is what a file of graphs/ says of its
    inputs, and `input_options` what the user says besides.
    """

    path: Path
    label: str = ""
    in_memory: bool = False
    preset: InputOptions = field(default_factory=InputOptions)
    input_options: InputOptions = field(default_factory=InputOptions)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `path/model.onnx` or `NAME=path/model.onnx`.

        Raises:
            BuildError: NAME is the name of a variant.
        """
        label, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            return cls(path=Path(text))
        if not label or VARIANT_NAME.fullmatch(label):
            raise BuildError(
                f"{text}: {label or 'nothing'} cannot name a file", hint="choose a name that no variant has"
            )
        return cls(path=Path(path), label=label)

    @property
    def name(self) -> str:
        """The label or the file's name, and what is given: `silero_vad[sr=16000]`."""
        name = self.label or self.path.stem
        # Nobody may take a file for the variant whose name it has.
        suffix = ".onnx" if VARIANT_NAME.fullmatch(name) else ""
        return f"{name}{suffix}{self.input_options}"

    @property
    def inputs(self) -> InputOptions:
        """All that is said of the inputs."""
        return self.preset | self.input_options

    @property
    def row(self) -> Row:
        """What its line of a table is about. The digest of a model in memory is not known yet."""
        return Row(self.name, None, None if self.in_memory else path_in_workspace(self.path))


ModelSource: TypeAlias = Variant | OnnxFile


def format_alpha(alpha: float) -> str:
    """Return α with the fewest digits that give it: 1, 0.5, 0.333."""
    return repr(float(alpha)).removesuffix(".0")


def format_resolution(resolution: tuple[int, int]) -> str:
    """Return `160`, or height × width as `240x320`."""
    height, width = resolution
    return str(height) if height == width else f"{height}x{width}"


def format_inputs(inputs: Sequence[tuple[Shape, str]]) -> str | None:
    """Return `1×576 +2`: the shape of the first input, its values if it has no axis, and how many more there are."""
    if not inputs:
        return None
    (shape, values), *more = inputs
    return ("×".join(map(str, shape)) or values) + (f" +{len(more)}" if more else "")


def format_assumed(names: Sequence[str]) -> str:
    """Return the note on the inputs whose open first axis nobody gave; empty without any."""
    return f"the first axis of {', '.join(names)} is open and was taken as 1" if names else ""


def resolution_at_rho(architecture: Architecture, rho: float) -> tuple[int, int]:
    """Return the resolution at the resolution multiplier ρ: 0.714 of 224 is 160."""
    if not 0 < rho < float("inf"):
        raise BuildError(
            f"rho {rho:g} is impossible", hint="a resolution multiplier is a share of the table's own, as 0.714"
        )
    height, width = architecture.resolution
    return round(height * rho), round(width * rho)
