"""Every error that a user can meet.

MnbenchError                    one line "Error: …", one line "Hint: …", exit code 1
├─ TomlError                    a TOML file is wrong
│  ├─ GraphFileError
│  ├─ DeviceFileError
│  └─ StudyFileError
├─ BuildError                   alpha, resolution or file impossible; ONNX's checker rejected the model
│  ├─ InputError                a size or a value of an input is missing, or does not fit
│  └─ SimplifyError             the simplified graph computes something else
├─ FileError                    a file cannot be read or written
├─ MissingDependency            a package or program is not installed
│  └─ RuntimeUnavailable        a runtime is not installed, or its provider is missing
├─ UnreachableError             the device cannot be reached or its Python cannot be started
├─ TrialError                   a case crashed, timed out, gave wrong outputs or ran on another provider
└─ ResultsError                 results cannot be read or written
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any


class MnbenchError(Exception):
    """What went wrong, in one line, and what to do about it, in another."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.add_note(f"Hint: {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy is made in another process, whatever the subclass's constructor takes."""
        return BaseException.__new__, (type(self), *self.args), self.__dict__


def first_line(failure: BaseException) -> str:
    """The first line of a library's message, which may have many."""
    return next((line.strip() for line in str(failure).splitlines() if line.strip()), type(failure).__name__)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a question that begins a hint, "did you mean `v1`? ", or an empty string if no known name is close."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`? " if close else ""


class TomlError(MnbenchError):
    """A TOML table is wrong: `where` names the row and the key."""

    def __init__(self, path: Path | str, where: str, message: str, *, hint: str) -> None:
        super().__init__(": ".join(str(part) for part in (path, where, message) if part), hint=hint)
        self.path = path
        self.where = where


class GraphFileError(TomlError):
    """A table of `graphs/` is wrong, or there is none of that name."""


class DeviceFileError(TomlError):
    """A profile of `devices/` is wrong, or there is none of that name."""


class StudyFileError(TomlError):
    """A study's file is wrong, or there is no study of that name."""


class FileError(MnbenchError):
    """A file cannot be read or written: no permission, no space, a folder where a file belongs."""


def read_error(path: Path, failure: OSError, thing: str = "a file") -> FileError:
    """Return the error for a file that could not be read; its hint is to name another such `thing`."""
    return FileError(
        f"{path}: cannot be read ({failure.strerror or first_line(failure)})", hint=f"name {thing} that you can read"
    )


class TrustError(MnbenchError):
    """A file of a folder would start, install or set something, and the user has not trusted it."""


class BuildError(MnbenchError):
    """The network or the model asked for cannot be built, or the file holds none."""


class InputError(BuildError):
    """A size or a value of an input is missing, or does not fit the model."""


class SimplifyError(BuildError):
    """Simplification failed, or changed what the graph computes."""


class MissingDependency(MnbenchError):  # noqa: N818  the state is what the user fixes
    """A package or a program is not installed; the hint is the command that installs it."""


def import_extra(module: str, *, extra: str, use: str) -> Any:
    """Import a module of an optional extra of mnbench; `use` says what needs it.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as failure:
        raise MissingDependency(
            f"{failure.name} is not installed, and {use} needs it",
            hint=f'in a checkout of mnbench: pip install ".[{extra}]"',
        ) from failure


class RuntimeUnavailable(MissingDependency):
    """A runtime is not installed, or lacks the provider; the hint is the command that installs it."""


class UnreachableError(MnbenchError):
    """The device cannot be reached or its Python cannot be started."""


class TrialError(MnbenchError):
    """One cell could not be measured: it crashed, timed out, or gave wrong outputs."""


class ResultsError(MnbenchError):
    """Results cannot be read or written: corrupt, newer schema, disk full."""
