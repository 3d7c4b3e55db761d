r"""JSON: base units by the columns' names; also any other data that a command prints as JSON.

Every text is what it was once the JSON is parsed: characters that cannot be seen are written as `\u001b`, and so is
what a CI service would take for a command in its log.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec

from mnbench.tables.table import Table
from mnbench.text import CI_COMMAND

ITEMS_PER_PIECE = 100
"""An item is short, and each piece is written to the system."""


def render(table: Table[Any]) -> str:
    return dump({"rows": table.to_dicts()})


def dump(data: Any) -> str:
    """Return structs and plain data as indented JSON, with a line feed at the end."""
    return "".join(pieces(data))


def pieces(data: Any) -> Iterator[str]:
    """Yield the text of `dump`, some items of a dictionary's lists at a time: all at once may take gigabytes."""
    if not isinstance(data, dict) or not data:
        yield _indented(data, "") + "\n"
        return
    before = "{"
    for name, value in cast("dict[str, Any]", data).items():
        yield f"{before}\n  {_indented(name, '')}: "
        if isinstance(value, list | tuple) and value:
            items = cast("Sequence[Any]", value)
            for start in range(0, len(items), ITEMS_PER_PIECE):
                texts = (f"\n    {_indented(item, ' ' * 4)}" for item in items[start : start + ITEMS_PER_PIECE])
                yield ("," if start else "[") + ",".join(texts)
            yield "\n  ]"
        else:
            yield _indented(value, " " * 2)
        before = ","
    yield "\n}\n"


def _indented(data: Any, margin: str) -> str:
    """Return data as indented JSON, with a margin before all lines but the first."""
    plain = msgspec.to_builtins(data)
    try:
        # Python's own encoder is forty times slower where it indents.
        compact = json.dumps(plain, ensure_ascii=False).encode(errors="surrogatepass")
        text = msgspec.json.format(compact, indent=2).decode(errors="surrogatepass")
    except msgspec.DecodeError:  # NaN is no JSON
        text = json.dumps(plain, indent=2, ensure_ascii=False)
    if "##" in text or not text.replace("\n", "").isprintable():
        text = "\n".join(map(_escape, text.split("\n")))
    return text.replace("\n", f"\n{margin}") if margin else text


def dump_for_script(data: Any) -> str:
    r"""Return plain data as one line of JSON for a `<script>` of a page, in which `<` is `\u003c`."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _escape(text).replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _escape(line: str) -> str:
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in line)
    return CI_COMMAND.sub(lambda match: f"\\u{ord(match[0][0]):04x}{match[0][1:]}", line) if "##" in line else line
