"""Strict TOML: a table becomes a frozen value, or an error that names the file, the row, the key and what is allowed."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from mnbench.errors import TableError

T = TypeVar("T")


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value that is read from TOML."""


def decode(path: Path, kind: type[T], error: type[TableError]) -> T:
    """Read the TOML file at `path` as a `kind`.

    Raises:
        TableError: as `error`, for a file that cannot be read, is not TOML, or does not fit `kind`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise error(
            path, "", f"cannot be read ({failure.strerror})", hint="name a .toml file that you can read"
        ) from failure
    except UnicodeDecodeError as failure:
        raise error(path, "", "is not UTF-8 text", hint="save the file as UTF-8") from failure
    except tomllib.TOMLDecodeError as failure:
        raise error(path, "", f"is not TOML: {failure}", hint="mend the file at that line") from failure
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as failure:
        message, _, place = str(failure).partition(" - at `")
        raise error(path, _where(place), _reworded(message), hint=_allowed(kind, table, _steps(place))) from failure


def _steps(place: str) -> list[str | int]:
    """`$.rows[2].s` as ["rows", 2, "s"]."""
    return [int(index) if index else key for key, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)]


def _where(place: str) -> str:
    """The place as a person counts: row 14.2 is the second row of the group in row 14."""
    rows = ".".join(str(int(index) + 1) for index in re.findall(r"\.rows\[(\d+)\]", place))
    rest = _steps(re.sub(r"\.rows\[\d+\]", "", place))
    words = [f"entry {step + 1}" if isinstance(step, int) else f"key `{step}`" for step in rest]
    return ", ".join([f"row {rows}", *words] if rows else words)


def _reworded(message: str) -> str:
    words = {"Object contains": "has an", "Object missing": "misses the", "array": "list", "object": "table"}
    for theirs, ours in {**words, "field": "key", "`str`": "text", "`int`": "a whole number"}.items():
        message = message.replace(theirs, ours)
    return message.replace("`list`", "a list").replace("`table`", "a table")


def _allowed(kind: Any, table: Any, steps: list[str | int]) -> str:  # noqa: ANN401
    """What may stand at that place, told from the type itself."""
    info, value = inspect.type_info(kind), table
    tags: list[str] = []
    for step in [*steps, None]:
        if isinstance(info, inspect.UnionType):
            structs = [one for one in info.types if isinstance(one, inspect.StructType)]
            tags = [str(one.tag) for one in structs]
            tag = value.get(structs[0].tag_field) if structs and isinstance(value, dict) else None
            info = next((one for one in structs if one.tag == tag), info)
        if isinstance(info, inspect.StructType) and isinstance(step, str):
            field = next((field for field in info.fields if field.encode_name == step), None)
            if field is None:
                return f"`{step}` is one of: {', '.join(tags)}" if step == info.tag_field else _keys(info)
            info, value = field.type, value.get(step)
        elif isinstance(info, inspect.VarTupleType) and isinstance(step, int):
            info, value = info.item_type, value[step]
        elif isinstance(info, inspect.UnionType) and step is not None:
            return f"`{step}` is one of: {', '.join(tags)}"
        elif step is not None:
            break
    if isinstance(info, inspect.StructType):
        return _keys(info)
    if isinstance(info, inspect.LiteralType):
        return f"allowed values: {', '.join(str(value) for value in info.values)}"
    if isinstance(info, inspect.UnionType) and tags:
        return f"every row has a `type`, one of: {', '.join(tags)}"
    return "mend that key; `mnbench graphs show v1` and `mnbench devices show cpu` show tables that are right"


def _keys(info: inspect.StructType) -> str:
    keys = [field.encode_name + ("" if field.required else " (optional)") for field in info.fields]
    if info.tag_field:
        keys.insert(0, info.tag_field)
    return f"allowed keys: {', '.join(keys)}"
