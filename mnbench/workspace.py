"""Paths: the tables of a workspace and the built-in ones, and the cache.

A workspace is a folder with graphs/, devices/ and results/; without another one it is the current folder, here alone.
"""

import filecmp
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import mnbench
from mnbench.errors import TomlError, suggest

Folder = Literal["graphs", "graphs/study_networks", "graphs/studies", "graphs/unbuilt", "devices"]

logger = logging.getLogger(__name__)

CURRENT_FOLDER = Path()


def table_paths(folder: Folder, root: Path = CURRENT_FOLDER) -> dict[str, Path]:
    """Return every table by name; the workspace's replace built-in ones of the same name."""
    entries: dict[str, Path] = {}
    for parent in (built_in(folder), root / folder):
        entries.update((path.stem, path) for path in sorted(parent.glob("*.toml")))
    return dict(sorted(entries.items()))


def table_path(name: str, folder: Folder, root: Path = CURRENT_FOLDER) -> Path | None:
    """Return the table of that name, if there is one; the workspace's replaces a built-in one."""
    paths = (parent / f"{name}.toml" for parent in (root / folder, built_in(folder)))
    try:
        path = next((path for path in paths if path.is_file()), None)
    except OSError:  # no file can have such a name
        return None
    if path:
        warn_if_shadowing(path, folder)
    return path


def path_in_workspace(path: Path, root: Path = CURRENT_FOLDER) -> str:
    """Return a path with `/`, relative to the workspace if it lies below it. Links are not followed."""
    absolute, folder = (Path(os.path.abspath(item)) for item in (root / path, root))  # noqa: PTH100  follows no links
    return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()


def built_in(folder: Folder) -> Path:
    """Return the folder inside the installed package, or beside it in a checkout."""
    package = Path(mnbench.__file__).parent
    inside = package / folder
    if not inside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return package.parent / folder
    return inside


def is_built_in(path: Path, folder: Folder) -> bool:
    """Return whether the table is one of the package's own."""
    return os.path.dirname(os.path.realpath(path)) == os.path.realpath(built_in(folder))  # noqa: PTH120  raises nothing


def warn_if_shadowing(path: Path, folder: Folder) -> None:
    """Log a warning if a local table is used in place of a built-in one of the same name and other content."""
    folders: tuple[Folder, ...] = ("graphs", "graphs/study_networks") if folder == "graphs" else (folder,)
    if any(is_built_in(path, folder) for folder in folders):
        return
    hidden = [item for folder in folders if (item := built_in(folder) / path.name).is_file()]
    with suppress(OSError):  # a file that cannot be read is an error soon
        if hidden and not any(filecmp.cmp(path, item, shallow=False) for item in hidden):
            logger.warning("%s %s is %s, and not the built-in one", _thing(folder), path.stem, path)


def _thing(folder: Folder) -> str:
    return {"graphs/studies": "study", "graphs/study_networks": "graph"}.get(folder, folder.removesuffix("s"))


def check_name(name: str, path: Path, error: type[TomlError]) -> None:
    """Refuse a table whose name differs from its file's: results of two tables with one name would mix."""
    if name != path.stem:
        raise error(
            path,
            "key `name`",
            f"{name!r} is not the name of the file",
            hint=f"results go by it: name the table {path.stem}, or the file {name}.toml",
        )


def find_table(name: str, folder: Folder, error: type[TomlError], root: Path = CURRENT_FOLDER) -> Path:
    """Return the file of this name or path.

    Raises:
        TomlError: as `error`, where there is none of that name.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = table_paths(folder, root)
    if name in known:
        warn_if_shadowing(known[name], folder)
        return known[name]
    others = "a variant such as v1-a0.5-r160, or a path to an .onnx or" if folder == "graphs" else "a path to"
    hint = f"{suggest(name, known)}known: {', '.join(known)}; {others} a .toml works too"
    raise error(name, "", f"unknown {_thing(folder)}", hint=hint)


def cache_folder() -> Path:
    """Return `MNBENCH_CACHE`, or the folder of mnbench in the user's cache: on Linux in `XDG_CACHE_HOME`."""
    if named := os.environ.get("MNBENCH_CACHE"):
        return Path(named).absolute()
    from platformdirs import user_cache_path  # noqa: PLC0415  most commands need no cache

    return user_cache_path("mnbench", appauthor=False)
