"""Git revisions of a workspace: the files of another revision, and the history of one file."""

import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mnbench.errors import ResultsError, first_line


def _git(*arguments: str, folder: Path | None = None) -> bytes:
    """Run git and return its output.

    Raises:
        ResultsError: git is not installed, or fails.
    """
    try:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, cwd=folder)  # noqa: S603, S607
    except FileNotFoundError as failure:
        raise ResultsError("git is not installed", hint="install git: revisions need it") from failure
    except subprocess.CalledProcessError as failure:
        reason = first_line(Exception(failure.stderr.decode(errors="replace")))
        raise ResultsError(f"git {arguments[0]}: {reason}", hint="name a revision of this repository") from failure
    return done.stdout


def checked_out_commit() -> str:
    """Return the checked-out commit in twelve digits, or an empty string if there is none."""
    try:
        return _git("rev-parse", "--short=12", "HEAD").decode().strip()
    except ResultsError:
        return ""


def path_in_repository() -> str:
    """Return the path of the folder in its repository.

    Raises:
        ResultsError: the folder is not in a repository.
    """
    return _git("rev-parse", "--show-prefix").decode().strip()


@contextmanager
def checkout_revision(ref: str) -> Generator[Path]:
    """Check out another revision in a temporary folder.

    Raises:
        ResultsError: there is no such revision, or no repository.
    """
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        tree = Path(folder) / "tree"
        # A name that begins with a dash would be an option.
        _git("worktree", "add", "--detach", "--end-of-options", str(tree), ref)
        try:
            yield tree
        finally:
            with suppress(ResultsError):
                _git("worktree", "remove", "--force", str(tree))


def file_history(path: Path) -> Sequence[tuple[str, bytes]]:
    """Return each commit that changes the file, in twelve digits, with its bytes, oldest first; none without git.

    There are no bytes in a commit that deletes the file.
    """
    history: list[tuple[str, bytes]] = []
    with suppress(ResultsError):
        for commit in _git("log", "--format=%H", "--reverse", "--", path.name, folder=path.parent).decode().split():
            data = b""
            with suppress(ResultsError):
                data = _git("show", f"{commit}:./{path.name}", folder=path.parent)
            history.append((commit[:12], data))
    return history
