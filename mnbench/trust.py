"""Trust: what a folder's files would start, install or set needs the word of the user, once for their content."""

import hashlib
import logging
import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from mnbench import atomic_files
from mnbench.errors import FileError, TrustError

VARIABLE = "MNBENCH_TRUST"
"""The environment variable that trusts every folder if it is 1: for CI jobs without secrets."""

logger = logging.getLogger(__name__)

_everything: ContextVar[bool] = ContextVar("everything", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What mnbench would do because a file says so: `actions`, such as "installs onnxruntime==1.30.0".

    Each action is trusted by itself, in this `folder`, and only as long as `content` is the same. A file that two
    folders share may name a program of each.
    """

    file: Path
    folder: Path = Path()
    actions: tuple[str, ...]
    content: bytes = b""
    is_of_file: bool = True
    """Whether `mnbench trust` can store the trust in it; else only `--trust` gives it."""

    @property
    def digests(self) -> list[str]:
        """The names under which the trust in each action is stored."""
        paths = f"{os.path.realpath(self.folder)}\0{os.path.realpath(self.file)}"
        facts = (f"{paths}\0{action}\0{self.content.hex()}" for action in self.actions)
        return [hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() for text in facts]

    def __str__(self) -> str:
        return f"{self.file}: {'; '.join(self.actions)}"


@contextmanager
def trusting_all() -> Generator[None]:
    """Trust every file inside the block: the user said `--trust`."""
    token = _everything.set(True)
    try:
        yield
    finally:
        _everything.reset(token)


def is_trusted(demand: Demand) -> bool:
    """Return whether the user trusts all files, or this one as it is."""
    if _everything.get() or os.environ.get(VARIABLE) == "1":
        return True
    folder = _trusted_folder()
    is_outside = folder.is_absolute() and not _is_below(folder, demand)
    return is_outside and all(os.path.isfile(folder / digest) for digest in demand.digests)  # noqa: PTH113  raises nothing


def require_trust(demands: Iterable[Demand]) -> None:
    """Log each demand as a warning if all are trusted.

    Raises:
        TrustError: some are not; nothing of them was done.
    """
    demands = [demand for demand in demands if demand.actions]
    for demand in demands:
        if not is_trusted(demand):
            hint = "read the file; then trust it with `mnbench trust`, or this command with --trust"
            hint = hint if demand.is_of_file else "see what it does; then trust this command with --trust"
            raise TrustError(f"{demand}: this needs your trust", hint=hint)
    for demand in demands:
        logger.warning("%s", demand)


def trust(demands: Iterable[Demand]) -> None:
    """Remember that the user trusts these files as they are.

    Raises:
        FileError: the user's folder is not writable, or there is none.
    """
    folder = _trusted_folder()
    if not folder.is_absolute():
        raise FileError("there is no home folder to store the trust in", hint=f"set {VARIABLE}=1, or use --trust")
    for demand in demands:
        if _is_below(folder, demand):
            raise FileError(
                f"{folder}: lies in the folder to trust, whose files could trust themselves", hint="use --trust"
            )
        for digest in demand.digests:
            atomic_files.write_atomically(folder / digest, f"{demand}\n".encode(errors="replace"))


def remove_trust(demands: Iterable[Demand]) -> None:
    """Forget that the user trusts these files.

    Raises:
        FileError: the user's folder is not writable.
    """
    for demand in demands:
        for digest in demand.digests:
            path = _trusted_folder() / digest
            try:
                path.unlink(missing_ok=True)
            except OSError as failure:
                raise atomic_files.write_error(path, failure) from failure


def _is_below(folder: Path, demand: Demand) -> bool:
    """Return whether the user's folder lies in that of the demand, whose files a stranger wrote."""
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(demand.folder))


def _trusted_folder() -> Path:
    from platformdirs import user_state_path  # noqa: PLC0415  most commands need no trust

    return user_state_path("mnbench", appauthor=False) / "trusted"
