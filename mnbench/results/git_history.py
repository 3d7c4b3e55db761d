"""Git's revisions of a workspace: their files, and which one is checked out."""

import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mnbench.errors import RecordError, first_line


def git(*arguments: str, folder: Path | None = None) -> str:
    """What git prints.

    Raises:
        RecordError: it is not installed, or fails.
    """
    try:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, cwd=folder)  # noqa: S603, S607
    except FileNotFoundError as failure:
        raise RecordError("git is not installed", hint="revisions need it") from failure
    except subprocess.CalledProcessError as failure:
        raise RecordError(
            f"git {arguments[0]}: {first_line(Exception(failure.stderr))}", hint="name a revision of this repository"
        ) from failure
    return done.stdout


def head() -> str:
    """The commit that is checked out here, in twelve digits; empty where there is none."""
    try:
        return git("rev-parse", "--short=12", "HEAD").strip()
    except RecordError:
        return ""


def prefix() -> str:
    """Where in its repository this folder is.

    Raises:
        RecordError: it is in none.
    """
    return git("rev-parse", "--show-prefix").strip()


@contextmanager
def revision(ref: str) -> Generator[Path]:
    """The files of another git revision, in a folder that is gone afterwards.

    Raises:
        RecordError: there is no such revision, or no repository here.
    """
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        tree = Path(folder) / "tree"
        # A name that begins with a dash would be an option.
        git("worktree", "add", "--detach", "--end-of-options", str(tree), ref)
        try:
            yield tree
        finally:
            subprocess.run(  # noqa: S603
                ["git", "worktree", "remove", "--force", str(tree)],  # noqa: S607
                check=False,
                capture_output=True,
            )


def versions(path: Path) -> Sequence[tuple[str, bytes]]:
    """Each commit in which the file is another, in twelve digits, with its bytes, oldest first; none without git."""
    try:
        commits = git("log", "--format=%H", "--reverse", "--", path.name, folder=path.parent).split()
        return [(commit[:12], _at(commit, path)) for commit in commits]
    except RecordError:
        return []


def _at(commit: str, path: Path) -> bytes:
    """The file in a commit; nothing where the commit deletes it."""
    done = subprocess.run(  # noqa: S603
        ["git", "show", f"{commit}:./{path.name}"],  # noqa: S607
        check=False,
        capture_output=True,
        cwd=path.parent,
    )
    return b"" if done.returncode else done.stdout
