"""Text from files, models and boards as one line of text: no terminal, log or page takes it for a command."""

import re

CI_COMMAND = re.compile(r"(?<!\S)::|##(?=\w*\[)")
"""How commands begin in the log of a CI job: GitHub's own, and those of Azure Pipelines and TeamCity."""

LINE_COMMAND = re.compile(r"^(?:[^\S\n]|\x1b\[[\d;]*m)*::|##(?=\w*\[)", re.MULTILINE)
"""The same in text of several lines and colours."""


def printable(text: str) -> str:
    r"""Return a text in one line: white space as blanks, characters that cannot be seen as `\x1b` or `\u202e`.

    Nothing that a CI service takes for a command remains.
    """
    if not text.isprintable():
        signs = (sign if sign.isprintable() else " " if sign.isspace() else _escape(sign) for sign in text)
        text = "".join(signs)
    return _without(CI_COMMAND, text)


def without_commands(text: str) -> str:
    """Return a text of several lines, which may have colours, without what a CI service takes for a command."""
    return _without(LINE_COMMAND, text)


def shorten(text: str, length: int) -> str:
    """Return the printable text in at most so many characters."""
    short = printable(text[: length + 1])
    return short if len(short) <= length else f"{short[: length - 1]}…"


def _without(command: re.Pattern[str], text: str) -> str:
    if "::" not in text and "##" not in text:
        return text
    return command.sub(lambda match: match[0][:-2] + _escape(match[0][-2]) + match[0][-1], text)


def _escape(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
