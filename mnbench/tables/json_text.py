r"""JSON: base units by the columns' names; also any other data that a command prints as JSON.

Every text is what it was once the JSON is parsed: characters that cannot be seen are written as `\u001b`, and so is
what a CI service would take for a command in its log.
"""

import json
from typing import Any

import msgspec

from mnbench.tables.table import Table
from mnbench.text import CI_COMMAND


def render(table: Table[Any]) -> str:
    return dump({"rows": table.to_dicts()})


def dump(data: Any) -> str:
    """Return structs and plain data as indented JSON, with a line feed at the end."""
    return (
        "\n".join(map(_escape, json.dumps(msgspec.to_builtins(data), indent=2, ensure_ascii=False).split("\n"))) + "\n"
    )


def dump_for_script(data: Any) -> str:
    r"""Return plain data as one line of JSON for a `<script>` of a page, in which `<` is `\u003c`."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _escape(text).replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _escape(line: str) -> str:
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in line)
    return CI_COMMAND.sub(lambda match: f"\\u{ord(match[0][0]):04x}{match[0][1:]}", line) if "##" in line else line
