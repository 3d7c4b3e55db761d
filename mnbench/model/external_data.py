"""External data: the weights that an ONNX model keeps in other files."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx.external_data_helper import uses_external_data

from mnbench.errors import BuildError, read_error
from mnbench.model.file_formats import HEAD_BYTES, describe_other_format
from mnbench.model.onnx_weights import stored_constant
from mnbench.model.stored_tensors import stored_tensors
from mnbench.regular_files import open_regular


class ExternalTensor(NamedTuple):
    """A tensor and the place of its bytes."""

    tensor: onnx.TensorProto
    folder: Path
    location: str
    offset: int
    size_bytes: int

    @property
    def file(self) -> Path:
        return self.folder / self.location


def locate_external_data(proto: onnx.ModelProto, model: Path) -> list[ExternalTensor]:
    """Find the bytes of every tensor that is not stored in the model itself.

    A model that is a link, as in the cache of a model hub, may keep its data beside the link or beside the file that it
    points to. A model must not read any other file of this machine.

    Raises:
        BuildError: a data file is missing, too short or elsewhere.
        FileError: a data file cannot be read.
    """
    return [_locate(tensor, model) for _, tensor in stored_tensors(proto) if uses_external_data(tensor)]


def load_external_data(tensors: Iterable[ExternalTensor]) -> None:
    """Move the data into the tensors.

    Raises:
        FileError: a data file cannot be read.
    """
    for external in tensors:
        try:
            with open_regular(external.file) as file:
                file.seek(external.offset)
                external.tensor.raw_data = file.read(external.size_bytes)
        except OSError as failure:
            raise read_error(external.file, failure) from failure
        external.tensor.ClearField("data_location")
        del external.tensor.external_data[:]


def _locate(tensor: onnx.TensorProto, model: Path) -> ExternalTensor:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        folder = _find_folder(location, model)
        path = folder / location
        file_bytes = path.stat().st_size
    except OSError as failure:
        raise read_error(model.parent / location, failure) from failure
    try:
        expected_bytes = stored_constant(tensor.name, tensor).stored.size_bytes or 0
        offset, size_bytes = int(entries.get("offset", 0)), int(entries.get("length", expected_bytes))
    except (ValueError, KeyError) as failure:
        raise BuildError(
            f"{model}: weight {tensor.name} has a broken reference to {location}", hint="export the model again"
        ) from failure
    if offset < 0 or size_bytes != expected_bytes:
        raise BuildError(
            f"{model}: weight {tensor.name} takes {expected_bytes} bytes, and not {size_bytes} from {offset}",
            hint="export the model again",
        )
    if offset + size_bytes > file_bytes:
        with open_regular(path) as file:
            other = describe_other_format(file.read(HEAD_BYTES))
        if other:
            raise BuildError(f"{path}: {other.message}", hint=other.hint)
        raise BuildError(
            f"{path}: is cut short: weight {tensor.name} ends at byte {offset + size_bytes:,} of {file_bytes:,}",
            hint="download it again",
        )
    return ExternalTensor(tensor, folder, location, offset, size_bytes)


def _find_folder(location: str, model: Path) -> Path:
    """Return where a data file is: in the model's folder, or in the folder of the file that the model links to."""
    relative, folders = Path(location), (model.parent, model.resolve().parent)
    outside = BuildError(
        f"{model}: its weights are outside its folder ({location or 'no file is named'})",
        hint="keep the data in files beside the model",
    )
    if not location or "\0" in location or relative.is_absolute() or ".." in relative.parts:
        raise outside
    folder = next((folder for folder in folders if (folder / relative).is_file()), None)
    if folder is None:
        raise BuildError(f"{model.parent / relative} is not there", hint="download it too, and put it beside the model")
    if not any((folder / relative).resolve().is_relative_to(allowed.resolve()) for allowed in folders):
        raise outside
    return folder
