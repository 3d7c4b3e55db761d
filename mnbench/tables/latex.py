"""LaTeX: a `tabular` for the booktabs package, with title and notes as comments."""

from collections.abc import Sequence
from typing import Any

from mnbench.tables.table import SPARKLINE_BARS, Table

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{sign: f"{{{sign}}}" for sign in "*[]"},  # the end of a row takes them for its options
    "α": r"$\alpha$",
    "ρ": r"$\rho$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "µ": r"\textmu{}",
    "–": "--",
    "·": r"$\cdot$",
    "⁹": r"\textsuperscript{9}",
    "⁶": r"\textsuperscript{6}",
    "Σ": r"$\Sigma$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\dots{}",
    **{bar: rf"\rule{{.4em}}{{{height / 5:.1f}ex}}" for height, bar in enumerate(SPARKLINE_BARS, 1)},
}
"""Characters that LaTeX reads as something else, and signs that pdfLaTeX's fonts lack."""


def render(table: Table[Any]) -> str:
    headers = [column.header_lines for column in table.columns]
    depth = max(map(len, headers))
    header_lines = [[(["", "", *header])[-depth:][line] for header in headers] for line in range(depth)]
    body = [[column.text(row) for column in table.columns] for row in table.rows]
    alignment = "".join("l" if column.left else "r" for column in table.columns)
    return "\n".join(
        [
            *(f"% {line}" for line in table.title_lines),
            f"\\begin{{tabular}}{{{alignment}}}",
            "\\toprule",
            *map(_row, header_lines),
            "\\midrule",
            *map(_row, body),
            "\\bottomrule",
            "\\end{tabular}",
            *(f"% {note}" for note in table.note_lines),
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join("".join(ESCAPES.get(sign, sign) for sign in cell) for cell in cells) + r" \\"
