"""Strict TOML: a table becomes a frozen value, or an error that names file, row, key and what is allowed."""

import logging
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from mnbench.errors import FileError, TomlError, first_line
from mnbench.regular_files import read_regular

T = TypeVar("T")

MAX_BYTES = 2**18
"""The largest built-in table has 28 KB."""

QUOTED = re.compile(r""""(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'""")
LONG_KEY = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){20}")
"""A key `a.b.c`, with a value for each quoted part: tomllib's time grows with the square of its parts."""

logger = logging.getLogger(__name__)


class TomlStruct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of every value that is read from TOML."""


def read_toml(path: Path, kind: type[T], error: type[TomlError]) -> T:
    """Read the TOML file at `path` as a `kind`."""
    return convert_toml(load_toml(path, error), path, kind, error)


def load_toml(path: Path, error: type[TomlError]) -> dict[str, Any]:
    """Read the TOML file at `path` as a dictionary.

    Raises:
        TomlError: as `error`, if it cannot be read, is larger than MAX_BYTES, or is not TOML.
    """
    logger.info("reading %s", path)
    try:
        text = read_regular(path, max_bytes=MAX_BYTES).decode()
        if LONG_KEY.search(QUOTED.sub("text", text)):
            raise error(path, "", "has a key of many parts", hint="write a table with few levels")
        return tomllib.loads(text)
    except (FileNotFoundError, FileError) as failure:
        problem = f"cannot be read ({failure.strerror})" if isinstance(failure, OSError) else failure.message
        hint = "name a .toml file that you can read"
        raise error(path, "", problem.removeprefix(f"{path}: "), hint=hint) from failure
    except UnicodeDecodeError as failure:
        raise error(path, "", "is not UTF-8 text", hint="save the file as UTF-8") from failure
    except (ValueError, RecursionError) as failure:
        raise error(path, "", f"is not TOML: {first_line(failure)}", hint="fix the file at that line") from failure


def convert_toml(table: dict[str, Any], path: Path, kind: type[T], error: type[TomlError]) -> T:
    """Convert a table, read from `path`, to a `kind`."""
    try:
        return msgspec.convert(table, kind)
    except RecursionError as failure:
        raise error(path, "", "has too many levels", hint="write a table with few levels") from failure
    except msgspec.ValidationError as failure:
        message, _, place = str(failure).partition(" - at `")
        raise error(path, _where(place), _reworded(message), hint=_allowed(kind, table, _steps(place))) from failure


def _steps(place: str) -> list[str | int]:
    """Split `$.rows[2].s` into ["rows", 2, "s"]."""
    return [int(index) if index else key for key, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)]


def _where(place: str) -> str:
    """Name a position, counted from 1: row 14.2 is the second row of the group in row 14."""
    rows = ".".join(str(int(index) + 1) for index in re.findall(r"\.rows\[(\d+)\]", place))
    remainder = _steps(re.sub(r"\.rows\[\d+\]", "", place))
    words = [f"entry {step + 1}" if isinstance(step, int) else f"key `{step}`" for step in remainder]
    return ", ".join([f"row {rows}", *words] if rows else words)


def _reworded(message: str) -> str:
    words = {"Object contains": "has an", "Object missing": "misses the", "array": "list", "object": "table"}
    for theirs, ours in {**words, "field": "key", "`str`": "text", "`int`": "a whole number"}.items():
        message = message.replace(theirs, ours)
    return message.replace("`list`", "a list").replace("`table`", "a table")


def _allowed(kind: Any, table: Any, steps: list[str | int]) -> str:
    """Return what the type allows at this position."""
    info, value = inspect.type_info(kind), table
    for step in steps:
        inner = _inside(_chosen(info, value), step)
        if inner is None:
            break
        info, value = inner, value[step]
    match _chosen(info, value):
        case inspect.StructType(fields=fields, tag_field=tag_field):
            keys = [field.encode_name + ("" if field.required else " (optional)") for field in fields]
            return f"allowed keys: {', '.join([tag_field, *keys] if tag_field else keys)}"
        case inspect.UnionType(types=(inspect.StructType(tag_field=field), *_) as structs):
            tags = ", ".join(str(struct.tag) for struct in structs if isinstance(struct, inspect.StructType))
            return f"{'every row' if field == 'type' else 'a table'} has a `{field}`, one of: {tags}"
        case inspect.LiteralType(values=values):
            return f"allowed values: {', '.join(map(str, values))}"
        case _:
            return "fix that key; `mnbench graphs show v1` and `mnbench devices show cpu` show correct files"


def _chosen(info: inspect.Type, value: Any) -> inspect.Type:
    """Select the kind of row that the row's `type` names."""
    if isinstance(info, inspect.UnionType) and isinstance(value, dict):
        row = cast("dict[str, Any]", value)
        structs = [struct for struct in info.types if isinstance(struct, inspect.StructType)]
        return next((struct for struct in structs if struct.tag == row.get(struct.tag_field or "")), info)
    return info


def _inside(info: inspect.Type, step: str | int) -> inspect.Type | None:
    if isinstance(info, inspect.StructType):
        return next((field.type for field in info.fields if field.encode_name == step), None)
    return info.item_type if isinstance(info, inspect.VarTupleType) else None
