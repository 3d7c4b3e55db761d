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
from mnbench.errors import TrustError

VARIABLE = "MNBENCH_TRUST"
"""The environment variable that trusts every folder if it is 1: for CI jobs without secrets."""

logger = logging.getLogger(__name__)

_everything: ContextVar[bool] = ContextVar("everything", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What mnbench would do because a file says so: `actions`, such as "installs onnxruntime==1.30.0".

    `content` is what the trust holds for: it ends when the content changes.
    """

    file: Path
    actions: tuple[str, ...]
    content: bytes = b""

    @property
    def digest(self) -> str:
        """The name under which the trust is stored."""
        facts = (str(self.file.absolute()), *self.actions, self.content.hex())
        return hashlib.sha256("\0".join(facts).encode(errors="surrogatepass")).hexdigest()

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
    return _everything.get() or os.environ.get(VARIABLE) == "1" or (_trusted_folder() / demand.digest).is_file()


def require_trust(demands: Iterable[Demand]) -> None:
    """Log each demand as a warning if all are trusted.

    Raises:
        TrustError: some are not; nothing of them was done.
    """
    demands = [demand for demand in demands if demand.actions]
    for demand in demands:
        if not is_trusted(demand):
            raise TrustError(
                f"{demand}: this needs your trust",
                hint="look at the file, and trust its folder with `mnbench trust`, or this command with --trust",
            )
    for demand in demands:
        logger.warning("%s", demand)


def trust(demands: Iterable[Demand]) -> None:
    """Remember that the user trusts these files as they are.

    Raises:
        FileError: the user's folder is not writable.
    """
    for demand in demands:
        atomic_files.write_atomically(_trusted_folder() / demand.digest, f"{demand}\n".encode(errors="replace"))


def _trusted_folder() -> Path:
    from platformdirs import user_state_path  # noqa: PLC0415  most commands need no trust

    return user_state_path("mnbench", appauthor=False) / "trusted"
