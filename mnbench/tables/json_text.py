"""JSON: base units by the columns' names; also any other data that a command prints as JSON."""

import json
from typing import Any

import msgspec

from mnbench.tables.table import Table


def render(table: Table[Any]) -> str:
    return dump({"rows": table.to_dicts()})


def dump(data: Any) -> str:
    """Return structs and plain data as indented JSON, with a line feed at the end."""
    return json.dumps(msgspec.to_builtins(data), indent=2, ensure_ascii=False) + "\n"
