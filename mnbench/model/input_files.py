"""Batches of inputs for a model of one input: arrays from files, and images with ImageNet's usual preprocessing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnbench.array_files import read_arrays
from mnbench.errors import BuildError, MnbenchError, first_line, import_extra, read_error
from mnbench.model.model import Model
from mnbench.regular_files import open_regular

CROP_SHARE = 0.875
"""What the crop leaves of the shorter side: 224 of 256."""

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that pillow reads itself: for others, such as PostScript, it starts programs."""

MAX_PIXELS = 2**26

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue, as shares of 255."""


def load_batches(paths: Sequence[Path], model: Model) -> list[dict[str, NDArray[Any]]]:
    """Return the files' inputs, as many at once as the model's batch has.

    Raises:
        FileError: a file cannot be read.
        BuildError: it does not fit the model, or the model does not take one input.
        MissingDependency: pillow, which reads images, is not installed.
    """
    (name, like), *more = model.make_inputs(0).items()
    if more or not like.ndim:
        raise BuildError(
            f"{model.name}: takes {', '.join([name, *(other for other, _ in more)])}",
            hint="files are for models with one input that has a batch: leave --input out",
        )
    arrays = [_array(path, like) if path.suffix == ".npy" else _image(path, like)[None] for path in paths]
    every = np.concatenate(arrays).astype(like.dtype)
    batch = like.shape[0]
    if len(every) % batch:
        raise BuildError(
            f"{len(every)} inputs do not fill batches of {batch}", hint=f"give a multiple of {batch}, or another model"
        )
    return [{name: every[at : at + batch]} for at in range(0, len(every), batch)]


def _array(path: Path, like: NDArray[Any]) -> NDArray[Any]:
    """Inputs behind each other, or one without a batch."""
    try:
        array = read_arrays(path)[""]
    except FileNotFoundError as failure:
        raise read_error(path, failure, "an image or a .npy file") from failure
    if array.dtype.kind not in "biuf":
        raise BuildError(f"{path}: holds no plain numbers", hint="write one array of numbers with numpy.save")
    array = array[None] if array.shape == like.shape[1:] else array
    if array.ndim != like.ndim or array.shape[1:] != like.shape[1:] or not len(array):
        raise BuildError(
            f"{path}: holds {array.shape}, and the model takes {like.shape}", hint="write the array in the model's size"
        )
    return array


def _image(path: Path, like: NDArray[Any]) -> NDArray[np.float32]:
    """Resized until the crop is 87.5 % of the shorter side, cropped in the middle, normalized by channel."""
    if like.ndim != 4 or like.shape[1] != len(MEAN):
        raise BuildError(f"{path}: the model takes {like.shape}, which is no image", hint="give a .npy file")
    library = import_extra("PIL.Image", extra="images", use=f"the image {path}")
    height, width = like.shape[2:]
    try:
        with open_regular(path) as data, library.open(data, formats=IMAGE_FORMATS) as file:
            _require_small(path, file.width, file.height)
            image: Any = file.convert("RGB")
        scale = max(width / image.width, height / image.height) / CROP_SHARE
        sides = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        image = image.resize(sides, library.Resampling.BILINEAR)
    except MnbenchError:
        raise
    except OSError as failure:
        raise read_error(path, failure, "an image or a .npy file") from failure
    except Exception as failure:  # its readers raise what they like
        raise BuildError(f"{path}: cannot be read: {first_line(failure)}", hint="give another image") from failure
    left, top = (sides[0] - width) // 2, (sides[1] - height) // 2
    pixels = np.asarray(image.crop((left, top, left + width, top + height)), np.float32) / 255
    normal = (pixels - np.array(MEAN)) / np.array(DEVIATION)
    return normal.transpose(2, 0, 1).astype(np.float32)


def _require_small(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BuildError(
            f"{path}: has {width}×{height} pixels, and at most {MAX_PIXELS:,} are read", hint="give a smaller image"
        )
