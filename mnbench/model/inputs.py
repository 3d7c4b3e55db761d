"""The arrays that a model is fed: what the user gives, and seeded random numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mnbench.array_files import read_arrays
from mnbench.errors import InputError, read_error
from mnbench.model.input_sizes import DeclaredInput, Sizes, declared_inputs
from mnbench.network.layer import Shape
from mnbench.network.variant import InputOptions
from mnbench.workspace import path_in_workspace

BYTE_TYPES = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)
"""Types of images and of quantized numbers, which are drawn from their whole range."""

INTEGER_TYPES = frozenset(
    {onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64}
    | {onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64}
    | {onnx.TensorProto.INT4, onnx.TensorProto.UINT4}
)
"""Types of indices, lengths, masks and settings: most models accept a 1 as any of them, but not a length of 0."""

LENGTH_OPERANDS = {"GRU": 4, "LSTM": 4, "RNN": 4, "ReverseSequence": 1}
"""Which operand of an operator holds the lengths of sequences; the sequences are its first, time first."""

MAX_VALUES = 2**28
"""Of all inputs: 1,024 images of 224 × 224 are half of it."""

VALUES_OF_A_TEXT = 2**8
"""A text is a Python object, and takes the space and time of so many numbers."""

MAX_AXES, MAX_LISTED = 10, 200
"""How much of such inputs an error names."""

RANGE = re.compile(r"(-?\d[\d.e+-]*)\.\.(-?\d[\d.e+-]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeInput:
    """The array of an input, and a word for its values: `normal`, `ones`, `16000`, `0..9` or a file's path.

    Values that nobody gave are `chosen`. `assumed` are the axes whose size nobody gave, which is 1.
    """

    array: NDArray[Any]
    values: str
    chosen: bool
    assumed: tuple[int, ...] = ()


def make_inputs(proto: onnx.ModelProto, input_options: InputOptions, *, seed: int, name: str) -> dict[str, MadeInput]:
    """Return an array for each input of a model; `name` is the model's, for errors.

    Floating-point numbers are standard normal, bytes lie anywhere in their range, other integers are 1, lengths of
    sequences are full, truth values are true and texts are "a".

    Raises:
        InputError: a size is open that nobody gives, one whole number steers the model and is not given, or what is
            given does not fit.
        FileError: a file of values cannot be read.
    """
    inputs = declared_inputs(proto, name)
    sizes = Sizes(inputs, name)
    values = {value.entry.name: value for item in input_options.values.items() for value in _read(*item, sizes)}
    sizes.apply(
        input_options, {key: (value.shape, value.words) for key, value in values.items() if value.shape is not None}
    )
    settled, lengths = sizes.settle(), _sequences(proto)
    if sum(prod(settled[entry.name].shape) * _weight(entry) for entry in inputs) > MAX_VALUES:
        listed = ", ".join(f"{key} {'×'.join(map(str, entry.shape[:MAX_AXES]))}" for key, entry in settled.items())
        raise InputError(
            f"{name}: its inputs hold more than {MAX_VALUES:,} values: {listed[:MAX_LISTED]}",
            hint="give smaller sizes or another model",
        )
    random = np.random.default_rng(seed)
    inputs_made: dict[str, MadeInput] = {}
    for entry in inputs:
        shape, assumed = settled[entry.name].shape, settled[entry.name].assumed
        sequences = lengths.get(entry.name, "")
        if value := values.get(entry.name):
            array, text = value.array(shape, random), value.text
        elif sequences in settled and entry.element_type in INTEGER_TYPES:
            steps = settled[sequences].shape[0]
            array, text = np.full(shape, steps), f"{steps}, as long as {sequences}"
        else:
            array, text = _chosen(entry, shape, random, name)
        array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(entry.element_type))
        inputs_made[entry.name] = MadeInput(
            array=array.reshape(shape), values=text, chosen=entry.name not in values, assumed=assumed
        )
    return inputs_made


@dataclass(frozen=True, slots=True)
class _GivenValue:
    """What the user says that an input holds: an array, or a text as it was typed; `words` are the option."""

    entry: DeclaredInput
    value: NDArray[Any] | str
    words: str
    text: str

    @property
    def shape(self) -> Shape | None:
        """The shape that the value gives to its input; None if it fits any."""
        if not isinstance(self.value, str):
            return self.value.shape
        items = self.value.count(",") + 1
        return (items,) if items > 1 and self.entry.sides is not None and len(self.entry.sides) == 1 else None

    def array(self, shape: Shape, random: np.random.Generator) -> NDArray[Any]:
        """Return the values in this shape: one number fills it.

        Raises:
            InputError: they do not fit the input's type or shape.
        """
        kind = onnx.helper.tensor_dtype_to_np_dtype(self.entry.element_type)
        if not isinstance(self.value, str):
            if self.value.dtype.kind != kind.kind and not np.can_cast(self.value.dtype, kind, "same_kind"):
                raise self._misfit(f"{self.value.dtype} are not {kind}")
            return self.value
        if self.entry.element_type == onnx.TensorProto.STRING:
            items: list[Any] = self.value.split(",")
        elif ends := RANGE.fullmatch(self.value):
            low, high = self._numbers(list(ends.groups()), kind)
            if low > high:
                raise self._misfit("a range begins with its smaller end")
            whole = self.entry.element_type in (*INTEGER_TYPES, *BYTE_TYPES)
            return random.integers(low, high, shape, endpoint=True) if whole else random.uniform(low, high, shape)
        else:
            items = self._numbers(self.value.split(","), kind)
        if len(items) not in (1, prod(shape)):
            sides = "×".join(map(str, shape)) or "(one value)"
            raise self._misfit(f"{len(items)} values do not fill {self.entry.name} {sides}")
        return np.full(shape, items[0]) if len(items) == 1 else np.array(items).reshape(shape)

    def _numbers(self, texts: list[str], kind: np.dtype[Any]) -> list[Any]:
        """Return the numbers, which must be what the input's type can hold."""
        words = {"true": 1, "false": 0}
        try:
            if self.entry.element_type in (*INTEGER_TYPES, *BYTE_TYPES, onnx.TensorProto.BOOL):
                whole = [words.get(text.strip().lower(), text) for text in texts]
                return [kind.type(int(number)).item() for number in whole]
            return [float(text) for text in texts]
        except (ValueError, OverflowError) as failure:
            raise self._misfit(f"is no value for {self.entry.name}, which holds {kind}") from failure

    def _misfit(self, problem: str) -> InputError:
        return InputError(f"{self.words}: {problem}", hint="give a number, a range 0..9, a list 1,2,3 or an .npy file")


def _read(name: str, value: Any, sizes: Sizes) -> list[_GivenValue]:
    """Return a given value for its input; for each input, if an .npz file is given that names none."""
    if not isinstance(value, str):
        words = f"the array for {name}"
        return [_GivenValue(sizes.find(name, words), np.asarray(value), words, "array")]
    words = f"--input {name}={value}" if name else f"--input {value}"
    path = Path(value)
    if path.suffix not in (".npy", ".npz"):
        return [_GivenValue(sizes.find(name, words), value, words, value)]
    try:
        arrays = read_arrays(path)
    except FileNotFoundError as failure:
        raise read_error(path, failure) from failure
    if path.suffix == ".npy":
        arrays = {name: arrays[""]}
    if name and name not in arrays:
        raise InputError(f"{words}: the file holds {', '.join(arrays)}", hint=f"store the array as {name}")
    chosen = {name: arrays[name]} if name else arrays
    return [_GivenValue(sizes.find(key, words), array, words, path_in_workspace(path)) for key, array in chosen.items()]


def _chosen(entry: DeclaredInput, shape: Shape, random: np.random.Generator, name: str) -> tuple[NDArray[Any], str]:
    """Return values for an input of which the user says nothing, and a word for them."""
    if entry.element_type == onnx.TensorProto.STRING:
        return np.full(shape, "a", object), "the text a"
    if entry.element_type == onnx.TensorProto.BOOL:
        return np.ones(shape, np.bool_), "true"
    if entry.element_type in BYTE_TYPES:
        limits = np.iinfo(onnx.helper.tensor_dtype_to_np_dtype(entry.element_type))
        return random.integers(limits.min, limits.max, shape, endpoint=True), f"{limits.min}..{limits.max}"
    if entry.element_type in INTEGER_TYPES:
        if not shape:
            raise InputError(
                f"{name}: {entry.name} is one whole number that steers the model, and is not given",
                hint=f"--input {entry.name}=VALUE",
            )
        return np.ones(shape, np.int64), "ones"
    return random.standard_normal(shape), "normal"


def _weight(entry: DeclaredInput) -> int:
    return VALUES_OF_A_TEXT if entry.element_type == onnx.TensorProto.STRING else 1


def _sequences(proto: onnx.ModelProto) -> dict[str, str]:
    """Return the tensor with the sequences, by the name of the tensor that holds their lengths."""
    sequences: dict[str, str] = {}
    for node in proto.graph.node:
        operand = LENGTH_OPERANDS.get(node.op_type)
        if operand and len(node.input) > operand and node.input[operand]:
            sequences[node.input[operand]] = node.input[0]
    return sequences


def batch_size(inputs: Mapping[str, NDArray[Any]]) -> int:
    """Return how many inputs a model takes at once: its first axis, if it has one."""
    return next((array.shape[0] for array in inputs.values() if array.ndim), 1)
