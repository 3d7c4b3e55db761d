"""Git revisions of a workspace: the files of another revision, and the history of one file."""

import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mnbench.errors import ResultsError, first_line


def run_git(*arguments: str, folder: Path | None = None) -> str:
    """Run git and return its output.

    Raises:
        ResultsError: git is not installed, or fails.
    """
    try:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, cwd=folder)  # noqa: S603, S607
    except FileNotFoundError as failure:
        raise ResultsError("git is not installed", hint="install git: revisions need it") from failure
    except subprocess.CalledProcessError as failure:
        raise ResultsError(
            f"git {arguments[0]}: {first_line(Exception(failure.stderr))}", hint="name a revision of this repository"
        ) from failure
    return done.stdout


def checked_out_commit() -> str:
    """Return the checked-out commit in twelve digits, or an empty string if there is none."""
    try:
        return run_git("rev-parse", "--short=12", "HEAD").strip()
    except ResultsError:
        return ""


def path_in_repository() -> str:
    """Return the path of the folder in its repository.

    Raises:
        ResultsError: the folder is not in a repository.
    """
    return run_git("rev-parse", "--show-prefix").strip()


@contextmanager
def checkout_revision(ref: str) -> Generator[Path]:
    """Check out another revision in a temporary folder.

    Raises:
        ResultsError: there is no such revision, or no repository.
    """
    with tempfile.TemporaryDirectory(prefix="mnbench-") as folder:
        tree = Path(folder) / "tree"
        # A name that begins with a dash would be an option.
        run_git("worktree", "add", "--detach", "--end-of-options", str(tree), ref)
        try:
            yield tree
        finally:
            subprocess.run(  # noqa: S603
                ["git", "worktree", "remove", "--force", str(tree)],  # noqa: S607
                check=False,
                capture_output=True,
            )


def file_history(path: Path) -> Sequence[tuple[str, bytes]]:
    """Return each commit that changes the file, in twelve digits, with its bytes, oldest first; none without git."""
    try:
        commits = run_git("log", "--format=%H", "--reverse", "--", path.name, folder=path.parent).split()
        return [(commit[:12], _at(commit, path)) for commit in commits]
    except ResultsError:
        return []


def _at(commit: str, path: Path) -> bytes:
    """Return the file in a commit; no bytes if the commit deletes it."""
    done = subprocess.run(  # noqa: S603
        ["git", "show", f"{commit}:./{path.name}"],  # noqa: S607
        check=False,
        capture_output=True,
        cwd=path.parent,
    )
    return b"" if done.returncode else done.stdout
