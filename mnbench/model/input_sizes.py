"""The sizes of a model's inputs: those that its file fixes, those that the user gives, and a batch of 1."""

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from shlex import quote
from typing import TypeAlias

import onnx

from mnbench.errors import InputError
from mnbench.network.layer import Shape
from mnbench.network.variant import InputOptions, format_resolution

GENERIC_NAME = re.compile(r"|\?|n|b|bs|none|batch.*|s\d+|unk__\d+|(p2o\.)?dynamicdimension\.\d+", re.IGNORECASE)
"""Names that exporters give to an open first axis: whatever it counts, it may be 1."""

FIRST_IR_VERSION_WITH_CONSTANT_WEIGHTS = 4
"""In older files, weights had to be inputs too."""

MAX_NAME = 1000
"""Letters of an input's name: it goes into files, tables and pages."""

KNOWN_TYPES = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
MAX_AXES = 64
"""What numpy holds at most."""

CHANNELS = (1, 3, 4)
"""Of an image: grey, colours, and colours with opacity."""

Side: TypeAlias = int | str
"""A size, or the name of an open one; "" if it has no name."""


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """An input as the file declares it; `sides` is None if not even the number of axes is known."""

    name: str
    element_type: int
    sides: tuple[Side, ...] | None

    @property
    def is_open(self) -> bool:
        return self.sides is None or any(isinstance(side, str) for side in self.sides)

    @property
    def image_axes(self) -> tuple[int, int] | None:
        """The axes of height and width, (N, C, H, W) or (N, H, W, C); None if it is no image."""
        if self.sides is None or len(self.sides) != 4:
            return None
        last = self.sides[3] in CHANNELS and self.sides[1] not in CHANNELS
        return (1, 2) if last else (2, 3) if isinstance(self.sides[1], str) or self.sides[1] in CHANNELS else None

    def __str__(self) -> str:
        sides = "?" if self.sides is None else "×".join(str(side) or "?" for side in self.sides)
        return f"{self.name} {sides}"


@dataclass(frozen=True, slots=True)
class SettledShape:
    """The shape that an input is fed; `assumed` are the axes that nobody gave, which are 1."""

    shape: Shape
    assumed: tuple[int, ...] = ()


def image_size(shape: Shape) -> tuple[int, int] | None:
    """Return height and width of an image, (N, C, H, W) or (N, H, W, C); None for a state or another array.

    An image has one, three or four channels, and more rows and columns than channels.
    """
    axes = DeclaredInput("", onnx.TensorProto.UNDEFINED, shape).image_axes
    if axes is None:
        return None
    height, width = (shape[axis] for axis in axes)
    channels = shape[3] if axes == (1, 2) else shape[1]
    return (height, width) if min(height, width) > channels else None


def graph_inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not weights."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    weights |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def declared_inputs(proto: onnx.ModelProto, model_name: str) -> list[DeclaredInput]:
    """Return the inputs that must be fed.

    Raises:
        InputError: one is no tensor that numpy holds, or has a name that no file can hold.
    """
    declared: list[DeclaredInput] = []
    for value in graph_inputs(proto):
        if value.type.WhichOneof("value") == "optional_type":
            continue
        if len(value.name) > MAX_NAME or "\0" in value.name:
            raise InputError(
                f"{model_name}: an input's name has {len(value.name):,} letters: {value.name[:20]!r}…",
                hint=f"name it with at most {MAX_NAME:,} letters",
            )
        if value.type.WhichOneof("value") != "tensor_type":
            raise InputError(f"{model_name}: input {value.name} is no tensor", hint="cut the model behind that input")
        tensor = value.type.tensor_type
        if tensor.elem_type not in KNOWN_TYPES or len(tensor.shape.dim) > MAX_AXES:
            raise InputError(
                f"{model_name}: input {value.name} has type {tensor.elem_type} and {len(tensor.shape.dim):,} axes",
                hint=f"export the model again, with a type of ONNX and at most {MAX_AXES} axes",
            )
        sides = tuple(map(_side, tensor.shape.dim)) if tensor.HasField("shape") else None
        declared.append(DeclaredInput(value.name, tensor.elem_type, sides))
    return declared


def _side(dimension: onnx.TensorShapeProto.Dimension) -> Side:
    # Some exporters write an open size as -1.
    return dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value >= 0 else dimension.dim_param


class Sizes:
    """The sizes of the open axes of a model's inputs, as they become known."""

    def __init__(self, inputs: Sequence[DeclaredInput], model_name: str) -> None:
        self._inputs = {entry.name: entry for entry in inputs}
        self._model_name = model_name
        self._ranks: dict[str, int] = {}
        self._known: dict[tuple[str, int] | str, int] = {}
        self._said: dict[tuple[str, int] | str, str] = {}

    def apply(self, input_options: InputOptions, shapes: Mapping[str, tuple[Shape, str]]) -> None:
        """Take over what is given; `shapes` are those of given arrays, with the words that gave them.

        Raises:
            InputError: it contradicts itself or the file, or does not apply to any input.
        """
        names = sorted(
            {side for entry in self._inputs.values() for side in entry.sides or () if side and isinstance(side, str)}
        )
        for name, size in input_options.sizes.items():
            words = f"--dim {name}={size}"
            if name not in names:
                open_sizes = f"open are {', '.join(names)}" if names else "no open size has a name"
                raise InputError(f"{words}: {self._model_name} has no size {name}; {open_sizes}", hint=self._hint())
            self._set(name, size, words)
        for name, shape in input_options.shapes.items():
            words = f"--shape {name}{'=' if name else ''}{','.join(map(str, shape))}"
            self._set_shape(self.find(name, words), shape, words)
        for name, (shape, words) in shapes.items():
            self._set_shape(self._inputs[name], shape, words)
        if input_options.batch is not None:
            self._set_batch(input_options.batch)
        if input_options.resolution is not None:
            self._set_resolution(input_options.resolution)

    def find(self, name: str, words: str) -> DeclaredInput:
        """Return the input of that name; without a name, the only one.

        Raises:
            InputError: there is none, or several.
        """
        if not name and len(self._inputs) == 1:
            return next(iter(self._inputs.values()))
        if name not in self._inputs:
            problem = f"has no input {name}" if name else "has several inputs"
            known = ", ".join(self._inputs)
            raise InputError(f"{words}: {self._model_name} {problem}; its inputs: {known}", hint="name one: INPUT=…")
        return self._inputs[name]

    def settle(self) -> dict[str, SettledShape]:
        """Return the shape of each input.

        Raises:
            InputError: sizes are left open that cannot be assumed to be 1; the message lists all.
        """
        assumed = {
            self._key(entry, 0) for entry in self._inputs.values() if entry.sides and self._is_generic(entry.sides[0])
        } - self._known.keys()
        known = self._known | dict.fromkeys(assumed, 1)
        settled: dict[str, SettledShape] = {}
        unsettled: list[DeclaredInput] = []
        for entry in self._inputs.values():
            keys = [self._key(entry, axis) for axis in range(self._rank(entry))]
            sides = entry.sides or ("",) * len(keys)
            shape = [side if isinstance(side, int) else known.get(key) for side, key in zip(sides, keys, strict=True)]
            if None in shape or (entry.sides is None and entry.name not in self._ranks):
                unsettled.append(entry)
                continue
            axes = tuple(axis for axis, key in enumerate(keys) if key in assumed and isinstance(sides[axis], str))
            settled[entry.name] = SettledShape(tuple(side for side in shape if side is not None), axes)
        if unsettled:
            listed = ", ".join(map(str, unsettled))
            raise InputError(f"{self._model_name}: sizes are open: {listed}", hint=self._hint(unsettled))
        return settled

    def _rank(self, entry: DeclaredInput) -> int:
        return self._ranks.get(entry.name, 0) if entry.sides is None else len(entry.sides)

    def _key(self, entry: DeclaredInput, axis: int) -> tuple[str, int] | str:
        """Return what a size is known by: its name, which other inputs may share, or its place."""
        side = entry.sides[axis] if entry.sides else ""
        return side if side and isinstance(side, str) else (entry.name, axis)

    def _set(self, key: tuple[str, int] | str, size: int, words: str) -> None:
        if size < 0:
            raise InputError(f"{words}: a size is 0 or more", hint=self._hint())
        if self._known.setdefault(key, size) != size:
            raise InputError(f"{self._said[key]} and {words} contradict each other", hint="leave one of them out")
        self._said.setdefault(key, words)

    def _set_shape(self, entry: DeclaredInput, shape: Sequence[int], words: str) -> None:
        if entry.sides is None:
            self._ranks[entry.name] = len(shape)
        elif len(shape) != len(entry.sides) or any(
            isinstance(side, int) and side != size for side, size in zip(entry.sides, shape, strict=True)
        ):
            raise InputError(f"{words}: {self._model_name} takes {entry}", hint="give the sizes that it leaves open")
        for axis, size in enumerate(shape):
            if entry.sides is None or isinstance(entry.sides[axis], str):
                self._set(self._key(entry, axis), size, words)

    def _set_batch(self, batch: int) -> None:
        """Set the first axis of every input that leaves it open under a name that may mean a batch."""
        words = f"--batch {batch}"
        taking = [
            entry
            for entry in self._inputs.values()
            if entry.sides and (entry.sides[0] == batch or self._is_generic(entry.sides[0]))
        ]
        if not taking:
            raise InputError(f"{words}: {self._model_name} takes {self._listed()}", hint="its batch is not open")
        for entry in taking:
            if entry.sides and isinstance(entry.sides[0], str):
                self._set(self._key(entry, 0), batch, words)

    def _is_generic(self, side: Side) -> bool:
        return isinstance(side, str) and bool(GENERIC_NAME.fullmatch(side))

    def _set_resolution(self, resolution: tuple[int, int]) -> None:
        words = f"--res {format_resolution(resolution)}"
        images = [entry for entry in self._inputs.values() if entry.image_axes]
        if not images:
            raise InputError(
                f"{words}: no input of {self._model_name} is an image: {self._listed()}", hint=self._hint()
            )
        for entry in images:
            for axis, size in zip(entry.image_axes or (), resolution, strict=True):
                side = (entry.sides or ())[axis]
                if isinstance(side, str):
                    self._set(self._key(entry, axis), size, words)
                elif side != size:
                    raise InputError(
                        f"{words}: {self._model_name} takes {entry}", hint="leave --res out for this model"
                    )

    def _listed(self) -> str:
        return ", ".join(map(str, self._inputs.values())) or "no input"

    def _hint(self, unsettled: Iterable[DeclaredInput] = ()) -> str:
        """Return the options that settle what is open; for an image with example sizes."""
        entries = list(unsettled) or [entry for entry in self._inputs.values() if entry.is_open]
        if not entries:
            return "its sizes are fixed"
        dims: dict[str, str] = {}
        for entry in entries:
            for axis, side in enumerate(entry.sides or ()):
                example = self._example(entry, axis, side)
                if side and isinstance(side, str) and side not in self._known and example != "1":
                    dims[side] = example
        words = [f"--dim {quote(name)}={size}" for name, size in dims.items()]
        shapes = [self._shape_words(entry) for entry in entries]
        return f"give them: {' '.join(words)}, or {shapes[0]}" if words else f"give them: {' '.join(shapes)}"

    def _shape_words(self, entry: DeclaredInput) -> str:
        """Return an example of `--shape` for this input."""
        prefix = f"{quote(entry.name)}=" if len(self._inputs) > 1 else ""
        example = ",".join(self._example(entry, axis, side) for axis, side in enumerate(entry.sides or ("…",)))
        return f"--shape {prefix}{example}"

    def _example(self, entry: DeclaredInput, axis: int, side: Side) -> str:
        if isinstance(side, int):
            return str(side)
        return "1" if axis == 0 and self._is_generic(side) else "320" if axis in (entry.image_axes or ()) else "…"


def write_sizes(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int | None]]) -> onnx.ModelProto:
    """Return a copy of the model whose inputs have these shapes; None leaves a size as it is."""
    sized = deepcopy(proto)
    for value in graph_inputs(sized):
        if (shape := shapes.get(value.name)) is not None:
            sides = value.type.tensor_type.shape
            sides.SetInParent()
            while len(sides.dim) < len(shape):
                sides.dim.add()
            for side, size in zip(sides.dim, shape, strict=True):
                if size is not None:
                    side.dim_value = size
    return sized
