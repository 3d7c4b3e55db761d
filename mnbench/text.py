"""Text from files, models and boards as one line of text: no terminal, log or page takes it for a command."""

import re

CI_COMMAND = re.compile(r"(?<!\S)::|##(?=\w*\[)")
"""How commands begin in the log of a CI job: GitHub's own, and those of Azure Pipelines and TeamCity."""


def printable(text: str) -> str:
    r"""Return a text in one line: white space as blanks, characters that cannot be seen as `\x1b` or `\u202e`.

    Nothing that a CI service takes for a command remains.
    """
    if not text.isprintable():
        signs = (sign if sign.isprintable() else " " if sign.isspace() else _escape(sign) for sign in text)
        text = "".join(signs)
    return CI_COMMAND.sub(lambda match: _escape(match[0][0]) + match[0][1:], text)


def _escape(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
