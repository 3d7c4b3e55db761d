"""Markdown: a pipe table with its title above and its notes below."""

import re
from collections.abc import Sequence
from typing import Any

from mnbench.tables.table import Table
from mnbench.text import printable

MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
"""What GitHub Flavored Markdown takes for markup in a line; `_` only at the ends of a word."""

BLOCK = re.compile(r"^ {0,3}(?:[#>+=-]|\d+(?=[.)]))")
"""How a line begins that is a heading, a quotation or an item of a list."""

LINK = re.compile(r"://|www\.|\w@[\w-]+\.\w|(?<!\w)@\w")
"""What GitHub makes a link or a mention of, even where its signs are escaped; but not in code."""


def render(table: Table[Any]) -> str:
    """Return the table in GitHub Flavored Markdown."""
    title = [f"{escape_line(line)}\n" for line in table.title_lines]
    header = _row([" ".join(column.header_lines) for column in table.columns])
    rule = _row(["---" if column.left else "---:" for column in table.columns], escape=str)
    rows = [_row([column.text(row) for column in table.columns]) for row in table.rows]
    notes = [f"\n{escape_line(note)}" for note in table.note_lines]
    return "\n".join([*title, header, rule, *rows, *notes]) + "\n"


def escape(text: str) -> str:
    """Return a text of any origin without markup, for a place inside a line or a cell."""
    words = (code(word) if LINK.search(word) else _escape(word) for word in printable(text).split(" "))
    return " ".join(words)


def escape_line(text: str) -> str:
    """Return a text of any origin as a line; four blanks at its beginning stay what they are: it is a block of code."""
    if text.startswith("    "):
        return printable(text)
    line = escape(text)
    return BLOCK.sub(
        lambda start: f"{start[0]}\\" if start[0][-1].isdigit() else f"{start[0][:-1]}\\{start[0][-1]}", line
    )


def code(text: str) -> str:
    """Return a text of any origin as code, in which nothing is markup, a link or a mention."""
    # A bar ends a cell even in code.
    return f"`{' '.join(printable(text).replace('`', chr(39)).split())}`".replace("|", r"\|")


def _escape(word: str) -> str:
    return MARKUP.sub(r"\\\g<0>", word.replace("&", "&amp;").replace("<", "&lt;"))


def _row(cells: Sequence[str], escape: Any = escape) -> str:
    return f"| {' | '.join(map(escape, cells))} |"
