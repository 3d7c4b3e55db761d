"""Git revisions of a workspace: the files of another revision, and the history of one file.

A repository may be a stranger's, and its configuration can name programs: hooks, filters, pagers, signing programs. Its
git directory is asked for names of commits only. Whatever reads their files works in an empty git directory of ours,
which borrows the repository's objects.
"""

import os
import shutil
import subprocess
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mnbench.errors import ResultsError, first_line
from mnbench.programs import clean_environment, find_program, run_program
from mnbench.temporary import temporary_folder

SAFE = (
    *("--no-pager", "--literal-pathspecs"),
    *("-c", "safe.bareRepository=explicit"),  # a committed folder can be a bare repository
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "protocol.allow=never"),
)
SAFE_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "",  # nothing is fetched: a remote's URL can be a command
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "LC_ALL": "C",
}
HINT = "name a revision of this repository"
ASK_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 120.0
"""Time limits to ask about a repository, and to read a history or a tree: the files of a repository can be pipes."""


def checked_out_commit() -> str:
    """Return the checked-out commit in twelve digits, or an empty string if there is none."""
    with suppress(ResultsError):
        return resolve_commit("HEAD")[:12]
    return ""


def path_in_repository(folder: Path | None = None) -> str:
    """Return the path of the folder in its repository, with a `/` at its end; default: of the current folder.

    Raises:
        ResultsError: the folder is not in a repository.
    """
    return _ask("rev-parse", "--show-prefix", folder=folder)


def resolve_commit(ref: str, folder: Path | None = None) -> str:
    """Return the commit of a revision in all digits.

    Raises:
        ResultsError: there is no such revision, or no repository.
    """
    # A name that begins with a dash would be an option.
    try:
        return _ask("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}", folder=folder)
    except ResultsError as failure:
        if "single revision" not in failure.message:
            raise
        raise ResultsError(f"{ref}: no such revision", hint=HINT) from failure


@contextmanager
def checkout_revision(ref: str) -> Generator[Path]:
    """Write the files of another revision into a temporary folder.

    Raises:
        ResultsError: there is no such revision, or no repository.
    """
    commit = resolve_commit(ref)
    with temporary_folder() as folder, _borrowed_objects() as objects:
        tree = folder / "tree"
        tree.mkdir()
        objects.run(f"--work-tree={tree}", "checkout", "--quiet", "--force", "--detach", commit)
        _remove_links_outside(tree)
        yield tree


def _remove_links_outside(tree: Path) -> None:
    """Remove links that lead out of a revision's files: what they name is of no revision."""
    root = os.path.realpath(tree)
    for parent, folders, files in os.walk(tree):
        for path in (Path(parent, name) for name in folders + files):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                path.unlink()


def file_history(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each commit that changes the file, in twelve digits, with its bytes, oldest first; none without git.

    There are no bytes in a commit that deletes the file.
    """
    with suppress(ResultsError):
        name = path_in_repository(path.parent) + path.name
        commit = resolve_commit("HEAD", path.parent)
        with _borrowed_objects(path.parent) as objects:
            for changed in objects.run("rev-list", "--reverse", commit, "--", name).decode().split():
                data = b""
                with suppress(ResultsError):
                    data = objects.run("cat-file", "blob", f"{changed}:{name}")
                yield changed[:12], data


@dataclass(frozen=True, slots=True)
class _Objects:
    """A git directory without configuration, whose objects are those of a repository."""

    directory: Path

    def run(self, *arguments: str) -> bytes:
        return _git(
            (f"--git-dir={self.directory}", *arguments), folder=self.directory, timeout_s=READ_TIMEOUT_S, is_ours=True
        )


@contextmanager
def _borrowed_objects(folder: Path | None = None) -> Generator[_Objects]:
    """Make an empty git directory that borrows the objects of the folder's repository.

    Raises:
        ResultsError: the folder is not in a repository.
    """
    object_format = _ask("rev-parse", "--show-object-format", folder=folder)
    objects, shallow = (
        Path(folder or "", _ask("rev-parse", "--git-path", name, folder=folder)).absolute()
        for name in ("objects", "shallow")
    )
    with temporary_folder() as directory:
        created = ("init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(directory))
        _git(created, folder=directory, timeout_s=ASK_TIMEOUT_S, is_ours=True)
        quoted = str(objects).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        (directory / "objects/info").mkdir(exist_ok=True)
        (directory / "objects/info/alternates").write_text(f'"{quoted}"\n', encoding="utf-8", errors="surrogateescape")
        if shallow.is_file():  # a clone with a part of the history
            shutil.copyfile(shallow, directory / "shallow")
        yield _Objects(directory)


def _ask(*arguments: str, folder: Path | None) -> str:
    """Return the line that git prints about the folder's repository."""
    output = _git(arguments, folder=folder, timeout_s=ASK_TIMEOUT_S)
    return output.decode(errors="surrogateescape").removesuffix("\n")


def _git(arguments: Sequence[str], *, folder: Path | None, timeout_s: float, is_ours: bool = False) -> bytes:
    """Run git and return its output. In a directory of ours it gets no variable that names another repository.

    Raises:
        ResultsError: git is not installed, fails, or takes longer than `timeout_s`.
    """
    git = find_program("git")
    if git is None:
        raise ResultsError("git is not installed", hint="install git: revisions need it")
    # A hook that runs mnbench gets variables with its repository, its index and more.
    variables = {name: text for name, text in clean_environment().items() if not (is_ours and name.startswith("GIT_"))}
    try:
        done = run_program(
            (git, *SAFE, *arguments), folder=folder, environment=variables | SAFE_VARIABLES, timeout_s=timeout_s
        )
    except subprocess.TimeoutExpired as failure:
        raise ResultsError(
            f"git: no answer within {timeout_s:g} s", hint="check the repository: git status"
        ) from failure
    except (OSError, ValueError) as failure:
        raise ResultsError(f"git: {first_line(failure)}", hint=HINT) from failure
    if done.returncode:
        command = next(word for word in arguments if not word.startswith("-"))
        reason = first_line(Exception(done.stderr.decode(errors="replace")))
        raise ResultsError(f"git {command}: {reason}", hint=HINT)
    return done.stdout
